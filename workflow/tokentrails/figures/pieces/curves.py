"""Similarity curves by layer: from metric tables to the lines of a figure.

A *curves* frame has one row per point: run, word, style (identity | between | within | context |
control | control_context | chance), line (its number within word and style), series (its direct
label), colour, site, layer, cosine, and for tooltips label, sense and text. Means also have the
ends of their intervals as low and high, null where there is none.
"""

from collections.abc import Sequence

import polars as pl

from .notes import CONTROL
from .points import AFTER_NORM, LINE, draw_means, exact, mapped, readable_words, runs
from .text import readable, visible
from .theme import GREY, INK, colour

_CONTEXT_LABELS = {
    "between": "between senses",
    "within": "within senses",
    "context": "between texts",
}
_INTERVALS = {
    "context_between": "between",
    "context_within": "within",
    "context": "context",
    "identity": "identity",
}
"""The style of each measure of the table `curves`."""


def intervals(curves: pl.DataFrame | None, *, similarity: str = "cosine") -> pl.DataFrame:
    """The table `curves` as run, word (null: over words), style, series, site, layer, low, high."""
    if curves is None:
        keys = dict.fromkeys(("run", "word", "style", "series", "site"), pl.String)
        return pl.DataFrame(
            schema={**keys, "layer": pl.Int32, "low": pl.Float64, "high": pl.Float64}
        )
    return runs(curves.filter(similarity=similarity)).select(
        *("run", "word", "series", "site", "layer"),
        style=mapped("measure", _INTERVALS),
        low=exact("ci_low"),
        high=exact("ci_high"),
    )


def _with_intervals(
    means: pl.DataFrame, curves: pl.DataFrame | None, keys: Sequence[str], measure: str
) -> pl.DataFrame:
    found = intervals(curves, similarity=measure).drop_nulls("word").select(*keys, "low", "high")
    return means.join(found, on=list(keys), how="left", maintain_order="left")


def identity_curves(
    identity: pl.DataFrame, curves: pl.DataFrame | None, *, measure: str = "cosine"
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(one line per sense, one line per text of the senses that have several).

    Without a sense a label is its own series. A sense keeps its colour within its word. `curves`
    is the table with the intervals, `measure` the column that is drawn.
    """
    points = _points(identity, measure).with_columns(
        series=pl.coalesce("sense", "label"), sense=pl.col("sense").fill_null("")
    )
    named = points.select("word", "series").unique().sort("word", "series").rows()
    words = [word for word, _ in named]
    colours = {key: colour(index - words.index(key[0])) for index, key in enumerate(named)}
    points = points.with_columns(
        colour=pl.struct("word", "series").map_elements(
            lambda key: colours[key["word"], key["series"]], return_dtype=pl.String
        ),
        style=pl.lit("identity"),
        n_texts=pl.col("label").n_unique().over("run", "word", "series"),
        # Names may read the same once shortened; numbers keep their lines apart.
        line=pl.col("series").rank("dense"),
    )
    keys = ["run", "word", "style", "line", "series", "colour", "site", "layer"]
    means = points.group_by(keys, maintain_order=True).agg(
        pl.col("cosine").mean(), pl.col("sense").first(), *_names_of_texts("label", "text")
    )
    interval_keys = ("run", "word", "style", "series", "site", "layer")
    means = _with_intervals(means, curves, interval_keys, measure)
    texts = points.filter(pl.col("n_texts") > 1, site=LINE).with_columns(
        line=pl.col("label").rank("dense")
    )
    columns = [*keys, "cosine", "sense", "label", "text"]
    return _for_people(means.select(*columns, "low", "high")), _for_people(texts.select(columns))


def context_curves(
    context: pl.DataFrame | None, curves: pl.DataFrame | None, *, measure: str = "cosine"
) -> pl.DataFrame | None:
    """The mean over pairs between senses and within them, or over all pairs without senses.

    `curves` is the table with the intervals, `measure` the column that is drawn. None if no pair
    has a value.
    """
    if context is None or context.is_empty():
        return None
    points = _points(context, measure)
    if points.is_empty():
        return None
    points = points.with_columns(style=pl.col("relation").fill_null("context"))
    has_senses = (pl.col("style") != "context").any().over("run", "word")
    points = points.filter((pl.col("style") != "context") | ~has_senses)
    keys = ["run", "word", "style", "site", "layer"]
    means = points.group_by(keys, maintain_order=True).agg(
        pl.col("cosine").mean(), pairs=pl.struct("label_a", "label_b").n_unique()
    )
    return _for_people(
        _with_intervals(means, curves, keys, measure).select(
            *keys,
            *("cosine", "low", "high"),
            line=pl.lit(1, pl.UInt32),
            series=pl.col("style").replace_strict(_CONTEXT_LABELS),
            colour=pl.lit(INK),
            sense=pl.lit(""),
            label=pl.format("mean of {} pairs", "pairs"),
            text=pl.lit(""),
        )
    )


def all_words_curves(curves: pl.DataFrame, n_words: int) -> pl.DataFrame:
    """The means over words of the table `curves`, as those of a word that is called all words."""
    rows = runs(curves.filter(pl.col("word").is_null(), similarity="cosine"))
    style = mapped("measure", _INTERVALS)
    return rows.select(
        *("run", "site", "layer"),
        word=pl.lit("all words"),
        style=style,
        line=pl.lit(1, pl.UInt32),
        series=style.replace(_CONTEXT_LABELS),
        colour=style.replace_strict({"identity": colour(0)}, default=INK),
        cosine=exact("mean"),
        low=exact("ci_low"),
        high=exact("ci_high"),
        sense=pl.lit(""),
        label=pl.lit(f"mean of {n_words} words"),
        text=pl.lit(""),
    ).filter(pl.col("cosine").is_not_null(), pl.col("site").is_in([LINE, AFTER_NORM]))


def control_curves(control: pl.DataFrame, run: str, *, measure: str = "cosine") -> pl.DataFrame:
    """A line per word: the mean over texts and draws, with the range of the draws.

    Parameters
    ----------
    control: the tables identity of all draws.
    run: that of the model which the control is drawn with.
    measure: the column that is drawn.
    """
    of_draw = (
        _points(control, measure)
        .filter(site=LINE)
        .group_by("run", "word", "site", "layer", maintain_order=True)
        .agg(pl.col("cosine").mean())
    )
    return draw_means(of_draw, "cosine", "word", "site", "layer").with_columns(
        run=pl.lit(run),
        style=pl.lit("control"),
        line=pl.lit(1, pl.UInt32),
        series=pl.lit(CONTROL),
        colour=pl.lit(GREY),
        sense=pl.lit(""),
        label=pl.lit(CONTROL),
        text=pl.lit(""),
    )


def control_context_curves(
    context: pl.DataFrame | None, run: str, *, measure: str = "cosine"
) -> pl.DataFrame | None:
    """The same of the table context of one draw, of words without senses."""
    found = context_curves(context, None, measure=measure)
    if found is None:
        return None
    return found.with_columns(
        run=pl.lit(run),
        style=pl.lit("control_context"),
        series=pl.lit("random, between texts"),
        colour=pl.lit(GREY),
    )


_CHANCE = {"cosine": "chance", "context": "chance, between texts"}


def chance_curves(chance: pl.DataFrame, means: pl.DataFrame) -> pl.DataFrame:
    """Lines of chance with their bands, the same for every word of a curves frame.

    Parameters
    ----------
    chance: measure (cosine: of identity; context), layer, low, value and high.
    """
    words = means.select("run", "word").unique(maintain_order=True)
    return words.join(chance, how="cross").select(
        *("run", "word", "layer"),
        low=exact("low"),
        high=exact("high"),
        style=pl.lit("chance"),
        line=pl.col("measure").rank("dense"),
        series=mapped("measure", _CHANCE),
        colour=pl.lit(GREY),
        site=pl.lit(LINE),
        cosine=exact("value"),
        label=pl.lit("random pairs"),
        sense=pl.lit(""),
        text=pl.lit(""),
    )


def _points(table: pl.DataFrame, measure: str) -> pl.DataFrame:
    """The rows that a line or a diamond shows, in float64 so that means do not lose digits.

    What is drawn is called cosine, whichever measure it is.
    """
    value = pl.col(measure).cast(pl.Float64).fill_nan(None)
    rows = runs(table).filter(pl.col("site").is_in([LINE, AFTER_NORM]))
    return rows.with_columns(cosine=value).drop_nulls("cosine")


def _names_of_texts(*columns: str) -> list[pl.Expr]:
    """The column's own value where a point is one text, else the number of its texts."""
    count = pl.col("label").n_unique()
    many = pl.format("mean of {} texts", count)
    return [pl.when(count == 1).then(pl.col(c).first()).otherwise(many).alias(c) for c in columns]


def _for_people(curves: pl.DataFrame) -> pl.DataFrame:
    """Names as people read them."""
    names = [
        readable_words("series", 24),
        *(pl.col(c).map_elements(readable, return_dtype=pl.String) for c in ("label", "sense")),
        pl.col("text").map_elements(visible, return_dtype=pl.String),
    ]
    return curves.with_columns(*names, pl.col("cosine").round(6))
