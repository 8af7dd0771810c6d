"""Tokenize an experiment's prompts for one model."""

import json
import logging
from pathlib import Path

from _job import job

with job(snakemake):
    from tokentrails.architectures import architecture_of
    from tokentrails.config import load_prompts
    from tokentrails.errors import TokentrailsError
    from tokentrails.models.source import TOKENIZER, sha256_of
    from tokentrails.settings import Experiment
    from tokentrails.tables import describe, write_table
    from tokentrails.tokenization import TokenizerFiles, tokenize

    wildcards, params = snakemake.wildcards, snakemake.params
    prompts, analyses = load_prompts(params.file)
    experiment = Experiment(
        name=wildcards.experiment,
        file=params.file,
        models=(),
        pooling="last",
        special_tokens=params.special_tokens,
        sites=(),
        analyses=analyses,
        prompts=prompts,
    )
    if experiment.hash != params.hash:
        raise TokentrailsError(
            "the file changed after this run had read it",
            where=params.file,
            hint="run the same command again.",
        )
    folder = Path(snakemake.input.tokenizer[0]).parent
    config_file = folder / "config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    context_length = architecture_of(config, where=config_file).context_length(config)
    tokens, skipped = tokenize(
        experiment, TokenizerFiles.load(folder), context_length, model=wildcards.model
    )
    for row in skipped.to_pylist():
        logging.info("skipped %s: %s", row["label"], row["reason"])
    provenance = {
        "model": wildcards.model,
        "experiment": experiment.name,
        "experiment_hash": experiment.hash,
        "special_tokens": experiment.special_tokens,
        "tokenizer_sha256": sha256_of(folder / TOKENIZER),
    }
    write_table(
        describe(
            tokens, title="token ids of the prompts, and the targets in them", provenance=provenance
        ),
        snakemake.output.tokens,
    )
    write_table(
        describe(
            skipped,
            title="targets that this tokenizer cannot separate from their neighbours",
            provenance=provenance,
            meanings={"reason": "why the target is left out"},
        ),
        snakemake.output.skipped,
        snakemake.output.skipped_csv,
    )
