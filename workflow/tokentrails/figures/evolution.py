"""What the state of each token says at every layer, in words of the vocabulary."""

import altair as alt
import polars as pl

from ..texts.entries import surface
from ..texts.spans import is_word
from .pieces.heat import HEIGHT, WIDTH, text_lines, token_heat
from .pieces.points import exact, readable_words, with_byte_marks
from .pieces.text_tokens import MOST_TOKENS, scored_words, token_names, token_notes
from .pieces.theme import figure, nothing_to_show

_SPACES = {
    "unembedding": ("probability", "in the unembedding space"),
    "embedding": ("cosine", "in the embedding space"),
}
_PREDICTED = "predicted"
_ABREAST = 8  # most tokens of a text whose panels stand side by side
_LEGEND = 90  # its least height
_TICKS = [0, 0.05, 0.2, 0.5, 1]
_EXTENT = 52  # pixels that the word for the top row needs

_NOTES = {
    "unembedding": "Unembedding: the state through the final norm and the unembedding matrix; in "
    "the cell the most probable of all entries, colour: its probability.",
    "embedding": "Embedding: in the cell the word whose embedding is nearest to the state, "
    "colour: their cosine.",
    _PREDICTED: "Top row: what the model itself predicts; bold: the most probable entry is that "
    "one already.",
}


def evolution(evolution: pl.DataFrame, *, show: str, title: str) -> alt.TopLevelMixin:
    """What each token's state says by layer, a panel for each space of words.

    `evolution` is the table of that name of one model and checkpoint, `show` the label of the text.
    Layers run upwards; above the last one stands what the model predicts. Words longer than a cell
    are cut; a tooltip has them whole, and the next ones.
    """
    rows = evolution.filter(label=show)
    rows = with_byte_marks(rows, "token", "top", "most_probable")
    names = token_names(rows)
    shown = list(names)[:MOST_TOKENS]
    cells = _cells(rows.filter(pl.col("position").is_in(shown)))
    spaces = [s for s in _SPACES if cells.filter(space=s)["score"].is_not_null().any()]
    if not spaces:
        return nothing_to_show(title)
    lines = text_lines(shown)
    abreast = len(shown) <= _ABREAST and len(spaces) > 1
    panels = []
    for space in spaces:
        here = cells.filter(space=space)
        aligned = cells if abreast else here
        parts = [here.filter(pl.col("position").is_in(line)) for line in lines]
        blocks = [
            _panel(part, space, aligned, title=_SPACES[space][1] if part is parts[0] else None)
            for part in parts
        ]
        panels.append(alt.vconcat(*blocks, spacing=24))
    notes = [*token_notes(show, names, MOST_TOKENS), *(_NOTES[space] for space in spaces)]
    notes += [_NOTES[_PREDICTED]] * bool(cells["predicted"].any())
    notes.append(f"{_listed(rows)}Colours follow the square root.")
    if cells["score"].has_nulls():
        notes.append("Grey: not defined.")
    chart = alt.concat(*panels, columns=2 if abreast else 1, spacing=30)
    width = (max(len(lines[0]) * WIDTH, 320) + 110) * (1 + abreast)
    return figure(chart.resolve_scale(color="independent"), title=title, notes=notes, width=width)


def _listed(rows: pl.DataFrame) -> str:
    """What the listed words have in common, which those of the vocabulary have not."""
    entries = rows.filter(~pl.col("predicted"))["top"].explode().drop_nulls().unique().to_list()
    spaced = {surface(entry).startswith(" ") for entry in entries}
    words = (surface(entry)[1:] if True in spaced else entry for entry in entries)
    if len(spaced) != 1 or not all(map(is_word, words)):
        return ""
    begin = " that begin with a space" * (True in spaced)
    listed = f"entries of letters{begin}: words, and beginnings of longer ones"
    return f"Nearest words, and those that tooltips list, are {listed}. "


def _cells(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per cell, with the most probable of all entries, or else the first that is listed.

    `settled`: where that is what the model predicts.
    """
    first, most = pl.col("top").list.first(), pl.col("most_probable")
    final = most.filter("predicted").first().over("position")
    settled = (most == final).fill_null(value=False)
    score = pl.coalesce("probability", pl.col("top_score").list.first())
    layer = pl.col("layer").cast(pl.String)
    return rows.sort("space", "position", "layer", "predicted").select(
        *("position", "space", "layer", "predicted"),
        token=readable_words("token"),
        row=pl.when("predicted").then(pl.lit(_PREDICTED)).otherwise(layer),
        word=readable_words(pl.coalesce(most, first)),
        nearest=scored_words("top", "top_score"),
        most=scored_words(pl.concat_list(most), pl.concat_list("probability")),
        score=exact(score),
        settled=settled,
    )


def _panel(
    cells: pl.DataFrame, space: str, aligned: pl.DataFrame, *, title: str | None
) -> alt.LayerChart:
    """One space, with the rows of `aligned`, so that panels side by side have the same ones."""
    rows = aligned["layer"].unique().sort(descending=True).cast(pl.String).to_list()
    predicted = cells["predicted"].any()
    if aligned["predicted"].any():
        rows = [_PREDICTED if predicted else " ", *rows]
    measure, _ = _SPACES[space]
    scores = aligned.filter(space=space)["score"].drop_nulls()
    high = 1.0 if space == "unembedding" else max(0.2, *scores)
    legend = alt.Legend(
        title=measure,
        values=[share for share in _TICKS if share <= high],
        format="~g",
        gradientLength=max(min(HEIGHT * len(rows), 300), _LEGEND),
    )
    scale = alt.Scale(type="pow", exponent=0.5, scheme="viridis", domain=[0, high], clamp=True)
    panel = token_heat(
        cells,
        rows,
        row="row",
        word="word",
        value="score",
        colour=alt.Color("score:Q", scale=scale, legend=legend),
        white=f"datum.score < {0.36 * high}",
        bold=pl.col("settled"),
        extent=_EXTENT,
        title=title,
        tooltip=[
            *(alt.Tooltip(name) for name in ("token:N", "position:Q")),
            alt.Tooltip("row:N", title="layer"),
            alt.Tooltip("nearest:N", title=f"nearest ({measure})"),
            *([alt.Tooltip("most:N", title="of all entries")] if space == "unembedding" else []),
        ],
    )
    if predicted:
        apart = alt.Chart(alt.InlineData(values=[{}])).mark_rule(color="white", strokeWidth=3)
        panel += apart.encode(y=alt.value(HEIGHT))
    return panel
