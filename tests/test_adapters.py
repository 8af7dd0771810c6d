"""Adapters as PEFT saves them: merged into their base, or refused."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import tiny
import torch
import workflow as wf
from config_files import CONFIG, changed, load, refused
from conftest import local_source
from pytest import approx
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from tokentrails.models import merge
from tokentrails.models.adapter import MERGED
from tokentrails.models.prepare import prepare
from tokentrails.models.source import files_of_all, source_files

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
TYPES = ("gpt2", "llama", "bert")


@pytest.fixture(scope="module")
def bases(saved, prepared) -> dict[str, tuple[Path, Path]]:
    """Models as they were saved, and as `model` prepares them."""
    return {name: (saved[name], prepared[name]) for name in TYPES}


def adapter(base: Path, folder: Path, config: peft.PeftConfig, head=AutoModelForCausalLM) -> Path:
    """Save an adapter of random numbers."""
    torch.manual_seed(1)
    model = peft.get_peft_model(head.from_pretrained(base, dtype=torch.float32), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    return folder


def source(folder: Path, base: Path):
    return replace(local_source("tuned", folder), base=str(base))


def made(bases, name: str, tmp_path: Path, config: peft.PeftConfig, **kind) -> dict[str, Tensor]:
    """The weights of a merged model."""
    folder = adapter(bases[name][0], tmp_path / "adapter", config, **kind)
    prepare(source(folder, bases[name][1]), "main", tmp_path / "made")
    return load_file(tmp_path / "made/model.safetensors")


LORA = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj"]}


@pytest.mark.parametrize(
    ("keys", "scale"),
    [
        ({}, 6 / 4),
        ({"use_rslora": True}, 6 / 2),
        ({"rank_pattern": {"down_proj": 2}, "alpha_pattern": {"down_proj": 5}}, 6 / 4),
        ({"modules_to_save": ["lm_head"]}, 6 / 4),
        ({"use_dora": True}, 6 / 4),
    ],
    ids=["lora", "rslora", "patterns", "modules_to_save", "dora"],
)
def test_merged_weights_are_the_base_and_the_product_of_the_two_factors(
    bases, tmp_path, keys, scale
):
    found = made(bases, "llama", tmp_path, peft.LoraConfig(**LORA | keys))
    own = load_file(bases["llama"][1] / "model.safetensors")
    parts = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert found.keys() == own.keys()
    changed = set()
    for name, weight in own.items():
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        expected = weight.double()
        if f"{stem}.lora_A.weight" in parts:
            A, B = (parts[f"{stem}.lora_{x}.weight"].double() for x in "AB")
            by = 5 / 2 if "down_proj" in name and "rank_pattern" in keys else scale
            columns = A.T.tolist()
            for row, factors in zip(expected, B.tolist(), strict=True):
                for j, column in enumerate(columns):
                    row[j] += by * sum(b * a for b, a in zip(factors, column, strict=True))
            if "use_dora" in keys:  # each row gets the length that was learnt
                length = parts[f"{stem}.lora_magnitude_vector"].double()
                expected = expected / expected.norm(dim=1, keepdim=True) * length[:, None]
        elif f"{stem}.weight" in parts:
            expected = parts[f"{stem}.weight"].double()
        torch.testing.assert_close(found[name].double(), expected, atol=1e-6, rtol=1e-5)
        if not torch.equal(found[name], weight):
            changed.add(name.split(".")[-2])
    assert changed == {"q_proj", "down_proj"} | set(keys.get("modules_to_save", ()))


def test_matrices_the_other_way_round_and_biases(bases, tmp_path):
    """GPT-2 keeps its matrices transposed."""
    config = peft.LoraConfig(
        r=2, lora_alpha=2, target_modules=["c_attn"], bias="lora_only", fan_in_fan_out=True
    )
    found = made(bases, "gpt2", tmp_path, config)
    own = load_file(bases["gpt2"][1] / "model.safetensors")
    parts = load_file(tmp_path / "adapter/adapter_model.safetensors")
    name = "transformer.h.1.attn.c_attn"
    A, B = (parts[f"base_model.model.{name}.lora_{x}.weight"] for x in "AB")
    torch.testing.assert_close(found[f"{name}.weight"], own[f"{name}.weight"] + (B @ A).T)
    (bias,) = (v for k, v in parts.items() if name in k and k.endswith("bias"))
    assert torch.equal(found[f"{name}.bias"], bias)
    assert not torch.equal(bias, own[f"{name}.bias"])


CONFIGS = {
    "ADALORA": lambda: peft.AdaLoraConfig(init_r=4, target_r=2, total_step=10),
    "LOHA": lambda: peft.LoHaConfig(r=2),
    "LOKR": lambda: peft.LoKrConfig(r=2),
    "IA3": lambda: peft.IA3Config(feedforward_modules=["down_proj"]),
    "OFT": lambda: peft.OFTConfig(oft_block_size=4),
    "VERA": lambda: peft.VeraConfig(r=4),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_each_kind_does_merged_what_it_does_in_its_place(bases, tmp_path, kind):
    config = CONFIGS[kind]()
    config.target_modules = {"q_proj"} if kind == "VERA" else {"q_proj", "down_proj"}
    made(bases, "llama", tmp_path, config)
    base = AutoModelForCausalLM.from_pretrained(bases["llama"][0], dtype=torch.float32)
    ids = torch.tensor([[5, 17, 40, 8, 99]])
    with torch.inference_mode():
        alone = base(ids).logits
        own = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()(ids).logits
        found = AutoModelForCausalLM.from_pretrained(tmp_path / "made")(ids).logits
    torch.testing.assert_close(found, own, atol=1e-4, rtol=1e-4)
    assert (own - alone).abs().max() > 1e-2


def test_kinds_that_are_merged_are_tested():
    assert {*CONFIGS, "LORA"} == set(MERGED)


@pytest.mark.parametrize("head", [AutoModelForMaskedLM, AutoModel])
def test_an_encoder_and_a_model_without_its_head(bases, tmp_path, head):
    """An adapter of a bare model names its tensors otherwise."""
    config = peft.LoraConfig(r=2, target_modules=["query"])
    found = made(bases, "bert", tmp_path, config, head=head)
    own = load_file(bases["bert"][1] / "model.safetensors")
    changed = {n for n in own.keys() & found.keys() if not torch.equal(own[n], found[n])}
    assert changed == {f"bert.encoder.layer.{i}.attention.self.query.weight" for i in range(3)}


@pytest.fixture
def lora(bases, tmp_path) -> Path:
    return adapter(bases["llama"][0], tmp_path / "adapter", peft.LoraConfig(**LORA))


def test_both_are_in_the_provenance_and_the_merged_model_is_checked_as_any_other(
    bases, lora, tmp_path
):
    facts = prepare(source(lora, bases["llama"][1]), "main", tmp_path / "made")
    of_base = json.loads((bases["llama"][1] / "provenance.json").read_text())
    assert facts["base"]["tensors_sha256"] == of_base["tensors_sha256"] != facts["tensors_sha256"]
    assert facts["base"]["model"] == of_base["model"] and facts["adapter"]["peft_type"] == "LORA"
    assert set(facts["adapter"]["sha256"]) == {"adapter_config.json", "adapter_model.safetensors"}
    assert facts["merge"]["logits_changed_by_adapter"] > 0.01
    assert facts["merge"]["logits_max_relative_difference"] == approx(0, abs=1e-4)
    assert facts["self_check"]["grade"] == "full"
    tokenizers = [f / "tokenizer.json" for f in (tmp_path / "made", bases["llama"][1])]
    assert tokenizers[0].read_bytes() == tokenizers[1].read_bytes()


def test_it_is_made_of_the_files_of_both(bases, lora):
    base = bases["llama"][1]
    of_base = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
    found = source_files(source(lora, base), "main")
    own, others = found[: len(ADAPTER)], found[len(ADAPTER) :]
    assert own == [lora / name for name in ADAPTER]
    assert {file.relative_to(base).name for file in others} == {*of_base, "provenance.json"}
    assert source_files(replace(source(lora, base), kind="hub"), "main") == others


def set_in(lora: Path, **keys) -> None:
    """Change the settings of an adapter."""
    config = lora / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | keys))


def refuse(folder: Path, base: Path | None, tmp_path: Path, *parts: str) -> None:
    with refused(*parts):
        named = replace(source(folder, folder), base=base and str(base))
        prepare(named, "main", tmp_path / "no")
    assert not any((tmp_path / "no").iterdir())


@pytest.mark.parametrize(
    ("keys", "parts"),
    [
        ({"peft_type": "PROMPT_TUNING"}, ["peft_type is 'PROMPT_TUNING'", "LORA, ADALORA, "]),
        ({"peft_type": None}, ["peft_type is None"]),
        ({"alora_invocation_tokens": [5, 6]}, ["alora_invocation_tokens is set"]),
        ({"layer_replication": [[0, 2], [1, 3]]}, ["layer_replication is set", "more blocks"]),
        (
            {"init_lora_weights": "pissa"},
            ["init_lora_weights is 'pissa'", "convert it"],
        ),
        ({"target_modules": ["nowhere"]}, ["models.tuned.base", "PEFT cannot load it"]),
        (
            {"target_modules": ["down_proj"]},
            ["6 of its tensors have no place in the", "q_proj"],
        ),
        ({"target_modules": ["q_proj", "down_proj", "k_proj"]}, ["6 of its tensors are missing"]),
        ({"r": 5}, ["models.tuned.base", "PEFT cannot load it", "size mismatch"]),
        ({"r": 65}, ["models.tuned.base", "a rank is 65, its tensors have 64 rows at most"]),
        (
            {"rank_pattern": {"q_proj": 10**12}},
            ["a rank is 1,000,000,000,000, "],
        ),
        ({"modules_to_save": ["lm_head"]}, ["1 of its tensors are missing", "lm_head"]),
    ],
)
def test_what_cannot_be_merged_is_refused(bases, lora, tmp_path, keys, parts):
    set_in(lora, **keys)
    refuse(lora, bases["llama"][1], tmp_path, *parts)


@pytest.mark.parametrize(
    ("key", "value", "should"),
    [
        ("r", "four", "a whole number from 1 on"),
        ("r", 4.5, "a whole number from 1 on"),
        ("r", True, "a whole number from 1 on"),
        ("r", 0, "a whole number from 1 on"),
        ("lora_alpha", None, "a finite number"),
        ("lora_alpha", "8", "a finite number"),
        ("lora_alpha", float("nan"), "a finite number"),
        ("lora_dropout", 5, "a number from 0 to 1"),
        ("target_modules", "(((", "a regular expression or a list of names"),
        ("target_modules", [1, 2], "a regular expression or a list of names"),
        ("exclude_modules", "a" * 10_001, "a regular expression or a list of names"),
        ("modules_to_save", "lm_head", "a list of names"),
        ("rank_pattern", {"q_proj": 2.5}, "ranks by regular expressions"),
        ("alpha_pattern", {"(": 2}, "finite numbers by regular expressions"),
        ("base_model_name_or_path", 7, "a text"),
    ],
)
def test_wrong_settings_are_named_before_the_base_is_there(lora, tmp_path, key, value, should):
    set_in(lora, **{key: value})
    said = f"{key} in adapter_config.json is {value!r:.80}, not {should}"
    with refused("models.tuned.source: ", said):
        source_files(source(lora, tmp_path / "not fetched"), "main")


def test_another_base_than_the_one_it_was_trained_on(bases, lora, tmp_path, caplog):
    base, made = bases["llama"][1], tmp_path / "made"
    name = json.loads((base / "provenance.json").read_text())["source"].rpartition("/")[2]
    set_in(lora, base_model_name_or_path=f"Meta/{name.upper()}")
    merged = prepare(source(lora, base), "main", made)
    assert merged["warnings"] == [] and "trained on" not in caplog.text
    set_in(lora, base_model_name_or_path="owner/other" + "r" * 1000)
    facts = prepare(source(lora, base), "main", made)
    (doubt,) = facts["warnings"]
    assert doubt.startswith("the adapter was trained on 'owner/otherrr") and name in doubt
    assert f"models.tuned: {doubt}" in caplog.text and len(doubt) < 500
    assert facts["adapter"]["base_model_name_or_path"] == "owner/other" + "r" * 189
    library = "transformers.models.gemma3.modeling_gemma3"
    set_in(lora, auto_mapping={"base_model_class": "Gemma3ForCausalLM", "parent_library": library})
    refuse(lora, base, tmp_path, "it was trained on a model of gemma3, not of llama")


def test_an_adapter_without_a_base_and_a_base_without_an_adapter(bases, lora, tmp_path):
    refuse(lora, None, tmp_path, "models.tuned.base", "holds an adapter, not a model", "base: NAME")
    model, base = bases["llama"]
    refuse(model, base, tmp_path, "models.tuned.source", "holds no adapter_config.json", "'base'")


def test_a_pickled_adapter_is_refused(bases, lora, tmp_path):
    weights = lora / "adapter_model.safetensors"
    torch.save(load_file(weights), lora / "adapter_model.bin")
    weights.unlink()
    refuse(lora, bases["llama"][1], tmp_path, "no adapter_model.safetensors", "are a pickle")


def test_numbers_that_are_not_finite_are_refused(bases, lora, tmp_path):
    weights = lora / "adapter_model.safetensors"
    save_file({k: torch.full_like(v, torch.nan) for k, v in load_file(weights).items()}, weights)
    refuse(lora, bases["llama"][1], tmp_path, "PEFT cannot merge it: NaNs detected")


def edit(lora: Path, change) -> None:
    """Change the tensors of an adapter."""
    weights = lora / "adapter_model.safetensors"
    save_file(change(load_file(weights)), weights)


def test_tensors_that_replace_the_base_unasked_are_refused(bases, lora, tmp_path):
    name = "model.norm.weight"
    own = load_file(bases["llama"][1] / "model.safetensors")[name]
    edit(lora, lambda t: t | {f"base_model.model.{name}": own})  # nothing is replaced
    prepare(source(lora, bases["llama"][1]), "main", tmp_path / "made")
    edit(lora, lambda t: t | {f"base_model.model.{name}": own * 0})
    said = f"1 of its tensors replace the base's, of which {ADAPTER[0]} says nothing"
    refuse(lora, bases["llama"][1], tmp_path, said, f"'base_model.model.{name}'")


@pytest.mark.parametrize(
    "keys",
    [
        {"target_modules": "(([a-z_.0-9]+)+)+!"},
        {"exclude_modules": "(([a-z_.0-9]+)+)+!"},
        {"rank_pattern": {"(([a-z_.0-9]+)+)+!": 4}},
        {"modules_to_save": ["(([a-z_.0-9]+)+)+!"]},
    ],
)
def test_expressions_that_do_not_end_are_stopped(bases, lora, tmp_path, monkeypatch, keys):
    monkeypatch.setattr(merge, "SECONDS", 0.3)
    set_in(lora, **keys)
    refuse(lora, bases["llama"][1], tmp_path, "has not put the adapter", "0.3 seconds", ADAPTER[0])


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda t: {k: v * 1e25 for k, v in t.items()}, "NaNs detected"),
        (lambda t: {k: v * 1e17 for k, v in t.items()}, "broken: all of its logits are the same"),
        (lambda t: {k: v.mul(100).to(torch.int8) for k, v in t.items()}, "has type I8"),
    ],
)
def test_adapters_that_break_the_base_are_refused(bases, lora, tmp_path, change, part):
    edit(lora, change)
    refuse(lora, bases["llama"][1], tmp_path, part)


def test_an_adapter_that_changes_nothing_is_said_to(bases, lora, tmp_path, caplog):
    edit(lora, lambda t: {k: v * 0 if "lora_B" in k else v for k, v in t.items()})
    facts = prepare(source(lora, bases["llama"][1]), "main", tmp_path / "made")
    assert "models.tuned: the adapter changes no logit" in caplog.text
    assert facts["merge"]["logits_changed_by_adapter"] == 0
    assert "the adapter changes no logit of the trial text" in facts["warnings"]


def test_weights_cut_short_are_refused(bases, lora, tmp_path):
    os.truncate(lora / "adapter_model.safetensors", 3000)
    refuse(lora, bases["llama"][1], tmp_path, "adapter_model.safetensors", "cut short")


def test_an_adapter_of_another_model_is_refused(bases, lora, tmp_path):
    refuse(lora, bases["gpt2"][1], tmp_path, "models.tuned.base", "base_model_name_or_path")


def test_an_adapter_with_a_larger_vocabulary_is_refused(bases, lora, tmp_path):
    cut = tiny.tokenizer("llama")
    cut.save_pretrained(lora)
    prepare(source(lora, bases["llama"][1]), "main", tmp_path / "made")
    cut.add_tokens(["<|user|>"])
    cut.save_pretrained(lora)
    refuse(lora, bases["llama"][1], tmp_path, "has 1 entries", "'<|user|>'")


def test_one_side_of_a_tied_embedding_cannot_be_changed_alone(tmp_path):
    base = tiny.save("llama", tmp_path / "saved", tie_word_embeddings=True)
    prepare(local_source("m", base), "main", tmp_path / "base")
    changed = adapter(base, tmp_path / "a", peft.LoraConfig(r=2, target_modules=["embed_tokens"]))
    refuse(changed, tmp_path / "base", tmp_path, "its logits change", "both the embedding")


def test_an_adapter_on_the_hub(bases, lora, tmp_path, hub):
    commit = hub.add("owner/lora", lora)
    there = replace(source(lora, bases["llama"][1]), kind="hub", location="owner/lora")
    facts = prepare(there, "main", tmp_path / "made")
    assert facts["revision"] == commit
    assert sorted(set(hub.downloaded())) == sorted(ADAPTER)
    prepare(source(lora, bases["llama"][1]), "main", tmp_path / "same")
    made, same = (load_file(tmp_path / f / "model.safetensors") for f in ("made", "same"))
    assert all(torch.equal(made[name], same[name]) for name in made)
    config = lora / ADAPTER[0]
    config.write_text(config.read_text().replace('"LORA"', '"P_TUNING"'))
    hub.add("owner/lora", lora)
    hub.log.clear()
    with refused("models.tuned.source", "peft_type is 'P_TUNING'"):
        prepare(there, "main", tmp_path / "no")
    assert hub.downloaded() == [ADAPTER[0]]


# The configuration


TUNED = changed(CONFIG, "models.t", {"source": "path:lora", "base": "m"})


def test_a_base_is_the_reference_checkpoint_of_a_model_of_the_configuration(here):
    assert load(TUNED).models["t"].source.base == "resources/models/m/main"
    several = {"source": "path:m", "checkpoints": ["step1", "step2"], "reference": "step1"}
    there = load(changed(TUNED, "models.m", several)).models["t"].source
    assert there.base == "resources/models/m/step1"
    control = load(changed(TUNED, "models.r", {"source": "random:t"})).models["r"]
    assert control.control_of == control.made_of == "t"
    assert load(TUNED).models["t"].made_of == "m" and load(TUNED).models["m"].made_of is None


def test_all_models_that_cannot_be_made_are_named_at_once(here, bases, lora, tmp_path):
    other = shutil.copytree(lora, tmp_path / "other")
    set_in(lora, peft_type="P_TUNING")
    set_in(other, r=0)
    whole = bases["llama"][0]
    adapters = {f.name: {"source": f"path:{f}", "base": "whole"} for f in (lora, other)}
    data = CONFIG | {"models": {"whole": {"source": f"path:{whole}"}} | adapters}
    config = load(data)
    models = config.models
    places = [f"- c.yaml, line {n}, models.{m}.source: " for n, m in ((5, "adapter"), (8, "other"))]
    with refused("2 models cannot be made", *places):
        files_of_all(models.values(), config.where)
    files = files_of_all([models["whole"]], config.where)
    assert files == {
        ("whole", "main"): list(map(str, source_files(models["whole"].source, "main")))
    }


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"models.t.base": "mm"}, ["models.t.base", "'mm'", "is not in", "own: m."]),
        ({"models.t.base": "t"}, ["models.t.base", "'t'", "no weights of its own"]),
        (
            {"models.r": {"source": "random:m"}, "models.t.base": "r"},
            ["models.t.base", "'r'", "no weights of its own"],
        ),
        ({"models.t.source": "package:x==1"}, ["models.t.base", "adapters", "'package:x==1'"]),
        (
            {"models.m.checkpoints": ["step0"], "models.m.keep_weights": False},
            ["models.t.base", "'m'", "not kept"],
        ),
    ],
)
def test_a_base_that_cannot_be_one_is_refused(here, changes, parts):
    data = TUNED
    for path, value in changes.items():
        data = changed(data, path, value)
    with refused("c.yaml, line ", *parts):
        load(data)


def test_a_base_that_no_experiment_uses_is_prepared_first(bases, lora, folder):
    with wf.edited(folder / "config/config.yaml") as config:
        config["models"] = {
            "tuned": {"source": f"path:{lora}", "base": "whole"},
            "blank": {"source": "random:tuned"},
            "whole": {"source": f"path:{bases['llama'][0]}"},
        }
        config["experiments"] = {
            "plain": config["experiments"]["plain"] | {"models": ["tuned", "blank"]}
        }
    found = wf.jobs_to_run(folder, "resources/models/blank/draw0/provenance.json")
    assert found == {wf.Job("model", m) for m in ("whole/main", "tuned/main", "blank/draw0")}


def test_checkpoints_of_an_adapter_are_folders(bases, lora, tmp_path):
    lora.rename(tmp_path / "checkpoint-8")
    several = replace(source(tmp_path, bases["llama"][1]), has_checkpoints=True)
    facts = prepare(several, "checkpoint-8", tmp_path / "made")
    assert facts["checkpoint"] == "checkpoint-8" and facts["adapter"]["peft_type"] == "LORA"
