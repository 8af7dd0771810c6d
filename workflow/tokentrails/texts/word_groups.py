"""The groups of words: their classes, and their bands of frequency."""

from typing import Literal, get_args

WordClass = Literal["function", "content", "punctuation", "other"]
CLASSES: tuple[str, ...] = get_args(WordClass)
NO_CLASSES = "no classes for this language"

BANDS = {100: "1-100", 1_000: "101-1,000", 10_000: "1,001-10,000"}
"""Bands of frequency, by the last place in the list of words."""
RAREST = "over 10,000"
BAND_NAMES = (*BANDS.values(), RAREST)
UNKNOWN = "unknown"
"""The frequency of words without a list or not in a short one, and of words not cut apart."""
