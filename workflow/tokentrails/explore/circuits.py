"""What happens inside the model to one text, token by token: heads, neurons, words by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from altair.utils.schemapi import debug_mode
from torch import Tensor, nn

from ..errors import TokentrailsError
from ..figures.attribution import attribution as attribution_figure
from ..figures.evolution import evolution as evolution_figure
from ..figures.pieces.points import with_byte_marks
from ..figures.pieces.save import specification
from ..figures.pieces.text_tokens import MOST_TOKENS
from ..figures.token_heads import token_heads
from ..files.schema import schema, with_defaults
from ..metrics.activations import ActivationTables
from ..metrics.attribution import attribution
from ..metrics.evolution import Lens, evolution
from ..metrics.heads import HeadTables
from ..metrics.neurons import neurons
from ..network.parts import Parts
from ..network.trace import Trace, trace
from ..texts.whole import WholeText, whole_texts
from .view import LABEL, View

_EXPERIMENT = schema("config")["properties"]["experiments"]["additionalProperties"]
SETTINGS: Mapping[str, Any] = with_defaults({}, _EXPERIMENT["properties"]["circuits"])
"""The workflow's own for what a configuration does not set."""
_LISTS = {key: SETTINGS[key] for key in ("top", "high_bias")}
ATTENDED = 10
"""Tokens that are listed of those which a head attends to."""

_SIDES = {"query": "looks for", "key": "is found by"}
Words = list[tuple[str, float, str]]
"""Entries as people read them, with their scores."""


@dataclass(frozen=True, eq=False)
class Circuits:
    """A text in a checkpoint, and what is computed of it once."""

    view: View

    @property
    def parts(self) -> Parts:
        return self.view.loaded.readout.parts

    @property
    def has_neurons(self) -> bool:
        """Whether its MLPs are not made of experts."""
        return self.parts.blocks[0].dense_mlp is not None

    @cached_property
    def text(self) -> WholeText:
        (text,) = whole_texts(self.view.tokens)
        return text

    @cached_property
    def provenance(self) -> dict[str, str]:
        return self.view.loaded.checkpoint.provenance | {"experiment": LABEL}

    @cached_property
    def traced(self) -> Trace:
        """The text's trace; behind it the model computes attention as it did before."""
        readout = self.view.loaded.readout
        before = readout.model.config._attn_implementation
        try:
            return trace(readout.model, readout.architecture, self.text.token_ids)
        finally:
            readout.model.set_attn_implementation(before)

    def _run(self, token_ids: list[int]) -> Trace:
        return self.traced

    def attention(self, position: int) -> pl.DataFrame:
        """The rows of the table `attention` of one query."""
        weights = self.traced.attention[:, :, position]
        tokens = self.text.tokens
        rows = []
        for layer, block in enumerate(self.parts.blocks):
            keys = block.heads.visible(len(tokens))[position].nonzero()[:, 0].tolist()
            for head, of_head in enumerate(weights[layer]):
                rows += [(layer, head, key, tokens[key], float(of_head[key])) for key in keys]
        columns = {
            "layer": pl.Int32,
            "head": pl.Int32,
            "key": pl.Int32,
            "key_token": pl.String,
            "weight": pl.Float32,
        }
        query = {"query": pl.lit(position, pl.Int32), "query_token": pl.lit(tokens[position])}
        return pl.DataFrame(rows, columns, orient="row").with_columns(**query)

    def heads(self, position: int, key: int | None) -> dict[str, Any]:
        """The figure of a token's attention by layer and head: its specification and table."""
        table = self.attention(position)
        with debug_mode(False):
            read = self._marked(table, "query_token", "key_token")
            chart = token_heads(read, key=key, title=f"{self.view.run}: attention")
            return {"spec": specification(chart), "table": table}

    def head(self, position: int, layer: int, head: int) -> dict[str, Any]:
        """What a head does at a token, in words: whom it attends to, and what these pass on.

        Raises
        ------
        TokentrailsError: where no entry of the vocabulary is a whole word.
        """
        tables = HeadTables(
            self.view.loaded.spaces,
            layers=[layer],
            heads=[head],
            listed=[layer],
            provenance=self.provenance,
            words=self.view.loaded.words,
            **_LISTS,
        )
        ((_, lists),) = tables.tables([self.text], self._run)
        assert lists is not None
        rows = _frame(lists)
        messages = rows.filter(kind="message")
        space = messages["space"][-1]  # the unembedding, where there is one
        passed = dict(messages.filter(space=space).select("position", _words()).iter_rows())
        seen = self.attention(position).filter(layer=layer, head=head)
        attended = [
            {
                "position": row["key"],
                "readable": self.view.loaded.readable(row["key_token"]),
                "weight": row["weight"],
                "words": self._readable(passed[row["key"]]),
            }
            for row in seen.sort("weight", descending=True, maintain_order=True)
            .head(ATTENDED)
            .iter_rows(named=True)
        ]
        own = rows.filter(position=position).select("kind", "side", "space", _words())
        return {
            "space": space,
            "attended": attended,
            "of": len(seen),
            "lists": [
                {
                    "name": _SIDES[side] if kind == "pattern" else "passes on",
                    "space": where,
                    "words": self._readable(words),
                }
                for kind, side, where, words in own.iter_rows()
            ],
        }

    def neurons(self, position: int, layer: int) -> list[dict[str, Any]]:
        """The strongest neurons of a token in a block, the strongest first, with their words.

        Raises
        ------
        TokentrailsError: where no entry of the vocabulary is a whole word.
        """
        made = ActivationTables(self.parts, [layer], SETTINGS["strongest"], self.provenance)
        (table,) = made.tables([self.text], self._run)
        strongest = _frame(table).filter(position=position)
        strongest = strongest.sort("contribution_norm", descending=True, maintain_order=True)
        only = strongest["neuron"].to_list()
        how = {"layers": [layer], "provenance": self.provenance, "only": only, **_LISTS}
        (listed,) = neurons(self.view.loaded.spaces, **how)
        lists = _frame(listed).select("neuron", "role", "space", _words())
        return [
            {
                "neuron": row["neuron"],
                "activation": row["activation"],
                "contribution": row["contribution_norm"],
                "lists": [
                    {"name": role, "space": space, "words": self._readable(words)}
                    for _, role, space, words in lists.filter(neuron=row["neuron"]).iter_rows()
                ],
            }
            for row in strongest.iter_rows(named=True)
        ]

    @cached_property
    def _attribution(self) -> list[pl.DataFrame]:
        checkpoint = self.view.loaded.checkpoint
        tables = attribution(
            [self.text],
            self._run,
            self.parts,
            lambda ids: checkpoint.embedding_rows(np.array(ids)),
            provenance=self.provenance,
        )
        return [_frame(table) for table in tables]

    def attribution(self, position: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The figure of the parts that move a token's identity, and those that move it most.

        Raises
        ------
        TokentrailsError: if the parts do not add up.
        """
        frames = [table.filter(position=position) for table in self._attribution]
        with debug_mode(False):
            title = f"{self.view.run}: what moves identity"
            read = (self._marked(frame, "token") for frame in frames)
            spec = specification(attribution_figure(*read, show=LABEL, title=title))
        _, cosine, _ = frames
        most = cosine.drop_nulls("contribution").sort(
            pl.col("contribution").abs(), descending=True, maintain_order=True
        )
        figure = {"spec": spec, "table": cosine}
        return figure, most.select("layer", "part", "head", "contribution").head(10).to_dicts()

    @cached_property
    def _evolved(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        if self.parts.unembedding is None:
            raise TokentrailsError(
                f"the weights of {self.view.loaded.checkpoint.name} have no unembedding, which "
                "would say words",
                hint="choose another model.",
            )
        if (n := len(self.text.tokens)) > MOST_TOKENS:
            raise TokentrailsError(
                f"the text has {n} tokens, and the grid has room for {MOST_TOKENS}",
                hint="shorten it; an experiment of the workflow takes longer ones.",
            )
        loaded = self.view.loaded
        model, readout = _WithHead(loaded.readout.model, self.parts), loaded.readout
        lens = Lens(model, readout.architecture, loaded.spaces, loaded.checkpoint.name)
        prefix = partial(loaded.files.tokenizer.decode, skip_special_tokens=False)
        how: dict[str, Any] = {"top": SETTINGS["top"], "prefix": prefix}
        tables = evolution([self.text], lens, provenance=self.provenance, **how)
        return _frame(tables[0]), _frame(tables[1])

    def evolution(self) -> dict[str, Any]:
        """The figure of words by token and layer: its specification and table.

        Raises
        ------
        TokentrailsError: for a model without unembedding, and for a text that is too long; and as
            `metrics.evolution.evolution` does.
        """
        with debug_mode(False):
            read = self._marked(self._evolved[0], "token", "top", "most_probable")
            drawn = evolution_figure(read, show=LABEL, title=f"{self.view.run}: words by layer")
            return {"spec": specification(drawn), "table": self._evolved[0]}

    def evolved(self, position: int, layer: int) -> list[dict[str, Any]]:
        """The words of a cell of that figure, in each space, and what the model predicts there.

        Those of a state are words alone, as `Loaded.listed` says; the most probable entry of all
        is apart.
        """
        cell = self._evolved[0].filter(position=position, layer=layer)
        most = pl.struct(top=pl.concat_list("most_probable"), score=pl.concat_list("probability"))
        columns = "space", "predicted", _words("top_score"), most.alias("most")
        found = []
        for space, predicted, words, one in cell.select(*columns).iter_rows():
            name = "predicted" if predicted else "state"
            found.append({"name": name, "space": space, "words": self._readable(words)})
            if space == "unembedding" and not predicted:
                found.append({"name": "most", "space": space, "words": self._readable(one)})
        return found

    def _marked(self, table: pl.DataFrame, *columns: str) -> pl.DataFrame:
        """A table for a figure, which cannot always know that entries are byte-level."""
        return with_byte_marks(table, *columns, byte_level=self.view.loaded.files.is_byte_level)

    def _readable(self, words: Mapping[str, Sequence[Any] | None]) -> Words:
        read = self.view.loaded.readable
        pairs = zip(words["top"] or [], words["score"] or [], strict=True)
        return [(read(word), score, word) for word, score in pairs]


class _WithHead(nn.Module):
    """A bare model under the unembedding of its weights file, as transformers builds it.

    What it gives goes through the model's own final norm, so that the words of the stream are
    still compared with other logits.
    """

    def __init__(self, model: nn.Module, parts: Parts) -> None:
        super().__init__()
        self.base_model, self.head = model, replace(parts, final_norm=None)

    def forward(
        self, ids: Tensor, use_cache: bool = False, logits_to_keep: Tensor | slice = slice(None)
    ) -> SimpleNamespace:
        state = self.base_model(ids).last_hidden_state
        return SimpleNamespace(logits=self.head.logits(state[:, logits_to_keep]))


def _frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table))


def _words(score: str = "top_cosine") -> pl.Expr:
    return pl.struct(top="top", score=score).alias("words")
