"""The table attribution_causal."""

from _job import job

with job(snakemake, "torch"):
    from _run import announce, prepare_run

    from tokentrails.files.tables import read_frame, read_table, write_table
    from tokentrails.metrics.ablation import attribution_causal, choose, operations
    from tokentrails.metrics.own_token import Readout
    from tokentrails.network.parts import load_parts
    from tokentrails.statistics.settings import Statistics
    from tokentrails.texts.tokenization import TokenizerFiles

    params = snakemake.params
    statistics = Statistics.from_config(params.statistics)
    by_layer = read_frame(snakemake.input.by_layer)
    choices = choose(by_layer, params.ablate, statistics.bootstrap.seed)
    run = prepare_run(snakemake)
    folder = run.checkpoint.folder
    model, architecture, parts = load_parts(folder, run.device, run.spread)
    entries = TokenizerFiles.load(folder).entries(len(parts.embedding))
    announce(operations(run.tokens, choices, parts), run, "circuits.ablate takes fewer heads")
    table = attribution_causal(
        run.tokens,
        read_table(snakemake.input.baseline),
        choices,
        Readout(model, architecture, parts, entries),
        run.checkpoint.embedding_rows,
        statistics,
        provenance=run.provenance,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
