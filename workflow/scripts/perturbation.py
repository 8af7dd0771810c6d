"""The perturbation table of one checkpoint."""

from _job import job
from _states import read_states
from _words import read_tokens

with job(snakemake):
    from tokentrails.files.tables import write_table
    from tokentrails.metrics.perturbation import perturbation

    states, baseline, provenance = read_states(snakemake)
    tokens = read_tokens(snakemake)
    tables = perturbation(states, tokens, baseline=baseline, provenance=provenance)
    output = snakemake.output
    write_table(tables["perturbation"], output.table, output.csv)
    write_table(tables["perturbation_contexts"], output.contexts, output.contexts_csv)
