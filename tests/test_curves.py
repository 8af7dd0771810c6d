"""Mean curves and their intervals: against plain loops, and how often they hold the truth."""

import numpy as np
import polars as pl
import pytest
from config_files import refused
from measures import PROVENANCE, cosine, frame, samples, statistics

from tokentrails.metrics.columns.means import mean_curves
from tokentrails.metrics.curves import KEYS, MEANS, curves
from tokentrails.statistics.bootstrap import FEWEST_UNITS
from tokentrails.statistics.student import expanded_tail

STATISTICS = statistics(few=5)
BOOTSTRAP = STATISTICS.bootstrap


def tables(texts, rng, *, layers=2, standardised=False):
    """The tables identity and context of {(word, sense): number of texts}, of random states."""
    names = [(w, s, f"{w}_{s}_{i}") for (w, s), n in texts.items() for i in range(n)]
    states = rng.standard_normal((layers, len(names), 6)) + 0.7
    identity, context = [], []
    for layer in range(layers):
        at = PROVENANCE | {"site": "resid", "layer": layer}
        for i, (word, sense, label) in enumerate(names):
            value = cosine(states[layer, i], np.ones(6))
            row = at | {"word": word, "sense": sense, "label": label, "cosine": value}
            identity.append(row | {"adjusted": value - 0.2})
            for j in range(i + 1, len(names)):
                if names[j][0] != word:
                    continue
                relation = "within" if names[j][1] == sense else "between"
                value = cosine(states[layer, i], states[layer, j])
                row = at | {"word": word, "label_a": label, "label_b": names[j][2]}
                row |= {"relation": None if sense is None else relation}
                context.append(row | {"cosine": value, "adjusted": None})
    types = {"layer": pl.Int32, "sense": pl.String, "relation": pl.String}
    types |= dict.fromkeys(("cosine", "adjusted"), pl.Float64)
    made = []
    for rows in (identity, context):
        columns = {k: v for k, v in types.items() if rows and k in rows[0]}
        made.append(pl.DataFrame(rows, schema_overrides=columns, infer_schema_length=None))
    return made


def made(identity, context, settings=STATISTICS):
    context = None if context is None else context.to_arrow()
    return frame(curves(identity.to_arrow(), context, statistics=settings, provenance=PROVENANCE))


SENSES = {("bank", "money"): 5, ("bank", "river"): 6, ("lead", "guide"): 4, ("lead", "metal"): 5}


def test_means_and_intervals_are_those_of_a_plain_loop():
    identity, context = tables(SENSES, np.random.default_rng(0))
    table = made(identity, context)
    drawn = {
        key: list(samples(BOOTSTRAP, n, stratum))
        for stratum, (key, n) in enumerate(sorted(SENSES.items()))
    }
    of_text = {(r["label"], r["layer"]): r["cosine"] for r in identity.iter_rows(named=True)}
    of_pair = {
        (frozenset((r["label_a"], r["label_b"])), r["layer"]): r["cosine"]
        for r in context.iter_rows(named=True)
    }
    for row in table.filter(pl.col("word").is_not_null(), similarity="cosine").to_dicts():
        word, layer = row["word"], row["layer"]
        senses = sorted(s for w, s in SENSES if w == word)
        chosen = [row["series"]] if row["measure"] == "identity" else senses

        def value(texts, row=row, layer=layer):
            """The mean over the texts of a sample, or over its pairs of different texts."""
            if row["measure"] == "identity":
                return np.mean([of_text[label, layer] for _, label in texts])
            pairs = [
                of_pair[frozenset((a, b)), layer]
                for i, (sense, a) in enumerate(texts)
                for other, b in texts[i + 1 :]
                if a != b and (sense == other) == (row["measure"] == "context_within")
            ]
            return np.mean(pairs) if pairs else np.nan

        everything = [(s, f"{word}_{s}_{i}") for s in chosen for i in range(SENSES[word, s])]
        assert row["mean"] == pytest.approx(value(everything), abs=1e-6)
        if min(SENSES[word, s] for s in chosen) < FEWEST_UNITS:
            assert row["ci_low"] is row["ci_high"] is None
            continue
        means = [
            value([(s, f"{word}_{s}_{i}") for s in chosen for i in drawn[word, s][draw]])
            for draw in range(BOOTSTRAP.draws)
        ]
        tail = expanded_tail(0.9, min(SENSES[word, s] for s in chosen))
        low, high = np.nanquantile(means, [tail, 1 - tail])
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-6), row


def test_the_mean_over_words_counts_each_word_once_and_draws_words():
    words = {(word, "one"): 2 for word in ("oar", "pin", "row")}
    identity, context = tables(SENSES | words, np.random.default_rng(1))
    row = (
        made(identity, context)
        .filter(pl.col("word").is_null(), measure="identity", similarity="cosine", layer=1)
        .to_dicts()[0]
    )
    at = identity.filter(layer=1)
    by_sense = at.group_by("word", "sense").agg(pl.col("cosine").mean())
    by_word = by_sense.group_by("word").agg(pl.col("cosine").mean()).sort("word")["cosine"]
    assert row["n"] == 5 and not row["few"]
    assert row["mean"] == pytest.approx(by_word.mean(), abs=1e-6)
    low, high = BOOTSTRAP.interval(BOOTSTRAP.means(by_word.to_numpy()[None], ())[:, 0], 5)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-6)


def test_too_few_texts_of_a_sense_or_words_have_no_interval():
    few = FEWEST_UNITS - 1
    identity, context = tables(
        {("a", "x"): 1, ("a", "y"): few, ("a", "z"): few + 1}, np.random.default_rng(2)
    )
    table = made(identity, context).filter(similarity="cosine").to_dicts()
    known = {(r["measure"], r["word"], r["series"]): r["ci_low"] is not None for r in table}
    pairs = ("context_between", "context_within")
    assert known == {
        ("identity", "a", "x"): False,
        ("identity", "a", "y"): False,
        ("identity", "a", "z"): True,
        **{(measure, word, None): False for measure in pairs for word in ("a", None)},
        ("identity", None, None): False,
    }


def test_a_model_whose_embeddings_have_no_length_is_one_clear_error():
    identity, _ = tables(SENSES, np.random.default_rng(0))
    nothing = identity.with_columns(cosine=None, adjusted=None).cast({"cosine": pl.Float64})
    with refused("no text has an identity", "all zero"):
        made(nothing, None)


def test_a_place_where_few_have_a_value_counts_those_alone():
    """Of three layers: all texts have a value at the first, six at the next, four at the last."""
    texts = {("a", "x"): 9, **{(f"w{i}", "x"): 1 for i in range(8)}}
    table, _ = tables(texts, np.random.default_rng(8), layers=3)
    number = pl.int_range(pl.len()).over("layer", "word")
    held = pl.when(layer=0).then(9).when(layer=1).then(6).otherwise(4)
    word = pl.col("word").rank("dense").cast(pl.Int64) - 1
    few = table.with_columns(
        cosine=pl.when(pl.when(word="a").then(number).otherwise(word) < held).then("cosine")
    )
    found = made(few, None).filter(similarity="cosine")
    single = found.filter(word="a", series="x").sort("layer")
    over_words = found.filter(pl.col("word").is_null()).sort("layer")
    for rows in (single, over_words):
        assert rows["n"].to_list() == [9, 6, 4]
        assert rows["few"].to_list() == [False, False, True]
        assert rows["ci_low"].is_null().to_list() == [False, False, True]
    assert single["n_texts"].to_list() == [9, 6, 4]
    assert over_words["n_texts"].to_list() == [17, 11, 7]
    assert single.row(0) == made(table, None).filter(similarity="cosine", word="a").row(0)


def test_a_pair_has_an_interval_where_both_senses_have_texts_enough():
    """All texts have an identity, but those of one sense are other tokens and make few pairs."""
    identity, context = tables({("a", "x"): 6, ("a", "y"): 6}, np.random.default_rng(9))
    four = [f"a_y_{i}" for i in range(4)]
    kept = pl.col("label_b").str.contains("_x_") | pl.col("label_b").is_in(four)
    found = made(identity, context.filter(kept)).filter(measure="context_between", word="a")
    assert found["n_texts"].to_list() == [10, 10] and found["ci_low"].null_count() == 2
    whole = made(identity, context).filter(measure="context_between", word="a")
    assert whole["n_texts"].to_list() == [12, 12] and whole["ci_low"].null_count() == 0


def test_texts_without_a_sense_are_lines_of_their_own_and_pairs_together():
    identity, context = tables({("a", None): 5}, np.random.default_rng(3), layers=1)
    table = made(identity, context).filter(pl.col("word").is_not_null(), similarity="cosine")
    assert table.filter(measure="identity")["n"].to_list() == [1] * 5
    row = table.filter(measure="context").to_dicts()[0]
    assert (row["n"], row["n_texts"]) == (10, 5) and row["ci_low"] < row["mean"] < row["ci_high"]


def test_curves_beyond_chance_are_the_same_shifted_and_scaled():
    identity, _ = tables(SENSES, np.random.default_rng(4))
    table = made(identity, None)
    assert set(table["measure"]) == {"identity"}
    forms = ("cosine", "adjusted", "scaled")
    raw, adjusted, scaled = (table.filter(similarity=name) for name in forms)
    assert raw.drop("similarity", *MEANS).equals(scaled.drop("similarity", *MEANS))
    for name in MEANS:
        beyond = raw[name].to_numpy() - 0.2
        for got, expected in ((adjusted, beyond), (scaled, beyond / 0.8)):
            assert got[name].to_numpy() == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_the_forms_of_pairs_are_beyond_their_own_chance_at_each_place():
    identity, context = tables(SENSES, np.random.default_rng(4))
    chance = 0.5 * pl.col("layer")  # 0 at layer 0
    context = context.with_columns(adjusted=pl.col("cosine") - chance)
    nothing = pl.when(pl.col("layer") == 0).then(pl.lit(None, pl.Float64))
    identity = identity.with_columns(adjusted=nothing.otherwise("adjusted"))
    table = made(identity, context)
    mean = {
        form: table.filter(similarity=form).sort(KEYS, nulls_last=True)
        for form in ("cosine", "scaled")
    }
    assert mean["scaled"].filter(measure="identity")["layer"].unique().to_list() == [1]
    for layer, scale in ((0, lambda c: c), (1, lambda c: (c - 0.5) / 0.5)):
        got, raw = (
            mean[form].filter(pl.col("measure") != "identity", layer=layer)["mean"].to_numpy()
            for form in ("scaled", "cosine")
        )
        assert got == pytest.approx(scale(raw), abs=1e-6)


def test_mean_curves_of_any_measure_are_those_of_a_plain_loop():
    """Two measures of the tokens of texts, some without a value, by a column with nulls."""
    rng = np.random.default_rng(6)
    tokens = [
        {"label": f"t{text}", "position": position, "kind": rng.choice(["x", "y", None])}
        for text in range(8)
        for position in range(rng.integers(2, 6))
    ]
    rows = [
        token | {"site": "resid", "layer": layer, "norm": rng.normal(), "angle": rng.normal()}
        for layer in range(2)
        for token in tokens
    ]
    for row in rows[::7]:
        row["norm"] = None
    table = pl.DataFrame(rows, infer_schema_length=None)
    table = table.with_columns(
        norm=pl.when(layer=0).then(pl.col("norm").fill_null(np.nan)).otherwise("norm")
    )
    made = mean_curves(table, by=["kind"], values=["norm", "angle"], statistics=STATISTICS)
    assert made.columns[:4] == ["measure", "kind", "site", "layer"] and len(made) == 12
    key = ["measure", "kind", "layer"]
    assert made.select(key).equals(made.select(key).sort(key, nulls_last=True))
    for row in made.to_dicts():
        here = [r for r in rows if r["kind"] == row["kind"] and r[row["measure"]] is not None]
        texts = sorted({r["label"] for r in here})
        values = [(r["label"], r[row["measure"]]) for r in here if r["layer"] == row["layer"]]
        known = len({label for label, _ in values})
        assert (row["n"], row["n_texts"], row["few"]) == (len(values), known, known < 5)
        assert row["mean"] == pytest.approx(np.mean([value for _, value in values]), abs=1e-6)
        if known < FEWEST_UNITS:
            assert row["ci_low"] is row["ci_high"] is None
            continue
        stream = ["x", "y", None].index(row["kind"])
        means = []
        for sample in samples(BOOTSTRAP, len(texts), stream):
            drawn = [v for text in sample for label, v in values if label == texts[text]]
            means.append(np.mean(drawn) if drawn else np.nan)
        tail = expanded_tail(0.9, known)
        ends = np.nanquantile(means, [tail, 1 - tail])
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(ends), abs=1e-6)
    assert 0 < made["ci_low"].null_count() < len(made)
    order = table.sample(fraction=1, shuffle=True, seed=1)
    again = mean_curves(order, by=["kind"], values=["norm", "angle"], statistics=STATISTICS)
    assert made.equals(again)


def test_mean_curves_by_sense_are_the_curves_of_identity():
    identity, _ = tables(SENSES, np.random.default_rng(7))
    own = made(identity, None).filter(pl.col("word").is_not_null(), similarity="cosine")
    keys = ["word", "sense"]
    found = mean_curves(
        identity.with_columns(position=0), by=keys, values=["cosine"], statistics=STATISTICS
    )
    names = ["layer", "n", "n_texts", "few", "mean", "ci_low", "ci_high"]
    assert found.select(names).equals(own.sort("word", "series", "layer").select(names))
    alone = mean_curves(
        identity.with_columns(position=0), by=["label"], values=["cosine"], statistics=STATISTICS
    )
    assert alone["ci_low"].null_count() == len(alone) > 0 == alone["mean"].null_count()
    words = {(f"w{number}", "one"): 1 + number for number in range(5)}
    (whole,) = mean_curves(
        tables(words, np.random.default_rng(7))[0].with_columns(position=0).filter(layer=0),
        by=[],
        values=["cosine"],
        statistics=STATISTICS,
        unit="word",
    ).to_dicts()
    assert (whole["n"], whole["n_texts"]) == (15, 5) and whole["ci_low"] < whole["ci_high"]


@pytest.mark.slow
@pytest.mark.parametrize("texts", [6, 10])
def test_intervals_hold_the_truth_where_independent_pairs_would_not(texts):
    """95 % ± 3 of 500 words; every text has a quality of its own, which its pairs share.

    Of six texts a little less for means over texts, and more for pairs.
    """
    rng = np.random.default_rng(5)
    words = [f"w{i}" for i in range(500)]
    first, second = np.triu_indices(2 * texts, 1)
    within = (first < texts) == (second < texts)
    relation = np.where(within, "within", "between")
    labels = [f"{'xy'[i // texts]}{i}" for i in range(2 * texts)]
    quality = rng.standard_normal((len(words), 2 * texts))
    noise = 0.3 * rng.standard_normal((len(words), len(first)))
    pairs = quality[:, first] + quality[:, second] + noise
    at = {name: pl.lit(value) for name, value in PROVENANCE.items()}
    at |= {"site": pl.lit("resid"), "layer": pl.lit(0, pl.Int32)}
    at |= {"adjusted": pl.lit(None, pl.Float64)}
    of_word = np.repeat(words, 2 * texts), np.repeat(words, len(first))
    identity = pl.DataFrame(
        {
            "word": of_word[0],
            "sense": [label[0] for label in labels] * len(words),
            "label": [f"{word}{label}" for word in words for label in labels],
            "cosine": quality.ravel(),
        }
    ).with_columns(**at)
    context = pl.DataFrame(
        {
            "word": of_word[1],
            "label_a": [f"{word}{labels[i]}" for word in words for i in first],
            "label_b": [f"{word}{labels[j]}" for word in words for j in second],
            "relation": np.tile(relation, len(words)),
            "cosine": pairs.ravel(),
        }
    ).with_columns(**at)
    settings = statistics(400, confidence=0.95, seed=1)
    table = made(identity, context, settings).filter(pl.col("word").is_not_null())
    held = table.group_by("measure").agg(
        ((pl.col("ci_low") <= 0) & (pl.col("ci_high") >= 0)).mean().alias("held")
    )
    held = dict(held.iter_rows())
    least, most = (0.91, 0.98) if texts == 6 else (0.92, 0.98)
    assert set(held) == {"identity", "context_between", "context_within"}
    assert all(least <= share <= most for share in held.values()), held
    between = pairs[:, ~within]
    naive = 1.96 * between.std(axis=1) / np.sqrt(between.shape[1])
    assert (abs(between.mean(axis=1)) <= naive).mean() < 0.8
