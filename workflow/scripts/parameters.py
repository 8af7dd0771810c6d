"""How large a checkpoint is."""

from pathlib import Path

from _job import job

with job(snakemake):
    from tokentrails.files.tables import write_table
    from tokentrails.metrics.parameters import parameters
    from tokentrails.network.checkpoint import Checkpoint

    checkpoint = Checkpoint(Path(snakemake.input.weights).parent)
    table = parameters(
        checkpoint.weights,
        checkpoint.architecture,
        depth=checkpoint.facts["depth"],
        d_model=checkpoint.facts["d_model"],
        provenance=checkpoint.provenance,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
