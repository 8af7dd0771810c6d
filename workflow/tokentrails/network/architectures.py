"""Where the parts of each supported architecture are. The only place that knows module names.

Names are paths inside the bare model that `transformers.AutoModel` builds (no unembedding). This
module needs no torch: the metrics read embeddings by these names from the weights file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal, TypeGuard

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
        queries, then all keys, then all values; `heads`: all of the first key/value head, its
        queries first, then of the next.
    rotated_pairs: whether rotations are of neighbouring dimensions, and not of two halves.
    rotary_once: whether the rotary module gives one cosine for both dimensions of a rotation.
    rotated_windows_only: whether blocks that see the whole text do not rotate, in a model with
        windows.
    window_key: configuration key of the window of all blocks that are not said to see the whole
        text; None where their modules know it, or there is none.
    capped: whether attn_logit_softcapping is heeded (Gemma 3 has the key, but no cap).
    unscaled: whether logits are not divided by √d_head (GPT-Neo).
    position_bias: the model's function of what is added to logits by position, and what it takes:
        the `rows` of a batch, of which each gets its own; the number of `heads`; or one `text`.
    norm: LN_l, which the block reads the stream through; None in post-norm encoders.
    query_norm, key_norm: norms of queries and keys, of each head's or of all heads' together.
    post_norm: norm of the output before it is added.
    opaque: why it is not taken apart into heads; of the others `module` and `output` alone are then
        there, and of the model the stream alone is read.
    """

    module: str
    query: str
    key: str
    value: str
    output: str
    fused: Literal["parts", "heads"] | None = None
    rotated_pairs: bool = False
    rotary_once: bool = False
    rotated_windows_only: bool = False
    window_key: str | None = None
    capped: bool = False
    unscaled: bool = False
    position_bias: tuple[str, Literal["rows", "heads", "text"]] | None = None
    norm: str | None = None
    query_norm: str | None = None
    key_norm: str | None = None
    post_norm: str | None = None
    opaque: str = ""


@dataclass(frozen=True)
class Mlp:
    """The modules of a block's MLP. The norm that it reads through is the block's `mid`.

    Attributes
    ----------
    input, output, gate: the projections that hold W_in, W_out and W_gate; one that gives both gates
        and inputs, in this order, is named twice.
    activation: the function; of the gate where there is one.
    post_norm: norm of the output before it is added.
    experts: whether it is several MLPs, of which a router chooses; only `output` is then there, the
        module of all.
    """

    input: str
    output: str
    activation: str
    gate: str | None = None
    post_norm: str | None = None
    experts: bool = False


@dataclass(frozen=True)
class MaskedHead:
    """The tensors that turn an encoder's last state into logits, as the weights file names them.

    Attributes
    ----------
    dense, norm: logits = U norm(activation(dense(x))) + bias.
    decoder: the module of U, which is tied to the embedding where the file has none.
    biases: where the bias of the logits may be.
    activation: transformers' name of the function; None for that of the MLPs.
    biased: whether dense and norm have biases in every model.
    """

    dense: str
    norm: str
    decoder: str
    biases: tuple[str, ...]
    activation: str | None = None
    biased: bool = True


Values = Mapping[str, tuple[object, ...]]
"""Of configuration keys, some values."""

PARTS = ("heads", "neurons", "logits")
"""What a model is taken apart into."""

EXPERTS = "its MLPs are experts, whose neurons are not listed"

ROBERTA_LIKE = ("bert", "roberta")
"""Types that the published formula of ranks is made for."""

ANY_LENGTH = 1 << 20
"""Tokens of a text where the model sets no limit."""


@dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Attributes
    ----------
    model_type: the `model_type` of the model's configuration.
    family: how people call the models.
    embedding: the token embedding, V x d.
    position_embedding: the learned embedding of positions; None where there is none.
    embedding_norm: what the sum of the embeddings goes through in post-norm encoders.
    blocks: the list of blocks.
    attention, mlp: the modules of a block.
    mid: the module of a block whose input is `resid_mid`: the norm before the MLP; in post-norm
        encoders that of the sum with the attention, which the MLP reads too. In parallel blocks,
        whose `resid_mid` no module gets, the norm before the MLP.
    mlp_norm: whether `mid` is a norm; without one it is the MLP itself (OLMo 2).
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
    first_position: the row of the position embedding that is added at position 0; None for the one
        behind the padding token's.
    alone: whether texts must not share a batch or be cut: rotations are those of the longest text.
    pooling: whether transformers builds a layer on top that nothing here needs.
    factors: configuration keys of what the `embedding`, every `branch` and the `logits` are
        multiplied by; `1/logits` divides.
    allowed: of configuration keys, the values that the row describes; of one inside of another, the
        names are joined by a point. A key that is not there is no matter.
    variants: what is otherwise where keys have one of these values; None stands for no key, too.
    depth_key, width_key, heads_key, context_key: configuration keys of the number of blocks, of
        dimensions, of attention heads and of positions; None where texts may have any length.
    """

    model_type: str
    embedding: str
    blocks: str
    mid: str
    final_norm: str | None
    attention: Attention
    mlp: Mlp
    unembedding: str | MaskedHead
    family: str = ""
    causal: bool = True
    rotary: str | None = None
    parallel_attention: str | None = None
    position_embedding: str | None = None
    embedding_norm: str | None = None
    sum_norm: str | None = None
    mlp_norm: bool = True
    first_position: int | None = 0
    alone: bool = False
    pooling: bool = False
    factors: Mapping[str, str] = field(default_factory=dict)
    allowed: Values = field(default_factory=dict)
    variants: tuple[tuple[Values, Mapping[str, Any]], ...] = ()
    depth_key: str = "num_hidden_layers"
    width_key: str = "hidden_size"
    heads_key: str = "num_attention_heads"
    context_key: str | None = "max_position_embeddings"

    @property
    def lacks(self) -> dict[str, str]:
        """What it cannot be asked for, and why: parts, and options of ranks."""
        found: dict[str, str] = {}
        if self.mlp.experts:
            found["neurons"] = EXPERTS
        if self.attention.opaque:
            found |= dict.fromkeys(PARTS, self.attention.opaque)
        if self.position_embedding is None:
            found["positional"] = "it adds no learned vector of a position to the stream"
        if self.model_type not in ROBERTA_LIKE:
            found["as_published"] = f"the formula is that of {' and '.join(ROBERTA_LIKE)} models"
        return found

    @property
    def unembedding_tensor(self) -> str:
        """The tensor without which there are no logits, unless it is the embedding's own."""
        head = self.unembedding
        return f"{head.dense if isinstance(head, MaskedHead) else head}.weight"

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(s for s in SITES if s != "final_norm" or self.final_norm)

    @property
    def size_keys(self) -> tuple[str, ...]:
        keys = (self.depth_key, self.width_key, self.heads_key, self.context_key)
        return tuple(key for key in keys if key is not None)

    def refuse_sizes(self, config: dict[str, Any], *, where: object) -> None:
        """Raise for sizes that are no numbers from 1 on; those that are missing are the class's."""
        for key in (*self.size_keys, "num_key_value_heads", "head_dim", "vocab_size"):
            if config.get(key) is not None or (key in config and key in self.size_keys):
                size_of(config, key, where=where)
        if config.get(self.context_key or "") is not None and self.context_length(config) < 1:
            raise TokentrailsError(
                f"{self.context_key} is {config[self.context_key or '']}, and no text has a place",
                where=where,
                hint="its config.json says how long a text may be; save or fetch it again.",
            )

    def depth(self, config: dict[str, Any]) -> int:
        return size_of(config, self.depth_key)

    def width(self, config: dict[str, Any]) -> int:
        return size_of(config, self.width_key)

    def heads(self, config: dict[str, Any]) -> int:
        return size_of(config, self.heads_key)

    def position_offset(self, config: dict[str, Any]) -> int:
        """The row of the position embedding that is added at position 0."""
        if self.first_position is None:
            return config.get("pad_token_id", 1) + 1
        return self.first_position

    def context_length(self, config: dict[str, Any]) -> int:
        """How many positions a text may have, in tokens."""
        if self.context_key is None:
            return ANY_LENGTH
        length = size_of(config, self.context_key)
        if self.first_position is None:  # OPT's table has more rows than this key says
            length -= self.position_offset(config)
        return length

    def factor(self, config: dict[str, Any], name: str) -> float:
        """What the embedding, every branch or the logits are multiplied by."""
        if name in self.factors:
            return float(config[self.factors[name]])
        inverse = f"1/{name}"
        return 1 / float(config[self.factors[inverse]]) if inverse in self.factors else 1.0


def size_of(config: dict[str, Any], key: str, *, where: object = "config.json") -> int:
    """A size that a configuration gives; raises for what is no number from 1 on."""
    value = config.get(key)
    if type(value) is not int or value < 1:
        raise TokentrailsError(
            f"{key} is {value!r:.80}, not a number from 1 on",
            where=where,
            hint="its config.json says how large the model is; save or fetch the model again.",
        )
    return value


def _attention(module: str, projections: str, **options: Any) -> Attention:
    """Attention by its module and the names of W_Q, W_K, W_V and W_O in it."""
    query, key, value, output = (f"{module}.{name}" for name in projections.split())
    return Attention(module, query, key, value, output, **options)


_LLAMA_ATTENTION = _attention("self_attn", "q_proj k_proj v_proj o_proj", norm="input_layernorm")
_LLAMA_MLP = Mlp("mlp.up_proj", "mlp.down_proj", "mlp.act_fn", gate="mlp.gate_proj")
_PLAIN_MLP = replace(_LLAMA_MLP, gate=None)
_FUSED_MLP = Mlp("mlp.gate_up_proj", "mlp.down_proj", "mlp.activation_fn", gate="mlp.gate_up_proj")
_EXPERTS = Mlp("", "mlp", "", experts=True)
_WINDOWED = replace(_LLAMA_ATTENTION, window_key="sliding_window")
_PAIRED = replace(_LLAMA_ATTENTION, rotated_pairs=True)
_NORMED_ATTENTION = replace(
    _LLAMA_ATTENTION, query_norm="self_attn.q_norm", key_norm="self_attn.k_norm"
)

_LLAMA = Architecture(
    "llama",
    "embed_tokens",
    "layers",
    "post_attention_layernorm",
    "norm",
    family="Llama, SmolLM, SmolLM2, TinyLlama, Yi",
    attention=_LLAMA_ATTENTION,
    mlp=_LLAMA_MLP,
    unembedding="lm_head",
    rotary="rotary_emb",
)
_FALCON_ATTENTION = _attention(
    "self_attention",
    "query_key_value query_key_value query_key_value dense",
    fused="heads",
    norm="input_layernorm",
)
_LATENT = Attention(
    *("self_attn", "", "", "", "self_attn"),
    norm="input_layernorm",
    opaque="its queries and keys are made in a latent space, and only parts of them are rotated",
)
_GEMMA2 = replace(
    _LLAMA,
    model_type="gemma2",
    family="Gemma 2",
    mid="pre_feedforward_layernorm",
    attention=replace(_LLAMA_ATTENTION, post_norm="post_attention_layernorm", capped=True),
    mlp=replace(_LLAMA_MLP, post_norm="post_feedforward_layernorm"),
)
# Norms of what the branches give, and none of what they read.
_OLMO2 = replace(
    _LLAMA,
    model_type="olmo2",
    family="OLMo 2",
    mid="mlp",
    mlp_norm=False,
    attention=replace(_NORMED_ATTENTION, norm=None, post_norm="post_attention_layernorm"),
    mlp=replace(_LLAMA_MLP, post_norm="post_feedforward_layernorm"),
)
_COHERE = replace(
    _LLAMA,
    model_type="cohere",
    family="Command R, Aya",
    mid="input_layernorm",
    attention=_PAIRED,
    parallel_attention="self_attn",
    factors={"logits": "logit_scale"},
)
_ROBERTA_HEAD = MaskedHead(
    dense="lm_head.dense",
    norm="lm_head.layer_norm",
    decoder="lm_head.decoder",
    biases=("lm_head.bias", "lm_head.decoder.bias"),
    activation="gelu",
)
_BERT = Architecture(
    "bert",
    "embeddings.word_embeddings",
    "encoder.layer",
    "attention.output.LayerNorm",
    None,
    family="BERT, MiniLM",
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
    pooling=True,
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
            family="GPT-2, DistilGPT2",
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
            family="GPT-NeoX, Pythia",
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
            variants=(({"use_parallel_residual": (False,)}, {"parallel_attention": None}),),
        ),
        _LLAMA,
        *(
            replace(_LLAMA, model_type=name, family=family, attention=_WINDOWED)
            for name, family in {"mistral": "Mistral", "ministral3": "Ministral 3"}.items()
        ),
        *(
            replace(_LLAMA, model_type=name, family=family)
            for name, family in {
                "qwen2": "Qwen 2, Qwen 2.5",
                "gemma": "Gemma",
                "smollm3": "SmolLM3",
                "seed_oss": "Seed-OSS",
                "olmo": "OLMo",
                "ministral": "Ministral",
            }.items()
        ),
        replace(_LLAMA, model_type="ernie4_5", family="Ernie 4.5", attention=_PAIRED),
        replace(_LLAMA, model_type="arcee", family="Arcee (AFM)", mlp=_PLAIN_MLP),
        replace(_LLAMA, model_type="nemotron", family="Nemotron, Minitron", mlp=_PLAIN_MLP),
        replace(_LLAMA, model_type="qwen3", family="Qwen 3", attention=_NORMED_ATTENTION),
        _GEMMA2,
        replace(
            _GEMMA2,
            model_type="gemma3_text",
            family="Gemma 3 (text models)",
            attention=replace(_NORMED_ATTENTION, post_norm="post_attention_layernorm"),
        ),
        replace(
            _LLAMA,
            model_type="granite",
            family="Granite",
            factors={
                "embedding": "embedding_multiplier",
                "branch": "residual_multiplier",
                "1/logits": "logits_scaling",
            },
        ),
        replace(
            _LLAMA,
            model_type="apertus",
            family="Apertus",
            attention=replace(_NORMED_ATTENTION, norm="attention_layernorm"),
            mid="feedforward_layernorm",
            mlp=_PLAIN_MLP,
        ),
        replace(
            _LLAMA,
            model_type="starcoder2",
            family="StarCoder2",
            attention=_WINDOWED,
            mlp=Mlp("mlp.c_fc", "mlp.c_proj", "mlp.act"),
        ),
        replace(
            _LLAMA,
            model_type="phi3",
            family="Phi-3, Phi-3.5, Phi-4",
            attention=_attention(
                "self_attn",
                "qkv_proj qkv_proj qkv_proj o_proj",
                fused="parts",
                norm="input_layernorm",
                window_key="sliding_window",
            ),
            mlp=_FUSED_MLP,
        ),
        replace(
            _LLAMA,
            model_type="phi",
            family="Phi-1, Phi-1.5, Phi-2",
            attention=_attention("self_attn", "q_proj k_proj v_proj dense", norm="input_layernorm"),
            mid="input_layernorm",
            mlp=Mlp("mlp.fc1", "mlp.fc2", "mlp.activation_fn"),
            final_norm="final_layernorm",
            parallel_attention="self_attn",
        ),
        replace(
            _LLAMA,
            model_type="stablelm",
            family="StableLM",
            variants=(
                (
                    {"use_parallel_residual": (True,)},
                    {"mid": "input_layernorm", "parallel_attention": "self_attn"},
                ),
            ),
        ),
        replace(_LLAMA, model_type="helium", family="Helium", attention=_PAIRED),
        replace(_LLAMA, model_type="glm", family="GLM-4 (2024)", attention=_PAIRED, mlp=_FUSED_MLP),
        replace(
            _LLAMA,
            model_type="glm4",
            family="GLM-4 (2025)",
            attention=replace(_PAIRED, post_norm="post_self_attn_layernorm"),
            mlp=replace(_FUSED_MLP, post_norm="post_mlp_layernorm"),
        ),
        replace(_LLAMA, model_type="mixtral", family="Mixtral", attention=_WINDOWED, mlp=_EXPERTS),
        replace(
            _LLAMA,
            model_type="qwen3_moe",
            family="Qwen 3 (experts)",
            attention=_NORMED_ATTENTION,
            mlp=_EXPERTS,
        ),
        replace(
            _LLAMA,
            model_type="olmoe",
            family="OLMoE",
            attention=_NORMED_ATTENTION,
            mlp=_EXPERTS,
        ),
        replace(
            _LLAMA,
            model_type="gpt_oss",
            family="gpt-oss",
            attention=replace(_LLAMA_ATTENTION, rotary_once=True),
            mlp=_EXPERTS,
        ),
        *(
            replace(_LLAMA, model_type=name, family=family, attention=_LATENT, mlp=_EXPERTS)
            for name, family in {
                "deepseek_v2": "DeepSeek-V2",
                "deepseek_v3": "DeepSeek-V3, DeepSeek-R1, Moonlight",
            }.items()
        ),
        replace(
            _LLAMA,
            model_type="llama4_text",
            family="Llama 4 (text models)",
            attention=replace(
                _LATENT,
                opaque="some of its blocks normalise queries and keys behind their rotation, and "
                "scale queries by position",
            ),
            mlp=replace(_EXPERTS, output="feed_forward"),
            allowed={"use_qk_norm": (True, False)},
        ),
        _COHERE,
        replace(
            _COHERE,
            model_type="cohere2",
            family="Command R7B, Command A",
            attention=replace(_COHERE.attention, rotated_windows_only=True),
        ),
        _OLMO2,
        replace(_OLMO2, model_type="olmo3", family="OLMo 3"),
        replace(
            _OLMO2,
            model_type="exaone4",
            family="EXAONE 4",
            attention=replace(_OLMO2.attention, rotated_windows_only=True),
        ),
        Architecture(
            "gptj",
            "wte",
            "h",
            "ln_1",
            "ln_f",
            family="GPT-J",
            attention=_attention(
                "attn", "q_proj k_proj v_proj out_proj", norm="ln_1", rotated_pairs=True
            ),
            mlp=Mlp("mlp.fc_in", "mlp.fc_out", "mlp.act"),
            unembedding="lm_head",
            parallel_attention="attn",
            depth_key="n_layer",
            width_key="n_embd",
            heads_key="n_head",
            context_key="n_positions",
        ),
        Architecture(
            "gpt_neo",
            "wte",
            "h",
            "ln_2",
            "ln_f",
            family="GPT-Neo, TinyStories",
            attention=_attention(
                "attn.attention",
                "q_proj k_proj v_proj out_proj",
                norm="ln_1",
                window_key="window_size",
                unscaled=True,
            ),
            mlp=Mlp("mlp.c_fc", "mlp.c_proj", "mlp.act"),
            unembedding="lm_head",
            position_embedding="wpe",
            depth_key="num_layers",
            heads_key="num_heads",
        ),
        Architecture(
            "opt",
            "decoder.embed_tokens",
            "decoder.layers",
            "final_layer_norm",
            "decoder.final_layer_norm",
            family="OPT",
            attention=_attention(
                "self_attn", "q_proj k_proj v_proj out_proj", norm="self_attn_layer_norm"
            ),
            mlp=Mlp("fc1", "fc2", "activation_fn"),
            unembedding="lm_head",
            position_embedding="decoder.embed_positions",
            first_position=2,
            allowed={"do_layer_norm_before": (True,)},
        ),
        Architecture(
            "bloom",
            "word_embeddings",
            "h",
            "post_attention_layernorm",
            "ln_f",
            family="BLOOM",
            attention=_attention(
                "self_attention",
                "query_key_value query_key_value query_key_value dense",
                fused="heads",
                position_bias=("build_alibi_tensor", "rows"),
                norm="input_layernorm",
            ),
            mlp=Mlp("mlp.dense_h_to_4h", "mlp.dense_4h_to_h", "mlp.gelu_impl"),
            unembedding="lm_head",
            embedding_norm="word_embeddings_layernorm",
            depth_key="n_layer",
            heads_key="n_head",
            context_key=None,
        ),
        Architecture(
            "falcon",
            "word_embeddings",
            "h",
            "input_layernorm",
            "ln_f",
            family="Falcon",
            attention=_FALCON_ATTENTION,
            mlp=Mlp("mlp.dense_h_to_4h", "mlp.dense_4h_to_h", "mlp.act"),
            unembedding="lm_head",
            rotary="rotary_emb",
            parallel_attention="self_attention",
            # transformers adds ALiBi's bias twice where weights of attention are asked for.
            allowed={"alibi": (False,)},
            variants=(
                (  # two norms, or one as the row has it
                    {"new_decoder_architecture": (True,), "num_ln_in_parallel_attn": (None, 2)},
                    {"mid": "ln_mlp", "attention": replace(_FALCON_ATTENTION, norm="ln_attn")},
                ),
                (
                    {"new_decoder_architecture": (None, False), "parallel_attn": (False,)},
                    {"mid": "post_attention_layernorm", "parallel_attention": None},
                ),
                # No class has such blocks.
                (
                    {"new_decoder_architecture": (True,), "parallel_attn": (False,)},
                    {"allowed": {"parallel_attn": (True,)}},
                ),
            ),
        ),
        Architecture(
            "mpt",
            "wte",
            "blocks",
            "norm_2",
            "norm_f",
            family="MPT",
            attention=_attention(
                "attn",
                "Wqkv Wqkv Wqkv out_proj",
                fused="parts",
                position_bias=("build_mpt_alibi_tensor", "heads"),
                norm="norm_1",
            ),
            mlp=Mlp("ffn.up_proj", "ffn.down_proj", "ffn.act"),
            unembedding="lm_head",
            depth_key="n_layers",
            width_key="d_model",
            heads_key="n_heads",
            context_key="max_seq_len",
            # What transformers does, whatever a configuration says.
            allowed={
                "attn_config.alibi": (True,),
                "attn_config.prefix_lm": (False,),
                "attn_config.attn_uses_sequence_id": (False,),
                "attn_config.attn_type": ("multihead_attention",),
                "attn_config.qk_ln": (False,),
                "attn_config.clip_qkv": (None,),
            },
        ),
        _BERT,
        replace(
            _BERT,
            model_type="mpnet",
            family="MPNet",
            mid="attention.LayerNorm",
            attention=_attention(
                "attention.attn",
                "q k v o",
                position_bias=("encoder.compute_position_bias", "text"),
            ),
            first_position=None,
            unembedding=_ROBERTA_HEAD,
        ),
        *(
            replace(
                _BERT,
                model_type=name,
                family=family,
                first_position=None,
                unembedding=_ROBERTA_HEAD,
            )
            for name, family in {
                "roberta": "RoBERTa",
                "xlm-roberta": "XLM-RoBERTa, multilingual E5",
                "camembert": "CamemBERT",
                "data2vec-text": "data2vec (text)",
            }.items()
        ),
        replace(
            _BERT,
            model_type="electra",
            family="ELECTRA",
            pooling=False,
            unembedding=MaskedHead(
                dense="generator_predictions.dense",
                norm="generator_predictions.LayerNorm",
                decoder="generator_lm_head",
                biases=("generator_lm_head.bias",),
                activation="gelu",
            ),
        ),
        Architecture(
            "modernbert",
            "embeddings.tok_embeddings",
            "layers",
            "mlp_norm",
            "final_norm",
            family="ModernBERT",
            attention=_attention(
                "attn",
                "Wqkv Wqkv Wqkv Wo",
                fused="parts",
                norm="attn_norm",
                window_key="sliding_window",
            ),
            mlp=Mlp("mlp.Wi", "mlp.Wo", "mlp.act", gate="mlp.Wi"),
            unembedding=MaskedHead(
                dense="head.dense",
                norm="head.norm",
                decoder="decoder",
                biases=("decoder.bias",),
                biased=False,
            ),
            causal=False,
            rotary="rotary_emb",
            embedding_norm="embeddings.norm",
        ),
        replace(
            _BERT,
            model_type="distilbert",
            family="DistilBERT",
            pooling=False,
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


READ_AS = "tokentrails_read_as"
"""In the configuration of a type outside the table: the row by which it is read."""

DEQUANTISED = ("fp8", "mxfp4")
"""By `quant_method`: what `models.quantised` makes plain numbers of when a model is prepared."""

_NO_STREAM = "its blocks do not add to one stream, and what would be read has another meaning"
_RECURRENT = "its blocks keep a state from token to token in the place of attention"
_UNSUPPORTED = {
    **dict.fromkeys(("gemma3n", "gemma4", "deepseek_v4"), _NO_STREAM),
    **dict.fromkeys(("qwen3_next", "qwen3_5", "mamba", "falcon_mamba", "rwkv"), _RECURRENT),
    "deberta": "its attention compares tokens and distances in three products, not in one",
    "albert": "it runs one block again and again, and its embedding has another width",
    **dict.fromkeys(("t5", "mt5", "umt5"), "it has two stacks, of which one reads the other"),
}
"""By how types begin, why none of their models is read."""


_LISTED = "docs/catalogue.md lists the families that can be read, under Models"


def is_known(model_type: object) -> TypeGuard[str]:
    """Whether a type of models is in the table."""
    return isinstance(model_type, str) and model_type in ARCHITECTURES


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the model of texts, where one that sees images too has it inside.

    Whether the embedding is tied, and how weights are kept, the outer one says where it does.
    """
    inner = config.get("text_config") if isinstance(config, dict) else None
    if not isinstance(inner, dict) or not is_known(inner.get("model_type")):
        return config
    if is_known(config.get("model_type")):
        return config
    shared = ("dtype", "torch_dtype", "tie_word_embeddings", "quantization_config", "auto_map")
    return inner | {key: config[key] for key in shared if key in config}


def text_tensor(name: str) -> str | None:
    """What a tensor of such a model is called in the model of texts; None for one of images."""
    if name.startswith("lm_head."):
        return name
    inside = r"(?:model\.)?(?:language_model|text_model)\."
    found = re.match(rf"{inside}(?:(lm_head)|(?:model\.)?(.*))", name)
    if found is None:
        return None
    return f"lm_head{name[found.end(1) :]}" if found[1] else f"model.{found[2]}"


_MOST = (
    (re.compile(r"(^|_)(layers?|blocks?|depths?)$"), 1_000, "blocks"),
    (re.compile(r"(^|_)experts$"), 100_000, "experts in a block"),
    (re.compile(r"(^|_)heads?$"), 10_000, "heads in a block"),
    (re.compile(r"(^|_)vocab_size$"), 1 << 24, "entries in its vocabulary"),
    (re.compile(r"(^|_)(size|dim|model|embd|inner|ff)$"), 1 << 24, "dimensions"),
    (re.compile(r"^num_labels$"), 1 << 20, "classes"),
)
"""By keys of configurations, what no model has more of, by several times. transformers makes a
module, or a name, of each block, of some experts and of each class: of far more it would not end.
"""


def refuse_absurd(config: Mapping[str, Any], *, where: object) -> None:
    """Raise for sizes that no model has, whatever its type calls them, before one is built.

    Parameters
    ----------
    config: with those of its parts, such as the one of images.
    """
    for key, value in config.items():
        if isinstance(value, dict):
            refuse_absurd(value, where=where)
        elif type(value) is int and isinstance(key, str):
            for pattern, most, what in _MOST:
                if value > most and pattern.search(key):
                    raise TokentrailsError(
                        f"{key} is {value:,}, and no model has more than {most:,} {what}",
                        where=where,
                        hint="its config.json says how large it is; save or fetch it again.",
                    )


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
    refuse_absurd(config, where=where)
    config = text_config(config)
    model_type = config.get("model_type")
    for beginning, reason in _UNSUPPORTED.items():
        if isinstance(model_type, str) and model_type.startswith(beginning):
            raise TokentrailsError(
                f"model_type {model_type!r} is not supported: {reason}",
                where=where,
                hint=f"choose another model; {_LISTED}.",
            )
    read_as = model_type if is_known(model_type) else config.get(READ_AS)
    if not isinstance(model_type, str) or not is_known(read_as):
        near = ", ".join(get_close_matches(str(model_type), ARCHITECTURES, n=4, cutoff=0.7))
        raise TokentrailsError(
            f"model_type {model_type!r:.80} is not supported",
            where=where,
            hint=(f"did you mean {near}? " if near else "")
            + f"{_LISTED}; others with the same modules are read too.",
        )
    architecture = _of_variant(replace(ARCHITECTURES[read_as], model_type=model_type), config)
    if READ_AS in config and architecture.attention.opaque:
        unknown = replace(architecture.attention, opaque="its attention has no form known here")
        architecture = replace(architecture, attention=unknown)
    _refuse_quantised(config, where)
    variant = _unsupported_variant(config, architecture)
    if variant:
        raise TokentrailsError(
            f"this variant of {model_type!r} is not supported: {variant}",
            where=where,
            hint=f"choose another model; {_LISTED}.",
        )
    architecture.refuse_sizes(config, where=where)
    architecture = replace(architecture, alone=_depends_on_length(config))
    if config.get("is_causal") is False:  # embedding models made of decoders
        architecture = replace(architecture, causal=False)
    return architecture


def _refuse_quantised(config: dict[str, Any], where: object) -> None:
    quantised = config.get("quantization_config")
    method = quantised.get("quant_method") if isinstance(quantised, dict) else None
    if quantised and method not in DEQUANTISED:
        raise TokentrailsError(
            "its weights are quantised (quantization_config), by "
            + (f"{method!r:.80}" if method else "a method that it does not name"),
            where=where,
            hint=f"{', '.join(DEQUANTISED)} and GGUF files can be de-quantised here; else take the "
            "model as it was before, which its page names.",
        )


def _depends_on_length(config: Mapping[str, Any]) -> bool:
    """Whether the frequencies of rotations change where a text is longer than in training."""
    kinds = {str(one.get(key)) for one in _rotations(config) for key in ("rope_type", "type")}
    return not kinds.isdisjoint(("longrope", "su", "dynamic"))


def trained_length(config: Mapping[str, Any]) -> int | None:
    """How long texts were before rotations were scaled for longer ones; None if they were not."""
    keys = ("original_max_position_embeddings", "max_position_embeddings")
    found = [config.get(keys[0]), *(one.get(keys[0]) for one in _rotations(config))]
    found += [config.get(keys[1]) if _depends_on_length(config) else None]
    return next((n for n in found if type(n) is int and n > 0), None)


def _rotations(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a configuration says of rotations, of all types of blocks."""
    given = [config.get(key) for key in ("rope_parameters", "rope_scaling")]
    given += [inner for one in given if isinstance(one, dict) for inner in one.values()]
    return [one for one in given if isinstance(one, dict)]


_ALLOWED: Values = {
    # transformers has only this kind left, and leaves out the tensors of the others.
    "position_embedding_type": (None, "absolute"),
    "use_bidirectional_attention": (None, False),
    # Norms of queries and keys that each head has of its own.
    "qk_layernorm": (None, False),
    "use_qk_norm": (None, False),
    "clip_qkv": (None,),
    "apply_residual_connection_post_layernorm": (None, False),
    "add_cross_attention": (None, False),
}
"""What rows describe that say nothing else."""


_NATIVE = ("", "model", "forcausallm", "formaskedlm", "lmheadmodel")
"""What classes of transformers are called behind the name of their type, in small letters."""


def _class_of_its_own(config: Mapping[str, Any]) -> str | None:
    """A class of the model in its repository's code, unless it has the name of transformers' own.

    Many a model whose type came into transformers later still names the code that it was published
    with. One of another name, such as a Llama that sees both sides, computes something else.
    """
    named, model_type = config.get("auto_map"), str(config.get("model_type"))
    native = {model_type.replace("_", "") + ending for ending in _NATIVE}
    for key, value in named.items() if isinstance(named, dict) else ():
        name = str(value).rpartition(".")[2]
        if key in ("AutoModel", "AutoModelForCausalLM", "AutoModelForMaskedLM") and (
            READ_AS in config or name.casefold() not in native
        ):
            return repr(name)
    return None


def _of_variant(row: Architecture, config: Mapping[str, Any]) -> Architecture:
    """The row as it is of the models whose configuration has such values."""
    for when, changes in row.variants:
        if all(config.get(key) in values for key, values in when.items()):
            row = replace(row, **changes)
    return row


def _unsupported_variant(config: dict[str, Any], row: Architecture) -> str | None:
    for key, values in {**_ALLOWED, **row.allowed}.items():
        *outer, last = key.split(".")
        given: Any = config
        for name in outer:
            given = given.get(name)
        if isinstance(given, dict) and last in given and given[last] not in values:
            return f"{key} is {given[last]!r:.80}"
    if row.first_position is None:  # positions are numbered from there
        pad = config.get("pad_token_id", 1)
        if type(pad) is not int or pad < 0:
            return f"pad_token_id is {pad!r}"
    width = config.get(row.width_key)
    for key in ("embedding_size", "word_embed_proj_dim"):
        if config.get(key, width) != width:
            return f"{key} differs from {row.width_key}"
    for key in row.factors.values():
        factor = config.get(key, 1.0)
        if type(factor) not in (int, float) or not math.isfinite(factor) or factor == 0:
            return f"{key} is {factor!r}"
    if (named := _class_of_its_own(config)) is not None:
        return f"auto_map names a model class of its own, {named}, whose code is not run"
    scalar = config.get("query_pre_attn_scalar")  # its root divides the logits of attention
    if scalar is not None and not (type(scalar) in (int, float) and scalar > 0):
        return f"query_pre_attn_scalar is {scalar!r}"
    causal = config.get("is_causal", row.causal)  # transformers hands it on as it is
    if type(causal) is not bool or causal > row.causal:
        return f"is_causal is {causal!r}"
    if config.get("is_decoder") and not row.causal:
        return "is_decoder is true (an encoder architecture run as a decoder)"
    return None
