"""What a job took: the last line of its log."""

import re
import resource
import time
from pathlib import Path
from typing import NamedTuple

_STATUS = Path("/proc/self/status")
_LINE = re.compile(r"took ([\d.]+) s, ([\d.]+) s of CPU, ([\d.]+) MB")


class JobCost(NamedTuple):
    """Wall time, time on all cores (user and system), and largest resident memory of a process."""

    seconds: float
    cpu_seconds: float
    max_rss_mb: float

    @classmethod
    def since(cls, start: float) -> "JobCost":
        """That of this process and those that it has waited for.

        Parameters
        ----------
        start: `time.monotonic()` at its first line.
        """
        each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu = sum(usage.ru_utime + usage.ru_stime for usage in each)
        # In KiB. That of `getrusage` begins with what Snakemake had when it started this process.
        status = _STATUS.read_text() if _STATUS.exists() else ""
        own = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
        memory = max(int(own[1]) if own else each[0].ru_maxrss, each[1].ru_maxrss) / 1024
        return cls(time.monotonic() - start, cpu, memory)

    @classmethod
    def read(cls, log: Path) -> "JobCost | None":
        """What a log ends with; None of a job that has not ended well."""
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        found = _LINE.fullmatch(lines[-1]) if lines else None
        return cls(*map(float, found.groups())) if found else None

    def __str__(self) -> str:
        return (
            f"took {self.seconds:.2f} s, {self.cpu_seconds:.2f} s of CPU, {self.max_rss_mb:.0f} MB"
        )
