"""Texts every token of which is a target."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa


class WholeText(NamedTuple):
    """A text of the tokens table."""

    label: str
    token_ids: list[int]
    tokens: list[str]


def whole_texts(tokens: pa.Table) -> list[WholeText]:
    """The texts of an experiment on whole texts, in the order of the table.

    Parameters
    ----------
    tokens: the experiment's tokens table: a row for each token, those of a text together.
    """
    texts: list[WholeText] = []
    row = 0
    while row < tokens.num_rows:
        texts.append(WholeText(*(tokens[name][row].as_py() for name in WholeText._fields)))
        row += len(texts[-1].token_ids)
    return texts
