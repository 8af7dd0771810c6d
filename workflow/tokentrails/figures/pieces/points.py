"""From tables to points: numbers as figures have them, names of runs, points frames.

A *points* frame has one row per point: line (its key), series (its direct label, null for none),
colour, dashed (or the number of one of the `lines.DASHES`), value, the interval low and high (null
where there is none), and the x axis.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from ...texts.entries import surface, with_bytes
from .text import readable, shorten

WORD = 40
"""Most characters of a token in a cell or a tooltip."""

# `resid_mid` counts blocks, not layers of the stream, so most lines leave it out.
LINE, AFTER_NORM = "resid", "final_norm"

DEPTH_SHARE = (pl.col("layer") / pl.max_horizontal(pl.col("layer").max().over("run"), 1)).round(6)
"""The layer as a share of the last one of its run."""


def layer_name(site: str) -> str:
    """What a number of the column layer is at a site: a layer, or the block that it lies in."""
    return "block" if site == "resid_mid" else "layer"


def exact(column: str | pl.Expr) -> pl.Expr:
    """Float64, NaN as null, in six decimals: what a figure shows, and the same everywhere."""
    column = pl.col(column) if isinstance(column, str) else column
    return column.cast(pl.Float64).fill_nan(None).round(6)


def points_frame(
    table: pl.DataFrame,
    value: str,
    interval: Sequence[str],
    *kept: str,
    line: str | pl.Expr,
    colour: pl.Expr,
    series: str | pl.Expr | None = None,
    dashed: str | pl.Expr = "few",
) -> pl.DataFrame:
    """The rows that have a value; without the ends of an interval both are null.

    `series` is by default the line.
    """
    low, high = [exact(end) for end in interval] or [pl.lit(None, pl.Float64)] * 2
    return table.select(
        *kept,
        line=line,
        series=line if series is None else series,
        colour=colour,
        dashed=dashed,
        value=exact(value),
        low=low,
        high=high,
    ).drop_nulls("value")


def draw_means(table: pl.DataFrame, value: str, *keys: str) -> pl.DataFrame:
    """The mean of a value over a control's draws, with low and high, the least and largest of them.

    Of one draw there is no range: both are null. None are few, so that the line is solid: how many
    units there are, the model's own line says.
    """
    column = pl.col(value).cast(pl.Float64)
    return _over_draws(table, value, keys, column, column.mean())


def draw_medians(table: pl.DataFrame, value: str, *keys: str) -> pl.DataFrame:
    """The median instead, of layers: null is never, which is the largest of all.

    It is null where half of the draws or more have none, and high is null where any has none.
    """
    column = pl.col(value).cast(pl.Float64).fill_null(float("inf"))
    drawn = _over_draws(table, value, keys, column, column.median())
    ends = pl.col(value, "low", "high")
    return drawn.with_columns(pl.when(ends.is_finite()).then(ends))


def _over_draws(
    table: pl.DataFrame, value: str, keys: Sequence[str], column: pl.Expr, middle: pl.Expr
) -> pl.DataFrame:
    few = {"few": pl.lit(value=False)} if "few" in table.columns else {}
    several = pl.len() > 1
    return table.group_by(keys, maintain_order=True).agg(
        pl.all().exclude(value, "few").first(),
        middle.round(6),
        low=pl.when(several).then(column.min().round(6)),
        high=pl.when(several).then(column.max().round(6)),
        **few,
    )


def runs(table: pl.DataFrame) -> pl.DataFrame:
    """`table` with a column run: the model, and its checkpoint where it has several."""
    several = pl.col("checkpoint").n_unique().over("model") > 1
    both = pl.format("{} {}", "model", "checkpoint")
    return table.with_columns(run=pl.when(several).then(both).otherwise("model"))


def distinct(values: pl.Series) -> list[str]:
    """The distinct values in the order of their first appearance."""
    return values.unique(maintain_order=True).to_list()


def mapped(column: str, values: Mapping) -> pl.Expr:
    """The string that `values` has for each entry of a column."""
    return pl.col(column).replace_strict(values, return_dtype=pl.String)


def readable_words(tokens: str | pl.Expr, length: int = WORD) -> pl.Expr:
    """Tokens as people read them, not too long."""
    column = pl.col(tokens) if isinstance(tokens, str) else tokens
    return column.map_elements(lambda t: shorten(readable(t), length), return_dtype=pl.String)


def with_byte_marks(
    rows: pl.DataFrame, *columns: str, byte_level: bool | None = None
) -> pl.DataFrame:
    """A table in whose columns of entries, or of lists of them, lone bytes read `<0xD7>`.

    Parameters
    ----------
    byte_level: whether the tokenizer is; by default where an entry begins with its mark for the
        space, or `¥` may be the letter.
    """
    found = {name: rows.schema[name] for name in columns if rows[name].null_count() < len(rows)}
    entries = {e for name in found for e in rows[name].explode().drop_nulls().unique()}
    if not (any(e.startswith("Ġ") for e in entries) if byte_level is None else byte_level):
        return rows
    lone = {e: shown for e in entries if (shown := with_bytes(e)) != surface(e)}
    marked = {
        name: pl.col(name).list.eval(pl.element().replace(lone))
        if isinstance(kind, pl.List)
        else pl.col(name).replace(lone)
        for name, kind in found.items()
    }
    return rows.with_columns(**marked) if lone else rows
