"""Mean curves of words grouped by their number of tokens, from tables across checkpoints."""

from collections.abc import Sequence

import polars as pl

from .points import LINE, mapped, points_frame
from .theme import colour, ramp

KEPT = ("checkpoint", "step", "layer", "n", "few")
"""Columns of the points frames of figures across checkpoints."""


def stream(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of the residual stream; numbers in float64, NaN as null."""
    exact = pl.selectors.float().cast(pl.Float64).fill_nan(None)
    return table.filter(site=LINE).with_columns(exact)


def group_name(n_tokens: int) -> str:
    """The name of a group of words."""
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
    """A points frame with one line per group; groups of few words are dashed."""
    names = titles(table)
    return points_frame(
        table.filter(pl.col("n_tokens").is_in(list(names))),
        value,
        interval,
        *KEPT,
        line="n_tokens",
        series=mapped("n_tokens", names),
        colour=mapped("n_tokens", {tokens: group_colour(tokens) for tokens in names}),
    )


def layer_lines(table: pl.DataFrame, value: str, interval: Sequence[str]) -> pl.DataFrame:
    """A points frame with one line per layer for all words together, coloured by depth.

    The first, the middle and the last layer are labelled.
    """
    rows = table.filter(pl.col("n_tokens").is_null()).drop_nulls(["layer", value])
    layers = rows["layer"].unique().to_list()
    depth = max(layers, default=0) or 1
    names = {layer: f"layer {layer}" for layer in (0, depth // 2, depth)}
    return points_frame(
        rows,
        value,
        interval,
        *KEPT,
        line="layer",
        series=pl.col("layer").replace_strict(names, default=None, return_dtype=pl.String),
        colour=mapped("layer", {layer: ramp(layer / depth) for layer in layers}),
        dashed=pl.lit(value=False),
    )
