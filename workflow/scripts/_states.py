"""The hidden states that a metric's job is given, and the baseline beside them."""


def read_states(snakemake):
    """The states, the baseline of the inputs `baseline` and `baseline_dimensions`, and provenance.

    A job without these inputs has no baseline: of each similarity only the cosine is then known.
    """
    from tokentrails.files.states import StatesReader
    from tokentrails.files.tables import provenance_of, read_table
    from tokentrails.statistics.baseline import NO_BASELINE, Baseline

    states = StatesReader(snakemake.input.states)
    provenance, path = provenance_of(states.metadata), snakemake.input.get("baseline")
    if path is None:
        return states, NO_BASELINE, provenance
    table = read_table(path)
    provenance["baseline_hash"] = provenance_of(table)["experiment_hash"]
    baseline = Baseline.from_tables(table, read_table(snakemake.input.baseline_dimensions))
    return states, baseline, provenance
