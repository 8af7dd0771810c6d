"""Fetch a checkpoint and bring it into its final form."""

from pathlib import Path

from _job import job, warn

with job(snakemake, "torch"):
    from _torch import quiet_transformers

    from tokentrails.models.prepare import prepare
    from tokentrails.settings import Source

    quiet_transformers()
    target = Path(snakemake.output.provenance).parent
    passing = hasattr(snakemake.wildcards, "experiment")
    provenance = prepare(
        Source(**snakemake.params.source),
        snakemake.wildcards.checkpoint,
        target,
        siblings=sorted(target.parent.iterdir()) if passing else (),
    )
    for doubt in provenance.get("warnings", ()):
        warn(f"models.{provenance['model']}: {doubt}")
