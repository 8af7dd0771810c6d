"""What figures across checkpoints say under their titles."""

from collections.abc import Sequence

import polars as pl

from .groups import group_name, sizes

_MOST_WARNINGS = 5


def warnings_of(checkpoints: pl.DataFrame) -> list[str]:
    """The warnings of a table of checkpoints, each once; the last line counts those not shown."""
    found = checkpoints["warning"].drop_nulls().unique(maintain_order=True).to_list()
    shown = found[:_MOST_WARNINGS]
    if more := len(found) - len(shown):
        shown.append(f"{more} more, in the table of checkpoints.")
    return shown


def words_note(table: pl.DataFrame) -> list[str]:
    """How many words stand behind the line of each group, and which groups have none."""
    groups = sizes(table)
    counted = [f"{n} of {group_name(tokens)}" for tokens, n, _ in groups if n]
    none = [group_name(tokens) for tokens, n, _ in groups if not n]
    sentences = [f"Words: {', '.join(counted)}." if counted else ""]
    if any(few and n for _, n, few in groups):
        sentences.append("Dashed: groups of few words.")
    if none:
        sentences.append(f"No word has {_listed(none, 'or')}.")
    return [" ".join(filter(None, sentences))]


def band_note(confidence: float) -> str:
    """What the band around a line is."""
    return f"Band: {100 * confidence:g} % interval, bootstrap over words."


def reference_of(table: pl.DataFrame) -> str:
    """The name of the checkpoint that all others are compared with."""
    return table["reference"][0]


def left_out(table: pl.DataFrame) -> list[str]:
    """Which checkpoints are not drawn, since no step is known of them."""
    names = table.filter(pl.col("step").is_null())["checkpoint"].unique(maintain_order=True)
    if names.is_empty():
        return []
    return [f"Not drawn, for its name holds no step: {', '.join(names)}."]


def _listed(words: Sequence[str], joiner: str) -> str:
    *first, last = words
    return f"{', '.join(first)} {joiner} {last}" if first else last
