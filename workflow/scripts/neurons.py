"""The neurons of a checkpoint as lists of words."""

from functools import partial
from pathlib import Path

from _job import job

with job(snakemake):
    from _torch import load_parts, prepare_torch, quiet_transformers
    from _weights import of_weights

    from tokentrails.files.tables import write_parts
    from tokentrails.metrics.neurons import neurons
    from tokentrails.network.device import choose_device
    from tokentrails.progress import neuron_bar
    from tokentrails.texts.entries import entries
    from tokentrails.texts.tokenization import TokenizerFiles
    from tokentrails.vocabulary.spaces import Spaces

    wildcards, options = snakemake.wildcards, snakemake.params.listing
    prepare_torch(snakemake)
    quiet_transformers()
    _, provenance = of_weights(snakemake)
    folder = Path(snakemake.input.weights).parent
    device = choose_device(snakemake.params.device)
    *_, parts = load_parts(folder, device)
    tokenizer = TokenizerFiles.load(folder).tokenizer
    names = entries(tokenizer.get_vocab(), len(parts.embedding))
    tables = neurons(
        parts,
        Spaces(parts, names, whole_words=options["whole_words"]),
        names,
        top=options["top"],
        high_bias=options["high_bias"],
        provenance=provenance | {"device": device.type},
        progress=partial(neuron_bar, label=f"{wildcards.model} ({wildcards.checkpoint})"),
    )
    write_parts(tables, snakemake.output.table, snakemake.output.csv)
