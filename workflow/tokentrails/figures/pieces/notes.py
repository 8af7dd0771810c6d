"""What figures say under their titles."""

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from ...texts.word_groups import BANDS, NO_CLASSES, RAREST
from .groups import group_name, sizes
from .theme import GREY

_MOST_WARNINGS = 5
_MOST_NAMES = 5
_POOLED = {"first": "the state of the first one", "mean": "the mean of their states"}
_FORMS = {
    "scaled": "Scaled: (cosine − chance) / (1 − chance); chance is the mean cosine of random pairs "
    "at the same place (of identity: of states with embeddings of other tokens).",
    "matched": "Matched: with the chance of the experiment's words of the same class, if they "
    "have one, and band of positions.",
    "centred": "Centred: without the mean over the baseline's tokens.",
    "standardised": "Standardised: every dimension as a z-score over the baseline's tokens.",
}
_FORMS_DURING_TRAINING = {
    "scaled": "Scaled: (cosine − chance) / (1 − chance); chance is the mean cosine of a word's "
    "state at the checkpoint with other words' states at the reference.",
    "matched": "Matched: with the chance of words of the same class, if they have one, and band of "
    "positions.",
    "centred": "Centred: without the mean over the experiment's words, each at its own checkpoint.",
    "standardised": "Standardised: every dimension as a z-score over the experiment's words, each "
    "at its own checkpoint.",
}


def derived_notes(provenances: Iterable[Mapping[str, str]]) -> list[str]:
    """Which models are of a type that is not in the table, by the row that they are read as."""
    found = {(p.get("model", ""), p.get("architecture", "")) for p in provenances}
    return [
        f"{model}: derived, its type is not supported by itself ({architecture})."
        for model, architecture in sorted(found)
        if ", read as " in architecture
    ]


def altered_notes(provenances: Iterable[Mapping[str, str]]) -> list[str]:
    """That the texts are a control, with other words in them or in another order, if so."""
    found = list(provenances)
    words = sorted({p["replace"] for p in found if "replace" in p})
    notes = [
        f"A control: in the place of each word stands another ({each}). What is said of a word and "
        "of its senses here is of the sentences around it."
        for each in words
    ]
    if any("shuffle" in p for p in found):
        notes.append("A control: the words of each text but the target are in random order.")
    return notes


def pooling_notes(provenances: Iterable[Mapping[str, str]]) -> list[str]:
    """What stands for a word of several tokens, where that is not its last one."""
    found = {p.get("pooling", "last") for p in provenances}
    return [
        f"Words of several tokens: {_POOLED[pooling]} (pooling: {pooling})."
        for pooling in sorted(found - {"last"})
    ]


def uncontrolled_notes(
    provenances: Iterable[Mapping[str, str]], table: pl.DataFrame | None
) -> list[str]:
    """That no network before training is in a figure, neither random weights nor step 0, if so.

    Parameters
    ----------
    provenances: of all tables that it reads.
    table: the one that it draws.
    """
    if table is None or "model" not in table.columns:
        return []
    steps = table["step"].to_list() if "step" in table.columns else []
    if 0 in steps or any(p.get("source", "").startswith("random:") for p in provenances):
        return []
    return [f"No {CONTROL} to compare with: this figure does not show what was learnt."]


def form_notes(forms: Iterable[str], *, during_training: bool = False) -> list[str]:
    """What the forms of similarity are that a figure has.

    Parameters
    ----------
    during_training: whether they are of states at two checkpoints, which the experiment's own
        words are the baseline of.
    """
    known = _FORMS_DURING_TRAINING if during_training else _FORMS
    found = [known[form] for form in forms if form in known]
    return [" ".join(found)] if found else []


def warnings_of(checkpoints: pl.DataFrame) -> list[str]:
    """The warnings of tables of checkpoints; the last one counts those that are not given."""
    found = [
        f"{run}: {warning}."
        for run, warning in checkpoints.select(_run(checkpoints), "warning").drop_nulls().rows()
    ]
    shown = found[:_MOST_WARNINGS]
    if more := len(found) - len(shown):
        shown.append(f"{more} more, in the table of checkpoints.")
    return shown


def _run(checkpoints: pl.DataFrame) -> pl.Expr:
    """The name of a checkpoint, behind that of its model where there are several."""
    several = checkpoints["model"].n_unique() > 1
    return pl.format("{} {}", "model", "checkpoint") if several else pl.col("checkpoint")


def counts(table: pl.DataFrame) -> str:
    """How many words each group has that has any."""
    return ", ".join(f"{n} of {group_name(tokens)}" for tokens, n, _ in sizes(table) if n)


TRAININGS = "n_trainings"
"""The column that tables of sets of replicates have, and no others."""


def few_note(table: pl.DataFrame) -> str:
    """What the lines are that the table says are of few units."""
    return f"Dashed: {'few trainings' if TRAININGS in table.columns else 'groups of few words'}."


def dashed_note(points: pl.DataFrame, few: str) -> str:
    """What is `few` of the dashed lines, behind another sentence; nothing where there are none.

    `points` is a points frame, or a table with the column few.
    """
    column = "dashed" if "dashed" in points.columns else "few"
    return f" Dashed: {few}." if points[column].any() else ""


def class_notes(groups: Iterable[str]) -> list[str]:
    """That there is neither function word nor content word among these groups, if so."""
    if {"function", "content"} & set(groups):
        return []
    return [f"Function and content words are not told apart: {NO_CLASSES}."]


def frequency_notes(groups: Iterable[str]) -> list[str]:
    """That there is no band of frequency among these groups, if so."""
    if {*BANDS.values(), RAREST} & set(groups):
        return []
    return ["Words are not told apart by frequency: no list of frequent words for this language."]


def words_note(table: pl.DataFrame, few: str | None = None) -> list[str]:
    """How many words each group has, what shows that they are `few`, and which groups are empty."""
    few = few_note(table) if few is None else few
    groups = sizes(table)
    none = [group_name(tokens) for tokens, n, _ in groups if not n]
    sentences = [f"Words: {counts(table)}."] if len(none) < len(groups) else []
    if few and any(are_few and n for _, n, are_few in groups):
        sentences.append(few)
    if none:
        sentences.append(f"No word has {' or '.join(none)}.")
    return [" ".join(sentences)] if sentences else []


def band_note(
    points: pl.DataFrame,
    confidence: float,
    over: str = "words",
    method: str = "bootstrap",
    *,
    few: str | None = None,
    without: Iterable[str] = (),
) -> str:
    """What the band around a line is, and why lines have none.

    Parameters
    ----------
    points: those that may have an interval, with the column low. Grey ones are passed over: what
        lies around a line of controls is a range.
    over: what is resampled; `few` is what there is too little of, where that is said otherwise.
    without: names of what is drawn and has no interval in any table; not among the points.
    """
    if "colour" in points.columns:
        points = points.filter(pl.col("colour") != GREY)
    few = f"too few {few or over}"
    if points["low"].is_null().all():
        return f"No bands: {few} for an interval."
    rest = f" Where there is none: {few}, or all are equal." if points["low"].has_nulls() else ""
    none = f" No band: {', '.join(without)}." if without else ""
    return f"Band: {100 * confidence:g} % interval, {method} over {over}.{rest}{none}"


def trainings_note(table: pl.DataFrame) -> list[str]:
    """How many trainings the means of a set of replicates are over."""
    several = TRAININGS in table.columns
    return [f"Mean of {table[TRAININGS][0]} trainings."] if several else []


def interval_note(
    table: pl.DataFrame, points: pl.DataFrame, confidence: float, *over: str, **few: str
) -> str:
    """What the band around a line is, of one training or, by the `table`, of replicates.

    The others are those of `band_note`.
    """
    trainings = trainings_note(table)
    if trainings:
        over, few = ("trainings", "Student's t"), {}
    return " ".join([*trainings, band_note(points, confidence, *over, **few)])


CONTROL = "random weights"
"""The label of a line of controls."""


def control_notes(
    control: pl.DataFrame | None, line: str = "Solid grey", middle: str = "mean"
) -> list[str]:
    """What the `line` of controls is, of several draws their `middle`; none without them."""
    if control is None:
        return []
    n = control.select("model", "checkpoint").n_unique()
    draws = f", {middle} and range of {n} draws" if n > 1 else ""
    return [f"{line}: the same architecture with {CONTROL}, before any training{draws}."]


def grey_note(colours: Mapping[str, str]) -> list[str]:
    """What is grey where lines are models, if any is."""
    return [f"Grey: models of {CONTROL}."] if GREY in colours.values() else []


REPLACED = "another word"
"""The label of a line of the same texts with other words in the targets' place."""


def reference_name(table: pl.DataFrame) -> str:
    """The name of the checkpoint that all others are compared with."""
    return table["reference"][0]


def thinned_note(drawn: int, every: int, what: str) -> list[str]:
    """How many layers or steps are drawn, where these are not all."""
    return [f"Drawn: {drawn} of {every} {what}."] if drawn < every else []


def left_out(table: pl.DataFrame) -> list[str]:
    """Which checkpoints are not drawn, since no step is known of them."""
    names = table.filter(pl.col("step").is_null())["checkpoint"].unique(maintain_order=True)
    return not_drawn("without a step in the name", names.to_list())


def not_drawn(why: str, names: Sequence[str]) -> list[str]:
    """That some of what a figure could have is not in it, if so, by name."""
    shown = [*names[:_MOST_NAMES]]
    if len(names) > len(shown):
        shown.append(f"and {len(names) - len(shown)} more")
    return [f"Not drawn, {why}: {', '.join(shown)}."] if shown else []
