"""The summary table."""

from _job import job

with job(snakemake):
    import pyarrow.compute as pc

    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.summary import summary

    identity = read_table(snakemake.input.identity)
    context = [read_table(path) for path in snakemake.input.context]
    stream = identity.filter(pc.equal(identity["site"], "resid"))
    table = summary(
        identity,
        context[0] if context else None,
        depth=pc.max(stream["layer"]).as_py(),
        threshold=snakemake.params.threshold,
        provenance=provenance_of(identity),
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
