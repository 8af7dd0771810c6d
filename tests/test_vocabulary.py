"""The vocabulary's view from the command line, on tiny models, against a plain loop."""

import csv

import analysed
import numpy as np
import polars as pl
import pytest
import torch
import workflow as wf
from analysed import folder as folder  # a fixture
from measures import ENGLISH
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer
from workflow import edited, read_yaml, write_yaml

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def ranks_of(folder, model, experiment):
    path = folder / f"results/metrics/{model}/main/{experiment}/ranks.parquet"
    return {
        (row["label"], row["site"], row["layer"], row["position"]): row
        for row in pl.read_parquet(path).iter_rows(named=True)
    }


def standing(state, rows, own, known):
    """Cosine and rank of the own row, by sorting; and the order of the entries."""
    with np.errstate(invalid="ignore"):
        cosine = rows @ state / np.linalg.norm(rows, axis=1) / np.linalg.norm(state)
    known = [i for i in known if not np.isnan(cosine[i])]
    order = sorted(known, key=lambda i: (-cosine[i], i))
    return cosine[own], order.index(own) if own in order else None, order


@torch.inference_mode()
def states_of(path, text):
    """Token ids, the stream before each block, after its attention, and as published."""
    model = AutoModel.from_pretrained(path, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    ids = tokenizer(text, return_tensors="pt", truncation=False, padding=False)["input_ids"]
    seen = model(ids, output_hidden_states=True, output_attentions=True)
    blocks = model.encoder.layer if hasattr(model, "encoder") else model.layers
    layers = []
    for x, weights, block in zip(seen.hidden_states, seen.attentions, blocks, strict=False):
        if hasattr(model, "encoder"):
            value, output = block.attention.self.value, block.attention.output.dense
            size = x.shape[2] // weights.shape[1]

            def mixed(values, weights=weights[0], size=size):
                parts = values.split(size, dim=-1)
                return torch.cat([w @ v for w, v in zip(weights, parts, strict=True)], dim=-1)

            mid = output(mixed(value(x[0]))) + x[0]
            published = mixed(x[0] @ value.weight) @ output.weight + x[0]
        else:
            cos_sin = model.rotary_emb(x, torch.arange(x.shape[1])[None])
            normed = block.input_layernorm(x)
            mask = torch.full((1, 1, x.shape[1], x.shape[1]), -torch.inf).triu(1)
            mid = x[0] + block.self_attn(normed, cos_sin, mask)[0][0]
            published = None
        layers.append([s if s is None else s.double().numpy() for s in (x[0], mid, published)])
    return ids[0].tolist(), layers, tokenizer


@pytest.mark.parametrize("model, experiment", [("roberta", "full"), ("llama", "plain")])
def test_ranks_are_those_of_a_plain_loop(folder, model, experiment):
    path = folder / "models" / model
    found = ranks_of(folder, model, experiment)
    tensors = load_file(path / "model.safetensors")
    (embedding,) = (
        tensor.double().numpy()
        for name, tensor in tensors.items()
        if name.endswith(("word_embeddings.weight", "embed_tokens.weight"))
    )
    positions = [t.numpy() for n, t in tensors.items() if n.endswith("position_embeddings.weight")]
    full = experiment == "full"
    checked = 0
    for label, text in analysed.TEXTS.items():
        ids, layers, tokenizer = states_of(path, text)
        known = sorted(set(tokenizer.get_vocab().values()))
        assert max(known) < len(embedding) - 1  # there are padded rows
        for layer, (x, mid, published) in enumerate(layers):
            for position, own in enumerate(ids):
                rows = embedding + (positions[0][position + 2] if full else 0)
                for site, state in (
                    (("resid", x), ("resid_mid", mid)) if full else (("resid_mid", mid),)
                ):
                    row = found[label, site, layer, position]
                    cosine, rank, order = standing(state[position], rows, own, known)
                    names = [
                        tokenizer.convert_ids_to_tokens(i) for i in order[: len(row["nearest"])]
                    ]
                    assert row["cosine"] == pytest.approx(cosine, abs=1e-5)
                    # Another float32 state may move near neighbours past one another.
                    assert abs(row["rank"] - rank) <= 1
                    assert len(set(names) & set(row["nearest"])) >= len(names) - 1
                    assert row["positional"] is full
                    checked += row["rank"] == rank
                if full:
                    row = found[label, "resid_mid", layer, position]
                    first = embedding + positions[0][2]
                    cosine, rank, _ = standing(published[position], first, own, known)
                    assert row["cosine_as_published"] == pytest.approx(cosine, abs=1e-5)
                    assert abs(row["rank_as_published"] - rank) <= 1
    assert checked > 0.95 * len(found) * 3 / (4 if full else 3)


def test_words_have_their_classes(folder):
    rows = ranks_of(folder, "roberta", "plain").values()
    classes = {row["word"]: row["word_class"] for row in rows}
    assert classes["bank"] == classes["leaders"] == "content"
    assert classes["The"] == classes["don't"] == "function"
    assert classes[","] == "punctuation" and classes["1845"] == "other" and classes[""] is None


def test_tables_are_there_with_twins_that_are_no_formulas(folder):
    for model, experiment in analysed.RANK_RUNS:
        for table in analysed.RANK_TABLES:
            path = folder / f"results/metrics/{model}/main/{experiment}/{table}"
            frame = pl.read_parquet(path.with_suffix(".parquet"))
            rows = list(csv.reader(path.with_suffix(".csv").open(encoding="utf-8")))
            assert rows[0] == frame.columns and len(rows) == len(frame) + 1 > 1
            assert not any(cell.startswith("=") for row in rows for cell in row)
    published = pl.read_parquet(folder / "results/metrics/roberta/main/full/ranks_by_class.parquet")
    assert published["as_published"].unique().sort().to_list() == [False, True]


def test_groups_of_words_are_compared_by_rank(folder):
    frame = pl.read_parquet(folder / "results/metrics/llama/main/plain/matched_groups.parquet")
    ranks = {"log_rank", "log_rank_standardised", "own_closest"}
    assert {"log_rank", "own_closest"} <= set(frame["measure"]) <= ranks
    plain = frame.filter(matched_on="nothing", measure="log_rank", layer=1)
    tokens = pl.read_parquet(folder / "results/tokens/llama/plain.parquet")
    one = tokens.filter(pl.col("first") > 0, word_part="whole")
    words = plain.filter(comparison="word_class").select("n", "n_other").row(0)
    assert words == tuple(
        sum(ENGLISH.of(word) == name for word in one["word"]) for name in ("function", "content")
    )
    assert (folder / analysed.GROUPS).is_file()


def test_words_are_cut_up(folder):
    at = folder / "results/metrics/llama/main/cut"
    frame = pl.read_parquet(at / "splits.parquet")
    tokens = pl.read_parquet(folder / "results/tokens/llama/cut.parquet")
    assert set(frame["label"]) == set(tokens["label"])
    assert set(frame["variant"]) == {"whole", "split", "other", "typo"}
    # By transformers, on the same token ids.
    model = AutoModel.from_pretrained(folder / "models/llama").eval()
    rows = {row["label"]: row for row in tokens.to_dicts()}
    for label in ("bank", "bank~split2"):
        row = rows[label]
        with torch.no_grad():
            out = model(torch.tensor([row["token_ids"]]), output_hidden_states=True).hidden_states
        rows[label]["state"] = out[1][0, row["last"]]
    wanted = torch.cosine_similarity(rows["bank"]["state"], rows["bank~split2"]["state"], dim=0)
    found = frame.filter(label="bank~split2", site="resid", layer=1)["cosine"].item()
    assert found == pytest.approx(wanted.item(), abs=1e-5)
    means = pl.read_parquet(at / "splits_by_layer.parquet").filter(site="resid", layer=1)
    assert means.filter(variant="split", measure="cosine")["n"].to_list() == [6, 6]
    assert (folder / "results/figures/llama/main/cut/splits.svg").is_file()


def test_tokens_of_a_running_text_are_decoded(folder):
    at = folder / "results/metrics/llama/main/running"
    frame = pl.read_parquet(at / "decodability.parquet")
    first = frame.filter(layer=0, target="own", control=False)
    # Layer 0 of a rotary model is the embedding itself, so that every map finds what it is of.
    assert first["top1"].to_list() == [1.0] * 5 and first["cosine"][0] == pytest.approx(1)
    assert len(frame) == 4 * 2 * 7 and frame["few"].all()
    tokens = pl.read_parquet(folder / "results/tokens/llama/running.parquet")
    assert len(tokens) >= 5000 and tokens["token_ids"].list.len().max() <= 40
    halves = pl.read_parquet(at / "decodability_half_lives.parquet")
    assert len(halves) == 5 * 2 and halves["depth"].unique().to_list() == [3]
    types = pl.read_parquet(at / "decodability_types.parquet")
    keys = ["site", "layer", "target", "map", "control"]
    means = types.group_by(keys, maintain_order=True).agg(pl.col("top1").mean())
    assert means["top1"].to_list() == pytest.approx(frame["top1"].to_list())
    for path in analysed.DECODED:
        assert (folder / path).stat().st_size > 500


def test_the_figure_shows_the_first_text(folder):
    at = folder / "results/figures/roberta/main/full"
    for figure in analysed.RANK_FIGURES:
        assert (at / f"{figure}.svg").stat().st_size > 1000
    assert "The bank approved" in (at / "rank_heatmap.svg").read_text()
    assert (folder / "results/composites/plain_ranks.svg").exists()


def test_only_what_an_option_changes_is_made_again(folder, tmp_path):
    copy = wf.copy_of(folder, tmp_path / "run")
    path = copy / "config/config.yaml"
    config = read_yaml(path)
    config["experiments"]["full"]["ranks"]["show"] = "lead"
    write_yaml(path, config)
    one_text = {f"{name}_figure": 1 for name in analysed.RANK_FIGURES[:3]}
    assert wf.rules_to_run(copy, *analysed.RANKS) == one_text
    config["experiments"]["full"]["ranks"] |= {"show": "bank", "nearest": 4}
    write_yaml(path, config)
    jobs = wf.rules_to_run(copy, *analysed.RANKS)
    drawn = {f"{name}_figure": 1 for name in analysed.RANK_FIGURES}
    assert jobs == {"ranks": 1, "ranks_by_class": 1} | drawn
    words = copy / "resources/words/function_words.yaml"
    words.write_text(words.read_text() + "# one more line\n")
    assert wf.rules_to_run(copy, "vocabulary")["ranks"] == 3


def test_what_an_architecture_cannot_do_is_refused_by_name(folder, tmp_path):
    copy = wf.copy_of(folder, tmp_path / "run")
    with edited(copy / "config/config.yaml") as config:
        config["experiments"]["plain"] |= {"ranks": {"positional": True}, "models": ["llama"]}
    table = "results/metrics/llama/main/plain/ranks.parquet"
    wf.one_message(wf.snakemake(copy, table), "ranks.positional", "'llama'")
    assert not wf.half_written(copy)
