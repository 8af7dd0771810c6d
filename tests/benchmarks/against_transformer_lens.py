"""Heads and neurons of a Llama-type model, against TransformerLens' own implementation.

    PYTHONPATH=workflow python tests/benchmarks/against_transformer_lens.py [FOLDER]

needs `transformer-lens<4` and `better-abc`, whose own needs are no part of the lock: make an
environment of its own for it. (From version 4 on TransformerLens runs the model of transformers,
which would be no second witness.) FOLDER is a prepared checkpoint, that of smollm2-135m by default.
Prints one JSON object per hook: the largest value, and the largest difference over all layers. The
exit status is 1 if a difference exceeds 1e-4 of the largest value.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))

from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_llama_weights
from transformers import AutoModelForCausalLM

from tokentrails.network.load import load_model
from tokentrails.network.parts import Parts
from tokentrails.network.trace import trace
from tokentrails.texts.tokenization import TokenizerFiles

FOLDER = Path("resources/models/smollm2-135m/main")
TEXT = "The boat reached the river bank, and she will lead the team to the spring of cold water."


def hooked(folder: Path) -> HookedTransformer:
    """TransformerLens' model with the weights of a folder, nothing folded or centred."""
    own = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = own.config
    cfg = HookedTransformerConfig(
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        n_ctx=256,
        d_head=config.head_dim,
        n_heads=config.num_attention_heads,
        n_key_value_heads=config.num_key_value_heads,
        d_mlp=config.intermediate_size,
        d_vocab=config.vocab_size,
        act_fn=config.hidden_act,
        eps=config.rms_norm_eps,
        normalization_type="RMS",
        positional_embedding_type="rotary",
        rotary_dim=config.head_dim,
        rotary_base=config.rope_parameters["rope_theta"],
        rotary_adjacent_pairs=False,
        gated_mlp=True,
        final_rms=True,
        original_architecture="LlamaForCausalLM",
        use_attn_result=True,
        device="cpu",
        dtype=torch.float32,
    )
    model = HookedTransformer(cfg)
    model.load_and_process_state_dict(
        convert_llama_weights(own, cfg),
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
        fold_value_biases=False,
    )
    return model


def ours(folder: Path, ids: list[int]) -> Iterator[tuple[str, int, Tensor]]:
    """The same values from the parts of the model: hook, layer, value."""
    model, architecture = load_model(folder, torch.device("cpu"), "float32")
    parts = Parts.from_model(model, folder)
    run = trace(model, architecture, ids)
    yield "unembed", 0, parts.logits(run.resid[-1])
    for layer, block in enumerate(parts.blocks):
        heads, attention = block.heads, run.attention[layer]
        x_hat = block.attention_norm(run.resid[layer])
        values = heads.values(x_hat)[list(heads.kv_of)]
        yield "attn.hook_pattern", layer, attention
        yield "attn.hook_z", layer, (attention @ values).movedim(0, 1)
        yield "attn.hook_result", layer, (attention @ heads.messages(x_hat).product()).movedim(0, 1)
        yield "hook_attn_out", layer, run.attention_out[layer]
        mlp_input = block.mlp_input(run.resid[layer], run.resid_mid[layer])
        yield "mlp.hook_post", layer, block.mlp.activations(mlp_input)
        yield "hook_mlp_out", layer, run.mlp_out[layer]
        yield "hook_resid_pre", layer, run.resid[layer]
        yield "hook_resid_mid", layer, run.resid_mid[layer]
        yield "hook_resid_post", layer, run.resid[layer + 1]


@torch.no_grad()
def main(folder: Path) -> int:
    (text,) = TokenizerFiles.load(folder).encode([TEXT], add_special_tokens=True, bos=False)
    logits, theirs = hooked(folder).run_with_cache(torch.tensor([text.ids]))
    largest: dict[str, tuple[float, float]] = {}
    for hook, layer, value in ours(folder, text.ids):
        other = (logits if hook == "unembed" else theirs[f"blocks.{layer}.{hook}"])[0]
        assert value.shape == other.shape, (hook, value.shape, other.shape)
        size, difference = largest.get(hook, (0.0, 0.0))
        largest[hook] = (
            max(size, float(other.abs().max())),
            max(difference, float((value - other).abs().max())),
        )
    for hook, (size, difference) in largest.items():
        print(json.dumps({"hook": hook, "largest": size, "largest_difference": difference}))
    return int(any(difference > 1e-4 * size for size, difference in largest.values()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
