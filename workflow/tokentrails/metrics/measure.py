"""Any measure that gives one number for each occurrence, site and layer."""

from __future__ import annotations

import hashlib
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Float32, Float64

from ..catalogue import Kind
from ..errors import TokentrailsError
from ..files.states import Layer, Place
from ..settings import OWN, Measure
from ..statistics.bootstrap import EQUALITY, FEWEST_UNITS
from ..statistics.settings import Statistics
from .columns.frame import run_table, target_keys
from .columns.means import MEAN_TYPES, mean_curves
from .columns.means import MEANINGS as MEAN_MEANINGS

_ROUNDING = 1e-5
"""Deviations below this share of the mean are those of float32: such a measure is a constant."""

Moments = Mapping[Place, tuple[float, float]]
"""Mean and standard deviation of a measure over the tokens of the baseline, by place."""

MEANINGS = {
    "adjusted": "the value minus its mean over the tokens of the baseline's texts at the same "
    "place, first tokens of texts and tokens of no word left out; null: no baseline",
    "standardised": "the same in standard deviations of these tokens; null: no baseline, or its "
    "tokens do not vary",
}


@dataclass(frozen=True)
class Values:
    """A measure at one place: a number for each row of the tokens table."""

    site: str
    layer: int
    values: Float64[np.ndarray, " n"]


def load_function(measure: Measure) -> Callable[..., object]:
    """The function `measure` of a file, which is run for that.

    Raises
    ------
    TokentrailsError: for whatever the file raises, and where it is not the one that was planned.
    """
    module = ModuleType(f"measure_{measure.name}")
    module.__file__ = measure.file
    sys.modules[module.__name__] = module  # dataclasses and pickle look there
    try:
        content = Path(measure.file).read_bytes()
        if hashlib.sha256(content).hexdigest() != measure.sha256:
            raise TokentrailsError(
                "the file changed after this run had read it",
                where=measure.file,
                hint="run the same command again.",
            )
        exec(compile(content, measure.file, "exec"), vars(module))
        return module.measure
    except (Exception, SystemExit) as error:
        raise _error(measure, error) from error


def evaluate(
    measure: Measure,
    function: Callable[..., object],
    layers: Iterable[Layer],
    tokens: pl.DataFrame,
    embedding: Float32[np.ndarray, "n d"] | None = None,
) -> Iterator[Values]:
    """The measure at every place that it reads, one place at a time.

    A function with the parameter `previous` gets the states one layer before at the same site, and
    is not called at the first layer of a site.

    Parameters
    ----------
    layers: the states, sorted by site and layer.
    tokens: the tokens table, whose rows are those of the states.
    embedding: each target's own row of the input embedding matrix, where the function reads it.

    Raises
    ------
    TokentrailsError: for what the function raises, and for what is no finite number per occurrence.
    """
    if embedding is not None:
        embedding = _read_only(embedding)
    before: Layer | None = None
    for place in layers:
        if measure.sites and place.site not in measure.sites:
            continue
        if before is not None and (before.site, before.layer + 1) != (place.site, place.layer):
            before = None
        given = {
            "hidden": _read_only(place.hidden),
            "previous": _read_only(before.hidden) if before else None,
            "embedding": embedding,
            "tokens": tokens.clone(),
            "site": place.site,
            "layer": place.layer,
        }
        if "previous" in measure.reads:
            follows, before = before is not None, place
            if not follows:
                continue
        try:
            returned = function(**{name: given[name] for name in measure.reads})
        except (Exception, SystemExit) as error:
            raise _error(measure, error) from error
        yield Values(place.site, place.layer, _checked(measure, returned, place))


def measure_table(
    measure: Measure,
    found: Iterable[Values],
    tokens: pa.Table,
    *,
    baseline: Moments,
    pooling: str,
    groups: Sequence[str],
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table of a measure.

    Parameters
    ----------
    found: as `evaluate` gives it.
    baseline: of the same checkpoint; empty for none.
    pooling: which token stands for a target of several.
    groups: the experiment's own columns.
    provenance: of the states; gives the key columns too.

    Raises
    ------
    TokentrailsError: if the measure has no value at any place.
    """
    names = ("label", "position", "word", "token", "text", "n_tokens", *groups)
    frame = pl.DataFrame(pl.from_arrow(target_keys(tokens, pooling, names)))
    parts = []
    for place in found:
        mean, deviation = baseline.get((place.site, place.layer), (np.nan, np.nan))
        adjusted = place.values - mean
        varies = deviation > _ROUNDING * abs(mean)
        standardised = adjusted / deviation if varies else np.full_like(adjusted, np.nan)
        columns = {"value": place.values, "adjusted": adjusted, "standardised": standardised}
        parts.append(
            frame.with_columns(
                pl.lit(place.site).alias("site"),
                pl.lit(place.layer, pl.Int32).alias("layer"),
                *(pl.Series(name, each, pl.Float32) for name, each in columns.items()),
            )
        )
    if not parts:
        raise TokentrailsError(
            "the measure has no value at any site and layer of this experiment",
            where=measure.file,
            hint=f"its SITES are {', '.join(measure.sites) or 'all'}; with the parameter "
            "'previous' it begins at the second layer of a site.",
        )
    table = pl.concat(parts).sort("label", "site", "layer", "position", maintain_order=True)
    provenance = dict(provenance) | {"measure_sha256": measure.sha256}
    units = {"value": measure.unit, "adjusted": measure.unit} if measure.unit else {}
    meanings, title = MEANINGS | {"value": measure.meaning}, f"{measure.name}: {measure.title}"
    return run_table(table, title, provenance, meanings, units)


def moments(table: pa.Table) -> Moments:
    """Mean and standard deviation over the baseline's tokens, from the measure's table of them."""
    frame = pl.DataFrame(pl.from_arrow(table)).filter(
        (pl.col("position") > 0) & (pl.col("word").fill_null("") != "")
    )
    value = pl.col("value").cast(pl.Float64)
    rows = frame.group_by("site", "layer").agg(mean=value.mean(), deviation=value.std(ddof=0))
    return {(site, layer): (mean, std) for site, layer, mean, std in rows.iter_rows()}


def measure_curves(
    table: pa.Table,
    measure: Measure,
    *,
    kind: Kind,
    groups: Sequence[str],
    statistics: Statistics,
    provenance: Mapping[str, str],
) -> pa.Table:
    """The table `{measure}_curves`: means over all occurrences, and by the experiment's groups.

    Occurrences at the first position of a text are left out, unless all are there.

    Parameters
    ----------
    table: as `measure_table` gives it.
    kind: of the experiment. Words are grouped by their number of tokens, targets also by word.
    groups: the experiment's own columns.
    """
    frame = pl.DataFrame(pl.from_arrow(table))
    later = frame.filter(pl.col("position") > 0)
    frame = frame if later.is_empty() else later
    is_words = kind in (Kind.WORDS, Kind.CONTEXTS, Kind.SENTENCES)
    columns = ["n_tokens"] if is_words else [*(["word"] if kind is Kind.TARGETS else []), *groups]
    parts = []
    for column in (None, *columns):
        rows = frame if column is None else frame.filter(pl.col(column).is_not_null())
        by_word = is_words or (kind is Kind.TARGETS and column is None)
        curves = mean_curves(
            rows,
            by=[column] if column else [],
            values=["value", "adjusted", "standardised"],
            statistics=statistics,
            unit="word" if by_word else "label",
        )
        series = pl.col(column).cast(pl.String) if column else pl.lit(None, pl.String)
        keys = {
            "group": pl.lit(column and column.removeprefix(OWN), pl.String),
            "series": series,
            "unit": pl.lit("word" if by_word else "text"),
        }
        names = ["measure", *keys, *(name for name in curves.columns if name in MEAN_TYPES)]
        parts.append(curves.with_columns(**keys).select(names))
    return run_table(
        pl.concat(parts).rename({"measure": "quantity", "n_texts": "n_units"}),
        title=f"{measure.name}: mean curves of {measure.title}, with intervals",
        provenance=dict(provenance) | statistics.provenance,
        meanings=MEAN_MEANINGS
        | {
            "quantity": "column of the measure's own table that the mean is of",
            "group": "column by which occurrences are grouped; null: all together",
            "series": "value of that column",
            "unit": "what is resampled: texts, or words with all their texts",
            "n_units": "how many of these there are",
            "few": "whether these are fewer than statistics.few: too few to rely on",
            "ci_low": "lower end of the mean's interval: bootstrap over the units, with "
            f"percentiles expanded by Student's t; null: under {FEWEST_UNITS} units{EQUALITY}",
        },
        units={name: measure.unit for name in ("mean", "ci_low", "ci_high") if measure.unit},
    )


def _read_only(array: np.ndarray) -> np.ndarray:
    """A view that a measure cannot write to: others read the same values after it."""
    view = array.view()
    view.flags.writeable = False
    return view


def _checked(measure: Measure, returned: object, place: Layer) -> Float64[np.ndarray, " n"]:
    n = len(place.hidden)
    problem = f"'measure' returned {type(returned).__name__}, which is no array of real numbers"
    try:
        found = np.asarray(returned)
        is_numeric = found.dtype.kind in "biuf" and not isinstance(returned, np.ma.MaskedArray)
        values = found.astype(np.float64) if is_numeric else None
    except Exception:  # of what it returned: a ragged list, a tensor of torch with a gradient
        values = None
    if values is not None:
        if values.shape != (n,):
            problem = f"'measure' returned the shape {values.shape}, not ({n},)"
        else:
            with np.errstate(over="ignore"):
                finite = np.isfinite(values.astype(np.float32))
            if finite.all():
                return values
            row = int(np.argmin(finite))
            problem = f"'measure' returned {values[row]} for row {row}, which is no float32"
    raise TokentrailsError(
        problem,
        where=f"{measure.file}, at site {place.site}, layer {place.layer}",
        hint=f"return one finite number for each of the {n} occurrences.",
    )


def _error(measure: Measure, error: BaseException) -> BaseException:
    """What a user's file raised, with the line there."""
    if isinstance(error, TokentrailsError):
        return error
    file = str(Path(measure.file))
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    where = f"{measure.file}, line {lines[-1]}" if lines else measure.file
    hint = "mend the file; the workflow runs it as it is."
    if isinstance(error, ModuleNotFoundError):
        hint = f"install {error.name!r} into the environment of the workflow, or do without it."
    return TokentrailsError(f"{type(error).__name__}: {error}", where=where, hint=hint)
