"""What the state of each token says at every layer, in words of the vocabulary."""

import altair as alt
import polars as pl

from .pieces.circuit_text import names_of, text_notes
from .pieces.text_tokens import read, told
from .pieces.theme import figure, nothing_to_show
from .pieces.token_heat import HEIGHT, WIDTH, lines_of, token_heat

_SPACES = {
    "unembedding": ("probability", "in the unembedding space"),
    "embedding": ("cosine", "in the embedding space"),
}
_PREDICTED = "predicted"
_MOST_TOKENS = 40
_ABREAST = 8  # most tokens of a text whose panels stand side by side
_LEGEND = 90  # its least height
_TICKS = [0, 0.05, 0.2, 0.5, 1]
_EXTENT = 52  # pixels that the word for the top row needs

_NOTES = {
    "unembedding": "Unembedding: the state through the final norm and the unembedding matrix; in "
    "the cell the likeliest word, colour: its probability.",
    "embedding": "Embedding: in the cell the word whose embedding is nearest to the state, "
    "colour: their cosine.",
    _PREDICTED: "Top row: what the model itself predicts; bold: the same word.",
}


def evolution(evolution: pl.DataFrame, *, show: str, title: str) -> alt.TopLevelMixin:
    """The nearest word of each token's state by layer, a panel for each space of words.

    `evolution` is the table of that name of one model and checkpoint, `show` the label of the text.
    Layers run upwards; above the last one stands what the model predicts. Words longer than a cell
    are cut; a tooltip has them whole, and the next ones.
    """
    rows = evolution.filter(label=show)
    names = names_of(rows)
    shown = list(names)[:_MOST_TOKENS]
    cells = _cells(rows.filter(pl.col("position").is_in(shown)))
    spaces = [s for s in _SPACES if cells.filter(space=s)["score"].is_not_null().any()]
    if not spaces:
        return nothing_to_show(title)
    lines = lines_of(shown)
    abreast = len(shown) <= _ABREAST and len(spaces) > 1
    panels = [
        alt.vconcat(
            *(
                _panel(
                    cells.filter(pl.col("position").is_in(line), space=space),
                    space,
                    cells if abreast else cells.filter(space=space),
                    titled=line is lines[0],
                )
                for line in lines
            ),
            spacing=24,
        )
        for space in spaces
    ]
    notes = [*text_notes(show, names, _MOST_TOKENS), *(_NOTES[space] for space in spaces)]
    colours = "Colours follow the square root."
    notes.append(f"{_NOTES[_PREDICTED]} {colours}" if cells["predicted"].any() else colours)
    if cells["score"].has_nulls():
        notes.append("Grey: not defined.")
    chart = alt.concat(*panels, columns=2 if abreast else 1, spacing=30)
    width = (max(len(lines[0]) * WIDTH, 320) + 110) * (1 + abreast)
    return figure(chart.resolve_scale(color="independent"), title=title, notes=notes, width=width)


def _cells(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per cell; `settled` where the nearest word is the one that the model predicts."""
    first = pl.col("top").list.first()
    final = first.filter("predicted").first().over("position")
    return rows.sort("space", "position", "layer", "predicted").select(
        "position",
        "space",
        "layer",
        "predicted",
        token=read(pl.col("token")),
        row=pl.when("predicted")
        .then(pl.lit(_PREDICTED))
        .otherwise(pl.col("layer").cast(pl.String)),
        word=read(first),
        nearest=told("top", "top_score"),
        score=pl.col("top_score").list.first().cast(pl.Float64).fill_nan(None).round(6),
        settled=(first == final) & (pl.col("space") == "unembedding"),
    )


def _panel(
    cells: pl.DataFrame, space: str, aligned: pl.DataFrame, *, titled: bool
) -> alt.LayerChart:
    """One space, with a row for each that `aligned` has: what stands beside it has them too."""
    rows = aligned["layer"].unique().sort(descending=True).cast(pl.String).to_list()
    predicted = cells["predicted"].any()
    if aligned["predicted"].any():
        rows = [_PREDICTED if predicted else " ", *rows]
    measure, name = _SPACES[space]
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
        bold=pl.col("settled").fill_null(value=False),
        extent=_EXTENT,
        tooltip=[
            alt.Tooltip("token:N"),
            alt.Tooltip("position:Q"),
            alt.Tooltip("row:N", title="layer"),
            alt.Tooltip("nearest:N", title=f"nearest ({measure})"),
        ],
    )
    if predicted:
        apart = alt.Chart(alt.InlineData(values=[{}])).mark_rule(color="white", strokeWidth=3)
        panel += apart.encode(y=alt.value(HEIGHT))
    return panel.properties(title=alt.TitleParams(name, offset=8)) if titled else panel
