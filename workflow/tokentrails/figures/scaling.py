"""Measures by the size of the model: a point for every model and form of similarity."""

import altair as alt
import polars as pl

from ..statistics.forms import SOUND
from .pieces.lines import end_labels
from .pieces.notes import form_notes
from .pieces.points import distinct, exact, mapped, readable_words
from .pieces.text import shorten
from .pieces.theme import GREY, LINE_HEIGHT, TINT, figure, model_colours, nothing_to_show, sized

_MEASURES = {
    "half_life": "median half-life, in layers",
    "half_life_fraction": "median half-life / depth",
    "lost": "share below the threshold",
    "gap": "largest gap between senses",
    "gap_best_fraction": "layer of that gap / depth",
    "rank": "share of rank 0, mean over layers",
}
_OPEN = ("half_life", "gap")  # the others are shares
_FORMS = pl.DataFrame(
    [
        {"measure": name if form == "cosine" else f"{name}_{form}", "own": name, "form": form}
        for name in _MEASURES
        for form in SOUND
    ]
)
"""What the measures of the tables are, and in which form."""
_SHAPES = dict(zip(SOUND, ("circle", "square", "cross", "triangle-up", "diamond"), strict=True))
_COLUMNS = 3
_WIDTH, _HEIGHT = 210, 170
_APART = 6  # pixels from one form to the next


def scaling(
    table: pl.DataFrame, slopes: pl.DataFrame, *, title: str, confidence: float
) -> alt.TopLevelMixin:
    """A panel per experiment and measure; the tables are scaling and scaling_slopes."""
    points = _with_forms(table).with_columns(
        *(exact(name) for name in ("value", "ci_low", "ci_high")),
        name=readable_words("model", 22),
    )
    lacking, points = points["value"].has_nulls(), points.drop_nulls("value")
    if points.is_empty():
        return nothing_to_show(title)
    names = distinct(points["model"])
    tints = model_colours(names, controls=())
    points = points.with_columns(colour=mapped("model", tints))
    sizes: list[int] = points["n_parameters"].sort().to_list()
    low, high = sizes[0], sizes[-1]
    room = max((high / low) ** 0.08, 1.3)
    right = high * room
    apart = (right * room / low) ** (_APART / _WIDTH)
    forms = [form for form in SOUND if form in set(points["form"])]
    aside = {form: apart ** (i - (len(forms) - 1) / 2) for i, form in enumerate(forms)}
    points = points.with_columns(at=pl.col("n_parameters") * pl.col("form").replace_strict(aside))
    x = alt.X(
        "at:Q",
        scale=alt.Scale(type="log", domain=[low / room, right], nice=False),
        axis=alt.Axis(grid=False, format="~s", tickCount=4),
        title="parameters without embeddings",
    )
    slopes = _with_forms(slopes)
    trends = slopes.drop_nulls("slope")
    panels = [
        _panel(
            points.filter(experiment=experiment, measure=measure),
            trends.filter(experiment=experiment, measure=measure),
            x,
            right,
            measure,
            f"{shorten(experiment, 18)}: {heading}",
        )
        for measure, heading in _MEASURES.items()
        for experiment in distinct(points.filter(measure=measure)["experiment"])
    ]
    columns = min(_COLUMNS, len(panels))
    notes = [_models(len(names), fitted=len(slopes) > 0)]
    if points["ci_low"].count():
        notes.append(f"Bars: {100 * confidence:g} % intervals over texts and types, or words.")
    if len(forms) > 1:
        named = (f"{_SHAPES[form].removesuffix('-up')}: {form}" for form in forms)
        beside = " The forms of a model, which have one size, stand beside each other."
        notes.append(", ".join(named).capitalize() + "." + beside)
    if any(measure.startswith("half_life") for measure in points["measure"]):
        unreached = " Not drawn: a median that is never reached." if lacking else ""
        unreached += " No trend where a model has none." if len(trends) < len(slopes) else ""
        notes.append(
            f"Half-life: the first layer where identity is below the threshold.{unreached}"
        )
    notes += form_notes(forms)
    if len(trends):
        notes.append(
            "Grey line: least squares over models, those of exactly one size by their mean; its "
            "slope and interval below the titles."
        )
    chart = alt.concat(*panels, columns=columns).resolve_scale(y="independent")
    return figure(chart, title=title, notes=notes, width=max(columns, 2) * 330)


def _with_forms(table: pl.DataFrame) -> pl.DataFrame:
    """The rows that are drawn: the measure without its form, and a column form."""
    return table.join(_FORMS, on="measure", maintain_order="left").with_columns(measure="own")


def _panel(
    points: pl.DataFrame, slopes: pl.DataFrame, x: alt.X, right: float, measure: str, title: str
) -> alt.LayerChart:
    low = points.select(pl.min_horizontal("value", "ci_low").min()).item()
    high = points.select(pl.max_horizontal("value", "ci_high").max()).item()
    low, high = min(low, 0.0), high if measure in _OPEN else max(high, 1.0)
    room = 0.08 * (high - low)
    scale = alt.Scale(domain=[low - room, high + room], nice=False, zero=False)
    axis = alt.Axis(tickCount=5, minExtent=40)
    y = alt.Y("value:Q", scale=scale, axis=axis, title=None)
    drawn = alt.Chart(
        points.select(
            *("at", "n_parameters", "form", "value", "ci_low", "ci_high", "n", "name", "colour")
        )
    ).encode(x=x, y=y)
    tooltip = [
        alt.Tooltip("name:N", title="model"),
        alt.Tooltip("n_parameters:Q", format=",", title="parameters"),
        alt.Tooltip("form:N"),
        *(alt.Tooltip(f"{name}:Q", format=".4~f") for name in ("value", "ci_low", "ci_high")),
        alt.Tooltip("n:Q", format=","),
    ]
    shapes = alt.Scale(domain=list(_SHAPES), range=list(_SHAPES.values()))
    shape = alt.Shape("form:N", scale=shapes, legend=None)
    heading = alt.TitleParams(title, offset=8, limit=290)
    by_form = {row["form"]: row for row in slopes.rows(named=True)}
    by_form = {form: by_form[form] for form in SOUND if form in by_form}
    layers = [_line(points, slope).encode(x=x, y=y) for slope in by_form.values()]
    if by_form:
        heading.subtitle = [_slope(slope) for slope in by_form.values()]
    if points["ci_low"].is_not_null().any():
        ends = alt.Y("ci_low:Q", scale=scale, title=None)
        layers.append(
            drawn.mark_rule(strokeWidth=1.6).encode(y=ends, y2=alt.Y2("ci_high:Q"), color=TINT)
        )
    layers.append(
        drawn.mark_point(filled=True, size=50, opacity=1).encode(
            color=TINT, shape=shape, tooltip=tooltip
        )
    )
    # Names stand beside the last form of each model.
    last = points.filter(pl.col("at") == pl.col("at").max().over("model"))
    lines = last.select("at", "value", "colour", series="name", line="model")
    gap = LINE_HEIGHT * (high - low + 2 * room) / _HEIGHT
    limits = (low - room, high + room)
    layers += end_labels(lines, ["line"], x, y, right, limits, gap, dotted=True)
    return sized(layers, _WIDTH, _HEIGHT).properties(title=heading)


def _line(points: pl.DataFrame, slope: dict) -> alt.Chart:
    sizes = points["n_parameters"].sort()
    line = pl.DataFrame({"at": [sizes[0], sizes[-1]]}).with_columns(
        value=slope["intercept"] + slope["slope"] * pl.col("at").log10()
    )
    width = 1.5 if slope["form"] == "cosine" else 0.7
    return alt.Chart(line).mark_line(color=GREY, strokeWidth=width)


def _slope(slope: dict) -> str:
    numbers = [f"{slope[name]:+.2g}".replace("-", "−") for name in ("slope", "ci_low", "ci_high")]
    of_form = "" if slope["form"] == "cosine" else f"{slope['form']}: "
    return f"{of_form}{numbers[0]} [{numbers[1]}, {numbers[2]}] per tenfold size"


def _models(models: int, *, fitted: bool) -> str:
    if models == 1:
        return "One model: nothing is said of size."
    none = "" if fitted else " No trend is fitted: that takes four sizes, each a quarter apart."
    return f"{models} models, which may differ in more than size.{none}"
