"""Which layers and heads are looked at."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import TokentrailsError


def existing(wanted: Sequence[int] | None, n: int, what: str, *, where: str) -> list[int]:
    """The wanted layers or heads; all, if none are named.

    Parameters
    ----------
    wanted: from the configuration, as are `what` (the key) and `where`.
    n: how many there are.

    Raises
    ------
    TokentrailsError: if one of them does not exist.
    """
    for number in wanted or ():
        if number >= n:
            raise TokentrailsError(
                f"there is no {what.removesuffix('s')} {number}: the model has {n} {what}, 0 to "
                f"{n - 1}",
                where=where,
                hint=f"choose from 0 to {n - 1}, or say all.",
            )
    return list(range(n)) if wanted is None else sorted(wanted)
