"""Convergence and perturbation from the command line, on a tiny GPT-NeoX with checkpoints."""

import shutil
from pathlib import Path

import checkpoints
import polars as pl
import pytest
import torch
import transformers
import workflow as wf
from drawn_words import CONTEXTS, LIST
from transformers import AutoModel, AutoTokenizer

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STEPS = ["step0", "step2", "step8"]
TABLES = {
    "words": ("convergence", "convergence_by_group", "alignment"),
    "moved": ("perturbation_by_group",),
}
FIGURES = {
    "words": (
        *("convergence", "convergence_aggregate", "convergence_slope", "convergence_heatmap"),
        "alignment",
    ),
    "moved": ("perturbation", "perturbation_steps"),
}
FIGURE_RULES = {f"{name}_figure" for names in FIGURES.values() for name in names}


def configure(folder: Path, steps: list[str]) -> None:
    models = {"neox": {"source": "path:models/neox", "checkpoints": steps, "threads": 1}}
    experiments = {name: {"file": f"{name}.yaml"} for name in TABLES}
    data = {"models": models, "experiments": experiments, **wf.ALONE}
    data["statistics"] = {"bootstrap": 100, "few": 3}
    wf.write_yaml(folder / "config/config.yaml", data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Steps 0 and 2 have the same weights; step 4 is there, and nobody asks for it yet."""
    folder = wf.checkout(tmp_path_factory.mktemp("study") / "run")
    checkpoints.save(folder / "models/neox", ["step0", "step4", "step8"], "gpt_neox")
    shutil.copytree(folder / "models/neox/step0", folder / "models/neox/step2")
    own = {"list": "own.txt", "n_tokens": [1, 2, 3, 40], "per_group": 4}
    (folder / "own.txt").write_text("\n".join(LIST) + "\n", encoding="utf-8")
    wf.write_yaml(folder / "words.yaml", {"words": own})
    wf.write_yaml(folder / "moved.yaml", {"words": own, "contexts": list(CONTEXTS)})
    configure(folder, STEPS)
    done = wf.run(folder, "convergence", "perturbation")
    assert "the same weights" in done.stdout + done.stderr
    return folder


def read(folder: Path, experiment: str, name: str, checkpoint: str = "all") -> pl.DataFrame:
    return pl.read_parquet(
        folder / f"results/metrics/neox/{checkpoint}/{experiment}/{name}.parquet"
    )


def test_everything_is_made_once(folder):
    for experiment in TABLES:
        results = folder / f"results/metrics/neox/all/{experiment}"
        made = {f.name for f in results.iterdir()}
        suffixes = ("parquet", "csv")
        assert made == {f"{name}.{s}" for name in TABLES[experiment] for s in suffixes}
        figures = folder / f"results/figures/neox/all/{experiment}"
        made = {f.name for f in figures.iterdir()}
        suffixes = ("svg", "html", "png")
        assert made == {f"{name}.{s}" for name in FIGURES[experiment] for s in suffixes}
    assert wf.half_written(folder) == []
    assert wf.rules_to_run(folder, "convergence", "perturbation") == {}
    assert wf.rules_to_run(folder) == {}


def test_convergence_agrees_with_a_plain_loop(folder):
    """One word at a time through whole models of transformers."""
    transformers.logging.set_verbosity_error()
    states = {}
    words = pl.read_parquet(folder / "results/tokens/neox/words.parquet")
    for step in STEPS:
        model = AutoModel.from_pretrained(folder / "models/neox" / step).eval()
        cut = AutoTokenizer.from_pretrained(folder / "models/neox" / step)
        for word in words["word"]:
            ids = [cut.bos_token_id, *cut(f" {word}", add_special_tokens=False).input_ids]
            with torch.no_grad():
                out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
            places = [*out.hidden_states[:-1], None, out.last_hidden_state]
            states[step, word] = [h if h is None else h[0, -1] for h in places]
    table = read(folder, "words", "convergence")
    compared = 0
    for row in table.iter_rows(named=True):
        if row["site"] == "resid_mid" or (row["site"], row["layer"]) == ("resid", 3):
            continue  # transformers does not give them
        at = 4 if row["site"] == "final_norm" else row["layer"]
        here, there = (states[step, row["word"]][at] for step in (row["checkpoint"], "step8"))
        expected = torch.nn.functional.cosine_similarity(here, there, dim=0).item()
        assert row["cosine"] == pytest.approx(expected, abs=1e-5)
        compared += 1
    assert compared == len(words) * len(STEPS) * 4
    assert table.filter(pl.col("checkpoint") == "step8")["cosine"].unique().to_list() == [1.0]
    groups = read(folder, "words", "convergence_by_group")
    empty = groups.filter(pl.col("n_tokens") == 40)
    assert empty["n"].unique().to_list() == [0] and empty["few"].all()
    assert empty["mean"].null_count() == len(empty) > 0


def test_without_positions_nothing_moves_at_layer_0(folder):
    for step in STEPS:
        table = read(folder, "moved", "perturbation", step)
        assert set(table["variant"]) == {"P1", "P2"}
        start = table.filter(pl.col("site") == "resid", pl.col("layer") == 0)
        assert start["cosine"].to_list() == pytest.approx([1.0] * len(start), abs=1e-6)
        later = table.filter(pl.col("site") == "resid", pl.col("layer") == 3)
        assert (later["cosine"] < 1 - 1e-3).all()
        assert table.filter(pl.col("variant") == "P2")["n_tokens"].min() == 2


def test_a_duplicate_is_reported_in_the_table_and_on_the_figures(folder):
    table = pl.read_csv(folder / "results/metrics/neox/all/checkpoints.csv")
    warned = table.filter(pl.col("warning").is_not_null())
    assert warned["checkpoint"].to_list() == ["step0", "step2"]
    for experiment, names in FIGURES.items():
        for name in names:
            figure = folder / f"results/figures/neox/all/{experiment}/{name}.svg"
            assert "Warning: " in figure.read_text(), name


def test_another_checkpoint_is_extracted_alone(folder, tmp_path):
    copy = wf.copy_of(folder, tmp_path / "run")
    configure(copy, ["step0", "step2", "step4", "step8"])
    jobs = wf.jobs_to_run(copy)
    new = {job for job in jobs if "step4" in job.wildcards}
    assert new == {
        wf.Job("model", "neox/step4"),
        wf.Job("hidden_states", "neox/step4/words"),
        wf.Job("hidden_states", "neox/step4/moved"),
        wf.Job("perturbation_table", "neox/step4/moved"),
    }
    assert {job.rule for job in jobs - new} == {
        *("checkpoints", "convergence_tables", "alignment_table", "perturbation_by_group"),
        *FIGURE_RULES,
    }
    configure(copy, ["step0", "step8"])
    assert {job.rule for job in wf.jobs_to_run(copy)} == {
        *("checkpoints", "convergence_tables", "alignment_table", "perturbation_by_group"),
        *FIGURE_RULES,
    }
