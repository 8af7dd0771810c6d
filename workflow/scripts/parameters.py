"""How large a checkpoint is."""

import json
from pathlib import Path

from _job import job

with job(snakemake):
    from _weights import of_weights

    from tokentrails.files.tables import write_table
    from tokentrails.metrics.parameters import parameters
    from tokentrails.network.architectures import architecture_of
    from tokentrails.network.weights import Weights

    source, provenance = of_weights(snakemake)
    config = json.loads(Path(snakemake.input.config).read_text(encoding="utf-8"))
    weights = Weights(snakemake.input.weights)
    table = parameters(
        weights,
        architecture_of(config, where=snakemake.input.config),
        depth=source["depth"],
        d_model=source["d_model"],
        provenance=provenance,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
