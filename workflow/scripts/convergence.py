"""The convergence tables."""

from _job import job
from _words import read_tokens

with job(snakemake):
    from tokentrails.files.siblings import Siblings
    from tokentrails.files.tables import write_parts, write_table
    from tokentrails.metrics.convergence import (
        convergence,
        convergence_by_group,
        convergence_similarities,
    )
    from tokentrails.statistics.settings import Statistics

    params = snakemake.params
    statistics = Statistics.from_config(params.statistics)
    siblings = Siblings.open(params.steps, snakemake.input.states, params.reference)
    tokens = read_tokens(snakemake)
    provenance = siblings.provenance | statistics.provenance
    similarities = convergence_similarities(siblings, tokens, provenance["pooling"])
    table = convergence_by_group(
        similarities,
        siblings,
        params.steps,
        tokens,
        pooling=provenance["pooling"],
        groups=params.groups or sorted(set(tokens["n_tokens"].to_pylist())),
        statistics=statistics,
        provenance=provenance,
    )
    write_table(table, snakemake.output.by_group, snakemake.output.by_group_csv)
    parts = convergence(
        similarities,
        siblings,
        params.steps,
        tokens,
        pooling=provenance["pooling"],
        groups=params.columns,
        provenance=provenance,
    )
    write_parts(parts, snakemake.output.table, snakemake.output.csv)
