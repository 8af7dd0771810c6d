"""A model on the hub, at one commit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from httpx2 import Client, HTTPError, Response
from huggingface_hub import (
    HfApi,
    constants,
    hf_hub_download,
    set_client_factory,
    snapshot_download,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import parse_ratelimit_headers
from huggingface_hub.utils._http import default_client_factory

from ..errors import TokentrailsError, is_disk_full, one_line
from ..files.json_file import read_object
from ..settings import Model, Source, step_of
from .size import Expected, size_from_config
from .source import CONFIG_FILE, WEIGHTS, Fetched, is_gguf, model_files, sha256_of
from .supported import refuse_config

_LONGEST_WAIT = 600
"""Seconds that a hub may ask to wait for. Its own limits are of five minutes."""

_COMMIT = re.compile("[0-9a-f]{40,64}")

_SILENCE = 60.0
"""Seconds without an answer, after which a question is asked again."""


def _client() -> Client:
    client = default_client_factory()
    client.timeout = _SILENCE
    client.event_hooks["response"].append(_refuse_long_wait)
    return client


def _refuse_long_wait(response: Response) -> None:
    """Raise where huggingface_hub would wait for longer than anybody watches."""
    asked = response.headers.get("Retry-After", "").strip()
    limit = parse_ratelimit_headers(response.headers)
    waits = [int(asked[:12])] if asked.isdigit() else []
    waits += [limit.reset_in_seconds] if limit and not limit.remaining else []
    if response.is_error and max(waits, default=0) > _LONGEST_WAIT:
        raise TokentrailsError(
            f"the hub answers {response.status_code} and asks to wait for {max(waits):,} seconds",
            where=constants.ENDPOINT,
            hint="run the same command again then; an account (HF_TOKEN) may ask more often.",
        )


set_client_factory(_client)


def size(model: Model) -> Expected:
    """The size that the hub announces for the reference checkpoint.

    Raises
    ------
    TokentrailsError: as `fetch` does.
    """
    source = model.source
    revision = _revision(source, model.reference)
    with TemporaryDirectory() as scratch, _explained(source, revision):
        info, names = _info(source, revision)
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
    revision = _revision(source, checkpoint)
    facts: dict[str, Any] = {"requested_revision": revision}
    with _explained(source, revision):
        info, names = _info(source, revision)
        folder = scratch / str(info.sha)  # files of two commits must not meet in one folder
        for abandoned in folder.rglob("*.incomplete"):  # huggingface_hub starts such a file anew
            abandoned.unlink()
        first, *_ = names
        if not is_gguf(source):
            file = hf_hub_download(source.location, first, revision=info.sha, local_dir=folder)
            refuse_config(read_object(Path(file)), source)  # before gigabytes
        if not is_gguf(source) and source.base is None:
            from .readable import refuse_unreadable  # loads torch

            _download(source, info, [n for n in names if not n.endswith(WEIGHTS)], folder)
            refuse_unreadable(folder, names, where=f"models.{source.model}")
        _download(source, info, names, folder)
        if source.has_checkpoints:
            facts |= _compared_with_main(source, info, names)
    for name in names:
        if not (folder / name).is_file():
            raise TokentrailsError(
                f"the hub announces {name} and does not send it",
                where=f"models.{source.model}",
                hint="run the same command again; if that does not help, the hub is broken.",
            )
    _check_hashes(info, folder, names, f"models.{source.model}")
    gguf = first if is_gguf(source) else None
    return Fetched(folder, revision=info.sha or revision, gguf=gguf, facts=facts)


def _download(source: Source, info: ModelInfo, names: list[str], folder: Path) -> None:
    snapshot_download(
        source.location, revision=info.sha, allow_patterns=names, local_dir=folder, max_workers=2
    )


def commit_of(source: Source, checkpoint: str) -> str | None:
    """The commit that a checkpoint is at now; None if the hub does not say."""
    try:
        return HfApi().model_info(source.location, revision=_revision(source, checkpoint)).sha
    except Exception:  # whatever it is, fetching says it
        return None


def _revision(source: Source, checkpoint: str) -> str:
    """The branch, tag or commit that is a checkpoint of a model."""
    return checkpoint if source.has_checkpoints else source.revision


def _info(source: Source, revision: str) -> tuple[ModelInfo, list[str]]:
    """What the hub says of a revision, and the names of the files that make a model of it."""
    info = HfApi().model_info(source.location, revision=revision, files_metadata=True)
    if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):  # a folder has its name
        raise ValueError(f"the commit {info.sha!r:.80}")
    names = [sibling.rfilename for sibling in info.siblings or []]
    return info, model_files(names, source, repr(source.location))


@contextmanager
def _explained(source: Source, revision: str) -> Iterator[None]:
    """Say in one message what is wrong with a model, a revision or the network."""
    where = f"models.{source.model}"
    status: int | None = None
    try:
        try:
            yield
        except HfHubHTTPError as error:
            status = error.response.status_code
            raise
    except TokentrailsError:
        raise
    except GatedRepoError as error:
        raise TokentrailsError(
            f"the model {source.location!r} asks for an agreement that this account has not given",
            where=where,
            hint="accept its terms on its page, and set HF_TOKEN.",
        ) from error
    except RevisionNotFoundError as error:
        raise TokentrailsError(
            f"the checkpoint does not exist: {source.location!r} has no revision {revision!r}",
            where=where,
            hint="look at the branches and tags on the model's page.",
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise TokentrailsError(
            f"the model does not exist on the hub: {source.location!r}",
            where=where,
            hint="check owner and name; for a private model set HF_TOKEN.",
        ) from error
    except (OSError, HTTPError) as error:
        if status in (401, 403):
            why = (
                "wants a token, another than it got"
                if status == 401
                else "does not let this account read it"
            )
            raise TokentrailsError(
                f"the hub answers {status} for {source.location!r}: it {why}",
                where=where,
                hint="set HF_TOKEN to a token of an account that may read the model, or unset it.",
            ) from error
        if is_disk_full(error):
            raise
        if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
            raise TokentrailsError(  # libraries raise others without a number
                f"the files of {source.location!r} cannot be written: {error}",
                where=where,
                hint="check the folder's file system; one that has no locks cannot be used here.",
            ) from error
        raise TokentrailsError(
            f"the hub cannot be reached for {source.location!r} at {constants.ENDPOINT}: "
            f"{one_line(error)}",
            where=where,
            hint="check the network, then run the same command again; "
            "files that arrived whole are kept. Without a network use a path: or package: source.",
        ) from error
    except Exception as error:
        raise TokentrailsError(
            f"what answers at {constants.ENDPOINT} for {source.location!r} is no hub: "
            f"{type(error).__name__}: {one_line(error)}",
            where=where,
            hint="a network that wants a sign-in first, and a proxy, answer with a page of their "
            "own; open the address in a browser, and check HF_ENDPOINT.",
        ) from error


def _compared_with_main(source: Source, info: ModelInfo, names: list[str]) -> dict[str, Any]:
    """Whether a revision's weight files are those of `main`, and the last step on the hub."""
    try:
        main = HfApi().model_info(source.location, revision="main", files_metadata=True)
        own, theirs = _weight_hashes(info, names), _weight_hashes(main, names)
    except RevisionNotFoundError:
        own, theirs = {}, {}
    comparable = own.keys() == theirs.keys() and own and None not in (own | theirs).values()
    try:
        refs = HfApi().list_repo_refs(source.location)
        published = [step_of(ref.name) for ref in (*refs.branches, *refs.tags)]
    except HfHubHTTPError:  # not every mirror of the hub lists them
        published = []
    return {
        "same_files_as_main": own == theirs if comparable else None,
        "last_published_step": max((step for step in published if step is not None), default=None),
    }


def _weight_hashes(info: ModelInfo, names: list[str]) -> dict[str, str | None]:
    return {
        sibling.rfilename: sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
        for sibling in info.siblings or []
        if sibling.rfilename in names and sibling.rfilename.endswith(WEIGHTS)
    }


def _check_hashes(info: ModelInfo, folder: Path, names: list[str], where: str) -> None:
    for sibling in info.siblings or []:
        if sibling.rfilename not in names or sibling.lfs is None:
            continue
        path = folder / sibling.rfilename
        digest = sha256_of(path)
        if digest != sibling.lfs.sha256:
            path.unlink()
            raise TokentrailsError(
                f"{sibling.rfilename} arrived with sha256 {digest}, "
                f"the hub announces {sibling.lfs.sha256}",
                where=where,
                hint="the damaged file was removed; run the same command again.",
            )
