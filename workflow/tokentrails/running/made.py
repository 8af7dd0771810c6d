"""Where to look, said at the end of a run."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

_PLACES = {
    "results/findings.html": "what the claims come to",
    "results/composites/": "figures across models",
    "results/figures/": "figures of each model",
    "results/tables/": "texts in words",
    "results/metrics/": "tables",
}
_MOST = 3


def where_to_look(made: Collection[str]) -> list[str]:
    """The places of what a run made, first what says most; nothing where it made nothing to read.

    Parameters
    ----------
    made: paths of files, relative to the working directory; those that are not there do not count.
    """
    found = [
        f"{place} ({about})"
        for place, about in _PLACES.items()
        if any(path.startswith(place) and Path(path).exists() for path in made)
    ]
    if not found:
        return []
    return [
        f"Look at {', '.join(found[:_MOST])}.",
        "All in one page: the same command with --report results/report.html.",
    ]
