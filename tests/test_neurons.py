"""Tables of neurons against plain loops, and neurons that are planted on the first token."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import tiny
import torch
from test_metrics import PROVENANCE
from tiny_models import frame

from tokentrails.errors import TokentrailsError
from tokentrails.files.tables import read_frame, write_parts, write_table, writing_parts
from tokentrails.metrics.activations import FIRST_ONLY, ActivationTables
from tokentrails.metrics.neurons import neurons, operations
from tokentrails.network.trace import Trace
from tokentrails.texts.whole import WholeText

K = 4


@pytest.fixture(scope="module", params=[*tiny.CONFIGS, "granite", "modernbert"])
def made(request, tiny_model):
    """The parts of a tiny model, and its table of neurons."""
    model = tiny_model(request.param)
    tables = neurons(model.spaces, layers=range(3), top=K, high_bias=0.9, provenance=PROVENANCE)
    return SimpleNamespace(model=model, parts=model.parts, table=frame(*tables))


def test_layers_are_a_choice_of_the_table(made):
    tables = neurons(made.model.spaces, layers=[1], top=K, high_bias=0.9, provenance=PROVENANCE)
    assert frame(*tables).equals(made.table.filter(layer=1))


def test_operations_are_counted_by_the_lists(made):
    rows = len(made.model.spaces.embedding.rows)
    d = made.parts.embedding.shape[1]
    lists = made.table.filter(layer=1).height
    assert operations(made.model.spaces, [1]) == 2 * lists * rows * d
    assert operations(made.model.spaces, range(3)) == 2 * made.table.height * rows * d


def test_every_vector_of_every_neuron_has_a_list(made):
    roles = [("in", "mlp_input"), ("out", "embedding")]
    if made.parts.blocks[0].mlp.W_gate is not None:
        roles.insert(0, ("gate", "mlp_input"))
    if made.model.name not in tiny.ENCODERS:
        roles.append(("out", "unembedding"))
    found = made.table.select("layer", "neuron", "role", "space").rows()
    n = len(made.parts.blocks[0].mlp.W_out)
    assert found == [(la, i, *role) for la in range(3) for i in range(n) for role in roles]
    assert found == sorted(found)
    assert set(made.table["model"]) == {PROVENANCE["model"]} and "label" not in made.table.columns


def test_lists_are_those_of_plain_loops(made):
    for row in made.table[::61].iter_rows(named=True):
        block = made.parts.blocks[row["layer"]]
        mlp = block.mlp
        matrix = {"in": mlp.W_in, "gate": mlp.W_gate, "out": mlp.W_out.mT}[row["role"]]
        vector = matrix[:, row["neuron"]].double().numpy()
        if row["role"] == "out":
            vector = made.model.added(block.mlp_post_norm, vector)
        made.model.assert_list(row, vector, K, 0.9)


def test_activations_are_the_strongest_neurons_of_each_token(made):
    tables, text = ActivationTables(made.parts, (0, 2), 5, PROVENANCE), made.model.texts[0]
    table = frame(*tables.tables([text], made.model.trace))
    keys = table.select("position", "layer", "neuron").rows()
    assert keys == sorted(keys) and len(keys) == len(text.tokens) * 2 * 5
    traced = made.model.trace(text.token_ids)
    for (position, layer), rows in table.group_by("position", "layer"):
        block = made.parts.blocks[layer]
        x_hat = block.mlp_input(traced.resid[layer], traced.resid_mid[layer])[position]
        activations = block.mlp.activations(x_hat).double().numpy()
        W_out, norm = block.mlp.W_out.double().numpy(), block.mlp_post_norm
        lengths = [np.linalg.norm(made.model.added(norm, row)) for row in W_out]
        if hasattr(norm, "weight"):
            output = activations @ W_out + block.mlp.b_out.numpy()
            lengths /= np.sqrt((output**2).mean() + norm.eps)
        adds = [abs(a) * length for a, length in zip(activations, lengths, strict=True)]
        strongest = sorted(range(len(adds)), key=lambda i: -adds[i])[:5]
        assert rows["neuron"].to_list() == sorted(strongest)
        np.testing.assert_allclose(rows["activation"], activations[sorted(strongest)], rtol=1e-5)
        np.testing.assert_allclose(
            rows["contribution_norm"], [adds[i] for i in sorted(strongest)], rtol=1e-5
        )
        assert set(rows["token"]) == {text.tokens[position]}


# --- the first token --------------------------------------------------------------------------


def first_only(*activations, strongest=2):
    """The neurons that fire on first tokens only, of texts with given activations [t, n]."""
    n = len(activations[0][0])
    mlp = SimpleNamespace(W_out=torch.eye(n), activations=lambda x: x)
    block = SimpleNamespace(
        mlp=mlp, mlp_input=lambda resid, resid_mid: resid_mid, contributions=torch.abs
    )
    parts = SimpleNamespace(blocks=[block] * 2)
    waiting = [torch.tensor(a, dtype=torch.float32) for a in activations]
    texts = [WholeText(str(i), [0] * len(a), ["x"] * len(a)) for i, a in enumerate(waiting)]

    def run(ids):
        a = waiting.pop(0)
        return Trace(torch.zeros(3, len(a), n), torch.stack([a, -a]), None, None, None)

    tables = ActivationTables(parts, (1,), strongest, PROVENANCE)
    list(tables.tables(texts, run))
    found = tables.first_position_neurons()
    return found.select(["layer", "neuron", "first", "elsewhere", "ratio"]).to_pylist()


def test_neurons_of_the_first_token_fire_nowhere_else():
    high, low = 6.0, 6.0 / FIRST_ONLY
    text = [[high, 4.0, high, 0.0], [low, 3.0, 0.0, 0.0], [-low / 2, 0.0, 0.0, 0.0]]
    assert first_only(text) == [
        {
            "layer": 1,
            "neuron": 0,
            "first": -6,
            "elsewhere": pytest.approx(low),
            "ratio": FIRST_ONLY,
        },
        {"layer": 1, "neuron": 2, "first": -6, "elsewhere": 0, "ratio": None},
    ]
    assert [row["neuron"] for row in first_only(text, strongest=1)] == [0]  # of two the first
    above = [text[0], [low * 1.001, 3, 0, 0]]
    assert [row["neuron"] for row in first_only(above)] == [2]


def test_first_tokens_are_averaged_over_texts_and_others_looked_at_in_all():
    one, other = [[6.0, 0.0], [0.1, 0.0]], [[2.0, 0.0], [0.2, 0.0]]
    (row,) = first_only(one, other, strongest=1)
    assert row["first"] == -4 and row["elsewhere"] == pytest.approx(0.2)
    assert row["ratio"] == pytest.approx(20)
    assert first_only([[6.0, 0.0]]) == []  # nothing to compare with
    (row,) = first_only([[6.0, 0.0]], one, strongest=1)
    assert row["first"] == -6


# --- tables that are made side by side --------------------------------------------------------


def test_parts_of_two_tables_are_written_side_by_side(tmp_path):
    one, two = pa.table({"a": [1, 2]}), pa.table({"b": ["x"]})
    with (
        writing_parts(tmp_path / "one.parquet", tmp_path / "one.csv") as write_one,
        writing_parts(tmp_path / "two.parquet") as write_two,
    ):
        for _ in range(2):
            write_one(one)
            write_two(two)
        assert not list(tmp_path.glob("[!.]*"))
    assert read_frame(tmp_path / "one.parquet")["a"].to_list() == [1, 2, 1, 2]
    assert (tmp_path / "one.csv").read_text() == "a\n1\n2\n1\n2\n"
    assert read_frame(tmp_path / "two.parquet")["b"].to_list() == ["x", "x"]
    write_parts([one, one], tmp_path / "again.parquet", tmp_path / "again.csv")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()


def test_a_table_whose_making_fails_is_not_there(tmp_path):
    write_table(pa.table({"a": [0]}), tmp_path / "t.parquet", tmp_path / "t.csv")
    with (
        pytest.raises(TokentrailsError),
        writing_parts(tmp_path / "t.parquet", tmp_path / "t.csv") as write,
    ):
        write(pa.table({"a": [1]}))
        raise TokentrailsError("stop", where="here", hint="none")
    assert pl.read_csv(tmp_path / "t.csv")["a"].to_list() == [0]
    assert read_frame(tmp_path / "t.parquet")["a"].to_list() == [0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.csv", "t.parquet"]
