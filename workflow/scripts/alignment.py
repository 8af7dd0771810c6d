"""The alignment table."""

from _job import job

with job(snakemake):
    from tokentrails.files.siblings import Siblings
    from tokentrails.files.tables import read_table, write_table
    from tokentrails.metrics.alignment import alignment
    from tokentrails.statistics.settings import Statistics

    params = snakemake.params
    siblings = Siblings.open(params.steps, snakemake.input.states, params.reference)
    columns = ["n_tokens", "word", "tokens", "first", "last"]
    tokens = read_table(snakemake.input.tokens, columns)
    table = alignment(
        siblings,
        params.steps,
        tokens,
        pooling=siblings.provenance["pooling"],
        groups=params.groups or sorted(set(tokens["n_tokens"].to_pylist())),
        statistics=Statistics.from_config(params.statistics),
        provenance=siblings.provenance | {"seed": str(params.statistics["seed"])},
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
