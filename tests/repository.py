"""What is tracked in this checkout."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def repository_texts() -> dict[str, str]:
    """Every text file that is tracked, or new and not ignored, by its path."""
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    texts = {}
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            content = path.read_bytes()
            if b"\0" not in content:
                texts[name] = content.decode()
    return texts
