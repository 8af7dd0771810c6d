"""Figures across checkpoints: what is drawn is what the tables say."""

import itertools
import math
import re
from collections.abc import Callable

import altair as alt
import polars as pl
import pytest
from drawn import (
    BAND,
    coloured_cells,
    grey_cells,
    label_gaps,
    labels,
    line_points,
    marks,
    notes,
    of_kind,
    panels,
    values,
)

from tokentrails.figures.alignment import alignment
from tokentrails.figures.convergence import convergence, convergence_aggregate, convergence_slope
from tokentrails.figures.convergence_heatmap import convergence_heatmap
from tokentrails.figures.perturbation import _limits as limits
from tokentrails.figures.perturbation import perturbation, perturbation_steps
from tokentrails.figures.pieces.notes import warnings_of
from tokentrails.figures.pieces.save import render, specification
from tokentrails.figures.pieces.steps import log_spaced, step_label, step_ticks
from tokentrails.figures.pieces.theme import ramp
from tokentrails.statistics.forms import SOUND

STEPS = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1536]
PYTHIA = [0, *(2**i for i in range(10)), *range(1000, 144_000, 1000)]
WORDS = {1: 24, 2: 18, 3: 4}
TYPES = {
    **dict.fromkeys(("step", "n"), pl.Int64),
    **dict.fromkeys(("n_tokens", "layer"), pl.Int32),
    **dict.fromkeys(("mean", "ci_low", "ci_high", "per_step"), pl.Float64),
    **dict.fromkeys(("per_doubling", "per_doubling_low", "per_doubling_high"), pl.Float64),
}


def keys(step: int | None, reference: int) -> dict:
    name = "main" if step is None else f"step{step}"
    run = {"model": "nano", "checkpoint": name, "experiment": "words", "site": "resid"}
    return run | {"reference": f"step{reference}", "step": step}


def mean_row(n: int, mean: float) -> dict:
    """Columns that tell of a mean over n words; with too few words some are null."""
    wide = 0.3 * (1 - mean) / math.sqrt(max(n, 1)) + 0.004
    low, high = (mean - wide, mean + wide) if n > 1 else (None, None)
    return {"n": n, "few": n < 10, "mean": mean if n else None, "ci_low": low, "ci_high": high}


FORM_SHARES = {form: 1 - 0.1 * i for i, form in enumerate(SOUND)}


def with_forms(table: pl.DataFrame) -> pl.DataFrame:
    """Means in the other forms: the same, but smaller."""
    ends = {"": "mean", "_low": "ci_low", "_high": "ci_high"}
    return table.with_columns(
        (share * pl.col(column)).alias(f"{form}{end}")
        for form, share in list(FORM_SHARES.items())[1:]
        for end, column in ends.items()
    )


def in_form(rows: pl.DataFrame, form: str) -> pl.DataFrame:
    share = FORM_SHARES[form]
    return rows.with_columns(pl.col("mean", "ci_low", "ci_high") * share)


def by_group(*, depth=6, steps=STEPS, words=WORDS, main=False) -> pl.DataFrame:
    """A made-up table convergence_by_group, with rows of another site that no figure shows."""
    rows = []
    for tokens, n in [*words.items(), (None, sum(words.values()))]:
        for layer in [*range(depth + 1), None]:
            height = 0.5 if layer is None else layer / depth
            late = 0.4 + 0.3 * height - 0.02 * (tokens or 0)
            before = None
            for step in [*steps, None] if main else steps:
                share = 1 if step is None else math.log1p(step) / math.log1p(max(steps[-1], 1))
                row = mean_row(n, 0.05 + 0.9 / (1 + math.exp(10 * (late - share))))
                row = dict.fromkeys(TYPES) | row | keys(step, steps[-1])
                row |= {"n_tokens": tokens, "layer": layer}
                if before and n and step is not None:
                    doublings = math.log2((1 + step) / (1 + before["step"]))
                    slope = (row["mean"] - before["mean"]) / doublings
                    row["per_doubling"] = slope
                    if n > 1:
                        row |= {"per_doubling_low": slope - 0.01, "per_doubling_high": slope + 0.02}
                before = row
                rows.append(row)
    table = with_forms(pl.DataFrame(rows, schema_overrides=TYPES, infer_schema_length=None))
    elsewhere = table.with_columns(site=pl.lit("final_norm"), mean=pl.lit(7.0), layer=depth)
    return pl.concat([table, elsewhere.cast(dict(table.schema))])


def aligned(*, depth=6, steps=STEPS, words=WORDS) -> pl.DataFrame:
    """A made-up table alignment."""
    table = by_group(depth=depth, steps=steps, words=words).filter(pl.col("layer").is_not_null())
    cosine = pl.col("mean")
    measures = {
        "cosine": cosine,
        "cka": cosine - 0.2,
        "procrustes": 0.4 + 0.6 * cosine,
        "procrustes_shuffled": pl.lit(0.35),
    }
    return table.with_columns(
        **measures,
        **{f"{name}_ci_low": value - 0.03 for name, value in measures.items()},
        **{f"{name}_ci_high": value + 0.02 for name, value in measures.items()},
    ).drop("mean", "ci_low", "ci_high")


def perturbed(*, depth=6, steps=STEPS, words=WORDS, main=False) -> pl.DataFrame:
    """A made-up table perturbation_by_group; P2 is not defined for words of one token."""
    rows = []
    for variant, (tokens, n) in itertools.product(("P1", "P2"), words.items()):
        for layer, step in itertools.product([*range(depth + 1), None], [*steps, None]):
            if (variant, tokens) == ("P2", 1) or (step is None and not main):
                continue
            share = 1 if step is None else math.log1p(step) / math.log1p(max(steps[-1], 1))
            fall = {"P1": 0.3, "P2": 0.2}[variant] + 0.03 * tokens
            mean = 1 - fall * share * (depth / 2 if layer is None else layer) / depth
            place = {"variant": variant, "n_tokens": tokens, "layer": layer}
            rows.append(keys(step, steps[-1]) | place | mean_row(n, mean))
    table = pl.DataFrame(rows, schema_overrides=TYPES, infer_schema_length=None)
    return with_forms(table.drop("reference"))


ALL: dict[str, tuple[Callable[..., alt.TopLevelMixin], Callable[..., pl.DataFrame], dict]] = {
    "convergence": (convergence, by_group, BAND),
    "convergence_aggregate": (convergence_aggregate, by_group, BAND),
    "convergence_slope": (convergence_slope, by_group, BAND),
    "convergence_heatmap": (convergence_heatmap, by_group, {"title": "t"}),
    "alignment": (alignment, aligned, BAND),
    "perturbation": (perturbation, perturbed, BAND),
    "perturbation_steps": (perturbation_steps, perturbed, BAND),
}


CALM = pl.DataFrame(
    {"model": "nano", "checkpoint": ["step0"], "warning": [None]},
    schema_overrides={"warning": pl.String},
)


def warned(*warnings: str) -> pl.DataFrame:
    """A made-up table of checkpoints that has warnings."""
    names = [f"step{i}" for i in range(len(warnings))]
    return pl.DataFrame({"model": "nano", "checkpoint": names, "warning": warnings})


def points(table: pl.DataFrame, *columns: str) -> set[tuple]:
    rounded = [pl.col(c).cast(pl.Float64).round(6) for c in columns[2:]]
    return set(table.select(*columns[:2], *rounded).iter_rows())


# --- steps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [120, 175, 330, 520])
@pytest.mark.parametrize("steps", [STEPS, PYTHIA, [0], [0, 1], [64], [3, 7, 300, 1001]])
def test_labels_of_steps_have_room_and_hold_the_first_and_the_last(steps, width):
    end = max(steps[-1], 1)
    ticks = step_ticks(steps, width, end)
    assert {steps[0], steps[-1]} <= set(ticks) <= set(steps)
    halves = {tick: 3.1 * len(step_label(tick)) for tick in ticks}
    at = {tick: math.log1p(tick) / math.log1p(end) * width for tick in ticks}
    for a, b in itertools.pairwise(ticks):
        assert at[a] + halves[a] + 3 < at[b] - halves[b]


def test_round_steps_are_labelled_before_others():
    assert step_ticks(STEPS, 520, 1536) == [s for s in STEPS if s != 1024]
    assert step_ticks(PYTHIA, 250, 143_000)[-4:] == [2000, 5000, 20_000, 143_000]
    assert [step_label(step) for step in (0, 512, 1024, 2000, 143_000)] == [
        *("0", "512", "1024"),
        *("2k", "143k"),
    ]


def test_steps_are_thinned_evenly_on_the_log_axis():
    assert log_spaced(STEPS, 13) == STEPS
    thin = log_spaced(PYTHIA, 40)
    assert thin[:6] == [0, 1, 2, 4, 8, 16] and thin[-1] == 143_000 and len(thin) <= 40
    gaps = [math.log2((1 + b) / (1 + a)) for a, b in itertools.pairwise(thin)]
    assert min(gaps) > 0.2


def test_the_ramp_goes_from_light_to_dark():
    def lightness(colour: str) -> float:
        red, green, blue = bytes.fromhex(colour[1:])
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    shades = [lightness(ramp(i / 12)) for i in range(13)]
    assert shades == sorted(shades, reverse=True) and len(set(shades)) == 13


# --- convergence ------------------------------------------------------------------------------


def test_convergence_draws_the_table_on_an_axis_that_holds_step_0():
    table = by_group()
    chart = convergence(table, CALM, **BAND)
    shown = panels(chart)
    assert list(shown) == [f"layer {layer}" for layer in range(7)]
    for layer in range(7):
        rows = table.filter(site="resid", layer=layer).drop_nulls("n_tokens")
        columns = ("step", "n_tokens", "mean", "ci_low", "ci_high")
        found = line_points(shown[f"layer {layer}"])
        assert values(found, "step", "line", "value", "low", "high") == points(rows, *columns)
        thin = line_points(shown[f"layer {layer}"], width=1)
        standardised = in_form(rows, "standardised").with_columns(ci_low=None, ci_high=None)
        assert values(thin, "step", "line", "value", "low", "high") == points(
            standardised, *columns
        )
    for unit, _ in of_kind(itertools.chain(*shown.values()), "line"):
        scale, axis = unit["encoding"]["x"]["scale"], unit["encoding"]["x"]["axis"]
        assert scale["type"] == "symlog" and scale["domain"][0] == 0 and axis["values"][0] == 0
    assert "step1536, the reference" in notes(chart) and "90 %" in notes(chart)
    assert "24 of 1 token, 18 of 2 tokens, 4 of 3 tokens" in notes(chart)


def test_groups_of_few_words_are_dashed_and_empty_ones_named():
    table = by_group(words={**WORDS, 4: 0, 5: 1})
    chart = convergence(table, CALM, **BAND)
    shown = panels(chart)
    rows = [row for panel in shown.values() for row in line_points(panel)]
    assert {row["line"]: row["dashed"] for row in rows} == {1: False, 2: False, 3: True, 5: True}
    named = {"1 token", "2 tokens", "3 tokens, n = 4", "5 tokens, n = 1"}
    assert labels(shown["layer 3"]) == named
    assert {row["low"] for row in rows if row["line"] == 5} == {None}
    assert "No word has 4 tokens." in notes(chart)
    assert "few words" not in notes(convergence(by_group(words={1: 20}), CALM, **BAND))


def test_a_checkpoint_without_a_step_is_left_out_and_named():
    for draw in (convergence, convergence_aggregate, convergence_slope):
        chart = draw(by_group(main=True), CALM, **BAND)
        assert "without a step in the name: main." in notes(chart)
        rows = [row for panel in panels(chart).values() for row in line_points(panel)]
        assert "main" not in {row["checkpoint"] for row in rows}


def test_of_many_layers_twelve_are_drawn_and_it_says_so():
    chart = convergence(by_group(depth=24), CALM, **BAND)
    shown = [int(name.removeprefix("layer ")) for name in panels(chart)]
    assert len(shown) == 12 and (shown[0], shown[-1]) == (0, 24)
    assert {b - a for a, b in itertools.pairwise(shown)} == {2, 3}
    assert "12 of 25 layers" in notes(chart)


def test_a_missing_value_is_not_drawn():
    at = (pl.col("layer") == 2) & (pl.col("n_tokens") == 1) & (pl.col("step") == 8)
    table = by_group().with_columns(mean=pl.when(at).then(math.nan).otherwise("mean"))
    rows = line_points(panels(convergence(table, CALM, **BAND))["layer 2"])
    assert (8, 1) not in values(rows, "step", "line") and (8, 2) in values(rows, "step", "line")


@pytest.mark.parametrize(
    ("draw", "columns", "forms"),
    [
        (convergence_aggregate, ("mean", "ci_low", "ci_high"), SOUND),
        (convergence_slope, ("per_doubling", "per_doubling_low", "per_doubling_high"), SOUND[:1]),
    ],
)
def test_panels_show_groups_over_layers_and_layers_over_words(draw, columns, forms):
    table = by_group().filter(site="resid")
    shown = panels(draw(table, CALM, **BAND))
    assert len(shown) == 2 * len(forms)
    for form in forms:
        suffix = "" if form == "cosine" else f", {form}"
        left, right = (shown[n + suffix] for n in ("mean over layers", "all words by layer"))
        rows = in_form(table.drop_nulls(columns[0]), form)
        over_layers = rows.filter(pl.col("layer").is_null()).drop_nulls("n_tokens")
        all_words = rows.filter(pl.col("n_tokens").is_null()).drop_nulls("layer")
        for panel, line, expected in ((left, "n_tokens", over_layers), (right, "layer", all_words)):
            found = line_points(panel)
            drawn = values(found, "step", "line", "value", "low", "high")
            assert drawn == points(expected, "step", line, *columns)
            ((_, band),) = of_kind(panel, "area")
            assert {row["line"] for row in band} == {row["line"] for row in found}
            if draw is convergence_slope:
                assert panel[0][0]["mark"]["type"] == "rule" and panel[0][1] == [{"value": 0.0}]
        assert {row["line"]: row["colour"] for row in line_points(right)} == {
            layer: ramp(layer / 6) for layer in range(7)
        }
    assert labels(right) == {"layer 0", "layer 3", "layer 6"}  # of the last form
    assert labels(left) == {"1 token", "2 tokens", "3 tokens, n = 4"}


@pytest.mark.parametrize("draw", [convergence, convergence_aggregate])
def test_forms_of_convergence_are_beyond_the_experiments_own_words(draw):
    said = notes(draw(by_group(), CALM, **BAND))
    assert "z-score over the experiment's words, each at its own checkpoint" in said
    if draw is convergence_aggregate:
        assert "mean cosine of a word's state at the checkpoint with other words' states" in said
    assert "baseline" not in said and "random pairs" not in said
    assert "baseline's tokens" in notes(perturbation(perturbed(), CALM, **BAND))


def test_labels_of_a_panel_do_not_overlap():
    words = {tokens: 20 for tokens in range(1, 13)}
    for draw, made in ((convergence, by_group), (perturbation_steps, perturbed)):
        for panel in panels(draw(made(words=words), CALM, **BAND)).values():
            if of_kind(panel, "text"):
                gaps = label_gaps(panel, "value", max(150, 14 * (len(labels(panel)) + 1)))
                assert min(gaps) > 13.9


# --- alignment --------------------------------------------------------------------------------


def test_alignment_shows_all_words_in_every_measure_with_bands():
    table = aligned().with_columns(
        cka=pl.when(pl.col("step") == 1).then(None).otherwise("cka"),
        cka_ci_low=pl.when(pl.col("step") == 2).then(None).otherwise("cka_ci_low"),
    )
    chart = alignment(table, CALM, **BAND)
    shown = panels(chart)
    assert list(shown) == [f"layer {layer}" for layer in range(7)]
    measures = ("cosine", "cka", "procrustes", "procrustes_shuffled")
    for layer, panel in enumerate(shown.values()):
        rows = table.filter(pl.col("n_tokens").is_null(), site="resid", layer=layer)
        for measure in measures:
            columns = ("step", "n", measure, f"{measure}_ci_low", f"{measure}_ci_high")
            line = [row for row in line_points(panel) if row["line"] == measure]
            found = values(line, "step", "n", "value", "low", "high")
            assert found == points(rows.drop_nulls(measure), *columns)
            assert {row["dashed"] for row in line} == {measure == "procrustes_shuffled"}
        (band,) = (rows for unit, rows in panel if unit["mark"]["type"] == "area")
        assert {row["line"] for row in band} == set(measures)
    assert labels(shown["layer 3"]) == {"cosine", "CKA", "Procrustes", "at random"}
    assert "Words: 46." in notes(chart) and "90 % interval, jackknife" in notes(chart)
    assert "step1536, the reference" in notes(chart)


# --- heat maps --------------------------------------------------------------------------------


def test_numbers_are_written_where_cells_have_room():
    assert marks(convergence_heatmap(by_group(), CALM, title="t"), "text")
    assert not marks(convergence_heatmap(by_group(depth=2, steps=PYTHIA), CALM, title="t"), "text")


def test_cells_that_have_no_value_or_one_below_0_are_told_of():
    below = pl.when(pl.col("step") == 2).then(-0.1).otherwise("mean")
    table = by_group().with_columns(mean=pl.when(pl.col("step") == 1).then(None).otherwise(below))
    chart = convergence_heatmap(table, CALM, title="t")
    shown = panels(chart)
    for unit, _ in of_kind(itertools.chain(*shown.values()), "rect"):
        assert unit["encoding"]["y"]["scale"]["domain"] == [6, 5, 4, 3, 2, 1, 0]
        assert unit["encoding"]["x"]["scale"]["domain"] == STEPS
        if "color" in unit["encoding"]:
            scale = unit["encoding"]["color"]["scale"]
            assert scale == {"scheme": "viridis", "domain": [0, 1], "clamp": True}
    assert {row["step"] for row in grey_cells(itertools.chain(*shown.values()))} == {1}
    assert "below 0" in notes(chart) and "Grey: not defined." in notes(chart)
    calm = convergence_heatmap(by_group(), CALM, title="t")
    assert "below 0" not in notes(calm) and "Grey" not in notes(calm)


def test_the_heat_map_of_groups_has_a_panel_for_each():
    table = by_group(words={**WORDS, 4: 0})
    chart = convergence_heatmap(table, CALM, title="t")
    shown = panels(chart)
    assert list(shown) == ["1 token", "2 tokens", "3 tokens, n = 4"]
    for tokens, panel in enumerate(shown.values(), start=1):
        rows = table.filter(site="resid", n_tokens=tokens).drop_nulls("layer")
        assert values(coloured_cells(panel), "step", "layer", "value") == points(
            rows, "step", "layer", "mean"
        )
    assert "No word has 4 tokens." in notes(chart) and "Dashed" not in notes(chart)


# --- perturbation -----------------------------------------------------------------------------


def test_an_axis_of_states_that_hardly_change_holds_little_more_than_these():
    near = pl.DataFrame({"value": [0.97, 1.0], "low": [0.96, 1.0], "high": [0.98, 1.0]})
    low, high = limits(near)
    assert 0.94 < low < 0.96 and 1.0 < high < 1.01
    low, _ = limits(near.with_columns(low=pl.lit(0.2)))
    assert 0.1 < low < 0.2


def test_perturbation_shows_every_checkpoint_with_its_interval():
    table = perturbed(main=True)
    chart = perturbation(table, CALM, **BAND)
    shown = panels(chart)
    assert list(shown) == [
        *("P1 · 1 token", "P1 · 2 tokens", "P1 · 3 tokens, n = 4"),
        *("P2 · 1 token", "P2 · 2 tokens", "P2 · 3 tokens, n = 4"),
        *("step1536: P1, P2" + ("" if form == "cosine" else f", {form}") for form in SOUND),
    ]
    last = table.filter(step=1536).drop_nulls("layer")
    for form, panel in zip(SOUND, list(shown.values())[6:], strict=True):
        found = line_points(panel)
        rows = in_form(last, form)
        assert values(found, "layer", "n", "value", "low", "high") == points(
            rows, "layer", "n", "mean", "ci_low", "ci_high"
        )
        assert all(row["dashed"] == row["line"].startswith("P2") for row in found)
    for name, panel in list(shown.items())[:6]:
        variant, tokens = name[:2], int(name[5])
        if name == "P2 · 1 token":
            assert [unit["mark"]["text"] for unit, _ in panel] == ["not defined: one token"]
            continue
        rows = table.filter(variant=variant, n_tokens=tokens).drop_nulls(["layer", "step"])
        columns = ("layer", "checkpoint", "mean")
        strong, faint = line_points(panel), line_points(panel, width=1)
        last = rows.filter(step=1536)
        assert values(strong, "layer", "line", "value", "low", "high") == points(
            last, *columns, "ci_low", "ci_high"
        )
        others = rows.filter(pl.col("step") < 1536)
        assert values(faint, "layer", "line", "value", "low", "high") == points(
            others, *columns, "ci_low", "ci_high"
        )
        bands = [rows for unit, rows in panel if unit["mark"]["type"] == "area"]
        assert [{row["step"] for row in rows} for rows in bands] == [set(STEPS[:-1]), {1536}]
        assert {row["dashed"] for row in strong} == {tokens == 3}
        assert {row["step"]: row["colour"] for row in faint + strong} == {
            step: ramp(math.log1p(step) / math.log1p(1536)) for step in STEPS
        }
    (legend,) = (rows for _, rows in marks(chart, "tick"))
    assert [row["step"] for row in legend] == STEPS
    assert "without a step in the name: main." in notes(chart)


def test_of_many_checkpoints_some_are_drawn_by_layer_and_it_says_so():
    chart = perturbation(perturbed(depth=2, steps=PYTHIA, words={2: 20}), CALM, **BAND)
    steps = {row["step"] for panel in panels(chart).values() for row in line_points(panel, width=1)}
    assert steps | {143_000} == set(log_spaced(PYTHIA, 40))
    assert f"Drawn: {len(steps) + 1} of 154 steps" in notes(chart)


def test_perturbation_of_one_checkpoint_without_a_step():
    table = perturbed(main=True).filter(pl.col("step").is_null())
    chart = perturbation(table, CALM, **BAND)
    shown = panels(chart)
    assert [name for name in shown if name.startswith("main")] == list(shown)[6:]
    rows = [row for panel in list(shown.values())[:6] for row in line_points(panel)]
    assert {(row["checkpoint"], row["colour"]) for row in rows} == {("main", ramp(1))}
    assert not marks(chart, "tick") and "Checkpoint: main." in notes(chart)
    assert perturbation_steps(table, CALM, **BAND).mark.text == "nothing to show"


def test_perturbation_by_step_at_few_layers_and_over_all():
    table = perturbed(depth=24)
    shown = panels(perturbation_steps(table, CALM, **BAND))
    layers = {f"layer {layer}": pl.col("layer") == layer for layer in (0, 6, 12, 18, 24)}
    places = layers | {"mean over layers": pl.col("layer").is_null()}
    others = {f"mean over layers, {form}": form for form in SOUND[1:]}
    assert list(shown) == [*places, *others]
    for name, form in others.items():
        rows = in_form(table.filter(pl.col("layer").is_null()), form)
        found = line_points(shown[name])
        assert values(found, "step", "n", "value") == points(rows, "step", "n", "mean")
    for name, here in places.items():
        rows = table.filter(here).with_columns(
            line=pl.format("{}, {} token", "variant", "n_tokens")
        )
        found = [
            row | {"line": re.sub(r"tokens.*", "token", row["line"])}
            for row in line_points(shown[name])
        ]
        columns = ("mean", "ci_low", "ci_high")
        assert values(found, "step", "line", "value", "low", "high") == points(
            rows, "step", "line", *columns
        )
        assert all(row["dashed"] == row["line"].startswith("P2") for row in found)
    named = {"P1, 1 token", "P1, 2 tokens", "P1, 3 tokens, n = 4"}
    named |= {"P2, 2 tokens", "P2, 3 tokens, n = 4"}
    assert labels(shown["layer 24"]) == labels(shown["mean over layers, standardised"]) == named
    assert "Drawn: 5 of 25 layers." in notes(perturbation_steps(table, CALM, **BAND))
    assert "Drawn:" not in notes(perturbation_steps(perturbed(depth=4), CALM, **BAND))


# --- all of them ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_figures_of_replicates_say_that_trainings_are_the_unit(name):
    draw, made, options = ALL[name]
    few = made(depth=1, steps=[0, 8, 64])
    table = few.with_columns(n_trainings=3, few=pl.lit(value=True))
    said = notes(draw(table, CALM, **options))
    assert "Mean of 3 trainings." in said and "few words" not in said
    assert options is not BAND or "interval, Student's t over trainings." in said
    assert "trainings" not in notes(draw(few, CALM, **options))


@pytest.mark.parametrize("name", [name for name in ALL if ALL[name][2] is BAND])
def test_bands_are_named_only_where_they_are_drawn(name):
    draw, made, options = ALL[name]
    table = made(depth=1, steps=[0, 8, 64])
    ends = pl.col("^.*_(low|high)$")
    chart = draw(table.with_columns(pl.when(False).then(ends)), CALM, **options)
    assert "No bands: too few words" in notes(chart) and not marks(chart, "area")
    chart = draw(table, CALM, **options)
    assert "Band: 90 % interval, " in notes(chart) and marks(chart, "area")


@pytest.mark.parametrize("name", ALL)
def test_an_empty_table_gives_a_figure_that_says_so(name):
    draw, made, options = ALL[name]
    table = made()
    for empty in (table.clear(), table.filter(pl.col("site") == "resid_mid")):
        assert draw(empty, CALM, **options).mark.text == "nothing to show"
    spec = specification(draw(table.clear(), warned("w"), **options))
    assert spec["title"]["subtitle"] == ["Warning: step0: w."]


@pytest.mark.parametrize(("name", "step"), [*((name, 0) for name in ALL), ("alignment", 64)])
def test_one_checkpoint_is_a_figure_too(name, step):
    draw, made, options = ALL[name]
    chart = draw(made(steps=[step], words={1: 1}), CALM, **options)
    svg = render(specification(chart), ".svg").decode()
    if name == "convergence_slope":
        assert "nothing to show" in svg
    else:
        assert "NaN" not in svg and "nothing to show" not in svg


@pytest.mark.parametrize("name", ALL)
def test_warnings_stand_in_red_above_the_notes(name):
    draw, made, options = ALL[name]
    table = made(depth=1, steps=[0, 8, 64], words={2: 20})
    calm = draw(table, CALM, **options).title
    chart = draw(table, warned("a\x00</b>", "b"), **options)
    assert chart.title.subtitle == ["Warning: step0: a\\x00</b>.", "Warning: step1: b."]
    assert (chart.title.subtitleColor, calm.subtitleColor) == ("#B3261E", alt.Undefined)
    assert chart.vconcat[0].title.text == calm.subtitle


def test_warnings_come_from_the_table_of_checkpoints():
    names = [f"step{i}" for i in range(8)]
    warnings = ["the same weights as step1", None, *["other weights"] * 6]
    table = pl.DataFrame({"model": "nano", "checkpoint": names, "warning": warnings})
    assert warnings_of(table) == [
        "step0: the same weights as step1.",
        *(f"step{i}: other weights." for i in range(2, 6)),
        "2 more, in the table of checkpoints.",
    ]
    assert warnings_of(table.head(1))[0] == "step0: the same weights as step1."
    assert warnings_of(table[1:2]) == []
    both = pl.concat([table[1:2], table[:1].with_columns(model=pl.lit("nano-1"))])
    assert warnings_of(both) == ["nano-1 step0: the same weights as step1."]
