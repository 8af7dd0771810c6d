"""Made-up but plausible tables of heads, neurons and the stream, with words that mean harm."""

import numpy as np
import polars as pl

# Vocabulary entries as tokenizers write them. Each has broken some table somewhere.
WORDS = [
    *("Ġball", "Ġplayer", "Ġteam", "Ġhit", "Ġhome", "Ġrun", "ĠcafÃ©", "##ing", "▁lead"),
    *("=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("x")', "<b>bold</b>", "</script><script>x"),
    *("<r>raw</r>", "&amp;", "_x0041_", "日本語", "😀", "a\u202eb\x00", "\x1b[0m", "ĉ", "'", '"'),
    *("\u2028", "x" * 300, "<!--", "{{7*7}}", "%s", "\\", "ÃĹ", "Ġ"),
]
TOKENS = ["<|endoftext|>", "ĠThe", "=1+1", "<b>", "Ġball", "日", "😀", "Ġhit"]
KEYS = {"model": "nano", "checkpoint": "main", "experiment": "made-up"}


def lists(draw: np.random.Generator, n: int, top: int = 5) -> tuple[list, list]:
    """Words, and falling scores."""
    words = [[WORDS[i] for i in draw.integers(len(WORDS), size=top)] for _ in range(n)]
    scores = np.sort(draw.uniform(0.05, 0.9, (n, top)), axis=1)[:, ::-1].astype(np.float32)
    return words, scores.tolist()


def circuit_tables(
    *, tokens: int = 8, layers: int = 4, heads: int = 3, label: str = "made"
) -> dict[str, pl.DataFrame]:
    """Every table that a document is made of."""
    draw = np.random.default_rng(0)
    names = [TOKENS[i % len(TOKENS)] for i in range(tokens)]
    base = {**KEYS, "label": label}
    places = [(la, h, t) for la in range(layers) for h in range(heads) for t in range(tokens)]

    def table(rows: list[dict], scores: str = "top_cosine", score: float | None = None):
        words, values = lists(draw, len(rows))
        made = [
            {**base, **row, "top": w, scores: v}
            for row, w, v in zip(rows, words, values, strict=True)
        ]
        types = {scores: pl.List(pl.Float32), "head": pl.Int32, "layer": pl.Int32}
        known = {k: v for k, v in types.items() if k in made[0]}
        return pl.DataFrame(made, schema_overrides=known, infer_schema_length=None)

    attention = []
    for la, h, q in places:
        weights = draw.dirichlet(np.full(q + 1, 0.4))
        attention += [
            {**base, "layer": la, "head": h, "query": q, "key": k}
            | {"query_token": names[q], "key_token": names[k], "weight": np.float32(weights[k])}
            for k in range(q + 1)
        ]

    ways = [("pattern", side, "attention_input") for side in ("query", "key")]
    ways += [("message", None, space) for space in ("embedding", "unembedding")]
    said = [
        {"layer": la, "head": h, "position": t, "token": names[t], "kind": kind, "side": side}
        | {"space": space, "bias": float(bias), "high_bias": bool(bias > 2)}
        | {"norm": float(draw.uniform(1, 30))}
        | {"offset_logit": float(draw.normal()) if kind == "pattern" else None}
        for la, h, t in places
        for kind, side, space in ways
        for bias in [draw.uniform(0, 2.3)]
    ]

    roles = [("in", "mlp_input"), ("gate", "mlp_input"), ("out", "embedding")]
    roles += [("out", "unembedding")]
    of_weights = [
        {"layer": la, "neuron": n, "role": role, "space": space, "bias": float(bias)}
        | {"high_bias": bool(bias > 2), "norm": float(draw.uniform(1, 3))}
        for la in range(layers)
        for n in range(40)
        for role, space in roles
        for bias in [draw.uniform(0, 2.3)]
    ]
    activations = [
        {**base, "position": t, "token": names[t], "layer": la, "neuron": int(n)}
        | {"activation": float(a), "contribution_norm": abs(float(a)) * 1.5}
        for t in range(tokens)
        for la in range(layers)
        for n, a in zip(draw.choice(40, 5, replace=False), draw.normal(0, 3, 5), strict=True)
    ]

    seen = [
        {"position": t, "token": names[t], "layer": la, "space": space, "predicted": last}
        for t in range(tokens)
        for space, last, at in (
            ("embedding", False, range(layers + 1)),
            ("unembedding", False, range(layers + 1)),
            ("unembedding", True, [layers]),
        )
        for la in at
    ]
    expected = [
        {"position": t, "prefix": "".join(names[: t + 1]), "token": names[t]}
        | {"predicted": WORDS[t % len(WORDS)], "probability": float(draw.uniform())}
        for t in range(tokens)
    ]

    parts = [("head", h) for h in range(heads)]
    parts += [(part, None) for part in ("attention_bias", "mlp", "attention_norm", "mlp_norm")]
    attribution = [
        {**base, "position": t, "token": names[t], "layer": la, "part": part, "head": h}
        | {"contribution": float(c), "share": float(c) / 20}
        for t in range(tokens)
        for la in range(layers)
        for part, h in parts
        for c in [draw.normal()]
    ]
    neurons = table(of_weights).drop("experiment", "label")
    return {
        "attention": pl.DataFrame(attention, schema_overrides={"weight": pl.Float32}),
        "heads": table(said),
        "activations": pl.DataFrame(activations),
        "neurons": neurons,
        "evolution": table(seen, "top_score"),
        "predictions": table(expected, "top_probability"),
        "attribution": pl.DataFrame(attribution, infer_schema_length=None),
    }
