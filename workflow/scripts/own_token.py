"""The own_token table."""

from _job import job

with job(snakemake, "torch"):
    from _run import prepare_run

    from tokentrails.files.tables import write_table
    from tokentrails.metrics.own_token import Readout, own_token
    from tokentrails.network.parts import load_parts
    from tokentrails.texts.tokenization import TokenizerFiles

    run = prepare_run(snakemake, snakemake.params.device)
    folder = run.checkpoint.folder
    model, architecture, parts = load_parts(folder, run.device)
    entries = TokenizerFiles.load(folder).entries(len(parts.embedding))
    readout = Readout(model, architecture, parts, entries)
    table = own_token(run.tokens, readout, provenance=run.provenance)
    write_table(table, snakemake.output.table, snakemake.output.csv)
