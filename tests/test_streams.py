"""Every state that extraction gives is the model's own, however texts are batched."""

import gc
import json
from contextlib import contextmanager
from functools import cache
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
import tiny
import torch
from config_files import refused
from conftest import local_source
from tiny import CONFIGS, MORE, ROBERTA_LIKE

from tokentrails.errors import TokentrailsError
from tokentrails.files.states import StatesReader, StatesWriter, places
from tokentrails.models.prepare import prepare
from tokentrails.network import extract as extraction
from tokentrails.network.batches import batches, texts_to_run
from tokentrails.network.extract import extract, is_out_of_memory
from tokentrails.network.load import load_model
from tokentrails.network.stream import StreamReader

CPU = torch.device("cpu")
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SEQUENTIAL_NEOX = "gpt_neox, sequential"
KINDS = [*CONFIGS, *MORE, SEQUENTIAL_NEOX]
LEARNED_BY_INDEX = ("gpt2", "bert", "distilbert")

# What a block adds to the stream: its attention branch and its MLP branch, each as the modules that
# the branch's value runs through last.
NORMED = ("gemma2", "gemma3_text", "olmo2", "olmo3", "exaone4")
ATTENTION = {
    **dict.fromkeys(("gpt2", "gptj", "gpt_neo", "modernbert", "mpt"), "attn"),
    "gpt_neox": "attention",
    "bloom": "self_attention.dense",
    "falcon": "self_attention",
    "mpnet": "attention.attn",
    **dict.fromkeys(NORMED, "self_attn post_attention_layernorm"),
    "glm4": "self_attn post_self_attn_layernorm",
    **dict.fromkeys(("bert", "electra", *ROBERTA_LIKE), "attention.output.dense"),
    "distilbert": "attention",
}
MLP = dict.fromkeys(NORMED, "post_feedforward_layernorm")
MLP |= {"glm4": "post_mlp_layernorm", "opt": "fc2"}
MLP |= {"bloom": "mlp.dense_4h_to_h", "mpt": "ffn.down_proj"}
FACTOR = {"granite": 0.5}
POST_NORM = {
    **dict.fromkeys(
        ("bert", "electra", *ROBERTA_LIKE), ("attention.output.LayerNorm", "intermediate")
    ),
    "mpnet": ("attention.LayerNorm", "intermediate"),
    "distilbert": ("sa_layer_norm", "ffn"),
}
BLOCKS = {
    **dict.fromkeys(("gpt2", "gptj", "gpt_neo", "bloom", "falcon"), "h"),
    "mpt": "blocks",
    "opt": "decoder.layers",
    **dict.fromkeys(("bert", "electra", "mpnet", *ROBERTA_LIKE), "encoder.layer"),
    "distilbert": "transformer.layer",
}


class Collected:
    """Takes states like a writer, and keeps them as an array: place, row, dimension."""

    def __init__(self, places, n):
        self.places, self.states = tuple(places), [None] * n
        self.row_bytes = len(self.places)  # no limit

    def add(self, rows, hidden):
        for row, state in zip(rows, hidden.swapaxes(0, 1), strict=True):
            assert self.states[row] is None
            self.states[row] = state

    def array(self):
        return np.stack(self.states, axis=1)


@pytest.fixture(scope="session")
def loaded(prepared, tmp_path_factory):
    """A function from a kind of model to (model, architecture), loaded once."""
    folder = tmp_path_factory.mktemp("variants")

    @cache
    def load(kind):
        path = None if kind == SEQUENTIAL_NEOX else prepared[kind]
        if kind == SEQUENTIAL_NEOX:
            source = tiny.save("gpt_neox", folder / "saved", use_parallel_residual=False)
            path = folder / "sequential"
            prepare(local_source("sequential", source), "main", path)
        return load_model(path, CPU)

    return load


@pytest.fixture(scope="session")
def every(loaded):
    """By kind: a model, its architecture, a text, and by place the states of all its tokens."""

    @cache
    def read(kind):
        model, architecture = loaded(kind)
        (text,) = random_texts([20])
        states = states_of(model, architecture, [text], [(0, t, t) for t in range(20)])
        return (
            model,
            architecture,
            text,
            dict(zip(places(architecture.sites, 3), states, strict=True)),
        )

    return read


def family(kind):
    return "gpt_neox" if kind == SEQUENTIAL_NEOX else kind


def tokens_table(texts, targets):
    """A tokens table with one row per (text, first, last)."""
    return pa.table(
        {
            "occurrence": pa.array(range(len(targets)), pa.int32()),
            "label": [f"t{row}" for row in range(len(targets))],
            "token_ids": [texts[text] for text, _, _ in targets],
            "first": [first for _, first, _ in targets],
            "last": [last for _, _, last in targets],
        }
    )


def random_texts(lengths, seed=0):
    draw = np.random.default_rng(seed)
    return [draw.integers(5, 120, length).tolist() for length in lengths]


def states_of(model, architecture, texts, targets, *, pooling="last", budget=10_000):
    """The states of the targets at every place, shape (places, targets, d)."""
    where = places(architecture.sites, model.config.num_hidden_layers)
    collected, table = Collected(where, len(targets)), tokens_table(texts, targets)
    how = {"pooling": pooling, "token_budget": budget, "name": "tiny (main)"}
    extract(model, architecture, table, collected, **how)
    return collected.array()


@torch.inference_mode()
def watched(model, ids, names):
    """The model's own outputs for one text, and what went into modules and came out."""
    with tiny.watched({name: model.get_submodule(name) for name in names}) as seen:
        output = model(torch.tensor([ids]), output_hidden_states=True)
    arrays = {name: [x.numpy() for x in both] for name, both in seen.items()}
    hidden = [h[0].numpy() for h in output.hidden_states]
    return hidden, output.last_hidden_state[0].numpy(), arrays


def own_states(model, kind, ids):
    """Every place's states of one text, from the model's outputs and its branches' values."""
    kind = family(kind)
    depth = model.config.num_hidden_layers
    blocks = [f"{BLOCKS.get(kind, 'layers')}.{layer}" for layer in range(depth)]
    attention = ATTENTION.get(kind, "self_attn").split()
    watch = [f"{block}.{attention[0]}" for block in blocks]
    hidden, last, seen = watched(model, ids, [*watch, blocks[-1]])
    own = {("resid", layer): hidden[layer] for layer in range(depth)}
    own["resid", depth] = seen[blocks[-1]][1]
    own["final_norm", depth] = last
    for layer, block in enumerate(blocks):
        branch = seen[watch[layer]][1]
        for norm in attention[1:]:
            module = model.get_submodule(f"{block}.{norm}")
            branch = module(torch.tensor(branch)).detach().numpy()
        own["resid_mid", layer] = hidden[layer] + FACTOR.get(kind, 1) * branch
    return own


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_the_models_own_at_every_place_and_position(every, kind):
    model, _, text, states = every(kind)
    own = own_states(model, kind, text)
    assert len(states) == (7 if kind in POST_NORM else 8)
    for place, got in states.items():
        np.testing.assert_allclose(got, own[place], **CLOSE, err_msg=str(place))


def test_only_parallel_blocks_are_called_parallel(loaded):
    parallel = [kind for kind in KINDS if loaded(kind)[1].parallel_attention is not None]
    assert parallel == ["gpt_neox", "phi", "cohere", "cohere2", "gptj", "falcon"]


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_text_may_be_as_long_as_the_context_and_no_longer(loaded, kind):
    model, architecture = loaded(kind)
    length = architecture.context_length(model.config.to_dict())
    assert length == 64
    (ids,) = random_texts([length])
    states_of(model, architecture, [ids], [(0, length - 1, length - 1)])
    if not architecture.rotary:
        with pytest.raises((IndexError, RuntimeError)):
            states_of(model, architecture, [[*ids, 9]], [(0, length, length)])


@pytest.mark.parametrize("kind", KINDS)
def test_the_places_of_a_model_differ_from_each_other(every, kind):
    """So that a state read at the wrong place cannot pass for the right one."""
    for one, other in combinations(every(kind)[3].values(), 2):
        assert rms(one - other) > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_layer_is_before_the_final_norm(every, kind):
    model, _, text, states = every(kind)
    last, reported = states["resid", 3], watched(model, text, [])[0][-1]
    if kind in POST_NORM:
        np.testing.assert_allclose(last, reported, **CLOSE)
    else:
        assert rms(last - reported) > 0.1


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in POST_NORM])
def test_what_the_mlp_adds_lies_between_the_middle_and_the_end_of_a_block(every, kind):
    model, _, text, states = every(kind)
    blocks = [f"{BLOCKS.get(family(kind), 'layers')}.{layer}" for layer in range(3)]
    branch = MLP.get(kind, "mlp")
    seen = watched(model, text, [f"{block}.{branch}" for block in blocks])[2]
    for layer, block in enumerate(blocks):
        added = states["resid", layer + 1] - states["resid_mid", layer]
        wanted = FACTOR.get(kind, 1) * seen[f"{block}.{branch}"][1]
        np.testing.assert_allclose(added, wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("kind", POST_NORM)
def test_the_mlp_of_an_encoder_reads_the_norm_of_the_middle(every, kind):
    model, _, text, states = every(kind)
    norm, mlp = POST_NORM[kind]
    blocks = [f"{BLOCKS[kind]}.{layer}" for layer in range(3)]
    seen = watched(model, text, [f"{block}.{mlp}" for block in blocks])[2]
    for layer, block in enumerate(blocks):
        middle = states["resid_mid", layer]
        normed = model.get_submodule(f"{block}.{norm}")(torch.tensor(middle)).detach().numpy()
        np.testing.assert_allclose(normed, seen[f"{block}.{mlp}"][0], **CLOSE)
        assert rms(normed - middle) > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_batching_changes_nothing(loaded, kind):
    model, architecture = loaded(kind)
    lengths = [60, 1, 33, 2, 7, 60, 18, 4]
    texts = random_texts(lengths)
    targets = [(text, length // 2, length // 2) for text, length in enumerate(lengths)]
    targets += [(text, length - 1, length - 1) for text, length in enumerate(lengths)]
    positions = [[first] for _, first, _ in targets]
    ids = [texts[text] for text, _, _ in targets]
    together = batches(texts_to_run(ids, positions, causal=architecture.causal), 10_000, 10_000)
    assert len(together) == 1
    batched = states_of(model, architecture, texts, targets)
    alone = states_of(model, architecture, texts, targets, budget=1)
    np.testing.assert_allclose(batched, alone, **CLOSE)
    assert_own(loaded, kind, texts, targets, batched)


def test_texts_whose_rotations_depend_on_the_longest_are_not_mixed(tmp_path):
    rope = {"rope_type": "longrope", "rope_theta": 100.0, "original_max_position_embeddings": 16}
    rope |= {"long_factor": [9.0] * 4, "short_factor": [1.0] * 4}
    changes = {"rope_parameters": rope, "original_max_position_embeddings": 16}
    saved = tiny.save("phi3", tmp_path / "saved", **changes)
    prepare(local_source("m", saved), "main", tmp_path / "made")
    model, architecture = load_model(tmp_path / "made", CPU)
    texts = random_texts([34, 11])
    targets = [(0, 5, 5), (1, 4, 4), (1, 10, 10)]
    states = states_of(model, architecture, texts, targets)
    for row, (text, position, _) in enumerate(targets):
        own = own_states(model, "phi3", texts[text])
        for slot, place in enumerate(places(architecture.sites, 3)):
            np.testing.assert_allclose(states[slot, row], own[place][position], **CLOSE)


def assert_own(loaded, kind, texts, targets, states, pooling="last"):
    """The states of each target are the model's own, pooled in a plain loop."""
    model, architecture = loaded(kind)
    own = [own_states(model, kind, ids) for ids in texts]
    for row, (text, first, last) in enumerate(targets):
        positions = {"first": [first], "last": [last]}.get(pooling, range(first, last + 1))
        for slot, place in enumerate(places(architecture.sites, 3)):
            expected = sum(own[text][place][position] for position in positions) / len(positions)
            np.testing.assert_allclose(states[slot, row], expected, **CLOSE)


@pytest.mark.parametrize("kind", LEARNED_BY_INDEX)
@torch.inference_mode()
def test_left_padding_would_change_learned_positions(loaded, kind):
    model, _ = loaded(kind)
    (ids,) = random_texts([6])
    alone = model(torch.tensor([ids])).last_hidden_state[0]
    right = model(torch.tensor([ids + [0] * 4]), attention_mask=torch.tensor([[1] * 6 + [0] * 4]))
    left = model(torch.tensor([[0] * 4 + ids]), attention_mask=torch.tensor([[0] * 4 + [1] * 6]))
    torch.testing.assert_close(right.last_hidden_state[0, :6], alone, rtol=1e-5, atol=1e-5)
    assert rms((left.last_hidden_state[0, 4:] - alone).numpy()) > 0.01


@contextmanager
def shapes_of_runs(model):
    """The shapes of the batches that a model is given."""
    shapes = []
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)),
        with_kwargs=True,
    )
    yield shapes
    hook.remove()


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_a_causal_text_is_cut_after_its_last_target_and_no_other(loaded, kind):
    with shapes_of_runs(loaded(kind)[0]) as shapes:
        states_of(*loaded(kind), random_texts([40]), [(0, 3, 3), (0, 11, 11)])
    assert shapes == [(1, 40) if kind == "bert" else (1, 12)]


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "opt", "bert"])
@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_pooling_is_a_plain_loop_over_the_span(loaded, kind, pooling):
    texts = random_texts([12, 30])
    targets = [(0, 2, 4), (0, 7, 7), (1, 0, 1), (1, 20, 29), (0, 3, 5)]
    states = states_of(*loaded(kind), texts, targets, pooling=pooling)
    assert_own(loaded, kind, texts, targets, states, pooling)


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_a_text_runs_once_however_many_targets_it_has(loaded, kind):
    texts = random_texts([20, 9])
    targets = [(0, 5, 5), (1, 8, 8), (0, 19, 19), (0, 5, 5)]
    with shapes_of_runs(loaded(kind)[0]) as shapes:
        states = states_of(*loaded(kind), texts, targets)
    assert shapes == [(2, 20)]
    assert_own(loaded, kind, texts, targets, states)
    np.testing.assert_array_equal(states[:, 0], states[:, 3])


def test_a_batch_on_a_cpu_stays_in_its_caches(loaded, monkeypatch):
    monkeypatch.setattr(extraction, "CPU_TOKENS", 1)
    monkeypatch.setattr(extraction, "CPU_STREAM_BYTES", 20)  # a byte each, here
    with shapes_of_runs(loaded("gpt2")[0]) as shapes:
        states_of(*loaded("gpt2"), random_texts([10] * 5), [(i, 9, 9) for i in range(5)])
    assert shapes == [(2, 10), (2, 10), (1, 10)]


def test_states_arrive_on_disk_as_they_were_read(loaded, tmp_path):
    model, architecture = loaded("gpt2")
    texts = random_texts([20, 9, 50])
    targets = [(2, 40, 41), (0, 5, 5), (1, 8, 8), (0, 19, 19)]
    expected = states_of(model, architecture, texts, targets)
    table, where = tokens_table(texts, targets), places(architecture.sites, 3)
    with StatesWriter(tmp_path / "s.parquet", where, range(4), 32) as writer:
        extract(model, architecture, table, writer, pooling="last", token_budget=40, name="tiny")
        writer.finish({})
    for layer, states in zip(StatesReader(tmp_path / "s.parquet"), expected, strict=True):
        np.testing.assert_allclose(layer.hidden, states, **CLOSE)


@pytest.mark.parametrize("pad", [-1, None, 3])
def test_the_padding_token_of_a_configuration_does_not_matter(prepared, pad):
    model, architecture = load_model(prepared["llama"], CPU)
    texts = random_texts([20, 4])
    targets = [(0, 19, 19), (1, 3, 3)]
    expected = states_of(model, architecture, texts, targets)
    model.config.pad_token_id = pad
    np.testing.assert_allclose(states_of(model, architecture, texts, targets), expected, **CLOSE)


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "bert"])
def test_only_the_rows_of_targets_are_kept(tmp_path, kind):
    """The number of full-size tensors alive at the end does not grow with the depth."""
    alive = {}
    texts = random_texts([50, 50])
    for depth in (2, 12):
        sizes = {"n_layer": depth} if kind == "gpt2" else {"num_hidden_layers": depth}
        source = tiny.save(kind, tmp_path / f"saved{depth}", **sizes)
        prepare(local_source(kind, source), "main", tmp_path / f"ready{depth}")
        model, architecture = load_model(tmp_path / f"ready{depth}", CPU)
        own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}

        def count(module, args, output, depth=depth, own=own):
            tensors = [o for o in gc.get_objects() if type(o) is torch.Tensor]
            big = {t.untyped_storage().data_ptr() for t in tensors if t.numel() >= 2 * 50 * 32}
            alive[depth] = len(big - own)

        blocks = model.get_submodule(architecture.blocks)
        where = places(architecture.sites, depth)
        with torch.inference_mode(), StreamReader(model, architecture, where) as reader:
            hook = blocks[depth - 1].register_forward_hook(count)
            states = reader(torch.tensor(texts), torch.tensor([3, 99]))
            hook.remove()
        assert states.shape == (len(reader.places), 2, 32)
        del model, reader, blocks
    assert alive[12] <= alive[2]


# --- memory -----------------------------------------------------------------------------------


def limit_memory(model, most, error):
    """Make the model fail for more than `most` tokens at once; returns the shapes that passed."""
    shapes = []
    whole = model.forward

    def forward(input_ids, **kwargs):
        if input_ids.numel() > most:
            raise error
        shapes.append(tuple(input_ids.shape))
        return whole(input_ids=input_ids, **kwargs)

    model.forward = forward
    return shapes


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "python"],
)
@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_too_little_memory_makes_batches_smaller_and_nothing_else(prepared, kind, error):
    model, architecture = load_model(prepared[kind], CPU)
    lengths = [5, 9, 14, 30, 30, 21, 3, 40]
    texts = random_texts(lengths)
    targets = [(text, length - 1, length - 1) for text, length in enumerate(lengths)]
    expected = states_of(model, architecture, texts, targets)
    shapes = limit_memory(model, 60, error)
    states = states_of(model, architecture, texts, targets)
    np.testing.assert_allclose(states, expected, **CLOSE)
    assert len(shapes) > 1 and max(b * t for b, t in shapes) <= 60


def test_a_text_that_alone_does_not_fit_is_an_error(prepared):
    model, architecture = load_model(prepared["gpt2"], CPU)
    limit_memory(model, 30, torch.OutOfMemoryError("CUDA out of memory"))
    texts = random_texts([40, 20])
    with refused("40 tokens", "tiny (main)"):
        states_of(model, architecture, texts, [(0, 39, 39), (1, 2, 2)])


def test_other_failures_are_not_taken_for_too_little_memory(prepared):
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    model, architecture = load_model(prepared["gpt2"], CPU)
    limit_memory(model, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        states_of(model, architecture, random_texts([4]), [(0, 3, 3)])


def test_hooks_are_taken_off_also_after_a_failure(prepared):
    model, architecture = load_model(prepared["gpt_neox"], CPU)
    limit_memory(model, 10, RuntimeError("no"))
    with pytest.raises(RuntimeError, match="no"):
        states_of(model, architecture, random_texts([20]), [(0, 19, 19)])
    states_of(model, architecture, random_texts([4]), [(0, 3, 3)])
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


# --- broken numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox"])
def test_a_state_that_is_not_finite_is_named(prepared, kind, value):
    model, architecture = load_model(prepared[kind], CPU)
    texts = [[10, 11, 12], [10, 77, 12, 13], [20, 21]]
    with torch.no_grad():
        model.get_submodule(architecture.embedding).weight[77, 5] = float(value)
    with refused("tiny (main)", "site resid, layer 0", "'t2'"):
        states_of(model, architecture, texts, [(0, 2, 2), (2, 1, 1), (1, 1, 1)])
    states_of(model, architecture, texts, [(0, 2, 2), (2, 1, 1)])


@pytest.mark.parametrize(
    ("kind", "weight", "site", "layer"),
    [
        ("gpt2", "h.1.attn.c_proj.bias", "resid_mid", 1),
        ("gpt2", "h.1.mlp.c_proj.bias", "resid", 2),
        ("gpt2", "h.2.mlp.c_proj.bias", "resid", 3),
        ("gpt2", "ln_f.bias", "final_norm", 3),
        ("gpt_neox", "layers.0.attention.dense.bias", "resid_mid", 0),
        ("bert", "encoder.layer.2.output.LayerNorm.bias", "resid", 3),
    ],
)
def test_the_first_place_on_the_way_that_is_not_finite_is_named(
    prepared, kind, weight, site, layer
):
    model, architecture = load_model(prepared[kind], CPU)
    with torch.no_grad():
        model.get_parameter(weight)[3] = torch.nan
    with pytest.raises(TokentrailsError, match=f"site {site}, layer {layer}, label 't0'"):
        states_of(model, architecture, random_texts([5, 9]), [(0, 4, 4), (1, 4, 4)])


# --- loading ----------------------------------------------------------------------------------


def without_a_norm(tensors):
    return {name: t for name, t in tensors.items() if not name.endswith("h.1.ln_2.weight")}


def with_fewer_rows(tensors):
    return {n: t[:-3].clone() if "embed_tokens" in n else t for n, t in tensors.items()}


@pytest.mark.parametrize(
    ("kind", "edit", "message"),
    [("gpt2", without_a_norm, r"h\.1\.ln_2\.weight"), ("llama", with_fewer_rows, "embed_tokens")],
)
def test_tensors_that_are_missing_or_of_another_shape_are_refused(
    prepared, tmp_path, kind, edit, message
):
    tiny.change(prepared[kind], tmp_path, edit)
    with pytest.raises((TokentrailsError, RuntimeError), match=message):
        load_model(tmp_path, CPU)


def test_weights_cut_short_are_refused(prepared, tmp_path):
    weights = tiny.change(prepared["bert"], tmp_path, dict) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(TokentrailsError, match="cut short"):
        load_model(tmp_path, CPU)


def test_unsupported_architectures_are_refused_by_name(prepared, tmp_path):
    config = json.loads((prepared["llama"] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    with pytest.raises(TokentrailsError, match="'mamba' is not supported") as caught:
        load_model(tmp_path, CPU)
    assert "docs/catalogue.md" in str(caught.value)
