"""The perturbation table of one checkpoint."""

from _baseline import read_baseline
from _job import job

with job(snakemake):
    from tokentrails.files.states import StatesReader
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.perturbation import perturbation

    states = StatesReader(snakemake.input.states)
    baseline, baseline_provenance = read_baseline(snakemake)
    tables = perturbation(
        states,
        read_table(snakemake.input.tokens),
        baseline=baseline,
        provenance=provenance_of(states.metadata) | baseline_provenance,
    )
    output = snakemake.output
    write_table(tables["perturbation"], output.table, output.csv)
    write_table(tables["perturbation_contexts"], output.contexts, output.contexts_csv)
