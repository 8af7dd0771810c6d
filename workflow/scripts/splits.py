"""The tables splits and splits_by_layer."""

from _job import job
from _states import read_states
from _words import read_tokens

with job(snakemake, "torch"):
    from _vocabulary import read_vocabulary

    from tokentrails.files.tables import write_table
    from tokentrails.metrics.splits import splits, splits_by_layer
    from tokentrails.statistics.settings import Statistics

    output = snakemake.output
    states, baseline, provenance = read_states(snakemake)
    tokens = read_tokens(snakemake)
    _, vocabulary = read_vocabulary(snakemake)
    table = splits(states, tokens, vocabulary, baseline=baseline, provenance=provenance)
    write_table(table, output.table, output.csv)
    statistics = Statistics.from_config(snakemake.params.statistics)
    by_layer = splits_by_layer(table, statistics, provenance=provenance)
    write_table(by_layer, output.by_layer, output.by_layer_csv)
