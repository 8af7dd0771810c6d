"""The axis of training steps: logarithmic, and it holds step 0."""

import math
from collections.abc import Iterable, Mapping, Sequence

import altair as alt

_DIGIT, _APART = 6.2, 6.0  # pixels: width of a digit of a tick's label, room between two labels

# A step as its tick says it, in Vega's words: 512, 2k, 143k.
STEP_LABEL = "datum.value && datum.value % 1000 == 0 ? datum.value / 1000 + 'k' : '' + datum.value"


def step_axis(
    steps: Iterable[int], width: int, *, title: str | None = "step", right: float | None = None
) -> alt.X:
    """The x channel of a column `step`: log(1 + step), from 0 to the last step.

    Parameters
    ----------
    steps: those that are measured; ticks stand at some of them.
    width: pixels of the axis.
    right: where the axis ends instead, with room for labels beyond the last step.
    """
    steps = sorted(set(steps))
    end = max(steps[-1], 1) if right is None else right
    return alt.X(
        "step:Q",
        scale=alt.Scale(type="symlog", domain=[0, end], nice=False),
        axis=alt.Axis(
            values=step_ticks(steps, width, end),
            grid=False,
            labelExpr=STEP_LABEL,
            labelFlush=False,
            labelOverlap=False,
        ),
        title=title,
    )


def log_spaced(steps: Sequence[int], most: int) -> list[int]:
    """At most `most` of the steps, evenly spaced on the axis, with the first and the last."""
    if len(steps) <= most:
        return list(steps)
    places = {step: math.log1p(step) for step in steps}
    first, last = places[steps[0]], places[steps[-1]]
    targets = [first + (last - first) * i / (most - 1) for i in range(most)]
    return sorted({min(steps, key=lambda step: abs(places[step] - target)) for target in targets})


def step_label(step: int) -> str:
    """What `STEP_LABEL` gives."""
    return f"{step // 1000}k" if step and step % 1000 == 0 else str(step)


def step_ticks(steps: Iterable[int], width: int, end: float) -> list[int]:
    """As many of the steps as have room for their labels on an axis from 0 to `end`."""
    return fitting({step: math.log1p(step) / math.log1p(end) * width for step in steps})


def fitting(places: Mapping[int, float]) -> list[int]:
    """The steps whose labels have room; `places` are the middles of all labels, in pixels.

    The first step and the last come first, then the round ones, then the rest.
    """
    steps = sorted(places)
    ordered = sorted(steps, key=lambda step: (step not in (steps[0], steps[-1]), not _round(step)))
    taken: list[int] = []
    for step in ordered:
        room = {other: (_room(step) + _room(other)) / 2 for other in taken}
        if all(abs(places[step] - places[other]) >= room[other] for other in taken):
            taken.append(step)
    return sorted(taken)


def _room(step: int) -> float:
    """Pixels that a step's label takes."""
    return _DIGIT * len(step_label(step)) + _APART


def _round(step: int) -> bool:
    """Whether a step is a power of two, or 1, 2 or 5 times a power of ten from 1,000 on."""
    return step.bit_count() == 1 or (step >= 1000 and str(step).rstrip("0") in ("1", "2", "5"))
