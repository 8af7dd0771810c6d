"""The tables of activations, and of the neurons that fire on first tokens only."""

from functools import partial

from _job import job

with job(snakemake):
    from _torch import load_parts
    from _whole_texts import prepare_run

    from tokentrails.config.selection import existing
    from tokentrails.files.tables import write_parts, write_table
    from tokentrails.metrics.activations import ActivationTables
    from tokentrails.network.trace import trace

    output, options = snakemake.output, snakemake.params.circuits
    run = prepare_run(snakemake)
    model, architecture, parts = load_parts(run.folder, run.device)
    where = f"experiments.{snakemake.wildcards.experiment}.circuits, model {run.name}"
    activations = ActivationTables(
        parts,
        existing(options["layers"], len(parts.blocks), "layers", where=where),
        options["strongest"],
        run.provenance,
    )
    tables = activations.tables(run.texts, partial(trace, model, architecture), run.progress)
    write_parts(tables, output.table, output.csv)
    write_table(activations.first_position_neurons(), output.first, output.first_csv)
