"""The section `statistics` of the configuration, as what it stands for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .bootstrap import Bootstrap
from .permutation import Permutation


@dataclass(frozen=True)
class Statistics:
    """How sure means are.

    Attributes
    ----------
    few: means over fewer units are marked.
    section: as configured, which is what tables name as their provenance.
    """

    bootstrap: Bootstrap
    permutation: Permutation
    few: int
    section: Mapping[str, Any]

    @classmethod
    def from_config(cls, section: Mapping[str, Any]) -> Statistics:
        return cls(
            Bootstrap.from_config(section),
            Permutation(section["permutations"], section["seed"]),
            section["few"],
            section,
        )

    @property
    def provenance(self) -> dict[str, str]:
        return {"statistics": json.dumps(dict(self.section))}
