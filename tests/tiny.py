"""Tiny random models of every supported architecture, with tokenizers of every supported style."""

import shutil
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PreTrainedTokenizerFast,
)

CORPUS = [
    "She will lead the team through the transition.",
    "The pipes were contaminated with lead.",
    "The bank approved the loan.",
    "The boat reached the river bank.",
    "A spring of cold water ran down the hill, and the lead guide followed it to the bank.",
    "misleading leaders transform 1845 numbers, don't they? Größe naïve café 東京 words",
]

_COMMON = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
_GROUPED = {**_COMMON, "num_key_value_heads": 2, "head_dim": 8}
CONFIGS = {
    "gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64},
    "gpt_neox": {**_COMMON, "rotary_pct": 0.25},
    "llama": _GROUPED,
    "mistral": {**_GROUPED, "sliding_window": 8},
    "qwen2": _GROUPED,
    "qwen3": _GROUPED,
    "gemma2": {**_GROUPED, "query_pre_attn_scalar": 8, "sliding_window": 8},
    "opt": {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "ffn_dim": 64,
        "word_embed_proj_dim": 32,
    },
    "bert": _COMMON,
    "roberta": _COMMON,
    "distilbert": {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64},
}
"""Sizes of one small model of each architecture: three blocks, width 32."""

_PAIRS = {**_COMMON, "num_key_value_heads": 2}
_SLIDING = {"sliding_window": 8}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
_TYPES = {"layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}
MORE = {
    "gemma": _GROUPED,
    "gemma3_text": {**_GROUPED, **_SLIDING, **_TYPES, "query_pre_attn_scalar": 8},
    "smollm3": {
        **_PAIRS,
        **_SLIDING,
        **_TYPES,
        "use_sliding_window": True,
        "no_rope_layers": [1, 0, 1],
    },
    "seed_oss": _GROUPED,
    "ernie4_5": _GROUPED,
    "olmo": _PAIRS,
    "ministral": {**_GROUPED, **_SLIDING, **_TYPES},
    "ministral3": {**_GROUPED, **_SLIDING},
    "arcee": _GROUPED,
    "nemotron": _PAIRS,
    "granite": {
        **_PAIRS,
        "embedding_multiplier": 3.0,
        "residual_multiplier": 0.5,
        "attention_multiplier": 0.3,
        "logits_scaling": 2.0,
    },
    "apertus": _PAIRS,
    "starcoder2": {**_PAIRS, **_SLIDING},
    "phi3": {**_PAIRS, **_SLIDING},
    "phi": _COMMON,
    "stablelm": _PAIRS,
    "helium": _GROUPED,
    "glm": _GROUPED,
    "glm4": _GROUPED,
    "cohere": {**_PAIRS, "logit_scale": 0.5},
    "cohere2": {**_PAIRS, **_SLIDING, **_TYPES, "logit_scale": 0.5},
    "olmo2": _PAIRS,
    "olmo3": {**_PAIRS, **_SLIDING, **_TYPES},
    "exaone4": {**_PAIRS, **_SLIDING, **_TYPES},
    "gptj": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "rotary_dim": 4},
    "gpt_neo": {
        "hidden_size": 32,
        "num_layers": 3,
        "num_heads": 4,
        "attention_types": [[["global", "local", "local"], 1]],
        "window_size": 8,
    },
    "mixtral": {**_GROUPED, "num_local_experts": 4, **_SLIDING},
    "qwen3_moe": {
        **_GROUPED,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
    },
    "olmoe": {**_PAIRS, "num_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": {**_GROUPED, **_SLIDING, **_TYPES, "num_local_experts": 4},
    "bloom": {"hidden_size": 32, "n_layer": 3, "n_head": 4},
    "falcon": {**_COMMON, "num_kv_heads": 2, "new_decoder_architecture": True},
    "mpt": {"d_model": 32, "n_layers": 3, "n_heads": 4, "expansion_ratio": 2, "max_seq_len": 64},
    "mpnet": _COMMON,
    "xlm-roberta": _COMMON,
    "camembert": _COMMON,
    "data2vec-text": _COMMON,
    "electra": {**_COMMON, "embedding_size": 32},
    "modernbert": {**_COMMON, "local_attention": 8, **_TYPES},
}
"""Those of further families, whose identities alone are tested."""

_LATENT = {
    **_COMMON,
    "num_key_value_heads": 4,
    "kv_lora_rank": 16,
    "q_lora_rank": 24,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "moe_intermediate_size": 16,
}
STATES = {
    "deepseek_v2": {**_LATENT, "topk_method": "greedy"},
    "deepseek_v3": {**_LATENT, "n_group": 2, "topk_group": 1},
    "llama4_text": {
        **_GROUPED,
        "num_local_experts": 4,
        "intermediate_size_mlp": 48,
        "moe_layers": [1],
        "no_rope_layers": [1, 1, 0],
        "floor_scale": 4,
        "attention_chunk_size": 8,
    },
}
"""Those of which the stream alone is read."""

CONTEXT = {"gpt2": "n_positions", "gptj": "n_positions"}
BYTE_LEVEL = ("gpt2", "gpt_neox", "qwen2", "qwen3", "opt", "roberta")
WORD_PIECE = ("bert", "distilbert", "electra")
EXPERTS = ("mixtral", "qwen3_moe", "olmoe", "gpt_oss")
ROBERTA_LIKE = ("roberta", "xlm-roberta", "camembert", "data2vec-text")
ENCODERS = (
    "bert",
    "ernie",
    "rembert",
    "mpnet",
    "distilbert",
    "electra",
    "modernbert",
    *ROBERTA_LIKE,
)


def tokenizer(model_type: str) -> PreTrainedTokenizerFast:
    """A tokenizer of the architecture's style, trained on `CORPUS`."""
    if model_type in WORD_PIECE:
        special = {"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}
        raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        raw.normalizer = normalizers.BertNormalizer(lowercase=True)
        raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        raw.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=list(special.values()))
    elif model_type in BYTE_LEVEL:
        special = {"bos": "<s>", "eos": "</s>", "pad": "<pad>"}
        if model_type == "roberta":
            special |= {"cls": "<s>", "sep": "</s>", "mask": "<mask>"}
        raw = Tokenizer(models.BPE())
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=list(dict.fromkeys(special.values())),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
    else:
        special = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>"}
        raw = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        raw.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
        raw.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=list(special.values()))
    raw.train_from_iterator(CORPUS * 3, trainer)
    raw.post_processor = _post_processor(model_type, raw)
    # Left over from somebody's last use; nothing may depend on it.
    raw.enable_truncation(5)
    raw.enable_padding(length=9)
    names = {f"{name}_token": token for name, token in special.items()}
    return PreTrainedTokenizerFast(tokenizer_object=raw, **names)


def _post_processor(model_type: str, raw: Tokenizer):
    def template(text: str, *tokens: str):
        return processors.TemplateProcessing(
            single=text, special_tokens=[(t, raw.token_to_id(t)) for t in tokens]
        )

    if model_type in WORD_PIECE:
        return template("[CLS] $A [SEP]", "[CLS]", "[SEP]")
    if model_type == "roberta":
        return template("<s> $A </s>", "<s>", "</s>")
    if model_type == "opt":
        return template("</s> $A", "</s>")
    if model_type in BYTE_LEVEL:
        return processors.ByteLevel(trim_offsets=model_type == "gpt_neox")
    return template("<s> $A", "<s>")


def save(model_type: str, folder: Path, seed: int = 0, **changes: object) -> Path:
    """Save a tiny model with its tokenizer, as `save_pretrained` does.

    Every parameter is random, biases and norms too: a part that is left out then shows.
    """
    cut = tokenizer(model_type)
    sizes = (CONFIGS | MORE | STATES).get(model_type, {}) | changes
    if model_type not in CONTEXT:
        sizes = {"max_position_embeddings": 64} | sizes
    pad = cut.convert_tokens_to_ids(cut.pad_token)
    config = AutoConfig.for_model(model_type, vocab_size=len(cut) + 6, pad_token_id=pad, **sizes)
    if model_type in (*ROBERTA_LIKE, "mpnet"):
        config.pad_token_id = 1
        config.max_position_embeddings = 66
    torch.manual_seed(seed)
    head = AutoModelForMaskedLM if model_type in ENCODERS else AutoModelForCausalLM
    model = head.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    transformers.logging.set_verbosity_error()
    model.save_pretrained(folder)
    cut.save_pretrained(folder)
    return folder


def change(folder: Path, target: Path, edit: Callable[[dict[str, Tensor]], dict[str, Tensor]]):
    """A copy of a model's folder, its tensors edited by a function."""
    shutil.copytree(folder, target, dirs_exist_ok=True)
    tensors = edit(load_file(folder / "model.safetensors"))
    save_file(tensors, target / "model.safetensors", {"format": "pt"})
    return target


@contextmanager
def watched(modules: Mapping[Hashable, nn.Module]) -> Iterator[dict[Hashable, list[Tensor]]]:
    """What goes into modules and comes out while a model runs, by key, a row for each token."""
    seen: dict[Hashable, list[Tensor]] = {}

    def hook(key):
        def keep(module, args, kwargs, output):
            into = args[0] if args else next(iter(kwargs.values()))
            out = output[0] if isinstance(output, tuple) else output
            seen[key] = [x.detach().reshape(-1, x.shape[-1]).clone() for x in (into, out)]

        return keep

    hooks = [m.register_forward_hook(hook(key), with_kwargs=True) for key, m in modules.items()]
    yield seen
    for handle in hooks:
        handle.remove()
