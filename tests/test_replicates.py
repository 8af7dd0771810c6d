"""Several trainings as one model: tables, figures and claims with a training as the unit."""

import checkpoints
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import scipy.stats
import workflow as wf
from config_files import changed, load, refused, written
from drawn_words import LIST
from measures import frame, statistics

from tokentrails.catalogue import CATALOGUE
from tokentrails.claims.file import Target, load_claims
from tokentrails.claims.formula import Estimate, over_trainings
from tokentrails.claims.sources import claim_sources
from tokentrails.claims.verdict import HOLDS, UNTESTABLE, evidence, verdict
from tokentrails.errors import TokentrailsError
from tokentrails.files.tables import describe, provenance_of
from tokentrails.metrics import replicates
from tokentrails.running.targets import Targets

STATISTICS = statistics(confidence=0.95, few=4)
ORIGIN = {
    **{"experiment": "e", "checkpoint": "all", "checkpoints": '["step0", "step8"]'},
    **{"architecture": "gpt_neox", "tokenizer_sha256": "t"},
}


def training(mean, name="m", *, n=24, origin=ORIGIN, **columns) -> pa.Table:
    """A made-up table convergence_by_group: a row per layer, with hardly any spread over words."""
    mean = np.asarray(mean, dtype=np.float32)
    rows = {
        **{"model": [name] * len(mean), "checkpoint": "step8", "step": 8},
        **{"layer": range(len(mean)), "n": n, "few": False},
        **{"mean": mean, "ci_low": mean - 1e-4, "ci_high": mean + 1e-4},
        **columns,
    }
    types = {"n": pl.Int32, **dict.fromkeys(columns, pl.Float32)}
    made = pl.DataFrame(rows, schema_overrides=types).to_arrow()
    about = origin | {"model": name, "weights_sha256": name}
    return describe(made, title="convergence", provenance=about, meanings={"mean": "of words"})


def together(*tables) -> pa.Table:
    named = {f"m{i}": table for i, table in enumerate(tables)}
    return replicates.over_trainings(named, model="all-m", statistics=STATISTICS)


def test_the_mean_and_its_interval_are_students():
    values = np.array([[0.2, 0.9], [0.3, 0.99], [0.4, 0.96]], dtype=np.float32)
    slopes = {"per_doubling": [0.5, 2.0], "per_doubling_low": 0.0, "per_doubling_high": 0.1}
    slopes |= {"per_step": [0.1, 0.2], "cka": [0.1, None], "cka_ci_low": 0.0, "cka_ci_high": 0.2}
    tables = [training(v, f"m{i}", **slopes) for i, v in enumerate(values)]
    table = together(*tables[:2], training(values[2], **slopes | {"per_doubling": [0.8, 5.0]}))
    first, second = frame(table).rows(named=True)
    expected = scipy.stats.t.interval(0.95, 2, np.mean(values[:, 0]), scipy.stats.sem(values[:, 0]))
    assert first["mean"] == pytest.approx(0.3)
    assert (first["ci_low"], first["ci_high"]) == pytest.approx(expected, abs=1e-6)
    assert second["ci_high"] == 1.0 and second["per_doubling_high"] > 3  # only a cosine ends at 1
    assert (first["per_doubling"], first["per_step"]) == pytest.approx((0.6, 0.1))
    assert first["cka"] == pytest.approx(0.1)  # the same in all three
    assert first["cka_ci_low"] is second["cka"] is second["cka_ci_low"] is None
    assert table.column_names == [
        *("model", "checkpoint", "step", "layer", "n", "n_trainings", "few"),
        *tables[0].column_names[6:],
    ]
    assert (first["model"], first["n"], first["n_trainings"], first["few"]) == (
        "all-m",
        24,
        3,
        True,
    )
    assert not frame(together(*tables, tables[0]))["few"].any()
    origin = provenance_of(table)
    assert origin["replicates"] == '["m0", "m1", "m2"]' and origin["architecture"] == "gpt_neox"
    assert origin["checkpoints"] == ORIGIN["checkpoints"] and origin["model"] == "all-m"
    assert b"Student" in table.schema.field("ci_low").metadata[b"description"]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (training([0.1]), "checkpoints, layers or words"),
        (training([0.1, 0.2], n=23), "checkpoints, layers or words"),
        (training([0.1, 0.2], origin=ORIGIN | {"tokenizer_sha256": "u"}), "tokenizer"),
        (training([0.1, 0.2], origin=ORIGIN | {"architecture": "gpt2"}), "architecture"),
    ],
)
def test_what_is_no_training_of_the_recipe_is_refused(other, what):
    with pytest.raises(TokentrailsError, match=f"'m0' and 'm1' are no .* other {what}") as caught:
        together(training([0.1, 0.2]), other)
    assert "models.all-m.replicates" in str(caught.value)


# --- configuration ----------------------------------------------------------------------------

STEPS = ["step0", "step64"]
NANO = {"source": "train:nano", "checkpoints": STEPS}
SEEDS = {
    "models": {
        **{"nano": NANO, "nano-1": NANO | {"seed": 1}},
        **{"seeds": {"replicates": ["nano", "nano-1"]}, "one": {"source": "path:one"}},
    },
    "experiments": {"e": {"file": "e.yaml"}},
    "baseline": {"enabled": False},
}


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written({"words": {"n_tokens": [1, 2]}})


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("seeds.replicates", ["nano"], ("['nano'] has 1 of at least 2 entries", "two or more")),
        ("seeds.replicates", [], ("[] is empty", "give names of two or more models")),
        ("seeds.replicates", ["nano", "nano-2"], ("'nano-2' is not in", "nano-1")),
        ("seeds.replicates", ["nano", "seeds"], ("'seeds' is a set", "place: nano.")),
        ("all", {"replicates": ["one", "seeds"]}, ("models.all.replicates", "nano, nano-1.")),
        ("seeds.replicates", ["nano", "nano"], ("replicates[1]: ", "'nano' is listed twice")),
        ("seeds.replicates", ["nano", "one"], ("'one' have not the same kind of source", "path")),
        ("seeds.checkpoints", STEPS, ("models.seeds.checkpoints", "single models")),
        ("nano-1.seed", 0, ("'nano' and 'nano-1' are the same training", "'seed'")),
        ("nano-1.steps", 64, ("number of steps: 1536 and 64",)),
        ("nano-1.checkpoints", ["step1", "step64"], ("checkpoints: step0, step64 and step1",)),
        ("nano-1.reference", "step0", ("reference: step64 and step0",)),
        ("nano-1.source", "train:pico", ("size: nano and pico",)),
        ("other", {"source": "random:seeds"}, ("models.other.source", "'seeds'", "nano")),
    ],
)
def test_a_set_that_is_none_is_refused(words, path, value, parts):
    with refused("models.", *parts):
        load(changed(SEEDS, f"models.{path}", value))


def test_a_set_stands_for_its_models_and_has_tables_of_its_own(words):
    every = load(SEEDS)
    assert every.experiments["e"].models == ("nano", "nano-1", "one")
    named = load(changed(SEEDS, "experiments.e.models", ["seeds", "nano-1"]))
    assert named.experiments["e"].models == ("nano", "nano-1")
    assert list(named.models) == ["nano", "nano-1", "one"] and list(named.replicates) == ["seeds"]
    targets = Targets(named)
    of_set = "results/metrics/seeds/all/e"
    assert {path for path in targets.tables() if "/seeds/" in path} == {
        f"{of_set}/{name}.{suffix}"
        for name in ("alignment", "convergence_by_group")
        for suffix in ("parquet", "csv")
    }
    drawn = {path for path in targets.figures() if path.endswith("svg") and "/seeds/" in path}
    assert "results/figures/seeds/all/e/alignment.svg" in drawn and len(drawn) == 5
    assert targets.figure_inputs(
        CATALOGUE.figures["alignment"], {"model": "seeds", "experiment": "e"}
    ) == {
        "alignment": [f"{of_set}/alignment.parquet"],
        "checkpoints": [f"results/metrics/{m}/all/checkpoints.parquet" for m in ("nano", "nano-1")],
    }
    alone = Targets(load(changed(SEEDS, "experiments.e.models", ["nano", "nano-1"])))
    assert not [path for path in (*alone.tables(), *alone.figures()) if "/seeds/" in path]


def test_a_claim_may_name_a_set(words):
    claim = {
        **dict.fromkeys(("study", "source", "statement", "measure"), "x"),
        **{"id": "c", "claimed": {"above": 0}, "applies_to": {"models": ["seeds"]}},
        **{"tables": {"t": "e/alignment"}, "as_published": "SELECT 1 AS unit, cka AS value FROM t"},
    }
    file = load_claims(written({"claims": [claim]}, "claims.yaml"), CATALOGUE.tables)
    assert list(claim_sources(file, load(SEEDS))["c"]) == ["nano", "nano-1"]


# --- claims -----------------------------------------------------------------------------------

ABOVE = Target(above=0.0)


def numbers(*values: float) -> dict[str, Estimate]:
    return {f"m{i}": Estimate(v, n=10, units=9, fewest=9) for i, v in enumerate(values)}


def test_the_p_of_a_claim_is_that_of_a_t_test_over_trainings():
    values = np.random.default_rng(1).normal(0.3, 0.5, 6)
    found = over_trainings(numbers(*values), 0.95)
    expected = scipy.stats.ttest_1samp(values, 0, alternative="greater")
    said = evidence(ABOVE, found)
    assert said.favour == pytest.approx(expected.pvalue)
    assert said.against == pytest.approx(1 - expected.pvalue)
    assert (found.value, found.n, found.units) == (pytest.approx(values.mean()), 60, 6)
    low, high = scipy.stats.t.interval(0.95, 5, values.mean(), scipy.stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    within = evidence(Target(value=0.3, tolerance=0.1), found)
    below = scipy.stats.ttest_1samp(values, 0.4, alternative="less").pvalue
    over = scipy.stats.ttest_1samp(values, 0.2, alternative="greater").pvalue
    assert within.favour == pytest.approx(max(below, over), abs=1e-6)


def test_two_ways_are_compared_training_by_training():
    rng = np.random.default_rng(2)
    first, second = rng.normal(0, 5, 6) + rng.normal(0, 0.1, (2, 6)) + [[0.3], [0]]
    between = over_trainings(numbers(*first), 0.95).minus(over_trainings(numbers(*second), 0.95))
    expected = scipy.stats.ttest_rel(first, second, alternative="greater").pvalue
    assert evidence(ABOVE, between).favour == pytest.approx(expected) and expected < 0.01


def test_few_trainings_and_one_without_a_number_have_no_verdict():
    few = over_trainings(numbers(1, 1.1, 1.2, 1.3), 0.95)
    assert few.low is None and few.value == pytest.approx(1.15)
    assert verdict(ABOVE, few, {"": few}, p=None, p_published=None, alpha=0.05) == (
        UNTESTABLE,
        "an interval takes 5 trainings; here 4",
    )
    lacking = over_trainings(numbers(1, 2) | {"m2": Estimate(reason="no table")}, 0.95)
    assert lacking.value is None and lacking.reason == "m2: no table"
    many = over_trainings(numbers(1, 1.1, 1.2, 1.3, 1.4), 0.95)
    p = evidence(ABOVE, many).two_sided
    assert verdict(ABOVE, many, {"": many}, p=p, p_published=None, alpha=0.05)[0] == HOLDS


# --- the workflow -----------------------------------------------------------------------------


@pytest.mark.e2e
@pytest.mark.slow
def test_two_trainings_become_one_model(tmp_path):
    folder = wf.checkout(tmp_path / "run")
    names = [f"{model}/{step}" for model in ("a", "b") for step in ("step0", "step8")]
    checkpoints.save(folder / "models", names, "gpt_neox")
    (folder / "own.txt").write_text("\n".join(LIST) + "\n", encoding="utf-8")
    own = {"list": "own.txt", "n_tokens": [1, 2], "per_group": 4}
    wf.write_yaml(folder / "words.yaml", {"words": own})
    keys = {"checkpoints": ["step0", "step8"], "threads": 1}
    models = {name: {"source": f"path:models/{name}", **keys} for name in ("a", "b")}
    wf.write_yaml(
        folder / "config/config.yaml",
        {
            "models": models | {"both": {"replicates": ["a", "b"]}},
            "experiments": {"words": {"file": "words.yaml", "models": ["both"]}},
            "baseline": {"enabled": False},
            "statistics": {"bootstrap": 100},
            "figures": {"formats": ["svg"]},
        },
    )
    made = "results/figures/both/all/words/alignment.svg"
    wf.run(
        folder,
        made,
        "results/metrics/both/all/words/convergence_by_group.csv",
        "results/claims.csv",
    )
    a, b, both = (
        pl.read_parquet(folder / f"results/metrics/{name}/all/words/convergence_by_group.parquet")
        for name in ("a", "b", "both")
    )
    expected = (a["mean"].cast(pl.Float64) + b["mean"]) / 2
    assert both["mean"].to_list() == pytest.approx(expected.to_list(), abs=1e-6)
    assert set(both["model"]) == {"both"} and set(both["n_trainings"]) == {2}
    assert "Mean of 2 trainings" in (folder / made).read_text()
    claims = pl.read_parquet(folder / "results/claims.parquet").filter(claim="single-tokens-first")
    (claim,) = claims.rows(named=True)
    assert claim["model"] == "both" and "5 trainings; here 2" in claim["reason"]
    assert claim["tables"].count("convergence.parquet") == 2
