"""What the stream says of the token itself and of the next one, by layer."""

import altair as alt
import polars as pl

from .pieces.lines import Frame, panel_grid, value_range
from .pieces.notes import CONTROL, band_note, class_notes, control_notes, dashed_note
from .pieces.points import distinct, draw_means, mapped, points_frame
from .pieces.rank_axis import place, rank_axis
from .pieces.text import counted
from .pieces.text_tokens import group_colours
from .pieces.theme import GREY, colour, figure, nothing_to_show

_PANELS = {
    ("unembedding", "own_log_rank"): "rank of the token itself",
    ("unembedding", "next_log_rank"): "rank of the next token",
    ("embedding", "own_log_rank"): "rank of the token itself, by cosine",
    ("embedding", "next_log_rank"): "rank of the next token, by cosine",
    ("unembedding", "own_logprob"): "log-probability of the token itself",
    ("unembedding", "next_logprob"): "log-probability of the next token",
    ("unembedding", "entropy"): "entropy",
    ("unembedding", "kl"): "divergence from the output",
}
_SPACES = {space for space, _ in _PANELS}
_LINES = {"all": "all words", "content": "content words", "function": "function words"}
_COLUMNS = 4


def own_token(
    by_layer: pl.DataFrame, control: pl.DataFrame | None = None, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """A panel per measure, a line for all words, for each of two classes, and behind each lens.

    `by_layer` is the table own_token_by_layer of one model and checkpoint, `control` the same of
    random weights, of all draws.
    """
    points = _points(by_layer, ("ci_low", "ci_high"))
    if points.is_empty():
        return nothing_to_show(title)
    lenses = distinct(by_layer.filter(~pl.col("space").is_in(_SPACES))["space"])
    for index, name in enumerate(lenses):
        behind = by_layer.filter(pl.col("word_class").is_null(), space=name)
        drawn = _points(behind, ("ci_low", "ci_high")).with_columns(
            space=pl.lit("unembedding"),
            line=pl.lit(name),
            series=pl.lit(f"all words, {name}"),
            colour=pl.lit(colour(len(_LINES) + index)),
        )
        points = pl.concat([points, drawn])
    if control is not None:
        of_all = control.filter(pl.col("word_class").is_null())
        # Without a head the model has the embedding space alone; random weights may have both.
        of_all = of_all.join(points, on=["space", "measure"], how="semi", maintain_order="left")
        drawn = draw_means(of_all, "mean", "space", "measure", "layer")
        grey = _points(drawn, ("low", "high")).with_columns(
            series=pl.lit(CONTROL), line=pl.lit(CONTROL), colour=pl.lit(GREY)
        )
        points = pl.concat([points, grey], how="vertical_relaxed")
    last: int = points.select(pl.col("layer").max()).item()
    parts = {
        name: here
        for (space, measure), name in _PANELS.items()
        if len(here := points.filter(space=space, measure=measure))
    }
    frames = {}
    for name, here in parts.items():
        is_rank = name.startswith("rank")
        low, high = value_range(here, top=place(1) if is_rank else None, span=0.5)
        low = min(low, -0.1) if is_rank else low
        frame = Frame.over_layers(
            *(last, 1.05, name, low, high, 190, 150, ("series", "n", "n_texts", "n_types")),
            axis=rank_axis(low, high) if is_rank else alt.Axis(tickCount=5, minExtent=40),
        )
        frames[name] = frame.turned() if is_rank else frame
    n, texts = points.select(pl.col("n").max(), pl.col("n_texts").max()).row(0)
    notes = [
        *class_notes(points["line"]),
        "As if the model ended at each layer: through the final norm and the unembedding, of "
        "encoders the masked-token head; by cosine among the embeddings. Ranks: means of "
        "log(1 + rank), rank 0 on top. Log-probabilities, entropy and divergence in nats.",
        f"{counted(n, 'token')} in {counted(texts, 'text')}, without position 0. All words: also "
        "numbers, punctuation and signs. "
        + band_note(points, confidence, "texts crossed with types", few="texts or types")
        + dashed_note(points, "few texts or types"),
    ]
    if lenses:
        notes.append(f"Lenses, affine maps of the stream before the head: {', '.join(lenses)}.")
    if "unembedding" not in points["space"]:
        notes.append("The model has no head: ranks are by cosine among the embeddings alone.")
    notes += control_notes(control)
    chart = panel_grid(parts, frames, _COLUMNS)
    return figure(chart, title=title, notes=notes, width=_COLUMNS * 240 + 120)


def _points(table: pl.DataFrame, interval: tuple[str, str]) -> pl.DataFrame:
    rows = table.with_columns(pl.col("word_class").fill_null("all"))
    rows = rows.filter(pl.col("word_class").is_in(list(_LINES)))
    return points_frame(
        rows,
        "mean",
        interval,
        *("space", "measure", "layer", "n", "n_texts", "n_types"),
        line="word_class",
        series=mapped("word_class", _LINES),
        colour=mapped("word_class", group_colours(_LINES)),
    )
