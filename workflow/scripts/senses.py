"""How well states separate senses: the tables by word, by layer, and of the best layers."""

from _job import job
from _states import read_states
from _words import read_tokens

with job(snakemake):
    import polars as pl

    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.sense_tables import OverWords, senses, senses_best, senses_by_layer
    from tokentrails.metrics.senses import separate
    from tokentrails.statistics.settings import Statistics

    output = snakemake.output
    statistics = Statistics.from_config(snakemake.params.statistics)
    states, baseline, provenance = read_states(snakemake)
    tokens = read_tokens(snakemake)
    control, pooling = None, provenance["pooling"]
    provenance |= statistics.provenance
    for path in snakemake.input.get("control"):
        table = read_table(path)
        control = pl.DataFrame(pl.from_arrow(table))
        about = provenance_of(table)
        provenance |= {"control": about["experiment"], "control_hash": about["experiment_hash"]}
    separated = separate(states, tokens, baseline, statistics, pooling, control)
    over_words = OverWords(separated, statistics)
    write_table(senses(separated, provenance=provenance), output.senses, output.senses_csv)
    by_layer = senses_by_layer(over_words, provenance=provenance)
    write_table(by_layer, output.by_layer, output.by_layer_csv)
    write_table(senses_best(over_words, provenance=provenance), output.best, output.best_csv)
