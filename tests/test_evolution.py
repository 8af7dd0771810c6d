"""The stream as words against transformers' own modules and plain loops; what is predicted."""

from dataclasses import replace
from functools import cache

import config_files
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import tiny
import torch
from test_metrics import PROVENANCE
from tiny import CONFIGS, ENCODERS
from tiny_models import TEXTS, TinyModel, frame
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from tokentrails.documents.predictions import predictions_text
from tokentrails.errors import TokentrailsError
from tokentrails.metrics import evolution as module
from tokentrails.metrics.evolution import Lens, evolution
from tokentrails.network.load import load_language_model
from tokentrails.network.parts import Parts
from tokentrails.vocabulary.spaces import Spaces

KEYS = ["model", "checkpoint", "experiment", "label", "position"]
TOP = 6


class Case(TinyModel):
    """A tiny model, and the whole words of its vocabulary, which alone are listed."""

    def __init__(self, name, folder, files):
        super().__init__(name, folder, files)
        self.known = np.array([name is not None for name in self.names])
        self.listed = np.isin(np.arange(len(self.known)), self.spaces.entries)

    def lens(self, parts=None):
        spaces = Spaces(parts or self.parts, self.names)
        return Lens(self.language_model, self.architecture, spaces, "tiny (main)")

    def tables(self, lens=None, texts=None):
        found = evolution(
            texts or self.texts,
            lens or self.lens(),
            top=TOP,
            prefix=lambda ids: self.tokenizer.decode(ids, skip_special_tokens=False),
            provenance=PROVENANCE,
        )
        return [frame(table) for table in found]

    @torch.inference_mode()
    def states(self, text):
        """The stream as the blocks themselves take and give it."""
        blocks = self.model.get_submodule(self.architecture.blocks)
        with tiny.watched(dict(enumerate(blocks))) as seen:
            self.model(torch.tensor([text.token_ids]))
        return torch.stack([*(into for into, _ in seen.values()), seen[len(blocks) - 1][1]])

    @torch.inference_mode()
    def logits(self, x):
        """Through the modules of transformers' own model."""
        model, kind = self.language_model, self.architecture.model_type
        if kind == "bert":
            return model.cls(x)
        if kind == "roberta":
            return model.lm_head(x)
        if kind == "distilbert":
            x = model.vocab_layer_norm(model.activation(model.vocab_transform(x)))
            return model.vocab_projector(x)
        x = model.base_model.get_submodule(self.architecture.final_norm)(x)
        logits = model.get_output_embeddings()(x)
        cap = getattr(model.config, "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)


@pytest.fixture(scope="module")
def case(prepared, files):
    return cache(lambda name: Case(name, prepared[name], files(name)))


def best(scores, allowed):
    """The entries of the largest scores, one at a time."""
    left = [i for i in range(len(scores)) if allowed[i]]
    found = []
    for _ in range(TOP):
        found.append(max(left, key=lambda i: scores[i]))
        left.remove(found[-1])
    return found


def assert_lists(rows, made, scores, allowed):
    """Rows of a table hold the best entries and their scores, row by row."""
    assert len(rows) == len(scores)
    for (words, values), of_row in zip(rows.select("top", "score").rows(), scores, strict=True):
        found = best(of_row, allowed)
        assert words == [made.names[i] for i in found]
        np.testing.assert_allclose(values, [of_row[i] for i in found], atol=2e-6, rtol=2e-5)


def probabilities(made, logits):
    logits = logits.double()
    logits[:, ~torch.from_numpy(made.known)] = -torch.inf
    return logits.softmax(dim=1).numpy()


@pytest.mark.parametrize("name", CONFIGS)
def test_the_stream_as_words(case, name):
    made = case(name)
    table = made.tables()[0].rename({"top_score": "score"})
    rows_of_E = made.parts.embedding.double().numpy()
    for text in made.texts:
        for layer, states in enumerate(made.states(text)):
            own = table.filter(~pl.col("predicted"), label=text.label, layer=layer)
            lens = probabilities(made, made.logits(states))
            through = own.filter(space="unembedding")
            assert_lists(through, made, lens, made.listed)
            best = [made.names[row.argmax()] for row in lens]  # listed or not
            assert through["most_probable"].to_list() == best
            np.testing.assert_allclose(through["probability"], lens.max(axis=1), rtol=2e-5)
            x = states.double().numpy()
            norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(rows_of_E, axis=1)
            with np.errstate(invalid="ignore"):
                cosines = x @ rows_of_E.T / norms
            assert_lists(own.filter(space="embedding"), made, cosines, made.listed)
            assert own.filter(space="embedding")["most_probable"].null_count() == len(x)
            assert own.filter(space="embedding")["probability"].null_count() == len(x)


@pytest.mark.parametrize("name", CONFIGS)
def test_predictions_are_those_of_transformers_own_model(case, prepared, name):
    made = case(name)
    auto = AutoModelForMaskedLM if name in ENCODERS else AutoModelForCausalLM
    theirs = auto.from_pretrained(prepared[name]).eval()
    evolved, predicted = made.tables()
    last = evolved.filter("predicted")
    assert last.select("label", "position", "token", "top").equals(
        predicted.select("label", "position", "token", "top")
    )
    assert last["top_score"].equals(predicted["top_probability"].alias("top_score"))
    assert last["most_probable"].to_list() == predicted["predicted"].to_list()
    assert set(last["space"]) == {"unembedding"} and set(last["layer"]) == {3}
    unlisted = 0
    for text in made.texts:
        with torch.inference_mode():
            logits = theirs(torch.tensor([text.token_ids])).logits[0]
        rows = predicted.filter(label=text.label).rename({"top_probability": "score"})
        assert_lists(rows, made, probabilities(made, logits), made.known)
        assert rows["predicted"].to_list() == rows["top"].list.first().to_list()
        assert rows["probability"].equals(rows["score"].list.first().alias("probability"))
        unlisted += sum(not made.listed[made.names.index(word)] for word in rows["predicted"])
    assert unlisted > 0


def test_a_row_for_each_list_in_the_order_of_the_keys(case):
    made = case("opt")
    evolved, predicted = made.tables()
    assert evolved.columns == [
        *KEYS, "token", "layer", "space", "top", "top_score", "predicted", "most_probable",
        "probability",
    ]  # fmt: skip
    assert predicted.columns == [
        *KEYS, "prefix", "token", "predicted", "probability", "top", "top_probability"
    ]  # fmt: skip
    lists = [(i, space, False) for i in range(4) for space in ("embedding", "unembedding")]
    lists.append((3, "unembedding", True))
    tokens = [(x.label, p, token) for x in made.texts for p, token in enumerate(x.tokens)]
    own = ["label", "position", "token"]
    assert predicted.select(own).rows() == tokens
    wanted = [(*token, *one) for token in tokens for one in lists]
    assert evolved.select(*own, "layer", "space", "predicted").rows() == wanted
    for table, other in zip(made.tables(texts=made.texts[::-1]), (evolved, predicted), strict=True):
        assert table.equals(other)
    prefixes = predicted.filter(label="t0")["prefix"].to_list()
    assert prefixes[0] == "</s>" and prefixes[-1] == f"</s>{TEXTS[0]}"


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_blocks_change_nothing(case, monkeypatch, name):
    made = case(name)
    at_once = made.tables()
    monkeypatch.setattr(module, "LOGITS_BYTES", 5 * 4 * len(made.names))
    for table, other in zip(made.tables(), at_once, strict=True):
        scores = "top_score" if "top_score" in table.columns else "top_probability"
        keys = [c for c in table.columns if c not in (scores, "probability")]
        assert table.select(keys).equals(other.select(keys))
        np.testing.assert_allclose(table[scores].explode(), other[scores].explode(), atol=1e-6)


def test_padded_rows_are_never_predicted(case):
    made = case("llama")
    padded = torch.from_numpy(~made.known)
    assert padded.sum() == 6
    own = made.language_model.get_output_embeddings().weight
    before = made.tables()
    with torch.no_grad():
        kept = own[padded].clone()
        own[padded] = 50 * own.mean(0)
    try:
        for table, other in zip(made.tables(), before, strict=True):
            assert table.equals(other)
    finally:
        with torch.no_grad():
            own[padded] = kept


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["unembedding", "final_norm", "unembedding_bias"])
def test_parts_that_do_not_rebuild_the_model_are_refused(case, part):
    made = case("gpt2")
    wrong = {
        "unembedding": made.parts.embedding.roll(1, dims=1),
        "final_norm": None,
        "unembedding_bias": torch.full((len(made.names),), 0.1),
    }
    lens = made.lens(parts=replace(made.parts, **{part: wrong[part]}))
    message = r"tiny \(main\): the parts do not rebuild the model: .* \(label 't0'\)"
    with pytest.raises(TokentrailsError, match=message):
        made.tables(lens)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name in ENCODERS])
def test_an_encoder_without_a_masked_token_head_is_refused(saved, tmp_path, name):
    AutoModel.from_pretrained(saved[name]).save_pretrained(tmp_path)
    refused(tmp_path, "tiny (main) has no masked-token head: its weights lack '", " more")


def test_a_decoder_without_an_unembedding_is_refused(saved, tmp_path):
    AutoModel.from_pretrained(saved["llama"]).save_pretrained(tmp_path)
    refused(tmp_path, "tiny (main) has no unembedding: its weights lack 'lm_head.weight'")


def test_a_decoder_whose_unembedding_is_its_embedding_needs_no_other(saved, tmp_path):
    AutoModel.from_pretrained(saved["gpt2"]).save_pretrained(tmp_path)
    model, _ = load_language_model(tmp_path, torch.device("cpu"), name="tiny")
    parts = Parts.from_model(model.base_model, tmp_path)
    assert torch.equal(parts.unembedding, model.lm_head.weight)


def test_a_model_that_lacks_more_than_the_head_is_refused_as_broken(saved, tmp_path):
    AutoModel.from_pretrained(saved["llama"]).save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    text = config.read_text()
    config.write_text(text.replace('"num_hidden_layers": 3', '"num_hidden_layers": 4'))
    refused(tmp_path, "tensors are missing or of another shape", "do not fit config.json")


def refused(folder, *parts):
    with config_files.refused(folder / "model.safetensors", *parts):
        load_language_model(folder, torch.device("cpu"), name="tiny (main)")


def test_states_that_are_not_finite_are_refused(prepared, files):
    made = Case("opt", prepared["opt"], files("opt"))
    block = made.model.get_submodule(made.architecture.blocks)[1]
    block.register_forward_hook(lambda module, args, output: torch.full_like(output, torch.nan))
    with pytest.raises(TokentrailsError, match="not finite at site resid, layer 2, label 't0'"):
        made.tables()


# --- as plain text ----------------------------------------------------------------------------

SHOWN = """\
storm
                                            prefix  predicted  probability  then
                                               <s>  The              0.500  [space]  0.250  東  0.125
                                          <s>The\\n  -ing             0.500  sea      0.250
…the end of it is shown, whatever was before: 東京  sea              1.000

wind
prefix  predicted  probability  then
     a  a                0.300  b     0.200  c  0.100  d  0.090  e  0.080
"""  # noqa: E501


def test_predictions_as_plain_text():
    long = "It begins far away and only the end of it is shown, whatever was before: 東京"
    rows = [
        ("storm", "<s>", ["ĠThe", "Ġ", "æĿ±"], [0.5, 0.25, 0.125]),
        ("storm", "<s>The\n", ["##ing", "▁sea"], [0.5, 0.25]),
        ("storm", long, ["Ġsea"], [1.0]),
        ("wind", "a", ["a", "b", "c", "d", "e", "f"], [0.3, 0.2, 0.1, 0.09, 0.08, 0.07]),
    ]
    names = ("label", "prefix", "top", "top_probability")
    text = predictions_text(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))))
    assert text == SHOWN
