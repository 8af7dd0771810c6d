"""What a query of a claims file reads: parsed, not searched for words."""

from __future__ import annotations

from functools import cache, partial
from importlib.metadata import version
from typing import Any

from ..errors import TokentrailsError
from ..files.memo import Memo
from ..statistics.forms import FORMS

CHARACTERS = 20_000

_NOUNS = {"label": "text", "last_token": "last token"} | {
    name: name for name in ("word", "token", "type", "head", "neuron", "layer")
}
"""What the units are, by the last of the columns that name them."""

_OF_FORM = {
    "rank_standardised": "standardised",
    "neighbour_standardised": "standardised",
    **dict.fromkeys(("rank", "nearest_cosine", "neighbour_cosine"), "cosine"),
}
"""Further columns that are of a form of similarity."""

CROSSED = " × "
"""Between the units of a formula that resamples two."""


def tables_of(sql: str, where: object) -> set[str]:
    """The names of the tables that a query reads; those that it defines itself are none.

    Raises
    ------
    TokentrailsError: for what is no single query of tables that have a name.
    """
    if len(sql) > CHARACTERS:
        raise TokentrailsError(
            f"the formula has {len(sql):,} characters",
            where=where,
            hint=f"at most {CHARACTERS:,} are read; let a measure of your own compute it.",
        )
    return set(_named(sql, partial(_tables_of, where=where)))


_named = Memo("formulas", f"1, sqlglot {version('sqlglot')}")
"""Importing the parser and parsing all formulas takes as long as all else that a start checks."""


@cache
def unit_of(sql: str) -> str | None:
    """What a formula's units are, such as `text`, `head` or `text × token`.

    None where its columns do not say.
    """
    from sqlglot import exp

    tree = _tree(sql)
    selected = tree.selects if isinstance(tree, exp.Query) else []
    nouns = []
    for name in ("unit", "crossed"):
        columns = [
            column.name
            for each in selected
            if each.alias_or_name == name
            for column in each.find_all(exp.Column)
        ]
        nouns += [_NOUNS.get(column) for column in columns[-1:]]
    return None if None in nouns or not nouns else CROSSED.join(filter(None, nouns))


@cache
def forms_of(sql: str) -> frozenset[str]:
    """The forms of similarity that a formula has, as columns or as values of `measure`."""
    from sqlglot import exp

    named = {each.name for each in _tree(sql).find_all(exp.Column, exp.Literal)}
    return frozenset(FORMS).intersection(_OF_FORM.get(name, name) for name in named)


@cache
def _tree(sql: str) -> Any:
    """A formula, parsed, that is known to be one query."""
    import sqlglot

    (tree,) = sqlglot.parse(sql)
    return tree


def _tables_of(sql: str, *, where: object) -> list[str]:
    import sqlglot
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    try:
        # No dialect knows all that polars does; the default one parses what formulas need.
        trees = sqlglot.parse(sql)
        scopes = [scope for tree in trees if tree for scope in traverse_scope(tree)]
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        problem = str(error).splitlines()[0]
        raise TokentrailsError(
            f"the formula cannot be parsed: {problem}",
            where=where,
            hint="write one query: SELECT … FROM …, or WITH … AS (…) SELECT ….",
        ) from None
    (tree, *more) = trees
    if more or not isinstance(tree, exp.Query) or tree.find(exp.Into):
        raise TokentrailsError(
            "the formula is no query",
            where=where,
            hint="write one, which begins with SELECT, or with WITH … AS (…) SELECT.",
        )
    if any(clause.recursive for clause in tree.find_all(exp.With)):
        raise TokentrailsError(
            "the formula is recursive, and need not end",
            where=where,
            hint="take RECURSIVE out; a column of numbers comes from a table.",
        )
    if any(not isinstance(table.this, exp.Identifier) for table in tree.find_all(exp.Table)):
        raise TokentrailsError(
            "the formula reads a file of its own, or calls a function for a table",
            where=where,
            hint="name the table under 'tables'; its provenance is then known.",
        )
    sources = (source for scope in scopes for source in scope.sources.values())
    return sorted({source.name for source in sources if isinstance(source, exp.Table)})
