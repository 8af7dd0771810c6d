"""Figures: what is on the lines, what people read, what reaches the disk."""

import itertools
import math

import polars as pl
import pytest


def curve(layer: int, depth: int, half: float, end: float) -> float:
    return end + (0.9 - end) * math.exp(-layer * 12 / depth / half)


def tables(
    words: dict[str, list[str]], *, texts: int, model: str = "nano", depth: int = 12, norm=True
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """(identity, context, summary) of made-up but plausible curves for words and their senses."""
    sites = [("resid", layer) for layer in range(depth + 1)]
    sites += [("resid_mid", layer) for layer in range(depth)]
    sites += [("final_norm", depth)] if norm else []
    keys = {"model": model, "checkpoint": "main", "experiment": "made-up"}
    identity, context, summary = [], [], []
    for w, (word, senses) in enumerate(words.items()):
        token = "Ġ" + word
        members = [(f"{word}_{sense}_{i}", sense, i) for sense in senses for i in range(texts)]
        for m, (label, sense, i) in enumerate(members):
            half, end = 1.5 + 0.3 * m + 0.5 * w, 0.06 - 0.03 * m
            sentence = f"Text {i} of </script><b>{word}</b> & {sense}\u2028."
            row = keys | {"label": label, "word": word, "token": token, "sense": sense}
            for site, layer in sites:
                shift = {"resid": 0, "resid_mid": 5, "final_norm": -0.15}[site]
                value = curve(layer, depth, half, end) + shift
                at = {"text": sentence, "site": site, "layer": layer, "cosine": value}
                identity.append(row | at | {"adjusted": None})
            reached = m % 3 != 2
            summary.append(
                row
                | {"depth": depth, "half_life_layer": 2 + m % 5 + w if reached else None}
                | {"final_similarity": end, "final_norm_similarity": end - 0.15 if norm else None}
                | {"context_dominance_layer": 2 + (m + w) % 4 if m % 4 else None}
            )
        for (a, sense_a, _), (b, sense_b, _) in itertools.combinations(members, 2):
            relation = "within" if sense_a == sense_b else "between"
            pair = {"label_a": a, "label_b": b, "sense_a": sense_a, "sense_b": sense_b}
            for site, layer in sites:
                shift = {"resid": 0, "resid_mid": 5, "final_norm": 0.03}[site]
                fall = 0.35 if relation == "between" else 0.15
                value = 0.95 - fall * math.sin(math.pi * layer / depth * 0.9) - 0.04 * w + shift
                row = keys | {"word": word, "token": token, "relation": relation} | pair
                context.append(row | {"site": site, "layer": layer, "cosine": value})
    types = {"layer": pl.Int32, "cosine": pl.Float32, "sense": pl.String, "relation": pl.String}
    return (
        pl.DataFrame(identity, schema_overrides=types, infer_schema_length=None),
        pl.DataFrame(context, schema_overrides=types, infer_schema_length=None),
        pl.DataFrame(summary, infer_schema_length=None),
    )


TWO = {"lead": ["guide", "metal"], "bank": ["money", "river"]}
FOUR = TWO | {"spring": ["season", "coil"], "light": ["lamp", "weight"]}
MODELS = {"gpt-like": (12, True), "deep": (30, True), "encoder": (6, False)}


def several(words: dict[str, list[str]], texts: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    made = [
        tables(words, texts=texts, model=model, depth=depth, norm=norm)
        for model, (depth, norm) in MODELS.items()
    ]
    return pl.concat([t[0] for t in made]), pl.concat([t[1] for t in made])
