"""Figures: Polars frames in, Altair charts out, files through `save`."""
