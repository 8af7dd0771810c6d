"""The tables of the stream as words, and of predictions."""

from functools import partial
from pathlib import Path

from _job import job

with job(snakemake):
    from _whole_texts import prepare_run

    from tokentrails.files.tables import write_table
    from tokentrails.metrics.evolution import Lens, evolution
    from tokentrails.network.extract import load_language_model
    from tokentrails.network.parts import Parts
    from tokentrails.texts.entries import entries
    from tokentrails.texts.tokenization import TokenizerFiles
    from tokentrails.vocabulary.spaces import Spaces

    run, params = prepare_run(snakemake), snakemake.params
    model, architecture = load_language_model(run.folder, run.device, name=run.name)
    parts = Parts.of(model.base_model, architecture, run.folder)
    tokenizer = TokenizerFiles.load(Path(snakemake.input.tokenizer).parent).tokenizer
    names = entries(tokenizer.get_vocab(), len(parts.embedding))
    space = Spaces(parts, names, whole_words=params.whole_words).embedding
    evolved, predicted = evolution(
        run.texts,
        Lens(model, architecture, parts, names, space.entries, run.name),
        space,
        top=params.top,
        prefix=partial(tokenizer.decode, skip_special_tokens=False),
        provenance=run.provenance,
        progress=run.progress,
    )
    write_table(evolved, snakemake.output.table, snakemake.output.csv)
    write_table(predicted, snakemake.output.predictions, snakemake.output.predictions_csv)
