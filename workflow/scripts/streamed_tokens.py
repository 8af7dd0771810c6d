"""Tokenize a running text of any size for one model, a few pieces at a time."""

from pathlib import Path

from _job import job
from _words import read_classes, read_word_list

with job(snakemake):
    from _tokens import prepare_texts

    from tokentrails.files.documents import Documents
    from tokentrails.files.hashes import facts_of
    from tokentrails.files.tables import describe, writing_parts
    from tokentrails.files.yaml_file import top_level
    from tokentrails.texts.streamed import MEANINGS, tokenize_streamed

    output = snakemake.output
    experiment, files, context_length, provenance = prepare_texts(snakemake)
    text, *listed = snakemake.input.words
    words, text = read_word_list(listed), Path(text)
    provenance |= {
        **facts_of(text, "text"),
        **({"word_list_sha256": words.sha256} if words else {}),
        "special_tokens": experiment.special_tokens,
    }
    parts = tokenize_streamed(
        experiment,
        Documents(experiment.corpus, text, top_level(experiment.file) / "corpus"),
        words,
        read_classes(snakemake),
        files,
        context_length,
        model=snakemake.wildcards.model,
    )
    title = "token ids of the pieces of a running text"
    left_out = "pieces of the text, and rows of its table, that are left out"
    reason = {"reason": "why it is left out"}
    with (
        writing_parts(output.tokens) as write,
        writing_parts(output.skipped, output.skipped_csv) as write_skipped,
    ):
        for tokens, skipped in parts:
            write(describe(tokens, title, provenance, MEANINGS))
            write_skipped(describe(skipped, left_out, provenance, MEANINGS | reason))
