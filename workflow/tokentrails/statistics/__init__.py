"""Resampling, tests and similarities: arrays in, arrays out."""
