"""Whether a table is what its path says: of that model, checkpoint and experiment."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable

from ..catalogue import MODEL_FOLDER, STATES, SUMS, TEXTS, TOKENS, Scope
from ..errors import TokentrailsError
from .json_file import read_object
from .tables import Path, read_provenance

_PATTERNS = (
    TEXTS,
    TOKENS,
    STATES,
    SUMS,
    f"{MODEL_FOLDER}/provenance.json",
    f"{MODEL_FOLDER}/for/{{user}}/provenance.json",
    # Runs come last: the paths of the others match their pattern too.
    *(f"{scope.value}/{{table}}.parquet" for scope in (Scope.WEIGHTS, Scope.ACROSS, Scope.RUN)),
)
# Where results are kept in a bucket, they lie below a folder of that.
_PLACES = [
    re.compile(r"(?:.*/)?" + re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(pattern)))
    for pattern in _PATTERNS
]
_KEYS = ("model", "checkpoint", "experiment")
_SAME = {
    "weights_sha256": ("model", "checkpoint"),
    "tokenizer_sha256": ("model",),
    "experiment_hash": ("model", "experiment"),
}
"""What files agree on that are of one model, and so on."""


def refuse_strangers(paths: Iterable[Path]) -> None:
    """Compare what tables say that they come from with their paths, and with each other.

    Parameters
    ----------
    paths: of tables, and of the `provenance.json` of a checkpoint; others take no part.

    Raises
    ------
    TokentrailsError: for a table of another model, checkpoint or experiment than its path says; for
        two of one checkpoint with other weights, or of one experiment with other texts.
    """
    seen: dict[tuple[str, ...], tuple[Path, str]] = {}
    for path in paths:
        expected = _place(str(path))
        if expected is None and not str(path).endswith("/provenance.json"):  # a user's own table
            continue
        found = _origin(str(path))
        for key, name in (expected or {}).items():
            if found.get(key) != name:
                origin = repr(found[key]) if key in found else "one that it does not name"
                raise _stranger(path, f"the file is of the {key} {origin}, not of {name!r}")
        for key, kinds in _SAME.items():
            if key in found and all(kind in found for kind in kinds):
                group = (key, *(found[kind] for kind in kinds))
                other, value = seen.setdefault(group, (path, found[key]))
                if value != found[key]:
                    about = f"its {key} is {found[key]!r}, and that of {other} is {value!r}"
                    raise _stranger(path, f"{about}: one of them is not of this run")


def _place(path: str) -> dict[str, str] | None:
    """The model, checkpoint and experiment of a path that this workflow makes, as far as named."""
    match = next(filter(None, (pattern.fullmatch(path) for pattern in _PLACES)), None)
    if match is None:
        return None
    named = match.groupdict()
    return {key: name for key, name in named.items() if key in _KEYS}


def _origin(path: str) -> dict[str, str]:
    """What a file says that it comes from; {} for what is neither a table nor a provenance."""
    if path.endswith("/provenance.json"):
        facts = read_object(pathlib.Path(path), hint=f"delete it (rm '{path}') and run again.")
        weights = facts.get("sha256", {}).get("model.safetensors")
        # Tokenizers are compared where the texts are cut, with a message for a user's own list.
        about = {key: facts[key] for key in ("model", "checkpoint") if key in facts}
        return about | {"weights_sha256": weights} if weights else {}
    if not path.endswith(".parquet"):
        return {}
    return read_provenance(path)


def _stranger(path: Path, problem: str) -> TokentrailsError:
    return TokentrailsError(
        problem,
        where=path,
        hint=f"delete it (rm '{path}') and run the same command again; it will be made again.",
    )
