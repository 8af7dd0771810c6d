"""The tables of heads: their attention, their patterns and messages in words, and a summary."""

from _job import job

with job(snakemake, "torch"):
    from _run import prepare_run
    from _trace import load_tracer

    from tokentrails.config.selection import existing
    from tokentrails.files.tables import write_table, writing_parts
    from tokentrails.metrics.heads import HeadTables
    from tokentrails.texts.tokenization import TokenizerFiles
    from tokentrails.texts.whole import whole_texts
    from tokentrails.vocabulary.spaces import Spaces

    output, options = snakemake.output, snakemake.params.circuits
    run = prepare_run(snakemake)
    texts = whole_texts(run.tokens)
    run.checkpoint.refuse_far(max((len(text.token_ids) for text in texts), default=0))
    trace, parts = load_tracer(run)
    where = f"experiments.{snakemake.wildcards.experiment}.circuits, model {run.checkpoint.name}"
    files = TokenizerFiles.load(run.checkpoint.folder)
    layers = existing(options["layers"], len(parts.blocks), "layers", where=where)
    heads = HeadTables(
        Spaces.of(parts, files, whole_words=options["whole_words"]),
        layers=layers,
        listed=layers if options["lists"] is None else options["lists"],
        heads=existing(options["heads"], len(parts.blocks[0].heads.W_Q), "heads", where=where),
        top=options["top"],
        high_bias=options["high_bias"],
        provenance=run.provenance,
    )
    with (
        writing_parts(output.attention, output.attention_csv) as write_attention,
        writing_parts(output.heads, output.heads_csv) as write_heads,
    ):
        for attention, lists in heads.tables(texts, trace):
            write_attention(attention)
            if lists is not None:
                write_heads(lists)
    write_table(heads.summary.table(), output.summary, output.summary_csv)
