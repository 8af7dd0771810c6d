"""The tokens of one text: their names, and what figures of similarity and rank draw of them.

A *tokens* frame has one row per token and layer: position, series (the token's direct label),
token, word, kind (the class of its word, no class, or special), colour, layer, cosine, rank, place
(see `rank_axis`), nearest_word, nearest (all of them with their cosines), and what the published
formula gives as published_cosine, published_rank and published_place. What is not defined is null.
"""

import itertools
from collections.abc import Iterable, Mapping

import altair as alt
import polars as pl

from .points import WORD, exact, layer_name, mapped, readable_words, with_byte_marks
from .rank_axis import place
from .text import readable, shorten
from .theme import GREY, INK, PALETTE

COLOURS = {
    **dict(zip(("function", "content", "punctuation", "other"), PALETTE[:4], strict=True)),
    "special": GREY,
    "no class": INK,
}
"""The colour of each kind of token."""

EVERY = ("all", "all words")
"""The names of groups that hold words of every class."""


def group_colours(names: Iterable[str]) -> dict[str, str]:
    """The colour of each group of words: that of its class, all words black, others in order.

    Others have those of classes only where no more are left.
    """
    names = list(names)
    known = COLOURS | dict.fromkeys(EVERY, INK)
    taken = {known[name] for name in names if name in known}
    free = sorted((tint for tint in PALETTE if tint not in taken), key=[*COLOURS.values()].count)
    others = itertools.cycle(free)
    return {name: known[name] if name in known else next(others) for name in names}


PUBLISHED_NOTE = (
    "As published: the study's own formula, with value and output weights not transposed, without "
    "biases, and with the embedding of position 0 added to every row."
)


def tooltips(axis: str) -> list[alt.Tooltip]:
    """Those of a tokens frame, whose column layer holds what `axis` says."""
    return [
        *(alt.Tooltip(name) for name in ("token:N", "word:N")),
        alt.Tooltip("kind:N", title="class"),
        alt.Tooltip("position:Q"),
        alt.Tooltip("layer:Q", title=axis),
        alt.Tooltip("cosine:Q", format=".4f"),
        alt.Tooltip("rank:Q", format=","),
        alt.Tooltip("nearest:N"),
    ]


MOST_TOKENS = 40
"""Tokens that are drawn of a text."""

MATRICES = {"embedding": "the input embedding matrix", "unembedding": "the unembedding matrix"}
"""What states are compared with, by what a row of it is called."""

_SITES = {
    "resid_mid": "inside each block, after attention and before the MLP (resid_mid)",
    "resid": "between the blocks (resid)",
}
_LABEL, _TEXT = 18, 240  # most characters of each


def token_names(
    rows: pl.DataFrame, position: str = "position", token: str = "token"
) -> dict[int, str]:
    """The token at each position of a text, in order; the arguments are columns."""
    return dict(rows.select(position, token).unique().sort(position).iter_rows())


def token_notes(show: str, names: Mapping[int, str], most: int) -> list[str]:
    """Which text is drawn, token by token, and how much of it where only the first `most` are."""
    text = shorten(" ".join(map(readable, names.values())), _TEXT)
    return [f"{show}, token by token: {text}", *_cut_note(len(names), most)]


def text_notes(ranks: pl.DataFrame, show: str, row: str = "embedding") -> list[str]:
    """Which text is drawn, how much of it, where its states are read, and among which rows."""
    rows = ranks.filter(label=show)
    text = f"{show}: “{shorten(rows['text'][0], _TEXT)}”"
    return [text, site_note(rows, row), *_cut_note(rows["position"].n_unique(), MOST_TOKENS)]


def _cut_note(count: int, most: int) -> list[str]:
    return [f"Drawn: the first {most} of {count} tokens."] if count > most else []


def drawn_site(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of the one site that is drawn: inside the blocks, if that was measured."""
    measured = [site for site in _SITES if site in set(table["site"])]
    return table.filter(pl.col("site").is_in(measured[:1]))


def axis_name(table: pl.DataFrame) -> str:
    """What the axis of the drawn site is over: blocks, where states are inside them."""
    return layer_name(drawn_site(table)["site"][0])


def site_note(table: pl.DataFrame, row: str = "embedding") -> str:
    """Where the drawn states are read, and what they are compared with."""
    drawn = drawn_site(table)
    rows = MATRICES[row]
    if drawn["positional"].any():
        rows += " with the embedding of the token's own position added to every row"
    return f"States {_SITES[drawn['site'][0]]}, against {rows}."


def text_tokens(ranks: pl.DataFrame, show: str) -> pl.DataFrame:
    """The tokens frame of the text with the label `show`; of a long text the first tokens.

    `ranks` is the table of that name of one model and checkpoint.
    """
    rows = drawn_site(ranks.filter(label=show)).sort("position", "layer")
    rows = with_byte_marks(rows, "token", "nearest")
    names = dict(list(token_names(rows).items())[:MOST_TOKENS])
    without = pl.when(pl.col("word") == "").then(pl.lit("special")).otherwise(pl.lit("no class"))
    kind = pl.col("word_class").fill_null(without)
    return rows.filter(pl.col("position").is_in(list(names))).select(
        "position",
        "layer",
        series=mapped("position", token_labels(names)),
        token=readable_words("token"),
        word=readable_words("word"),
        kind=kind,
        colour=kind.replace_strict(COLOURS, return_dtype=pl.String),
        nearest_word=readable_words(pl.col("nearest").list.first()),
        nearest=scored_words("nearest", "nearest_cosine"),
        **_measures("", "cosine", "rank"),
        **_measures("published_", "cosine_as_published", "rank_as_published"),
    )


def token_labels(tokens: Mapping[int, str]) -> dict[int, str]:
    """The direct label of every position: its token, with the position where others read alike.

    Not as a subscript: the theme's font has no such digits, so that figures would depend on what
    other fonts there are.
    """
    names = {position: shorten(readable(token), _LABEL) for position, token in tokens.items()}
    seen = list(names.values())
    return {
        position: f"{name} ({position})" if seen.count(name) > 1 else name
        for position, name in names.items()
    }


def scored_words(words: str | pl.Expr, scores: str | pl.Expr) -> pl.Expr:
    """A list of tokens with their scores, as a tooltip has it; both are columns of lists."""

    def text(row: dict[str, list]) -> str:
        pairs = zip(row["words"] or [], row["scores"] or [], strict=True)
        return " · ".join(
            f"{shorten(readable(word), WORD)} {_score(score)}"
            for word, score in pairs
            if score is not None
        )

    words, scores = (pl.col(c) if isinstance(c, str) else c for c in (words, scores))
    return pl.struct(words=words, scores=scores).map_elements(text, return_dtype=pl.String)


def _score(value: float) -> str:
    """In three decimals, unless these would be zeros alone."""
    return f"{value:.3f}" if abs(value) >= 0.0005 or not value else f"{value:.1e}"


def _measures(prefix: str, cosine: str, rank: str) -> dict[str, pl.Expr]:
    return {
        f"{prefix}cosine": exact(cosine),
        f"{prefix}rank": pl.col(rank),
        f"{prefix}place": pl.col(rank).map_elements(place, return_dtype=pl.Float64),
    }
