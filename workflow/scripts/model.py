"""Fetch a checkpoint and bring it into its final form."""

import os
import sys
from pathlib import Path

from _job import job

if not sys.stderr.isatty():
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

with job(snakemake):
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    from tokentrails.models.prepare import prepare
    from tokentrails.settings import Source

    disable_progress_bar()
    set_verbosity_error()
    prepare(
        Source(**snakemake.params.source),
        snakemake.wildcards.checkpoint,
        Path(snakemake.output.provenance).parent,
    )
