"""Mean curves of words grouped by their number of tokens, from tables across checkpoints."""

from collections.abc import Sequence

import polars as pl

from .theme import colour, ramp

LINE = "resid"  # the site whose layers these figures follow


def stream(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of the residual stream; numbers in float64, NaN as null."""
    numbers = [pl.col(name) for name, dtype in table.schema.items() if dtype.is_float()]
    exact = [number.cast(pl.Float64).fill_nan(None) for number in numbers]
    return table.filter(pl.col("site") == LINE).with_columns(exact)


def group_name(n_tokens: int) -> str:
    """What a group of words is called."""
    return "1 token" if n_tokens == 1 else f"{n_tokens} tokens"


def group_colour(n_tokens: int) -> str:
    """The colour of a group, the same in every figure."""
    return colour(n_tokens - 1)


def sizes(table: pl.DataFrame) -> list[tuple[int, int, bool]]:
    """(number of tokens, of words, whether these are few) for every group of words."""
    groups = table.drop_nulls("n_tokens").group_by("n_tokens")
    return groups.agg(pl.col("n").max(), pl.col("few").all()).sort("n_tokens").rows()


def titles(table: pl.DataFrame) -> dict[int, str]:
    """The name of every group that has words, with their number where they are few."""
    return {
        tokens: f"{group_name(tokens)}, n = {n}" if few else group_name(tokens)
        for tokens, n, few in sizes(table)
        if n
    }


def group_lines(table: pl.DataFrame, value: str, interval: Sequence[str]) -> pl.DataFrame:
    """A points frame (see `lines`) with one line per group; groups of few words are dashed."""
    names = titles(table)
    colours = {tokens: group_colour(tokens) for tokens in names}
    points = points_of(table.drop_nulls("n_tokens"), value, interval, line="n_tokens")
    return points.with_columns(
        series=pl.col("line").replace_strict(names, return_dtype=pl.String),
        colour=pl.col("line").replace_strict(colours, return_dtype=pl.String),
        dashed=pl.col("few"),
    )


def layer_lines(table: pl.DataFrame, value: str, interval: Sequence[str]) -> pl.DataFrame:
    """A points frame with one line per layer for all words together, coloured by depth.

    The first, the middle and the last layer are labelled.
    """
    rows = table.filter(pl.col("n_tokens").is_null()).drop_nulls("layer")
    points = points_of(rows, value, interval, line="layer")
    depth = max(points["line"].unique().to_list(), default=0) or 1
    names = {layer: f"layer {layer}" for layer in (0, depth // 2, depth)}
    colours = {layer: ramp(layer / depth) for layer in points["line"].unique()}
    return points.with_columns(
        series=pl.col("line").replace_strict(names, default=None, return_dtype=pl.String),
        colour=pl.col("line").replace_strict(colours, return_dtype=pl.String),
        dashed=pl.lit(False),
    )


def points_of(
    table: pl.DataFrame, value: str, interval: Sequence[str], *more: str, line: str | pl.Expr
) -> pl.DataFrame:
    """The columns of a points frame that are in a table, without its rows that have no value.

    `line` tells one line from another; `more` columns stay as they are. Six decimals: what a
    figure shows, and the same everywhere.
    """
    low, high = interval
    return table.drop_nulls(value).select(
        *("checkpoint", "step", "layer", "n", "few"),
        *more,
        line=line,
        value=pl.col(value).round(6),
        low=pl.col(low).round(6),
        high=pl.col(high).round(6),
    )
