"""Where the files of the workflow lie that are no code of the library."""

from __future__ import annotations

from pathlib import Path

LIBRARY = Path(__file__).parent
_INSTALLED = LIBRARY / "project"

PROJECT = _INSTALLED if _INSTALLED.is_dir() else LIBRARY.parents[1]
"""The folder that holds the Snakefile: the checkout, or its copy in an installed package."""

SNAKEFILE = str(PROJECT / "Snakefile")
"""The workflow, for `snakemake --snakefile` and for `module` in another Snakefile."""

SCHEMAS = PROJECT / "workflow/schemas"
SCRIPTS = PROJECT / "workflow/scripts"
