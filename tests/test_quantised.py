"""Quantised weights, which are made plain numbers, or are refused by name."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from config_files import refused
from conftest import local_source
from safetensors.torch import load_file, save_file
from torch import Tensor

from tokentrails.errors import TokentrailsError
from tokentrails.models.prepare import prepare
from tokentrails.models.quantised import by_block
from tokentrails.models.source import source_files

BLOCK = 24
FP8 = {"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK], "activation_scheme": "dynamic"}
Q = "model.layers.1.self_attn.q_proj.weight"
E2M1 = (0, 0.5, 1, 1.5, 2, 3, 4, 6)


def quantised(folder: Path, target: Path, edit, config: dict) -> Path:
    """A copy of a model with its tensors edited, which says that they are quantised."""
    tiny.change(folder, target, edit)
    path = target / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": config}))
    return target


def fp8(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices of blocks in eight bits; the last block of most is cut off."""
    made = {}
    for name, tensor in tensors.items():
        if "_proj" not in name:
            made[name] = tensor.bfloat16()
            continue
        n, m = (math.ceil(size / BLOCK) for size in tensor.shape)
        scales = torch.rand(n, m) + 0.5
        made[name] = tensor.to(torch.float8_e4m3fn)
        made[f"{name}_scale_inv"] = scales
    return made


def made(source: Path, tmp_path: Path) -> tuple[dict, dict[str, Tensor]]:
    facts = prepare(local_source("m", source), "main", tmp_path / "made")
    assert "quantization_config" not in json.loads((tmp_path / "made/config.json").read_text())
    return facts, load_file(tmp_path / "made/model.safetensors")


def test_fp8_is_each_number_times_the_scale_of_its_block(saved, tmp_path):
    source = quantised(saved["llama"], tmp_path / "fp8", fp8, FP8)
    facts, found = made(source, tmp_path)
    held = load_file(source / "model.safetensors")
    plain = {name: tensor for name, tensor in held.items() if not name.endswith("_scale_inv")}
    assert found.keys() == plain.keys() == load_file(saved["llama"] / "model.safetensors").keys()
    for name, tensor in plain.items():
        if "_proj" not in name:
            assert torch.equal(found[name], tensor)
            continue
        values, scales = tensor.float().tolist(), held[f"{name}_scale_inv"].tolist()
        expected = [
            [value * scales[i // BLOCK][j // BLOCK] for j, value in enumerate(row)]
            for i, row in enumerate(values)
        ]
        torch.testing.assert_close(found[name], torch.tensor(expected), rtol=1e-6, atol=0)
    assert facts["quantisation"] == {"fp8": 3 * 7}
    assert "de-quantised" in facts["note"] and facts["self_check"]["grade"] == "full"


def test_fp8_in_several_files_with_one_scale_for_each_matrix(saved, tmp_path):
    def edit(tensors):
        return {
            name: torch.tensor([0.25]) if name.endswith("_scale_inv") else tensor
            for name, tensor in fp8(tensors).items()
        } | {"model.layers.0.mlp.up_proj.activation_scale": torch.tensor(3.0)}

    source = quantised(saved["llama"], tmp_path / "fp8", edit, FP8 | {"weight_block_size": None})
    held = load_file(source / "model.safetensors")
    (source / "model.safetensors").unlink()
    for number in range(2):  # weights and their scales in different ones
        part = {name: held[name] for name in sorted(held)[number::2]}
        save_file(part, source / f"model-{number}.safetensors")
    _, found = made(source, tmp_path)
    name = "model.layers.1.self_attn.q_proj.weight"
    assert torch.equal(found[name], held[name].float() / 4)


@pytest.mark.parametrize("method", ["fp8", "mxfp4"])
def test_plain_numbers_that_are_said_to_be_quantised_are_taken_with_a_warning(
    saved, tmp_path, caplog, method
):
    source = quantised(saved["llama"], tmp_path / "plain", dict, FP8 | {"quant_method": method})
    facts, found = made(source, tmp_path)
    own = load_file(saved["llama"] / "model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in own.items())
    assert "quantisation" not in facts and "note" not in facts
    (warning,) = facts["warnings"]
    assert f"quantization_config says {method}" in warning and "none of its tensors" in warning
    assert f"models.m: {warning}" in caplog.text


def mxfp4(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Experts as gpt-oss packs them, of random numbers: pairs of four bits, scales of 32."""
    made = {}
    for name, tensor in tensors.items():
        if name.endswith(("gate_up_proj", "down_proj")):
            experts, wide, rows = tensor.shape
            shape = (experts, rows, wide // 32)
            made[f"{name}_blocks"] = torch.randint(256, (*shape, 16), dtype=torch.uint8)
            made[f"{name}_scales"] = torch.randint(120, 127, shape, dtype=torch.uint8)
        else:
            made[name] = tensor.bfloat16()
    return made


def test_mxfp4_is_two_numbers_of_each_byte_times_a_power_of_two(tmp_path):
    saved = tiny.save("gpt_oss", tmp_path / "saved")
    torch.manual_seed(0)
    source = quantised(saved, tmp_path / "mxfp4", mxfp4, {"quant_method": "mxfp4"})
    facts, found = made(source, tmp_path)
    held = load_file(source / "model.safetensors")
    assert facts["quantisation"] == {"mxfp4": 3 * 2}
    assert found.keys() == load_file(saved / "model.safetensors").keys()
    for part, wide in (("gate_up_proj", 32), ("down_proj", 64)):
        name = f"model.layers.2.mlp.experts.{part}"
        blocks, scales = held[f"{name}_blocks"].tolist(), held[f"{name}_scales"].tolist()
        for expert, matrix in enumerate(found[name].double().tolist()):
            for row in range(0, len(matrix[0]), 7):
                for at in range(wide):
                    byte = blocks[expert][row][at // 32][at % 32 // 2]
                    bits = byte >> 4 if at % 2 else byte & 15
                    value = E2M1[bits & 7] * (-1 if bits & 8 else 1)
                    expected = value * 2.0 ** (scales[expert][row][at // 32] - 127)
                    assert matrix[at][row] == expected


@pytest.mark.parametrize(
    ("edit", "config", "part"),
    [
        (
            lambda t: {k: v for k, v in t.items() if "q_proj.weight_s" not in k},
            {},
            r"layers\.\d\.self_attn\.q_proj\.weight_scale_inv is missing",
        ),
        (
            lambda t: t | {Q + "_scale_inv": t[Q + "_scale_inv"].fill_(math.nan)},
            {},
            r"layers\.1\.self_attn\.q_proj\.weight_scale_inv is not finite",
        ),
        (
            lambda t: t | {Q: t[Q].fill_(math.nan)},
            {},
            r"layers\.1\.self_attn\.q_proj\.weight is not finite",
        ),
        (lambda t: {k: v for k, v in t.items() if not k.endswith("q_proj.weight")}, {}, "missing"),
        (lambda t: t, {"weight_block_size": [16, 16]}, "scales are there for"),
        (lambda t: t, {"weight_block_size": [0, 16]}, "no fp8 as its quantization_config says"),
        (lambda t: t, {"weight_block_size": None}, "no fp8 as its quantization_config says"),
        (
            lambda t: {k: v.view(torch.int8) if v.element_size() == 1 else v for k, v in t.items()},
            {},
            "not of eight bits with a point",
        ),
        (lambda t: t | {"model.more": torch.ones(3)}, {}, "have no place in it"),
    ],
)
def test_fp8_that_does_not_fit_its_scales_is_refused(saved, tmp_path, edit, config, part):
    source = quantised(saved["llama"], tmp_path / "q", lambda t: edit(fp8(t)), FP8 | config)
    with pytest.raises(TokentrailsError, match=part):
        prepare(local_source("m", source), "main", tmp_path / "made")
    assert not any((tmp_path / "made").iterdir())


def test_mxfp4_without_its_scales_is_refused(tmp_path):
    def edit(tensors):
        return {k: v for k, v in mxfp4(tensors).items() if not k.endswith("down_proj_scales")}

    saved = tiny.save("gpt_oss", tmp_path / "saved")
    source = quantised(saved, tmp_path / "mxfp4", edit, {"quant_method": "mxfp4"})
    with refused("no mxfp4 as its quantization_config says", "down_proj_scales"):
        prepare(local_source("m", source), "main", tmp_path / "made")


def test_scales_that_are_powers_of_two_alone():
    value = torch.ones(2, 2).to(torch.float8_e4m3fn)
    scales = torch.tensor([[0.5, 4]]).to(torch.float8_e8m0fnu)
    assert by_block(value, scales, [2, 1]).tolist() == [[0.5, 4], [0.5, 4]]


METHODS = {
    "'bitsandbytes'": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "'gptq'": {"quant_method": "gptq", "bits": 4},
    "'awq'": {"quant_method": "awq", "bits": 4},
    "'compressed-tensors'": {"quant_method": "compressed-tensors"},
    "a method that it does not name": {"load_in_8bit": True},
}


@pytest.mark.parametrize("method", METHODS)
def test_other_methods_are_refused_by_name(saved, tmp_path, method):
    source = quantised(saved["llama"], tmp_path / "q", lambda t: t, METHODS[method])
    with refused("models.m: ", f"quantised (quantization_config), by {method}", "fp8, mxfp4"):
        source_files(local_source("m", source), "main")  # before a job starts


# GGUF files of a hub


def test_a_gguf_file_of_a_hub_is_named(saved, tmp_path, hub):
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("a-Q4_0.gguf", "a-Q8_0.gguf", "README.md"):
        (folder / name).write_bytes(b"GGUF")
    hub.add("owner/model-GGUF", folder)
    there = replace(local_source("m", folder), kind="hub", location="owner/model-GGUF")
    for source in (there, local_source("m", folder)):
        with refused("holds no config.json", "file: a-Q4_0.gguf, a-Q8_0.gguf"):
            prepare(source, "main", tmp_path / "made")
        with refused("models.m.file", "holds no b.gguf", "a-Q4_0.gguf, a-Q8_0.gguf"):
            prepare(replace(source, file="b.gguf"), "main", tmp_path / "made")
        with refused("a-Q8_0.gguf: the GGUF file is cut short, or"):
            prepare(replace(source, file="a-Q8_0.gguf"), "main", tmp_path / "made")
    assert set(hub.downloaded()) == {"a-Q8_0.gguf"}
    own = local_source("m", folder / "a-Q8_0.gguf")
    with refused(f"{folder}/a-Q8_0.gguf: the GGUF file is cut short, or"):
        prepare(own, "main", tmp_path / "made")
