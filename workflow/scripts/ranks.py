"""The ranks table."""

import json
from pathlib import Path

from _job import job

with job(snakemake):
    import torch
    from _torch import prepare_torch

    from tokentrails.files.states import StatesReader
    from tokentrails.files.tables import provenance_of, read_table, write_table
    from tokentrails.metrics.as_published import position_rows, published_states
    from tokentrails.metrics.ranks import Published, Vocabulary, ranks
    from tokentrails.network.architectures import architecture_of
    from tokentrails.network.device import choose_device
    from tokentrails.network.weights import Weights
    from tokentrails.texts.entries import entries
    from tokentrails.texts.tokenization import TokenizerFiles
    from tokentrails.texts.word_classes import word_class

    prepare_torch(snakemake)
    options = snakemake.params.ranks
    states = StatesReader(snakemake.input.states)
    tokens = read_table(snakemake.input.tokens)
    provenance = provenance_of(states.metadata)
    pooling = provenance["pooling"]
    config = json.loads(Path(snakemake.input.config).read_text(encoding="utf-8"))
    architecture = architecture_of(config, where=snakemake.input.config)
    weights = Weights(snakemake.input.weights)
    embedding = torch.from_numpy(weights.tensor(weights.find(architecture.embedding)))
    tokenizer = TokenizerFiles.load(Path(snakemake.input.tokenizer).parent).tokenizer
    offsets = published = None
    if options["positional"]:
        positions = tokens["first" if pooling == "first" else "last"].to_numpy()
        offsets = position_rows(weights, architecture, config, positions)
    if options["as_published"]:
        published = Published(
            published_states(states, tokens["label"].to_pylist(), weights, architecture, config),
            position_rows(weights, architecture, config, [0])[0],
        )
    table = ranks(
        (states.layer(*place) for place in states.places if place[0] in options["sites"]),
        tokens,
        Vocabulary(
            entries(tokenizer.get_vocab(), len(embedding)),
            embedding.to(choose_device(snakemake.params.device)),
        ),
        word_classes=[word_class(word) for word in tokens["word"].to_pylist()],
        nearest=options["nearest"],
        offsets=offsets,
        published=published,
        pooling=pooling,
        groups=snakemake.params.groups,
        provenance=provenance,
    )
    write_table(table, snakemake.output.table, snakemake.output.csv)
