"""The network that is trained, and its loss."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from ..config.trainings import Size


def network(size: Size, tokenizer: PreTrainedTokenizerFast, seed: int) -> GPTNeoXForCausalLM:
    """A network with random weights that depend on the seed alone.

    As in Pythia: untied embeddings, rotary positions on a quarter of each head, attention and MLP
    side by side.
    """
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.width,
        max_position_embeddings=size.context,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "partial_rotary_factor": 0.25,
        },
        use_parallel_residual=True,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPTNeoXForCausalLM(config)


def loss_of(model: GPTNeoXForCausalLM, texts: Int64[Tensor, "batch length"]) -> Float[Tensor, ""]:
    """Mean cross-entropy of every token given those before it, in nats per token."""
    logits = model(texts[:, :-1], use_cache=False).logits
    return cross_entropy(logits.flatten(0, 1), texts[:, 1:].flatten())
