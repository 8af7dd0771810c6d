"""Run a checkpoint on an experiment's texts and store the targets' states."""

from functools import partial
from pathlib import Path

from _job import job

with job(snakemake):
    from _torch import prepare_torch, quiet_transformers
    from _weights import of_weights

    from tokentrails.files.states import StatesWriter, places
    from tokentrails.files.tables import provenance_of, read_table
    from tokentrails.models.checkpoints import refuse_other_tokenizer
    from tokentrails.network.device import choose_device
    from tokentrails.network.extract import extract, load_model
    from tokentrails.progress import token_bar

    prepare_torch(snakemake)
    quiet_transformers()
    wildcards, settings = snakemake.wildcards, snakemake.params.extract
    name = f"{wildcards.model} ({wildcards.checkpoint})"
    tokens = read_table(snakemake.input.tokens)
    source, provenance = of_weights(snakemake)
    refuse_other_tokenizer(provenance_of(tokens), source)
    device = choose_device(settings["device"])
    folder = Path(snakemake.input.weights).parent
    model, architecture = load_model(folder, device, settings["dtype"])
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
                **provenance,
                "blocks": "parallel" if architecture.parallel_attention else "sequential",
                "pooling": snakemake.params.pooling,
                "dtype": settings["dtype"],
                "device": device.type,
            }
        )
