"""The checkpoints of one model, compared: whether they are what their names say.

Some public training branches hold the weights of another step; nothing else would show it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ..errors import TokentrailsError
from ..files.tables import describe
from ..settings import step_of

_NAMES = ("model", "checkpoint", "step", "revision", "tensors_sha256", "warning")
_COLUMNS = pa.schema([(name, pa.int64() if name == "step" else pa.string()) for name in _NAMES])
_MEANINGS = {
    "step": "the number in the checkpoint's name; null: none",
    "revision": "commit of a hub model; hash of the weights file of others",
    "tensors_sha256": "hash of the names, types, shapes and bytes of all tensors, by name",
    "warning": "why the checkpoint may not be what its name says; null: no doubt",
}
_ALIKE = {
    "architecture": "architecture",
    "depth": "depth",
    "d_model": "width",
    "vocabulary_rows": "number of vocabulary rows",
    "tokenizer_sha256": "tokenizer",
}
"""What checkpoints of one model have in common, and how messages name it."""


def checkpoints_table(model: str, provenances: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table `checkpoints`.

    Parameters
    ----------
    model: its name in the configuration.
    provenances: of its checkpoints, in the order of the configuration.

    Raises
    ------
    TokentrailsError: if a checkpoint differs in what all of one model have in common.
    """
    _refuse_unlike(model, provenances)
    rows = [
        {
            **provenance,
            "model": model,
            "step": step_of(provenance["checkpoint"]),
            "warning": warning,
        }
        for provenance, warning in zip(provenances, _warnings(provenances), strict=True)
    ]
    table = pa.Table.from_pylist(rows, schema=_COLUMNS)
    title = "the checkpoints of a model, and whether they are what their names say"
    return describe(table, title, {"model": model, "source": provenances[0]["source"]}, _MEANINGS)


def _refuse_unlike(model: str, provenances: Sequence[Mapping[str, Any]]) -> None:
    """Raise for a checkpoint of another architecture, size or tokenizer than the first."""
    first = provenances[0]
    for other in provenances[1:]:
        for key, name in _ALIKE.items():
            if other[key] != first[key]:
                raise TokentrailsError(
                    f"the checkpoint {other['checkpoint']!r} has another {name} than "
                    f"{first['checkpoint']!r}: {other[key]} and {first[key]}",
                    where=f"models.{model}.checkpoints",
                    hint="states of the two cannot be compared; "
                    "list the checkpoint under a model of its own.",
                )


def refuse_other_tokenizer(tokens: Mapping[str, str], checkpoint: Mapping[str, Any]) -> None:
    """Raise for a checkpoint whose tokenizer is not the one that the texts were cut with.

    Parameters
    ----------
    tokens: the provenance of the tokens table.
    checkpoint: the checkpoint's own.
    """
    if tokens["tokenizer_sha256"] != checkpoint["tokenizer_sha256"]:
        raise TokentrailsError(
            f"the texts were cut with another tokenizer than that of the checkpoint "
            f"{checkpoint['checkpoint']!r}: {tokens['tokenizer_sha256']} and "
            f"{checkpoint['tokenizer_sha256']}",
            where=f"models.{checkpoint['model']}.checkpoints",
            hint="list the checkpoint under a model of its own.",
        )


def refuse_out_of_vocabulary(tokens: pa.Table, checkpoint: Mapping[str, Any]) -> None:
    """Raise for a text with a token that has no row in the checkpoint's embedding.

    Tokenizers get further tokens without that the matrix does; only texts that have them suffer.
    """
    rows = checkpoint["vocabulary_rows"]
    beyond = pc.greater_equal(pc.list_flatten(tokens["token_ids"]), rows)
    place = pc.index(beyond, True).as_py()
    if place < 0:
        return
    text = pc.list_parent_indices(tokens["token_ids"])[place].as_py()
    name, number = (pc.list_flatten(tokens[c])[place].as_py() for c in ("tokens", "token_ids"))
    raise TokentrailsError(
        f"the token {name!r} of the text {tokens['label'][text].as_py()!r} has the id {number:,}, "
        f"beyond the {rows:,} rows of the embedding",
        where=f"models.{checkpoint['model']}",
        hint="leave it out of the text, or resize the matrix and train it.",
    )


def _warnings(provenances: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Why each checkpoint may not be what its name says; None where nothing speaks against it."""
    weights = {p["checkpoint"]: p["tensors_sha256"] for p in provenances}
    steps = {name: step for name in weights if (step := step_of(name)) is not None}
    last = max(steps, key=steps.__getitem__, default=None)
    warnings = []
    for provenance in provenances:
        name, digest = provenance["checkpoint"], provenance["tensors_sha256"]
        same = [
            other
            for other in weights
            # `main` should be the last step.
            if weights[other] == digest and other != name and {other, name} != {last, "main"}
        ]
        found = [f"the same weights as {', '.join(same)}"] if same else []
        if name == "main" and last is not None and digest != weights[last]:
            found.append(f"other weights than the last step, {last}")
        if name == last and "main" not in weights and _is_not_main(provenance, steps[name]):
            found.append("the last step, but other weight files than main")
        warnings.append("; ".join(found) or None)
    return warnings


def _is_not_main(provenance: Mapping[str, Any], step: int) -> bool:
    """Whether this is the last step that a hub has, and `main` has other files there."""
    published = provenance.get("last_published_step")
    is_last = published is None or step >= published
    return is_last and provenance.get("same_files_as_main") is False
