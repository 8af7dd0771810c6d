"""The experiment of random pairs, which the configuration adds by itself."""

from pathlib import Path

import pytest
import yaml

from tokentrails.config.load import load_config
from tokentrails.errors import TokentrailsError
from tokentrails.settings import BASELINE_TEXTS

ROOT = Path(__file__).parent.parent
TARGET = {"label": "a", "word": "lead", "prompt": "She will lead the team."}
WHOLE = {"label": "a", "prompt": "She will lead the team."}
FILES = {
    "targets": {"prompts": [TARGET]},
    "settling": {"analyses": ["convergence"], "prompts": [TARGET]},
    "texts": {"prompts": [WHOLE]},
    "own": {"analyses": ["heads"], "prompts": [WHOLE | {"prompt": "Other texts."}]},
    "words": {"words": {}},
    "moved": {"words": {}, "contexts": ["{word} a", "{word} b"]},
}
MODELS = {
    "one": {"source": "path:one"},
    "two": {"source": "path:two"},
    "many": {"source": "path:many", "checkpoints": ["step0", "step1"], "keep_weights": False},
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, data in FILES.items():
        Path(f"{name}.yaml").write_text(yaml.safe_dump(data))


def load(experiments, **more):
    entries = {n: {"file": f"{n}.yaml"} | entry for n, entry in experiments.items()}
    return load_config({"models": MODELS, "experiments": entries} | more)


def refused(experiments, **more):
    with pytest.raises(TokentrailsError) as caught:
        load(experiments, **more)
    return str(caught.value)


def test_it_is_there_for_the_models_and_sites_of_similarities_alone():
    config = load(
        {
            "targets": {"models": ["two"], "sites": ["resid"]},
            "moved": {"models": ["many"], "sites": ["resid", "final_norm"]},
            "settling": {"models": ["many"], "sites": ["resid", "resid_mid"]},
            "texts": {"models": ["one"], "sites": ["resid_mid"]},
        }
    )
    added = config.experiments["baseline"]
    assert list(config.experiments)[-1] == "baseline"
    assert added.models == ("two", "many") and added.sites == ("final_norm", "resid")
    assert added.analyses == ("baseline",) and added.has_whole_texts
    assert added.ranks is None and added.circuits is None
    assert added.file == BASELINE_TEXTS and len(added.prompts) > 50
    runs = [(m.name, c) for m, c, e in config.runs() if e.name == "baseline"]
    assert runs == [("two", "main"), ("many", "step0"), ("many", "step1")]


@pytest.mark.parametrize("experiments", [{"texts": {}}, {"settling": {"models": ["many"]}}])
def test_it_is_not_there_where_nothing_is_compared_with_it(experiments):
    assert "baseline" not in load(experiments).experiments


def test_it_can_be_switched_off_and_have_texts_of_its_own():
    off = load({"targets": {}}, baseline={"enabled": False})
    assert "baseline" not in off.experiments
    default, own = (load({"targets": {}}, baseline=b) for b in ({}, {"file": "own.yaml"}))
    added = own.experiments["baseline"]
    assert added.file == "own.yaml" and added.prompts[0].prompt == "Other texts."
    assert added.analyses == ("baseline",)  # whatever the file asks for
    assert added.hash != default.experiments["baseline"].hash


def test_the_default_texts_are_found_from_anywhere_unless_there_are_own_ones():
    default = load({"targets": {}}).experiments["baseline"]
    assert default.prompts[0].label == "spring"  # those of the project
    Path(BASELINE_TEXTS).parent.mkdir(parents=True)
    Path(BASELINE_TEXTS).write_text(yaml.safe_dump(FILES["texts"]))
    assert load({"targets": {}}).experiments["baseline"].prompts[0].label == "a"


def test_a_site_that_is_not_compared_makes_no_difference():
    one = load({"targets": {}}).experiments["baseline"]
    other = load({"targets": {}, "texts": {}}).experiments["baseline"]
    assert one == other


def test_the_name_is_taken():
    message = refused({"baseline": {"file": "targets.yaml"}})
    for part in ("the name 'baseline' is taken", "experiments.baseline", "otherwise"):
        assert part in message


@pytest.mark.parametrize(
    ("name", "what"), [("targets", "prompts with targets"), ("words", "words")]
)
def test_only_whole_texts_will_do(name, what):
    message = refused({"targets": {}}, baseline={"file": f"{name}.yaml"})
    for part in ("baseline.file", f"{name}.yaml", what, "Hint: "):
        assert part in message


def test_mistakes_are_named():
    assert "gone.yaml" in refused({"targets": {}}, baseline={"file": "gone.yaml"})
    assert "enabled" in refused({"targets": {}}, baseline={"enable": True})
