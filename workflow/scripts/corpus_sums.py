"""Run a checkpoint on a part of a running text, and add up what it does."""

from _job import job

with job(snakemake, "torch"):
    import pyarrow.parquet as pq
    import torch
    from _run import prepare_run

    from tokentrails.files.states import places
    from tokentrails.files.tables import (
        describe,
        read_provenance,
        write_parts,
        write_table,
        writing_parts,
    )
    from tokentrails.metrics.corpus_sums import (
        CorpusSums,
        Pieces,
        Running,
        piece_batches,
        shard_of,
        summed,
    )
    from tokentrails.metrics.own_token import Readout
    from tokentrails.models.checkpoints import refuse_other_tokenizer, refuse_out_of_vocabulary
    from tokentrails.network.extract import STATES_BYTES, cpu_budget
    from tokentrails.network.load import load_model
    from tokentrails.network.parts import load_parts
    from tokentrails.texts.tokenization import TokenizerFiles

    params, wildcards = snakemake.params, snakemake.wildcards
    run = prepare_run(snakemake)
    checkpoint, device = run.checkpoint, run.device
    number, shards = int(wildcards.shard), int(wildcards.shards)
    text_provenance = read_provenance(snakemake.input.pieces)
    refuse_other_tokenizer(text_provenance, checkpoint.facts)
    embedding = torch.from_numpy(checkpoint.embedding).to(device)
    entries, readout = TokenizerFiles.load(checkpoint.folder).entries(len(embedding)), None
    if params.readout:
        model, architecture, parts = load_parts(checkpoint.folder, device, run.spread)
        readout = Readout(model, architecture, parts, entries)
    else:
        dtype = params.extract["dtype"]
        model, architecture = load_model(checkpoint.folder, device, dtype, run.spread)
    sites = [site for site in params.sites if site in architecture.sites]
    where = places(sites, checkpoint.facts["depth"])
    state_bytes = 4 * checkpoint.facts["d_model"]
    budget = min(params.extract["token_budget"], STATES_BYTES // (state_bytes * len(where)))
    if device.type == "cpu":
        budget = min(budget, cpu_budget(state_bytes))
    running = Running(
        model,
        architecture,
        where,
        embedding,
        readout,
        params.readout,
        params.seed,
        checkpoint.name,
    )
    with pq.ParquetFile(snakemake.input.pieces) as file:
        pieces = Pieces(file, lambda table: refuse_out_of_vocabulary(table, checkpoint.facts))
        batches = piece_batches(pieces.lengths, 1 if architecture.alone else budget)
        sums = CorpusSums(running, pieces[batches[0]])
        label = f"{checkpoint.name}, {wildcards.experiment}, {number} of {shards}"
        provenance = text_provenance | run.provenance | {"readout": params.readout}
        with writing_parts(snakemake.output.pieces) as write:
            for part in summed(sums, pieces, shard_of(batches, number, shards), label):
                write(describe(part, "sums over pieces of a running text", provenance))
        title = "sums over a part of a running text"
        write_table(describe(sums.types(entries), title, provenance), snakemake.output.types)
        layers = (describe(layer, title, provenance) for layer in sums.geometry(entries))
        write_parts(layers, snakemake.output.products)
