"""Cosine of neighbouring layers."""

import numpy as np

MEANING = "cosine of the state with the state one layer before, at the same site"
UNIT = "cosine, -1 to 1"
SITES = ("resid", "resid_mid")


def measure(hidden, previous):
    lengths = np.linalg.norm(hidden, axis=1) * np.linalg.norm(previous, axis=1)
    return (hidden * previous).sum(axis=1) / lengths
