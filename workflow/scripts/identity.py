"""The identity table."""

import json
from pathlib import Path

from _baseline import read_baseline
from _job import job

with job(snakemake):
    from tokentrails.files.states import StatesReader
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.identity import identity, own_token_ids
    from tokentrails.network.architectures import architecture_of
    from tokentrails.network.weights import Weights

    states = StatesReader(snakemake.input.states)
    tokens = read_table(snakemake.input.tokens)
    provenance = provenance_of(states.metadata)
    config = json.loads(Path(snakemake.input.config).read_text(encoding="utf-8"))
    weights = Weights(snakemake.input.weights)
    matrix = weights.find(architecture_of(config, where=snakemake.input.config).embedding)
    baseline, of_baseline = read_baseline(snakemake)
    pooling = provenance["pooling"]
    table = identity(
        states,
        tokens,
        weights.rows(matrix, own_token_ids(tokens, pooling)),
        baseline=baseline,
        pooling=pooling,
        groups=snakemake.params.groups,
        provenance=provenance | of_baseline,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
