"""Figures of the vocabulary's view: what is drawn is what the tables say."""

import itertools
import math

import altair as alt
import polars as pl
import pytest

SENTENCE = [
    *("<|endoftext|>", "The", "Ġold", "Ġlibr", "arian", "Ġput", "Ġthe", "Ġheavy"),
    *("Ġdictionary", "Ġback", "Ġon", "Ġthe", "Ġshelf", ",", "Ġnear", "Ġthe", "Ġ19"),
    *("Ġmaps", "ĠcafÃ©", "."),
]
FUNCTION = {"The", "Ġthe", "Ġon", "Ġnear"}
TYPES = {
    **dict.fromkeys(("position", "layer", "rank", "rank_as_published"), pl.Int32),
    **dict.fromkeys(("cosine", "adjusted", "cosine_as_published"), pl.Float32),
    **{"word_class": pl.String, "sense": pl.String},
    **{"nearest": pl.List(pl.String), "nearest_cosine": pl.List(pl.Float32)},
}


def kind(token: str) -> str | None:
    if token.startswith("<|"):
        return None
    bare = token.strip("Ġ")
    if token in FUNCTION:
        return "function"
    if bare.isalpha():
        return "content"
    return "other" if any(c.isalnum() for c in bare) else "punctuation"


def ranks(
    tokens=SENTENCE, *, depth=12, published=False, label="a", positional=False, sites=("resid_mid",)
) -> pl.DataFrame:
    """A made-up table ranks: function words stay close to their embedding, content words drift."""
    rows = []
    text = "".join(tokens).replace("Ġ", " ")
    for site, layer, (position, token) in itertools.product(sites, range(depth), enumerate(tokens)):
        share = layer / max(depth - 1, 1)
        steep = {"function": 1.2, "content": 2.6, "punctuation": 1.8, "other": 3.0}.get(
            kind(token), 6.0
        )
        wobble = 0.05 * math.sin(2.1 * position + 9 * share)
        cosine = 0.9 * math.exp(-steep * share) + wobble * share + 0.02
        height = (steep - 0.9) * 1.4 * share + 6 * wobble * share - 0.3
        rank = min(int(max(0, 10**height - 1)), 49_151)
        others = ["Ġthe", "Ġbook", "s", ",", "Ġlibrary", "ĠÐ¼", "Ġnevertheless"]
        near = [token, *others] if rank == 0 else others[(position + layer) % 3 :]
        row = {"model": "nano", "checkpoint": "main", "experiment": "sentences"}
        row |= {"label": label, "position": position, "token": token}
        row |= {"word": token.strip("Ġ") if kind(token) else "", "word_class": kind(token)}
        row |= {"text": text, "sense": None, "site": site, "layer": layer}
        row |= {"positional": positional, "cosine": cosine, "adjusted": None, "rank": rank}
        row |= {"nearest": near[:5], "nearest_cosine": [cosine + 0.1 - 0.03 * i for i in range(5)]}
        jump = layer == 5
        row |= {
            "cosine_as_published": cosine * (0.2 if jump else 0.8) if published else None,
            "rank_as_published": int(rank * 3 + 50_000 * jump + 20) if published else None,
        }
        rows.append(row)
    return pl.DataFrame(rows, schema_overrides=TYPES, infer_schema_length=None)


TOKENS = {"function": 812, "content": 1034, "punctuation": 127}
END = {"function": 0.30, "content": 0.08, "punctuation": 0.2}
MEASURES = ("cosine", "log_rank")


def at_layer(measure: str, layer: int, depth: int, name: str, published: bool) -> float:
    """A made-up mean cosine, or a median of log10(1 + rank)."""
    share = layer / max(depth - 1, 1)
    fast = 2 if name == "content" else 1
    cosine = END[name] + (0.92 - END[name]) * math.exp(-3 * fast * share)
    cosine *= 0.3 if published and layer == 5 else 1
    return cosine if measure == "cosine" else 4.2 * (1 - cosine) ** (4 if fast == 1 else 2)


def class_tables(
    *, depth=12, model="nano", published=False, tokens=TOKENS, texts=64
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Made-up tables ranks_by_class, ranks_gap and ranks_summary."""
    by_class, gaps, summary = [], [], []
    of_run = {"model": model, "checkpoint": "main", "experiment": "sentences"}
    of_run |= {"site": "resid_mid", "positional": False}
    for formula, measure in itertools.product([False, True][: 1 + published], MEASURES):
        keys = of_run | {"as_published": formula, "measure": measure}
        wide = 0.02 if measure == "cosine" else 0.15
        for layer in range(depth):
            at = {name: at_layer(measure, layer, depth, name, formula) for name in END}
            for name, n in tokens.items():
                row = keys | {"word_class": name, "layer": layer, "n": n, "texts": texts}
                around = {"ci_low": at[name] - wide, "ci_high": at[name] + wide}
                by_class.append(row | {"few": texts < 10, "value": at[name]} | around)
            gap = at["function"] - at["content"]
            around = {"ci_low": gap - wide, "ci_high": gap + 1.5 * wide}
            gaps.append(keys | {"layer": layer, "texts": texts, "gap": gap} | around)
        for quantity, name in (
            *(("largest_jump", name) for name in ("function", "content")),
            ("largest_gap", None),
        ):
            layer = depth // 2 if name is None else 1
            value = (-0.21 if name else 0.14) * (1 if measure == "cosine" else -4)
            row = keys | {"quantity": quantity, "word_class": name, "layer": layer}
            row |= {"support": 0.874, "value": value}
            summary.append(row | {"ci_low": value - wide, "ci_high": value + wide})
    types = {"layer": pl.Int32, "texts": pl.Int32, "word_class": pl.String, "n": pl.Int32}
    types |= dict.fromkeys(("value", "ci_low", "ci_high", "gap"), pl.Float32)
    made = [pl.DataFrame(rows, schema_overrides=types) for rows in (by_class, gaps, summary)]
    both = {"function", "content"} <= set(tokens)
    return made[0], made[1] if both else made[1].clear(), made[2]
