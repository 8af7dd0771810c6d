"""Figures of heads, of the stream in words and of what changes it: they show what tables say."""

import itertools
import math

import polars as pl

SENTENCE = ["The", "Ġbaseball", "Ġplayer", "Ġhit", "Ġa", "Ġhome", "Ġrun", "."]
WORDS = ["Ġthe", "Ġteam", "Ġplayer", "Ġgame", "s", ",", "ĠÐ¼", "Ġnevertheless", "Ġhit", "Ġball"]
TYPES = {
    **dict.fromkeys(("layer", "head", "query", "key", "position"), pl.Int32),
    **dict.fromkeys(("weight", "contribution", "share", "probability"), pl.Float32),
    **{"top": pl.List(pl.String), "top_score": pl.List(pl.Float32)},
}
RUN = {"model": "nano", "checkpoint": "main", "experiment": "sentences"}


def frame(rows: list[dict]) -> pl.DataFrame:
    used = {name: kind for name, kind in TYPES.items() if name in rows[0]}
    return pl.DataFrame(rows, schema_overrides=used, infer_schema_length=None)


def wave(*numbers: float) -> float:
    """A made-up number from 0 to 1."""
    return math.modf(abs(math.sin(1 + sum((i + 1.7) * n for i, n in enumerate(numbers))) * 971))[0]


def attention_table(tokens=SENTENCE, *, depth=3, heads=4, label="a", causal=True) -> pl.DataFrame:
    """A made-up table attention, its heads in turn looking at the first token, back and ahead."""
    rows = []
    for layer, head, (query, token) in itertools.product(
        range(depth), range(heads), enumerate(tokens)
    ):
        keys = range(query + 1 if causal else len(tokens))
        kind = int(wave(layer, head) * 4)
        raw = [
            (
                math.exp(6 * (key == 0)),
                math.exp(5 * (key == query - 1)) + (key == 0),
                math.exp(3 * wave(layer, head, query, key)),
                math.exp(-abs(query - key)),
            )[kind]
            for key in keys
        ]
        for key, weight in zip(keys, raw, strict=True):
            row = RUN | {"label": label, "layer": layer, "head": head, "query": query, "key": key}
            row |= {"query_token": token, "key_token": tokens[key]}
            rows.append(row | {"weight": weight / sum(raw)})
    return frame(rows)


MEASURES = ("self_pattern", "repetition", "past_identity", "same_first_letter", "first_position")


def summary_table(*, depth=3, heads=4) -> pl.DataFrame:
    """A made-up table head_summary; a few values are not defined."""
    rows = []
    for layer, head in itertools.product(range(depth), range(heads)):
        shares = {
            name: wave(layer, head, i) ** 3 if wave(layer, i, head) > 0.05 else None
            for i, name in enumerate(MEASURES)
        }
        row = RUN | {"layer": layer, "head": head, "n": 8} | shares
        rows.append(row | {"score": max((v for v in shares.values() if v is not None), default=0)})
    return frame(rows).with_columns(pl.col(*MEASURES, "score").cast(pl.Float32))


def evolution_table(
    tokens=SENTENCE, *, depth=3, label="a", spaces=("embedding", "unembedding")
) -> pl.DataFrame:
    """A made-up table evolution: surer of what comes next, layer by layer."""
    rows = []
    for (position, token), space, layer in itertools.product(
        enumerate(tokens), spaces, range(depth + 1)
    ):
        share = layer / depth if depth else 1
        start = int(wave(position, layer) * len(WORDS)) if share < 0.7 else position
        words = [WORDS[(start + i) % len(WORDS)] for i in range(5)]
        if space == "embedding":
            best = 1.0 if layer == 0 else 0.9 * math.exp(-3 * share) + 0.1
            words = [token, *words[:4]] if share < 0.3 else words
            scores = [best - 0.04 * i for i in range(5)]
        else:
            best = 0.02 + 0.9 * share**3 * wave(position)
            scores = [best / 2**i for i in range(5)]
        row = RUN | {"label": label, "position": position, "token": token, "layer": layer}
        row |= {"space": space, "top": words, "top_score": scores, "predicted": False}
        rows.append(row)
        if space == "unembedding" and layer == depth:
            rows.append(row | {"predicted": True})
    return frame(rows)


def attribution_tables(
    tokens=SENTENCE, *, depth=3, heads=4, label="a", norms=False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Made-up tables attribution and attribution_sum, whose sums match."""
    parts, sums = [], []
    names = [("head", head) for head in range(heads)] + [("attention_bias", None), ("mlp", None)]
    names += [("attention_norm", None), ("mlp_norm", None)] if norms else []
    for position, token in enumerate(tokens):
        along, norm = 3.0, 3.0
        for layer in range(depth):
            keys = RUN | {"label": label, "position": position, "token": token, "layer": layer}
            total = 0.0
            for i, (part, head) in enumerate(names):
                size = {"head": 0.3, "attention_bias": 0.05}.get(part, 1.2)
                value = size * (wave(position, layer, i) - 0.6) * (20 if position == 0 else 1)
                total += value
                row = keys | {"part": part, "head": head, "contribution": value}
                parts.append(row | {"share": value / norm})
            grown = norm * 1.05 + abs(total)
            sums.append(
                keys
                | {"before": along, "after": along + total, "total": total, "error": 0.0}
                | {"norm_before": norm, "norm_after": grown, "identity_before": along / norm}
                | {"identity_after": (along + total) / grown}
            )
            along, norm = along + total, grown
    floats = ("before", "after", "total", "error", "norm_before", "norm_after")
    floats += ("identity_before", "identity_after")
    return frame(parts), frame(sums).with_columns(pl.col(*floats).cast(pl.Float32))
