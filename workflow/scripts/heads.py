"""The tables of heads: their attention, their patterns and messages in words, and a summary."""

from functools import partial

from _job import job

with job(snakemake):
    from _torch import load_parts
    from _whole_texts import prepare_run

    from tokentrails.config.selection import existing
    from tokentrails.files.tables import write_table, writing_parts
    from tokentrails.metrics.heads import HeadTables
    from tokentrails.network.trace import trace
    from tokentrails.texts.entries import entries
    from tokentrails.texts.tokenization import TokenizerFiles
    from tokentrails.vocabulary.spaces import Spaces

    output, options = snakemake.output, snakemake.params.circuits
    run = prepare_run(snakemake)
    model, architecture, parts = load_parts(run.folder, run.device)
    where = f"experiments.{snakemake.wildcards.experiment}.circuits, model {run.name}"
    tokenizer = TokenizerFiles.load(run.folder).tokenizer
    names = entries(tokenizer.get_vocab(), len(parts.embedding))
    heads = HeadTables(
        parts,
        Spaces(parts, names, whole_words=options["whole_words"]),
        names,
        layers=existing(options["layers"], len(parts.blocks), "layers", where=where),
        heads=existing(options["heads"], len(parts.blocks[0].heads.W_Q), "heads", where=where),
        top=options["top"],
        high_bias=options["high_bias"],
        provenance=run.provenance,
    )
    with (
        writing_parts(output.attention, output.attention_csv) as write_attention,
        writing_parts(output.heads, output.heads_csv) as write_heads,
    ):
        tables = heads.tables(run.texts, partial(trace, model, architecture), run.progress)
        for attention, said in tables:
            write_attention(attention)
            write_heads(said)
    write_table(heads.summary.table(), output.summary, output.summary_csv)
