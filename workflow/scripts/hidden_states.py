"""Run a checkpoint on an experiment's texts and store the targets' states."""

import json
import os
from functools import partial
from pathlib import Path

from _job import job

with job(snakemake):
    import torch
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    from tokentrails.device import choose_device
    from tokentrails.extract import extract, load_model
    from tokentrails.models.siblings import refuse_other_tokenizer
    from tokentrails.progress import token_bar
    from tokentrails.states import StatesWriter, places
    from tokentrails.tables import provenance_of, read_table

    disable_progress_bar()
    set_verbosity_error()
    torch.set_num_threads(min(snakemake.threads, len(os.sched_getaffinity(0))))
    wildcards, settings = snakemake.wildcards, snakemake.params.extract
    name = f"{wildcards.model} ({wildcards.checkpoint})"
    tokens = read_table(snakemake.input.tokens)
    source = json.loads(Path(snakemake.input.provenance).read_text(encoding="utf-8"))
    refuse_other_tokenizer(provenance_of(tokens), source)
    model, architecture = load_model(
        Path(snakemake.input.weights).parent, choose_device(settings["device"]), settings["dtype"]
    )
    sites = [site for site in snakemake.params.sites if site in architecture.sites]
    with StatesWriter(
        snakemake.output[0],
        places(sites, source["depth"]),
        tokens["occurrence"].to_pylist(),
        source["d_model"],
        settings["store"],
    ) as writer:
        extract(
            model,
            architecture,
            tokens,
            writer,
            pooling=snakemake.params.pooling,
            token_budget=settings["token_budget"],
            name=name,
            progress=partial(token_bar, label=f"{name}, {wildcards.experiment}"),
        )
        del model  # writing layer by layer needs its room
        writer.finish(
            {
                **provenance_of(tokens),
                "checkpoint": wildcards.checkpoint,
                "source": source["source"],
                "source_revision": source["revision"],
                "weights_sha256": source["sha256"]["model.safetensors"],
                "architecture": source["architecture"],
                "blocks": "parallel" if architecture.parallel_attention else "sequential",
                "pooling": snakemake.params.pooling,
                "dtype": settings["dtype"],
            }
        )
