"""Tokenize an experiment's texts for one model."""

import logging
from pathlib import Path

from _job import job, shortened, warn

with job(snakemake):
    from _tokens import planned_experiment, prepare_texts

    from tokentrails.files.hashes import facts_of, sha256_of
    from tokentrails.files.tables import describe, read_table, write_table
    from tokentrails.texts.corpus import with_pieces_of
    from tokentrails.texts.mining import read_text, with_sentences_of
    from tokentrails.texts.sentences import tokenize_sentences
    from tokentrails.texts.splits import tokenize_splits
    from tokentrails.texts.table import prompts_of
    from tokentrails.texts.tokenization import tokenize
    from tokentrails.texts.word_list import WordList
    from tokentrails.texts.words import MEANINGS, tokenize_words

    wildcards = snakemake.wildcards
    experiment, files, context_length, provenance = prepare_texts(snakemake)
    if experiment.table:
        prompts = prompts_of(read_table(snakemake.input.texts[0]))
        experiment = planned_experiment(snakemake, prompts=prompts)
        provenance["experiment_hash"] = experiment.hash  # as if its file listed them
    if experiment.words:
        word_list = WordList.read(Path(snakemake.input.words[0]))
        if experiment.contexts_from:
            path = Path(snakemake.input.words[1])
            experiment = with_sentences_of(
                read_text(path), experiment, word_list, files, context_length, model=wildcards.model
            )
            provenance["text_sha256"] = sha256_of(path)
        cut = tokenize_sentences if experiment.sentences else tokenize_words
        tokens, skipped = cut(experiment, word_list, files, context_length, model=wildcards.model)
        logging.info("%d words or sentences are left out", skipped.num_rows)
        provenance |= {
            "word_list": experiment.words.list,
            "word_list_sha256": word_list.sha256,
            "seed": experiment.words.seed,
        }
        if experiment.sentences:
            provenance["special_tokens"] = experiment.special_tokens
        elif experiment.contexts:
            provenance["contexts"] = len(experiment.contexts)
        else:
            provenance["template"] = experiment.template
    else:
        if experiment.corpus:
            path = Path(snakemake.input.words[0])
            provenance |= facts_of(path, "text")
            experiment = with_pieces_of(
                read_text(path), experiment, files, context_length, model=wildcards.model
            )
        about = {"model": wildcards.model}
        if experiment.splits:
            word_list = WordList.read(Path(snakemake.input.words[0]))
            tokens, skipped = tokenize_splits(experiment, word_list, files, context_length, **about)
            provenance |= {"word_list": experiment.splits.list, "seed": experiment.splits.seed}
            provenance["word_list_sha256"] = word_list.sha256
        else:
            tokens, skipped = tokenize(experiment, files, context_length, **about)
        left_out = skipped.to_pylist()
        for row in left_out:
            logging.info("skipped %s: %s", row["label"], row["reason"])
        if left_out:
            warn(
                f"experiments.{experiment.name}: {len(left_out):,} of its targets are left out for "
                f"{wildcards.model}, the first, {left_out[0]['label']!r}, since "
                f"{shortened(left_out[0]['reason'])}; all are in {snakemake.output.skipped_csv}"
            )
        if experiment.chat_template and files.chat_template is not None:
            provenance |= {
                "chat_template_sha256": files.chat_template.sha256,
                "generation_prompt": experiment.generation_prompt,
            }
        else:
            provenance["special_tokens"] = experiment.special_tokens
    write_table(
        describe(
            tokens,
            title="token ids of the texts, and the targets in them",
            provenance=provenance,
            meanings=MEANINGS,
        ),
        snakemake.output.tokens,
    )
    write_table(
        describe(
            skipped,
            title="what is left out, because of this tokenizer or because it is no word",
            provenance=provenance,
            meanings={**MEANINGS, "reason": "why it is left out"},
        ),
        snakemake.output.skipped,
        snakemake.output.skipped_csv,
    )
