"""tokentrails: how a token's representation evolves inside a transformer."""

from .project import SNAKEFILE

__version__ = "0.2.0"
__all__ = ["SNAKEFILE"]
