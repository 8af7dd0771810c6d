"""What failed in a run, said again at its end."""

from __future__ import annotations

import re
from pathlib import Path

_FAILED = re.compile(r"^Error in rule (\S+):$(.*?)^    log: (\S+)", re.MULTILINE | re.DOTALL)
_MOST = 10
"""Messages that are repeated."""

_SCREEN = 20
"""Lines behind a message that leave it in sight."""


def failures(log: str) -> list[str]:
    """The messages of jobs that failed long before the end of a run; none where all are in sight.

    Parameters
    ----------
    log: what Snakemake wrote in its own.
    """
    found = list(_FAILED.finditer(log))
    if not found or log.count("\n", found[0].end()) < _SCREEN:
        return []
    logs = {match[3]: match[1] for match in found}  # of a job that was tried again, once
    messages = [_message(rule, Path(file)) for file, rule in logs.items()]
    further = len(messages) - _MOST
    return messages[:_MOST] + ([f"and {further:,} more"] if further > 0 else [])


def _message(rule: str, file: Path) -> str:
    """The last one in the log of a job, which names its rule first."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    starts = [i for i, line in enumerate(lines) if re.match(rf"{re.escape(rule)}(:| \()", line)]
    return "\n".join(lines[starts[-1] :]) if starts else f"{rule}: its log is {file}"
