"""The tokens of one text at every layer: what figures of similarity and rank draw.

A *tokens* frame has one row per token and layer: position, series (the token's direct label),
token, word, kind (the class of its word, or special), colour, layer, cosine, rank, place (see
`rank_axis`), nearest_word, nearest (all of them with their cosines), and what the published
formula gives as published_cosine, published_rank and published_place. What is not defined is null.
"""

import altair as alt
import polars as pl

from .rank_axis import place
from .text import readable, shorten
from .theme import GREY, PALETTE

COLOURS = {
    **dict(zip(("function", "content", "punctuation", "other"), PALETTE[:4], strict=True)),
    "special": GREY,
}
"""Of each kind of token."""

PUBLISHED_NOTE = (
    "As published: the study's own formula, with value and output weights not transposed, without "
    "biases, and with the embedding of position 0 added to every row."
)

TOOLTIP = [
    *(alt.Tooltip(f"{name}:N") for name in ("token", "word")),
    alt.Tooltip("kind:N", title="class"),
    *(alt.Tooltip(f"{name}:Q") for name in ("position", "layer")),
    alt.Tooltip("cosine:Q", format=".4f"),
    alt.Tooltip("rank:Q", format=","),
    alt.Tooltip("nearest:N"),
]

_SITES = {
    "resid_mid": "inside each block, after attention and before the MLP (resid_mid)",
    "resid": "between the blocks (resid)",
}
_MOST_TOKENS = 40
_LABEL, _WORD, _TEXT = 18, 40, 240  # most characters of each


def at_site(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of the one site that is drawn: inside the blocks, if that was measured."""
    measured = [site for site in _SITES if site in set(table["site"])]
    return table.filter(pl.col("site").is_in(measured[:1]))


def site_note(table: pl.DataFrame) -> str:
    """Where the drawn states are read, and what they are compared with."""
    drawn = at_site(table)
    rows = "the input embedding matrix"
    if drawn["positional"].any():
        rows += " with the embedding of the token's own position added to every row"
    return f"States {_SITES[drawn['site'][0]]}, against {rows}."


def text_tokens(ranks: pl.DataFrame, show: str) -> pl.DataFrame:
    """The tokens frame of the text with the label `show`; of a long text the first 40 tokens.

    `ranks` is the table of that name of one model and checkpoint.
    """
    rows = at_site(ranks.filter(label=show)).sort("position", "layer")
    first = rows["position"].unique().sort()[:_MOST_TOKENS].to_list()
    rows = rows.filter(pl.col("position").is_in(first))
    names = dict(rows.select("position", "token").unique(maintain_order=True).iter_rows())
    kind = pl.col("word_class").fill_null("special")
    return rows.select(
        "position",
        "layer",
        series=pl.col("position").replace_strict(token_labels(names), return_dtype=pl.String),
        token=read(pl.col("token")),
        word=read(pl.col("word")),
        kind=kind,
        colour=kind.replace_strict(COLOURS, return_dtype=pl.String),
        nearest_word=read(pl.col("nearest").list.first()),
        nearest=told("nearest", "nearest_cosine"),
        **_measures("", "cosine", "rank"),
        **_measures("published_", "cosine_as_published", "rank_as_published"),
    )


def text_notes(ranks: pl.DataFrame, show: str) -> list[str]:
    """Which text is drawn, how much of it, and where its states are read."""
    rows = ranks.filter(label=show)
    count = rows["position"].n_unique()
    notes = [f"{show}: “{shorten(rows['text'][0], _TEXT)}”", site_note(rows)]
    if count > _MOST_TOKENS:
        notes.append(f"Drawn: the first {_MOST_TOKENS} of {count} tokens.")
    return notes


def token_labels(tokens: dict[int, str]) -> dict[int, str]:
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


def read(column: pl.Expr) -> pl.Expr:
    """Tokens as people read them, not too long."""
    return column.map_elements(lambda t: shorten(readable(t), _WORD), return_dtype=pl.String)


def told(words: str, scores: str) -> pl.Expr:
    """A list of tokens with their scores, as a tooltip has it; both are columns of lists."""

    def one(row: dict[str, list]) -> str:
        pairs = zip(row[words] or [], row[scores] or [], strict=True)
        known = [
            (shorten(readable(word), _WORD), score) for word, score in pairs if score is not None
        ]
        return " · ".join(f"{word} {score:.3f}" for word, score in known)

    return pl.struct(words, scores).map_elements(one, return_dtype=pl.String)


def _measures(prefix: str, cosine: str, rank: str) -> dict[str, pl.Expr]:
    """Six decimals: what a figure shows, and the same everywhere."""
    return {
        f"{prefix}cosine": pl.col(cosine).cast(pl.Float64).fill_nan(None).round(6),
        f"{prefix}rank": pl.col(rank),
        f"{prefix}place": pl.col(rank).map_elements(place, return_dtype=pl.Float64),
    }
