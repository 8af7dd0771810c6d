"""The means of perturbation over words, at every checkpoint."""

import json

from _job import job

with job(snakemake):
    import polars as pl

    from tokentrails.files.siblings import provenance_of_all
    from tokentrails.files.tables import read_table, write_table
    from tokentrails.metrics.perturbation import perturbation_by_group
    from tokentrails.statistics.bootstrap import Bootstrap

    params, statistics = snakemake.params, snakemake.params.statistics
    tables = dict(zip(params.steps, map(read_table, snakemake.input), strict=True))
    table = perturbation_by_group(
        {name: pl.DataFrame(pl.from_arrow(table)) for name, table in tables.items()},
        params.steps,
        groups=params.groups,
        bootstrap=Bootstrap.of(statistics),
        few=statistics["few"],
        provenance=provenance_of_all(tables) | {"statistics": json.dumps(statistics)},
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
