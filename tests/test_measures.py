"""Measures of the user's own: read, refused, computed, run from a folder outside the workflow."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import workflow as wf
from config_files import refused
from drawn import layer_names, notes
from drawn import layers as layers_of

from tokentrails.catalogue import CATALOGUE, Kind
from tokentrails.config.load import load_config
from tokentrails.config.measures import load_measure, load_measures
from tokentrails.errors import TokentrailsError, Where
from tokentrails.figures.measure import composite_measure
from tokentrails.figures.measure import measure as measure_figure
from tokentrails.figures.pieces.save import specification
from tokentrails.files.states import Layer
from tokentrails.metrics.measure import (
    evaluate,
    load_function,
    measure_curves,
    measure_table,
    moments,
)
from tokentrails.running.targets import Targets
from tokentrails.statistics.bootstrap import FEWEST_UNITS
from tokentrails.statistics.settings import Statistics

EXAMPLES = wf.ROOT / "examples/measures"
STATISTICS = {"bootstrap": 200, "confidence": 0.95, "permutations": 100, "seed": 0, "few": 2}
PROVENANCE = {"model": "m", "checkpoint": "main", "experiment": "e"}


def load(path: Path, name: str = "own"):
    return load_measure(name, str(path), ("e",), Where())


def written(tmp_path: Path, source: str):
    path = tmp_path / "own.py"
    path.write_text(source)
    return load(path)


def layers(n: int = 6, depth: int = 3, d: int = 4) -> list[Layer]:
    rng = np.random.default_rng(0)
    rows = np.arange(n)
    places = [("resid", layer) for layer in range(depth)] + [("final_norm", depth - 1)]
    return [Layer(*place, rows, rng.normal(size=(n, d)).astype(np.float32)) for place in places]


def tokens(n: int = 6) -> pa.Table:
    """Two words, three texts each; the first occurrence stands at position 0."""
    return pa.table(
        {
            "label": [f"t{i}" for i in range(n)],
            "word": ["lead", "bank"] * (n // 2),
            "text": ["a b c"] * n,
            "first": [0] + [1] * (n - 1),
            "last": [0] + [1] * (n - 1),
            "n_tokens": [1] * n,
            "tokens": [["a", "b", "c"]] * n,
            "token_ids": [[0, 1, 2]] * n,
            "sense": ["x", "y", "x", "y", "z", "z"],
        }
    )


def table_of(measure, states, baseline=None):
    found = evaluate(measure, load_function(measure), states, pl.DataFrame(tokens().to_pydict()))
    return measure_table(
        measure,
        found,
        tokens(),
        baseline=baseline or {},
        pooling="last",
        groups=["sense"],
        provenance=PROVENANCE,
    )


def test_a_file_says_what_it_measures_and_reads_without_being_run(tmp_path):
    measure = written(
        tmp_path,
        '"""Nothing yet. More."""\nSITES = ["resid"]\nUNIT = "km"\nraise SystemExit\n'
        "def measure(hidden, previous, *, layer): ...\n",
    )
    assert measure.title == measure.meaning == "Nothing yet. More"
    assert (measure.unit, measure.sites) == ("km", ("resid",))
    assert measure.reads == ("hidden", "previous", "layer")
    example = load(EXAMPLES / "neighbours.py")
    assert example.title == "Cosine of neighbouring layers"
    assert example.meaning.startswith("cosine of the state")


@pytest.mark.parametrize(
    "source, parts",
    [
        ("def measure(hidden:\n", ["own.py, line 1", "no Python"]),
        ("def other(hidden): ...\n", ["no function 'measure'"]),
        ("def measure(states): ...\n", ["line 1", "'states'", "hidden, previous"]),
        ("def measure(*args): ...\n", ["'*args'"]),
        ("def measure(hidden, /): ...\n", ["'hidden, /'"]),
        ("UNIT: str = 'km'\ndef measure(hidden): ...\n", ["line 1: UNIT is not set by a plain"]),
        ("UNIT, TITLE = 'a', 'b'\ndef measure(hidden): ...\n", ["UNIT is not set by a plain"]),
        ("SITES = (['resid'],)\ndef measure(hidden): ...\n", ["line 1: SITES must be a tuple"]),
        ("UNIT = {[]: 1}\ndef measure(hidden): ...\n", ["line 1: UNIT must be a text"]),
        ("UNIT = '\\ud800'\ndef measure(hidden): ...\n", ["line 1: UNIT must be a text"]),
        ("x = " + "-" * 100_000 + "1\ndef measure(hidden): ...\n", ["no Python"]),
        ("def measure(): ...\n", ["no parameter"]),
        ("SITES = ('middle',)\ndef measure(hidden): ...\n", ["'middle'", "resid_mid"]),
        ("UNIT = 1\ndef measure(hidden): ...\n", ["line 1: UNIT must be a text"]),
        ("MEANING = str(1)\ndef measure(hidden): ...\n", ["line 1: MEANING", "written out"]),
        ("MEANING = 'x</script>'\ndef measure(hidden): ...\n", ["'x</script>'", "of the report"]),
        ("\0", ["no Python"]),
    ],
)
def test_a_bad_file_is_one_message_before_anything_runs(tmp_path, source, parts):
    with refused(*parts):
        written(tmp_path, source)


@pytest.mark.parametrize(
    "body, parts",
    [
        ("import no_such_module\ndef measure(hidden): ...", ["line 1", "'no_such_module'"]),
        ("def measure(hidden):\n    return hidden", ["(6, 4)", "(6,)", "site resid, layer 0"]),
        ("def measure(hidden):\n    return hidden[:, 0] / 0", ["returned", "row 0"]),
        ("def measure(hidden):\n    return 'long'", ["str", "no array of real numbers"]),
        ("def measure(hidden):\n    return None", ["returned"]),
        ("def measure(hidden):\n    return hidden[:, 0] + 1j", ["no array of real numbers"]),
        ("def measure(hidden):\n    return ['1.5'] * len(hidden)", ["no array of real numbers"]),
        ("def measure(hidden):\n    return [10**400] * len(hidden)", ["no array of real"]),
        ("def measure(hidden):\n    return [1e39] * len(hidden)", ["1e+39", "no float32"]),
        ("def measure(hidden):\n    hidden -= 1\n    return hidden[:, 0]", ["line 2", "read-only"]),
        ("import sys\ndef measure(hidden):\n    sys.exit(0)", ["line 3", "SystemExit"]),
        ("def measure(hidden): ...\ndel measure", ["AttributeError", "measure"]),
        ("def measure(hidden):\n    return hidden.nothing", ["line 2", "AttributeError"]),
        ("SITES = ('resid_mid',)\ndef measure(hidden):\n    return 1", ["no value at any site"]),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_what_goes_wrong_in_a_job_is_one_message_with_the_line(tmp_path, body, parts):
    measure = written(tmp_path, body)
    with refused(*parts):
        table_of(measure, layers())


def test_a_file_that_changed_after_it_was_planned_is_refused(tmp_path):
    measure = written(tmp_path, "def measure(hidden):\n    return hidden[:, 0]\n")
    (tmp_path / "own.py").write_text("def measure(hidden):\n    return hidden[:, 1]\n")
    with pytest.raises(TokentrailsError, match="changed after this run had read it"):
        load_function(measure)


def test_a_file_that_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    for path in (tmp_path / "pipe.py", tmp_path):
        with pytest.raises(TokentrailsError, match="is no file"):
            load(path)


def test_dataclasses_of_a_file_find_their_module(tmp_path):
    source = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n\n"
        "@dataclass\nclass Box:\n    x: float\n\n\n"
        "def measure(hidden):\n    return [Box(float(row[0])).x for row in hidden]\n"
    )
    states = layers()
    assert table_of(written(tmp_path, source), states).num_rows == 24


def test_the_examples_give_the_numbers_of_a_plain_loop():
    states = layers()
    rows = table_of(load(EXAMPLES / "length.py"), states).to_pylist()
    assert len(rows) == 6 * 4
    for row in rows:
        place = next(s for s in states if (s.site, s.layer) == (row["site"], row["layer"]))
        state = place.hidden[int(row["label"][1:])].astype(float)
        assert row["value"] == pytest.approx(sum(x * x for x in state) ** 0.5, rel=1e-6)
    near = table_of(load(EXAMPLES / "neighbours.py"), states).to_pylist()
    assert {(row["site"], row["layer"]) for row in near} == {("resid", 1), ("resid", 2)}
    for row in near:
        index, layer = int(row["label"][1:]), row["layer"]
        a, b = (place.hidden[index] for place in states[layer - 1 : layer + 1])
        assert row["value"] == pytest.approx(a @ b / np.sqrt(a @ a * (b @ b)), rel=1e-5)


def test_the_baseline_is_the_mean_over_tokens_of_words_behind_the_first_position():
    measure = load(EXAMPLES / "length.py")
    plain = table_of(measure, layers())
    known = moments(plain)
    kept = [row["value"] for row in plain.to_pylist() if row["position"] > 0 and row["layer"] == 1]
    assert known["resid", 1] == pytest.approx((np.mean(kept), np.std(kept)), rel=1e-6)
    compared = table_of(measure, layers(), known).to_pylist()
    for row in compared:
        mean, deviation = known[row["site"], row["layer"]]
        assert row["adjusted"] == pytest.approx(row["value"] - mean, abs=1e-6)
        assert row["standardised"] == pytest.approx((row["value"] - mean) / deviation, abs=1e-5)
    assert {row["adjusted"] for row in plain.to_pylist()} == {None}


def test_a_measure_that_does_not_vary_has_no_standard_deviation():
    """Lengths behind a norm differ by the last bits of float32 alone."""
    measure = load(EXAMPLES / "length.py")
    unit = [
        replace(s, hidden=5 * s.hidden / np.linalg.norm(s.hidden, axis=1, keepdims=True))
        for s in layers()
    ]
    compared = table_of(measure, unit, moments(table_of(measure, unit))).to_pylist()
    assert {row["standardised"] for row in compared} == {None}
    assert max(abs(row["adjusted"]) for row in compared) < 1e-5


def test_curves_are_means_of_groups_without_first_positions():
    measure = load(EXAMPLES / "length.py")
    values = table_of(measure, layers())
    curves = pl.DataFrame(
        measure_curves(
            values,
            measure,
            kind=Kind.TARGETS,
            groups=["sense"],
            statistics=Statistics.from_config(STATISTICS),
            provenance=PROVENANCE,
        ).to_pydict()
    )
    frame = pl.DataFrame(values.to_pydict()).filter(pl.col("position") > 0)
    at = {"site": "resid", "layer": 2, "quantity": "value"}
    units = dict(curves.filter(**at).select("group", "unit").unique().rows())
    assert units == {None: "word", "word": "text", "sense": "text"}
    for group, series in [("sense", "x"), ("sense", "z"), ("word", "bank"), (None, None)]:
        here = frame.filter(site="resid", layer=2)
        here = here if group is None else here.filter(pl.col(group) == series)
        row = (
            curves.filter(pl.col("group").eq_missing(group), series=series, **at)
            if group
            else (curves.filter(pl.col("group").is_null(), **at))
        )
        assert row["mean"].item() == pytest.approx(here["value"].mean(), rel=1e-6)
        assert row["n"].item() == len(here)
        assert row["n_units"].item() < FEWEST_UNITS and row["ci_low"].is_null().all()
    assert set(curves["quantity"]) == {"value"}  # without a baseline there is nothing else


def test_the_axis_of_a_figure_says_the_unit_of_the_measure():
    curve = {
        "model": "m",
        "checkpoint": "c",
        "site": "resid_mid",
        "n": 5,
        "n_units": 5,
        "few": False,
    }
    rows = [
        curve
        | {"unit": "word"}
        | {"quantity": quantity, "layer": layer, "mean": 1.0 + layer, "group": None, "series": None}
        | {"ci_low": None, "ci_high": None}
        for quantity in ("value", "standardised")
        for layer in (0, 1)
    ]
    curves = pl.DataFrame(rows, schema_overrides={"ci_low": pl.Float64, "ci_high": pl.Float64})
    for draw in (measure_figure, composite_measure):
        chart = draw(curves, title="t", confidence=0.95, unit="parsecs")
        titles = set(re.findall(r'"title": "(mean[^"]*)"', json.dumps(specification(chart))))
        assert titles == {"mean (parsecs)", "mean (standard deviations)"}
        assert draw is composite_measure or layer_names(layers_of(specification(chart))) == {
            "block"
        }
        assert "No bands: too few words for an interval." in notes(chart)
        banded = curves.with_columns(ci_low=pl.col("mean") - 0.1, ci_high=pl.col("mean") + 0.1)
        said = notes(draw(banded, title="t", confidence=0.95))
        assert "Band: 95 % interval, bootstrap over words." in said
    options = {f.options for f in CATALOGUE.with_measures({"own": "own"}).figures.values()}
    assert ("confidence", "unit") in options


@pytest.fixture
def config(small, monkeypatch) -> dict:
    """The configuration of the small run, where it finds its files."""
    monkeypatch.chdir(small)
    return wf.read_yaml(small / "config/config.yaml")


@pytest.mark.parametrize(
    "name, change, parts",
    [
        ("identity", {}, ["measures.identity", "taken"]),
        ("senses", {}, ["measures.senses", "taken"]),
        ("Length", {}, ["measures", "lower-case"]),
        ("length", {"experiments": ["nothing"]}, ["measures.length.experiments", "plain"]),
        ("length", {"file": "nowhere.py"}, ["measures.length.file", "nowhere.py"]),
        ("length", {"files": "x"}, ["measures.length", "files"]),
        ("claims", {}, ["measures.claims", "taken"]),
    ],
)
def test_entries_of_the_configuration_are_checked(config, name, change, parts):
    config["measures"] = {name: {"file": str(EXAMPLES / "length.py")} | change}
    with refused(*parts):
        load_config(config)


def test_no_measure_has_the_name_of_a_rule():
    rules = {"explore", *(rule.name for rule in wf.rules())} - {
        "length_curves"
    }  # the example's own
    assert {"corpus_sums", "decodability_tables", "hub_table", "length_measure"} < rules
    for name in sorted(rules):
        with refused(f"measures.{name}", "taken"):
            load_measures({name: {"file": str(EXAMPLES / "length.py")}}, (), Where())


def test_figures_of_two_experiments_do_not_have_one_name(config):
    config["experiments"]["senses_new"] = config["experiments"].pop("plain")
    files = {"file": str(EXAMPLES / "length.py")}
    config["measures"] = {"length": files, "new_length": files}
    with pytest.raises(TokentrailsError, match=r"experiments\.\w+: .*senses_new_length"):
        load_config(config)


@pytest.mark.parametrize("title", ["{model.upper}", "{model:>9}", "{model!r}", "{}", "{model", "}"])
def test_titles_take_plain_names_alone(config, title):
    config["measures"] = {"length": {"file": str(EXAMPLES / "length.py")}}
    with pytest.raises(TokentrailsError, match=r"figures\.length"):
        load_config(config | {"figures": {"length": title}})


def test_a_measure_asks_for_its_tables_and_figures(config):
    before = Targets(load_config(config))
    entry = {"file": str(EXAMPLES / "length.py"), "experiments": ["plain"]}
    config["measures"] = {"length": entry}
    config["figures"] = {"length": "Lengths in {model}"}
    after = Targets(load_config(config))
    tables = set(after.tables()) - set(before.tables())
    run = "results/metrics/bert/main/plain"
    assert tables == {
        f"{run}/{name}.{suffix}"
        for name in ("length", "length_curves")
        for suffix in ("parquet", "csv")
    }
    figures = {path for path in set(after.figures()) - set(before.figures()) if "svg" in path}
    assert figures == {
        "results/figures/bert/main/plain/length.svg",
        "results/composites/plain_length.svg",
    }


@pytest.mark.e2e
def test_the_examples_run_from_a_folder_of_ones_own(folder, tmp_path):
    own = tmp_path / "mine"
    shutil.copytree(EXAMPLES, own)
    with wf.edited(folder / "config/config.yaml") as config:
        config["measures"] = {
            name: {"file": str(own / f"{name}.py")} for name in ("length", "neighbours")
        }
    run, figure = "results/metrics/gpt2/main/senses", "results/composites/senses_length"
    wf.run(folder, *wf.ONE_THREAD)
    table = pl.read_parquet(folder / run / "length.parquet")
    assert table.columns[:3] == ["model", "checkpoint", "experiment"]
    assert table["value"].min() > 0
    assert pl.read_csv(folder / run / "length.csv").height == table.height
    schema = pa.parquet.read_schema(folder / run / "length.parquet")
    assert json.loads(schema.metadata[b"definitions"])["value"] == "Euclidean length of the state"
    for suffix in ("svg", "html", "png"):
        assert (folder / f"results/figures/gpt2/main/senses/neighbours.{suffix}").stat().st_size
        assert (folder / f"{figure}.{suffix}").stat().st_size
    (own / "length.py").touch()
    assert wf.rules_to_run(folder) == {}
    (own / "length.py").write_text((own / "length.py").read_text() + "\n# Another content.\n")
    stale = wf.rules_to_run(folder)
    assert {name.split("_")[0] for name in stale} == {"length"} and stale["length_measure"] == 3
    (own / "length.py").write_text("def measure(hidden):\n    return hidden\n")
    wf.one_message(wf.snakemake(folder), "length.py", "(4, ")
