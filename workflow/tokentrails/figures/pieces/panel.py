"""One panel of similarity curves (see `curves`), labelled at the ends of its lines."""

import altair as alt
import polars as pl

from .lines import Frame, bands, end_labels, level, norm_marks, targets
from .points import AFTER_NORM, LINE
from .theme import LINE_HEIGHT, TINT, sized

_DASHES: dict[str, list[float]] = {
    "identity": [1, 0],
    "between": [6, 3],
    "within": [2, 2.5],
    "context": [6, 3],
    "control": [1, 0],
    "control_context": [6, 3],
    "chance": [1.5, 2.5],
}
_LINE = ["style", "line"]  # the key of a line


def cosine_range(*frames: pl.DataFrame) -> tuple[float, float]:
    """Limits for the cosine axis: up to 1, and below 0 as far as values and intervals go."""
    ends = pl.min_horizontal(pl.col("^(cosine|low)$")).min()
    lowest = min(frame.select(ends).item() for frame in frames if len(frame))
    return min(-0.1, lowest - 0.05), 1.03


def panel(
    means: pl.DataFrame,
    texts: pl.DataFrame,
    frame: Frame,
    *,
    title: str,
    x_title: bool = True,
    y_title: bool = True,
) -> alt.LayerChart:
    """Lines of `means` over faint lines of `texts`: curves frames of one panel with a column x.

    Around a line lies its band, where `means` has its ends; the diamond has a bar.
    """
    x = frame.x if x_title else frame.x.copy().title(None)
    y = alt.Y(
        "cosine:Q",
        scale=alt.Scale(domain=[frame.low, frame.high], nice=False),
        axis=alt.Axis(tickCount=6, format=".1~f"),
        title=frame.value if y_title else None,
    )
    dash = alt.StrokeDash(
        "style:N", scale=alt.Scale(domain=list(_DASHES), range=[*_DASHES.values()]), legend=None
    )
    detail = [alt.Detail(f"{key}:N") for key in _LINE]
    tooltip = [
        *map(alt.Tooltip, ("series:N", "label:N", "sense:N", "text:N", "site:N", "layer:Q")),
        alt.Tooltip("cosine:Q", title=frame.value, format=".4f"),
    ]
    # Keys that chose this panel are not drawn; without them the file is smaller.
    means, texts = means.drop("run", "word"), texts.drop("run", "word")
    lines, after = means.filter(site=LINE), means.filter(site=AFTER_NORM)
    band = lines.select("x", *_LINE, "colour", "low", "high")
    layers = [level(y), *bands(band, x, y, opacity=0.12, keys=_LINE)]
    if len(texts):
        faint = alt.Chart(texts).encode(x=x, y=y)
        thin = faint.mark_line(strokeWidth=0.8, strokeOpacity=0.3).encode(color=TINT, detail=detail)
        layers += [thin, targets(faint, tooltip)]
    drawn = alt.Chart(lines).encode(x=x, y=y)
    strong = drawn.mark_line(strokeWidth=2.2, strokeCap="butt")
    layers += [
        strong.encode(color=TINT, strokeDash=dash, detail=detail),
        targets(drawn, tooltip),
        *norm_marks(after, after.select("x", "colour", "low", "high"), x, y, tooltip),
    ]
    if len(lines):
        limits = (frame.low, frame.high)
        gap = LINE_HEIGHT * (frame.high - frame.low) / frame.height
        layers += end_labels(lines, _LINE, x, y, frame.right, limits, gap, inside=False)
    return sized(layers, frame.width, frame.height, title)
