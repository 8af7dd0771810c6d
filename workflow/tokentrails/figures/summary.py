"""When identity falls and context takes over: one row per label, or per sense of many labels."""

from typing import Any

import altair as alt
import polars as pl

from .pieces.lines import layer_ticks
from .pieces.points import distinct, readable_words
from .pieces.theme import GREY, GRID, PALETTE, SHADE, figure, nothing_to_show, sized

_MOST_LABELS = 40
_MOST_WORDS = 24
_MEASURES = {
    "half_life_layer": "half-life: identity falls below the threshold",
    "context_dominance_layer": "context dominance: context similarity falls below identity",
}
_NAMES = list(_MEASURES.values())
_WIDTH = 400
_UNREACHED = 1e9  # beyond any layer, and finite, so that a median over it is defined


def summary(summary: pl.DataFrame, *, title: str) -> alt.TopLevelMixin:
    """Half-life and context-dominance layer of every label, and its final similarity.

    `summary` is the metric table of one model and checkpoint. A layer never reached stands in a
    column of its own. More than 40 labels are drawn by word and sense: the median over texts,
    where a text that never gets there counts as later than every layer, and the range of the rest;
    of more than 24 words the first.
    """
    if summary.is_empty():
        return nothing_to_show(title)
    many = summary["label"].n_unique() > _MOST_LABELS
    name = pl.coalesce("sense", pl.lit("all texts")) if many else pl.col("label")
    words = distinct(summary["word"])
    summary = summary.filter(pl.col("word").is_in(words[:_MOST_WORDS]))
    table = summary.with_columns(name=name)
    rows = _rows(table)
    marks = _marks(
        table.select("word", "name", "context_pairs", *_MEASURES).join(
            rows, on=["word", "name"], maintain_order="left"
        )
    )
    depth: int = summary.select(pl.col("depth").max()).item()
    chart = _draw(rows, marks, depth=depth, step=30 if many else 24)
    notes = [
        f"Threshold: a cosine of {summary['half_life_threshold'][0]:g}. "
        "Final similarity: cosine with the own input embedding at the last layer.",
        "Context dominance, the study's name: at that layer, for the first time, states of the "
        "token in two texts are less alike than each is to the token's embedding. Behind a mark "
        "either similarity may rise again.",
    ]
    if many:
        notes.append(
            "Mark: median over texts. Bar: their range. Number: texts that never get there."
        )
    if len(words) > _MOST_WORDS:
        notes.append(f"The first {_MOST_WORDS} of {len(words):,} words.")
    return figure(chart, title=title, notes=notes, width=_WIDTH + 260)


def _rows(table: pl.DataFrame) -> pl.DataFrame:
    """One row per word and name with its height y on the page; words stand a little apart."""
    words = {word: index for index, word in enumerate(distinct(table["word"]))}
    first = pl.col("group") != pl.col("group").shift(1, fill_value=-1)
    return (
        table.group_by("word", "name", maintain_order=True)
        .agg(final=pl.col("final_similarity").cast(pl.Float64).mean().round(6))
        .with_columns(group=pl.col("word").replace_strict(words))
        .sort("group", maintain_order=True)
        .with_row_index("y")
        .with_columns(
            y=pl.col("y") + 0.4 * pl.col("group"),
            text=readable_words("name", 30),
            heading=pl.when(first).then(readable_words("word", 20)),
        )
    )


def _marks(table: pl.DataFrame) -> pl.DataFrame:
    """One mark per row and measure: layer (null: never), range of the texts, how many never."""
    keys = ["y", "text", "context_pairs"]
    long = table.unpivot(list(_MEASURES), index=keys, variable_name="measure", value_name="layer")
    # Without a second text there is no context similarity, which is not one that never falls.
    long = long.filter((pl.col("measure") == "half_life_layer") | (pl.col("context_pairs") > 0))
    layer = pl.col("layer")
    marks = long.group_by("y", "text", "measure", maintain_order=True).agg(
        median=layer.cast(pl.Float64).fill_null(_UNREACHED).median(),
        first=layer.min(),
        last=layer.max(),
        never=layer.null_count(),
        texts=pl.len(),
    )
    several = pl.when(pl.col("never") > 0, pl.col("texts") > 1)
    return marks.with_columns(
        layer=pl.when(pl.col("median") < _UNREACHED / 4).then("median"),
        # The two marks of a row stand above and below its middle, so that none hides another.
        y=pl.col("y") + pl.when(measure="half_life_layer").then(-0.24).otherwise(0.24),
        measure=pl.col("measure").replace_strict(_MEASURES),
        count=several.then(pl.format("{} of {}", "never", "texts")),
    ).drop("median")


def _draw(rows: pl.DataFrame, marks: pl.DataFrame, *, depth: int, step: int) -> alt.LayerChart:
    counts = marks.filter(pl.col("count").is_not_null())
    # Beyond the last layer: the column "never", wider where it holds counts of texts too.
    left, never, right = depth * 1.04, depth * 1.1, depth * (1.36 if len(counts) else 1.16)
    last = rows.select(pl.col("y").max()).item()
    x_scale = alt.Scale(domain=[0, right], nice=False, padding=0)
    ticks = alt.Axis(values=layer_ticks(depth), format=".2~f", labelFlush=False)
    x = alt.X("layer:Q", scale=x_scale, axis=ticks, title="layer")
    y = alt.Y("y:Q", scale=alt.Scale(domain=[last + 0.7, -0.7], nice=False), axis=None)
    colours = alt.Scale(domain=_NAMES, range=list(PALETTE[:2]))
    shapes = alt.Scale(domain=_NAMES, range=["circle", "diamond"])
    legend = alt.Legend(
        orient="top", direction="vertical", offset=30, symbolSize=70, symbolOpacity=1
    )
    tint = alt.Color("measure:N", scale=colours, legend=legend)
    placed = marks.with_columns(
        reached=pl.col("layer").cast(pl.String).fill_null("never"),
        layer=pl.col("layer").fill_null(never),
    )
    tooltip = [
        alt.Tooltip("text:N", title="label"),
        alt.Tooltip("measure:N"),
        alt.Tooltip("reached:N", title="layer"),
        *map(alt.Tooltip, ("never:Q", "texts:Q")),
    ]
    heading = alt.Chart(pl.DataFrame({"layer": [(left + right) / 2]})).encode(y=alt.value(-6))
    labels_width = 6.0 * rows.select(pl.col("text").str.len_chars().max()).item()
    rows = rows.select("y", "text", "heading", "final")
    row = alt.Chart(rows).encode(y=y)
    named = alt.Chart(rows.filter(pl.col("heading").is_not_null()))
    ground = alt.Chart(pl.DataFrame({"layer": [left], "end": [right]})).mark_rect(color=SHADE)
    spans = alt.Chart(marks.filter(pl.col("first") < pl.col("last")))
    first = alt.X("first:Q", scale=x_scale, title="layer")
    points = alt.Chart(placed).mark_point(filled=True, size=70, opacity=1)
    shape = alt.Shape("measure:N", scale=shapes, legend=legend)
    numbers = alt.Chart(counts.with_columns(layer=pl.lit(never)))
    middle: dict[str, Any] = {"baseline": "middle"}
    bottom: dict[str, Any] = {"baseline": "bottom", "color": GREY}
    layers = [
        ground.encode(x=x, x2=alt.X2("end:Q")),
        row.mark_rule(color=GRID),
        spans.mark_rule(strokeWidth=2, strokeOpacity=0.45).encode(
            x=first, x2=alt.X2("last:Q"), y=y, color=tint
        ),
        points.encode(x=x, y=y, color=tint, shape=shape, tooltip=tooltip),
        numbers.mark_text(align="left", dx=8, **middle).encode(
            x=x, y=y, text=alt.Text("count:N"), color=tint
        ),
        row.mark_text(align="right", dx=-10, **middle).encode(
            x=alt.value(0), text=alt.Text("text:N")
        ),
        named.mark_text(align="right", dx=-26 - labels_width, fontWeight="bold", **middle).encode(
            x=alt.value(0), y=y, text=alt.Text("heading:N")
        ),
        row.mark_text(align="left", dx=16, **middle).encode(
            x=alt.value(_WIDTH), text=alt.Text("final:Q", format=".3f")
        ),
        heading.mark_text(text="never", **bottom).encode(x=x),
        heading.mark_text(text="final similarity", align="left", dx=16, **bottom).encode(
            x=alt.value(_WIDTH)
        ),
    ]
    return sized(layers, _WIDTH, int(step * (last + 1.4)))
