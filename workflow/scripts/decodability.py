"""Whether tokens can be decoded from their states: the table of maps, and half-lives."""

from _job import job

with job(snakemake, "torch"):
    from _vocabulary import read_vocabulary

    from tokentrails.files.states import StatesReader
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics import decodability
    from tokentrails.statistics.settings import Statistics

    output = snakemake.output
    statistics = Statistics.from_config(snakemake.params.statistics)
    states = StatesReader(snakemake.input.states)
    tokens = read_table(snakemake.input.tokens, [*decodability.COLUMNS])
    _, vocabulary = read_vocabulary(snakemake)
    samples = decodability.samples(tokens, statistics.bootstrap.seed)
    found = decodability.Found.of(decodability.looked_up(states, samples, vocabulary), samples)
    bootstrap = statistics.bootstrap
    provenance = provenance_of(states.metadata) | statistics.provenance
    table = decodability.decodability(found, len(tokens), bootstrap, provenance=provenance)
    write_table(table, output.table, output.csv)
    table = decodability.decodability_half_lives(found, bootstrap, provenance=provenance)
    write_table(table, output.half_lives, output.half_lives_csv)
    table = decodability.decodability_types(found, vocabulary.entries, provenance=provenance)
    write_table(table, output.types, output.types_csv)
