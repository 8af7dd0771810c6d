"""tokentrails: how a token's representation evolves inside a transformer."""

__version__ = "0.1.0"
