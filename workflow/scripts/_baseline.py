"""The baseline that a metric's job is given."""


def read_baseline(snakemake):
    """The baseline of the inputs `baseline` and `baseline_dimensions`, and its provenance.

    A job without these inputs has none: of each similarity only the cosine is then known.
    """
    from tokentrails.files.tables import provenance_of, read_table
    from tokentrails.statistics.baseline import Baseline

    path = snakemake.input.get("baseline")
    if path is None:
        return Baseline(), {}
    table = read_table(path)
    provenance = {"baseline_hash": provenance_of(table)["experiment_hash"]}
    return Baseline.from_tables(table, read_table(snakemake.input.baseline_dimensions)), provenance
