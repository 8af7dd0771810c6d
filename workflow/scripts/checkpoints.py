"""The table of a model's checkpoints."""

import json
from pathlib import Path

from _job import job, warn

with job(snakemake):
    from tokentrails.errors import TokentrailsError
    from tokentrails.files.tables import write_table
    from tokentrails.models.checkpoints import checkpoints_table

    model = snakemake.wildcards.model
    table = checkpoints_table(
        model,
        [json.loads(Path(path).read_text(encoding="utf-8")) for path in snakemake.input],
    )
    rows = table.to_pylist()
    doubts = "".join(f"\n  {r['checkpoint']}: {r['warning']}" for r in rows if r["warning"])
    if doubts:
        message = f"checkpoints of {model} that may not be what their names say:{doubts}"
        if snakemake.params.strict:
            raise TokentrailsError(
                message,
                where=f"models.{model}.checkpoints",
                hint="take them off the list, or set strict_checkpoints: false to go on with them.",
            )
        warn(message)
    write_table(table, snakemake.output.table, snakemake.output.csv)
