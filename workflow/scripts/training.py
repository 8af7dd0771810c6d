"""Train a model, and keep every checkpoint of the schedule."""

import json
import os
import shutil
from pathlib import Path

from _job import job

with job(snakemake, "torch"):
    from _torch import prepare_torch, quiet_transformers

    from tokentrails.config.trainings import SIZES
    from tokentrails.files.tables import write_table
    from tokentrails.training.loss import loss_table
    from tokentrails.training.text import read_text
    from tokentrails.training.train import train

    prepare_torch(snakemake)
    quiet_transformers()
    name, training = snakemake.wildcards.model, snakemake.params.training
    source = json.loads(Path(snakemake.input.provenance).read_text(encoding="utf-8"))
    checkpoints = Path(snakemake.output.checkpoints)
    work = checkpoints.with_name(".work")  # no output: Snakemake clears those of a killed run
    rows = train(
        SIZES[training["size"]],
        training["seed"],
        training["steps"],
        read_text(Path(snakemake.input.training), Path(snakemake.input.held_out)),
        work,
        facts={"text": source},
        label=f"{name}, training",
    )
    provenance = {"model": name, "source": f"train:{training['size']}", **training, **source}
    table = loss_table(rows, provenance=provenance)
    write_table(table, snakemake.output.loss, snakemake.output.csv)
    os.replace(work / "checkpoints", checkpoints)
    shutil.rmtree(work)
