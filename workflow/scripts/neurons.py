"""The neurons of a checkpoint as lists of words."""

from _job import job

with job(snakemake, "torch"):
    from _run import announce, prepare_run

    from tokentrails.config.selection import existing
    from tokentrails.files.tables import write_parts
    from tokentrails.metrics.neurons import neurons, operations
    from tokentrails.network.parts import load_parts
    from tokentrails.texts.tokenization import TokenizerFiles
    from tokentrails.vocabulary.spaces import Spaces

    options = snakemake.params.listing
    run = prepare_run(snakemake)
    *_, parts = load_parts(run.checkpoint.folder, run.device, run.spread)
    files = TokenizerFiles.load(run.checkpoint.folder)
    spaces = Spaces.of(parts, files, whole_words=options["whole_words"])
    where = f"circuits of an experiment, model {run.checkpoint.name}"
    layers = existing(options["layers"], len(parts.blocks), "layers", where=where)
    announce(operations(spaces, layers), run, "circuits.layers takes fewer blocks")
    tables = neurons(
        spaces,
        layers=layers,
        top=options["top"],
        high_bias=options["high_bias"],
        provenance=run.provenance,
    )
    write_parts(tables, snakemake.output.table, snakemake.output.csv)
