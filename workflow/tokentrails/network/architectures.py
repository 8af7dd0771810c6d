"""Where the parts of each supported architecture are. The only place that knows module names.

Names are paths inside the bare model that `transformers.AutoModel` builds (no unembedding). This
module needs no torch: the metrics read embeddings by these names from the weights file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import TokentrailsError
from ..settings import SITES


@dataclass(frozen=True)
class Attention:
    """The modules of a block's attention, and the norms around it.

    Attributes
    ----------
    module: gives the attention weights, and knows the scale of the logits.
    query, key, value, output: the projections that hold W_Q, W_K, W_V and W_O.
    fused: how the outputs of one module lie that gives queries, keys and values. `parts`: all
        queries, then all keys, then all values; `heads`: all of the first head, then of the next.
    norm: LN_l, which the block reads the stream through; None in post-norm encoders.
    query_norm, key_norm: norms of each head's queries and keys.
    post_norm: norm of the output before it is added.
    """

    module: str
    query: str
    key: str
    value: str
    output: str
    fused: Literal["parts", "heads"] | None = None
    norm: str | None = None
    query_norm: str | None = None
    key_norm: str | None = None
    post_norm: str | None = None


@dataclass(frozen=True)
class Mlp:
    """The modules of a block's MLP. The norm that it reads through is the block's `mid`.

    Attributes
    ----------
    input, output, gate: the projections that hold W_in, W_out and W_gate.
    activation: the function; of the gate where there is one.
    post_norm: norm of the output before it is added.
    """

    input: str
    output: str
    activation: str
    gate: str | None = None
    post_norm: str | None = None


@dataclass(frozen=True)
class MaskedHead:
    """The tensors that turn an encoder's last state into logits, as the weights file names them.

    Attributes
    ----------
    dense, norm: logits = U norm(activation(dense(x))) + bias.
    decoder: the module of U, which is tied to the embedding where the file has none.
    biases: where the bias of the logits may be.
    activation: transformers' name of the function; None for that of the MLPs.
    """

    dense: str
    norm: str
    decoder: str
    biases: tuple[str, ...]
    activation: str | None = None


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Attributes
    ----------
    model_type: the `model_type` of the model's configuration.
    embedding: the token embedding, V x d.
    position_embedding: the learned embedding of positions; None where there is none.
    embedding_norm: what the sum of the embeddings goes through in post-norm encoders.
    blocks: the list of blocks.
    attention, mlp: the modules of a block.
    mid: the module of a block whose input is `resid_mid`: the norm before the MLP; in post-norm
        encoders that of the sum with the attention, which the MLP reads too.
    sum_norm: the norm of the sum with the MLP in post-norm encoders.
    parallel_attention: for blocks that add attention and MLP side by side, the attention module:
        `resid_mid` is then the block's input plus this module's output.
    final_norm: the norm after the last block; None in post-norm encoders, which have none.
    unembedding: the unembedding as the weights file names it: a module, or the masked-token head
        of an encoder.
    causal: whether a position sees only what is before it; of decoders, the configuration's
        `is_causal` may say otherwise.
    rotary: the module that gives the rotations of queries and keys by position; None where
        positions are vectors added to the stream.
    depth_key, width_key, heads_key, context_key: configuration keys of the number of blocks, of
        dimensions, of attention heads and of positions.
    """

    model_type: str
    embedding: str
    blocks: str
    mid: str
    final_norm: str | None
    attention: Attention
    mlp: Mlp
    unembedding: str | MaskedHead
    causal: bool = True
    rotary: str | None = None
    parallel_attention: str | None = None
    position_embedding: str | None = None
    embedding_norm: str | None = None
    sum_norm: str | None = None
    depth_key: str = "num_hidden_layers"
    width_key: str = "hidden_size"
    heads_key: str = "num_attention_heads"
    context_key: str = "max_position_embeddings"

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(s for s in SITES if s != "final_norm" or self.final_norm)

    @property
    def size_keys(self) -> tuple[str, ...]:
        return self.depth_key, self.width_key, self.heads_key, self.context_key

    def depth(self, config: dict[str, Any]) -> int:
        return size_of(config, self.depth_key)

    def width(self, config: dict[str, Any]) -> int:
        return size_of(config, self.width_key)

    def heads(self, config: dict[str, Any]) -> int:
        return size_of(config, self.heads_key)

    def position_offset(self, config: dict[str, Any]) -> int:
        """The row of the position embedding that is added at position 0."""
        if self.model_type == "roberta":  # it numbers positions from padding_idx + 1
            return config.get("pad_token_id", 1) + 1
        return 2 if self.model_type == "opt" else 0

    def context_length(self, config: dict[str, Any]) -> int:
        """How many positions a text may have, in tokens."""
        length = size_of(config, self.context_key)
        if self.model_type == "roberta":  # OPT's table has more rows than this key says
            length -= self.position_offset(config)
        return length


def size_of(config: dict[str, Any], key: str) -> int:
    """A size that a configuration gives; raises for what is no number from 1 on."""
    value = config.get(key)
    if type(value) is not int or value < 1:
        raise TokentrailsError(
            f"{key} is {value!r}, not a number from 1 on",
            where="config.json",
            hint="the file says how large the model is; save or fetch the model again.",
        )
    return value


def _attention(module: str, projections: str, **options: Any) -> Attention:
    """Attention by its module and the names of W_Q, W_K, W_V and W_O in it."""
    query, key, value, output = (f"{module}.{name}" for name in projections.split())
    return Attention(module, query, key, value, output, **options)


_LLAMA_ATTENTION = _attention("self_attn", "q_proj k_proj v_proj o_proj", norm="input_layernorm")
_LLAMA_MLP = Mlp("mlp.up_proj", "mlp.down_proj", "mlp.act_fn", gate="mlp.gate_proj")


_LLAMA = Architecture(
    "llama",
    "embed_tokens",
    "layers",
    "post_attention_layernorm",
    "norm",
    attention=_LLAMA_ATTENTION,
    mlp=_LLAMA_MLP,
    unembedding="lm_head",
    rotary="rotary_emb",
)
_BERT = Architecture(
    "bert",
    "embeddings.word_embeddings",
    "encoder.layer",
    "attention.output.LayerNorm",
    None,
    attention=replace(
        _attention("attention", "self.query self.key self.value output.dense"),
        module="attention.self",
    ),
    mlp=Mlp("intermediate.dense", "output.dense", "intermediate.intermediate_act_fn"),
    unembedding=MaskedHead(
        dense="cls.predictions.transform.dense",
        norm="cls.predictions.transform.LayerNorm",
        decoder="cls.predictions.decoder",
        biases=("cls.predictions.bias", "cls.predictions.decoder.bias"),
    ),
    causal=False,
    position_embedding="embeddings.position_embeddings",
    embedding_norm="embeddings.LayerNorm",
    sum_norm="output.LayerNorm",
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
            attention=_attention("attn", "c_attn c_attn c_attn c_proj", fused="parts", norm="ln_1"),
            mlp=Mlp("mlp.c_fc", "mlp.c_proj", "mlp.act"),
            unembedding="lm_head",
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
            attention=_attention(
                "attention",
                "query_key_value query_key_value query_key_value dense",
                fused="heads",
                norm="input_layernorm",
            ),
            mlp=Mlp("mlp.dense_h_to_4h", "mlp.dense_4h_to_h", "mlp.act"),
            unembedding="embed_out",
            rotary="rotary_emb",
            parallel_attention="attention",
        ),
        _LLAMA,
        replace(_LLAMA, model_type="mistral"),
        replace(_LLAMA, model_type="qwen2"),
        replace(
            _LLAMA,
            model_type="qwen3",
            attention=replace(
                _LLAMA_ATTENTION, query_norm="self_attn.q_norm", key_norm="self_attn.k_norm"
            ),
        ),
        replace(
            _LLAMA,
            model_type="gemma2",
            mid="pre_feedforward_layernorm",
            attention=replace(_LLAMA_ATTENTION, post_norm="post_attention_layernorm"),
            mlp=replace(_LLAMA_MLP, post_norm="post_feedforward_layernorm"),
        ),
        Architecture(
            "opt",
            "decoder.embed_tokens",
            "decoder.layers",
            "final_layer_norm",
            "decoder.final_layer_norm",
            attention=_attention(
                "self_attn", "q_proj k_proj v_proj out_proj", norm="self_attn_layer_norm"
            ),
            mlp=Mlp("fc1", "fc2", "activation_fn"),
            unembedding="lm_head",
            position_embedding="decoder.embed_positions",
        ),
        _BERT,
        replace(
            _BERT,
            model_type="roberta",
            unembedding=MaskedHead(
                dense="lm_head.dense",
                norm="lm_head.layer_norm",
                decoder="lm_head.decoder",
                biases=("lm_head.bias", "lm_head.decoder.bias"),
                activation="gelu",
            ),
        ),
        replace(
            _BERT,
            model_type="distilbert",
            blocks="transformer.layer",
            mid="sa_layer_norm",
            sum_norm="output_layer_norm",
            attention=_attention("attention", "q_lin k_lin v_lin out_lin"),
            mlp=Mlp("ffn.lin1", "ffn.lin2", "ffn.activation"),
            unembedding=MaskedHead(
                "vocab_transform",
                "vocab_layer_norm",
                "vocab_projector",
                biases=("vocab_projector.bias",),
            ),
            depth_key="n_layers",
            width_key="dim",
            heads_key="n_heads",
        ),
    )
}


def architecture_of(config: dict[str, Any], *, where: object) -> Architecture:
    """The row of the table for a model's parsed `config.json`, which `where` names in an error.

    Raises
    ------
    TokentrailsError: for an architecture outside the table, or a variant that it does not describe.
    """
    if not isinstance(config, dict):
        raise TokentrailsError(
            f"the model's configuration is {config!r:.50}, not an object in braces",
            where=where,
            hint="save or fetch the model again.",
        )
    model_type = config.get("model_type")
    supported = ", ".join(sorted(ARCHITECTURES))
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise TokentrailsError(
            f"model_type {model_type!r} is not supported",
            where=where,
            hint=f"the supported architectures are {supported}.",
        )
    architecture = ARCHITECTURES[model_type]
    variant = _unsupported_variant(config, architecture)
    if variant:
        raise TokentrailsError(
            f"this variant of {model_type!r} is not supported: {variant}",
            where=where,
            hint=f"choose another model; the supported architectures are {supported}.",
        )
    if model_type == "gpt_neox" and not config.get("use_parallel_residual", True):
        architecture = replace(architecture, parallel_attention=None)
    if config.get("is_causal") is False:  # embedding models made of decoders
        architecture = replace(architecture, causal=False)
    return architecture


def _unsupported_variant(config: dict[str, Any], architecture: Architecture) -> str | None:
    if config.get("quantization_config"):
        return "its weights are quantised (quantization_config)"
    # transformers has only this kind left, and leaves out the tensors of the others.
    if config.get("position_embedding_type") not in (None, "absolute"):
        return f"position_embedding_type is {config['position_embedding_type']!r}"
    if config.get("model_type") == "roberta":  # which numbers positions from there
        pad = config.get("pad_token_id", 1)
        if type(pad) is not int or pad < 0:
            return f"pad_token_id is {pad!r}"
    if config.get("use_bidirectional_attention"):
        return "use_bidirectional_attention is true"
    if config.get("model_type") == "opt":
        width = config.get("hidden_size")
        if config.get("word_embed_proj_dim", width) != width:
            return "word_embed_proj_dim differs from hidden_size"
        if not config.get("do_layer_norm_before", True):
            return "do_layer_norm_before is false"
    named = config.get("auto_map")
    if isinstance(named, dict) and any(str(key).startswith("AutoModel") for key in named):
        return "auto_map names a model class of its own, whose code is not run"
    scalar = config.get("query_pre_attn_scalar")  # its root divides the logits of attention
    if scalar is not None and not (type(scalar) in (int, float) and scalar > 0):
        return f"query_pre_attn_scalar is {scalar!r}"
    causal = config.get("is_causal", architecture.causal)  # transformers hands it on as it is
    if type(causal) is not bool or causal > architecture.causal:
        return f"is_causal is {causal!r}"
    if config.get("is_decoder") and config.get("model_type") in ("bert", "roberta"):
        return "is_decoder is true (an encoder architecture run as a decoder)"
    if config.get("add_cross_attention"):
        return "add_cross_attention is true"
    return None
