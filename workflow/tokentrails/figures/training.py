"""The loss of a model during its training."""

import math

import altair as alt
import polars as pl

from .pieces.steps import step_axis
from .pieces.text import spread
from .pieces.theme import GREY, LINE_HEIGHT, PALETTE, TINT, figure, nothing_to_show, sized

_WIDTH, _HEIGHT = 520, 300
_TRAINING, _HELD_OUT = "training", "held-out"


def training(loss: pl.DataFrame, *, title: str) -> alt.TopLevelMixin:
    """Loss by step, on a logarithmic axis that holds step 0.

    `loss` is the table of one training. The loss of each batch is a faint line, the loss on
    held-out text a strong one with a point at every saved step.
    """
    if loss.is_empty():
        return nothing_to_show(title)
    batches = _series(loss, "train_loss", _TRAINING, GREY)
    checks = _series(loss, "heldout_loss", _HELD_OUT, PALETTE[0])
    values = [*batches["loss"].to_list(), *checks["loss"].to_list()]
    low, high = math.floor(min(values)), math.ceil(max(values))
    end = checks.row(-1, named=True)
    x = step_axis(checks["step"].to_list(), _WIDTH)
    y = alt.Y(
        "loss:Q",
        scale=alt.Scale(domain=[low, high], nice=False),
        axis=alt.Axis(tickCount=6),
        title="loss (nats per token)",
    )
    tooltip = [
        alt.Tooltip("series:N", title="text"),
        alt.Tooltip("step:Q"),
        alt.Tooltip("tokens:Q", title="tokens seen", format=","),
        alt.Tooltip("loss:Q", format=".3f"),
    ]
    measured = alt.Chart(checks).encode(x=x, y=y, color=TINT)
    faint = alt.Chart(batches).mark_line(strokeWidth=0.8, strokeOpacity=0.4)
    ends = pl.concat([batches.tail(32).mean().select("loss"), checks.tail(1).select("loss")])
    gap = LINE_HEIGHT * (high - low) / _HEIGHT
    names = pl.DataFrame(
        {
            "loss": spread(ends["loss"].to_list(), gap, low, high),
            "series": [_TRAINING, _HELD_OUT],
            "colour": [GREY, PALETTE[0]],
        }
    )
    labels = alt.Chart(names).mark_text(align="left", baseline="middle", dx=8)
    layers = [
        faint.encode(x=x, y=y, color=TINT, tooltip=tooltip),
        measured.mark_line(strokeWidth=2.2, strokeCap="butt"),
        measured.mark_point(filled=True, size=36, opacity=1).encode(tooltip=tooltip),
        labels.encode(x=alt.value(_WIDTH), y=y, text=alt.Text("series:N"), color=TINT),
    ]
    note = (
        f"After {end['step']:,} steps and {end['tokens']:,} tokens the held-out loss is "
        f"{end['loss']:.2f}: a perplexity of {math.exp(end['loss']):,.0f}. This is one training "
        "with one seed, so there is no band."
    )
    chart = sized(layers, _WIDTH, _HEIGHT)
    return figure(chart, title=title, notes=[note], width=_WIDTH + 110)


def _series(loss: pl.DataFrame, column: str, name: str, colour: str) -> pl.DataFrame:
    return (
        loss.select("step", "tokens", loss=pl.col(column).round(6))
        .drop_nulls("loss")
        .with_columns(series=pl.lit(name), colour=pl.lit(colour))
    )
