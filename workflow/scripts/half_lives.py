"""Half-lives of the tokens of whole texts, one by one and by group."""

from _job import job
from _words import read_tokens, read_word_list

with job(snakemake):
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics import half_lives
    from tokentrails.statistics.settings import Statistics

    output, params = snakemake.output, snakemake.params
    statistics, threshold = Statistics.from_config(params.statistics), params.threshold
    identity = read_table(snakemake.input.identity, [*half_lives.COLUMNS])
    words = read_word_list(snakemake.input.words)
    provenance = provenance_of(identity)
    if words:
        provenance |= {"word_list_sha256": words.sha256}
    tokens = half_lives.half_lives(
        identity,
        read_tokens(snakemake),
        words,
        threshold=threshold,
        provenance=provenance,
    )
    write_table(tokens, output.table, output.csv)
    groups = half_lives.half_life_groups(tokens, statistics)
    provenance |= statistics.provenance
    about = {"threshold": threshold, "provenance": provenance}
    by_group = half_lives.half_lives_by_group(groups, **about)
    write_table(by_group, output.by_group, output.by_group_csv)
    write_table(half_lives.half_life_curve(groups, **about), output.curve, output.curve_csv)
    by_threshold = half_lives.half_lives_by_threshold(
        identity,
        tokens,
        statistics,
        thresholds=sorted({*params.thresholds, threshold}),
        provenance=provenance,
    )
    write_table(by_threshold, output.by_threshold, output.by_threshold_csv)
