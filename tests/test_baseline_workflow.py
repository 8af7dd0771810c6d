"""The baseline from the command line: made by itself, and used by all that it serves."""

import shutil
from pathlib import Path

import checkpoints
import polars as pl
import pyarrow.parquet as pq
import pytest
import workflow as wf
from tiny import CORPUS

from tokentrails.statistics.forms import FORMS, MATCHED

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STEPS = ["step0", "step4"]
TEXTS = "config/experiments/chance.yaml"


def write_texts(folder: Path, last: str) -> None:
    words = " ".join(CORPUS[:4]).replace(".", "").split()
    texts = [" ".join(words[i : i + 9]) for i in range(0, 20, 2)]
    prompts = [{"label": f"t{i}", "prompt": text} for i, text in enumerate([*texts, last])]
    wf.write_yaml(folder / TEXTS, {"prompts": prompts})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A finished run of a model whose weights are kept, and of one with two that are not."""
    folder = wf.checkout(tmp_path_factory.mktemp("baseline") / "run")
    checkpoints.save(folder / "models/m", STEPS)
    shutil.copytree(folder / "models/m/step0", folder / "models/kept")
    keys = {"checkpoints": STEPS, "keep_weights": False}
    checkpoints.write_config(folder, {"kept": {}, "m": keys}, ["with"])
    write_texts(folder, "The boat reached the bank.")
    with wf.edited(folder / "config/config.yaml") as config:
        config |= {"baseline": {"file": TEXTS}, "statistics": {"bootstrap": 100}}
    wf.run(folder, "metrics", "results/figures/m/step4/baseline/baseline.svg", *wf.ONE_THREAD)
    return folder


def read(folder: Path, step: str, name: str) -> pl.DataFrame:
    return pl.read_parquet(folder / f"results/metrics/m/{step}/{name}.parquet")


def test_similarities_are_compared_with_the_baseline_of_their_checkpoint(folder):
    assert wf.rules_to_run(folder, "metrics") == {}
    assert not list(folder.rglob("resources/models/m/**/*.safetensors"))
    for step in STEPS:
        chance = read(folder, step, "baseline/baseline").filter(pl.col("kind") == "embedding")
        identity = read(folder, step, "with/identity")
        both = identity.join(
            chance.select("site", "layer", mean="cosine"), on=["site", "layer"], how="left"
        )
        forms = [form for form in FORMS if form != MATCHED]  # few words make few pairs
        assert both.select("mean", *forms).null_count().sum_horizontal().item() == 0
        difference = both["cosine"] - both["mean"] - both["adjusted"]
        assert difference.abs().max() < 1e-6
        assert set(both["chance"]) == {"texts"}
    table = pq.read_table(folder / "results/metrics/m/step0/with/identity.parquet")
    chance = pq.read_table(folder / "results/metrics/m/step0/baseline/baseline.parquet")
    made_with, own = (t.schema.metadata for t in (table, chance))
    assert made_with[b"baseline_hash"] == own[b"experiment_hash"] != made_with[b"experiment_hash"]
    assert (folder / "results/metrics/m/step0/baseline/baseline_dimensions.csv").is_file()


def test_other_texts_make_stale_what_depends_on_them_and_nothing_else(folder, tmp_path):
    copy = wf.copy_of(folder, tmp_path / "copy")
    write_texts(copy, "The boat reached the hill.")
    of_kept = {job for job in wf.jobs_to_run(copy, "metrics") if job.wildcards.startswith("kept")}
    assert of_kept == {
        wf.Job("tokens", "kept/baseline"),
        wf.Job("hidden_states", "kept/main/baseline"),
        wf.Job("baseline", "kept/main/baseline"),
        wf.Job("identity", "kept/main/with"),
        wf.Job("summary", "kept/main/with"),
        wf.Job("curves", "kept/main/with"),
    }


def test_prompts_and_settings_of_other_tables_do_not_make_the_baseline_again(folder, tmp_path):
    copy = wf.copy_of(folder, tmp_path / "copy")
    path = copy / "config/experiments/with.yaml"
    with wf.edited(path) as data:
        data["prompts"][0]["prompt"] = "The bank of the river."
    with wf.edited(copy / "config/config.yaml") as config:
        config["statistics"] |= {"few": 4, "permutations": 200}
    assert not any("baseline" in job.wildcards for job in wf.jobs_to_run(copy, "metrics"))


def test_without_a_baseline_similarities_stay_as_they_are(folder, tmp_path):
    copy = wf.copy_of(folder, tmp_path / "copy")
    config = wf.read_yaml(copy / "config/config.yaml")
    wf.write_yaml(copy / "config/config.yaml", config | {"baseline": {"enabled": False}})
    target = "results/metrics/m/step0/with/identity.parquet"
    jobs = wf.jobs_to_run(copy, target)
    assert not any("baseline" in job.wildcards for job in jobs)
    wf.run(copy, target, *wf.ONE_THREAD)
    before, after = (read(at, "step0", "with/identity") for at in (folder, copy))
    assert after.select(FORMS[1:]).null_count().row(0) == (after.height,) * len(FORMS[1:])
    rest = pl.exclude("chance", *FORMS[1:])
    assert after.select(rest).equals(before.select(rest))


def test_texts_longer_than_the_model_takes_are_left_out(folder, tmp_path):
    copy = wf.copy_of(folder, tmp_path / "copy")
    before = read(folder, "step0", "baseline/baseline")
    write_texts(copy, "The boat reached the bank. " * 20)  # the model takes 64 tokens
    done = wf.run(copy, "results/metrics/m/step0/baseline/baseline.parquet", *wf.ONE_THREAD)
    said = "1 of its targets are left out for m, the first, 't10', since it has"
    assert said in done.stdout + done.stderr
    skipped = pl.read_csv(copy / "results/tokens/m/baseline.skipped.csv")
    assert skipped["label"].to_list() == ["t10"]
    assert skipped["reason"].str.ends_with("tokens, the model takes 64").all()
    after = read(copy, "step0", "baseline/baseline")
    assert set(before["n_texts"]) == {11} and set(after["n_texts"]) == {10}


def test_without_texts_that_are_short_enough_there_is_one_message(folder, tmp_path):
    copy = wf.copy_of(folder, tmp_path / "copy")
    prompts = [{"label": "long", "prompt": "The boat reached the bank. " * 20}]
    wf.write_yaml(copy / TEXTS, {"prompts": prompts})
    done = wf.snakemake(copy, "results/metrics/m/step0/baseline/baseline.parquet")
    wf.one_message(done, TEXTS, "no text of the baseline", "'long'", "the model takes 64")
