"""What the tensors of a model are called, whatever wrapped the model when it was saved."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Container

from ..errors import TokentrailsError
from ..network.architectures import Architecture, text_tensor
from ..network.computed import block_pattern

Rename = Callable[[Collection[str]], dict[str, str]]
"""Gives the new names of tensors, by those in a file; those that are left out have none."""

_INSIDE = re.compile(r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What torch puts before the names of a module that it compiles, shards or recomputes."""

_AROUND = re.compile(r"(?:(?:module|model|_forward_module)\.)+")
"""Names of the only module of a wrapper: DataParallel, Lightning, or somebody's own."""

_TEXT_HALF = r"(?:language_model|text_model)\."


def wrapped_in(names: Collection[str], architecture: Architecture, base: str, half: bool) -> str:
    """What stands before the names of all tensors, and is none of the model's; empty for nothing.

    Parameters
    ----------
    names: of a file's tensors.
    base: what transformers calls the bare model inside the one with an unembedding.
    half: whether the model is the half of texts of a larger one.
    """
    anchor = _TEXT_HALF if half else rf"{re.escape(architecture.embedding)}\.weight$"
    found = (re.match(rf"((?:[^.]+\.)*?){anchor}", name) for name in names)
    before = min((match[1] for match in found if match), key=len, default="")
    before = before.removesuffix("model." if half else f"{base}.")
    is_wrapper = _AROUND.fullmatch(before) and all(name.startswith(before) for name in names)
    return before if is_wrapper else ""


def unwrapping(
    architecture: Architecture,
    base: str,
    *,
    half: bool,
    ahead: Container[int] = (),
    removed: set[str],
    left_out: set[str],
    where: str,
) -> Rename:
    """Names without those of wrappers; of a half of texts, as in a model of texts.

    Parameters
    ----------
    base, half: as of `wrapped_in`.
    ahead: blocks that are left out.
    removed: gets what was taken away.
    left_out: gets how the names of the blocks begin that were left out.

    Raises
    ------
    TokentrailsError: where two tensors get one name.
    """
    block = block_pattern(architecture)

    def rename(names: Collection[str]) -> dict[str, str]:
        removed.update(match[0] for name in names for match in _INSIDE.finditer(name))
        plain = {name: _INSIDE.sub("", name) for name in names}
        around = wrapped_in(plain.values(), architecture, base, half)
        removed.update({around} - {""})
        new = {name: bare.removeprefix(around) for name, bare in plain.items()}
        if half:
            texts = {name: text_tensor(bare) for name, bare in new.items()}
            new = {name: text for name, text in texts.items() if text is not None}
        blocks = {name: block.search(short) for name, short in new.items()}
        dropped = {name: m for name, m in blocks.items() if m and int(m[1]) in ahead}
        left_out.update(m.string[: m.end()] for m in dropped.values())
        new = {name: short for name, short in new.items() if name not in dropped}
        owners: dict[str, str] = {}
        for name, short in new.items():
            if (first := owners.setdefault(short, name)) != name:
                raise TokentrailsError(
                    f"{first!r} and {name!r} are the same tensor, {short!r}",
                    where=where,
                    hint="save the model again, without what wraps it.",
                )
        return new

    return rename
