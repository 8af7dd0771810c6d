"""Word classes, their gap and their jumps, against plain loops over resampled texts and types."""

import json

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import scipy.stats
from measures import PROVENANCE, crossed_samples, frame, statistics

from tokentrails.metrics.rank_classes import (
    CLASSES,
    COLUMNS,
    MEASURES,
    class_curves,
    ranks_by_class,
    ranks_gap,
    ranks_summary,
)
from tokentrails.statistics.bootstrap import FEWEST_UNITS, cluster_means, cluster_medians, means

BOOTSTRAP = statistics().bootstrap
KEY = ["as_published", "positional", "site", "measure"]
CURVES = 5 * len(MEASURES) + 2 * (len(MEASURES) - 1)  # by place; as published nothing is z-scored
SITES = 2 * len(MEASURES) + len(MEASURES) - 1


def random_tokens(rng, n_texts=12, classes=("function", "content", "other", None)):
    """Every token, its type and class; texts of different lengths, in no order."""
    tokens = [
        {"label": f"t{text:02}", "position": position, "word_class": rng.choice(classes)}
        for text in rng.permutation(n_texts)
        for position in range(rng.integers(2, 7))
    ]
    later = [token for token in tokens if token["position"] > 0]
    later[0]["word_class"] = later[-1]["word_class"] = "punctuation"
    return typed(rng, tokens)


def typed(rng, tokens, types=14):
    """The same with types, of which every class has some of its own, and shares one with all."""
    for token in tokens:
        number = rng.integers(types)
        token["token"] = f"{token['word_class']} {number}" if number else "shared"
    return tokens


def standardised(rank):
    return None if rank is None else rank // 3


def ranks_table(tokens, values, published=()):
    """A table `ranks`; `values` gives (cosine, rank) by site, layer and index of the token."""
    rows = []
    for (site, layer), pairs in values.items():
        for token, (cosine, rank) in zip(tokens, pairs, strict=True):
            row = {**token, "site": site, "layer": layer, "positional": False}
            row |= {"cosine": cosine, "rank": rank}
            row["rank_standardised"] = standardised(rank)
            if site in published and rank is not None:
                row |= {"cosine_as_published": -cosine, "rank_as_published": 2 * rank}
            rows.append(row)
    types = {"layer": pl.Int32, "position": pl.Int32, "rank": pl.Int32, "word_class": pl.String}
    types |= dict.fromkeys(("rank_as_published", "rank_standardised"), pl.Int32)
    types |= dict.fromkeys(("cosine", "cosine_as_published"), pl.Float32)
    made = pl.DataFrame(
        rows, dict.fromkeys(COLUMNS), schema_overrides=types, infer_schema_length=None
    )
    return made.sort("label", "site", "layer", "position").to_arrow()


def random_values(rng, tokens, places):
    return {
        place: [
            (float(np.float32(rng.uniform(-1, 1))), int(10 ** rng.uniform(-2, 4))) for _ in tokens
        ]
        for place in places
    }


PLACES = [("resid", 0), ("resid", 1), ("resid", 2), ("resid_mid", 0), ("resid_mid", 1)]


@pytest.fixture(scope="module")
def study():
    """Tokens, their values by place, and the table; some values are missing."""
    rng = np.random.default_rng(11)
    tokens = random_tokens(rng, n_texts=20)
    values = random_values(rng, tokens, PLACES)
    classes = [token["word_class"] if token["position"] > 0 else "" for token in tokens]
    values["resid", 1][classes.index("function")] = (None, None)
    values["resid_mid", 1][classes.index("content")] = (None, None)
    return tokens, values, ranks_table(tokens, values, published=["resid_mid"])


@pytest.fixture(scope="module")
def curves(study):
    return class_curves(study[2], BOOTSTRAP)


# The statistics


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_statistics_are_those_of_the_repeated_values(ties):
    rng = np.random.default_rng(1)
    unit = rng.integers(7, size=40)
    values = rng.integers(4, size=(3, 40)) / 3.0 if ties else rng.standard_normal((3, 40))
    values[1, rng.permutation(40)[:25]] = np.nan
    values[2, unit != 5] = np.nan
    counts = rng.integers(0, 3, size=(50, 7)).astype(np.float64)
    mean, median = cluster_means(values, unit)(counts), cluster_medians(values, unit)(counts)
    assert mean.shape == median.shape == (50, 3)
    empty = 0
    for sample, of_units in enumerate(counts.astype(int)):
        for curve in range(3):
            repeated = np.repeat(values[curve], of_units[unit])
            repeated = repeated[~np.isnan(repeated)]
            if not len(repeated):
                assert np.isnan(mean[sample, curve]) and np.isnan(median[sample, curve])
                empty += 1
                continue
            assert median[sample, curve] == np.median(repeated)
            assert mean[sample, curve] == pytest.approx(np.mean(repeated), abs=1e-12)
    assert 5 < empty < 40


def test_a_curve_without_any_value_has_no_statistic():
    values, unit, counts = np.full((1, 3), np.nan), np.array([0, 1, 1]), np.ones((2, 2))
    for statistic in (cluster_means, cluster_medians):
        assert np.isnan(statistic(values, unit)(counts)).all()
        assert np.isnan(statistic(values[:, :0], unit[:0])(counts)).all()


def test_members_that_are_their_own_units_are_drawn_like_words():
    values = np.random.default_rng(2).standard_normal((2, 30))
    expected = BOOTSTRAP.means(values, (3,))
    of_clusters = BOOTSTRAP.resample(cluster_means(values, np.arange(30)), 30, (3,))
    assert of_clusters == pytest.approx(expected, abs=1e-12)
    assert np.array_equal(BOOTSTRAP.resample(means(values), 30, (3,)), expected)


# The tables


def slow_statistic(measure, values):
    if not values:
        return np.nan
    if measure == "cosine":
        return np.mean([cosine for cosine, _ in values])
    if measure == "own_closest":
        return sum(rank == 0 for _, rank in values) / len(values)
    if measure == "log_rank_standardised":
        values = [(cosine, standardised(rank)) for cosine, rank in values]
    return np.median([np.log10(1 + rank) for _, rank in values])


def is_counted(token):
    return token["position"] > 0 and token["word_class"] in CLASSES


def slow_curve(study, row, name, drawn=None):
    """A class' measure at a place, token by token, each as often as its text and type are drawn."""
    tokens, values, _ = study
    chosen = []
    for token, (cosine, rank) in zip(tokens, values[row["site"], row["layer"]], strict=True):
        if not is_counted(token) or token["word_class"] != name or rank is None:
            continue
        pair = (-cosine, 2 * rank) if row["as_published"] else (cosine, rank)
        times = 1 if drawn is None else drawn[0][token["label"]] * drawn[1][token["token"]]
        chosen += [pair] * times
    return slow_statistic(row["measure"], chosen)


def slow_samples(tokens):
    """How often each text and each type is drawn, in every sample."""
    members = [(t["label"], t["token"]) for t in tokens if is_counted(t)]
    return crossed_samples(BOOTSTRAP, members)


def slow_draws(study, row, name):
    return np.array([slow_curve(study, row, name, drawn) for drawn in slow_samples(study[0])])


def slow_units(study, row, name):
    """How many tokens of a class have a value at a place, of how many texts and types."""
    tokens, values, _ = study
    known = [
        (token["label"], token["token"])
        for token, (_, rank) in zip(tokens, values[row["site"], row["layer"]], strict=True)
        if is_counted(token) and token["word_class"] == name and rank is not None
    ]
    texts, types = map(set, zip(*known, strict=True))
    return len(known), len(texts), len(types)


def by_class(curves, few=4):
    return frame(ranks_by_class(curves, few=few, provenance=PROVENANCE))


def gaps_of(curves):
    return frame(ranks_gap(curves, provenance=PROVENANCE))


def summary_of(curves):
    return frame(ranks_summary(curves, provenance=PROVENANCE))


def slow_ends(draws, units):
    """Percentiles at confidence 0.9, as far out as those of Student's t need."""
    tail = scipy.stats.norm.cdf(scipy.stats.t.ppf(0.05, units - 1) * np.sqrt(units / (units - 1)))
    return np.quantile(draws[~np.isnan(draws)], [tail, 1 - tail])


def close(value):
    return pytest.approx(value, abs=2e-6)


def test_classes_are_those_of_plain_loops(study, curves):
    table = by_class(curves, few=9)
    assert len(table) == CURVES * len(CLASSES)
    with_gaps = 0
    for row in table.iter_rows(named=True):
        name = row["word_class"]
        n, *units = slow_units(study, row, name)
        assert (row["n"], row["texts"], row["types"]) == (n, *units)
        assert row["few"] == (min(units) < 9)
        assert row["value"] == close(slow_curve(study, row, name))
        draws = slow_draws(study, row, name)
        with_gaps += np.isnan(draws).any()
        ends = slow_ends(draws, min(units)) if min(units) >= FEWEST_UNITS else [None, None]
        assert [row["ci_low"], row["ci_high"]] == close(ends)
        assert (row["model"], row["checkpoint"], row["experiment"]) == ("m", "main", "e")
    # Two texts have punctuation, and some draws miss both.
    assert with_gaps == CURVES
    assert table["few"].unique().sort().to_list() == [False, True]
    assert (table.filter("few")["n"] >= 9).any()  # texts and types are counted, not tokens
    keys = [*KEY, "word_class", "layer"]
    assert table.select(keys).rows() == sorted(table.select(keys).rows())


def test_published_rows_are_there_only_where_they_were_asked_for(study, curves):
    table = by_class(curves)
    places = table.group_by("as_published").agg(pl.col("site").unique().sort()).sort("as_published")
    assert places.rows() == [(False, ["resid", "resid_mid"]), (True, ["resid_mid"])]
    tokens, values, _ = study
    without = class_curves(ranks_table(tokens, values), BOOTSTRAP)
    assert not any(curve.key["as_published"] for curve in without)


def test_gaps_and_largest_are_those_of_plain_loops(study, curves):
    gaps = gaps_of(curves)
    assert len(gaps) == CURVES
    found = {}  # by key: layer -> value, draws, units
    for row in gaps.iter_rows(named=True):
        function, content = (slow_curve(study, row, c) for c in ("function", "content"))
        drawn_function, drawn_content = (slow_draws(study, row, c) for c in ("function", "content"))
        gap, draws = function - content, drawn_function - drawn_content
        fewest = np.min([slow_units(study, row, c) for c in ("function", "content")], axis=0)
        units = min(fewest[1:])
        assert row["gap"] == close(gap) and [row["texts"], row["types"]] == [*fewest[1:]]
        assert [row["ci_low"], row["ci_high"]] == close(slow_ends(draws, units))
        found.setdefault(tuple(row[k] for k in KEY), {})[row["layer"]] = gap, draws, units
    summary = summary_of(curves)
    assert len(summary) == 3 * SITES
    largest = summary.filter(pl.col("quantity") == "largest_gap")
    assert largest["word_class"].null_count() == len(largest) == SITES
    for row in largest.iter_rows(named=True):
        assert_largest(row, found[tuple(row[k] for k in KEY)])


def test_jumps_are_those_of_plain_loops(study, curves):
    summary = summary_of(curves)
    jumps = summary.filter(pl.col("quantity") == "largest_jump")
    assert jumps["word_class"].to_list() == ["content", "function"] * SITES
    for row in jumps.iter_rows(named=True):
        at = {}
        for layer in [layer for site, layer in PLACES if site == row["site"] and layer > 0]:
            sides = [row | {"layer": layer}, row | {"layer": layer - 1}]
            last, first = (slow_curve(study, r, row["word_class"]) for r in sides)
            after, before = (slow_draws(study, r, row["word_class"]) for r in sides)
            units = min(min(slow_units(study, r, row["word_class"])[1:]) for r in sides)
            at[layer] = last - first, after - before, units
        assert_largest(row, at)


def assert_largest(row, of_layers):
    """`of_layers`: layer -> value, draws, units."""
    layer = max(of_layers, key=lambda at: abs(of_layers[at][0]))
    value, draws, units = of_layers[layer]
    assert (row["layer"], row["value"]) == (layer, close(value))
    assert [row["ci_low"], row["ci_high"]] == close(slow_ends(draws, units))
    hits = []
    for draw in range(BOOTSTRAP.draws):
        sizes = {at: abs(of_draws[draw]) for at, (_, of_draws, _) in of_layers.items()}
        if not np.isnan(list(sizes.values())).any():
            hits.append(max(sizes, key=sizes.get) == layer)
    assert row["support"] == close(np.mean(hits))


def test_what_is_0_at_every_layer_has_no_largest_layer():
    tokens = random_tokens(np.random.default_rng(8), classes=("function", "content"))
    values = {("resid_mid", layer): [(0.5 - 0.1 * layer, 0) for _ in tokens] for layer in range(3)}
    rows = summary_of(class_curves(ranks_table(tokens, values), BOOTSTRAP))
    assert set(rows["measure"]) == {"cosine"} and set(rows["quantity"]) == {"largest_jump"}


def test_one_text_has_no_intervals():
    rng = np.random.default_rng(6)
    tokens = random_tokens(rng, n_texts=1, classes=("function", "content"))
    later = [
        {"label": "t00", "position": i, "word_class": "function" if i % 2 else "content"}
        for i in range(9, 15)
    ]
    tokens += typed(rng, later)
    values = random_values(rng, tokens, PLACES)
    curves = class_curves(ranks_table(tokens, values), BOOTSTRAP)
    tables = [by_class(curves), gaps_of(curves), summary_of(curves)]
    for table in tables:
        assert len(table) and table["ci_low"].null_count() == len(table)
        assert table["ci_high"].null_count() == len(table)
    assert tables[2]["support"].null_count() == len(tables[2])
    assert tables[0]["value"].null_count() == tables[2]["value"].null_count() == 0


def test_a_class_of_one_text_has_no_interval_among_many():
    rng = np.random.default_rng(7)
    tokens = random_tokens(rng, classes=("content",))
    for token in tokens:
        if token["label"] == "t05":
            token["word_class"] = "function"
    values = random_values(rng, tokens, PLACES)
    curves = class_curves(ranks_table(tokens, values), BOOTSTRAP)
    rows = by_class(curves)
    alone = rows.filter(pl.col("texts") == 1)
    assert "function" in alone["word_class"] and "content" not in alone["word_class"]
    assert alone["ci_low"].null_count() == len(alone)
    assert rows.filter(pl.col("texts") >= FEWEST_UNITS)["ci_low"].null_count() == 0
    gaps = gaps_of(curves)
    assert gaps["texts"].unique().to_list() == [1]
    assert gaps["ci_low"].null_count() == len(gaps) and gaps["gap"].null_count() == 0


@pytest.mark.parametrize("types", [FEWEST_UNITS - 1, FEWEST_UNITS])
@pytest.mark.parametrize("n_texts", [FEWEST_UNITS - 1, FEWEST_UNITS])
def test_under_five_texts_or_types_there_is_no_interval(n_texts, types):
    rng = np.random.default_rng(8)
    tokens = [
        {"label": f"t{text}", "position": position, "word_class": name}
        | {"token": f"{name} {position % types}"}
        for text in range(n_texts)
        for position, name in enumerate((None, *["function"] * 6, *["content"] * 6))
    ]
    curves = class_curves(ranks_table(tokens, random_values(rng, tokens, PLACES)), BOOTSTRAP)
    for table in (by_class(curves), gaps_of(curves)):
        assert table["types"].unique().to_list() == [types]
        missing = min(n_texts, types) < FEWEST_UNITS
        assert table["ci_low"].null_count() == len(table) * missing


def test_tokens_of_one_type_make_no_interval_narrow():
    """Many texts with the same few words: what these words are like is known of these alone."""
    rng = np.random.default_rng(3)
    tokens = [
        {"label": f"t{text:02}", "position": 1 + i, "word_class": name, "token": f"{name} {i}"}
        for text in range(60)
        for name in ("function", "content")
        for i in range(6)
    ]
    of_type = {token["token"]: rng.normal() for token in tokens}
    values = {("resid", 0): [(of_type[token["token"]], 0) for token in tokens]}
    (row,) = (
        gaps_of(class_curves(ranks_table(tokens, values), BOOTSTRAP))
        .filter(measure="cosine")
        .iter_rows(named=True)
    )
    sides = [[of_type[f"{name} {i}"] for i in range(6)] for name in ("function", "content")]
    error = np.sqrt(sum(np.var(side, ddof=1) / 6 for side in sides))
    assert row["gap"] == close(np.mean(sides[0]) - np.mean(sides[1]))
    assert row["ci_high"] - row["ci_low"] > 2 * error


def test_classes_without_tokens_have_no_rows_and_one_layer_no_jump():
    rng = np.random.default_rng(8)
    tokens = random_tokens(rng, classes=("content", None))
    values = random_values(rng, tokens, [("resid_mid", 0)])
    curves = class_curves(ranks_table(tokens, values), BOOTSTRAP)
    rows = by_class(curves)
    assert rows["word_class"].to_list() == ["content", "punctuation"] * len(MEASURES)
    assert len(gaps_of(curves)) == len(summary_of(curves)) == 0
    empty = by_class(class_curves(ranks_table(tokens, values).slice(0, 0), BOOTSTRAP))
    assert len(empty) == 0 and empty.columns == rows.columns


def test_tables_do_not_depend_on_the_order_of_rows_and_say_what_they_hold(study, curves):
    table = study[2]
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    again = class_curves(shuffled, BOOTSTRAP)
    gap, summary = (make(curves, provenance=PROVENANCE) for make in (ranks_gap, ranks_summary))
    assert gap.equals(ranks_gap(again, provenance=PROVENANCE))
    assert summary.equals(ranks_summary(again, provenance=PROVENANCE))
    for made in (ranks_by_class(curves, few=4, provenance=PROVENANCE), gap, summary):
        assert set(made.schema.names) == set(json.loads(made.schema.metadata[b"definitions"]))
        assert made.schema.field("layer").type == pa.int32()
        assert made.schema.metadata[b"model"] == b"m"
