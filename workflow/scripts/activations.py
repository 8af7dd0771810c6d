"""The tables of activations, and of the neurons that fire on first tokens only."""

from _job import job

with job(snakemake, "torch"):
    from _run import prepare_run
    from _trace import load_tracer

    from tokentrails.config.selection import existing
    from tokentrails.files.tables import write_parts, write_table
    from tokentrails.metrics.activations import ActivationTables
    from tokentrails.texts.whole import whole_texts

    output, options = snakemake.output, snakemake.params.circuits
    run = prepare_run(snakemake)
    trace, parts = load_tracer(run)
    where = f"experiments.{snakemake.wildcards.experiment}.circuits, model {run.checkpoint.name}"
    activations = ActivationTables(
        parts,
        existing(options["layers"], len(parts.blocks), "layers", where=where),
        options["strongest"],
        run.provenance,
    )
    tables = activations.tables(whole_texts(run.tokens), trace)
    write_parts(tables, output.table, output.csv)
    write_table(activations.first_position_neurons(), output.first, output.first_csv)
