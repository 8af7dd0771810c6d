"""Ranks in the vocabulary against sorting it in float64, and what must leave them alone."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from test_metrics import PROVENANCE, by_key, random_layers, slow_cosine, tokens_table

from tokentrails.errors import TokentrailsError
from tokentrails.metrics.ranks import Published, Vocabulary, ranks
from tokentrails.statistics.baseline import EMBEDDING, NO_BASELINE, Baseline
from tokentrails.texts.entries import entries
from tokentrails.vocabulary import cosines
from tokentrails.vocabulary import ranks as module
from tokentrails.vocabulary.cosines import rounding
from tokentrails.vocabulary.ranks import Matrix, closest, count_closer, count_positive, tally

STATES, ROWS, WIDTH = 37, 301, 24


def made(seed=0, n=STATES, v=ROWS, d=WIDTH):
    """States that lean towards their own rows, the rows, and the rows' numbers."""
    torch.manual_seed(seed)
    rows = torch.randn(v, d) + 0.3  # as anisotropic as embeddings are
    own = torch.randint(v, (n,))
    return torch.randn(n, d) + 0.7 * rows[own], rows, own


def with_ties(seed=1):
    """Rows that are equal, or point the same way, or nearly so; some of them somebody's own."""
    states, rows, own = made(seed)
    for i in range(0, 12, 3):
        rows[10 * i + 1] = rows[own[i]]
        rows[10 * i + 2] = 2 * rows[own[i]]
        rows[10 * i + 3] = rows[own[i]] * (1 + 1e-6)
        rows[10 * i + 4] = -rows[own[i]]
        rows[10 * i + 5] = rows[own[i]] + 1e-6 * torch.randn(WIDTH)
    return states, rows, own


def by_sorting(states, rows, own, valid=None, offset=0.0):
    """Rank and order by a stable sort of all cosines in float64, one state at a time."""
    rows = rows.double().numpy() + np.asarray(offset, np.float64)
    takes_part = np.linalg.norm(rows, axis=1) > 0
    if valid is not None:
        takes_part &= valid.numpy()
    ranked, ordered, cosines = [], [], []
    for state, mine in zip(states.double().numpy(), own.tolist(), strict=True):
        with np.errstate(invalid="ignore"):
            cosine = rows @ state / np.linalg.norm(rows, axis=1) / np.linalg.norm(state)
        order = np.argsort(-cosine.round(11), kind="stable")
        order = order[takes_part[order]]
        better = order[cosine[order] > cosine[mine] + 1e-12]
        ranked.append(len(better))
        ordered.append(order)
        cosines.append(cosine)
    return np.array(ranked), np.array(ordered), np.array(cosines)


def assert_as_sorted(found, states, rows, own, k, **options):
    rank, order, cosine = by_sorting(states, rows, own, **options)
    assert found.rank.tolist() == rank.tolist()
    np.testing.assert_allclose(found.cosine, cosine[np.arange(len(own)), own], atol=1e-13)
    assert found.nearest.tolist() == order[:, :k].tolist()
    expected = np.take_along_axis(cosine, order[:, :k], axis=1)
    np.testing.assert_allclose(found.nearest_cosine, expected, atol=1e-13)


@pytest.fixture(params=["whole", "blocks", "as on a GPU"])
def blocks(request, monkeypatch):
    """Everything at once, in tiles of a few states and rows, and by the way of a GPU."""
    if request.param == "as on a GPU":
        monkeypatch.setattr(module, "GPUS", ("cpu",))
    if request.param == "blocks":
        monkeypatch.setattr(module, "STATES_AT_ONCE", {"cpu": 15})
        monkeypatch.setattr(module, "TILE_BYTES", {"cpu": 4 * 4 * 10})
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 10)
        monkeypatch.setattr(module, "PLACES", 40)
        monkeypatch.setattr(cosines, "PAIR_BYTES", {"cpu": 3 * 8 * WIDTH})


@pytest.mark.parametrize("inputs", [made, with_ties])
def test_ranks_and_neighbours_are_those_of_a_sort(blocks, inputs):
    states, rows, own = inputs()
    found = closest(states, rows, own, k=6)
    assert_as_sorted(found, states, rows, own, 6)
    assert 0 < int((found.rank == 0).sum()) < STATES  # the test has easy and hard cases
    assert torch.equal(closest(states, rows, own).rank, found.rank)


def test_more_rows_than_are_spared_are_in_order_too(blocks):
    """Some are equal; others float32 cannot tell apart."""
    states, rows, own = made()
    rows[100:150] = 2 * states[0]
    rows[200:250] = states[1] + torch.randn(WIDTH) + 1e-6 * torch.randn(50, WIDTH)
    found = closest(states, rows, own, k=6)
    assert_as_sorted(found, states, rows, own, 6)
    assert found.nearest[0].tolist() == [*range(100, 106)]
    assert ((found.nearest[1] >= 200) & (found.nearest[1] < 250)).all()


def test_an_offset_is_added_to_every_row(blocks):
    states, rows, own = with_ties()
    offset = torch.randn(WIDTH)
    found = closest(states, rows, own, k=4, offset=offset)
    assert_as_sorted(found, states, rows, own, 4, offset=offset.numpy())
    assert not torch.equal(found.rank, closest(states, rows, own).rank)


def test_rows_that_take_no_part_are_never_counted(blocks):
    states, rows, own = made()
    valid = torch.ones(ROWS, dtype=torch.bool)
    unused = [i for i in range(0, ROWS, 3) if i not in own]
    rows[unused] = states[0] * 3  # they would be the closest ones
    valid[unused] = False
    rows[own[5]] = 0  # a row without a direction
    found = closest(states, rows, own, k=3, valid=valid)
    assert not set(found.nearest.flatten().tolist()) & {*unused, int(own[5])}
    known = own != own[5]
    without = closest(states[known], rows, own[known], k=3, valid=valid)
    assert_as_sorted(without, states[known], rows, own[known], 3, valid=valid)
    assert torch.equal(found.rank[known], without.rank)
    assert (found.rank[~known] == -1).all() and found.cosine[~known].isnan().all()


def test_a_row_without_a_direction_is_not_closer_than_one_that_points_away():
    states, rows, own = made()
    rows[::7] = 0
    own = torch.where(own % 7 == 0, own + 1, own) % ROWS
    found = closest(states - 2 * rows[own], rows, own, k=3)
    assert (found.cosine < 0).sum() > STATES / 2
    assert_as_sorted(found, states - 2 * rows[own], rows, own, 3)


def test_a_row_that_takes_no_part_has_no_rank():
    states, rows, own = made()
    valid = torch.ones(ROWS, dtype=torch.bool)
    valid[own[2]] = False
    found = closest(states, rows, own, valid=valid)
    assert found.rank[2] == -1 and found.cosine[2].isnan()


def test_a_state_without_a_direction_has_neither_rank_nor_neighbours():
    states, rows, own = made()
    states[3] = 0
    found = closest(states, rows, own, k=2)
    assert found.rank[3] == -1 and found.cosine[3].isnan()
    assert found.nearest_cosine[3].isnan().all() and not found.nearest_cosine[4].isnan().any()


def test_what_float32_cannot_tell_apart_is_decided_in_float64():
    """Rows around the own one, closer or further by a millionth of float32's last digit."""
    state = torch.zeros(1, 4)
    state[0, 0] = 1
    own = torch.tensor([[1.0, 1.0, 0, 0]])
    turned = [torch.tensor([[1.0, 1.0 + t, 0, 0]]) for t in (-2e-7, -1.2e-7, 0, 1.2e-7, 2e-7)]
    rows = torch.cat([own, *turned])
    assert closest(state, rows, torch.tensor([0])).rank.tolist() == [2]


def test_scores_within_the_rounding_are_handed_over_as_pairs(blocks):
    states, rows, own = made()
    unit_states = torch.nn.functional.normalize(states)
    unit_rows = torch.nn.functional.normalize(rows)
    mine = (unit_states * unit_rows[own]).sum(1)
    valid = torch.arange(ROWS) % 5 != 1
    eps = 0.02
    counts, pairs, _ = count_closer(unit_states, Matrix(rows, valid), mine, eps)
    lead = unit_states.double() @ unit_rows.double().T - mine.double()[:, None]
    on_gpu = module.GPUS == ("cpu",)
    lead = lead / (1.05 * eps * (1 + on_gpu * mine.abs()))[:, None]
    assert (lead.abs() - 1).abs().min() > 1e-4  # none is at the edge
    lead[:, ~valid] = -2
    assert counts.tolist() == (lead > 1).sum(1).tolist()
    assert sorted(pairs.tolist()) == (lead.abs() <= 1).nonzero().tolist()
    assert len(pairs) > STATES + 5 and counts.max() > 2


@pytest.mark.parametrize("width", [512, 700])
@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_lead_at_the_edge_of_doubt_counts_as_what_it_is_nearer_to(width, on_gpu):
    leads = torch.full((5, width), -3.0)
    leads[:, ::2] = 8.0
    leads[1:, 6] = torch.tensor([0.9999, -0.9999, 0.5, -0.5])
    leads[1:, 5] = -torch.inf
    counted, state, row = tally(leads, on_gpu)
    for s, surely, possibly in ((1, width / 2 - 1, width / 2), (2, width / 2 - 1, width / 2 - 1)):
        assert counted[s] in (surely, possibly)
        assert counted[s] == surely or s not in state
    assert counted[[0, 3, 4]].tolist() == [width / 2, width / 2 - 1, width / 2 - 1]
    found = dict(zip(state.tolist(), row.tolist(), strict=True))
    assert found[3] == found[4] == 6 and 0 not in found


@pytest.mark.parametrize("lead", [0.998, 0.99998])
def test_leads_at_the_edge_of_doubt_in_many_groups_lose_no_row(lead):
    leads = torch.full((1, 2**16), -3.0)
    leads[0, ::64] = lead
    counted, _, row = tally(leads, False)
    assert counted + len(row) == 1024


def test_counts_of_positive_values():
    torch.manual_seed(0)
    for width in (0, 5, 1024, 3 * 1024 + 7):
        values = torch.randn(3, width)
        values[0] = 1
        assert count_positive(values).tolist() == (values > 0).sum(1).tolist()


@pytest.mark.parametrize("width", [1, 64, 576, 8192])
def test_the_rounding_bound_holds_for_float32_products(width):
    torch.manual_seed(width)
    x, y = (torch.nn.functional.normalize(torch.randn(200, width)) for _ in range(2))
    error = (x @ y.T).double() - x.double() @ y.double().T
    assert error.abs().max() < rounding(width) < 1e-4


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("where", "name"), [("states", "state"), ("rows", "row"), ("offset", "row")]
)
def test_what_is_not_finite_is_refused(where, name, value):
    states, rows, own = made()
    offset = torch.zeros(1, WIDTH)
    {"states": states, "rows": rows, "offset": offset}[where][-1, 2] = value
    with pytest.raises(TokentrailsError, match=f"a {name} has values that are not finite"):
        closest(states, rows, own, offset=offset[0])


@pytest.mark.parametrize("scale", [1e-40, 1e-25, 1e-18, 1e18, 1e36])
def test_lengths_do_not_matter(blocks, scale):
    states, rows, own = with_ties()
    rows[5] = 0
    rows[::3] *= scale
    states[::2] *= scale
    assert_as_sorted(closest(states, rows, own, k=6), states, rows, own, 6)
    offset = 0.1 * scale * torch.randn(WIDTH)
    found = closest(states, rows, own, k=6, offset=offset)
    assert_as_sorted(found, states, rows, own, 6, offset=offset.numpy())


def test_no_states_have_no_ranks():
    _, rows, _ = made()
    found = closest(torch.empty(0, WIDTH), rows, torch.empty(0, dtype=torch.int64), k=3)
    assert len(found.rank) == 0 and found.nearest.shape == (0, 3)
    none = np.empty((0, WIDTH), np.float32)
    found = Vocabulary(["e"] * ROWS, rows).rank(none, np.empty(0, np.int64), 3, none)
    assert found.nearest.shape == (0, 3)


def test_a_state_as_far_from_all_rows_takes_no_room_of_others(monkeypatch):
    """All of its leads wait, which are as many as those of all others together."""
    states, rows, own = made(n=200, v=20_000)
    states[7] = 0
    made_room, new_full = [], torch.Tensor.new_full
    monkeypatch.setattr(
        torch.Tensor,
        "new_full",
        lambda t, size, *a: made_room.append(size) or new_full(t, size, *a),
    )
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 512)
    monkeypatch.setattr(module, "TILE_BYTES", {"cpu": 4 * 200 * 512 // torch.get_num_threads()})
    monkeypatch.setattr(module, "PLACES", 1 << 16)
    closest(states, rows, own, k=10)
    assert max(n * width for n, width in made_room) <= 1 << 16


def test_entries_of_rows():
    assert entries({"c": 3, "b": 1, "a": 0, "far": 4}, 4) == ["a", "b", None, "c"]


# --- the table --------------------------------------------------------------------------------


def vocabulary(v=16, d=6, unused=(12, 13, 14, 15)):
    torch.manual_seed(3)
    rows = torch.randn(v, d)
    rows[list(unused)] = 1.0  # near the states, which have a common direction
    return Vocabulary([None if i in unused else f"t{i}" for i in range(v)], rows)


def table_of(layers, **changes):
    options = {
        "nearest": 3,
        "baseline": NO_BASELINE,
        "offsets": None,
        "published": None,
        "pooling": "last",
        "groups": ["sense"],
        "provenance": PROVENANCE,
    } | changes
    tokens, classes = tokens_table(), pa.array(["content"] * 11 + [None])
    at = tokens.schema.get_field_index("word_class")
    return ranks(layers, tokens.set_column(at, "word_class", classes), vocabulary(), **options)


def slow_rank(hidden, own, offset=0.0, scale=1.0):
    words = vocabulary()
    known = [i for i, entry in enumerate(words.entries) if entry is not None]
    cosine = {i: slow_cosine(hidden, (words.rows[i].numpy() + offset) * scale) for i in known}
    order = sorted(known, key=lambda i: -cosine[i])
    return cosine[own], order.index(own), [(f"t{i}", cosine[i]) for i in order[:3]]


@pytest.mark.parametrize("pooling", ["first", "last"])
@pytest.mark.parametrize("positional", [False, True])
def test_the_table_is_a_plain_loop(pooling, positional):
    layers, _ = random_layers()
    tokens = tokens_table()
    positions = tokens[pooling].to_pylist()
    draw = np.random.default_rng(5).normal(size=(9, 6)).astype(np.float32)
    offsets = draw[positions] if positional else None
    table = table_of(layers, pooling=pooling, offsets=offsets)
    rows = by_key(table, "label", "site", "layer")
    for i, label in enumerate(tokens["label"].to_pylist()):
        own = tokens["token_ids"][i].as_py()[positions[i]]
        for place in layers:
            row = rows[label, place.site, place.layer]
            offset = draw[positions[i]] if positional else 0.0
            cosine, rank, near = slow_rank(place.hidden[i], own, offset)
            assert (row["rank"], row["nearest"]) == (rank, [name for name, _ in near])
            assert row["cosine"] == pytest.approx(cosine, abs=1e-6)
            assert row["nearest_cosine"] == pytest.approx([c for _, c in near], abs=1e-6)
            assert (row["position"], row["token"]) == (positions[i], f"t{own}")
            assert row["positional"] is positional
            assert row["cosine_as_published"] is row["rank_as_published"] is None
    keys = [(r["label"], r["site"], r["layer"], r["position"]) for r in table.to_pylist()]
    assert keys == sorted(keys)
    assert {r["word_class"] for r in table.to_pylist()} == {"content", None}


def test_standardised_ranks_are_those_of_z_scores_without_positions():
    layers, _ = random_layers()
    rng = np.random.default_rng(6)
    of_rows = rng.normal(size=6), np.array([0.5, 1.0, 2.0, 1.0, 3.0, 0.0])
    of_states = {at.place: (rng.normal(size=6), rng.uniform(0.5, 2, 6)) for at in layers[1:]}
    baseline = Baseline(moments={**of_states, EMBEDDING: of_rows})
    tokens = tokens_table()
    offsets = rng.normal(size=(len(tokens), 6)).astype(np.float32)
    table = table_of(layers, baseline=baseline, offsets=offsets)
    names = ["rank_standardised", "neighbour_standardised"]
    assert table.drop(names).equals(table_of(layers, offsets=offsets).drop(names))
    rows = by_key(table, "label", "site", "layer")
    scale = np.divide(1, of_rows[1], out=np.zeros(6), where=of_rows[1] > 0)
    for i, label in enumerate(tokens["label"].to_pylist()):
        own = tokens["token_ids"][i].as_py()[tokens["last"][i].as_py()]
        for at in layers:
            found = rows[label, at.site, at.layer]["rank_standardised"]
            if at.place not in of_states:
                assert found is None
                continue
            mean, deviation = of_states[at.place]
            z = (at.hidden[i] - mean) / deviation
            assert found == slow_rank(z, own, -of_rows[0], scale)[1]


def test_neighbours_are_the_closest_rows_of_other_words():
    rng = np.random.default_rng(8)
    names = ["Ġlead", "lead", "Lead", "▁LEAD", "bank", "Ġtin", None, "ĠTin", "gone", "##bank"]
    rows = rng.normal(size=(len(names), 5)).astype(np.float32)
    rows[8], rows[6] = 0, rows[0]  # a row that the tokenizer does not use is nobody's neighbour
    word = ["lead"] * 4 + ["bank", "tin", None, "tin", "gone", "bank"]
    words = Vocabulary(names, torch.from_numpy(rows))
    moments = rng.normal(size=5), rng.uniform(0.5, 2, 5)
    z_words = words.standardised(Baseline(moments={EMBEDDING: moments}))
    own = np.array([0, 5, 5, 3, 8, 9, 4])
    for scored, given in ((words, rows), (z_words, (rows - moments[0]) / moments[1])):
        others = [
            [
                slow_cosine(given[i], given[j])
                for j, each in enumerate(word)
                if each and each != word[i]
            ]
            for i in own
        ]
        found = scored.neighbour_cosines(own)
        for value, i, near in zip(found, own, others, strict=True):
            if scored is words and i == 8:
                assert np.isnan(value)
            else:
                assert value == pytest.approx(max(x for x in near if x is not None), abs=1e-6)


@pytest.mark.parametrize("rows", [[[1.0, 0.0], [0.5, 0.5]], [[1.0, 0.0], [0.0, 0.0]]])
def test_an_entry_without_another_word_has_no_neighbour(rows):
    """A row of zeros is near to nothing, and nothing is near to it."""
    names = ["a", "A"] if rows[1][0] else ["a", "b"]
    found = Vocabulary(names, torch.tensor(rows)).neighbour_cosines(np.array([0, 1]))
    assert np.isnan(found).all()


def test_neighbours_are_found_only_where_they_are_asked_for():
    layers, _ = random_layers()
    baseline = Baseline(moments={EMBEDDING: (np.zeros(6), np.ones(6))})
    full, less = (table_of(layers, baseline=baseline, neighbours=n) for n in (True, False))
    names = ["neighbour_cosine", "neighbour_standardised"]
    assert [full[name].null_count for name in names] == [0, 0]
    assert [less[name].null_count for name in names] == [len(less)] * 2
    assert less.drop(names).equals(full.drop(names)) and less.schema.equals(full.schema)


def test_the_published_columns_leave_the_others_as_they_are():
    layers, _ = random_layers()
    other, _ = random_layers(seed=9)
    theirs = {place.layer: place.hidden for place in other if place.site == "resid_mid"}
    offset = np.full(6, 0.5, np.float32)
    both = table_of(layers, published=Published(theirs.__getitem__, offset))
    alone = table_of(layers)
    names = ["cosine_as_published", "rank_as_published"]
    assert both.drop(names).equals(alone.drop(names))
    rows = by_key(both, "label", "site", "layer")
    tokens = tokens_table()
    for i, label in enumerate(tokens["label"].to_pylist()):
        for place in layers:
            row = rows[label, place.site, place.layer]
            if place.site != "resid_mid":
                assert row["rank_as_published"] is None
                continue
            own = tokens["token_ids"][i].as_py()[tokens["last"][i].as_py()]
            cosine, rank, _ = slow_rank(theirs[place.layer][i], own, offset)
            assert row["rank_as_published"] == rank
            assert row["cosine_as_published"] == pytest.approx(cosine, abs=1e-6)


def test_a_state_that_is_short_has_a_direction():
    layers, _ = random_layers()
    expected = table_of(layers)
    layers[0].hidden[4] *= np.float32(1e-30)
    found = table_of(layers)
    for name in ("rank", "nearest"):
        assert found[name].equals(expected[name])


def test_a_state_without_a_direction_has_nulls():
    layers, _ = random_layers()
    layers[0].hidden[4] = 0
    label = tokens_table()["label"][4].as_py()
    row = by_key(table_of(layers), "label", "site", "layer")[label, layers[0].site, layers[0].layer]
    assert row["cosine"] is row["rank"] is row["nearest"] is row["nearest_cosine"] is None


def test_no_nearest_entries_if_none_are_wanted():
    layers, _ = random_layers()
    table = table_of(layers, nearest=0)
    assert table["nearest"].to_pylist()[0] == []
    assert table.drop(["nearest", "nearest_cosine"]).equals(
        table_of(layers).drop(["nearest", "nearest_cosine"])
    )
