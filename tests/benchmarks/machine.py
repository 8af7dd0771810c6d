"""The machine that benchmarks ran on, as far as numbers depend on it."""

import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch


def machine() -> dict[str, str]:
    """What it is, by keyword; nothing that says which one of its kind it is."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    numpy_blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "cpu": _cpu(),
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}",
        "memory": f"{pages / 2**30:.0f} GB",
        "gpu": _gpu(),
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "polars", "pyarrow")},
        "blas": f"{_torch_blas()} (torch), {numpy_blas['name']} {numpy_blas['version']} (numpy)",
    }


def in_a_line(about: Mapping[str, str]) -> str:
    """What matters most of it, in a line."""
    gpu = "no GPU" if about["gpu"] == "none" else f"GPU {about['gpu']}"
    return (
        f"{about['cpu']}, {about['cores']} cores, {about['threads']} threads, "
        f"{about['memory']} memory, {gpu}, {about['system']}"
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text()
    except OSError:
        lines = ""
    found = re.search(r"^model name\s*:\s*(.+)$", lines, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _gpu() -> str:
    if not torch.cuda.is_available():
        return "none"
    about = torch.cuda.get_device_properties(0)
    name = f"{about.name}, {about.total_memory / 2**30:.0f} GB"
    count = torch.cuda.device_count()
    return name if count == 1 else f"{count} × {name}"


def _torch_blas() -> str:
    built = torch.__config__.show()
    if mkl := re.search(r"Math Kernel Library Version (\S+?)-", built):
        return f"MKL {mkl[1]}"
    blas = re.search(r"BLAS_INFO=(\w+)", built)
    return blas[1] if blas else "unknown"
