"""The settings of the analyses that look inside the blocks, and what is refused."""

from pathlib import Path

import pytest
import yaml
from test_config import CONFIG, changed, refuse_config, refuse_prompts

from tokentrails.catalogue import ANALYSES
from tokentrails.config.load import load_config

CIRCUITS = tuple(each.name for each in ANALYSES if each.inside)

WHOLE = [{"label": "one", "prompt": "She sings."}, {"label": "two", "prompt": "He sings."}]


@pytest.fixture(autouse=True)
def whole(tmp_path, monkeypatch):
    """A working directory with an experiment file of two whole texts and every analysis of them."""
    monkeypatch.chdir(tmp_path)
    write(*CIRCUITS)


def write(*analyses):
    content = {"analyses": list(analyses), "prompts": WHOLE}
    Path("e.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def circuits(given):
    return changed(CONFIG, "experiments", "e", "circuits", given)


def test_defaults_are_filled_in():
    read = load_config(CONFIG).experiments["e"].circuits
    assert (read.top, read.whole_words, read.high_bias, read.strongest) == (10, True, 2.0, 10)
    assert read.layers is read.heads is None
    assert read.show == "one"


def test_given_values_win():
    given = {"top": 3, "layers": [5, 0], "heads": [1], "whole_words": False, "show": "two"}
    read = load_config(circuits(given)).experiments["e"].circuits
    assert read.list_settings == {"top": 3, "whole_words": False, "high_bias": 2.0}
    assert (read.layers, read.heads, read.show) == ((0, 5), (1,), "two")
    assert read.head_settings == read.list_settings | {"layers": (0, 5), "heads": (1,)}
    assert read.activation_settings == {"layers": (0, 5), "strongest": 10}


@pytest.mark.parametrize("analysis", CIRCUITS)
def test_each_analysis_has_the_settings_and_others_have_none(analysis):
    write(analysis)
    assert load_config(CONFIG).experiments["e"].circuits is not None
    assert load_config(changed(CONFIG, "experiments", "e", "sites", ["resid_mid"]))
    write("ranks")
    assert load_config(CONFIG).experiments["e"].circuits is None
    refuse_config(circuits({"top": 3}), "e.yaml", "none of the analyses heads", "experiments.e")


def test_prompts_with_targets_have_no_heads():
    content = {"analyses": ["heads"], "prompts": [{"label": "a", "word": "x", "prompt": "x"}]}
    refuse_prompts(content, "'heads' is not an analysis of prompts with targets")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("top", value) for value in (0, 101, 2.5, "ten")],
        *[("whole_words", value) for value in ("yes", 1)],
        *[("high_bias", value) for value in (-1, "2", None)],
        *[(key, value) for key in ("layers", "heads") for value in ([], [-1], 3, "some", [1, 1])],
        ("strongest", 0),
        ("show", ""),
        ("show", "three"),
    ],
)
def test_a_bad_value_is_shown_with_its_key(key, value):
    shown = value[0] if isinstance(value, list) and value == [-1] else value
    refuse_config(circuits({key: value}), f"experiments.e.circuits.{key}", repr(shown))


def test_a_misspelt_key_is_an_error():
    refuse_config(circuits({"layer": [0]}), "unknown key 'layer'", "did you mean 'layers'?")


def test_a_checkpoint_has_one_list_of_its_neurons():
    other = {"file": "e.yaml", "circuits": {"top": 3}}
    data = changed(CONFIG, "experiments", "f", other)
    refuse_config(data, "experiments.f.circuits.top", "top is 3 here and 10 in 'e'", "neurons")
    apart = changed(data, "models", "n", {"source": "path:x"})
    apart = changed(apart, "experiments", "f", other | {"models": ["n"]})
    assert load_config(changed(apart, "experiments", "e", "models", ["m"]))
    write("heads")
    assert load_config(data)
    write("neurons")
    assert load_config(circuits({"layers": [0]}))  # what is said of a text may differ
