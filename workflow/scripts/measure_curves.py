"""Mean curves of a measure of the user's own, with intervals."""

from _job import job

with job(snakemake):
    from tokentrails.catalogue import Kind
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.measure import measure_curves
    from tokentrails.settings import Measure
    from tokentrails.statistics.settings import Statistics

    params = snakemake.params
    table = read_table(snakemake.input[0])
    curves = measure_curves(
        table,
        Measure(**params.measure),
        kind=Kind(params.kind),
        groups=params.groups,
        statistics=Statistics.from_config(params.statistics),
        provenance=provenance_of(table),
    )
    write_table(curves, snakemake.output.table, snakemake.output.csv)
