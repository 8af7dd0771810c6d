"""Where the parts of each supported architecture are. The only place that knows module names.

Names are paths inside the bare model that `transformers.AutoModel` builds (no unembedding). This
module needs no torch: the metrics read embeddings by these names from the weights file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .errors import TokentrailsError

SITES = ("final_norm", "resid", "resid_mid")
"""The sites of the residual stream, in the order of every table."""


@dataclass(frozen=True)
class Attention:
    """The modules of a block whose weights are W_Q, W_K, W_V and W_O, each stored (out, in)."""

    query: str
    key: str
    value: str
    output: str


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Attributes
    ----------
    model_type: the `model_type` of the model's configuration.
    embedding: the token embedding, V x d.
    position_embedding: the learned embedding of positions; None where there is none.
    attention: the projections of a block's attention, as far as a measure reads them.
    blocks: the list of blocks.
    mid: the module of a block whose input is `resid_mid`.
    parallel_attention: for blocks that add attention and MLP side by side, the attention module:
        `resid_mid` is then the block's input plus this module's output.
    final_norm: the norm after the last block; None in post-norm encoders, which have none.
    causal: whether a position sees only what is before it.
    rotary: whether positions are rotations of queries and keys, not vectors added to the stream.
    depth_key, width_key, heads_key, context_key: configuration keys of the number of blocks, of
        dimensions, of attention heads and of positions.
    """

    model_type: str
    embedding: str
    blocks: str
    mid: str
    final_norm: str | None
    causal: bool
    rotary: bool
    parallel_attention: str | None = None
    position_embedding: str | None = None
    attention: Attention | None = None
    depth_key: str = "num_hidden_layers"
    width_key: str = "hidden_size"
    heads_key: str = "num_attention_heads"
    context_key: str = "max_position_embeddings"

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(s for s in SITES if s != "final_norm" or self.final_norm)

    def depth(self, config: dict[str, Any]) -> int:
        return int(config[self.depth_key])

    def width(self, config: dict[str, Any]) -> int:
        return int(config[self.width_key])

    def heads(self, config: dict[str, Any]) -> int:
        return int(config[self.heads_key])

    def position_offset(self, config: dict[str, Any]) -> int:
        """The row of the position embedding that is added at position 0."""
        if self.model_type == "roberta":  # it numbers positions from padding_idx + 1
            return int(config.get("pad_token_id", 1)) + 1
        return 2 if self.model_type == "opt" else 0

    def context_length(self, config: dict[str, Any]) -> int:
        """How many positions a text may have, in tokens."""
        length = int(config[self.context_key])
        if self.model_type == "roberta":  # OPT's table has more rows than this key says
            length -= self.position_offset(config)
        return length


def _llama_like(model_type: str, mid: str = "post_attention_layernorm") -> Architecture:
    return Architecture(model_type, "embed_tokens", "layers", mid, "norm", causal=True, rotary=True)


def _bert_like(model_type: str) -> Architecture:
    return Architecture(
        model_type,
        "embeddings.word_embeddings",
        "encoder.layer",
        "attention.output.LayerNorm",
        None,
        causal=False,
        rotary=False,
        position_embedding="embeddings.position_embeddings",
        attention=Attention(
            query="attention.self.query",
            key="attention.self.key",
            value="attention.self.value",
            output="attention.output.dense",
        ),
    )


ARCHITECTURES = {
    a.model_type: a
    for a in (
        Architecture(
            "gpt2",
            "wte",
            "h",
            "ln_2",
            "ln_f",
            causal=True,
            rotary=False,
            position_embedding="wpe",
            depth_key="n_layer",
            width_key="n_embd",
            heads_key="n_head",
            context_key="n_positions",
        ),
        Architecture(
            "gpt_neox",
            "embed_in",
            "layers",
            "post_attention_layernorm",
            "final_layer_norm",
            causal=True,
            rotary=True,
            parallel_attention="attention",
        ),
        _llama_like("llama"),
        _llama_like("mistral"),
        _llama_like("qwen2"),
        _llama_like("qwen3"),
        _llama_like("gemma2", mid="pre_feedforward_layernorm"),
        Architecture(
            "opt",
            "decoder.embed_tokens",
            "decoder.layers",
            "final_layer_norm",
            "decoder.final_layer_norm",
            causal=True,
            rotary=False,
            position_embedding="decoder.embed_positions",
        ),
        _bert_like("bert"),
        _bert_like("roberta"),
        Architecture(
            "distilbert",
            "embeddings.word_embeddings",
            "transformer.layer",
            "sa_layer_norm",
            None,
            causal=False,
            rotary=False,
            position_embedding="embeddings.position_embeddings",
            depth_key="n_layers",
            width_key="dim",
            heads_key="n_heads",
        ),
    )
}


def architecture_of(config: dict[str, Any], *, where: object) -> Architecture:
    """The row of the table for a model's configuration.

    Parameters
    ----------
    config: the parsed `config.json` of a model.
    where: named in the error.

    Raises
    ------
    TokentrailsError: for an architecture outside the table, or a variant that it does not describe.
    """
    model_type = config.get("model_type")
    supported = ", ".join(sorted(ARCHITECTURES))
    if model_type not in ARCHITECTURES:
        raise TokentrailsError(
            f"model_type {model_type!r} is not supported",
            where=where,
            hint=f"the supported architectures are {supported}.",
        )
    architecture = ARCHITECTURES[model_type]
    variant = _unsupported_variant(config)
    if variant:
        raise TokentrailsError(
            f"this variant of {model_type!r} is not supported: {variant}",
            where=where,
            hint=f"choose another model; the supported architectures are {supported}.",
        )
    if model_type == "gpt_neox" and not config.get("use_parallel_residual", True):
        return replace(architecture, parallel_attention=None)
    return architecture


def _unsupported_variant(config: dict[str, Any]) -> str | None:
    if config.get("model_type") == "opt":
        if config.get("word_embed_proj_dim", config.get("hidden_size")) != config.get(
            "hidden_size"
        ):
            return "word_embed_proj_dim differs from hidden_size"
        if not config.get("do_layer_norm_before", True):
            return "do_layer_norm_before is false"
    if config.get("is_decoder") and config.get("model_type") in ("bert", "roberta"):
        return "is_decoder is true (an encoder architecture run as a decoder)"
    if config.get("add_cross_attention"):
        return "add_cross_attention is true"
    return None
