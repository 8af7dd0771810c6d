"""Lists of words against plain loops over the vocabulary in float64, for every architecture."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tiny
import torch
from torch.nn import functional

from tokentrails.errors import TokentrailsError
from tokentrails.metrics.head_summary import Words
from tokentrails.network.factored import Factored
from tokentrails.vocabulary import cosines
from tokentrails.vocabulary import nearest as module
from tokentrails.vocabulary.nearest import GROUP, SPARE, Space, nearest
from tokentrails.vocabulary.spaces import Spaces, are_whole_words, surfaces, vocabulary_bias

K = 7


@pytest.fixture(scope="session")
def parts_of(tiny_model):
    return lambda name: tiny_model(name).parts


@pytest.fixture(scope="session")
def spaces_of(tiny_model):
    """The spaces of a tiny model, with all entries or with whole words alone."""

    @cache
    def make(name, whole_words=False):
        return Spaces(tiny_model(name).parts, tiny_model(name).names, whole_words=whole_words)

    return make


# --- which entries are listed -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Ġlead", "lead", "Ġ", "Ġ12", "Ġdon't", "ĠÐ¿", "Ġ.", "<s>", None], "Ġlead Ġdon't ĠÐ¿"),
        (["▁lead", "lead", "▁", "▁don", "▁▁a", "<0x0A>", "▁a1", None], "▁lead ▁don"),
        (["lead", "##ing", "[CLS]", "naïve", "12", ".", "-", "##a", None], "lead naïve"),
    ],
)
def test_whole_words_begin_with_the_mark_of_their_tokenizer(names, words):
    listed = are_whole_words(names, surfaces(names))
    assert [name for name, kept in zip(names, listed, strict=True) if kept] == words.split()


def test_a_letter_is_no_mark_of_a_space():
    """Maltese has the letter Ġ: beside `Ġakbu` no other entry would be listed."""
    names = ["Ġakbu", "dar", "ġdid", "##ar", "čas"]
    listed = are_whole_words(names, surfaces(names, byte_level=False))
    assert list(listed) == [True, True, True, False, True]


def test_spaces_know_the_tokenizer(parts_of):
    parts = parts_of("gpt2")
    names = ["Ġakbu", "dar", "ðŁĺ"] + ["##ar"] * (len(parts.embedding) - 3)
    assert Spaces(parts, names, byte_level=False).entries.tolist() == [0, 1, 2]
    known = Spaces(parts, names, byte_level=True)
    assert known.entries.tolist() == [0]
    # Half a character begins with no letter.
    assert Words.of(known).letter[:3].tolist() == [ord("a"), ord("d"), -1]


def test_a_vocabulary_without_words_is_refused(parts_of):
    parts = parts_of("gpt2")
    with pytest.raises(TokentrailsError, match=r"no entry .* whole word\n*.*whole_words: false"):
        Spaces(parts, ["."] * len(parts.embedding))


# --- the spaces -------------------------------------------------------------------------------


def rows_of(space):
    """The rows that a space stands for, multiplied out, in float64."""
    n = len(space.entries)
    return space.rows[:n].double() * space.gain.double() + space.shift.double()


def same_direction(rows, expected):
    cosine = functional.cosine_similarity(rows, expected, dim=1)
    assert cosine.min() > 1 - 1e-9


@pytest.mark.parametrize("name", [*tiny.CONFIGS, "granite", "modernbert"])
@torch.no_grad()
def test_the_spaces_are_what_the_model_reads(tiny_model, spaces_of, name):
    model, spaces = tiny_model(name), spaces_of(name)
    listed = spaces.entries.numpy()

    def expected(space, layer=0):
        return torch.from_numpy(model.rows(space, layer)[listed])

    assert torch.equal(rows_of(spaces.embedding), expected("embedding"))
    for layer in range(3):
        for kind in ("attention_input", "mlp_input"):
            space = getattr(spaces, kind)(layer)
            same_direction(rows_of(space), expected(kind, layer))
            torch.testing.assert_close(space.lengths, rows_of(space).norm(dim=1))
            assert len(space.rows) % GROUP == 0
    if name in tiny.ENCODERS:
        assert spaces.unembedding is None
    else:
        torch.testing.assert_close(rows_of(spaces.unembedding), expected("unembedding"))


def test_rows_that_no_list_may_have(parts_of, spaces_of, files):
    vocabulary = files("llama").tokenizer.get_vocab()
    assert set(spaces_of("llama").entries.tolist()) == set(vocabulary.values())
    words = spaces_of("llama", whole_words=True).entries.tolist()
    expected = [
        i for w, i in vocabulary.items() if w[0] == "▁" and w[1:].replace("'", "").isalpha()
    ]
    assert words == sorted(expected)


@pytest.mark.parametrize("matrix", ["embedding", "unembedding"])
def test_a_row_of_zeros_is_never_listed(parts_of, spaces_of, files, matrix):
    parts, words = parts_of("llama"), spaces_of("llama", whole_words=True).entries.tolist()
    changed = getattr(parts, matrix).clone()
    changed[words[0]] = 0
    names = files("llama").entries(len(changed))
    left = Spaces(replace(parts, **{matrix: changed}), names)
    assert left.entries.tolist() == words[1:]
    assert left.z.isfinite().all() and left.z.std() > 0.5


def test_a_short_row_is_listed(parts_of, spaces_of, files):
    parts, space = parts_of("llama"), spaces_of("llama", whole_words=True).embedding
    changed = parts.embedding.clone()
    changed[space.entries[3]] *= 1e-30
    names = files("llama").entries(len(changed))
    found = nearest(space.rows[:5], Spaces(replace(parts, embedding=changed), names).embedding, 1)
    assert found.entries[3].tolist() == [space.entries[3].item()]
    np.testing.assert_allclose(found.cosines, 1)


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "gemma2", "modernbert"])
def test_the_bias_is_a_z_score_over_the_entries(parts_of, spaces_of, files, name):
    parts = parts_of(name)
    n = len(files(name).tokenizer.get_vocab())
    rows = parts.unembedding.double().numpy()[:n]
    if name == "gpt2":
        b = rows @ parts.final_norm.bias.double().numpy()
    else:
        mean = rows.mean(0)
        b = [r @ mean / np.linalg.norm(r) / np.linalg.norm(mean) for r in rows]
    z = (b - np.mean(b)) / np.std(b)
    known = torch.arange(len(parts.embedding)) < n
    found = vocabulary_bias(parts, known)
    np.testing.assert_allclose(found[:n], z, atol=1e-5)
    assert found[n:].isnan().all() and len(found) > n
    words = spaces_of(name, whole_words=True)
    np.testing.assert_allclose(words.z, z[words.entries], atol=1e-5)  # not over the words alone


# --- the lists --------------------------------------------------------------------------------


def by_sorting(vectors, rows, k):
    """The k nearest rows by a stable sort of all cosines in float64, one vector at a time."""
    rows = rows.double().numpy()
    nearest_rows, cosines = [], []
    for vector in vectors.double().numpy():
        cosine = rows @ vector / np.linalg.norm(rows, axis=1) / np.linalg.norm(vector)
        order = np.argsort(-cosine.round(11), kind="stable")[:k]
        nearest_rows.append(order)
        cosines.append(cosine[order])
    return np.array(nearest_rows), np.array(cosines)


def assert_as_sorted(found, vectors, space, k=K):
    rows, cosines = by_sorting(vectors, rows_of(space), k)
    assert found.entries.tolist() == space.entries.numpy()[rows].tolist()
    np.testing.assert_allclose(found.cosines, cosines, atol=1e-12)
    np.testing.assert_allclose(found.bias, space.z.abs().numpy()[rows].mean(1), atol=1e-6)


def space_of(v=301, d=24, seed=0, shift=True):
    """A space of made-up rows, some of them equal."""
    torch.manual_seed(seed)
    rows = torch.randn(v, d) + 0.3
    rows[10:14] = rows[200]
    rows[20] = 2 * rows[200]
    gain = torch.rand(d) + 0.5
    bias = torch.randn(d) * 2 if shift else torch.zeros(d)
    lengths = (rows.double() * gain.double() + bias.double()).norm(dim=1)
    padded = functional.pad(rows, (0, 0, 0, -v % GROUP))
    order = torch.arange(v).flip(0) * 3  # numbers in the vocabulary are not those of the rows
    return Space("made", order, padded, gain, bias, lengths, torch.randn(v))


@pytest.fixture(params=["whole", "blocks"])
def blocks(request, monkeypatch):
    """Everything at once, and in blocks of a few vectors and of one matrix."""
    if request.param == "blocks":
        monkeypatch.setattr(module, "SCORES_BYTES", 1)
        monkeypatch.setattr(module, "VECTORS_AT_ONCE", 3)
        monkeypatch.setattr(module, "THIN_BYTES", 1)
        monkeypatch.setattr(cosines, "PAIR_BYTES", {"cpu": 1})


@pytest.mark.parametrize("shift", [True, False])
def test_lists_are_those_of_a_sort(blocks, shift):
    space = space_of(shift=shift)
    vectors = torch.randn(17, 24)
    vectors[3] = space.rows[200] * 1e-3 + 1e-4 * torch.randn(24)  # near to equal rows
    found = nearest(vectors, space, K)
    assert_as_sorted(found, vectors, space)
    assert found.entries[3].tolist()[:2] == [870, 867] or shift


def test_lengths_of_vectors_do_not_matter():
    space = space_of(shift=False)
    vectors = torch.randn(5, 24)
    near = nearest(vectors, space, K)
    far = nearest(vectors * torch.tensor([1e-30, 1e-3, 1, 1e3, 1e30])[:, None], space, K)
    assert np.array_equal(near.entries, far.entries)
    np.testing.assert_allclose(near.cosines, far.cosines, atol=1e-7)


def factored(space, heads=4, t=9, d_head=6, matrix=(0, 0, 1, 2)):
    torch.manual_seed(5)
    right = torch.randn(max(matrix) + 2, d_head, space.rows.shape[1])  # the last one is nobody's
    return Factored(torch.randn(heads, t, d_head) * 3, right, matrix)


@pytest.mark.parametrize("matrix", [(0, 0, 1, 2), (2, 0, 2, 1), (1, 1, 1, 1)])
def test_both_ways_of_scoring_give_the_same_lists(blocks, monkeypatch, matrix):
    space, used = space_of(), []
    vectors = factored(space, matrix=matrix)
    whole = vectors.product()
    for head, number in enumerate(matrix):
        torch.testing.assert_close(whole[head], vectors.left[head] @ vectors.right[number])
    for cheaper in (True, False):
        monkeypatch.setattr(Factored, "multiplying_out_is_cheaper", lambda *_, c=cheaper: c)
        for way in ("_directly", "_by_thin_factors"):
            original = getattr(module, way)
            monkeypatch.setattr(module, way, lambda *a, w=way, f=original: used.append(w) or f(*a))
        found = nearest(vectors, space, K)
        assert_as_sorted(found, whole.flatten(0, 1), space)
        monkeypatch.undo()
    assert set(used) == {"_directly", "_by_thin_factors"}


def test_thin_factors_are_used_where_they_are_cheaper():
    """smollm2-135m: 9 heads of 64 that share 3 keys; query patterns and messages."""
    for tokens, matrix, direct in [
        (8, (0, 0, 0, 1, 1, 1, 2, 2, 2), True),
        (40, (0, 0, 0, 1, 1, 1, 2, 2, 2), False),
        (40, tuple(range(9)), True),
        (256, tuple(range(9)), False),
    ]:
        made = Factored(torch.empty(9, tokens, 64), torch.empty(9, 64, 576), matrix)
        assert made.multiplying_out_is_cheaper(30_000) is direct


def test_a_part_of_the_heads_is_that_part():
    vectors = factored(space_of())
    part = vectors.take([3, 1])
    assert part.matrix == (2, 0) and torch.equal(part.product(), vectors.product()[[3, 1]])


@pytest.mark.parametrize("as_factors", [True, False])
def test_a_vector_without_a_direction_has_no_cosines(monkeypatch, as_factors):
    space = space_of()
    vectors = factored(space)
    vectors.left[1, 2] = 0
    monkeypatch.setattr(Factored, "multiplying_out_is_cheaper", lambda *_: False)
    found = nearest(vectors if as_factors else vectors.product().flatten(0, 1), space, K)
    assert np.isnan(found.cosines).any(axis=1).nonzero()[0].tolist() == [11]


@pytest.mark.parametrize("v", [1, 5, GROUP, GROUP + 3])
def test_no_more_entries_than_there_are(v):
    space = space_of(max(v, 301))
    few = Space("few", space.entries[:v], functional.pad(space.rows[:v], (0, 0, 0, -v % GROUP)),
                space.gain, space.shift, space.lengths[:v], space.z[:v])  # fmt: skip
    vectors = torch.randn(4, 24)
    assert_as_sorted(nearest(vectors, few, v + SPARE), vectors, few, v)


def test_a_vector_that_is_not_finite_is_refused():
    vectors = torch.randn(3, 24)
    vectors[1, 2] = torch.nan
    with pytest.raises(TokentrailsError, match="a vector has values that are not finite"):
        nearest(vectors, space_of(), K)
