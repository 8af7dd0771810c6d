"""Mean identity and context similarity, with intervals."""

import json

from _job import job

with job(snakemake):
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.curves import curves
    from tokentrails.statistics.bootstrap import Bootstrap

    statistics = snakemake.params.statistics
    identity = read_table(snakemake.input.identity)
    context = [read_table(path) for path in snakemake.input.context]
    table = curves(
        identity,
        context[0] if context else None,
        bootstrap=Bootstrap.of(statistics),
        few=statistics["few"],
        provenance=provenance_of(identity) | {"statistics": json.dumps(statistics)},
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
