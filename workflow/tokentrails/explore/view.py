"""One text in one checkpoint: its tokens, its states, and what the page shows of them.

Every number comes from the functions that make the workflow's tables, every figure from those of
`figures`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from altair.utils.schemapi import debug_mode
from jaxtyping import Float32

from ..errors import TokentrailsError
from ..figures.pieces.points import with_byte_marks
from ..figures.pieces.save import specification
from ..figures.pieces.text_tokens import text_notes, text_tokens
from ..figures.ranks import Reference, rank_layers, similarity_layers, token_layers
from ..files.states import Layer, Place, places
from ..metrics.as_published import position_rows, published_states
from ..metrics.columns.frame import with_classes
from ..metrics.geometry import lengths_of
from ..metrics.ranks import Published, ranks
from ..network.checkpoint import checkpoint_name
from ..settings import Experiment, Prompt
from ..statistics.baseline import NO_BASELINE
from ..texts.tokenization import NO_TOKEN, cut, encode_as_asked
from ..texts.word_classes import WordClasses, function_words
from .chance import Chance, turn
from .look import TURNED, Look
from .models import Loaded
from .run import run

LABEL = "text"
MOST_TOKENS = 256
"""Tokens of a text, so that its states stay small."""
MOST_SHOWN = 6
"""Tokens that are compared."""
NEAREST = 10


@dataclass(frozen=True, eq=False)
class View:
    """A text in a checkpoint.

    Attributes
    ----------
    name: of the model.
    tokens: the tokens table, with the classes of English; every token is a target.
    ends: where each token begins and ends in the text, in characters.
    states: of every token at each place, as the workflow stores them.
    """

    loaded: Loaded
    name: str
    tokens: pa.Table
    ends: Sequence[tuple[int, int]]
    states: dict[Place, Float32[np.ndarray, "t d"]]
    _kept: dict[tuple[int, Look], pl.DataFrame] = field(default_factory=dict)
    _logprobs: dict[int, Float32[np.ndarray, " layers"]] = field(default_factory=dict)

    @classmethod
    def of(cls, loaded: Loaded, name: str, text: str, special_tokens: str) -> View:
        """Cut a text and run the model once.

        Raises
        ------
        TokentrailsError: for a text that the model cannot take, and for a state that is not finite.
        """
        if special_tokens == "bos" and loaded.files.bos_id is None:
            raise TokentrailsError(
                f"the tokenizer of {name!r} has no beginning-of-sequence token",
                hint="choose other special tokens.",
            )
        experiment = Experiment(
            name=LABEL,
            file="the text",
            models=(name,),
            pooling="last",
            special_tokens=special_tokens,
            sites=tuple(loaded.sites),
            analyses=(),
            prompts=(Prompt(LABEL, text),),
        )
        longest = min(MOST_TOKENS, loaded.context_length)
        tokens, skipped = cut(experiment, loaded.files, longest, model=name)
        if not len(tokens):
            reason = skipped["reason"][0].as_py()
            raise TokentrailsError(
                reason if reason == NO_TOKEN else f"the text has more than {longest} tokens",
                hint="change it; an experiment of the workflow takes longer ones.",
            )
        tokens = with_classes(tokens, _english())
        (encoded,) = encode_as_asked(experiment, loaded.files, [text], name)
        return cls(loaded, name, tokens, encoded.offsets, _states(loaded, tokens, name))

    @property
    def depth(self) -> int:
        return self.loaded.checkpoint.facts["depth"]

    @property
    def run(self) -> str:
        """The model and its checkpoint, as titles name them."""
        return checkpoint_name(self.loaded.checkpoint.provenance)

    @property
    def ids(self) -> list[int]:
        return self.tokens["token_ids"][0].as_py()

    def token_list(self) -> list[dict[str, Any]]:
        """Each token: its entry, how people read it, its place in the text, its word, its kind."""
        entries = self.tokens["tokens"][0].as_py()
        words = self.tokens["word"].to_pylist()
        return [
            {
                "position": position,
                "id": index,
                "entry": entry,
                "readable": self.loaded.readable(entry),
                "ends": self.ends[position],
                "word": word,
                "special": index in self.loaded.files.special_ids,
            }
            for position, (index, entry, word) in enumerate(
                zip(self.ids, entries, words, strict=True)
            )
        ]

    def layer(self, site: str, layer: int) -> Layer:
        """The states of all tokens at a place."""
        return Layer(site, layer, np.arange(len(self.ids)), self.states[site, layer])

    def ranks(
        self, positions: Sequence[int], look: Look, chance: Chance | None = None
    ) -> pl.DataFrame:
        """Rows of the table `ranks` for some tokens at a site, with cosines in the look's form.

        Parameters
        ----------
        chance: there must be one for other forms than the cosine, whose texts have run.
        """
        kept = replace(look, form=look.shape)
        new = [p for p in positions if (p, kept) not in self._kept]
        if new:
            found = self._rank(new, look, chance).partition_by("position", as_dict=True)
            self._kept.update({(p, kept): rows for (p,), rows in found.items()})
        rows = pl.concat(self._kept[p, kept] for p in positions)
        if look.form != "scaled":
            return rows
        assert chance is not None
        # Of the nearest entries too: their rows are of the same matrix, as is chance.
        known = {name: pl.col(name) for name in ("cosine", "nearest_cosine")}
        scaled = {n: chance.scaled(look, c).cast(rows.schema[n]) for n, c in known.items()}
        return rows.with_columns(**scaled)

    def _rank(self, positions: Sequence[int], look: Look, chance: Chance | None) -> pl.DataFrame:
        rows, checkpoint = np.array(positions), self.loaded.checkpoint
        shape, vocabulary = NO_BASELINE, self.loaded.matrices[look.matrix]
        if look.form in TURNED:
            assert chance is not None
            shape, vocabulary = chance.turned(look.form, look.matrix)
        layers = (
            turn(Layer(*place, rows, states[rows]), shape)
            for place, states in self.states.items()
            if place[0] == look.site
        )
        tokens = self.tokens.take(rows)
        published = None
        if look.as_published and look.matrix == "embedding":
            of_all = published_states(self, [LABEL] * len(self.ids), checkpoint)
            published = Published(lambda at: of_all(at)[rows], position_rows(checkpoint, [0])[0])
        table = ranks(
            layers,
            tokens,
            vocabulary,
            nearest=NEAREST,
            baseline=NO_BASELINE,
            offsets=position_rows(checkpoint, positions) if look.positional else None,
            published=published,
            pooling="last",
            groups=[],
            provenance=checkpoint.provenance | {"experiment": LABEL},
            neighbours=False,
        )
        return pl.DataFrame(pl.from_arrow(table))

    @torch.inference_mode()
    def own_logprob(self, positions: Sequence[int]) -> pl.DataFrame | None:
        """The column `own_logprob` of the table `own_token`, in nats; None without a head."""
        readout = self.loaded.readout
        if readout.parts.unembedding is None:
            return None
        layers = range(self.depth + 1)
        if new := [p for p in positions if p not in self._logprobs]:
            hidden = np.stack([self.states["resid", layer][new] for layer in layers])
            device = readout.parts.embedding.device
            states = torch.from_numpy(hidden).to(device).flatten(0, 1)
            own = torch.tensor([self.ids[p] for p in new], device=device).repeat(len(layers))
            found = readout.logprob(states, own).view(len(layers), len(new)).cpu().numpy()
            self._logprobs.update(zip(new, found.T, strict=True))
        values = np.stack([self._logprobs[p] for p in positions], axis=1)
        return self._numbers(positions, layers, values.ravel())

    def ahead(self, look: Look, chance: Chance | None) -> bool:
        """Compute a piece of what other tokens need; whether there was one."""
        every, kept = range(len(self.ids)), replace(look, form=look.shape)
        if ranks := [p for p in every if (p, kept) not in self._kept]:
            self.ranks(ranks[:1], look, chance)
        elif logprobs := [p for p in every if p not in self._logprobs]:
            return self.own_logprob(logprobs[:1]) is not None
        return bool(ranks)

    def lengths(self, positions: Sequence[int], site: str) -> pl.DataFrame:
        """Euclidean lengths of the states, in model units."""
        layers = [layer for place, layer in self.states if place == site]
        values = [lengths_of(self.states[site, layer][positions]) for layer in layers]
        return self._numbers(positions, layers, np.concatenate(values))

    def _numbers(
        self, positions: Sequence[int], layers: Sequence[int], values: np.ndarray
    ) -> pl.DataFrame:
        """A value for each layer and, within it, each token."""
        keys = [(position, layer) for layer in layers for position in positions]
        frame = pl.DataFrame(keys, {"position": pl.Int32, "layer": pl.Int32}, orient="row")
        return frame.with_columns(value=pl.Series(values.astype(np.float64)))

    def _read(self, ranks: pl.DataFrame) -> pl.DataFrame:
        """The same for figures, which cannot know what of an entry is a byte and what a letter."""
        return with_byte_marks(
            ranks, "token", "nearest", byte_level=self.loaded.files.is_byte_level
        )

    def measured(
        self, positions: Sequence[int], look: Look, chance: Chance | None
    ) -> dict[str, pl.DataFrame]:
        """By measure, a tokens frame with a column of its name."""
        ranks = self.ranks(positions, look, chance)
        tokens = stream = text_tokens(self._read(ranks), LABEL)
        if look.site != "resid":
            of_resid = self.ranks(positions, Look("resid", look.matrix))
            stream = text_tokens(self._read(of_resid), LABEL)
        found = {"ranks": ranks}
        if (logprob := self.own_logprob(positions)) is not None:
            found["own_logprob"] = _with(stream, logprob, "own_logprob")
        return found | {"length": _with(tokens, self.lengths(positions, look.site), "length")}

    def figures(
        self,
        positions: Sequence[int],
        look: Look,
        chance: Chance | None = None,
        bands: pl.DataFrame | None = None,
        control: Mapping[str, pl.DataFrame] | None = None,
    ) -> list[dict[str, Any]]:
        """Identity, rank, own-token log-probability and length by layer, as specifications.

        Parameters
        ----------
        bands: those of chance that are shown.
        control: what `measured` gives of the model with random weights.
        """
        found, run = self.measured(positions, look, chance), self.run

        def reference(measure: str, key: str | None = None) -> Reference:
            lines = None if control is None else control.get(key or measure)
            mine = None if bands is None else bands.filter(measure=measure)
            return Reference(
                mine if mine is not None and len(mine) else None,
                None if lines is None else lines.select("position", "layer", value=measure),
                pairs=measure != "length",
            )

        ranks = found["ranks"]
        read = self._read(ranks)
        compared = {
            "similarity": reference("cosine", "ranks"),
            "rank": reference("rank", "ranks"),
            "own_token": reference("own_logprob"),
            "length": reference("length"),
        }
        with debug_mode(False):  # Altair checks what this project wrote, at every step: for tests
            how: dict[str, Any] = {"show": LABEL, "row": look.matrix, "form": look.form}
            how["tinted"] = True
            drawn = {
                name: draw(read, title=f"{run}: {title}", reference=compared[name], **how)
                for name, draw, title in (
                    ("similarity", similarity_layers, "identity"),
                    ("rank", rank_layers, "rank"),
                )
            }
            text, *_ = text_notes(ranks, LABEL)
            if "own_logprob" in found:
                drawn["own_token"] = token_layers(
                    found["own_logprob"],
                    "own_logprob",
                    name="log-probability (nats)",
                    notes=[
                        text,
                        "Of the token itself, read through the final norm and the unembedding.",
                    ],
                    title=f"{run}: own token",
                    reference=compared["own_token"],
                    tinted=True,
                )
            drawn["length"] = token_layers(
                found["length"],
                "length",
                name="length (model units)",
                notes=[text, f"Euclidean length of the state at {look.site}."],
                title=f"{run}: length",
                reference=compared["length"],
                tinted=True,
                is_log=True,
            )
            specs = {name: specification(chart) for name, chart in drawn.items()}
        keys = ["position", "layer"]
        columns = ["site", "layer", "position", "token", "word", "word_class"]
        about = {"matrix": pl.lit(look.matrix), "form": pl.lit(look.form)}
        against = ranks.with_columns(**about)
        beside = "positional", "cosine_as_published", "rank_as_published"
        tables = {
            "similarity": against.select(*columns, *about, "cosine", *beside[:2]),
            "rank": against.select(*columns, *about, "rank", beside[0], beside[2]),
            "length": ranks.select(*columns).join(
                found["length"].select(*keys, length_model_units="length"), on=keys
            ),
        }
        if "own_logprob" in found:
            of_resid = self.ranks(positions, Look("resid", look.matrix)).select(*columns)
            tables["own_token"] = of_resid.with_columns(matrix=pl.lit("unembedding")).join(
                found["own_logprob"].select(*keys, own_logprob_nats="own_logprob"), on=keys
            )
        return [
            {
                "name": name,
                "spec": spec,
                "table": _beside(tables[name].sort(*keys), compared[name]),
            }
            for name, spec in specs.items()
        ]


def _beside(table: pl.DataFrame, reference: Reference) -> pl.DataFrame:
    """A table with columns of what it is compared with."""
    if (chance := reference.chance) is not None:
        names = {"value": "chance", "low": "chance_low", "high": "chance_high"}
        table = table.join(chance.drop("measure").rename(names), on="layer", how="left")
    if (control := reference.control) is not None:
        control = control.rename({"value": "control"})
        table = table.join(control, on=["position", "layer"], how="left")
    return table


def _with(tokens: pl.DataFrame, numbers: pl.DataFrame, name: str) -> pl.DataFrame:
    keys = ["position", "layer"]
    return tokens.join(numbers, on=keys, how="left").rename({"value": name})


def nearest_lists(ranks: pl.DataFrame, read: Callable[[str], str]) -> list[dict[str, Any]]:
    """By token, its layers with cosine, rank and the nearest entries, also as people read them."""
    found = []
    for (position, token), rows in ranks.group_by("position", "token", maintain_order=True):
        layers = [
            {
                "layer": row["layer"],
                "cosine": row["cosine"],
                "rank": row["rank"],
                "published": [row["cosine_as_published"], row["rank_as_published"]],
                "nearest": [
                    [read(entry), cosine, entry]
                    for entry, cosine in zip(
                        row["nearest"] or [], row["nearest_cosine"] or [], strict=True
                    )
                ],
            }
            for row in rows.iter_rows(named=True)
        ]
        named = {"position": position, "entry": token, "readable": read(str(token))}
        found.append({**named, "layers": layers})
    return found


@cache
def _english() -> WordClasses:
    return WordClasses(function_words())


def _states(loaded: Loaded, tokens: pa.Table, name: str) -> dict[Place, Float32[np.ndarray, "t d"]]:
    read = places(loaded.sites, loaded.checkpoint.facts["depth"])
    ((rows, hidden),) = run(loaded, tokens, read, name, at_once=MOST_TOKENS)
    back = np.argsort(rows)
    return {place: hidden[index][back] for index, place in enumerate(read)}
