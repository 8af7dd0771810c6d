"""How well senses are told apart: the tables by word, by layer, and of the best layers."""

import json

from _baseline import read_baseline
from _job import job

with job(snakemake):
    from tokentrails.files.states import StatesReader
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.sense_tables import OverWords, senses, senses_best, senses_by_layer
    from tokentrails.metrics.senses import separate
    from tokentrails.statistics.bootstrap import Bootstrap
    from tokentrails.statistics.permutation import Permutation

    given, output, statistics = snakemake.input, snakemake.output, snakemake.params.statistics
    baseline, of_baseline = read_baseline(snakemake)
    bootstrap = Bootstrap.of(statistics)
    states = StatesReader(given.states)
    separated = separate(
        states,
        read_table(given.tokens, ["word", "sense"]),
        baseline,
        bootstrap,
        Permutation(statistics["permutations"], statistics["seed"]),
    )
    over_words = OverWords(separated, bootstrap)
    provenance = provenance_of(states.metadata) | of_baseline
    provenance |= {"statistics": json.dumps(statistics)}
    table = senses(separated, provenance=provenance)
    write_table(table, output.senses, output.senses_csv)
    table = senses_by_layer(over_words, few=statistics["few"], provenance=provenance)
    write_table(table, output.by_layer, output.by_layer_csv)
    write_table(senses_best(over_words, provenance=provenance), output.best, output.best_csv)
