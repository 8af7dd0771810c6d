"""The attribution tables."""

from functools import partial

from _job import job

with job(snakemake):
    import numpy as np
    from _torch import load_parts
    from _whole_texts import prepare_run

    from tokentrails.files.tables import write_table
    from tokentrails.metrics.attribution import attribution
    from tokentrails.network.trace import trace
    from tokentrails.network.weights import Weights

    run = prepare_run(snakemake)
    model, architecture, parts = load_parts(run.folder, run.device)
    weights = Weights(snakemake.input.weights)
    matrix = weights.find(architecture.embedding)
    by_part, sums = attribution(
        run.texts,
        partial(trace, model, architecture),
        parts,
        lambda token_ids: weights.rows(matrix, np.array(token_ids)),
        name=run.name,
        provenance=run.provenance,
        progress=run.progress,
    )
    write_table(by_part, snakemake.output.table, snakemake.output.csv)
    write_table(sums, snakemake.output.sum, snakemake.output.sum_csv)
