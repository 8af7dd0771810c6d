"""What is known of a model whose claims are tested: the table `model` of the formulas."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ..network.architectures import ARCHITECTURES
from .file import AppliesTo

SCHEMA = {
    "name": pl.String,
    "checkpoint": pl.String,
    "architecture": pl.String,
    "kind": pl.String,
    "positions": pl.String,
    "checkpoints": pl.Int32,
    "depth": pl.Int32,
    "d_model": pl.Int32,
    "n_parameters": pl.Int64,
}


def model_table(
    name: str, reference: str, checkpoints: int, provenance: Mapping[str, str]
) -> pl.DataFrame:
    """One row; null is what the provenance of the model's tables does not say.

    Parameters
    ----------
    reference: the checkpoint that claims are tested at.
    checkpoints: how many the model has.
    provenance: of one of its tables; may be empty.
    """
    row: dict[str, object] = {
        "name": name,
        "checkpoint": reference,
        "checkpoints": checkpoints,
        "architecture": provenance.get("architecture"),
    }
    if known := ARCHITECTURES.get(provenance.get("architecture", "")):
        row["kind"] = "decoder" if known.causal else "encoder"
        row["positions"] = "rotary" if known.rotary else "learned"
    for key in ("depth", "d_model", "n_parameters"):
        if (value := provenance.get(key, "")).isdigit():
            row[key] = int(value)
    return pl.DataFrame([row], schema=SCHEMA)


def unfit(about: AppliesTo, model: pl.DataFrame) -> str:
    """Why a claim is not about a model; empty where it is, or where that is not known."""
    known = model.row(0, named=True)
    if about.kind and known["kind"] not in (about.kind, None):
        return f"the claim is about {about.kind}s; this model is not one"
    if about.positions and known["positions"] not in (about.positions, None):
        return (
            f"the claim is about {about.positions} positions; this model's are {known['positions']}"
        )
    if about.several_checkpoints and known["checkpoints"] < 2:
        return "the model has one checkpoint"
    return ""
