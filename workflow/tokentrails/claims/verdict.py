"""The verdict on a claim in one model."""

from __future__ import annotations

from typing import Literal

from .file import Target
from .formula import Estimate

HOLDS = "holds"
AS_PUBLISHED = "holds only as published"
FAILS = "does not hold"
UNTESTABLE = "not testable here"
VERDICTS = (HOLDS, AS_PUBLISHED, FAILS, UNTESTABLE)

Answer = Literal["yes", "no", "undecided", "unknown"]


def answer(target: Target, found: Estimate) -> Answer:
    """Whether a number is what is claimed.

    A direction needs the whole interval on one side of the threshold: the claimed one for yes, the
    other one for no. A value needs the number within its tolerance, whatever the interval.
    """
    if found.value is None:
        return "unknown"
    if target.value is not None:
        # Published numbers have three digits; a last bit of float32 decides nothing.
        return "yes" if abs(found.value - target.value) <= target.tolerance + 1e-9 else "no"
    threshold = target.threshold
    if found.low is None or found.high is None or threshold is None:
        return "unknown"
    if found.low > threshold:
        return "yes" if target.above is not None else "no"
    if found.high < threshold:
        return "yes" if target.below is not None else "no"
    # An interval that is a single number, the threshold: what is claimed is strictly on one side.
    return "no" if found.low == found.high else "undecided"


def verdict(
    target: Target, published: Estimate, corrected: Estimate, few: int = 0
) -> tuple[str, str]:
    """The verdict and its reason in words, which is empty where the numbers say it all.

    An interval that reaches over the threshold is no evidence against a claim, so it does not make
    one that "does not hold": what is undecided is not testable with these data. But a claim that
    holds in the study's own way, and no longer in the corrected one, holds only as published,
    whether the corrected number is on the other side or undecided.

    Parameters
    ----------
    few: fewer units than this are mentioned.
    """
    before, after = answer(target, published), answer(target, corrected)
    if after == "unknown":
        also = "; as published it holds" if before == "yes" else ""
        return UNTESTABLE, (corrected.reason or _too_few(corrected)) + also
    notes = []
    if published.value is None:
        notes.append(f"no number as published: {published.reason}")
    if target.threshold is not None and corrected.units < few:
        notes.append(f"few units: {corrected.units}")
    if after == "yes":
        return HOLDS, "; ".join(notes)
    if after == "undecided":
        notes.insert(0, f"undecided: the interval reaches over {target.threshold:g}")
    if before == "yes":
        return AS_PUBLISHED, "; ".join(notes)
    return (UNTESTABLE if after == "undecided" else FAILS), "; ".join(notes)


def _too_few(found: Estimate) -> str:
    return f"fewer than two units ({found.units}) give no interval"
