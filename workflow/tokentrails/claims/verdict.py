"""The verdict on a claim in one model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..statistics.bootstrap import FEWEST_UNITS
from .file import Target
from .formula import Estimate

HOLDS = "holds"
AS_PUBLISHED = "holds only as published"
FAILS = "does not hold"
UNDECIDED = "undecided"
UNTESTABLE = "not testable here"
VERDICTS = (HOLDS, AS_PUBLISHED, FAILS, UNDECIDED, UNTESTABLE)

Answer = Literal["yes", "no", "undecided", "unknown"]
Forms = Mapping[str, Estimate]
"""The number by form of similarity, part and variant; one alone where the formula is of none."""

_SLACK = 1e-9  # published numbers have three digits; a last bit decides nothing


@dataclass(frozen=True)
class Evidence:
    """What a number says of a claim, as one-sided p.

    Attributes
    ----------
    favour: how often a wrong claim gives such a number; small where it bears the claim out.
    against: how often a right claim does; small where it contradicts the claim.
    """

    favour: float
    against: float

    @property
    def two_sided(self) -> float:
        """p of saying either."""
        return min(1.0, 2 * min(self.favour, self.against))

    def answer(self, p: float, alpha: float) -> Answer:
        """What is said where p, corrected for many or not, is below alpha."""
        if p >= alpha:
            return "undecided"
        return "yes" if self.favour <= self.against else "no"


def evidence(target: Target, found: Estimate) -> Evidence | None:
    """Of one number; None without an interval.

    A direction is tested on both sides of its threshold. A value is tested for equivalence, with
    both ends of its tolerance (Schuirmann 1987), and for lying beyond one of them. A number at a
    threshold speaks for neither side.
    """
    if not found.has_interval:
        return None
    if target.value is not None:
        low, high = target.value - target.tolerance, target.value + target.tolerance
        low, high = low - _SLACK, high + _SLACK
        inside = found.p_above(low), found.p_below(high)
        outside = found.p_below(low), found.p_above(high)
        return Evidence(max(inside), min(outside))
    threshold = target.threshold
    assert threshold is not None
    above, below = found.p_above(threshold), found.p_below(threshold)
    return Evidence(above, below) if target.above is not None else Evidence(below, above)


def weakest(target: Target, forms: Forms) -> str | None:
    """The form that says least of what all say together; None if one of them says nothing.

    Of forms with the same p, such as the smallest that so many draws give, the one whose interval
    ends nearest to the other side. Of parts, of which one is enough to contradict the statement,
    the one that does so most.
    """
    known = _known(target, forms)
    if known is None:
        return None
    said = _jointly(forms, known)
    margins = {form: _margins(target, forms[form]) for form in known}
    if said.favour <= said.against:
        return min(known, key=lambda form: (-known[form].favour, margins[form][0]))
    of_parts = [
        min(part, key=lambda form: (-known[form].against, margins[form][1]))
        for part in _by_part(forms)
    ]
    return min(of_parts, key=lambda form: (known[form].against, -margins[form][1]))


def p_value(target: Target, forms: Forms) -> float | None:
    """p of the claim, before any correction; None where nothing is tested: see `verdict`."""
    said = _together(target, forms)
    return said.two_sided if said and any(found.has_interval for found in forms.values()) else None


def attainable_p(forms: Forms) -> float:
    """No p of so many units is smaller, whatever their values are."""
    least = {form: found.attainable_p for form, found in forms.items()}
    return _jointly(forms, {form: Evidence(p, p) for form, p in least.items()}).two_sided


def p_as_published(target: Target, published: Estimate, corrected: Forms) -> float | None:
    """p of the study's own number's being what is claimed, and another one than the corrected one.

    Both have to be so, and the larger p is that of both (Berger 1982). Of the first alone where no
    corrected number has an interval; None where the study's has none.
    """
    said = evidence(target, published)
    if said is None:
        return None
    own = said.two_sided if said.favour <= said.against else 1.0
    form = weakest(target, corrected)
    if form is None:
        return own
    between = evidence(Target(above=0.0), published.minus(corrected[form]))
    return own if between is None else max(own, between.two_sided)


def verdict(
    target: Target,
    published: Estimate,
    corrected: Forms,
    *,
    p: float | None,
    p_published: float | None,
    alpha: float,
) -> tuple[str, str]:
    """The verdict and its reason in words, which is empty where the numbers say it all.

    What the corrected numbers neither bear out nor contradict is undecided. Of two ways of which
    one is significant and the other is not, nothing follows; a claim holds only as published where
    the study's own way bears it out, the corrected way does not, and the two differ significantly.

    Parameters
    ----------
    p: that of the claim, corrected for all claims of the run; None where `p_value` is.
    p_published: the same of `p_as_published`.
    alpha: an error of one claim of the run or more is accepted so often.
    """
    notes = [] if published.value is not None else [f"no number as published: {published.reason}"]
    if p_published is not None:
        before = p_published < alpha
    else:
        before = published.is_exact and _alone(target, published, alpha) == "yes"
    lacking = next((found for found in corrected.values() if found.value is None), None)
    said = _together(target, corrected)
    if lacking is None and said is None:
        without = [found for found in corrected.values() if not found.has_interval]
        fewest = min(without, key=lambda found: found.fewest)
        lacking = Estimate(reason=fewest.reason or _few_units(fewest))
    if lacking is not None:
        return UNTESTABLE, lacking.reason + ("; as published it holds" if before else "")
    assert said is not None
    if p is None:  # one text, measured and not sampled
        p, before = said.two_sided, before and published.is_exact
    else:
        before = before and published.has_interval
    after = said.answer(p, alpha)
    if after == "undecided":
        notes.insert(0, _why(target, corrected, said, p, alpha))
    if after == "yes":
        return HOLDS, "; ".join(notes)
    if before:
        return AS_PUBLISHED, "; ".join(notes)
    return FAILS if after == "no" else UNDECIDED, "; ".join(notes)


def _margins(target: Target, found: Estimate) -> tuple[float, float]:
    """How far an interval, or a number without one, lies within what is claimed, and beyond it."""
    assert found.value is not None
    low, high = (found.value if end is None else end for end in (found.low, found.high))
    if target.value is not None:
        least, most = target.value - target.tolerance, target.value + target.tolerance
        return min(low - least, most - high), max(least - high, low - most)
    assert target.threshold is not None
    margins = low - target.threshold, target.threshold - high
    return margins if target.above is not None else margins[::-1]


def _few_units(found: Estimate) -> str:
    """Why a number has no interval."""
    if found.smaller:
        return (
            f"an interval takes {FEWEST_UNITS} units in each group; "
            f"here {found.smaller!r} has {found.fewest}"
        )
    return f"an interval takes {FEWEST_UNITS} units; here {found.fewest}"


def _together(target: Target, forms: Forms) -> Evidence | None:
    """What all forms say together; None if one of them says nothing."""
    known = _known(target, forms)
    return None if known is None else _jointly(forms, known)


def _jointly(forms: Forms, said: Mapping[str, Evidence]) -> Evidence:
    """What all forms say together, from what each of them says.

    All say so where the weakest does: the largest p is that of their conjunction (Berger 1982),
    without any correction for their number. A statement of several parts is borne out by all of
    them, and contradicted by one: of so many chances to be so the smallest p counts, times their
    number (Bonferroni).
    """
    parts = _by_part(forms)
    one = min(max(said[form].against for form in part) for part in parts)
    return Evidence(max(said[form].favour for form in forms), min(1.0, len(parts) * one))


def _by_part(forms: Forms) -> list[list[str]]:
    """The forms of each part of a statement; of one without parts all."""
    parts: dict[str, list[str]] = {}
    for form, found in forms.items():
        parts.setdefault(found.part, []).append(form)
    return list(parts.values())


def _known(target: Target, forms: Forms) -> dict[str, Evidence] | None:
    """What each form says; None if one of them says nothing.

    The number of one text, which has no p, says nothing beside what was sampled.
    """
    sampled = any(found.has_interval for found in forms.values())
    say = evidence if sampled else _exact_evidence
    said = {form: say(target, found) for form, found in forms.items()}
    known = {form: each for form, each in said.items() if each is not None}
    return known if len(known) == len(said) else None


def _alone(target: Target, found: Estimate, alpha: float) -> Answer:
    """What one number says by itself."""
    said = evidence(target, found) or _exact_evidence(target, found)
    return "unknown" if said is None else said.answer(said.two_sided, alpha)


def _exact_evidence(target: Target, found: Estimate) -> Evidence | None:
    """Of one text, which has the number that it has, for a value; None of anything else."""
    if not found.is_exact or target.value is None:
        return None
    assert found.value is not None
    inside = abs(found.value - target.value) <= target.tolerance + _SLACK
    return Evidence(favour=0.0, against=1.0) if inside else Evidence(favour=1.0, against=0.0)


def _why(target: Target, forms: Forms, said: Evidence, p: float, alpha: float) -> str:
    """Why nothing is decided: the forms disagree, too little is known, or many were tested."""
    answers = {form: _alone(target, found, alpha) for form, found in forms.items()}
    if said.two_sided < alpha:
        clear = f"clear alone, but not among all claims of the run (p = {p:.2g} after Holm)"
        bound = max(forms.values(), key=lambda found: found.attainable_p)
        if said.two_sided > attainable_p(forms) or bound.least_p > 0:
            return clear
        more = f"more than {len(bound.draws):,} resamples (statistics.bootstrap) may decide it"
        return f"{clear}; {more}"
    parts = _by_part(forms)
    for part in parts:
        if all(answers[form] == "no" for form in part):
            name = forms[part[0]].part
            return f"{name} is against it, but not clear as one of {len(parts)} parts"
    split = [form for part in parts if {"yes", "no"} <= {*map(answers.get, part)} for form in part]
    if split:
        sides = {
            side: _listed(form for form in split if answers[form] == side) for side in ("yes", "no")
        }
        return f"not all ways agree: {sides['yes']} for it, {sides['no']} against"
    if (least := max(found.least_p for found in forms.values())) == 1.0:
        return "every resample gives the same number, which says nothing about how uncertain it is"
    if 2 * least >= alpha:
        few = min(found.fewest for found in forms.values())
        return f"no median of {few} units can be told from another number"
    open_forms = [form for form, each in answers.items() if each == "undecided" and form]
    by = f" by {_listed(open_forms)}" if len(forms) > 1 and open_forms else ""
    what = f"{target.threshold:g}" if target.threshold is not None else "an end of the tolerance"
    return f"the interval reaches over {what}{by}"


def _listed(forms: Iterable[str]) -> str:
    """Names of forms, their parts and variants in brackets."""
    parts = (form.partition(", ") for form in forms)
    return ", ".join(f"{form} ({which})" if which else form for form, _, which in parts)


def worded(verdict: str, *, elsewhere: bool) -> str:
    """A verdict in words; of another model than the study's it says nothing about the study's.

    Parameters
    ----------
    elsewhere: whether the study is about other models than this one.
    """
    return _ELSEWHERE.get(verdict, verdict) if elsewhere else verdict


_ELSEWHERE = {
    HOLDS: "replicated",
    AS_PUBLISHED: "replicated only as published",
    FAILS: "not replicated",
}
