"""The attribution tables."""

from _job import job

with job(snakemake, "torch"):
    from _run import prepare_run
    from _trace import load_tracer

    from tokentrails.files.tables import write_table
    from tokentrails.metrics.attribution import attribution
    from tokentrails.texts.whole import whole_texts

    output = snakemake.output
    run = prepare_run(snakemake)
    by_part, of_cosine, sums = attribution(
        whole_texts(run.tokens),
        *load_tracer(run),
        run.checkpoint.embedding_rows,
        provenance=run.provenance,
    )
    write_table(by_part, output.table, output.csv)
    write_table(of_cosine, output.cosine, output.cosine_csv)
    write_table(sums, output.sum, output.sum_csv)
