"""Similarity and rank by word class: the tables of classes, of their gap, and the summary."""

from _job import job

with job(snakemake):
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.rank_classes import (
        COLUMNS,
        class_curves,
        ranks_by_class,
        ranks_gap,
        ranks_summary,
    )
    from tokentrails.statistics.settings import Statistics

    output = snakemake.output
    statistics = Statistics.from_config(snakemake.params.statistics)
    ranks = read_table(snakemake.input[0], [*COLUMNS])
    curves = class_curves(ranks, statistics.bootstrap)
    provenance = provenance_of(ranks) | statistics.provenance
    by_class = ranks_by_class(curves, few=statistics.few, provenance=provenance)
    write_table(by_class, output.by_class, output.by_class_csv)
    write_table(ranks_gap(curves, provenance=provenance), output.gap, output.gap_csv)
    write_table(ranks_summary(curves, provenance=provenance), output.summary, output.summary_csv)
