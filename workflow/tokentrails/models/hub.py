"""A model on the hub, at one commit."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError

from ..files.hub import Info, Repository, explained
from ..files.json_file import read_object
from ..settings import Model, Source, step_of
from .size import Expected, size_from_config
from .source import CONFIG_FILE, WEIGHTS, Fetched, is_gguf, model_files
from .supported import refuse_config


def size(model: Model) -> Expected:
    """The size that the hub announces for the reference checkpoint.

    Raises
    ------
    TokentrailsError: as `fetch` does.
    """
    source = model.source
    repository = _repository(source, model.reference)
    with TemporaryDirectory() as scratch, explained(repository):
        info, names = _info(repository, source)
        hf_hub_download(source.location, CONFIG_FILE, revision=info.sha, local_dir=scratch)
        sizes = {s.rfilename: s.size or 0 for s in info.siblings or [] if s.rfilename in names}
        announced = size_from_config(source, Path(scratch), sizes)
    return Expected(announced, sum(sizes.values()) / 1e6)


def fetch(source: Source, checkpoint: str, scratch: Path) -> Fetched:
    """Download one revision's configuration, tokenizer and weights, and check their hashes.

    A branch or tag is resolved to its commit first, and that commit is what is downloaded. Files
    that an interrupted run left whole in `scratch` are not fetched again. `HF_ENDPOINT` and
    `HF_TOKEN` of the environment are respected.

    Parameters
    ----------
    source: `hub:OWNER/NAME`.
    checkpoint: the revision, or `main` for the model's own `revision`.
    scratch: a folder to work in.

    Raises
    ------
    TokentrailsError: if there is no such model or revision, no network, no safetensors, an
        unsupported architecture, or a file arrives with another hash than the hub announces.
    """
    repository = _repository(source, checkpoint)
    facts: dict[str, Any] = {"requested_revision": repository.revision}
    with explained(repository):
        info, names = _info(repository, source)
        folder = scratch / str(info.sha)  # files of two commits must not meet in one folder
        first, *_ = names
        if not is_gguf(source):
            file = hf_hub_download(source.location, first, revision=info.sha, local_dir=folder)
            refuse_config(read_object(Path(file)), source)  # before gigabytes
        if not is_gguf(source) and source.base is None:
            from .readable import checked_config  # loads torch

            repository.download(info, [n for n in names if not n.endswith(WEIGHTS)], folder)
            checked_config(folder, names, where=f"models.{source.model}")  # before gigabytes
        repository.download(info, names, folder)
        if source.has_checkpoints:
            facts |= _compared_with_main(source, checkpoint, info, names)
    repository.check(info, names, folder)
    gguf = first if is_gguf(source) else None
    return Fetched(folder, revision=str(info.sha), gguf=gguf, facts=facts)


def commit_of(source: Source, checkpoint: str) -> str | None:
    """The commit that a checkpoint is at now; None if the hub does not say."""
    repository = _repository(source, checkpoint)
    try:
        return HfApi().model_info(repository.name, revision=repository.revision).sha
    except Exception:  # whatever it is, fetching says it
        return None


def _repository(source: Source, checkpoint: str) -> Repository:
    """Where a checkpoint of a model is: at a branch, a tag or a commit."""
    revision = checkpoint if source.has_checkpoints else source.revision
    where = f"models.{source.model}"
    return Repository("model", source.location, revision, where, "a path: or package: source")


def _info(repository: Repository, source: Source) -> tuple[Info, list[str]]:
    """What the hub says of a checkpoint, and the names of the files that make a model of it."""
    info = repository.info()
    names = [sibling.rfilename for sibling in info.siblings or []]
    return info, model_files(names, source, repr(source.location))


def _compared_with_main(
    source: Source, checkpoint: str, info: Info, names: list[str]
) -> dict[str, Any]:
    """Whether a checkpoint's weight files are those of `main`, and the last step on the hub.

    Steps are in names that are written like the checkpoint's: the tag `20240101` is a day, where
    checkpoints are named as in `step64`.
    """
    try:
        main = HfApi().model_info(source.location, revision="main", files_metadata=True)
        own, theirs = _weight_hashes(info, names), _weight_hashes(main, names)
    except RevisionNotFoundError:
        own, theirs = {}, {}
    comparable = own.keys() == theirs.keys() and own and None not in (own | theirs).values()
    form = _form(checkpoint)
    try:
        refs = HfApi().list_repo_refs(source.location)
        alike = (ref.name for ref in (*refs.branches, *refs.tags) if _form(ref.name) == form)
        published = [step for name in alike if (step := step_of(name)) is not None]
    except HfHubHTTPError:  # not every mirror of the hub lists them
        published = []
    return {
        "same_files_as_main": own == theirs if comparable else None,
        "last_published_step": max(published, default=None),
    }


def _form(name: str) -> str:
    """A name without its numbers."""
    return re.sub("[0-9]+", "0", name)


def _weight_hashes(info: Info, names: list[str]) -> dict[str, str | None]:
    return {
        sibling.rfilename: sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
        for sibling in info.siblings or []
        if sibling.rfilename in names and sibling.rfilename.endswith(WEIGHTS)
    }
