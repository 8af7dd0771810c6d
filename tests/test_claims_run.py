"""Claims and the paper's folder from the command line, with tiny models."""

import json
from pathlib import Path

import polars as pl
import pytest
from workflow import (
    ONE_THREAD,
    copy_of,
    edited,
    one_message,
    rules_to_run,
    run,
    snakemake,
    write_yaml,
)

from tokentrails.documents.quoted import filled, load

pytestmark = pytest.mark.e2e

CONFIG = Path("config/config.yaml")
CLAIM = {
    "id": "identity-gone",
    "study": "Mine",
    "source": "page 1",
    "statement": "Identity is below 2.",
    "measure": "identity (cosine), by text and layer",
    "claimed": {"below": 2},
    "tables": {"identity": "senses/identity"},
    "as_published": "SELECT CONCAT(label, layer) AS unit, cosine AS value FROM identity",
}
NUMBER = {
    "name": "texts",
    "meaning": "how many texts",
    "tables": {"identity": "*/identity"},
    "sql": "SELECT COUNT(DISTINCT label) AS value FROM identity",
}


def edit(folder, path, change):
    with edited(folder / path) as data:
        change(data)


@pytest.fixture(scope="module")
def done(small, tmp_path_factory):
    """The finished run, with a claim of its own, one number and a paper of two items."""
    folder = copy_of(small, tmp_path_factory.mktemp("claims") / "run")
    assert not (folder / "results/claims.parquet").exists()  # they were switched off
    claims = [CLAIM, CLAIM | {"id": "elsewhere", "tables": {"identity": "elsewhere/identity"}}]
    write_yaml(folder / "config/mine.yaml", {"claims": claims, "numbers": [NUMBER]})

    def ask(config):
        config["claims"] = {"file": "config/mine.yaml"}
        config["paper"] = [
            {"study": "mine", "name": "depth", "file": "composites/senses_depth", "title": "A <b>"},
            {"study": "mine", "name": "context", "file": "metrics/gpt2/main/senses/context.csv"},
        ]

    edit(folder, CONFIG, ask)
    assert rules_to_run(folder, *ONE_THREAD) == {"claims": 1, "paper": 1}
    run(folder, *ONE_THREAD)
    return folder


def test_claims_are_made_for_every_model_of_the_configuration(done):
    every = pl.read_parquet(done / "results/claims.parquet")
    table = every.filter(claim="identity-gone")
    assert table["verdict"].to_list() == ["holds", "holds"]
    assert sorted(table["model"]) == ["bert", "gpt2"]
    elsewhere = every.filter(claim="elsewhere")
    assert set(elsewhere["verdict"]) == {"not testable here"}
    assert "elsewhere/identity" in elsewhere["reason"][0]
    assert "Identity is below 2." in (done / "results/claims.html").read_text()
    assert (done / "results/claims.csv").read_text().startswith("claim,study,statement,")
    data = json.loads((done / "results/numbers.json").read_text())
    assert data["numbers"]["texts"] == {"bert": 4, "gpt2": 4}
    assert data["verdicts"] == {"holds": 2, "not testable here": len(elsewhere), "all": len(every)}
    quoted = filled("0<!--=texts/gpt2-->", load(done / "results"), "page")
    assert quoted == "4<!--=texts/gpt2-->"


def test_the_paper_is_copied_and_numbered(done):
    made = sorted(p.name for p in (done / "results/paper/mine").iterdir())
    assert made == ["01_depth.png", "01_depth.svg", "02_context.csv"]
    assert not any(p.is_symlink() for p in (done / "results/paper").rglob("*"))
    copy, made = "results/paper/mine/01_depth.svg", "results/composites/senses_depth.svg"
    assert (done / copy).read_bytes() == (done / made).read_bytes()
    assert "A &lt;b&gt;" in (done / "results/paper/index.html").read_text()
    assert (done / "results/paper/index.csv").read_text().count("\n") == 4


def test_what_no_rule_makes_is_no_figure_of_the_paper(done, tmp_path):
    folder = copy_of(done, tmp_path)
    edit(folder, CONFIG, lambda c: c["paper"][0].update(file="composites/senses_dept"))
    one_message(
        snakemake(folder, "-n"),
        *("config/config.yaml, line ", "paper[0].file: no rule makes results/composites/"),
        "did you mean 'results/composites/senses_depth.",
    )
    (folder / "results/composites/senses_dept.svg").write_text("<svg/>")  # of one's own
    (folder / "results/composites/senses_dept.png").write_bytes(b"")
    assert rules_to_run(folder, "paper", *ONE_THREAD) == {"paper": 1}


def test_nothing_is_stale_and_a_changed_claim_reruns_claims_alone(done, tmp_path):
    folder = copy_of(done, tmp_path)
    assert rules_to_run(folder, *ONE_THREAD) == {}
    edit(folder, "config/mine.yaml", lambda d: d["claims"][0].update(statement="Other words."))
    assert rules_to_run(folder, *ONE_THREAD) == {"claims": 1}


def test_random_weights_stand_beside_the_verdict_and_are_no_model_of_their_own(done, tmp_path):
    folder = copy_of(done, tmp_path)
    edit(folder, CONFIG, lambda c: c["models"].update(blank={"source": "random:gpt2"}))
    run(folder, "claims", *ONE_THREAD)
    table = pl.read_parquet(folder / "results/claims.parquet")
    before = pl.read_parquet(done / "results/claims.parquet")
    assert table.drop("^control.*$").equals(before.drop("^control.*$"))
    (tested,) = table.filter(pl.col("control").is_not_null()).to_dicts()
    assert (tested["claim"], tested["model"]) == ("identity-gone", "gpt2")
    identity = pl.read_parquet(folder / "results/metrics/blank/draw0/senses/identity.parquet")
    assert tested["control"] == pytest.approx(identity["cosine"].mean())
    assert tested["control"] != tested["value_corrected"]
    assert f"random weights: {tested['control']:.3f} [" in (
        folder / "results/findings.html"
    ).read_text().replace("\u2212", "-")
    assert "claims" not in rules_to_run(folder, "claims", *ONE_THREAD)
    shared = {"file": "config/experiments/senses.yaml", "models": ["gpt2", "bert"]}
    edit(folder, CONFIG, lambda c: c["experiments"].update(senses=shared))
    assert rules_to_run(folder, "claims", *ONE_THREAD) == {"claims": 1}


def test_what_is_wrong_with_a_claim_is_said_in_one_message(done, tmp_path):
    folder = copy_of(done, tmp_path)
    broken = CLAIM | {"as_published": "SELECT label AS unit, cosin AS value FROM identity"}
    other = broken | {"id": "other", "as_published": "SELECT cosine AS value FROM identity"}
    write_yaml(folder / "config/mine.yaml", {"claims": [broken, other]})
    one_message(
        snakemake(folder, "claims", *ONE_THREAD),
        *("config/mine.yaml, line ", "identity-gone", "as_published", "cosin", "cosine"),
        *("2 formulas of the claims file fail", "(other)", "no column 'unit'"),
    )
    edit(folder, CONFIG, lambda c: c.update(claims={"file": "config/none.yaml"}))
    one_message(snakemake(folder, "-n"), "config/none.yaml")


def test_the_claims_of_the_workflow_are_found_from_any_configuration(done, tmp_path):
    folder = copy_of(done, tmp_path)
    edit(folder, CONFIG, lambda c: c.update(claims={}))
    run(folder, "claims", *ONE_THREAD)
    table = pl.read_parquet(folder / "results/claims.parquet")
    assert table["claim"].n_unique() > 16
    measured = table.filter(pl.col("value_as_published").is_not_null())
    assert set(measured["model"]) == {"bert", "gpt2"}
