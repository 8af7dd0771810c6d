"""Run a checkpoint on an experiment's texts, or a part of them, and store the targets' states."""

from _job import job

with job(snakemake, "torch"):
    from _run import prepare_run

    from tokentrails.files.state_parts import PartWriter
    from tokentrails.files.states import StatesWriter, places
    from tokentrails.network.extract import extract
    from tokentrails.network.load import load_model

    settings, pooling = snakemake.params.extract, snakemake.params.pooling
    wildcards = snakemake.wildcards
    run = prepare_run(snakemake)
    checkpoint = run.checkpoint
    model, architecture = load_model(checkpoint.folder, run.device, settings["dtype"], run.spread)
    blocks = "parallel" if architecture.parallel_attention else "sequential"
    how = {"blocks": blocks, "pooling": pooling, "dtype": settings["dtype"]}
    provenance = run.provenance | how
    sites = [site for site in snakemake.params.sites if site in architecture.sites]
    where = places(sites, checkpoint.facts["depth"])
    stored = {"d_model": checkpoint.facts["d_model"], "dtype": settings["store"]}
    label = f"{checkpoint.name}, {wildcards.experiment}"
    if in_parts := "shard" in dict(wildcards.items()):
        part = int(wildcards.shard), int(wildcards.shards)
        label += f", {part[0]} of {part[1]}"
        output = PartWriter(snakemake.output[0], where, **stored, provenance=provenance)
    else:
        part, occurrences = (1, 1), run.tokens["occurrence"].to_pylist()
        output = StatesWriter(snakemake.output[0], where, occurrences, **stored)
    with output as writer:
        extract(
            model,
            architecture,
            run.tokens,
            writer,
            pooling=pooling,
            token_budget=settings["token_budget"],
            name=checkpoint.name,
            label=label,
            part=part,
        )
        del model  # writing layer by layer needs its room
        if not in_parts:
            writer.finish(provenance)
