"""Heads and MLPs, taken apart, add up to the model again, in every supported architecture."""

import logging
import shutil
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
import tiny
import torch
from config_files import refused
from conftest import local_source
from safetensors.torch import load_file
from tiny import CONFIGS, ENCODERS, EXPERTS, MORE
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from tokentrails.errors import TokentrailsError
from tokentrails.models.prepare import prepare
from tokentrails.network.load import load_model
from tokentrails.network.norms import AcrossHeads, divisor, gain, is_centring, shift, standardised
from tokentrails.network.parts import Parts, load_parts
from tokentrails.network.trace import eager, trace
from tokentrails.texts.whole import whole_texts

CPU = torch.device("cpu")
CLOSE = {"rtol": 1e-3, "atol": 1e-4}
IDS = np.random.default_rng(3).integers(5, 120, 14).tolist()

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
LONG = {
    "rope_type": "longrope",
    "long_factor": [2.0] * 4,
    "short_factor": [1.0, 1.5, 2.0, 3.0],
    "original_max_position_embeddings": 32,
}
VARIANTS = {
    "gpt_neox, sequential": {"use_parallel_residual": False, "attention_bias": False},
    "gpt_neox, tied": {"tie_word_embeddings": True, "rope_parameters": YARN},
    "gpt2, scaled by layer": {"scale_attn_by_inverse_layer_idx": True, "n_inner": 48},
    "llama, yarn": {"rope_parameters": YARN, "attention_bias": True, "mlp_bias": True},
    "llama, llama3": {"rope_parameters": LLAMA3, "num_key_value_heads": 1, "head_dim": 16},
    "qwen2, window": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "qwen3, yarn": {"rope_parameters": YARN, "attention_bias": True},
    "gemma2, uncapped": {"attn_logit_softcapping": None, "final_logit_softcapping": None},
    "distilbert, relu": {"activation": "relu"},
    "stablelm, parallel": {"use_parallel_residual": True, "use_qkv_bias": True},
    "gptj, whole heads rotated": {"rotary_dim": 8},
    "phi3, no window": {"sliding_window": None, "rope_parameters": LONG},
    "olmo2, grouped": {"num_key_value_heads": 1, "attention_bias": True},
    "falcon, one norm": {"num_ln_in_parallel_attn": 1},
    "falcon, one key": {"new_decoder_architecture": False, "bias": True},
    "falcon, in sequence": {
        "new_decoder_architecture": False,
        "multi_query": False,
        "num_kv_heads": 4,
        "parallel_attn": False,
        "bias": True,
    },
    "modernbert, biases": {"attention_bias": True, "mlp_bias": True, "norm_bias": True},
    "exaone4, no windows": {"sliding_window": None, "layer_types": ["full_attention"] * 3},
    "gemma3_text, capped": {"final_logit_softcapping": 5.0, "attn_logit_softcapping": 4.0},
}
"""What a configuration may ask for besides the sizes, by name."""

WINDOWS = (
    dict.fromkeys(("mistral", "ministral3", "mixtral", "starcoder2", "phi3"), "8 8 8")
    | dict.fromkeys(("gemma3_text", "gemma3_text, capped", "smollm3", "ministral"), "8 8 -")
    | dict.fromkeys(("cohere2", "olmo3", "exaone4", "gpt_oss"), "8 8 -")
    | dict.fromkeys(("gemma2", "gemma2, uncapped"), "8 - 8")
    | dict.fromkeys(("qwen2, window", "gpt_neo"), "- 8 8")
    | dict.fromkeys(("modernbert", "modernbert, biases"), "4 4 -")
)
"""By kind, how many tokens each block sees; other kinds see all."""
ROTATED = (
    dict.fromkeys(("gpt2", "opt", "gpt_neo", "bloom", "mpt", *ENCODERS), "no no no")
    | dict.fromkeys(("cohere2", "exaone4"), "yes yes no")
    | {"exaone4, no windows": "yes yes yes"}
    | {"smollm3": "yes no yes", "modernbert": "yes yes yes"}
)
"""By kind or family, which blocks rotate queries and keys; other families' do."""

KINDS = [*CONFIGS, *MORE, *VARIANTS]


def family(kind):
    return kind.split(",")[0]


@pytest.fixture(scope="module")
def taken(prepared, tmp_path_factory):
    """A function from a kind of model to its folder, model, row of the table and parts."""
    made = tmp_path_factory.mktemp("variants")

    @cache
    def take(kind):
        if kind not in VARIANTS:
            folder = prepared[kind]
        else:
            changes = with_theta(VARIANTS[kind])
            saved = tiny.save(family(kind), made / "saved" / kind, **changes)
            folder = made / kind
            prepare(local_source("tiny", saved), "main", folder)
        return folder, *load_parts(folder, CPU)

    return take


def with_theta(changes):
    """Rotations need a base; a small one turns tiny heads enough."""
    rope = changes.get("rope_parameters")
    return changes | ({"rope_parameters": {"rope_theta": 100.0} | rope} if rope else {})


@pytest.fixture(scope="module")
def traced(taken):
    @cache
    def run(kind):
        _, model, architecture, _ = taken(kind)
        return trace(model, architecture, IDS)

    return run


@pytest.fixture(scope="module")
def layers(taken, traced):
    """A function from a kind of model to (layer, block, x_hat of its attention, trace)."""

    def each(kind):
        run = traced(kind)
        for layer, block in enumerate(taken(kind)[3].blocks):
            yield layer, block, block.attention_norm(run.resid[layer]), run

    return each


def own_logits(kind, folder):
    """The logits of transformers' own model with its head."""
    auto = AutoModelForMaskedLM if kind in ENCODERS else AutoModelForCausalLM
    with torch.no_grad():
        return auto.from_pretrained(folder).eval()(torch.tensor([IDS])).logits[0]


def direct_logits(heads, x_hat):
    """q_i · k_j in the plain way: both rotated by their own positions. Without the softcap."""
    queries, keys = heads.queries(x_hat), heads.keys(x_hat)
    if heads.rotary is not None:
        positions = torch.arange(len(x_hat))
        queries, keys = heads.rotary(queries, positions), heads.rotary(keys, positions)
    return heads.scale * queries @ keys[list(heads.kv_of)].mT


def divisors(heads, x_hat):
    """What the norms of queries and keys divide them by, for each head."""
    queries = divisor(heads.query_norm, x_hat @ heads.W_Q + heads.b_Q[:, None])
    keys = divisor(heads.key_norm, x_hat @ heads.W_K + heads.b_K[:, None])
    return queries[..., 0], keys[list(heads.kv_of), :, 0]


def logits_of_patterns(heads, x_hat, side):
    """Logits [heads, query, key], from patterns of one side and x_hat of the other."""
    n = len(x_hat)
    logits = torch.zeros(len(heads.kv_of), n, n)
    other = divisors(heads, x_hat)[1 if side == "query" else 0]
    for offset in range(0 if heads.causal else 1 - n, n):
        patterns, bias = heads.patterns(x_hat, side, offset)
        z = (patterns.product() @ x_hat.T + bias[..., None]) / other[:, None, :]
        z = z if side == "query" else z.mT
        query = torch.arange(max(offset, 0), n + min(offset, 0))
        logits[:, query, query - offset] = z[:, query, query - offset]
    return logits


def weights_of_attention(heads, x_hat):
    """The weights [heads, query, key] that queries and keys lead to."""
    logits = direct_logits(heads, x_hat)
    if heads.softcap is not None:
        logits = heads.softcap * torch.tanh(logits / heads.softcap)
    if heads.position_bias is not None:
        logits = logits + heads.position_bias(len(x_hat))
    weights = logits.masked_fill(~heads.visible(len(x_hat)), -torch.inf).exp()
    sinks = 0 if heads.sinks is None else heads.sinks.exp()[:, None, None]
    return weights / (weights.sum(-1, keepdim=True) + sinks)


def assert_adds_up(layer, block, run):
    """Queries and keys, messages, and neurons give what the model itself does in a block."""
    x_hat = block.attention_norm(run.resid[layer])
    weights = weights_of_attention(block.heads, x_hat)
    torch.testing.assert_close(weights, run.attention[layer], **CLOSE)
    messages = block.heads.messages(x_hat).product()
    total = torch.einsum("hij,hjd->id", run.attention[layer], messages) + block.heads.b_O
    torch.testing.assert_close(block.attention_post_norm(total), run.attention_out[layer], **CLOSE)
    if block.dense_mlp is None:
        return
    mlp_input = block.mlp_input(run.resid[layer], run.resid_mid[layer])
    output = block.mlp.activations(mlp_input) @ block.mlp.W_out + block.mlp.b_out
    torch.testing.assert_close(block.mlp_post_norm(output), run.mlp_out[layer], **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_heads_and_neurons_add_up_to_the_model(layers, kind):
    for layer, block, _, run in layers(kind):
        assert_adds_up(layer, block, run)


@pytest.mark.parametrize("kind", KINDS)
def test_patterns_of_either_side_give_the_logits(layers, kind):
    for _, block, x_hat, _ in layers(kind):
        heads = block.heads
        direct = direct_logits(heads, x_hat)
        if heads.causal:
            direct = direct.tril()
        for side in ("query", "key"):
            torch.testing.assert_close(logits_of_patterns(heads, x_hat, side), direct, **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pattern_without_an_offset_is_that_of_a_token_with_itself(taken, layers, kind):
    for _, block, x_hat, _ in layers(kind):
        heads = block.heads
        direct = direct_logits(heads, x_hat).diagonal(dim1=-2, dim2=-1)
        factors, bias = heads.patterns(x_hat, "query")
        patterns = factors.product()
        own = (patterns * x_hat).sum(-1) + bias
        torch.testing.assert_close(own / divisors(heads, x_hat)[1], direct, **CLOSE)
        moved = heads.patterns(x_hat, "query", 3)[0].product()
        assert torch.allclose(moved, patterns, **CLOSE) is (heads.rotary is None)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_branches_add_is_the_next_state(layers, kind):
    for layer, block, _, run in layers(kind):
        middle = run.resid[layer] + run.attention_out[layer]
        torch.testing.assert_close(middle, run.resid_mid[layer], **CLOSE)
        after = block.sum_norm_mlp(block.sum_norm_attention(middle) + run.mlp_out[layer])
        torch.testing.assert_close(after, run.resid[layer + 1], **CLOSE)
        assert float((after - middle).abs().max()) > 0.01


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_trace_is_that_of_the_model(taken, traced, kind):
    _, model, architecture, _ = taken(kind)
    run = traced(kind)
    output = model(torch.tensor([IDS]), output_hidden_states=True, output_attentions=True)
    hidden = torch.cat(output.hidden_states)
    torch.testing.assert_close(run.attention, torch.cat(output.attentions))
    torch.testing.assert_close(run.resid[:-1], hidden[:-1])
    last = run.resid[-1]
    if architecture.final_norm is not None:
        last = model.get_submodule(architecture.final_norm)(last)
    torch.testing.assert_close(last, hidden[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_state_gives_the_models_logits(taken, traced, kind):
    folder, _, _, parts = taken(kind)
    logits = parts.logits(traced(kind).resid[-1])
    own = own_logits(family(kind), folder)
    assert logits.shape == own.shape == (len(IDS), len(parts.embedding))
    torch.testing.assert_close(logits, own, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_embedding_is_what_enters_the_stream(taken, traced, kind):
    _, model, architecture, parts = taken(kind)
    stream = parts.embedding[IDS]
    assert len(parts.embedding) == model.config.vocab_size  # padded rows too
    if architecture.position_embedding is not None:
        table = model.get_submodule(architecture.position_embedding).weight
        first = architecture.position_offset(model.config.to_dict())
        stream = stream + table[first : first + len(IDS)]
    types = getattr(getattr(model, "embeddings", None), "token_type_embeddings", None)
    if types is not None:
        stream = stream + types.weight[0]
    if parts.embedding_norm is not None:
        stream = parts.embedding_norm(stream)
    torch.testing.assert_close(stream, traced(kind).resid[0], **CLOSE)


def is_tied(parts, model):
    return parts.unembedding is model.get_input_embeddings().weight


def test_what_each_architecture_has(taken):
    parts = {kind: taken(kind)[3] for kind in KINDS}

    def those(has):
        return [kind for kind in KINDS if has(parts[kind])]

    parallel = ["gpt_neox", "phi", "cohere", "cohere2", "gptj", "falcon", "gpt_neox, tied"]
    parallel += ["stablelm, parallel", "gptj, whole heads rotated"]
    parallel += ["falcon, one norm", "falcon, one key"]
    assert those(lambda p: p.blocks[0].parallel) == parallel
    encoders = [kind for kind in KINDS if family(kind) in ENCODERS]
    assert set(those(lambda p: p.embedding_norm)) == {"bloom", *encoders}
    assert those(lambda p: p.head_transform) == encoders
    without = [kind for kind in encoders if family(kind) != "modernbert"]
    assert those(lambda p: p.final_norm is None) == without
    biased = [k for k in KINDS if family(k) in ENCODERS or family(k) in ("phi", "gptj")]
    assert those(lambda p: p.unembedding_bias is not None) == biased
    assert those(lambda p: p.logits_factor != 1) == ["granite", "cohere", "cohere2"]
    normed = those(lambda p: not isinstance(p.blocks[0].heads.query_norm, torch.nn.Identity))
    assert {family(kind) for kind in normed} == {
        *("qwen3", "gemma3_text", "apertus", "olmo2", "olmo3", "exaone4", "qwen3_moe", "olmoe")
    }
    together = those(lambda p: isinstance(p.blocks[0].heads.query_norm, AcrossHeads))
    assert together == ["olmo2", "olmo3", "olmoe", "olmo2, grouped"]
    assert those(lambda p: p.blocks[0].dense_mlp is None) == list(EXPERTS)
    assert those(lambda p: p.blocks[0].heads.sinks is not None) == ["gpt_oss"]
    assert those(lambda p: p.blocks[0].heads.position_bias) == ["bloom", "mpt", "mpnet"]
    assert those(lambda p: p.blocks[0].heads.softcap) == ["gemma2"]
    assert those(lambda p: p.logits_softcap) == ["gemma2", "gemma3_text, capped"]
    for kind in KINDS:
        blocks, of_family = parts[kind].blocks, ROTATED.get(family(kind), "yes " * 3)
        windows, rotated = WINDOWS.get(kind, ""), ROTATED.get(kind, of_family)
        assert [b.heads.window for b in blocks] == [
            None if w == "-" else int(w) for w in (windows or "- - -").split()
        ], kind
        assert [b.heads.rotary is not None for b in blocks] == [
            r == "yes" for r in rotated.split()
        ], kind
    tied = {"gpt2", "gemma", "gemma2", "gemma3_text", "smollm3", "ernie4_5", "starcoder2"}
    tied |= {"bloom", "falcon", "mpt", "cohere", "cohere2", "gpt_neo", "opt", *ENCODERS}
    for kind in KINDS:
        assert is_tied(parts[kind], taken(kind)[1]) is (
            kind == "gpt_neox, tied" or family(kind) in tied
        ), kind
    for kind in ("llama", "mistral", "qwen2", "qwen3", "gemma2"):
        assert parts[kind].blocks[0].heads.kv_of == (0, 0, 1, 1)
    assert parts["llama, llama3"].blocks[0].heads.kv_of == (0, 0, 0, 0)


@pytest.mark.parametrize("kind", CONFIGS)
def test_matrices_are_views_of_the_models_own(taken, kind):
    _, model, _, parts = taken(kind)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    for block in parts.blocks:
        heads, mlp = block.heads, block.mlp
        matrices = [heads.W_Q, heads.W_K, heads.W_V, heads.W_O, mlp.W_in, mlp.W_out]
        matrices += [] if mlp.W_gate is None else [mlp.W_gate]
        assert {m.untyped_storage().data_ptr() for m in matrices} <= own
    if is_tied(parts, model):
        assert parts.unembedding.untyped_storage().data_ptr() in own


@pytest.mark.parametrize("kind", [*CONFIGS, *MORE])
@torch.no_grad()
def test_a_norm_is_its_gain_divisor_and_shift(taken, kind):
    x = torch.randn(5, 32) + 0.5
    for block in taken(kind)[3].blocks:
        for norm in (block.attention_norm, block.mlp_norm, block.mlp_post_norm, block.sum_norm_mlp):
            if "LayerNorm" in type(norm).__name__:
                assert is_centring(norm, x)
                found = standardised(norm, x) * gain(norm, x)
                found = found if shift(norm) is None else found + shift(norm)
            else:
                assert shift(norm) is None and standardised(norm, x) is x
                found = x / divisor(norm, x) * gain(norm, x)
            torch.testing.assert_close(found, norm(x))
    heads = taken(kind)[3].blocks[0].heads
    for norm, n in ((heads.query_norm, len(heads.W_Q)), (heads.key_norm, len(heads.W_K))):
        z = torch.randn(n, 5, 8)
        torch.testing.assert_close(z / divisor(norm, z) * gain(norm, z), norm(z))


# The same, from the tensors of the file alone, written plainly for one architecture of each style.


def layer_norm(x, file, name):
    centred = x - x.mean(-1, keepdims=True)
    unit = centred / (x.var(-1, keepdims=True) + 1e-5) ** 0.5
    return unit * file[f"{name}.weight"] + file[f"{name}.bias"]


def rms_norm(x, gain):
    return x / ((x * x).mean(-1, keepdims=True) + 1e-6) ** 0.5 * gain


def turned(x, dims, base):
    """Pairs of dimensions (i, i + dims / 2) as complex numbers, turned by position · baseⁱ."""
    half = dims // 2
    angle = np.outer(np.arange(len(x)), base ** (-np.arange(half) / half))
    z = (x[:, :half] + 1j * x[:, half:dims]) * np.exp(1j * angle)
    return np.concatenate((z.real, z.imag, x[:, dims:]), axis=1)


def slow_heads(kind, file, x):
    """q, k, v (rotated, scaled) and W_O of each head of block 0, with b_O. Heads have 8 dims."""
    if kind == "gpt2":
        x = layer_norm(x, file, "transformer.h.0.ln_1")
        fused = x @ file["transformer.h.0.attn.c_attn.weight"]
        fused = fused + file["transformer.h.0.attn.c_attn.bias"]
        out = file["transformer.h.0.attn.c_proj.weight"]
        for h in (0, 8, 16, 24):
            q, k, v = (fused[:, part + h : part + h + 8] for part in (0, 32, 64))
            yield q / 8**0.5, k, v, out[h : h + 8]
    elif kind == "gpt_neox":
        x = layer_norm(x, file, "gpt_neox.layers.0.input_layernorm")
        fused = x @ file["gpt_neox.layers.0.attention.query_key_value.weight"].T
        fused = fused + file["gpt_neox.layers.0.attention.query_key_value.bias"]
        out = file["gpt_neox.layers.0.attention.dense.weight"].T
        for h in range(4):
            q, k, v = (fused[:, 24 * h + part : 24 * h + part + 8] for part in (0, 8, 16))
            q, k = turned(q, 2, 10_000.0), turned(k, 2, 10_000.0)
            yield q / 8**0.5, k, v, out[8 * h : 8 * h + 8]
    elif kind in ("qwen3", "gemma2"):
        names = "model.layers.0.self_attn"
        gain = file["model.layers.0.input_layernorm.weight"]
        x = rms_norm(x, gain if kind == "qwen3" else 1 + gain)
        for h in range(4):
            own, group = slice(8 * h, 8 * h + 8), slice(8 * (h // 2), 8 * (h // 2) + 8)
            q = x @ file[f"{names}.q_proj.weight"][own].T
            k = x @ file[f"{names}.k_proj.weight"][group].T
            v = x @ file[f"{names}.v_proj.weight"][group].T
            if kind == "qwen3":
                q = rms_norm(q, file[f"{names}.q_norm.weight"])
                k = rms_norm(k, file[f"{names}.k_norm.weight"])
            q, k = turned(q, 8, 10_000.0), turned(k, 8, 10_000.0)
            yield q / 8**0.5, k, v, file[f"{names}.o_proj.weight"][:, own].T
    else:
        names = "bert.encoder.layer.0.attention"
        for h in range(4):
            own = slice(8 * h, 8 * h + 8)
            q, k, v = (
                x @ file[f"{names}.self.{part}.weight"][own].T
                + file[f"{names}.self.{part}.bias"][own]
                for part in ("query", "key", "value")
            )
            yield q / 8**0.5, k, v, file[f"{names}.output.dense.weight"][:, own].T


B_O = {
    "gpt2": "transformer.h.0.attn.c_proj.bias",
    "gpt_neox": "gpt_neox.layers.0.attention.dense.bias",
    "bert": "bert.encoder.layer.0.attention.output.dense.bias",
}


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "qwen3", "gemma2", "bert"])
def test_an_independent_slow_attention_agrees(taken, traced, kind):
    folder, _, _, parts = taken(kind)
    file = {n: t.double().numpy() for n, t in load_file(folder / "model.safetensors").items()}
    x = traced(kind).resid[0].double().numpy()
    n, heads = len(x), parts.blocks[0].heads
    total = np.zeros_like(x) + file.get(B_O.get(kind), 0)
    x_hat = parts.blocks[0].attention_norm(traced(kind).resid[0])
    for head, (q, k, v, out) in enumerate(slow_heads(kind, file, x)):
        logits = q @ k.T
        np.testing.assert_allclose(direct_logits(heads, x_hat)[head], logits, **CLOSE)
        np.testing.assert_allclose(heads.messages(x_hat).product()[head], v @ out, **CLOSE)
        if kind == "gemma2":
            logits = 50 * np.tanh(logits / 50)
        if kind != "bert":
            logits[np.triu_indices(n, 1)] = -np.inf
        if kind == "gemma2":
            logits[np.tril_indices(n, -8)] = -np.inf
        weight = np.exp(logits)
        total += weight / weight.sum(1, keepdims=True) @ v @ out
    if kind == "gemma2":
        total = rms_norm(total, 1 + file["model.layers.0.post_attention_layernorm.weight"])
    np.testing.assert_allclose(total, traced(kind).attention_out[0], **CLOSE)


# The unembedding.


def parts_of(folder):
    return load_parts(folder, CPU)[2]


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_a_file_without_a_head_has_no_unembedding(taken, tmp_path, kind):
    model, _ = load_model(taken(kind)[0], CPU)
    model.save_pretrained(tmp_path)
    parts = Parts.from_model(model, tmp_path)
    assert parts.unembedding is parts.unembedding_bias is parts.head_transform is None
    assert parts.logits(torch.zeros(32)) is None


def test_a_tied_model_without_a_head_in_the_file_has_one(taken, traced, tmp_path):
    _, model, _, parts = taken("gpt2")
    model.save_pretrained(tmp_path)
    bare = Parts.from_model(model, tmp_path)
    assert is_tied(bare, model)
    x = traced("gpt2").resid[-1]
    torch.testing.assert_close(bare.logits(x), parts.logits(x))


def test_an_unembedding_in_the_file_counts_whatever_the_configuration_says(taken, tmp_path):
    def untie(tensors):
        return tensors | {"lm_head.weight": tensors["transformer.wte.weight"].flip(0)}

    folder = tiny.change(taken("gpt2")[0], tmp_path / "untied", untie)
    parts = parts_of(folder)
    torch.testing.assert_close(parts.unembedding, parts.embedding.flip(0))

    def same(tensors):
        return tensors | {"lm_head.weight": tensors["transformer.wte.weight"].clone()}

    parts = parts_of(tiny.change(taken("gpt2")[0], tmp_path / "same", same))
    assert parts.unembedding is parts.embedding


def test_the_old_names_of_berts_norms_are_known(taken, traced, tmp_path):
    def age(tensors):
        return {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): tensor
            for name, tensor in tensors.items()
        }

    old = parts_of(tiny.change(taken("bert")[0], tmp_path / "old", age))
    x = traced("bert").resid[-1]
    torch.testing.assert_close(old.logits(x), taken("bert")[3].logits(x))


def test_half_a_masked_token_head_is_refused(taken, tmp_path):
    def cut(tensors):
        return {n: t for n, t in tensors.items() if n != "cls.predictions.transform.dense.bias"}

    folder = tiny.change(taken("bert")[0], tmp_path / "cut", cut)
    with pytest.raises(TokentrailsError, match=r"cls\.predictions\.transform\.dense\.bias"):
        parts_of(folder)


def test_an_unembedding_of_another_size_is_refused(taken, tmp_path):
    def cut(tensors):
        return tensors | {"lm_head.weight": tensors["lm_head.weight"][:-1].clone()}

    folder = tiny.change(taken("llama")[0], tmp_path / "cut", cut)
    with pytest.raises(TokentrailsError, match=r"lm_head\.weight has the shape"):
        parts_of(folder)


def test_the_head_of_a_pickled_model_survives_its_conversion(taken, tmp_path):
    folder = taken("distilbert")[0]
    source = shutil.copytree(folder, tmp_path / "pickled")
    (source / "model.safetensors").unlink()
    torch.save(load_file(folder / "model.safetensors"), source / "pytorch_model.bin")
    prepare(replace(local_source("pickled", source), allow_pickle=True), "main", tmp_path / "made")
    made, parts = parts_of(tmp_path / "made"), taken("distilbert")[3]
    x = torch.ones(3, 32)
    torch.testing.assert_close(made.logits(x), parts.logits(x))


def test_parts_are_taken_in_float32(taken):
    folder, *_ = taken("llama")
    model, _ = load_model(folder, CPU, "bfloat16")
    with pytest.raises(ValueError, match="bfloat16"):
        Parts.from_model(model, folder)


# The trace.


def test_switching_to_eager_attention_is_said_once(taken, caplog):
    model, _ = load_model(taken("llama")[0], CPU, "float32")
    assert model.config._attn_implementation == "sdpa"
    with caplog.at_level(logging.INFO):
        eager(model)
        eager(model)
    assert model.config._attn_implementation == "eager"
    assert [record.getMessage() for record in caplog.records] == [
        "attention is computed by 'eager' instead of 'sdpa', to see its weights"
    ]


def test_a_trace_leaves_no_hooks_and_changes_nothing(taken, traced):
    def hooks():
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())

    _, model, architecture, _ = taken("llama")
    first, before = traced("llama"), hooks()
    again = trace(model, architecture, IDS)
    assert hooks() == before
    for name in ("resid", "resid_mid", "attention", "attention_out", "mlp_out"):
        assert torch.equal(getattr(again, name), getattr(first, name))


def test_texts_of_a_tokens_table():
    table = pa.table(
        {
            "label": ["a", "a", "b", "c", "c", "c"],
            "token_ids": [[5, 6], [5, 6], [7], [8, 9, 8], [8, 9, 8], [8, 9, 8]],
            "tokens": [["x", "y"]] * 2 + [["z"]] + [["u", "v", "u"]] * 3,
        }
    )
    texts = whole_texts(table)
    assert [text.label for text in texts] == ["a", "b", "c"]
    assert [text.token_ids for text in texts] == [[5, 6], [7], [8, 9, 8]]
    assert [text.tokens for text in texts] == [["x", "y"], ["z"], ["u", "v", "u"]]
    assert whole_texts(table.slice(0, 0)) == []


def test_neurons_of_experts_are_refused_by_name(taken):
    with refused("experts", "leave neurons out"):
        _ = taken("mixtral")[3].blocks[0].mlp
