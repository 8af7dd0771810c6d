"""Senses from the command line: two tiny models, three words."""

from pathlib import Path

import analysed
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import workflow as wf
from analysed import folder as folder  # a fixture

from tokentrails.files.tables import provenance_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def read(folder: Path, name: str, model: str = "llama") -> pl.DataFrame:
    return pl.read_parquet(folder / f"results/metrics/{model}/main/own/{name}.parquet")


def test_everything_is_made_once(folder):
    for model in analysed.MODELS:
        for name in ("senses", "senses_by_layer", "senses_best"):
            twin = pl.read_csv(folder / f"results/metrics/{model}/main/own/{name}.csv")
            assert len(twin) == len(read(folder, name, model)) > 0
        for figure in ("senses_by_layer", "senses_words"):
            made = folder / f"results/figures/{model}/main/own/{figure}.svg"
            assert made.stat().st_size > 0
    assert (folder / "results/composites/own_separability.svg").stat().st_size > 0
    assert wf.half_written(folder) == []
    assert wf.rules_to_run(folder, "senses") == {}


def test_figures_of_other_words_say_so(folder):
    for made in ("figures/llama/main/other/senses_words", "composites/other_separability"):
        svg = (folder / f"results/{made}.svg").read_text()
        assert "in the place of each word stands another" in svg
    assert "stands another" not in (folder / "results/composites/own_separability.svg").read_text()


def test_a_rotary_model_cannot_tell_senses_apart_at_layer_0(folder):
    start = read(folder, "senses").filter(site="resid", layer=0, measure="cosine")
    assert len(start) == len(analysed.WORDS)
    assert start["within"].to_list() == start["between"].to_list() == [1.0] * len(analysed.WORDS)
    assert start["auc"].to_list() == [0.5] * len(analysed.WORDS)
    later = read(folder, "senses").filter(site="resid", layer=3, measure="cosine")
    assert (later["within"] < 1).all() and (later["n_a"] == 3).all()


def test_the_tables_agree_with_a_plain_loop_over_the_states(folder):
    tokens = pl.read_parquet(folder / "results/tokens/roberta/own.parquet")
    table = pq.read_table(folder / "results/hidden_states/roberta/main/own.parquet")
    wanted = pa.compute.and_(
        pa.compute.equal(table["site"], "resid"), pa.compute.equal(table["layer"], 2)
    )
    hidden = table.filter(wanted)["hidden"].combine_chunks()
    hidden = hidden.to_numpy_ndarray().astype(float)
    unit = hidden / np.linalg.norm(hidden, axis=1, keepdims=True)
    for row in (
        read(folder, "senses", "roberta")
        .filter(site="resid", layer=2, measure="cosine")
        .rows(named=True)
    ):
        one, other = (
            unit[((tokens["word"] == row["word"]) & (tokens["sense"] == sense)).to_numpy()]
            for sense in (row["sense_a"], row["sense_b"])
        )
        within = np.mean([(g @ g.T)[np.triu_indices(3, 1)].mean() for g in (one, other)])
        between = (one @ other.T).mean()
        assert row["within"] == pytest.approx(within, abs=1e-6)
        assert row["gap"] == pytest.approx(within - between, abs=1e-6)


def test_the_control_of_replaced_targets_is_beside_the_senses(folder):
    keys = ["word", "site", "layer", "measure"]
    other = pl.read_parquet(folder / "results/metrics/llama/main/other/senses.parquet")
    both = read(folder, "senses").join(other.select(*keys, pl.col("auc").alias("auc_o")), on=keys)
    assert both["auc_control"].equals(both["auc_o"].alias("auc_control"))
    assert both["auc_control"].null_count() < len(both) == len(other)
    by_layer = read(folder, "senses_by_layer").filter(measure="cosine")
    assert by_layer["auc_difference"].null_count() == 0
    assert by_layer["auc_difference_high"].null_count() == len(by_layer)  # of too few words
    for name in ("senses", "senses_by_layer"):  # of a control, and of a model without one
        frames = read(folder, name, "roberta"), other
        assert all(f["auc_difference"].null_count() == len(f) for f in frames)
    named, own = (
        provenance_of(pq.read_schema(folder / f"results/metrics/llama/main/{name}/senses.parquet"))
        for name in ("own", "other")
    )
    assert named["control_hash"] == own["experiment_hash"] and "control_hash" not in own


def test_a_change_of_the_statistics_makes_no_states_again(folder, tmp_path):
    copy = wf.copy_of(folder, tmp_path / "run")
    with wf.edited(copy / "config/config.yaml") as data:
        data["statistics"]["permutations"] = 300
    jobs = wf.rules_to_run(copy, "senses")
    assert jobs["senses_tables"] == 3 and "hidden_states" not in jobs
