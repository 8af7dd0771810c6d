"""What models cannot give is said when a run is planned, as far as that is known then."""

import json
import shutil
from pathlib import Path

import pytest
import tiny
from config_files import CONFIG, WHOLE, changed, load, refused, written
from safetensors.torch import load_file, save_file

from tokentrails.models.supported import refuse_analyses

INSIDE = ("heads", "neurons", "evolution", "attribution", "ablation", "own_token")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def planned(folder, *analyses, **options):
    """A configuration with a model in a folder and an experiment of whole texts."""
    written({"analyses": [*analyses, "identity"], "prompts": [WHOLE]})
    data = changed(CONFIG, "models.m.source", f"path:{folder}")
    for key, value in options.items():
        data = changed(data, f"experiments.e.{key.replace('__', '.')}", value)
    return data


@pytest.mark.parametrize("kind", tiny.EXPERTS)
def test_neurons_of_experts_are_refused_and_everything_else_is_not(saved, kind):
    others = [name for name in INSIDE if name != "neurons"]
    refuse_analyses(load(planned(saved[kind], *others)))
    with refused(
        "experiments.e.analyses: neurons cannot be had of 'm'",
        f"({kind})",
        "its MLPs are experts",
        "leave",
    ):
        refuse_analyses(load(planned(saved[kind], *INSIDE)))


def test_neurons_of_experts_of_a_type_outside_the_table(tmp_path):
    saved = tiny.save("phimoe", tmp_path / "saved", **tiny.MORE["mixtral"])
    with refused("neurons cannot be had of 'm' (phimoe)", "its MLPs are experts"):
        refuse_analyses(load(planned(saved, "neurons")))


@pytest.mark.parametrize(
    ("kind", "option", "reason"),
    [
        ("llama", "positional", "no learned vector of a position"),
        ("bloom", "positional", "no learned vector of a position"),
        ("gpt2", "as_published", "bert and roberta models"),
        ("camembert", "as_published", "bert and roberta models"),
        ("roberta", "positional", None),
        ("roberta", "as_published", None),
    ],
)
def test_options_of_ranks_that_a_model_has_not(saved, kind, option, reason):
    config = load(planned(saved[kind], "ranks", **{f"ranks__{option}": True}))
    if reason is None:
        return refuse_analyses(config)
    place = f"c.yaml, line 8, experiments.e.ranks.{option}: "
    with refused(f"{place}ranks with {option}: true cannot be had of 'm' ({kind})", reason):
        refuse_analyses(config)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"circuits__layers": [0, 3]}, "there is no layer 3: the model has 3 layers"),
        ({"circuits__heads": [4]}, "there is no head 4: the model has 4 heads"),
        ({"circuits__layers": [0, 2], "circuits__heads": [3]}, None),
    ],
)
def test_layers_and_heads_that_a_model_has_not(saved, options, part):
    config = load(planned(saved["llama"], "heads", **options))
    if part is None:
        return refuse_analyses(config)
    with refused("experiments.e.circuits, model m", part):
        refuse_analyses(config)


def at_hub(data):
    """The same, of the hub."""
    return changed(data, "models.m.source", "hub:owner/m")


def kept(folder, **facts):
    """The folder as that of the model m, which the hub has."""
    made = shutil.copytree(folder, Path("resources/models/m/main"))
    path = made / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"source": "hub:owner/m"} | facts))


def test_of_what_is_not_on_this_disk_nothing_is_known(prepared):
    data = at_hub(planned("nowhere", "neurons"))
    refuse_analyses(load(data))
    kept(prepared["mixtral"])
    with refused("neurons cannot be had of 'm' (mixtral)"):
        refuse_analyses(load(data))
    refuse_analyses(load(changed(data, "models.m.source", "hub:owner/other")))


@pytest.mark.parametrize("analysis", INSIDE)
def test_of_a_model_whose_parts_did_not_add_up_the_stream_alone_is_read(prepared, analysis):
    errors = {"heads": 0.25, "neurons": 1e-7}
    kept(prepared["llama"], self_check={"grade": "states", "errors": errors})
    refuse_analyses(load(at_hub(planned("nowhere", "ranks", "geometry"))))
    with refused(f"{analysis} cannot be had of 'm'", "heads are off by up to 0.25"):
        refuse_analyses(load(at_hub(planned("nowhere", analysis))))


def headless(folder):
    """The files of a model in a folder, whose weights have no head."""
    tensors = load_file(folder / "model.safetensors")
    head = {name for name in tensors if name.startswith("cls.predictions.")}
    assert head
    target = shutil.copytree(folder, Path("headless"))
    save_file({k: v for k, v in tensors.items() if k not in head}, target / "model.safetensors")
    return target


def test_the_stream_of_an_encoder_without_a_head_is_not_read_as_words(saved):
    refuse_analyses(load(planned(saved["bert"], *INSIDE)))
    data = planned(headless(saved["bert"]), *INSIDE)
    with refused("experiments.e.analyses: evolution cannot be had of 'm' (bert)", "have no head"):
        refuse_analyses(load(data))
    refuse_analyses(load(planned("headless", *(set(INSIDE) - {"evolution"}))))


def test_that_a_prepared_model_has_no_head_is_known(prepared):
    kept(prepared["bert"], self_check={"grade": "full", "errors": {"heads": 1e-7}})
    refuse_analyses(load(at_hub(planned("nowhere", "own_token"))))
    with refused("evolution cannot be had of 'm' (bert)", "have no head"):
        refuse_analyses(load(at_hub(planned("nowhere", "evolution"))))


@pytest.mark.parametrize("kind", sorted(tiny.CONFIGS))
def test_models_with_a_head_are_known_to_have_one(saved, prepared, kind):
    lacking = {"neurons"} if kind in tiny.EXPERTS else set()
    refuse_analyses(load(planned(saved[kind], *(set(INSIDE) - lacking))))
    kept(prepared[kind])
    refuse_analyses(load(at_hub(planned("nowhere", "evolution"))))


def test_what_is_made_of_a_model_lacks_what_it_lacks_and_all_are_named_at_once(saved):
    data = planned(saved["mixtral"], "neurons")
    data = changed(data, "models.r", {"source": "random:m"})
    with refused("2 analyses cannot be made", "neurons cannot be had of 'm'", "of 'r' (mixtral)"):
        refuse_analyses(load(data))
