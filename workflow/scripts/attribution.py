"""The attribution tables."""

from functools import partial

from _job import job

with job(snakemake):
    import numpy as np
    from _whole_texts import prepare_run

    from tokentrails.device import choose_device
    from tokentrails.extract import load_model
    from tokentrails.metrics.attribution import attribution
    from tokentrails.parts import Parts
    from tokentrails.tables import write_table
    from tokentrails.trace import trace
    from tokentrails.weights import Weights

    run = prepare_run(snakemake)
    device = choose_device(snakemake.params.device)
    model, architecture = load_model(run.folder, device, "float32")
    weights = Weights(snakemake.input.weights)
    matrix = weights.find(architecture.embedding)
    by_part, sums = attribution(
        run.texts,
        partial(trace, model, architecture),
        Parts.of(model, architecture, run.folder),
        lambda token_ids: weights.rows(matrix, np.array(token_ids)),
        name=run.name,
        provenance=run.provenance,
        progress=run.progress,
    )
    write_table(by_part, snakemake.output.table, snakemake.output.csv)
    write_table(sums, snakemake.output.sum, snakemake.output.sum_csv)
