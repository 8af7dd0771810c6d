"""What changes with a model's size."""

from _job import job

with job(snakemake):
    import polars as pl

    from tokentrails.files.tables import provenance_of, read_frames, read_table, write_table
    from tokentrails.metrics import scaling
    from tokentrails.statistics.settings import Statistics

    inputs, output = snakemake.input, snakemake.output
    statistics = Statistics.from_config(snakemake.params.statistics)
    sizes = read_frames(inputs.parameters)
    depth = sizes.select("model", "checkpoint", "depth")
    measured = []
    if (by_group := read_frames(inputs.half_lives_by_group)) is not None:
        measured.append(
            scaling.half_life_measures(by_group.join(depth, on=["model", "checkpoint"]))
        )
    for by_layer, best in zip(inputs.senses_by_layer, inputs.senses_best, strict=True):
        measured.append(scaling.sense_measures(read_frames([by_layer]), read_frames([best])))
    for path in inputs.ranks:
        ranks = pl.DataFrame(pl.from_arrow(read_table(path, [*scaling.RANK_COLUMNS])))
        measured.append(scaling.rank_measures(ranks, statistics.bootstrap))
    sources = {
        f"weights_sha256 of {about['model']}": about["weights_sha256"]
        for about in (provenance_of(read_table(path)) for path in inputs.parameters)
    }
    provenance = sources | statistics.provenance
    table = scaling.scaling(pl.concat(measured), sizes, provenance=provenance)
    write_table(table, output.table, output.csv)
    slopes = scaling.scaling_slopes(
        pl.DataFrame(pl.from_arrow(table)),
        confidence=statistics.bootstrap.confidence,
        provenance=provenance,
    )
    write_table(slopes, output.slopes, output.slopes_csv)
