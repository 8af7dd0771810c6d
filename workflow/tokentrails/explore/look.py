"""How states are looked at."""

from __future__ import annotations

from dataclasses import dataclass

from ..statistics.forms import MATCHED, SOUND

FORMS = tuple(form for form in SOUND if form != MATCHED)
TURNED = ("centred", "standardised")
"""Forms in which states and rows are other vectors: ranks and nearest entries differ too."""


@dataclass(frozen=True)
class Look:
    """How states are looked at.

    Attributes
    ----------
    matrix: one of `MATRICES`.
    form: one of `FORMS`.
    positional: whether the embedding of the token's own position is added to every row.
    as_published: whether there is beside it what the study's formula gives.
    """

    site: str
    matrix: str
    form: str = "cosine"
    positional: bool = False
    as_published: bool = False

    @property
    def shape(self) -> str:
        """The form as far as ranks differ by it."""
        return self.form if self.form in TURNED else "cosine"
