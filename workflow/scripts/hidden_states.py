"""Run a checkpoint on an experiment's texts and store the targets' states."""

from _job import job

with job(snakemake, "torch"):
    from _run import prepare_run

    from tokentrails.files.states import StatesWriter, places
    from tokentrails.network.extract import extract
    from tokentrails.network.load import load_model

    settings, pooling = snakemake.params.extract, snakemake.params.pooling
    run = prepare_run(snakemake)
    checkpoint = run.checkpoint
    model, architecture = load_model(checkpoint.folder, run.device, settings["dtype"], run.spread)
    sites = [site for site in snakemake.params.sites if site in architecture.sites]
    with StatesWriter(
        snakemake.output[0],
        places(sites, checkpoint.facts["depth"]),
        run.tokens["occurrence"].to_pylist(),
        checkpoint.facts["d_model"],
        settings["store"],
    ) as writer:
        extract(
            model,
            architecture,
            run.tokens,
            writer,
            pooling=pooling,
            token_budget=settings["token_budget"],
            name=checkpoint.name,
            label=f"{checkpoint.name}, {snakemake.wildcards.experiment}",
        )
        del model  # writing layer by layer needs its room
        blocks = "parallel" if architecture.parallel_attention else "sequential"
        how = {"blocks": blocks, "pooling": pooling, "dtype": settings["dtype"]}
        writer.finish(run.provenance | how)
