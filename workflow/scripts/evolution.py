"""The tables of the stream as words, and of predictions."""

from functools import partial

from _job import job

with job(snakemake, "torch"):
    from _run import prepare_run

    from tokentrails.files.tables import write_table
    from tokentrails.metrics.evolution import Lens, evolution
    from tokentrails.network.load import load_language_model
    from tokentrails.network.parts import Parts
    from tokentrails.texts.tokenization import TokenizerFiles
    from tokentrails.texts.whole import whole_texts
    from tokentrails.vocabulary.spaces import Spaces

    output, params = snakemake.output, snakemake.params
    run = prepare_run(snakemake)
    run.checkpoint.refuse_parts()
    folder, name = run.checkpoint.folder, run.checkpoint.name
    model, architecture = load_language_model(folder, run.device, name=name, spread=run.spread)
    parts = Parts.from_model(model.base_model, folder)
    files = TokenizerFiles.load(folder)
    spaces = Spaces.of(parts, files, whole_words=params.whole_words)
    evolved, predicted = evolution(
        whole_texts(run.tokens),
        Lens(model, architecture, spaces, name),
        top=params.top,
        prefix=partial(files.tokenizer.decode, skip_special_tokens=False),
        provenance=run.provenance,
    )
    write_table(evolved, output.table, output.csv)
    write_table(predicted, output.predictions, output.predictions_csv)
