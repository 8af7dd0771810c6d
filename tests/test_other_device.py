"""Nothing is left on the CPU: every measure gives the same on a second device, which is a stand-in.

Where a tensor were on the wrong device, a GPU would refuse it, and so does the stand-in.
"""

import measures
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from other_device import move, other_device
from test_corpus_sums import Case as Pieces
from test_metrics import PROVENANCE
from test_ranks import made, with_ties
from test_streams import random_texts, states_of
from tiny import CONFIGS
from tiny_models import TinyModel

from tokentrails.metrics.ablation import Choice, attribution_causal
from tokentrails.metrics.activations import ActivationTables
from tokentrails.metrics.attribution import attribution
from tokentrails.metrics.corpus_sums import CorpusSums
from tokentrails.metrics.evolution import Lens, evolution
from tokentrails.metrics.heads import HeadTables
from tokentrails.metrics.neurons import neurons
from tokentrails.metrics.own_token import Readout, own_token
from tokentrails.metrics.ranks import Vocabulary
from tokentrails.network.lens import AffineLens
from tokentrails.network.load import load_language_model
from tokentrails.network.parts import Parts
from tokentrails.vocabulary.spaces import Spaces

CPU = torch.device("cpu")


def test_the_stand_in_refuses_what_a_gpu_refuses():
    on_cpu = torch.arange(3.0)
    with other_device() as device:
        there = on_cpu.to(device)
        assert there.device == device and (there * 2 + 1).device == device
        assert torch.tensor([1, 2], device=device).device == device
        assert (there + torch.tensor(2.0)).cpu().tolist() == [2.0, 3.0, 4.0]
        assert there[torch.tensor([2])].cpu().tolist() == [2.0]
        for mixed in (
            lambda: there + on_cpu,
            lambda: torch.cat([there, on_cpu]),
            lambda: on_cpu[there.long()],
            lambda: torch.zeros(3, device=device) @ on_cpu,
        ):
            with pytest.raises(RuntimeError, match="two devices"):
                mixed()
        with pytest.raises((RuntimeError, TypeError)):
            there.numpy()


@pytest.mark.parametrize("kind", CONFIGS)
def test_extraction(prepared, kind):
    lengths = [60, 1, 33, 7]
    texts = random_texts(lengths)
    targets = [(text, length // 2, length - 1) for text, length in enumerate(lengths)]
    model, architecture = load_language_model(prepared[kind], CPU, name="tiny")
    of_cpu = states_of(model.base_model, architecture, texts, targets, pooling="mean")
    move(model)
    with other_device():
        found = states_of(model.base_model, architecture, texts, targets, pooling="mean")
    np.testing.assert_allclose(found, of_cpu, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "roberta"])
def test_sums_over_a_running_text(prepared, files, tmp_path, kind):
    case = Pieces(kind, prepared[kind], files(kind), tmp_path)

    def found(parts=None):
        sums = CorpusSums(case.running(parts=parts), case.pieces[range(2)])
        part = sums.add(case.pieces[range(1, 4)])
        return part, sums.types(case.names), pa.concat_tables(sums.geometry(case.names))

    of_cpu = found()
    move(case.language_model)
    with other_device():
        there = found(Parts.from_model(case.model, case.folder))
    for one, other in zip(of_cpu, there, strict=True):
        assert one.num_rows == other.num_rows > 0
        for name in ("sum", "n", "largest"):
            if name in one.column_names:
                np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("k", [0, 5])
@pytest.mark.parametrize("problem", [made, with_ties])
def test_ranks(problem, k):
    states, rows, own = problem()
    states, own, offsets = states.numpy(), own.numpy(), np.stack([rows[3].numpy()] * len(states))
    names = [None if i % 11 == 5 else f"{i}" for i in range(len(rows))]
    of_cpu = Vocabulary(names, rows).rank(states, own, k, offsets)
    with other_device() as device:
        found = Vocabulary(names, rows.to(device)).rank(states, own, k, offsets)
    for there, here in zip(found, of_cpu, strict=True):
        np.testing.assert_array_equal(there, here)


def circuit_tables(made):
    """Every table of heads, neurons, evolution, attribution and own tokens, by name."""
    parts, texts = Parts.from_model(made.model, made.folder), made.texts[:1]
    tokens = made.tokens.filter(pc.equal(made.tokens["label"], texts[0].label))
    spaces = Spaces(parts, made.names)
    heads = HeadTables(spaces, (0, 2), (1, 3), (0, 2), 4, 0.9, PROVENANCE)
    attention, lists = zip(*heads.tables(texts, made.trace), strict=True)
    fired = ActivationTables(parts, (0, 2), 5, PROVENANCE)
    # The last, since the model's own attention is switched to the plain way above.
    lens = Lens(made.language_model, made.architecture, spaces, "tiny (main)")
    evolved, predicted = evolution(texts, lens, top=5, prefix=str, provenance=PROVENANCE)
    by_part, of_cosine, sums = attribution(
        texts, made.trace, parts, made.own, provenance=PROVENANCE
    )
    listed = neurons(spaces, layers=[1], top=4, high_bias=0.9, provenance=PROVENANCE)
    rows = parts.embedding[:32] / 10
    maps = AffineLens(rows.expand(3, 32, 32), rows[:3], "tuned")
    readout = Readout(made.model, made.architecture, parts, made.names, {"maps": maps})
    choices = [Choice(0, None, False, None), Choice(1, 2, False, None)]
    given = (tokens, tokens, choices, readout, made.own, measures.statistics())
    return {
        "attribution_causal": attribution_causal(*given, provenance=PROVENANCE),
        "own_token": own_token(tokens, readout, provenance=PROVENANCE),
        "attention": pa.concat_tables(attention),
        "heads": pa.concat_tables(lists),
        "head_summary": heads.summary.table(),
        "activations": pa.concat_tables(fired.tables(texts, made.trace)),
        "first_position_neurons": fired.first_position_neurons(),
        "neurons": pa.concat_tables(listed),
        "evolution": evolved,
        "predictions": predicted,
        "attribution": by_part,
        "attribution_cosine": of_cosine,
        "attribution_sum": sums,
    }


@pytest.mark.parametrize("kind", CONFIGS)
def test_circuits(prepared, files, kind):
    made = TinyModel(kind, prepared[kind], files(kind))
    of_cpu = circuit_tables(made)
    move(made.language_model)
    with other_device():
        found = circuit_tables(made)
    for name, expected in of_cpu.items():
        assert found[name].column_names == expected.column_names
        for column in expected.column_names:
            here, there = expected[column].combine_chunks(), found[name][column].combine_chunks()
            if pa.types.is_list(here.type):
                here, there = here.flatten(), there.flatten()
            if pa.types.is_floating(here.type):
                values = (array.to_numpy(zero_copy_only=False) for array in (there, here))
                np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-5, err_msg=column)
            else:
                assert there.equals(here), (name, column)
