"""The baseline that a metric's job is given."""


def read_baseline(snakemake):
    """What the inputs `baseline` and `baseline_dimensions` say, and its provenance for tables.

    A job without these inputs has no baseline: every answer of it is null.
    """
    from tokentrails.files.tables import provenance_of, read_table
    from tokentrails.statistics.baseline import Baseline

    path = snakemake.input.get("baseline")
    if path is None:
        return Baseline(), {}
    table = read_table(path)
    provenance = {"baseline_hash": provenance_of(table)["experiment_hash"]}
    return Baseline.of(table, read_table(snakemake.input.baseline_dimensions)), provenance
