"""A token in each of two texts: identity and context similarity, beside chance and a control."""

import altair as alt
import polars as pl

from .identity import word_panels
from .pieces.curves import (
    chance_curves,
    context_curves,
    control_context_curves,
    control_curves,
    identity_curves,
)
from .pieces.notes import CONTROL, form_notes
from .pieces.theme import nothing_to_show

Tables = tuple[pl.DataFrame, pl.DataFrame]
"""`identity` and `context` of one model and checkpoint."""


def two_texts(
    tables: Tables,
    *,
    form: str,
    texts: list[str],
    chance: pl.DataFrame | None = None,
    control: Tables | None = None,
    title: str,
) -> alt.TopLevelMixin:
    """A panel for each word of the tables, in one of the forms.

    `texts` says which they are; `chance` has measure (cosine: of identity; context), layer, low,
    value and high of random pairs, and `control` the tables of the same words with random weights.
    """
    identity, context = tables
    means, _ = identity_curves(identity, None, measure=form)
    if means.is_empty():
        return nothing_to_show(title)
    run = means["run"][0]
    parts = [means, context_curves(context, None, measure=form)]
    notes = [
        *texts,
        "Solid: identity, the cosine with the token's own input embedding. Dashed: cosine of the "
        "states in the two texts.",
    ]
    if chance is not None and len(chance):
        parts.append(chance_curves(chance, means))
        notes.append(
            "Grey bands, dotted lines: middle 80 % and median of random tokens of the baseline's "
            "texts, each with another token's embedding, or with its state in another text."
        )
    if control is not None:
        parts += [
            control_curves(control[0], run, measure=form),
            control_context_curves(control[1], run, measure=form),
        ]
        notes.append(f"Grey, solid and dashed: the same with {CONTROL}, before any training.")
    found = pl.concat([part.select(means.columns) for part in parts if part is not None])
    return word_panels(
        found, means.clear(), title=title, notes=notes + form_notes([form]), form=form
    )
