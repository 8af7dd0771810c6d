"""Fetch the text that models are trained on."""

import json
import tempfile
from pathlib import Path

from _job import job

with job(snakemake):
    from tokentrails.files.atomic import write_text
    from tokentrails.training.plays import fetch_plays

    output = snakemake.output
    with tempfile.TemporaryDirectory() as scratch:
        text, facts = fetch_plays(Path(scratch))
    for path, content in (
        (output.training, "\n".join(text.training)),
        (output.held_out, "\n".join(text.held_out)),
        (output.provenance, json.dumps(facts, indent=2, sort_keys=True)),
    ):
        write_text(path, content + "\n")
