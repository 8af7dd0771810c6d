"""Half-lives: planted curves, censoring, groups against a loop over resampled texts and types."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import tiny
import workflow as wf
from measures import ENGLISH, PROVENANCE, crossed_samples, frame, statistics

from tokentrails.metrics.half_lives import (
    half_life_curve,
    half_life_groups,
    half_lives,
    half_lives_by_group,
    half_lives_by_threshold,
)
from tokentrails.statistics.forms import FORMS
from tokentrails.texts.spans import words_and_parts
from tokentrails.texts.word_classes import frequency_band
from tokentrails.texts.word_groups import BANDS, RAREST
from tokentrails.texts.word_list import Entry, WordList

STATISTICS = statistics()
DEPTH = 4
GROUPED = {"threshold": 0.1, "provenance": PROVENANCE}
LINES = {"the": 1, "of": 90, "river": 500, "oak": 9_000, "yew": 10_000}
WORDS = WordList(tuple(Entry(line, word) for word, line in LINES.items()), "x")


def tables(tokens, *, chance=None):
    """The tables identity and tokens of (label, position, word, part, cosine at every layer)."""

    def forms(cosine):
        if chance is None:
            return {"cosine": cosine}
        beyond = cosine - chance
        return {"cosine": cosine, "adjusted": beyond, "scaled": beyond / (1 - chance)}

    rows = [
        {"label": label, "position": position, "word": word, "site": site}
        | {"token": f"{word}{position % 5}"}
        | {"layer": layer, **dict.fromkeys(FORMS), **forms(cosine)}
        for label, position, word, _, cosines in tokens
        for layer, cosine in enumerate(cosines)
        for site in ("resid", "resid_mid")[: 1 + (layer < DEPTH)]
        for cosine in [cosine if site == "resid" else -1.0]
    ]
    types = dict.fromkeys(("position", "layer"), pl.Int32)
    types |= dict.fromkeys(FORMS, pl.Float32)
    identity = pl.DataFrame(rows, schema_overrides=types, infer_schema_length=None).to_arrow()
    parts = {"label": [t[0] for t in tokens], "first": [t[1] for t in tokens]}
    parts["word_part"] = [t[3] for t in tokens]
    parts["word_class"] = [ENGLISH.of(t[2]) for t in tokens]
    types = {"first": pl.Int32, "word_part": pl.String, "word_class": pl.String}
    return identity, pl.DataFrame(parts, schema_overrides=types).to_arrow()


def measured(tokens, **options):
    return half_lives(*tables(tokens, **options), WORDS, **GROUPED)


def lost_at(layer):
    """A curve that is below the threshold from a layer on; None for never."""
    return [1.0 if layer is None or at < layer else 0.05 for at in range(DEPTH + 1)]


PLANTED = [
    ("a", 0, "The", "whole", lost_at(1)),
    ("a", 1, "old", "whole", lost_at(0)),
    ("a", 2, "oak", "whole", [1, 0.05, 1, 1, 1]),  # it comes back, but was lost
    ("a", 3, "of", "whole", lost_at(None)),
    ("a", 4, "River", "first", lost_at(4)),
    ("a", 5, "River", "later", lost_at(2)),
    ("a", 6, ".", "whole", lost_at(3)),
    ("a", 7, "", None, lost_at(1)),
    ("a", 8, "1845", "whole", [1, 1, 1, 1, 0.1]),  # the threshold itself is not below it
]


def test_planted_curves_have_their_half_lives():
    table = frame(measured(PLANTED))
    assert table["half_life_layer"].to_list() == [1, 0, 1, None, 4, 2, 3, 1, None]
    classes = ["function", "content", "content", "function", "content", "content"]
    assert table["word_class"].to_list() == [*classes, "punctuation", None, "other"]
    bands = ["1-100", RAREST, "1,001-10,000", "1-100", "101-1,000", "101-1,000", None, None, None]
    assert table["frequency_band"].to_list() == bands
    assert table["counted"].to_list() == [False, *[True] * 5, False, False, False]
    assert set(table["site"]) == {"resid"} and set(table["depth"]) == {DEPTH}
    assert set(table["measure"]) == {"cosine"}  # there are no other forms without a baseline


def test_every_form_of_identity_has_half_lives_of_its_own():
    table = frame(measured([("a", 1, "oak", "whole", [1, 0.5, 0.38, 0.3, 0.05])], chance=0.3))
    found = {"adjusted": 2, "cosine": 4, "scaled": 3}
    assert dict(table.select("measure", "half_life_layer").iter_rows()) == found


def test_a_token_without_any_value_is_left_out():
    none = [None] * (DEPTH + 1)
    table = frame(measured([*PLANTED[:3], ("b", 1, "oak", "whole", none)]))
    assert len(table) == 3


@pytest.mark.parametrize(
    ("rank", "band"),
    [(1, 100), (100, 100), (101, 1_000), (1_000, 1_000), (1_001, 10_000), (10_000, 10_000)],
)
def test_bands_hold_their_last_word(rank, band):
    assert frequency_band(rank) == BANDS[band]
    assert frequency_band(10_001) == frequency_band(None) == RAREST


def random_tokens(rng, n_texts=12):
    words = [("the", "whole"), ("of", "whole"), ("oak", "whole"), ("river", "first")]
    words += [("river", "later"), (".", "whole"), ("", None)]
    return [
        (f"t{text:02}", position, *words[rng.integers(len(words))], lost_at(layer))
        for text in range(n_texts)
        for position in range(int(rng.integers(3, 9)))
        for layer in [rng.choice([0, 1, 2, 3, 4, None, None, None])]
    ]


def test_groups_are_those_of_a_plain_loop():
    tokens = random_tokens(np.random.default_rng(3), n_texts=20)
    table = measured(tokens)
    groups = half_life_groups(table, STATISTICS)
    by_group = {row["group"]: row for row in half_lives_by_group(groups, **GROUPED).to_pylist()}
    curve = {(r["group"], r["layer"]): r for r in half_life_curve(groups, **GROUPED).to_pylist()}
    chosen = {
        "all words": lambda r: True,
        "function": lambda r: r["word_class"] == "function",
        "101-1,000": lambda r: r["word"] == "river",
        "content, 1,001-10,000": lambda r: r["word"] == "oak",
        "later": lambda r: r["word_part"] == "later",
    }
    assert len(by_group) == 1 + 2 + 3 + 3 + 3
    for name, belongs in chosen.items():
        rows = [r for r in table.to_pylist() if r["counted"] and belongs(r)]
        row = by_group[name]
        assert row["n"] == len(rows)
        assert row["n_texts"] == len({r["label"] for r in rows})
        assert row["n_types"] == len({r["token"] for r in rows}) >= 5
        medians, shares = [], {layer: [] for layer in range(DEPTH + 1)}
        members = [(r["label"], r["token"]) for r in rows]
        for texts, types in crossed_samples(STATISTICS.bootstrap, members):
            found = [r for r in rows for _ in range(texts[r["label"]] * types[r["token"]])]
            if not found:
                continue
            by_layer = [share_lost(found, layer) for layer in range(DEPTH + 1)]
            medians.append(next((at for at, s in enumerate(by_layer) if s >= 0.5), DEPTH + 1))
            for layer, share in enumerate(by_layer):
                shares[layer].append(share)
        for layer, drawn in shares.items():
            point = curve[name, layer]
            assert point["lost"] == pytest.approx(share_lost(rows, layer))
            ends = [point["lost_low"], point["lost_high"]]
            if np.ptp(drawn) < 1e-9:  # of shares that agree in all texts nothing is known
                assert ends == [None, None]
            else:
                assert ends == pytest.approx([percentile(drawn, q) for q in (0.05, 0.95)])
        assert row["reached"] == pytest.approx(share_lost(rows, DEPTH))
        ends = [percentile(medians, q) for q in (0.05, 0.95)]
        ends = [None if end > DEPTH else end for end in ends]
        assert [row["median_layer_low"], row["median_layer_high"]] == ends


def share_lost(rows, layer):
    lives = [r["half_life_layer"] for r in rows]
    return sum(life is not None and life <= layer for life in lives) / len(lives)


def percentile(values, q):
    """The smallest value that at least this share of the values does not exceed."""
    values = sorted(values)
    return next(v for i, v in enumerate(values, start=1) if i / len(values) >= q - 1e-12)


@pytest.mark.parametrize(
    ("layers", "median", "reached"),
    [
        ([0, 1, 2, None, None], 2, 0.6),
        ([1, 3, None, None], 3, 0.5),  # just half of them
        ([0, 0, None, None, None], None, 0.4),
        ([None, None], None, 0.0),
        ([2, 2], 2, 1.0),
    ],
)
def test_what_is_never_lost_is_censored_and_not_a_layer(layers, median, reached):
    tokens = [("a", 1 + i, "oak", "whole", lost_at(layer)) for i, layer in enumerate(layers)]
    groups = half_life_groups(measured(tokens), STATISTICS)
    table = half_lives_by_group(groups, **GROUPED)
    row = next(r for r in table.to_pylist() if r["grouping"] == "all")
    assert (row["median_layer"], row["reached"]) == (median, pytest.approx(reached))
    # One text says nothing about others.
    assert row["few"] and row["n_texts"] == 1
    assert row["reached_low"] is row["reached_high"] is row["median_layer_low"] is None


def test_planted_curves_have_their_medians_at_every_threshold():
    # Of five tokens that fall by a step a layer, each from another height; one never falls.
    heights = [0.9, 0.7, 0.6, 0.5]
    curves = [[height - 0.1 * layer for layer in range(DEPTH + 1)] for height in heights]
    curves.append([1.0] * (DEPTH + 1))
    tokens = [("a", 1 + i, "oak", "whole", curve) for i, curve in enumerate(curves)]
    tokens += [("a", 9, "of", "whole", [0.0] * (DEPTH + 1))]
    identity, parts = tables(tokens)
    lives = half_lives(identity, parts, WORDS, **GROUPED)
    thresholds = [0.15, 0.25, 0.35, 0.45, 0.65, 0.85]
    table = half_lives_by_threshold(
        identity, lives, STATISTICS, thresholds=thresholds, provenance=PROVENANCE
    )
    medians = {(row["group"], row["threshold"]): row for row in table.to_pylist()}
    # Half of them is three of the five: the first layer where 0.7 - layer / 10 is below.
    expected = [None, None, 4, 3, 1, 0]
    assert [medians["content", t]["median_layer"] for t in thresholds] == expected
    reached = [medians["content", t]["reached"] for t in thresholds]
    assert reached == pytest.approx([0.2, 0.4, 0.6, 0.6, 0.8, 0.8])  # one never falls
    assert [medians["function", t]["median_layer"] for t in thresholds] == [0] * 6
    # At the threshold of the other tables it is what they say.
    at = half_lives_by_threshold(
        identity, lives, STATISTICS, thresholds=[0.1], provenance=PROVENANCE
    )
    (group,) = (row for row in at.to_pylist() if row["group"] == "all words")
    groups = half_lives_by_group(half_life_groups(lives, STATISTICS), **GROUPED).to_pylist()
    assert group["median_layer"] == groups[0]["median_layer"]
    assert group["reached"] == groups[0]["reached"]


@pytest.mark.slow
def test_intervals_of_medians_hold_the_true_one_as_often_as_they_say():
    """Of 60 texts of 4 tokens that are alike within a text, and a third of which are censored."""
    rng, depth, n_texts, each = np.random.default_rng(0), 150, 60, 4
    text = np.repeat(np.arange(n_texts), each)
    held, runs = 0, 400
    for _ in range(runs):
        normal = (rng.normal(size=n_texts)[text] + rng.normal(size=len(text))) / np.sqrt(2)
        layer = np.floor(100.5 + 116 * normal)  # the median is 100; beyond 150 nothing is seen
        table = pl.DataFrame(
            {
                "label": [f"{number:02}" for number in text],
                "position": range(len(text)),
                "token": [f"{number}" for number in range(len(text))],
                "measure": "cosine",
                "counted": True,
                "word_class": "content",
                "frequency_band": RAREST,
                "half_life_layer": [int(at) if at <= depth else None for at in layer],
                "depth": depth,
            }
        )
        (group,) = half_life_groups(table.to_arrow(), statistics(400, confidence=0.95), ["all"])
        (row,) = half_lives_by_group([group], **GROUPED).to_pylist()
        low, high = row["median_layer_low"], row["median_layer_high"]
        held += low is not None and low <= 100 and (high is None or high >= 100)
    assert 0.92 <= held / runs <= 0.98


def test_tables_are_the_same_whatever_the_order_of_the_rows():
    tokens = random_tokens(np.random.default_rng(9))
    identity, parts = tables(tokens)
    shuffled = identity.take(pa.array(np.random.default_rng(0).permutation(len(identity))))
    first, second = (half_lives(t, parts, WORDS, **GROUPED) for t in (identity, shuffled))
    assert first.equals(second, check_metadata=True)


# Parts of words


@pytest.mark.parametrize(
    ("text", "pieces", "parts"),
    [
        ("the oak", ["the", " oak"], ["whole", "whole"]),
        ("had had", ["had", " had"], ["whole", "whole"]),  # one word twice, not one of two tokens
        ("unhappy", ["un", "happ", "y"], ["first", "later", "later"]),
        ("don't go", ["don", "'", "t", " go"], ["first", "later", "later", "whole"]),
        ("She's", ["She", "'s"], ["whole", "whole"]),
        ("ha ha", ["h", "a", " ", "h", "a"], ["first", "later", None, "first", "later"]),
    ],
)
def test_parts_of_words(text, pieces, parts):
    offsets, at = [], 0
    for piece in pieces:
        offsets.append((at, at + len(piece)))
        at += len(piece)
    offsets = [(0, 0), *offsets, (0, 0)]
    words, found = zip(*words_and_parts(text, offsets), strict=True)
    assert list(found) == [None, *parts, None]
    assert [word == "" for word in words] == [part is None for part in found]


# From the command line


@pytest.mark.e2e
@pytest.mark.slow
def test_half_lives_of_whole_texts_and_sizes_from_the_command_line(tmp_path):
    folder = wf.checkout(tmp_path)
    for name in ("gpt2", "bert"):
        tiny.save(name, folder / "models" / name)
    texts = ["The bank approved the loan.", "She will lead the gardenias."]
    prompts = [{"label": f"t{i}", "prompt": text} for i, text in enumerate(texts)]
    wf.write_yaml(
        folder / "config/experiments/texts.yaml", {"analyses": ["identity"], "prompts": prompts}
    )
    config = {
        "models": {name: {"source": f"path:models/{name}"} for name in ("gpt2", "bert")},
        "experiments": {"texts": {"file": "config/experiments/texts.yaml"}},
        "statistics": {"bootstrap": 100},
    }
    wf.write_yaml(folder / "config/config.yaml", config)
    planned = wf.rules_to_run(folder)
    assert not {"summary", "curves", "identity_context_figure"} & set(planned)
    wf.run(folder, "half_life", *wf.ONE_THREAD)
    for name in ("gpt2", "bert"):
        place = folder / f"results/metrics/{name}/main/texts"
        identity = pl.read_parquet(place / "identity.parquet").filter(site="resid")
        table = pl.read_parquet(place / "half_lives.parquet").filter(measure="cosine")
        for row in table.to_dicts():
            here = identity.filter(label=row["label"], position=row["position"]).sort("layer")
            below = [layer for layer, c in here.select("layer", "cosine").rows() if c < 0.1]
            assert row["half_life_layer"] == min(below, default=None)
        assert not table.filter(position=0)["counted"].any()
        if name == "gpt2":  # whose tokenizer has no unknown words
            assert {"whole", "first", "later"} <= set(table["word_part"])
    sizes = pl.read_parquet(folder / "results/scaling.parquet")
    assert set(sizes["model"]) == {"gpt2", "bert"} and set(sizes["depth"]) == {3}
    assert (folder / "results/composites/scaling.svg").exists()
    assert (folder / "results/composites/texts_half_lives.svg").exists()
