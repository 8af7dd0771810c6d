"""Fetch a checkpoint and bring it into its final form."""

from pathlib import Path

from _job import job

with job(snakemake):
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    from tokentrails.models.prepare import prepare
    from tokentrails.settings import Source

    disable_progress_bar()
    set_verbosity_error()
    target = Path(snakemake.output.provenance).parent
    passing = hasattr(snakemake.wildcards, "experiment")
    prepare(
        Source(**snakemake.params.source),
        snakemake.wildcards.checkpoint,
        target,
        siblings=sorted(target.parent.iterdir()) if passing else (),
    )
