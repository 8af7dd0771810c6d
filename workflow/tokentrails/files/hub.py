"""A repository of the hub, a model or a data set: what is in it, and files of one commit."""

from __future__ import annotations

import difflib
import glob
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from httpx2 import Client, HTTPError, Response
from huggingface_hub import HfApi, constants, set_client_factory, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import DatasetInfo, ModelInfo
from huggingface_hub.utils import parse_ratelimit_headers
from huggingface_hub.utils._http import default_client_factory

from ..errors import TokentrailsError, is_disk_full, one_line
from ..settings import HUB
from .atomic import write_text
from .hashes import sha256_of

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


Info = ModelInfo | DatasetInfo


@dataclass(frozen=True)
class Repository:
    """A model or a data set of the hub, at a branch, tag or commit.

    Attributes
    ----------
    name: `OWNER/NAME`.
    where: what names it, for messages.
    instead: what does without a network.
    """

    kind: Literal["model", "dataset"]
    name: str
    revision: str
    where: str
    instead: str

    @property
    def noun(self) -> str:
        return "model" if self.kind == "model" else "data set"

    def info(self) -> Info:
        """Its commit and its files.

        Raises
        ------
        ValueError: for a commit that is none: a folder has its name.
        """
        info = HfApi().repo_info(
            self.name, repo_type=self.kind, revision=self.revision, files_metadata=True
        )
        assert isinstance(info, Info)
        if not isinstance(info.sha, str) or not _COMMIT.fullmatch(info.sha):
            raise ValueError(f"the commit {info.sha!r:.80}")
        return info

    def download(self, info: Info, names: Collection[str], folder: Path) -> None:
        """Fetch files of a commit into its folder, but for those that are there whole."""
        for abandoned in folder.rglob("*.incomplete"):  # huggingface_hub starts such a file anew
            abandoned.unlink()
        snapshot_download(
            self.name,
            repo_type=self.kind,
            revision=info.sha,
            allow_patterns=[glob.escape(name) for name in names],
            local_dir=folder,
            max_workers=2,
        )

    def check(self, info: Info, names: Collection[str], folder: Path) -> dict[str, str]:
        """Refuse files that did not come, and those with another hash than the hub announces.

        Returns
        -------
        By name, the announced hashes that were found right.
        """
        hashes = {each.rfilename: each.lfs.sha256 for each in info.siblings or [] if each.lfs}
        for name in names:
            path = folder / name
            if not path.is_file():
                raise TokentrailsError(
                    f"the hub announces {name} and does not send it",
                    where=self.where,
                    hint="run the same command again; if that does not help, the hub is broken.",
                )
            if name in hashes and (digest := sha256_of(path)) != hashes[name]:
                path.unlink()
                raise TokentrailsError(
                    f"{name} arrived with sha256 {digest}, the hub announces {hashes[name]}",
                    where=self.where,
                    hint="the damaged file was removed; run the same command again.",
                )
        return {name: hashes[name] for name in names if name in hashes}


@contextmanager
def explained(repository: Repository) -> Iterator[None]:
    """Say in one message what is wrong with a repository, its revision or the network."""
    name, noun, where = repository.name, repository.noun, repository.where
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
            f"the {noun} {name!r} asks for an agreement that this account has not given",
            where=where,
            hint="accept its terms on its page, and set HF_TOKEN.",
        ) from error
    except RevisionNotFoundError as error:
        raise TokentrailsError(
            f"the {noun} {name!r} has no revision {repository.revision!r}",
            where=where,
            hint=f"look at the branches and tags on the {noun}'s page.",
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise TokentrailsError(
            f"the {noun} does not exist on the hub: {name!r}",
            where=where,
            hint=f"check owner and name; for a private {noun} set HF_TOKEN.",
        ) from error
    except (OSError, HTTPError) as error:
        if status in (401, 403):
            why = (
                "wants a token, another than it got"
                if status == 401
                else "does not let this account read it"
            )
            raise TokentrailsError(
                f"the hub answers {status} for {name!r}: it {why}",
                where=where,
                hint="set HF_TOKEN to a token of an account that may read it, or unset it.",
            ) from error
        if is_disk_full(error):
            raise
        if isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
            raise TokentrailsError(  # libraries raise others without a number
                f"the files of {name!r} cannot be written: {error}",
                where=where,
                hint="check the folder's file system; one that has no locks cannot be used here.",
            ) from error
        raise TokentrailsError(
            f"the hub cannot be reached for {name!r} at {constants.ENDPOINT}: {one_line(error)}",
            where=where,
            hint="check the network, then run the same command again; "
            f"files that arrived whole are kept. Without a network use {repository.instead}.",
        ) from error
    except Exception as error:
        raise TokentrailsError(
            f"what answers at {constants.ENDPOINT} for {name!r} is no hub: "
            f"{type(error).__name__}: {one_line(error)}",
            where=where,
            hint="a network that wants a sign-in first, and a proxy, answer with a page of their "
            "own; open the address in a browser, and check HF_ENDPOINT.",
        ) from error


def fetch_data(file: str, target: Path, provenance: Path) -> None:
    """Download one file of a data set, and say what it is in its provenance, which comes last.

    Parameters
    ----------
    file: `OWNER/NAME@REVISION/PATH`, the revision quoted.

    Raises
    ------
    TokentrailsError: if there is no such data set, revision or file, it may not be read, there is
        no network, or the file arrives with another hash than the hub announces.
    """
    owner, at, name = file.split("/", 2)
    short, revision = at.split("@")
    repository = Repository(
        "dataset", f"{owner}/{short}", unquote(revision), f"{HUB}{file}", "a file of this machine"
    )
    scratch = Path(f"{target}.fetch")
    with explained(repository):
        info = repository.info()
        there = sorted(each.rfilename for each in info.siblings or [])
        if name not in there:
            near = difflib.get_close_matches(name, there, n=5, cutoff=0.5) or there[:5]
            raise TokentrailsError(
                f"the data set {repository.name!r} has no file {name!r} at {repository.revision!r}",
                where=repository.where,
                hint=f"name one that it has, such as {', '.join(map(repr, near))}; of many data "
                "sets the revision refs/convert/parquet has Parquet files.",
            )
        folder = scratch / str(info.sha)
        repository.download(info, [name], folder)
    hashes = repository.check(info, [name], folder)
    about = {
        "source": f"{HUB}{repository.name}",
        "file": name,
        "requested_revision": repository.revision,
        "revision": info.sha,
        "sha256": hashes.get(name) or sha256_of(folder / name),
    }
    os.replace(folder / name, target)
    write_text(provenance, json.dumps(about, indent=2) + "\n")
    shutil.rmtree(scratch)
