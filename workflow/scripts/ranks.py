"""The ranks table."""

from _job import job
from _states import read_states
from _words import read_tokens

with job(snakemake, "torch"):
    from _vocabulary import read_vocabulary

    from tokentrails.files.tables import write_table
    from tokentrails.metrics.as_published import position_rows, published_states
    from tokentrails.metrics.ranks import Published, ranks

    options = snakemake.params.ranks
    states, baseline, provenance = read_states(snakemake)
    tokens = read_tokens(snakemake)
    pooling = provenance["pooling"]
    checkpoint, vocabulary = read_vocabulary(snakemake)
    offsets = published = None
    if options["positional"]:
        positions = tokens["first" if pooling == "first" else "last"].to_numpy()
        offsets = position_rows(checkpoint, positions)
    if options["as_published"]:
        published = Published(
            published_states(states, tokens["label"].to_pylist(), checkpoint),
            position_rows(checkpoint, [0])[0],
        )
    table = ranks(
        (states.layer(*place) for place in states.places if place[0] in options["sites"]),
        tokens,
        vocabulary,
        nearest=options["nearest"],
        baseline=baseline,
        offsets=offsets,
        published=published,
        pooling=pooling,
        groups=snakemake.params.groups,
        provenance=provenance,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
