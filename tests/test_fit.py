"""Configurations and tensors that are not of one model are refused before a model is built."""

import json
import re
import shutil
from functools import cache

import config_files
import numpy as np
import pytest
import tiny
import torch
from conftest import local_source
from safetensors.torch import load_file
from test_streams import random_texts, states_of
from transformers import AutoModel, AutoModelForSequenceClassification

from tokentrails.errors import TokentrailsError
from tokentrails.files.states import places
from tokentrails.models.fit import TYPES, complete, refuse_misfit
from tokentrails.models.prepare import prepare
from tokentrails.network.architectures import ARCHITECTURES, architecture_of
from tokentrails.network.checkpoint import Checkpoint
from tokentrails.network.heads import Heads
from tokentrails.network.load import load_language_model, load_model
from tokentrails.network.weights import Entry

CPU = torch.device("cpu")


@pytest.fixture
def described(prepared):
    """A function from a kind of model to its configuration and what its header says."""

    def describe(kind):
        checkpoint = Checkpoint(prepared[kind])
        return checkpoint.config, dict(checkpoint.weights.entries)

    return describe


def entry(*shape, dtype="F32"):
    return Entry(dtype, shape, 0, 0)


def check(config, entries, tensors=()):
    """With tensors of which there are values too."""
    tensors = dict(tensors)
    types = {v: k for k, v in TYPES.items()} | {torch.bool: "BOOL", torch.int64: "I64"}
    read = {name: entry(*t.shape, dtype=types[t.dtype]) for name, t in tensors.items()}
    refuse_misfit(
        complete(config, where="models.m"),
        entries | read,
        tensors.__getitem__,
        where="models.m",
    )


def refused(config, entries, *parts, tensors=()):
    with config_files.refused(*parts):
        check(config, entries, tensors)


def names(kind, entries):
    """The prefix of a file's base model, and the names of tensors of its second block."""
    (prefix,) = {
        m[1]
        for m in (re.match(rf"(.*?){ARCHITECTURES[kind].blocks}\.1\.", n) for n in entries)
        if m
    }
    second = [n for n in entries if n.startswith(f"{prefix}{ARCHITECTURES[kind].blocks}.1.")]
    return prefix, second


@pytest.mark.parametrize("kind", tiny.CONFIGS)
def test_models_of_every_architecture_fit_and_changed_ones_do_not(described, kind):
    config, entries = described(kind)
    architecture = ARCHITECTURES[kind]
    check(config, entries)
    prefix, (tensor, *_) = names(kind, entries)
    fewer, more = (config | {architecture.depth_key: depth} for depth in (2, 4))
    refused(fewer, entries, f"{architecture.depth_key} is 2, the weights have 3 blocks")
    refused(more, entries, "is 4, the weights have 3 blocks")
    refused(
        config, {n: e for n, e in entries.items() if n != tensor}, "1 tensors are missing", tensor
    )
    wide = (
        config
        | {architecture.width_key: 64}
        | ({"word_embed_proj_dim": 64} if kind == "opt" else {})
    )
    refused(wide, entries, "tensors have other shapes, among them")
    for extra in (f"{prefix}{architecture.blocks}.1.unknown.bias", f"{prefix}unknown.weight"):
        refused(config, entries | {extra: entry(32)}, "1 of its tensors have no place", extra)
    bare = f"{architecture.blocks}.1.unknown.bias"
    refused(config, entries | {bare: entry(32)}, "1 of its tensors have no place", bare)
    # The base model alone, as embedding models are saved, and with heads of other tasks.
    base = {n.removeprefix(prefix): e for n, e in entries.items() if n.startswith(prefix)}
    if kind != "opt":  # whose base model has a module before its blocks
        check(config, base)
        refused(config, base | {"unknown.weight": entry(32)}, "no place", "unknown.weight")
    check(config, entries | {"classifier.weight": entry(2, 32), "v_head.summary.bias": entry(1)})


MASK = torch.ones(64, 64, dtype=torch.bool).tril()[None, None]
FREQUENCIES = 10000 ** -(torch.arange(0, 8, 2) / 8)


@pytest.mark.parametrize(
    ("kind", "name", "tensor", "other"),
    [
        ("gpt2", "transformer.h.0.attn.bias", MASK.float(), MASK.float().mT),
        ("gpt_neox", "gpt_neox.layers.0.attention.bias", MASK, MASK[..., 1:]),
        (
            "gpt_neox",
            "gpt_neox.layers.0.attention.masked_bias",
            torch.tensor(-1e4).half(),
            torch.tensor(0.0),
        ),
        ("gpt_neox", "gpt_neox.layers.0.attention.rotary_emb.inv_freq", torch.ones(1), None),
        (
            "llama",
            "model.layers.0.self_attn.rotary_emb.inv_freq",
            FREQUENCIES,
            500000 ** -(torch.arange(0, 8, 2) / 8),
        ),
        (
            "llama",
            "layers.0.self_attn.rotary_emb.inv_freq",
            FREQUENCIES.bfloat16(),
            FREQUENCIES[1:],
        ),
        ("opt", "model.decoder.version", torch.ones(1), torch.ones(2)),
        (
            "bert",
            "bert.embeddings.position_ids",
            torch.arange(64)[None],
            torch.arange(1, 65)[None],
        ),
    ],
)
def test_what_older_versions_saved_and_transformers_computes_may_be_there_with_its_values(
    described, kind, name, tensor, other
):
    config, entries = described(kind)
    check(config, entries, {name: tensor})
    if other is not None:
        refused(config, entries, "computes other values", name, tensors={name: other})
    config, entries = described("qwen3")
    refused(config, entries, "no place", tensors={f"model.{name}": tensor.float()})


@pytest.mark.parametrize("name", ["bert.pooler.dense.weight", "cls.seq_relationship.weight"])
def test_other_heads_are_let_be(described, name):
    config, entries = described("bert")
    check(config, entries | {name: entry(1)})


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight",
        "module.transformer.h.0.attn.c_attn.weight",
        "module.transformer.wte.weight",
        "h.0.mlp.rotary_emb.inv_freq",
    ],
)
def test_tensors_of_the_model_under_another_prefix_are_refused(described, name):
    config, entries = described("gpt2")
    refused(config, entries | {name: entry(32)}, "1 of its tensors have no place", name)


@pytest.mark.parametrize(
    ("kind", "name", "again"),
    [
        ("llama", "model.norm.weight", "norm.weight"),
        ("bert", "bert.embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.gamma"),
    ],
)
def test_a_tensor_that_is_there_by_two_names_is_refused(described, kind, name, again):
    config, entries = described(kind)
    refused(config, entries | {again: entries[name]}, f"'{name}' and '{again}' are the same tensor")


def test_the_first_names_of_norms_are_known(described):
    config, entries = described("bert")
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}

    def older(name):
        for new in old:
            name = name.replace(new, old[new])
        return name

    check(config, {older(name): e for name, e in entries.items()})


def test_a_head_may_be_missing(described):
    config, entries = described("gpt_neox")
    check(config, {n: e for n, e in entries.items() if not n.startswith("embed_out")})


def test_biases_without_their_flag_are_refused(described):
    config, entries = described("llama")
    biases = {f"model.layers.{i}.self_attn.q_proj.bias": entry(32) for i in range(3)}
    refused(config, entries | biases, "3 of its tensors have no place", "q_proj.bias")
    every = {
        f"model.layers.{i}.self_attn.{p}_proj.bias": entry(16 if p in "kv" else 32)
        for i in range(3)
        for p in "qkvo"
    }
    check(config | {"attention_bias": True}, entries | every)


@pytest.mark.parametrize(
    ("kind", "changes", "part"),
    [
        ("llama", {"num_hidden_layers": 0}, "num_hidden_layers is 0, not a number from 1 on"),
        ("llama", {"num_hidden_layers": -1}, "num_hidden_layers is -1"),
        ("llama", {"num_hidden_layers": "3"}, "num_hidden_layers is '3'"),
        ("llama", {"num_hidden_layers": 1000}, "the weights have 3 blocks"),
        ("llama", {"hidden_size": None}, "hidden_size is None"),
        ("llama", {"hidden_size": 10**7}, "tensors have other shapes"),
        ("llama", {"intermediate_size": 10**30}, "more than 16,777,216 dimensions"),
        ("llama", {"intermediate_size": -1}, "cannot build the model"),
        ("llama", {"vocab_size": 10**7}, "tensors have other shapes"),
        ("llama", {"head_dim": 10**7, "rope_theta": 1}, "tensors have other shapes"),
        ("llama", {"hidden_act": "nope"}, "cannot build the model"),
        ("llama", {"rms_norm_eps": "small"}, "refuses its config.json"),
        ("llama", {"num_labels": 10**12}, "num_labels is 1,000,000,000,000"),
        ("llama", {"num_key_value_heads": 3}, "tensors have other shapes"),
        ("gpt2", {"n_head": 7}, "must be divisible by num_heads"),
        ("bert", {"max_position_embeddings": 10**12}, "the weights have 64 positions"),
        (
            "distilbert",
            {"max_position_embeddings": 10**12, "sinusoidal_pos_embds": True},
            "the weights have 64 positions",
        ),
        ("bert", {"position_embedding_type": "relative_key"}, "type is 'relative_key'"),
        ("roberta", {"pad_token_id": None}, "pad_token_id is None"),
        ("gemma2", {"query_pre_attn_scalar": -8}, "query_pre_attn_scalar is -8"),
        ("llama", {"num_key_value_heads": 0}, "num_key_value_heads is 0, not a number from 1 on"),
        ("llama", {"head_dim": 0}, "head_dim is 0"),
        ("llama", {"vocab_size": -1}, "vocab_size is -1"),
        ("llama", {"auto_map": {"AutoModel": "m.LlamaEncoderModel"}}, "auto_map names a model"),
        ("llama", {"architectures": ["LlamaEncoderModel"]}, "'LlamaEncoderModel', which is no"),
        ("llama", {"architectures": 5}, "architectures names 5, which is no class"),
        ("qwen2", {"is_causal": None}, "is_causal is None"),
        ("bert", {"is_causal": True}, "is_causal is True"),
        ("falcon", {"alibi": True}, "alibi is True"),
        (
            "falcon",
            {"new_decoder_architecture": True, "parallel_attn": False},
            "parallel_attn is False",
        ),
        ("mpt", {"attn_config": {"prefix_lm": True}}, "prefix_lm is True"),
        ("mpt", {"attn_config": {"alibi": False}}, "alibi is False"),
        ("mpt", {"attn_config": {"attn_type": "multiquery_attention"}}, "attn_type is 'multiq"),
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("opt", {"do_layer_norm_before": False}, "do_layer_norm_before is False"),
        ("opt", {"word_embed_proj_dim": 16}, "word_embed_proj_dim differs from hidden_size"),
        ("electra", {"embedding_size": 16}, "embedding_size differs from hidden_size"),
        ("stablelm", {"qk_layernorm": True}, "qk_layernorm is True"),
        ("olmo", {"clip_qkv": 8}, "clip_qkv is 8"),
        ("bloom", {"apply_residual_connection_post_layernorm": True}, "post_layernorm is True"),
        ("mpt", {"attn_config": {"clip_qkv": 8}}, "attn_config.clip_qkv is 8"),
        ("llama", {"quantization_config": {"load_in_4bit": True}}, "weights are quantised"),
    ],
)
def test_senseless_sizes_and_unknown_variants_are_refused_at_once(described, kind, changes, part):
    config, entries = described(kind)
    refused(config | changes, entries, part)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("falcon", "modeling_falcon.FalconForCausalLM"),
        ("mpt", "modeling_mpt.MPTForCausalLM"),
        ("phi3", "microsoft/Phi-3--modeling_phi3.Phi3ForCausalLM"),
        ("gpt_neox", "m.GPTNeoXForCausalLM"),
    ],
)
def test_code_that_was_published_before_transformers_had_the_type_is_passed_over(
    described, kind, name
):
    config, entries = described(kind)
    code = {"AutoModelForCausalLM": name, "AutoConfig": "m.Config", "AutoTokenizer": [None, "t"]}
    check(config | {"auto_map": code}, entries)
    other = code | {"AutoModel": "m.BidirectionalModel"}
    refused(config | {"auto_map": other}, entries, "'BidirectionalModel', whose code is not run")


@pytest.mark.parametrize("parallel", [True, False])
def test_a_falcon_that_does_not_name_its_blocks_has_the_older_ones(described, parallel):
    config, _ = described("falcon")
    older = {k: v for k, v in config.items() if k != "new_decoder_architecture"}
    found = architecture_of(older | {"parallel_attn": parallel}, where="models.m")
    assert (found.parallel_attention is not None) is parallel


def test_quantised_tensors_are_refused_though_nothing_says_that_they_are(described):
    config, entries = described("llama")
    name = "model.layers.0.mlp.up_proj.weight"
    refused(config, entries | {name: entry(64, 32, dtype="F8_E4M3")}, name, "F8_E4M3", "quantised")


@pytest.mark.parametrize("config", [[], None, 3, {}, {"model_type": ["gpt2"]}, {"model_type": 1}])
def test_a_configuration_of_another_form_is_refused(config):
    with pytest.raises(TokentrailsError, match=r"models\.m: .*(not an object|is not supported)"):
        complete(config, where="models.m")


def edited(folder, target, remove=(), **changes):
    """A copy of a model's folder with another config.json."""
    shutil.copytree(folder, target)
    path = target / "config.json"
    config = {k: v for k, v in json.loads(path.read_text()).items() if k not in remove} | changes
    path.write_text(json.dumps(config))
    return target


def test_sizes_that_are_left_to_the_class_are_its_defaults(tmp_path):
    """Twelve heads are GPT-2's; another name of a size is transformers' own."""
    saved = tiny.save("gpt2", tmp_path / "saved", n_embd=48, n_head=12)
    missing = ("n_head", "n_layer", "num_hidden_layers", "num_attention_heads")
    source = edited(saved, tmp_path / "short", missing, num_hidden_layers=3)
    prepare(local_source("m", source), "main", tmp_path / "made")
    checkpoint = Checkpoint(tmp_path / "made")
    config, architecture = checkpoint.config, checkpoint.architecture
    assert (architecture.heads(config), architecture.depth(config)) == (12, 3)
    ids = torch.arange(5, 12)[None]
    own = AutoModel.from_pretrained(saved, dtype=torch.float32).eval()(ids).last_hidden_state
    model, _ = load_model(tmp_path / "made", CPU)
    torch.testing.assert_close(model(ids).last_hidden_state, own)


def test_a_classifier_is_a_model_too(tmp_path, saved):
    model = AutoModelForSequenceClassification.from_pretrained(saved["bert"])
    folder = shutil.copytree(saved["bert"], tmp_path / "classifier")
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)
    prepare(local_source("m", folder), "main", tmp_path / "made")
    assert any(n.startswith("classifier.") for n in load_file(folder / "model.safetensors"))


DECODERS = [kind for kind in tiny.CONFIGS if kind not in tiny.ENCODERS]


@pytest.fixture(scope="module")
def whole(saved, tmp_path_factory):
    """A function from a kind of decoder to the folder of one whose attention is not causal."""
    folder = tmp_path_factory.mktemp("whole")

    @cache
    def make(kind):
        source = edited(saved[kind], folder / f"{kind}, saved", is_causal=False)
        prepare(local_source("m", source), "main", folder / kind)
        return folder / kind

    return make


@pytest.mark.parametrize("kind", DECODERS)
def test_decoders_with_full_attention_see_whole_texts_and_no_padding(whole, kind):
    model, architecture = load_model(whole(kind), CPU)
    texts = random_texts([20, 12, 20, 5])
    got = states_of(model, architecture, texts, [(text, 3, 3) for text in range(4)])
    last = got[places(architecture.sites, 3).index(("final_norm", 3))]
    own = AutoModel.from_pretrained(
        whole(kind), attn_implementation="eager", dtype=torch.float32
    ).eval()
    with torch.inference_mode():
        alone = [own(torch.tensor([text])).last_hidden_state[0, 3] for text in texts]
        cut = own(torch.tensor([texts[0][:4]])).last_hidden_state[0, 3]
    np.testing.assert_allclose(last, np.stack(alone), rtol=1e-4, atol=1e-5)
    assert np.abs(last[0] - cut.numpy()).max() > 0.01


def test_a_window_in_the_configuration_of_a_model_without_windows_is_none(prepared, tmp_path):
    model, architecture = load_model(
        edited(prepared["llama"], tmp_path / "made", sliding_window=4), CPU
    )
    seen = Heads.from_block(model.layers[0], model, architecture).visible(9)
    assert torch.equal(seen, torch.ones(9, 9, dtype=torch.bool).tril())


@pytest.mark.parametrize("kind", ["gpt2", "mistral", "gemma2"])
def test_their_heads_attend_to_what_those_of_the_model_do(whole, kind):
    """To both sides; where there is a window, no farther than that."""
    model, architecture = load_language_model(whole(kind), CPU, name="m")
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        given = model(torch.tensor(random_texts([20])), output_attentions=True).attentions
    seen = []
    for block, weights in zip(
        model.base_model.get_submodule(architecture.blocks), given, strict=True
    ):
        visible = Heads.from_block(block, model.base_model, architecture).visible(20)
        assert torch.equal(visible, (weights[0] > 0).any(0))
        seen.append(visible.all())
    assert (
        seen == {"gpt2": [True] * 3, "mistral": [False] * 3, "gemma2": [False, True, False]}[kind]
    )


def test_a_causal_model_that_looks_ahead_is_refused(whole, monkeypatch):
    monkeypatch.setattr(Checkpoint, "architecture", ARCHITECTURES["qwen2"])
    with pytest.raises(TokentrailsError, match=r"config\.json: its states change by up to .*%"):
        load_model(whole("qwen2"), CPU)


@pytest.mark.parametrize(
    "changes", [{"hidden_dropout_prob": "x"}, {"chunk_size_feed_forward": 0.5}]
)
def test_a_model_that_cannot_be_run_is_refused_when_it_is_loaded(prepared, tmp_path, changes):
    with pytest.raises(TokentrailsError, match=r"config\.json: transformers cannot run the model"):
        load_model(edited(prepared["bert"], tmp_path / "made", **changes), CPU)


@pytest.mark.parametrize(
    ("kind", "tensor"),
    [
        ("gpt_neox", "embed_out.weight"),
        ("bert", "cls.predictions.transform.dense.weight"),
    ],
)
def test_a_model_without_its_unembedding_is_prepared_with_a_warning(
    saved, tmp_path, caplog, kind, tensor
):
    prefix = {"gpt_neox": "gpt_neox.", "bert": "bert."}[kind]
    bare = tiny.change(
        saved[kind],
        tmp_path / "bare",
        lambda tensors: {n: t for n, t in tensors.items() if n.startswith(prefix)},
    )
    facts = prepare(local_source("m", bare), "main", tmp_path / "made")
    (warning,) = facts["warnings"]
    assert warning.startswith(f"its weights lack '{tensor}'") and "log-probabilities" in warning
    assert f"models.m: {warning}" in caplog.text


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_tensor_that_is_not_finite_is_named_when_the_model_is_prepared(
    saved, tmp_path, value, dtype
):
    name = "model.layers.1.mlp.down_proj.weight"

    def edit(tensors):
        tensors = {n: t.to(dtype) for n, t in tensors.items()}
        tensors[name][3, 5:7] = value
        return tensors

    broken = tiny.change(saved["llama"], tmp_path / "broken", edit)
    with config_files.refused(
        "models.m", f"'{name}' is not finite: 2 of its 2,048 numbers", "earlier"
    ):
        prepare(local_source("m", broken), "main", tmp_path / "made")


def test_the_largest_numbers_of_a_type_are_finite(saved, tmp_path):
    name = "model.layers.1.mlp.down_proj.weight"
    for number, dtype in enumerate(TYPES.values()):

        def edit(tensors, dtype=dtype):
            tensors = {n: t.to(dtype) for n, t in tensors.items()}
            tensors[name][0, 0] = torch.finfo(dtype).max
            return tensors

        folder = tiny.change(saved["llama"], tmp_path / f"large{number}", edit)
        assert Checkpoint(folder).weights.not_finite(name) == 0


def test_a_mask_that_an_older_version_saved_may_be_infinite(saved, tmp_path):
    mask = {"gpt_neox.layers.0.attention.masked_bias": torch.tensor(-torch.inf).half()}
    older = tiny.change(saved["gpt_neox"], tmp_path / "older", lambda tensors: tensors | mask)
    facts = prepare(local_source("m", older), "main", tmp_path / "made")
    assert facts["self_check"]["grade"] == "full"
