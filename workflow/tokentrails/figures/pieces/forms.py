"""A similarity in every form that its measure is known in."""

import polars as pl

from ...statistics.forms import SOUND
from .theme import INK, PALETTE

TINTS = dict(zip(SOUND, (INK, *(PALETTE[i] for i in (2, 5, 4, 3))), strict=True))
"""The colour of each form, where forms are lines of one panel."""

VALUES = {form: "cosine" if form == "cosine" else f"{form} cosine" for form in SOUND}
"""What the axis of each form says."""

SUFFIXES = {form: "" if form == "cosine" else f", {form}" for form in SOUND}
"""What the title of a panel of each form ends in."""


def by_form(table: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The rows with a value in each form, with its mean and interval as those of the cosine.

    Parameters
    ----------
    table: of means over words, with the columns of `metrics.columns.groups`.
    """
    found = {
        form: table.with_columns(mean=form, ci_low=f"{form}_low", ci_high=f"{form}_high")
        for form in SOUND[1:]
    }
    found = {"cosine": table} | found
    known = {form: rows.drop_nulls("mean") for form, rows in found.items()}
    return {form: rows for form, rows in known.items() if len(rows)}
