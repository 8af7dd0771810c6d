"""What tables of a checkpoint say of its weights."""

import json
from pathlib import Path


def of_weights(snakemake):
    """What the input `provenance` says, and what of it goes into tables of float32 weights."""
    source = json.loads(Path(snakemake.input.provenance).read_text(encoding="utf-8"))
    return source, {
        "model": snakemake.wildcards.model,
        "checkpoint": snakemake.wildcards.checkpoint,
        "source": source["source"],
        "source_revision": source["revision"],
        "weights_sha256": source["sha256"]["model.safetensors"],
        "architecture": source["architecture"],
        "dtype": "float32",
    }
