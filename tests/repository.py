"""What is tracked in this checkout."""

import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@cache
def repository_files() -> list[Path]:
    """What a clone would hold: files that are tracked, or new and not ignored."""
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_symlink() or path.exists()]  # a deleted one is listed


def repository_texts() -> dict[str, str]:
    """Every text file of these, by its path."""
    contents = {path: path.read_bytes() for path in repository_files() if path.is_file()}
    return {
        str(path.relative_to(ROOT)): content.decode()
        for path, content in contents.items()
        if b"\0" not in content
    }
