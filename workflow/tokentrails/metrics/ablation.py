"""The causal twin of attribution: what a token loses where a head or an MLP gives its mean.

A part's output is set to its mean over other texts (mean ablation, as in Wang et al. 2022,
https://arxiv.org/abs/2211.00593), at all positions but the first, and the model runs on from there.
What then changes is what the part is for, with all that follows; attribution is of one block alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from ..errors import TokentrailsError
from ..network.ablation import AT_ONCE, Ablated, Ablation, ablated, mean_outputs
from ..network.parts import Parts
from ..statistics.settings import Statistics
from ..texts.whole import WholeText, whole_texts
from ..vocabulary.cosines import slices
from .attribution_by_layer import PART_MEANINGS
from .columns.frame import run_table, word_rows
from .columns.means import MEANINGS as MEAN_MEANINGS
from .columns.means import mean_curves
from .columns.whole_texts import each_text
from .own_token import Readout

MEASURES = ("identity", "last_identity", "loss")
_KEYS = ("layer", "part", "head", "control")

_WITH = "the same with the part set to its mean"
MEANINGS = {
    **MEAN_MEANINGS,
    "layer": PART_MEANINGS["layer"],
    "part": "head or mlp: what gives its mean over the baseline's tokens (without a baseline, over "
    "those of the same texts), at all positions but 0",
    "head": PART_MEANINGS["head"],
    "control": "whether the head was drawn from those of the block that are not the strongest",
    "contribution": "mean of what the part adds to identity, as in attribution_by_layer; strongest "
    "are the heads with the largest, whatever its sign, in the same texts: intervals are given "
    "this choice",
    "identity": "mean cosine of states after the block with the token's own embedding, over the "
    "tokens of words and punctuation, without those at position 0",
    "last_identity": "the same after the last block",
    "loss": "mean of minus log-probability: of the next token where a position sees what is before "
    "it alone, else of the token itself (through the masked-token head); null: without a head",
    **{f"{name}_ablated": _WITH for name in MEASURES},
    **{f"{name}_difference": f"{name}_ablated - {name}" for name in MEASURES},
    **{
        f"{name}_difference_{end}": f"{which} end of its interval: bootstrap over texts"
        for name in MEASURES
        for end, which in (("low", "lower"), ("high", "upper"))
    },
    "n": "how many tokens",
    "n_loss": "how many of them have a loss",
}
UNITS = {
    name: "nats" if name.startswith("loss") else "cosine"
    for name in MEANINGS
    if name.startswith(MEASURES) or name == "contribution"
}


class Choice(NamedTuple):
    """A part to ablate; `head` is None for the MLP."""

    layer: int
    head: int | None
    control: bool
    contribution: float | None


def choose(by_layer: pl.DataFrame, heads: int, seed: int) -> list[Choice]:
    """The MLP of each block, its heads with the largest contributions, and one of the others.

    Parameters
    ----------
    by_layer: the table `attribution_by_layer`.
    heads: how many of each block.
    seed: with the block decides which other one is drawn.
    """
    found = []
    for (layer,), rows in by_layer.sort("layer").group_by("layer", maintain_order=True):
        means = dict(rows.filter(part="head").select("head", "mean").sort("head").rows())
        order = sorted(means, key=lambda head: -abs(means[head] or 0))
        mlp = rows.filter(part="mlp")["mean"].item()
        found.append(Choice(layer, None, False, mlp))
        drawn = order[heads:]
        if drawn:
            drawn = [drawn[np.random.default_rng([seed, layer]).integers(len(drawn))]]
        for control, some in ((False, order[:heads]), (True, drawn)):
            found += [Choice(layer, head, control, means[head]) for head in some]
    return found


def operations(tokens: pa.Table, choices: Sequence[Choice], parts: Parts) -> float:
    """Floating-point operations of `attribution_causal`, but for attention between tokens.

    A run begins at the block of what is ablated, so it is half of one on average.
    """
    block = parts.blocks[0]
    heads, mlp = block.heads, block.dense_mlp
    matrices = [heads.W_Q, heads.W_K, heads.W_V, heads.W_O]
    if mlp is not None:  # of experts it is not known how many run
        matrices += [mlp.W_in, mlp.W_out, *([] if mlp.W_gate is None else [mlp.W_gate])]
    weights = sum(matrix.numel() for matrix in matrices)
    vocabulary = 0 if parts.unembedding is None else parts.unembedding.numel()
    runs = len(choices) * (weights * len(parts.blocks) / 2 + vocabulary)
    return 2.0 * tokens.num_rows * runs


@torch.inference_mode()
def attribution_causal(
    tokens: pa.Table,
    baseline: pa.Table,
    choices: Sequence[Choice],
    readout: Readout,
    own: Callable[[list[int]], Float32[np.ndarray, "t d"]],
    statistics: Statistics,
    *,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `attribution_causal`: a row for each part that is set to its mean.

    Parameters
    ----------
    tokens: the tokens table of whole texts.
    baseline: that of the texts over which the means are.
    choices: in the order of their layers.
    own: rows of the input embedding matrix, as the table `identity` takes them.
    provenance: gives the key columns too.
    """
    model, architecture = readout.model, readout.architecture
    heads, mlp = mean_outputs(
        model, architecture, [text.token_ids for text in whole_texts(baseline)]
    )
    ablations = [
        Ablation(layer, head, mlp[layer] if head is None else heads[layer, head])
        for layer, head, *_ in choices
    ]
    keys = pl.DataFrame(
        [
            (layer, "mlp" if head is None else "head", head, drawn)
            for layer, head, drawn, _ in choices
        ],
        {"layer": pl.Int32, "part": pl.String, "head": pl.Int32, "control": pl.Boolean},
        orient="row",
    ).with_columns(contribution=pl.Series([c.contribution for c in choices], dtype=pl.Float32))
    rows = []
    for text in each_text(whole_texts(tokens), provenance):
        e = torch.from_numpy(own(text.token_ids)).double().to(heads.device)
        e /= torch.linalg.vector_norm(e, dim=1, keepdim=True)
        for part in slices(len(ablations), max(1, AT_ONCE // len(text.token_ids))):
            states = ablated(model, architecture, text.token_ids, ablations[part])
            rows.append(_frame(text, keys[part], _measures(states, text, e, readout)))
    if not rows:
        raise TokentrailsError(
            "no text has a word behind its first position, so that nothing is there to be changed",
            where="the analysis ablation",
            hint="give the experiment file texts of several words.",
        )
    return _table(pl.concat(rows), keys, tokens, statistics, provenance)


def _measures(
    states: Ablated, text: WholeText, e: Float64[Tensor, "t d"], readout: Readout
) -> Iterator[tuple[str, Float[np.ndarray, "2 n t"]]]:
    """By name each measure of every token, without and with each ablation."""
    n = len(states.after)

    def pairs(of_runs: Tensor) -> Tensor:
        return torch.stack([of_runs[:1].expand(n, -1), of_runs[1:]])

    yield "identity", _cosine(states.after, e).movedim(1, 0).cpu().numpy()
    yield "last_identity", pairs(_cosine(states.last, e)).cpu().numpy()
    loss = torch.full(states.last.shape[:2], torch.nan)
    if readout.parts.unembedding is not None:
        ids = torch.tensor(text.token_ids, device=e.device)
        said, of = (
            (slice(1, -1), ids[2:]) if readout.architecture.causal else (slice(1, None), ids[1:])
        )
        x = states.last[:, said]
        logprobs = readout.logprob(x.flatten(0, 1), of.repeat(n + 1))
        loss[:, said] = -logprobs.view(n + 1, -1).cpu()
    yield "loss", pairs(loss).numpy()


def _cosine(x: Float[Tensor, "*n t d"], e: Float64[Tensor, "t d"]) -> Float64[Tensor, "*n t"]:
    return (x.double() * e).sum(-1) / torch.linalg.vector_norm(x.double(), dim=-1)


def _frame(
    text: WholeText,
    keys: pl.DataFrame,
    measures: Iterator[tuple[str, Float[np.ndarray, "2 n t"]]],
) -> pl.DataFrame:
    """A row for each ablation and token."""
    t = len(text.token_ids)
    columns = {
        f"{name}{end}": values.reshape(-1)
        for name, (intact, changed) in measures
        for end, values in (
            ("", intact),
            ("_ablated", changed),
            ("_difference", changed - intact),
        )
    }
    index = np.repeat(np.arange(len(keys)), t)
    return keys.select(_KEYS)[index].with_columns(
        pl.lit(text.label).alias("label"),
        pl.Series("position", np.tile(np.arange(t), len(keys)), pl.Int32),
        **{name: pl.Series(values, dtype=pl.Float64) for name, values in columns.items()},
    )


def _table(
    rows: pl.DataFrame,
    keys: pl.DataFrame,
    tokens: pa.Table,
    statistics: Statistics,
    provenance: Mapping[str, str],
) -> pa.Table:
    values = [f"{name}{end}" for name in MEASURES for end in ("", "_ablated", "_difference")]
    curves = mean_curves(
        word_rows(rows, tokens).with_columns(site=pl.lit("resid")),
        by=[key for key in _KEYS if key != "layer"],
        values=values,
        statistics=statistics,
    )
    found = keys
    for name in values:
        new = {"mean": name}
        if name.endswith("_difference"):
            new |= {"ci_low": f"{name}_low", "ci_high": f"{name}_high"}
        if name in ("identity", "loss"):
            new |= {"n": "n" if name == "identity" else "n_loss"}
        if name == "identity":
            new |= {"n_texts": "n_texts", "few": "few"}
        of_measure = curves.filter(measure=name).select(*_KEYS, *new).rename(new)
        found = found.join(
            of_measure, on=_KEYS, how="left", nulls_equal=True, maintain_order="left"
        )
    counts = ("n", "n_loss", "n_texts", "few")
    found = found.with_columns(pl.col("n_loss").fill_null(0)).select(pl.exclude(counts), *counts)
    title = "attribution_causal: what changes where a head or an MLP gives its mean"
    about = dict(provenance) | statistics.provenance
    return run_table(found.sort(*_KEYS), title, about, MEANINGS, UNITS)
