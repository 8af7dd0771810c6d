"""How much memory works take beyond what is there already."""

from collections.abc import Callable
from pathlib import Path


def extra_memory(work: Callable[[], object]) -> float:
    """Most memory in MB that this process takes while it works, beyond what it had before."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(key))
    return int(line.split()[1]) / 1024
