"""Heads, neurons, evolution and attribution from the command line, on a tiny model."""

import json
import zipfile

import analysed
import polars as pl
import pytest
import torch
import workflow as wf
from analysed import folder as folder  # a fixture
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer
from workflow import edited

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TABLES = ("attention", "heads", "head_summary", "activations", "first_position_neurons")
TABLES += ("evolution", "predictions", "attribution", "attribution_cosine", "attribution_sum")
TABLES += ("attribution_by_layer", "attribution_causal")
TABLES += ("geometry", "own_token", "own_token_by_layer")
FIGURES = ("attention", "head_summary", "evolution", "attribution", "attribution_by_layer")
FIGURES += analysed.SHAPES


def table(folder, name, experiment="inside"):
    return pl.read_parquet(folder / f"results/metrics/llama/main/{experiment}/{name}.parquet")


@torch.inference_mode()
def model_run(folder):
    path = folder / "models/llama"
    model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    ids = tokenizer(analysed.INSIDE, return_tensors="pt", truncation=False, padding=False)[
        "input_ids"
    ]
    return model(ids, output_attentions=True), ids[0].tolist(), tokenizer


def test_every_table_has_its_twin(folder):
    for name in TABLES:
        frame = table(folder, name)
        text = (folder / f"results/metrics/llama/main/inside/{name}.csv").read_text()
        assert text.splitlines()[0] == ",".join(frame.columns)
        assert "\n=" not in text and ",=" not in text
    neurons = table(folder, "neurons", "weights")
    assert neurons["layer"].n_unique() == 3 and neurons["neuron"].n_unique() == 64
    assert set(neurons["role"]) == {"in", "gate", "out"}


def test_attention_is_the_models_own(folder):
    seen, ids, _ = model_run(folder)
    rows = table(folder, "attention")
    assert len(rows) == 3 * 4 * len(ids) * (len(ids) + 1) // 2
    for row in rows.iter_rows(named=True):
        own = seen.attentions[row["layer"]][0, row["head"], row["query"], row["key"]]
        assert row["weight"] == pytest.approx(own.item(), abs=1e-5)


def test_predictions_are_the_models_own(folder):
    seen, ids, tokenizer = model_run(folder)
    known = sorted(set(tokenizer.get_vocab().values()))
    probabilities = seen.logits[0][:, known].softmax(-1)
    rows = table(folder, "predictions").sort("position")
    assert len(rows) == len(ids)
    for row, of_position in zip(rows.iter_rows(named=True), probabilities, strict=True):
        best = tokenizer.convert_ids_to_tokens(known[of_position.argmax()])
        assert row["predicted"] == best
        assert row["probability"] == pytest.approx(of_position.max().item(), abs=1e-5)
    last = table(folder, "evolution").filter("predicted").sort("position")
    assert last["top"].list.first().to_list() == rows["predicted"].to_list()
    lines = (folder / "results/metrics/llama/main/inside/predictions.txt").read_text()
    assert len(lines.splitlines()) >= len(ids) + 2


def test_the_next_token_at_the_last_layer_is_as_probable_as_the_model_finds_it(folder):
    seen, ids, tokenizer = model_run(folder)
    known = sorted(set(tokenizer.get_vocab().values()))
    own = seen.logits[0][:, known].log_softmax(-1)
    rows = table(folder, "own_token").filter(space="unembedding", layer=3).sort("position")
    wanted = [own[i, known.index(token)].item() for i, token in enumerate(ids[1:])]
    assert rows["next_logprob"].to_list()[:-1] == pytest.approx(wanted, abs=1e-4)
    assert rows["kl"].to_list() == [0] * len(ids)
    every = table(folder, "own_token")
    plain, same = (every.filter(space=space).drop("space") for space in ("unembedding", "same"))
    assert same.equals(plain)  # a lens that changes nothing


def test_a_fitted_lens_is_a_space_of_the_same_run(folder):
    rows = table(folder, "own_token").filter(space="fitted")
    fits = table(folder, "lens", "weights")
    assert fits["layer"].to_list() == [0, 1, 2] and (fits["kl_fitted"] < fits["kl_plain"]).all()
    assert rows.filter(layer=3)["kl"].to_list() == [0] * len(rows.filter(layer=3))
    with safe_open(folder / "results/metrics/llama/main/weights/lens.safetensors", "pt") as file:
        said = json.loads(file.metadata()["lens"])
    assert said["model"] == "llama" and said["texts"] == "running.yaml" and said["seed"] == "0"
    assert said["kl_fitted"] == fits["kl_fitted"].to_list() and said["num_hidden_layers"] == 3


def test_what_moves_a_token_sums_up(folder):
    sums = table(folder, "attribution_sum")
    parts = (
        table(folder, "attribution").group_by("position", "layer").agg(pl.col("contribution").sum())
    )
    both = sums.join(parts, on=["position", "layer"])
    assert len(both) == len(sums)
    change = both["after"] - both["before"]
    assert (change - both["contribution"]).abs().max() < 1e-4
    assert both["error"].abs().max() < 1e-4


def test_documents_and_figures_are_there(folder):
    made = folder / "results/tables/llama/main/inside"
    with zipfile.ZipFile(made / "boat.xlsx") as workbook:
        sheets = workbook.read("xl/workbook.xml").decode()
        cells = b"".join(workbook.read(n) for n in workbook.namelist() if "/sheet" in n)
    for name in ("Patterns", "Messages", "All together", "FFN", "Token evolution"):
        assert f'name="{name}"' in sheets
    assert b"<f>" not in cells
    page = (made / "boat.html").read_text()
    assert "<b>leaders</b>" not in page and "https://" not in page
    for figure in FIGURES:
        path = folder / f"results/figures/llama/main/inside/{figure}.svg"
        assert path.stat().st_size > 1000


def test_the_page_of_a_text_that_is_too_long_says_that_it_is_left_out(folder):
    skipped = pl.read_csv(folder / "results/tokens/llama/inside.skipped.csv")
    assert skipped.filter(label="long")["reason"].str.ends_with("the model takes 64").to_list()
    page = (folder / "results/tables/llama/main/inside/long.html").read_text()
    assert "left out, for the reason in results/tokens/llama/inside.skipped.csv" in page
    assert "long" not in table(folder, "evolution")["label"]


def test_only_what_is_stale_is_made_again(folder, tmp_path):
    copy = wf.copy_of(folder, tmp_path / "run")
    with edited(copy / "config/config.yaml") as config:
        config["experiments"]["inside"]["circuits"]["strongest"] = 4
    (copy / "config.json").write_text("{}")  # beside the lens
    assert wf.rules_to_run(copy, *analysed.BLOCKS, "own_token") == {
        **{"activations": 1, "document": 2},
        **{"own_token_table": 1, "own_token_by_layer": 1, "own_token_figure": 1},
    }


def test_a_layer_that_is_not_there_is_refused_by_name(folder, tmp_path):
    copy = wf.copy_of(folder, tmp_path / "run")
    with edited(copy / "config/config.yaml") as config:
        config["experiments"]["inside"]["circuits"]["layers"] = [1, 7]
    path = "results/metrics/llama/main/inside/heads.parquet"
    wf.one_message(wf.snakemake(copy, path), "layer", "7", "llama")
    assert not wf.half_written(copy)
