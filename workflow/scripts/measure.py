"""The table of a measure of the user's own."""

from pathlib import Path

from _job import job

with job(snakemake):
    import polars as pl

    from tokentrails.files.states import StatesReader
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.identity import own_token_ids
    from tokentrails.metrics.measure import evaluate, load_function, measure_table, moments
    from tokentrails.network.checkpoint import Checkpoint
    from tokentrails.settings import Measure

    given, params = snakemake.input, snakemake.params
    measure = Measure(**params.measure)
    states = StatesReader(given.states)
    tokens = read_table(given.tokens)
    provenance = provenance_of(states.metadata)
    embedding = None
    if "embedding" in measure.reads:
        checkpoint = Checkpoint(Path(given.weights).parent)
        embedding = checkpoint.embedding_rows(own_token_ids(tokens, provenance["pooling"]))
    function, frame = load_function(measure), pl.DataFrame(pl.from_arrow(tokens))
    table = measure_table(
        measure,
        evaluate(measure, function, states, frame, embedding),
        tokens,
        baseline=moments(read_table(given.baseline[0])) if given.baseline else {},
        pooling=provenance["pooling"],
        groups=params.groups,
        provenance=provenance,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
