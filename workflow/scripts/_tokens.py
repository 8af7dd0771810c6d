"""What scripts that cut an experiment's texts begin with."""

import json
from pathlib import Path
from typing import NamedTuple

from tokentrails.config.experiments import load_experiment
from tokentrails.errors import TokentrailsError
from tokentrails.files.hashes import sha256_of
from tokentrails.models.source import TOKENIZER
from tokentrails.network.architectures import architecture_of
from tokentrails.settings import ENGLISH, Experiment
from tokentrails.texts.tokenization import TokenizerFiles


class Texts(NamedTuple):
    """An experiment, what cuts its texts for a model that takes so many tokens, and provenance."""

    experiment: Experiment
    files: TokenizerFiles
    context_length: int
    provenance: dict


def planned_experiment(snakemake, **more):
    """The experiment without its analyses, which tokens do not depend on, and the run has checked.

    The configuration may ask for others than its file.
    """
    entry = snakemake.params.entry | {"analyses": []}
    return load_experiment(snakemake.wildcards.experiment, entry, **more)


def prepare_texts(snakemake):
    """Read the experiment's file, which must be as it was when the run began, and the tokenizer."""
    wildcards, params = snakemake.wildcards, snakemake.params
    experiment = planned_experiment(snakemake)
    if experiment.hash != params.hash:
        raise TokentrailsError(
            "the file changed after this run had read it",
            where=experiment.file,
            hint="run the same command again.",
        )
    folder = Path(snakemake.input.tokenizer[0]).parent
    config_file = folder / "config.json"
    config = json.loads(config_file.read_text(encoding="utf-8"))
    context_length = architecture_of(config, where=config_file).context_length(config)
    about = {} if experiment.language == ENGLISH else {"language": experiment.language}
    if experiment.replace:
        about["replace"] = ", ".join(experiment.replace)
    if experiment.shuffle is not None:
        about["shuffle"] = str(experiment.shuffle)
    provenance = about | {
        "model": wildcards.model,
        "experiment": experiment.name,
        "experiment_hash": experiment.hash,
        "tokenizer_sha256": sha256_of(folder / TOKENIZER),
    }
    return Texts(experiment, TokenizerFiles.load(folder), context_length, provenance)
