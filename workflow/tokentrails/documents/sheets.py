"""The sheets of one text, out of the tables of its analyses."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from ..figures.pieces.text import readable, shorten, visible
from .sheet import HIGH_BIAS, Column, Scale, Sheet

MAIN = "All together"
"""The sheet that is open first."""

_LONGEST_WORD = 60  # characters of a vocabulary entry; some are hundreds of spaces or dashes
_WIDEST_GRID = 500  # tokens side by side
_LIST = 44  # width of a column of words
_CELL, _MOST_LINES = 26, 12  # width of a grid's cell, and how high it may be

Tables = Mapping[str, pl.DataFrame]

log = logging.getLogger(__name__)


def text_sheets(
    tables: Tables, label: str, *, limits: Sequence[int], about: Mapping[str, str]
) -> list[list[Sheet]]:
    """Every sheet that the tables give, once for each limit.

    Parameters
    ----------
    tables: by their names in the data contract: attention, heads, activations, neurons, evolution,
        predictions, attribution. Those that are missing leave their sheets out. They may hold
        other texts too.
    label: of the text.
    limits: how many rows the sheet of all pairs may have; beyond that, it keeps the pairs with
        the largest attention weights.
    about: what else there is to say of the text, under its names: for the last sheet.
    """
    rows = {name: _readable_rows(t, label) for name, t in _fired(tables, label).items()}

    def make(*makers: tuple[Callable[..., list[Sheet]], tuple[str, ...]]) -> list[Sheet]:
        return [
            sheet
            for maker, names in makers
            if rows.keys() >= set(names)
            for sheet in maker(*(rows[name] for name in names))
        ]

    before = make((_patterns, ("heads",)), (_messages, ("heads",)))
    after = make(
        (_ffn, ("activations", "neurons")),
        (_evolution, ("evolution",)),
        (_predictions, ("predictions",)),
        (_attribution, ("attribution",)),
    )
    documents = []
    for most in limits:
        pairs = partial(_all_together, most_pairs=most)
        sheets = [*before, *make((pairs, ("attention", "heads"))), *after]
        documents.append([*sheets, _about(sheets, about)])
    return documents


def _fired(tables: Tables, label: str) -> Tables:
    """The tables, with only those neurons that fire in the text: there are many others."""
    if not tables.keys() >= {"neurons", "activations"}:
        return tables
    firing = tables["activations"].filter(pl.col("label") == label)
    neurons = tables["neurons"].join(firing, on=["layer", "neuron"], how="semi")
    return {**tables, "neurons": neurons}


def _readable_rows(table: pl.DataFrame, label: str) -> pl.DataFrame:
    """The rows of a text, with words in place of vocabulary entries, and numbers to be read."""
    if "label" in table.columns:
        table = table.filter(pl.col("label") == label)
    whole = [name for name, dtype in table.schema.items() if dtype.is_integer()]
    table = table.with_columns(pl.col(whole).cast(pl.Int64))
    for name in table.columns:
        is_entry = name == "predicted" and table.schema[name] == pl.String
        if is_entry or name == "token" or name.endswith("_token"):
            table = table.with_columns(pl.col(name).replace_strict(**_words(table[name])))
    if "top" in table.columns:
        word = pl.element().replace_strict(**_words(table["top"].explode()))
        words = pl.col("top").list.eval(word).list.join(", ")
        if "high_bias" in table.columns:
            words = pl.when("high_bias").then(pl.lit(f"{HIGH_BIAS} ") + words).otherwise(words)
        table = table.with_columns(words=words)
    for scores in {"top_cosine", "top_score"} & set(table.columns):
        table = table.with_columns(nearest=pl.col(scores).list.get(0, null_on_oob=True))
    floats = [name for name, dtype in table.schema.items() if dtype.is_float()]
    number = pl.col(floats).cast(pl.Float64)
    # Seven digits are all that a float32 holds; more would only fill the files.
    return table.with_columns(
        pl.when(number.is_finite()).then(number.round_sig_figs(7)).name.keep()
    )


def _words(entries: pl.Series) -> dict[str, Any]:
    """The arguments of `replace_strict` that make words of vocabulary entries."""
    names = entries.drop_nulls().unique().sort().to_list()
    words = [shorten(readable(name), _LONGEST_WORD) for name in names]
    return {"old": names, "new": words, "return_dtype": pl.String}


def _widened(
    table: pl.DataFrame, keys: Sequence[str], by: str, parts: Mapping[str, Mapping[str, str]]
) -> pl.DataFrame:
    """One row per key, with the columns of the parts of a table side by side.

    Parameters
    ----------
    by: the column by whose value the table is split.
    parts: by the value of `by`: the table's columns that are taken, and their new names. Parts
        without rows give no columns.
    """
    wide = table.select(keys).unique().sort(keys)
    for value, names in parts.items():
        part = table.filter(pl.col(by) == value)
        if len(part):
            columns = [pl.col(old).alias(new) for old, new in names.items()]
            wide = wide.join(part.select(*keys, *columns), on=keys, how="left")
    return wide.sort(keys)


def _sheet(
    name: str, frame: pl.DataFrame, columns: Sequence[Column], frozen: int, note: str = ""
) -> list[Sheet]:
    """A sheet of those columns that the frame has."""
    shown = [column for column in columns if column.name in frame.columns]
    frame = frame.select(column.name for column in shown)
    return [Sheet(name, frame, tuple(shown), frozen=frozen, note=note)]


def _cosine_scale(frame: pl.DataFrame, names: Sequence[str]) -> Scale:
    """From 0 to the largest cosine of all these columns, so that they can be compared."""
    largest = [frame[name].max() for name in names if name in frame.columns]
    return Scale(0.0, max((v for v in largest if isinstance(v, float) and v > 0), default=1.0))


def _signed_scale(values: pl.Series) -> Scale:
    """As far below 0 as above."""
    largest = values.abs().max()
    bound = largest if isinstance(largest, float) and largest > 0 else 1.0
    return Scale(-bound, bound)


# --- columns that several sheets have ---------------------------------------------------------

_LAYER = Column("Layer", "index of the block, from 0", width=7, choices=True)
_HEAD = Column("Head", "index of the head in its block, from 0", width=7, choices=True)
_POSITION = Column("Position", "of the token in the text, from 0")
_TOKEN = Column("Token", "the token at this position", width=14, choices=True)
_NEAREST = "cosine of the first word in the list"
_ROTARY = "; with rotary positions, as from the token's own position (offset 0)"
_BIAS = f"mean |z| of the listed words' bias; beyond the threshold it reads {HIGH_BIAS}, in grey"
_SPACES = ("embedding", "unembedding")


def _list_columns(name: str, cosine: str, meaning: str, scale: Scale, width: int) -> list[Column]:
    """A list of words, and the cosine of its first one."""
    return [
        Column(name, meaning, width=_LIST),
        Column(cosine, _NEAREST, 3, width=width, scale=scale),
    ]


# --- heads ------------------------------------------------------------------------------------

_HEAD_KEYS = ("layer", "head", "position", "token")
_MESSAGES = {
    space: {
        "words": f"Message, {space}",
        "nearest": f"Cosine, {space}",
        "bias": f"Bias, {space}",
    }
    for space in _SPACES
}
_MESSAGE_COSINES = [names["nearest"] for names in _MESSAGES.values()]


def _message_columns(meaning: str, scale: Scale) -> list[Column]:
    columns = []
    for space, names in _MESSAGES.items():
        text = f"{meaning}: the nearest words, by their {space}"
        columns += _list_columns(names["words"], names["nearest"], text, scale, width=14)
        columns.append(Column(names["bias"], _BIAS, 2, width=14))
    return columns


def _patterns(heads: pl.DataFrame) -> list[Sheet]:
    sides = {
        side: {
            "words": f"{side.title()} pattern",
            "nearest": f"{side.title()} cosine",
            "bias": f"{side.title()} bias",
            "norm": f"{side.title()} norm",
            "offset_logit": f"{side.title()} offset",
        }
        for side in ("query", "key")
    }
    frame = _widened(heads.filter(kind="pattern"), _HEAD_KEYS, "side", sides)
    scale = _cosine_scale(frame, ["Query cosine", "Key cosine"])
    columns = [_LAYER, _HEAD, _POSITION, _TOKEN]
    for side, what in (("Query", "what the head looks for here"), ("Key", "what it offers here")):
        meaning = f"{what}: the nearest words{_ROTARY}"
        columns += _list_columns(f"{side} pattern", f"{side} cosine", meaning, scale, width=9)
        columns += [
            Column(f"{side} bias", _BIAS, 2),
            Column(f"{side} norm", "length of the pattern", 2),
            Column(f"{side} offset", "what biases add to every logit of the pattern", 2),
        ]
    return _sheet("Patterns", frame.rename(str.capitalize), columns, frozen=4)


def _messages(heads: pl.DataFrame) -> list[Sheet]:
    messages = heads.filter(kind="message")
    norms = messages.group_by(_HEAD_KEYS).agg(pl.col("norm").first())
    frame = _widened(messages, _HEAD_KEYS, "space", _MESSAGES)
    frame = frame.join(norms, on=_HEAD_KEYS, how="left", maintain_order="left")
    columns = [_LAYER, _HEAD, _POSITION, _TOKEN]
    scale = _cosine_scale(frame, _MESSAGE_COSINES)
    columns += _message_columns("what the head hands on from here", scale)
    columns.append(Column("Norm", "length of the message", 2))
    return _sheet("Messages", frame.rename(str.capitalize), columns, frozen=4)


def _all_together(attention: pl.DataFrame, heads: pl.DataFrame, most_pairs: int) -> list[Sheet]:
    """Each pair of tokens that a head lets see each other, with what passes between them."""
    kept, note, weight = _strongest_pairs(attention, most_pairs)
    place = ["layer", "head", "position"]
    patterns = heads.filter(kind="pattern", side="key").select(
        *place, pl.col("words").alias("Key pattern"), pl.col("nearest").alias("Key cosine")
    )
    messages = _widened(heads.filter(kind="message"), place, "space", _MESSAGES)
    frame = kept.rename({"key": "position"})
    for of_keys in (patterns, messages.select(pl.exclude("^Bias, .*$"))):
        frame = frame.join(of_keys, on=place, how="left")
    frame = frame.sort("layer", "head", "query", "position")
    frame = frame.rename({"position": "Key", "weight": weight})
    frame = frame.rename(lambda name: name.replace("_", " ").capitalize())
    scale = _cosine_scale(frame, ["Key cosine", *_MESSAGE_COSINES])
    share = "share of the query's attention that goes to the key, from 0 to 1"
    columns = [
        _LAYER,
        _HEAD,
        Column("Query", "position of the token that looks, from 0", width=7),
        Column("Query token", "the token that looks", width=14, choices=True),
        Column("Key", "position of the token that is looked at, from 0", width=7),
        Column("Key token", "the token that is looked at", width=14, choices=True),
        Column(weight, share, 3, width=11, scale=Scale(0.0, 1.0)),
    ]
    meaning = f"what the key offers: the nearest words{_ROTARY}"
    columns += _list_columns("Key pattern", "Key cosine", meaning, scale, width=9)
    columns += _message_columns("what the key hands on to the query", scale)
    return _sheet(MAIN, frame, columns, frozen=6, note=note)


def _strongest_pairs(attention: pl.DataFrame, most: int) -> tuple[pl.DataFrame, str, str]:
    """At most so many pairs, a note that says which, and what to write above their weights."""
    if len(attention) <= most:
        return attention, "", "Attention weight"
    first_left_out = attention["weight"].top_k(most + 1).min()
    assert isinstance(first_left_out, float)
    bound = _round_up(first_left_out)
    kept = attention.filter(pl.col("weight") > bound)
    note = (
        f"{len(kept):,} of {len(attention):,} pairs: those with an attention weight above {bound}; "
        f"{most:,} are the most that fit. The table `attention` holds them all."
    )
    log.info("%s: %s", MAIN, note)
    return kept, note, f"Attention weight (only above {bound})"


def _round_up(value: float) -> float:
    """To two digits, away from 0."""
    if value <= 0:
        return value
    unit = math.floor(math.log10(value)) - 1
    return float(f"{math.ceil(value / 10.0**unit)}e{unit}")


# --- neurons ----------------------------------------------------------------------------------

_ROLES = {
    "in mlp_input": ("In", "what the neuron reacts to"),
    "gate mlp_input": ("Gate", "what opens the neuron's gate"),
    **{f"out {s}": (f"Out, {s}", f"what it writes, by the words' {s}") for s in _SPACES},
}


def _ffn(activations: pl.DataFrame, neurons: pl.DataFrame) -> list[Sheet]:
    """The strongest neurons of each token, with what they react to and what they write."""
    keys = ["layer", "neuron"]
    parts = {
        part: {"words": name, "nearest": f"{name}: cosine"} for part, (name, _) in _ROLES.items()
    }
    neurons = neurons.with_columns(part=pl.concat_str("role", "space", separator=" "))
    frame = activations.join(_widened(neurons, keys, "part", parts), on=keys, how="left")
    order = ["position", "layer", "contribution_norm", "neuron"]
    frame = frame.sort(order, descending=[False, False, True, False])
    frame = frame.rename({"contribution_norm": "contribution"}).rename(str.capitalize)
    scale = _cosine_scale(frame, [f"{name}: cosine" for name, _ in _ROLES.values()])
    columns = [
        _POSITION,
        _TOKEN,
        _LAYER,
        Column("Neuron", "index of the neuron in its MLP, from 0"),
        Column("Activation", "of the neuron here", 3, 11, scale=_signed_scale(frame["Activation"])),
        Column("Contribution", "length of what the neuron adds to the stream", 3, width=13),
    ]
    for name, meaning in _ROLES.values():
        meaning = f"{meaning}: the nearest words"
        columns += _list_columns(name, f"{name}: cosine", meaning, scale, width=18)
    return _sheet("FFN", frame, columns, frozen=4)


# --- the stream -------------------------------------------------------------------------------


def _evolution(evolution: pl.DataFrame) -> list[Sheet]:
    """What each token's state is near to, layer by layer: tokens from left to right."""
    predicted = pl.when("predicted").then(pl.lit("predicted")).otherwise("space")
    order = pl.col("Space").replace_strict({"embedding": 0, "unembedding": 1, "predicted": 2})
    rows = evolution.with_columns(Space=predicted).rename({"layer": "Layer"})
    # A line breaks between words, so that it is not quite full.
    longest = rows["words"].str.len_chars().max()
    full = math.ceil(longest / (_CELL - 6)) if isinstance(longest, int) else 1
    lines = min(max(full, 1), _MOST_LINES)
    places = rows.select("Space", "Layer").unique().sort(order, "Layer")
    positions = rows.select("position", "token").unique().sort("position").rows()
    groups = [positions[i : i + _WIDEST_GRID] for i in range(0, len(positions), _WIDEST_GRID)]
    compared = (
        "what the states are compared with: embedding (by cosine), unembedding (by probability, "
        "through the final norm), predicted (the model's own logits)"
    )
    note = "The stronger the colour, the higher the first word's cosine or probability."
    sheets = []
    for number, group in enumerate(groups, start=1):
        frame = places
        columns = [
            Column("Space", compared, width=13, choices=True),
            Column("Layer", "how many blocks the state has passed", width=7, choices=True),
        ]
        for position, token in group:
            name, shade = f"{position} {token}", f"shade of {position}"
            column = rows.filter(pl.col("position") == position).select(
                "Space",
                "Layer",
                pl.col("words").alias(name),
                pl.col("nearest").clip(0.0, 1.0).alias(shade),
            )
            frame = frame.join(column, on=["Space", "Layer"], how="left", maintain_order="left")
            meaning = f"the words nearest to the state at position {position}"
            columns.append(Column(name, meaning, width=_CELL, shade=shade))
        name = "Token evolution" if len(groups) == 1 else f"Token evolution {number}"
        sheets.append(Sheet(name, frame, tuple(columns), frozen=2, lines=lines, note=note))
    return sheets


def _predictions(predictions: pl.DataFrame) -> list[Sheet]:
    frame = predictions.sort("position").rename({"words": "most probable"})
    predicted = "what the model itself finds most probable: next; of encoders: at this position"
    columns = [
        _POSITION,
        _TOKEN,
        Column("Predicted", predicted, width=16),
        Column("Probability", "of what is predicted", 3, width=12, scale=Scale(0.0, 1.0)),
        Column("Most probable", "the most probable words, the first first", width=2 * _LIST),
    ]
    return _sheet("Predictions", frame.rename(str.capitalize), columns, frozen=2)


def _attribution(attribution: pl.DataFrame) -> list[Sheet]:
    parts = ("head", "attention_bias", "attention_norm", "mlp", "mlp_norm")
    order = pl.col("part").replace_strict({part: i for i, part in enumerate(parts)})
    frame = attribution.sort("position", "layer", order, "head").rename(str.capitalize)
    contribution, share = (_signed_scale(frame[name]) for name in ("Contribution", "Share"))
    along = "what it adds along the token's own embedding, in the model's units"
    columns = [
        _POSITION,
        _TOKEN,
        _LAYER,
        Column("Part", "what of the block adds to the stream", width=16, choices=True),
        _HEAD,
        Column("Contribution", along, 4, width=13, scale=contribution),
        Column("Share", "the same, as a part of the length of the state", 4, scale=share),
    ]
    return _sheet("Attribution", frame, columns, frozen=5)


# --- about ------------------------------------------------------------------------------------


def _about(sheets: Sequence[Sheet], about: Mapping[str, str]) -> Sheet:
    """What the text and its columns are; in words, for whoever was sent the file alone."""
    rows = [("", name, visible(text)) for name, text in about.items()]
    for sheet in sheets:
        rows += [(sheet.name, "", sheet.note)] if sheet.note else []
        # The tokens of a grid are one column each, and mean the same.
        rows += [(sheet.name, c.name, c.meaning) for c in sheet.columns if c.shade is None]
    frame = pl.DataFrame(rows, schema=["Sheet", "Column", "Meaning"], orient="row")
    columns = (
        Column("Sheet", "which one", width=18, choices=True),
        Column("Column", "which one", width=26),
        Column("Meaning", "what it holds", width=110),
    )
    return Sheet("About", frame.cast(pl.String), columns)
