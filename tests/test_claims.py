"""Claims: formulas, verdicts, the page, the numbers, and the claims file of the repository."""

import itertools
import json
import re
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import workflow as wf
import yaml
from config_files import refused

from tokentrails.claims import formula
from tokentrails.claims.file import FORM, Spec, Target, load_claims
from tokentrails.claims.findings import findings_page
from tokentrails.claims.formula import Estimate, estimate
from tokentrails.claims.models import model_table, unfit
from tokentrails.claims.numbers import numbers
from tokentrails.claims.page import claims_page, sample
from tokentrails.claims.query import Queries, run_sql
from tokentrails.claims.sources import Source, control_draws, sources
from tokentrails.claims.sql import tables_of, unit_of
from tokentrails.claims.table import Run, claims_table, forms_table, measured_claims
from tokentrails.claims.verdict import (
    AS_PUBLISHED,
    FAILS,
    HOLDS,
    UNDECIDED,
    UNTESTABLE,
    attainable_p,
    evidence,
    p_as_published,
    p_value,
    verdict,
    weakest,
    worded,
)
from tokentrails.config.load import load_config
from tokentrails.errors import TokentrailsError
from tokentrails.files.tables import write_table
from tokentrails.statistics.binomial import share_interval
from tokentrails.statistics.bootstrap import Bootstrap
from tokentrails.statistics.forms import FORMS, SOUND

ROOT = Path(__file__).parent.parent
BOOTSTRAP = Bootstrap(200, 0.95, 0)

# --- the tables as documented, tiny ------------------------------------------------------------


def grid(**columns):
    """Every combination of the values of these columns."""
    frame = pl.DataFrame({"_": [0]})
    for name, values in columns.items():
        frame = frame.join(pl.DataFrame({name: values}), how="cross")
    return frame.drop("_")


def measured(frame, *names, seed=0):
    """`frame` with float columns of random numbers."""
    rng = np.random.default_rng(seed)
    made = [pl.Series(name, rng.uniform(0.1, 0.9, frame.height)) for name in names]
    return frame.with_columns(made)


DEPTH = 12
LAYERS = list(range(DEPTH + 1))
LABELS = {"label": ["bank_river", "lead_verb", "lead_metal", "bank_finance"]}
WORD = pl.col("label").str.head(4).alias("word")


def with_norm(frame):
    """The rows of `resid`, and those of the last layer again as `final_norm`."""
    end = frame.filter(pl.col("layer") == DEPTH).with_columns(site=pl.lit("final_norm"))
    return pl.concat([frame.with_columns(site=pl.lit("resid")), end])


def tables():
    """A table of each metric that claims read, with its documented columns."""
    at_layers = with_norm(grid(**LABELS, layer=LAYERS, position=[3])).with_columns(WORD, token=WORD)
    inside = grid(label=["s", "t"], layer=LAYERS[:-1], position=[0, 1, 2, 3])
    inside = inside.with_columns(site=pl.lit("resid_mid"), word=pl.lit("x"), token=pl.lit("x"))
    identity = measured(pl.concat([at_layers, inside.select(at_layers.columns)]), *FORMS)
    pairs = grid(label_a=["a", "b"], label_b=["c", "d"], word=["bank", "lead"], layer=LAYERS)
    pairs = with_norm(pairs).with_columns(token="Ġ" + pl.col("word"))
    pairs = pairs.with_columns(
        relation=pl.when(label_a="a").then(pl.lit("within")).otherwise(pl.lit("between")),
        label_a=pl.col("label_a") + pl.col("word"),
        label_b=pl.col("label_b") + pl.col("word"),
    )
    words = {"word": ["one", "two"], "last_token": ["e"]}
    groups = grid(**words, variant=["P1", "P2"], layer=list(range(17)), n_tokens=[2])
    ends = groups.filter(pl.col("layer") == 16).with_columns(site=pl.lit("final_norm"))
    groups = pl.concat([groups.with_columns(site=pl.lit("resid")), ends])
    steps = grid(word=["one", "two", "three"], checkpoint=["step0", "step1"], layer=LAYERS)
    steps = steps.with_columns(
        site=pl.lit("resid"),
        reference=pl.lit("step1"),
        n_tokens=pl.when(word="one").then(1).otherwise(2),
    )
    maps = [
        ("none", False),
        *((name, c) for name in ("orthogonal", "ridge") for c in (False, True)),
    ]
    decoded = grid(site=["resid"], layer=LAYERS, target=["own", "previous"]).join(
        pl.DataFrame(maps, ["map", "control"], orient="row"), how="cross"
    )
    ranks = grid(label=["s", "t"], position=[0, 1, 2, 3], layer=list(range(DEPTH)))
    ranks = ranks.with_columns(
        site=pl.lit("resid_mid"),
        token=pl.col("position").replace_strict({0: "the", 1: "fox", 2: ".", 3: "of"}),
        word=pl.col("position").replace_strict({0: "the", 1: "fox", 2: ".", 3: "of"}),
        word_class=pl.col("position").replace_strict(
            {0: "function", 1: "content", 2: "punctuation", 3: "function"}
        ),
        rank=pl.col("position") * 7 + pl.col("layer"),
        rank_as_published=pl.col("position") * 3 + pl.col("layer"),
        rank_standardised=pl.col("position") * 2 + pl.col("layer"),
        neighbour_cosine=pl.col("position") / 5,
        neighbour_standardised=pl.col("position") / 7,
    )
    lists = grid(label=["s"], layer=[0, 1], head=[0, 1], position=[0, 1, 2], side=["key", "query"])
    messages = lists.filter(side="key").with_columns(side=pl.lit(None, pl.String))
    letter = pl.col("position").replace_strict({0: "a", 1: "b", 2: "c"})
    heads = pl.concat([lists, messages]).with_columns(
        kind=pl.when(pl.col("side").is_null()).then(pl.lit("message")).otherwise(pl.lit("pattern")),
        space=pl.lit("embedding"),
        token=pl.format("Ġ{}", letter),
        high_bias=pl.lit(False),
        top=pl.concat_list(pl.lit("x"), letter),
    )
    by_head = grid(layer=[0, 1, 2], head=[0, 1])
    weights = grid(label=["s"], layer=[0, 1], head=[0, 1], query=[0, 1, 2], key=[0, 1, 2])
    tokens = grid(label=["s"], position=[0, 1, 2])
    firing = grid(label=["s"], layer=[0, 1, 2], neuron=[1, 666], position=[0, 1, 2])
    by_class = grid(
        site=["resid_mid"],
        as_published=[False],
        positional=[False],
        measure=["cosine", "log_rank", "own_closest"],
    )
    classes = by_class.join(grid(word_class=["content", "function"], layer=[0, 1, 2]), how="cross")
    steps_by_group = grid(
        site=["resid"], step=[64, 256, 512], layer=[None, 0, 1], n_tokens=[None, 1, 2]
    )
    evolution = grid(
        label=["s"], position=[0, 1, 2], layer=[0, 1, 2], space=["embedding", "unembedding"]
    ).with_columns(token=pl.lit("x"))
    return {
        "identity": identity,
        "context": measured(pairs, *FORMS),
        "summary": pl.DataFrame(LABELS).with_columns(
            WORD, depth=pl.lit(DEPTH), half_life_layer=pl.Series([2, 3, 4, 1])
        ),
        "half_lives": measured(
            grid(label=["s", "t"], measure=SOUND).with_columns(
                token=pl.lit("x"),
                half_life_layer=pl.Series([2, 3] * len(SOUND)),
                depth=pl.lit(DEPTH),
                counted=pl.lit(True),
            )
        ),
        "decodability_half_lives": grid(
            map=["none", "orthogonal", "ridge"], measure=["top1", "cosine"]
        ).with_columns(half_life_layer=pl.lit(2), depth=pl.lit(DEPTH)),
        "half_lives_by_group": measured(
            grid(measure=SOUND, grouping=["all"]).with_columns(
                median_layer=2, median_layer_low=1, median_layer_high=None
            ),
            "reached",
        ),
        "senses": measured(
            with_norm(grid(word=["bank", "lead"], layer=LAYERS, measure=SOUND)),
            *("within", "between", "gap", "auc", "difference", "auc_difference"),
        ),
        "senses_by_layer": measured(
            grid(site=["resid"], layer=LAYERS, measure=SOUND),
            *("gap", "gap_low", "gap_high", "auc", "auc_low", "auc_high", "p_holm"),
        ),
        "senses_best": measured(
            grid(site=["resid"], measure=SOUND, criterion=["auc", "gap"]).with_columns(
                best_layer=3, best_low=2, best_high=5, depth=DEPTH
            ),
            "value",
        ),
        "baseline_dimensions": measured(
            grid(site=["resid"], layer=LAYERS, dimension=[0, 1, 2]), "share"
        ),
        "baseline": measured(
            with_norm(grid(layer=LAYERS, kind=["states", "embedding"])),
            "cosine",
            "ci_low",
            "ci_high",
        ),
        "convergence": measured(steps, *FORMS),
        "convergence_by_group": measured(
            steps_by_group,
            *("mean", "ci_low", "ci_high", "adjusted", "standardised"),
            *("centred", "centred_low", "centred_high"),
        ),
        "alignment": measured(
            steps_by_group,
            *("cosine", "cosine_ci_low", "cosine_ci_high", "cka", "cka_ci_low", "cka_ci_high"),
            "procrustes",
        ),
        "perturbation": measured(groups, *FORMS),
        "ranks": measured(ranks, "cosine_as_published", *FORMS),
        "ranks_by_class": measured(classes, "value", "ci_low", "ci_high").with_columns(n=4),
        "ranks_gap": measured(
            by_class.join(grid(layer=[0, 1]), how="cross"), "gap", "ci_low", "ci_high"
        ),
        "ranks_summary": measured(
            by_class.with_columns(quantity=pl.lit("largest_gap"), layer=1),
            *("value", "ci_low", "ci_high"),
        ),
        "heads": heads,
        "head_summary": measured(
            by_head, "self_pattern", "past_identity", "same_first_letter", "first_position"
        ).with_columns(n=pl.lit(8)),
        "attention": measured(weights, "weight"),
        "activations": measured(firing, "activation", "contribution_norm"),
        "first_position_neurons": pl.DataFrame(
            {"layer": [1, 2], "neuron": [666, 1], "first": [-9.0, 3.0], "elsewhere": [0.1, 0.2]}
        ),
        "attribution_sum": measured(
            grid(layer=[0, 11], position=[0, 1, 2]),
            *("before", "total", "norm_before", "norm_after", "identity_after"),
        ),
        "attribution_by_layer": measured(
            grid(layer=[0, 1], part=["heads", "mlp", "total"]), "mean", "ci_low", "ci_high"
        ).with_columns(n=pl.lit(9)),
        "attribution_causal": measured(
            grid(layer=[0, 1], part=["head", "mlp"]),
            *(
                f"{name}{suffix}"
                for name in ("identity", "loss")
                for suffix in ("", "_ablated", "_difference", "_difference_low", "_difference_high")
            ),
        ),
        "matched_groups": measured(
            grid(
                site=["resid_mid"],
                layer=[0, 1],
                comparison=["word_class", "n_tokens"],
                matched_on=["nothing", "frequency and position"],
                measure=["cosine", "log_rank", "log_rank_standardised", "own_closest"],
                space=["embedding"],
            ).with_columns(n=pl.lit(9), n_other=pl.lit(8)),
            *("difference", "ci_low", "ci_high"),
        ),
        "splits_by_layer": measured(
            grid(site=["resid"], layer=LAYERS, variant=["split", "split - other"], measure=SOUND),
            *("mean", "ci_low", "ci_high"),
        ).with_columns(pieces=pl.lit(None, pl.Int32), n=pl.lit(30)),
        "decodability": measured(decoded, "top1", "ci_low", "ci_high").with_columns(
            cosine=0.9 ** pl.col("layer"), n_types=pl.lit(400)
        ),
        "decodability_types": measured(
            decoded.join(grid(type=["a", "b", "c"]), how="cross"), "top1", "cosine"
        ),
        "evolution": evolution.with_columns(
            predicted=pl.lit(False),
            most_probable=pl.format("{}", pl.col("layer")),
        ),
        "predictions": tokens.with_columns(
            token=pl.format("{}", pl.col("position")), predicted=pl.lit("2"), probability=0.5
        ),
    }


TABLES = tables()
MODEL = model_table("m", "main", 1, {"architecture": "gpt2"})
SHIPPED = load_claims(ROOT / "config/claims.yaml", TABLES)


def shipped_tables(entry):
    return {name: TABLES[specs[0].metric] for name, specs in entry.tables.items()} | {
        "model": MODEL
    }


# --- the claims file of the repository ---------------------------------------------------------


def test_the_claims_of_all_four_studies_are_there():
    # And Ethayarajh's numbers, and what this project says itself.
    assert len({claim.study for claim in SHIPPED.claims}) == 6
    assert len(SHIPPED.claims) >= 16


@pytest.mark.parametrize("claim", SHIPPED.claims, ids=lambda claim: claim.id)
def test_every_shipped_formula_runs_on_the_documented_columns(claim):
    for sql in (claim.as_published, *claim.corrected_formulas().values()):
        found = number(shipped_tables(claim), sql, claim.statistic, claim.difference)
        if claim.applies_to.models not in (("gpt2-medium",), ("distilgpt2",)):  # of other depth
            assert found.value is not None, (sql, found.reason)


@pytest.mark.parametrize("claim", SHIPPED.claims, ids=lambda claim: claim.id)
def test_a_form_without_values_has_no_number(claim):
    """As without a baseline: what is not known is no `false`."""
    for form, sql in claim.corrected_formulas().items():
        if FORM not in (claim.corrected or "") + "".join(claim.parts.values()):
            continue
        name, _, _ = form.partition(",")
        given = {}
        for table, rows in shipped_tables(claim).items():
            if name in rows.columns:
                rows = rows.with_columns(pl.lit(None, rows.schema[name]).alias(name))
            if "measure" in rows.columns:
                rows = rows.filter(pl.col("measure") != name)
            given[table] = rows
        found = number(given, sql, claim.statistic, claim.difference)
        assert found.value is None, (form, found)


@pytest.mark.parametrize("number", SHIPPED.numbers, ids=lambda number: number.name)
def test_every_shipped_number_is_one_number(number):
    run = run_with([(number.name, number.tables)])
    nothing = claims_table([], run, 0.95, provenance={})
    made = json.loads(numbers(nothing, [number], run))
    (values,) = made["numbers"][number.name].values()
    assert values != {}


def run_with(entries, models=("m",)):
    """A run that has made the first candidate of every table of these entries."""
    sources = {
        name: {m: {t: Source(specs[0].metric) for t, specs in tables.items()} for m in models}
        for name, tables in entries
    }

    def query(sql, paths, model, where):
        return run_sql(
            sql, {name: TABLES[p] for name, p in paths.items()} | {"model": model}, where
        )

    return Run({model: MODEL for model in models}, sources, query)


def test_published_numbers_agree_with_what_is_claimed():
    """A published number that its own claim would call wrong is a slip of ours."""
    for claim in SHIPPED.claims:
        if claim.published is not None:
            draws = np.full(1000, claim.published)
            found = Estimate(claim.published, units=99, fewest=99, draws=draws)
            said = evidence(claim.target, found)
            assert said is not None and said.favour < 0.01, claim.id


SIMILARITIES = {"identity", "context", "senses", "half_lives", "perturbation", "convergence"}


def read_by(claim, *formulas):
    """The metrics that some formulas of a claim read."""
    names = {name for sql in formulas for name in tables_of(sql, claim.id)}
    return {spec.metric for name in names & set(claim.tables) for spec in claim.tables[name]}


def test_what_compares_similarities_does_so_in_every_sound_form():
    found = 0
    for claim in SHIPPED.claims:
        formulas = claim.corrected_formulas()
        one_number = claim.target.value is not None and claim.published == claim.target.value
        if not one_number and read_by(claim, *formulas.values()) & SIMILARITIES:
            assert {form.split(", ")[0] for form in formulas} == set(SOUND), claim.id
            found += 1
    assert found >= 12


def test_no_comparison_of_classes_of_words_takes_the_first_position_in():
    found = [claim for claim in SHIPPED.claims if claim.difference == ("content", "function")]
    assert len(found) == 5
    assert all("position > 0" in (claim.corrected or "") for claim in found)


def test_what_no_sentence_of_a_study_says_is_a_reading_of_its_tables():
    files = re.compile(r"\.csv|_csvs/|_plots/|^Figure")
    for claim in SHIPPED.claims:
        places = claim.source.split("; ")
        is_of_a_table = all(files.search(place) for place in places)
        a_number = claim.published is not None and claim.published == claim.target.value
        assert claim.statement_is == "reading" or not is_of_a_table or a_number, claim.id
    readings = [claim.id for claim in SHIPPED.claims if claim.statement_is == "reading"]
    assert {"single-tokens-first", "early-layers-earlier-tokens"} < set(readings)


CONFIGS = {
    name: load_config(wf.read_yaml(ROOT / f"config/{name}.yaml")) for name in ("tour", "paper")
}


def test_every_experiment_that_a_claim_names_is_in_the_tour_or_the_paper():
    known = {"*", "weights", *(name for config in CONFIGS.values() for name in config.experiments)}
    for claim in SHIPPED.claims:
        named = {spec.experiment for specs in claim.tables.values() for spec in specs}
        assert named <= known, claim.id


@pytest.mark.parametrize(
    ("run", "name", "model", "published", "corrected"),
    [
        ("paper", "identity-collapses", "gpt2", "drift", "texts"),
        ("paper", "anti-alignment", "distilgpt2", "drift", "texts"),
        ("paper", "last-layer-changes-prediction", "gpt2", "baseball", "circuits"),
        ("paper", "late-layers-context", "pythia-1b-deduped", "natural", "natural"),
        ("tour", "identity-collapses", "smollm2-135m", "drift", "vocabulary"),
        ("tour", "early-heads-self-attend", "smollm2-135m", "baseball", "circuits"),
        ("tour", "past-identity", "smollm2-135m", "baseball", "circuits"),
        ("tour", "late-reconvergence", "minilm-l6", "drift", "senses"),
    ],
)
def test_the_studys_way_reads_its_texts_and_the_corrected_one_many(
    run, name, model, published, corrected
):
    config = CONFIGS[run]
    (claim,) = (claim for claim in SHIPPED.claims if claim.id == name)
    read = sources(claim.tables, config.models[model], config)
    assert {Path(source.path).parent.name for source in read.values()} == {published, corrected}
    assert Path(read["published"].path).parent.name == published


def test_what_stands_in_for_the_studys_texts_is_said(tmp_path):
    config = load_config(wf.read_yaml(ROOT / "config/config.yaml"))
    tables = {"t": (Spec.parse("drift/identity"), Spec.parse("polysemy/identity"))}
    (source,) = sources(tables, config.models["minilm-l6"], config).values()
    assert source.path and source.reason == "polysemy/identity: this run has no drift/identity"
    _, found, _, run = evaluated(tmp_path, {})
    stand_in = {"claim-0": {"m": {"identity": Source("identity", source.reason)}}}
    table = claims_table(found, replace(run, sources=stand_in), 0.95, provenance={})
    assert f"as published, of {source.reason}" in table["reason"][0].as_py()


DRAWN = "results/metrics/smollm2-random/{}/vocabulary/identity.parquet"


def draws_of(tmp_path, change=None, *claims):
    """The draws of the tour's controls, of the claims of the repository or of others."""
    data = wf.read_yaml(ROOT / "config/tour.yaml")
    if change:
        change(data)
    config = load_config(data)
    file = load_claims(claims_file(tmp_path, *claims), TABLES) if claims else SHIPPED
    return control_draws(file, config)


def test_a_control_is_that_of_all_that_the_corrected_formula_reads(tmp_path):
    def fewer(data):
        data["experiments"]["senses"]["models"].remove("minilm-random")
        data["experiments"]["senses_replaced"]["models"].remove("smollm2-random")

    draws = draws_of(tmp_path, fewer)
    # The study's own texts, on which the control does not run, are not read.
    assert draws["identity-collapses"]["smollm2-135m"] == [
        ("smollm2-random", {"identity": DRAWN.format("draw0")})
    ]
    assert draws["late-reconvergence"]["smollm2-135m"]
    for claim, model in (
        ("late-reconvergence", "minilm-l6"),  # whose control does not run on the senses
        ("senses-beyond-any-word", "smollm2-135m"),  # nor this one's on the replaced ones
        ("single-tokens-first", "nano"),  # which compares checkpoints
    ):
        assert draws[claim][model] == []
    assert not any(name.endswith("-random") for models in draws.values() for name in models)


def test_a_control_is_of_the_same_experiment_and_every_draw_of_it_counts(tmp_path):
    def two(data):
        data["models"]["smollm2-random"]["checkpoints"] = ["draw1", "draw0"]

    anywhere, named = {}, {"tables": {"identity": "vocabulary/identity"}}
    draws = draws_of(tmp_path, two, anywhere, named)
    assert draws["claim-0"]["smollm2-135m"] == []  # that of the model is of polysemy
    assert draws["claim-1"]["smollm2-135m"] == [
        ("smollm2-random", {"identity": DRAWN.format(draw)}) for draw in ("draw1", "draw0")
    ]
    without = draws_of(tmp_path, untrained_left_out, named)
    assert without["claim-0"]["smollm2-135m"] == []


def test_draws_stand_for_the_reference_and_for_no_step_of_a_training(tmp_path):
    def trained(data):
        data["models"]["nano-random"]["checkpoints"] = ["draw0", "draw1"]
        data["experiments"]["vocabulary_nano"]["checkpoints"] = "all"
        data["experiments"]["words"]["models"].append("nano-random")

    specs = ("vocabulary_nano/matched_groups", "vocabulary_nano/matched_groups@step1536")
    specs += ("vocabulary_nano/matched_groups@step0", "words/alignment")
    draws = draws_of(tmp_path, trained, *({"tables": {"identity": spec}} for spec in specs))
    assert [len(draws[f"claim-{i}"]["nano"]) for i in range(4)] == [2, 2, 0, 0]


def test_without_a_control_a_training_has_its_checkpoint_before_the_first_step(tmp_path):
    def alone(data):
        untrained_left_out(data)
        data["experiments"]["vocabulary_nano"]["checkpoints"] = "all"

    spec = {"tables": {"identity": "vocabulary_nano/matched_groups"}}
    path = "results/metrics/nano/step0/vocabulary_nano/matched_groups.parquet"
    draws = draws_of(tmp_path, alone, spec)["claim-0"]
    assert draws["nano"] == [("nano", {"identity": path})]
    assert draws["smollm2-135m"] == []
    assert draws_of(tmp_path, untrained_left_out, spec)["claim-0"]["nano"] == []

    def untrained_itself(data):
        alone(data)
        data["models"]["nano"]["reference"] = "step0"

    assert draws_of(tmp_path, untrained_itself, spec)["claim-0"]["nano"] == []


def untrained_left_out(data):
    """A configuration of the same models without their controls."""
    controls = {name for name in data["models"] if name.endswith("-random")}
    data["models"] = {n: model for n, model in data["models"].items() if n not in controls}
    for experiment in data["experiments"].values():
        if "models" in experiment:
            experiment["models"] = [n for n in experiment["models"] if n not in controls]


def corrected(claim_id, **planted):
    """The corrected numbers of a shipped claim over planted tables, by form and variant."""
    (claim,) = (claim for claim in SHIPPED.claims if claim.id == claim_id)
    given = {name: planted.get(name, TABLES[s[0].metric]) for name, s in claim.tables.items()}
    given |= {"model": MODEL}
    formulas = claim.corrected_formulas().items()
    made = {key: number(given, sql, claim.statistic, claim.difference) for key, sql in formulas}
    return {key: found.value for key, found in made.items()}


@pytest.mark.parametrize("onset", [3, None])
@pytest.mark.parametrize("similarity", [1, 3, None])
@pytest.mark.parametrize(("rotation", "ridge"), [(1, 2), (3, 1), (2, None)])
def test_nothing_diverges_behind_what_is_never_reached_or_can_still_be_read(
    onset, similarity, rotation, ridge
):
    """Each is the layer at which it is lost; at `onset` words differ more than others do there."""
    senses = grid(word=["bank", "lead"], site=["resid"], layer=LAYERS, measure=SOUND)
    late = pl.lit(None) if onset is None else pl.col("layer") >= onset
    half_lives = grid(label=list("abcde"), measure=SOUND).with_columns(
        half_life_layer=pl.lit(similarity, pl.Int32), depth=pl.lit(DEPTH), counted=pl.lit(True)
    )
    maps = {"none": 9, "orthogonal": rotation, "ridge": ridge}
    readable = grid(map=list(maps), measure=["top1"]).with_columns(
        half_life_layer=pl.col("map").replace_strict(maps, return_dtype=pl.Int32),
        depth=pl.lit(DEPTH),
    )
    found = corrected(
        "divergence-follows-identity-loss",
        senses=senses.with_columns(difference=late.cast(pl.Float64)),
        half_lives=half_lives,
        readable=readable,
    )
    lost = {"by similarity": similarity, "by a rotation": rotation, "by ridge": ridge}
    assert len(found) == len(lost) * len(SOUND)
    for form, value in found.items():
        way = form.partition(", ")[2]
        if onset is None or (way == "by similarity" and similarity is None):
            assert value is None
        else:  # what can always be read has not vanished
            assert value == (lost[way] is not None and onset > lost[way])


def attending(to_itself):
    """Attention of two heads of block 0 in two texts: one even, the other so much to itself."""
    frame = grid(label=["s", "t"], layer=[0], head=[0, 1], query=[0, 1, 2, 3], key=[0, 1, 2, 3])
    frame = frame.filter(pl.col("key") <= pl.col("query"))
    even = 1 / (pl.col("query") + 1)
    own = pl.when(pl.col("key") == pl.col("query")).then(to_itself)
    other = own.otherwise((1 - pl.lit(to_itself)) / pl.col("query").clip(1))
    return frame.with_columns(weight=pl.when(head=0).then(even).otherwise(other))


@pytest.mark.parametrize(("to_itself", "expected"), [(1.0, 1.0), (0.7, 0.51667)])
def test_a_head_attends_to_itself_beyond_even_attention(to_itself, expected):
    # (weight - even) / (1 - even) over queries 1 to 3, whose even weights are 1/2, 1/3 and 1/4.
    found = corrected("early-heads-self-attend", attention=attending(to_itself))
    assert found[""] == pytest.approx(expected, abs=1e-3)
    assert corrected("early-heads-self-attend", attention=attending(0.0))[""] == pytest.approx(0)


def lists_of(words):
    """Key-side patterns of two heads on three tokens; `words` gives the list of each."""
    rows = [
        {"label": "s", "layer": 0, "head": head, "position": position, "token": f"t{position}"}
        | {"kind": "pattern", "side": "key", "high_bias": True, "top": words(head, position)}
        for head in (0, 1)
        for position in (0, 1, 2)
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize(
    ("words", "by_head", "of_word"),
    [
        # Two of a head's own, one of the word: a pattern of its own for one word.
        (lambda head, position: [f"h{head}", f"g{head}", f"w{position}"], -1 / 3, -1 / 3),
        (lambda head, position: [f"{head}{position}", f"x{head}{position}"], 0, 0),  # at random
        (lambda head, position: ["x", "y"], 0, 0),  # what all heads list for all words
        (lambda head, position: [f"{head}a", f"{head}b"], -1, 0),  # whatever the word
        (lambda head, position: [f"a{position}", f"b{position}"], 1, -1),  # whatever the head
    ],
)
def test_a_head_has_a_pattern_of_its_own_for_a_word_beyond_other_heads_and_other_words(
    words, by_head, of_word
):
    found = corrected("disambiguating-heads", heads=lists_of(words))
    assert found == pytest.approx({"heads apart": by_head, "words apart": of_word})


def messages_of(layers, hits, *, tokens="abcdefgh"):
    """Messages in one sentence behind its first token; `hits` of each head name their own token."""
    rows = [
        {"label": "s", "layer": layer, "head": head, "position": position, "token": f"Ġ{token}"}
        | {"kind": "message", "space": "embedding", "top": [token.upper() if hit else "x", "y"]}
        for layer in layers
        for head, n in enumerate(hits)
        for position, token in enumerate(f"<{tokens}?", start=0)
        for hit in [position <= n or position == 9]
    ]
    return pl.DataFrame(rows)


def test_past_identity_is_of_messages_and_of_heads_by_more_than_one_measure():
    # Of eight words each; the first token and the question mark have no word.
    found = corrected("past-identity", heads=messages_of([0, 1], [0, 1, 2, 8]))
    assert found == {
        "messages": 11 / 32,
        "heads by an eighth": 0.75,
        "heads by a quarter": 0.5,
        "heads by half": 0.25,
    }


@pytest.mark.parametrize(("layers", "known"), [([0, 1], True), ([0], False)])
def test_a_share_of_heads_is_of_the_heads_of_all_blocks(layers, known):
    (claim,) = (claim for claim in SHIPPED.claims if claim.id == "past-identity")
    model = model_table("m", "main", 1, {"architecture": "gpt2", "depth": "2"})
    given = {"heads": messages_of(layers, [0, 8]), "model": model}
    for sql in claim.corrected_formulas().values():
        assert (number(given, sql).value is not None) == known


def test_heads_rest_on_the_first_token_by_most_of_their_attention():
    rest = attending(0.4).with_columns(
        weight=pl.when(head=1).then(pl.when(key=0).then(0.6).otherwise(0.1)).otherwise("weight")
    )
    # The even head gives it 0.36 on average.
    assert corrected("attention-rests-on-first", attention=rest)[""] == 0.5


def test_the_last_layer_changes_predictions_of_any_entry():
    same = grid(label=["s", "t"], position=[0, 1, 2], layer=[0, 1, 2], space=["unembedding"])
    same = same.with_columns(
        predicted=pl.lit(False), most_probable=pl.lit("a"), token=pl.col("position").cast(pl.String)
    )
    assert corrected("last-layer-changes-prediction", evolution=same)[""] == 0
    other = (pl.col("layer") == 2) & ((pl.col("position") == 0) | (pl.col("label") == "s"))
    changed = same.with_columns(
        most_probable=pl.when(other).then(pl.lit("b")).otherwise("most_probable")
    )
    assert corrected("last-layer-changes-prediction", evolution=changed)[""] == 0.5


# --- formulas ------------------------------------------------------------------------------------


def number(tables, sql="SELECT unit, value FROM t", statistic="mean", difference=None):
    """The estimate over tables by name, or over the columns of one table `t`."""
    if not isinstance(tables.get("model"), pl.DataFrame):
        tables = {"t": pl.DataFrame(tables)}
    return estimate(
        run_sql(sql, tables, "here"),
        statistic=statistic,
        difference=difference,
        bootstrap=BOOTSTRAP,
        stream="s",
        where="here",
    )


@pytest.mark.slow
def test_intervals_of_few_units_hold_the_truth_about_as_often_as_they_say(monkeypatch):
    """95 % ± 3 of eight units, and of groups of which one has eight; percentiles hold it less."""
    monkeypatch.setattr(formula, "DRAWS", BOOTSTRAP.draws)
    rng = np.random.default_rng(2)
    sql = 'SELECT unit, value, g AS "group" FROM t'
    for groups, difference in (("y" * 8, None), ("x" * 80 + "y" * 8, ("y", "x"))):
        held = []
        for _ in range(600):
            rows = {
                "unit": [f"u{i}" for i in range(len(groups))],
                "value": [rng.normal() + (group == "y") for group in groups],
                "g": list(groups),
            }
            found = number(rows, sql, difference=difference)
            held.append(found.low <= 1 <= found.high)
        assert 0.92 <= np.mean(held) <= 0.98


def test_the_median_of_an_even_number():
    assert number({"unit": list("abcd"), "value": [1, 2, 4, 9]}, statistic="median").value == 3


def test_a_difference_is_of_the_groups_in_their_order():
    rows = {"unit": ["a", "a", "b", "b"], "value": [1.0, 5.0, 2.0, 8.0], "g": ["x", "y"] * 2}
    sql = 'SELECT unit, value, g AS "group" FROM t'
    assert number(rows, sql, difference=("y", "x")).value == 5.0
    assert number(rows, sql, difference=("x", "y")).value == -5.0
    assert "'z'" in number(rows, sql, difference=("x", "z")).reason


def test_nulls_take_no_part_and_what_is_no_number_is_a_reason():
    assert number({"unit": ["a", "b"], "value": [1.0, None]}).n == 1
    found = number({"unit": ["a", "b", "c"], "value": [1.0, None, float("nan")]})
    assert found.value is None and "NaN in 1 of 3 rows" in found.reason
    assert "null" in number({"unit": ["a"], "value": [None]}).reason
    assert "no rows" in number({"unit": [], "value": []}).reason
    assert "infinite in 1 of 2 rows" in number({"unit": ["a", "b"], "value": [1.0, np.inf]}).reason


def test_few_units_have_no_interval():
    for n in (1, 4):
        found = number({"unit": [f"u{i}" for i in range(n)] * 2, "value": [1.0, 2.0] * n})
        assert found.value == 1.5 and found.low is None and not len(found.draws)
    assert number({"unit": list("abcde"), "value": [1.0, 2.0] * 2 + [1.0]}).low is not None
    rows = {"unit": [f"u{i}" for i in range(9)], "value": [1.0] * 9, "g": ["x"] * 5 + ["y"] * 4}
    found = number(rows, 'SELECT unit, value, g AS "group" FROM t', difference=("x", "y"))
    assert found.low is None and (found.units, found.fewest, found.smaller) == (9, 4, "y")
    assert "takes 5 units in each group; here 'y' has 4" in judged(ABOVE, OVER, found)[1]


@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_what_is_crossed_with_the_units_is_resampled_too(statistic):
    """What varies with the token alone is as uncertain as its tokens are, however many texts."""
    values = np.random.default_rng(0).normal(size=6)
    rows = {
        "unit": [f"u{text}" for text in range(30) for _ in values],
        "value": [*values] * 30,
        "token": [*"abcdef"] * 30,
    }
    crossed = "SELECT unit, value, token AS crossed FROM t"
    found = number(rows, crossed, statistic=statistic)
    tokens = number({"unit": [*"abcdef"], "value": values}, statistic=statistic)
    assert found.value == pytest.approx(tokens.value)
    assert (found.low, found.high) == pytest.approx((tokens.low, tokens.high), abs=0.1)
    assert (found.units, found.fewest, found.n) == (30, 6, 180)
    assert number(rows, statistic="mean").low is None  # all texts have the same mean
    few = rows | {"token": [*"aabbcc"] * 30}
    assert number(few, crossed, statistic=statistic).low is None
    shares = rows | {"value": [True, False, True, False, True, True] * 30}
    assert number(shares, crossed).yes is None  # no unit is drawn by itself


@pytest.mark.parametrize(("texts", "tokens"), [(30, 6), (7, 20)])
@pytest.mark.parametrize("says", [True, False])
def test_where_all_tokens_say_the_same_those_count_of_which_there_are_fewer(texts, tokens, says):
    places = itertools.product(range(texts), range(tokens))
    rows = [{"unit": f"u{text}", "token": f"t{token}", "value": says} for text, token in places]
    columns = pl.DataFrame(rows).to_dict(as_series=False)
    found = number(columns, "SELECT unit, value, token AS crossed FROM t")
    n = min(texts, tokens)
    assert (found.yes, found.fewest, found.units) == (n * says, n, texts)
    assert (found.low, found.high) == share_interval(found.yes, n, 0.95)
    assert (found.p_above(0.5) if says else found.p_below(0.5)) == pytest.approx(0.5**n)


def of_units(n, value, statistic="mean", members=1):
    """The number of so many units; `value` is of each of them, or of all."""
    values = value if isinstance(value, list) else [value] * n
    rows = {"unit": [f"u{i}" for i in range(n)] * members, "value": values * members}
    return number(rows, statistic=statistic)


def test_a_share_of_units_has_an_exact_interval():
    none = of_units(16, False)
    assert (none.value, none.low, none.high) == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 16)))
    said = evidence(Target(above=0.02), none)
    assert (said.favour, said.against) == (1.0, pytest.approx(0.98**16))  # 0.72
    assert evidence(Target(above=0.3), none).against == pytest.approx(0.7**16)
    every = of_units(16, True)
    assert (every.low, every.high) == (pytest.approx(0.025 ** (1 / 16)), 1.0)
    assert evidence(Target(below=0.98), every).against == pytest.approx(0.98**16)
    # Of numbers that are all 0 or 1, both occur.
    one = of_units(16, [1.0] + [0.0] * 15)
    assert evidence(Target(above=0.2), one).against == pytest.approx(0.8**16 + 16 * 0.2 * 0.8**15)
    assert one.low == pytest.approx(1 - 0.975 ** (1 / 16))


@pytest.mark.parametrize(
    ("target", "value"),
    [
        (Target(value=0.98, tolerance=0.05), True),  # its upper end is over 1
        (Target(value=0.02, tolerance=0.05), False),
        (Target(below=1.5), True),
        (Target(above=-0.5), False),
    ],
)
def test_no_share_lies_outside_of_0_and_1(target, value):
    said = evidence(target, of_units(1000, value))
    assert said.favour < 1e-6 and said.against == 1


def test_a_share_of_tokens_is_as_sure_as_its_texts_are():
    assert replace(of_units(8, False, members=50), n=8) == of_units(8, False)
    mixed = of_units(8, [True] + [False] * 7, members=2)
    mixed_within = number(
        {"unit": [f"u{i % 8}" for i in range(32)], "value": [i % 3 == 0 for i in range(32)]}
    )
    assert mixed.yes is None and mixed_within.yes is None  # drawn by unit
    assert mixed_within.low < mixed_within.value < mixed_within.high


@pytest.mark.parametrize("members", [1, 7])
@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3])
def test_equal_values_say_nothing_about_how_uncertain_their_mean_is(value, members):
    found = of_units(50, value, members=members)
    assert found.value == pytest.approx(value) and found.low is None
    for threshold in (-1.0, 0.0, value, 2.0):
        for target in (Target(above=threshold), Target(value=threshold, tolerance=0.1)):
            said = evidence(target, found)
            assert (said.favour, said.against) == (1.0, 1.0)
    answer, why = judged(Target(above=-1.0), found, found)
    assert answer == UNDECIDED and "every resample gives the same number" in why


@pytest.mark.parametrize(("n", "expected"), [(5, UNDECIDED), (6, FAILS), (74, FAILS)])
def test_a_median_of_equal_values_is_as_sure_as_a_sign_test(n, expected):
    found = of_units(n, 1.2, "median")
    answer, why = judged(Target(below=0.5), found, found)
    assert answer == expected and ("median of 5 units" in why) == (n == 5)
    assert found.low == (None if n == 5 else 1.2)
    assert evidence(Target(below=0.5), found).against >= 0.5**n


def test_trainings_that_all_give_one_number_say_nothing():
    found = formula.over_trainings({str(i): Estimate(0.3, n=1) for i in range(9)}, 0.95)
    assert found.low is None and judged(Target(above=0.0), found, found)[0] == UNDECIDED
    spread = {str(i): Estimate(0.3 + i / 100, n=1) for i in range(9)}
    found = formula.over_trainings(spread, 0.95)
    assert judged(Target(above=0.0), found, found)[0] == HOLDS


def test_a_difference_that_every_resample_has_is_as_sure_as_the_two_numbers():
    def p_of(first, second):
        return evidence(Target(above=0.0), first.minus(second)).two_sided

    for n, differs in ((5, False), (20, True)):
        values = list(np.random.default_rng(0).normal(1, 0.1, n))
        found, less = of_units(n, values), of_units(n, [value - 1 for value in values])
        assert p_of(found, found) == 1.0 and (p_of(found, less) < 0.05) == differs
        medians = [of_units(n, value, "median") for value in (5.0, 4.0)]
        assert (p_of(*medians) < 0.05) == differs
        assert p_of(of_units(n, 5.0), of_units(n, 4.0)) == 1.0


def test_p_is_below_alpha_exactly_where_the_interval_is_clear():
    """The inverse of the interval: it is clear of a bit less, and not of a bit more."""
    rng = np.random.default_rng(4)
    numbers = [of_units(n, list(rng.normal(1, 1, n))) for n in (5, 9, 60)]
    for found in (*numbers, of_units(40, list(rng.random(40) < 0.3))):
        for end, above in ((found.low, True), (found.high, False)):
            for step, clear in ((-0.02, above), (0.02, not above)):
                x = end + step
                target = Target(above=x) if above else Target(below=x)
                assert (evidence(target, found).favour < 0.025) == clear


def test_the_order_of_rows_changes_nothing():
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({"unit": [f"u{i % 7}" for i in range(200)], "value": rng.normal(size=200)})
    assert number(rows.to_dict()) == number(rows.sample(fraction=1, shuffle=True, seed=3).to_dict())


@pytest.mark.parametrize(
    ("sql", "parts"),
    [
        ("SELECT nothing AS unit FROM t", ("does not run", "nothing", "unit, value")),
        ("SELECT unit, valu AS value FROM t", ('"valu"\n', "Hint: did you mean 'value'?")),
        ("SELECT a.unit, a.valu AS value FROM t a", ("'valu'", "Hint: did you mean 'value'?")),
        (
            "WITH a AS (SELECT unit AS own FROM t) SELECT value FROM a",
            ('column "value"\n', "t: unit, value. The formula names own itself."),
        ),
        ("SELECT unit FROM other", ("does not run", "other", "its tables are t")),
        ("SELECT FROM WHERE", ("cannot be parsed",)),
        ("SELECT unit FROM t", ("no column 'value'",)),
        ("SELECT unit, unit AS value FROM t", ("no numbers",)),
    ],
)
def test_a_formula_that_does_not_run_says_why(sql, parts):
    with refused("here: ", *parts):
        number({"unit": ["a"], "value": [1.0]}, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('x')",
        "SELECT * FROM \"read_csv\"('x')",
        "SELECT * FROM `read_csv`('x')",
        "SELECT * FROM read_csv/**/('x')",
        "SELECT * FROM read_parquet--\n('x')",
        "SELECT unit FROM t WHERE unit IN (SELECT a FROM scan_ipc('x'))",
        "WITH a AS (SELECT * FROM ReAd_JsOn('x')) SELECT * FROM a",
        "WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT * FROM a) SELECT * FROM a",
        "SELECT 1; SELECT 2",
        "DROP TABLE t",
        "SELECT * INTO u FROM t",
        "SELECT " + "(" * 5_000 + "1" + ")" * 5_000,
        "SELECT " + "1+" * 20_000 + "1",
        "",
    ],
)
def test_a_query_reads_tables_by_their_names_alone(sql):
    with pytest.raises(TokentrailsError, match="Hint: "):
        tables_of(sql, "here")


def test_the_tables_of_a_query_are_those_it_does_not_define():
    sql = """
        WITH a AS (SELECT * FROM t) -- FROM comment
        SELECT (SELECT MAX(x) FROM u), 'FROM text', "v" FROM a JOIN a AS b ON a.x = b.x
    """
    assert tables_of(sql, "here") == {"t", "u"}
    # Inside its own definition a name is still that of the table.
    assert tables_of("WITH t AS (SELECT * FROM t) SELECT * FROM t", "here") == {"t"}


def test_a_query_that_takes_too_much_ends_alone(tmp_path):
    pl.DataFrame({"unit": range(3_000_000)}).write_parquet(tmp_path / "t.parquet")
    joined = "SELECT a.unit FROM t a CROSS JOIN t b"
    for sql, seconds, parts in (
        (joined, 60, ("ends the process", "memory")),
        ("SELECT " + "1+" * 9_900 + "1 AS value FROM t", 60, ("ends the process", "nested")),
        ("SELECT unit AS value FROM t", 0, ("longer than 0 s",)),
    ):
        queries = Queries({"t": tmp_path / "t.parquet"}, seconds, memory=4 * 1024**3)
        with queries as query:
            with refused("here: ", *parts):
                query(sql, {"t": "t"}, MODEL, "here")
            if seconds:
                assert query("SELECT MAX(unit) AS m FROM t", {"t": "t"}, MODEL, "").item() > 0


def test_a_query_in_a_process_of_its_own_gives_what_it_gives_here(tmp_path):
    table = pl.DataFrame({"unit": ["a", "b", None], "value": [1.0, None, 2.0]})
    table.write_parquet(tmp_path / "t.parquet")
    with Queries({"t": tmp_path / "t.parquet"}) as query:
        for sql in ("SELECT * FROM t", "SELECT t.value, m.* FROM t CROSS JOIN model m"):
            expected = run_sql(sql, {"t": table, "model": MODEL}, "here")
            assert query(sql, {"t": "t"}, MODEL, "here").equals(expected)
        with pytest.raises(TokentrailsError, match="here: the formula does not run"):
            query("SELECT nothing FROM t", {"t": "t"}, MODEL, "here")


# --- verdicts ------------------------------------------------------------------------------------

ABOVE, BELOW = Target(above=1.0), Target(below=1.0)
NEAR = Target(value=0.5, tolerance=0.01)
NONE = Estimate(reason="no table")


def normal(mean, error, seed=0, units=50):
    """An estimate with so large a standard error."""
    draws = mean + error * np.random.default_rng(seed).standard_normal(20_000)
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(mean, low, high, units, units, units, draws)


OVER, UNDER, ACROSS = normal(2, 0.2, 1), normal(0, 0.2, 2), normal(1, 0.2, 3)
SAME = Estimate(1, 1, 1, 9, 9, 9, np.ones(20_000))
FEW = Estimate(2, n=9, units=4, fewest=4)


def judged(target, published, corrected, holm=1.0, holm_published=1.0):
    """The verdict, with each p multiplied by what Holm's correction may make of it."""
    forms = corrected if isinstance(corrected, dict) else {"": corrected}
    p, p_published = p_value(target, forms), p_as_published(target, published, forms)
    p = None if p is None else min(1.0, p * holm)
    p_published = None if p_published is None else min(1.0, p_published * holm_published)
    return verdict(target, published, forms, p=p, p_published=p_published, alpha=0.05)


@pytest.mark.parametrize(
    ("target", "published", "corrected", "expected"),
    [
        (ABOVE, OVER, OVER, HOLDS),
        (ABOVE, UNDER, OVER, HOLDS),
        (ABOVE, OVER, UNDER, AS_PUBLISHED),
        (ABOVE, OVER, ACROSS, AS_PUBLISHED),
        # One is significant and the other is not, but they do not differ.
        (ABOVE, normal(1.5, 0.2, 4), normal(1.3, 0.2, 5), UNDECIDED),
        (ABOVE, Estimate(2, n=4, units=4, fewest=4), UNDER, FAILS),
        (ABOVE, UNDER, UNDER, FAILS),
        (ABOVE, ACROSS, UNDER, FAILS),
        (ABOVE, ACROSS, ACROSS, UNDECIDED),
        (ABOVE, NONE, UNDER, FAILS),
        (ABOVE, OVER, NONE, UNTESTABLE),
        (ABOVE, OVER, Estimate(2, n=3, units=1, fewest=1), UNTESTABLE),
        (ABOVE, OVER, Estimate(2, n=9, units=4, fewest=4), UNTESTABLE),
        (BELOW, UNDER, UNDER, HOLDS),
        (BELOW, UNDER, OVER, AS_PUBLISHED),
        (BELOW, OVER, OVER, FAILS),
        (ABOVE, SAME, SAME, UNDECIDED),  # at the threshold it speaks for neither side
        # Values: one text has the number that it has; of several, the interval counts.
        (NEAR, Estimate(0.509, n=1, units=1), Estimate(0.509, n=1, units=1), HOLDS),
        (NEAR, Estimate(0.509, n=1, units=1), Estimate(0.6, n=1, units=1), AS_PUBLISHED),
        (NEAR, Estimate(0.6, n=1, units=1), Estimate(0.48, n=1, units=1), FAILS),
        (NEAR, NONE, Estimate(0.5, n=4, units=4, fewest=4), UNTESTABLE),
        (NEAR, normal(0.5, 0.003), normal(0.5, 0.003), HOLDS),
        (NEAR, normal(0.5, 0.01), normal(0.5, 0.01), UNDECIDED),
        (NEAR, normal(0.5, 0.003), normal(0.6, 0.003), AS_PUBLISHED),
        (NEAR, normal(0.6, 0.003), normal(0.6, 0.003), FAILS),
    ],
)
def test_verdicts(target, published, corrected, expected):
    assert judged(target, published, corrected)[0] == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (0.0, UNDECIDED),
        (1e-12, UNDECIDED),  # sums in another order
        (normal(0, 1e-3, 8).draws, UNDECIDED),
        (normal(0.7, 0.1, 8).draws, AS_PUBLISHED),
        (normal(-0.7, 0.1, 8).draws, HOLDS),
    ],
    ids=["the same", "the same to a last bit", "nearly the same", "less", "more"],
)
def test_a_claim_holds_only_as_published_where_the_two_ways_differ(change, expected):
    """Of the same number twice, Holm's correction may leave one clear and the other not."""
    published = normal(1.5, 0.2, 7)
    corrected = replace(published, draws=published.draws - change)
    open_among_many = 1.0 if expected == HOLDS else 50.0
    assert judged(ABOVE, published, corrected, holm=open_among_many)[0] == expected
    mirrored = [replace(found, draws=2 - found.draws) for found in (published, corrected)]
    assert judged(BELOW, *mirrored, holm=open_among_many)[0] == expected


def test_what_holds_only_as_published_is_corrected_for_all_of_the_run_too(tmp_path):
    assert judged(ABOVE, OVER, UNDER)[0] == AS_PUBLISHED
    assert judged(ABOVE, OVER, UNDER, holm_published=1000)[0] == FAILS
    assert judged(ABOVE, OVER, ACROSS, holm_published=1000)[0] == UNDECIDED
    corrected = UNITS.replace("- 0.3", "- 0.6")
    claim = {"as_published": UNITS.replace("0.3", "0.48"), "corrected": corrected}
    one = claim | {"correction": "c"}
    without = {"as_published": UNITS}  # is no test of this
    table, (alone, other), *_ = evaluated(tmp_path, one, without)
    assert other.p_as_published is None and 0.001 < alone.p_as_published < 0.05
    assert table["p_holm_as_published"].to_pylist() == [alone.p_as_published, None]
    models = [f"m{i}" for i in range(1 + int(0.05 / alone.p_as_published))]
    found = {
        n: [row["verdict"] for row in evaluated(tmp_path, one, models=models[:n])[0].to_pylist()]
        for n in (1, len(models))
    }
    assert set(found[1]) == {AS_PUBLISHED} and AS_PUBLISHED not in found[len(models)]


@pytest.mark.parametrize("sign", [1, -1])
def test_draws_at_a_threshold_lie_on_the_wrong_side_of_both(sign):
    """One value of many that differs from the threshold is no evidence for its side."""
    values = [0.0] * 23 + [sign * 0.1]
    found = number({"unit": [f"u{i}" for i in range(24)], "value": values})
    said = evidence(Target(above=0.0), found)
    assert min(said.favour, said.against) > 0.2


@pytest.mark.parametrize(
    ("forms", "expected", "reason"),
    [
        ((OVER,) * 5, HOLDS, ""),
        ((UNDER,) * 5, FAILS, ""),
        ((OVER, OVER, OVER, OVER, ACROSS), UNDECIDED, "reaches over 1 by standardised"),
        ((OVER, UNDER, OVER, UNDER, ACROSS), UNDECIDED, "matched for it, scaled, centred against"),
        ((OVER, NONE, OVER, OVER, OVER), UNTESTABLE, "no table"),
        ((OVER, OVER, OVER, OVER, FEW), UNTESTABLE, "takes 5 units; here 4"),
        ((FEW, UNDER, UNDER, UNDER, UNDER), UNTESTABLE, "takes 5 units; here 4"),
    ],
)
def test_a_direction_holds_where_all_forms_agree(forms, expected, reason):
    found, why = judged(ABOVE, UNDER, dict(zip(SOUND, forms, strict=True)))
    assert found == expected and reason in why


def parted(**forms):
    """Numbers by form; the part of the statement is the letter behind the form's name."""
    return {name: replace(found, part=name[-1]) for name, found in forms.items()}


@pytest.mark.parametrize(
    ("forms", "expected", "reason", "shown"),
    [
        (parted(raw_a=OVER, scaled_a=OVER, raw_b=OVER, scaled_b=OVER), HOLDS, "", "raw_a"),
        # One part is enough to be false in, and it takes all of its forms.
        (parted(raw_a=OVER, scaled_a=OVER, raw_b=UNDER, scaled_b=UNDER), FAILS, "", "raw_b"),
        (parted(raw_a=ACROSS, scaled_a=OVER, raw_b=UNDER, scaled_b=UNDER), FAILS, "", "raw_b"),
        (parted(raw_a=OVER, scaled_a=UNDER, raw_b=UNDER, scaled_b=UNDER), FAILS, "", "raw_b"),
        (
            parted(raw_a=OVER, scaled_a=OVER, raw_b=OVER, scaled_b=UNDER),
            UNDECIDED,
            "not all ways agree: raw_b for it, scaled_b against",
            "scaled_b",
        ),
        (
            parted(raw_a=OVER, scaled_a=OVER, raw_b=ACROSS, scaled_b=UNDER),
            UNDECIDED,
            "the interval reaches over 1 by raw_b",
            "scaled_b",
        ),
        # p = 0.037 alone, and 0.073 as one of two.
        (
            parted(raw_a=OVER, raw_b=normal(0.57, 0.2, 7)),
            UNDECIDED,
            "b is against it, but not clear as one of 2 parts",
            "raw_b",
        ),
        (parted(raw_a=OVER, raw_b=NONE), UNTESTABLE, "no table", "raw_a"),
        (parted(raw_a=OVER, raw_b=FEW), UNTESTABLE, "takes 5 units; here 4", "raw_a"),
        (parted(raw_b=FEW, raw_a=OVER), UNTESTABLE, "takes 5 units; here 4", "raw_a"),
        (parted(raw_b=FEW, raw_a=UNDER), UNTESTABLE, "here 4", "raw_a"),
    ],
)
def test_a_statement_of_parts_is_false_where_one_of_them_is(forms, expected, reason, shown):
    found, why = judged(ABOVE, UNDER, forms)
    assert found == expected and (reason in why if reason else why == "")
    assert (weakest(ABOVE, forms) or "raw_a") == shown
    below = {form: mirrored(each) for form, each in forms.items()}
    assert judged(BELOW, NONE, below)[0] == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"raw_a": 0.5, "raw_b": 0.5}, HOLDS),
        ({"raw_a": 0.5, "raw_b": 0.6}, FAILS),
        ({"raw_a": 0.5, "scaled_a": 0.6}, UNDECIDED),
        ({"raw_a": 0.5, "scaled_a": 0.6, "raw_b": 0.4}, FAILS),
        ({"raw_a": 0.5, "raw_b": None}, UNTESTABLE),
    ],
)
def test_of_one_text_all_forms_and_parts_count_in_any_order(texts, expected):
    """One that is sampled is no company for one text: its p is corrected, and that has none."""
    exact = {
        form: normal(0.5, 1e-3) if value is None else Estimate(value, n=1, units=1, fewest=1)
        for form, value in texts.items()
    }
    forms = parted(**exact)
    for each in (forms, dict(reversed(forms.items()))):
        assert judged(NEAR, NONE, each)[0] == expected and p_value(NEAR, each) is None
        before = AS_PUBLISHED if expected in (FAILS, UNDECIDED) else expected
        assert judged(NEAR, Estimate(0.5, n=1, units=1, fewest=1), each)[0] == before
        if expected == FAILS:
            assert weakest(NEAR, each) == "raw_b"


def mirrored(found):
    """The number on the other side of 1."""
    if found.value is None:
        return found
    if not found.has_interval:
        return replace(found, value=2 - found.value)
    low, high = 2 - found.high, 2 - found.low
    return replace(found, value=2 - found.value, low=low, high=high, draws=2 - found.draws)


def test_p_of_parts_is_that_of_all_for_it_and_of_one_against_it():
    forms = parted(raw_a=normal(1.3, 0.2, 1), raw_b=normal(0.5, 0.2, 2), scaled_b=ACROSS)
    said = {form: evidence(ABOVE, found) for form, found in forms.items()}
    against = 2 * min(said["raw_a"].against, max(said["raw_b"].against, said["scaled_b"].against))
    favour = max(each.favour for each in said.values())
    assert p_value(ABOVE, forms) == pytest.approx(min(1, 2 * favour, 2 * against))
    # A contradiction by one part is open among many like any other.
    refuted = parted(raw_a=OVER, raw_b=normal(0.35, 0.2, 2))
    verdict_of_many, why = judged(ABOVE, UNDER, refuted, holm=50)
    assert verdict_of_many == UNDECIDED and why.startswith("clear alone, but not among all claims")
    assert p_value(ABOVE, parted(a=UNDER, b=UNDER)) == pytest.approx(
        2 * p_value(ABOVE, {"": UNDER})
    )
    assert attainable_p(parted(a=UNDER, b=UNDER)) == attainable_p({"": UNDER})


def test_the_form_that_is_shown_is_the_one_that_says_least():
    weak = normal(1.5, 0.2, 6)
    assert weakest(ABOVE, {"cosine": OVER, "scaled": weak}) == "scaled"
    assert weakest(BELOW, {"cosine": OVER, "scaled": weak}) == "scaled"
    assert weakest(ABOVE, {"cosine": OVER, "scaled": NONE}) is None
    assert p_value(ABOVE, {"cosine": OVER, "scaled": weak}) == p_value(ABOVE, {"": weak})


@pytest.mark.parametrize(
    ("target", "nearest"),
    [(ABOVE, 5), (BELOW, 5), (Target(value=0, tolerance=9), 7), (Target(value=9, tolerance=1), 7)],
    ids=str,
)
def test_of_forms_with_the_same_p_the_one_nearest_to_the_other_side_is_shown(target, nearest):
    found = {f"at {mean}": normal(mean, 0.1) for mean in (5, 6, 7)}
    assert len({p_value(target, {"": each}) for each in found.values()}) == 1
    assert weakest(target, found) == f"at {nearest}"
    assert weakest(target, dict(reversed(found.items()))) == f"at {nearest}"


def test_reasons_say_what_is_lacking():
    assert judged(ABOVE, OVER, NONE)[1] == "no table; as published it holds"
    assert judged(ABOVE, ACROSS, ACROSS)[1] == "the interval reaches over 1"
    assert judged(NEAR, ACROSS, normal(0.5, 0.01))[1].endswith("over an end of the tolerance")
    assert "takes 5 units; here 4" in judged(ABOVE, OVER, FEW)[1]


def test_what_is_clear_alone_may_be_undecided_among_many():
    found = normal(1.5, 0.2, 7)  # p = 0.013
    assert judged(ABOVE, UNDER, found)[0] == HOLDS
    verdict_of_many, why = judged(ABOVE, UNDER, found, holm=10)
    assert verdict_of_many == UNDECIDED and why.endswith("after Holm)")
    why = judged(ABOVE, UNDER, OVER, holm=1e4)[1]
    assert f"more than {len(OVER.draws):,} resamples (statistics.bootstrap)" in why


def test_another_model_than_the_studys_replicates_it_or_not(tmp_path):
    assert worded(FAILS, elsewhere=True) == "not replicated" and worded(FAILS, elsewhere=False)
    path = claims_file(tmp_path, {}, studies={"S": ["m"]})
    file = load_claims(path, TABLES)
    assert [file.elsewhere(file.claims[0], name) for name in ("m", "n")] == [False, True]
    assert not load_claims(claims_file(tmp_path, {}), TABLES).elsewhere(file.claims[0], "n")


def test_models_that_a_claim_is_not_about():
    about = {claim.id: claim.applies_to for claim in SHIPPED.claims}
    encoder = model_table("e", "main", 1, {"architecture": "bert"})
    assert "decoders" in unfit(about["anti-alignment"], encoder)
    assert unfit(about["anti-alignment"], MODEL) == ""
    assert unfit(about["single-tokens-first"], MODEL) == "the model has one checkpoint"
    assert all(each.replicates for each in about.values() if each.several_checkpoints)
    assert MODEL.row(0, named=True)["positions"] == "learned"


# --- the table, the page and the numbers ---------------------------------------------------------

NASTY = "</style><script>alert(1)</script>&\"'"


def claims_file(tmp_path, *claims, **more):
    entries = [
        {
            "id": f"claim-{i}",
            "study": "S",
            "source": "p. 1",
            "statement": "It is so.",
            "measure": "cosine",
            "claimed": {"above": 0.0},
            "tables": {"identity": "*/identity"},
            "as_published": "SELECT label AS unit, cosine AS value FROM identity",
            **claim,
        }
        for i, claim in enumerate(claims)
    ]
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"claims": entries, **more}, allow_unicode=True))
    return path


def evaluated(tmp_path, *claims, models=("m",), **more):
    file = load_claims(claims_file(tmp_path, *claims, **more), TABLES)
    run = run_with([(claim.id, claim.tables) for claim in file.claims], models)
    found = measured_claims(file.claims, run, BOOTSTRAP)
    run.refuse()
    return claims_table(found, run, 0.95, provenance={"x": "y"}), found, file, run


def page(tmp_path, *claims, **more):
    table, found, file, _ = evaluated(tmp_path, *claims, **more)
    return claims_page(table, forms_table(found, provenance={}), file, 0.95)


def test_every_claim_has_a_row_even_without_a_model(tmp_path):
    table, *_ = evaluated(tmp_path, {}, {"applies_to": {"models": ["nobody"]}}, models=("m", "n"))
    rows = table.to_pylist()
    assert [(r["claim"], r["model"]) for r in rows] == [
        ("claim-0", "m"),
        ("claim-0", "n"),
        ("claim-1", None),
    ]
    assert rows[2]["verdict"] == UNTESTABLE and "nobody" in rows[2]["reason"]
    first = ["claim", "study", "statement", "statement_is", "published_value"]
    values = ["value_as_published", "value_corrected", "ci_low", "ci_high", *CONTROL, "verdict"]
    assert table.column_names[:13] == [*first, *values]


def test_a_column_that_a_setting_fills_is_said_to_be_without_it(tmp_path):
    own = "SELECT label AS unit, NULLIF(rank_as_published, rank_as_published) AS value FROM ranks"
    claim = {"tables": {"ranks": ["a/ranks"]}, "as_published": own}
    for sql, said in ((own, True), (own.replace("_as_published", ""), False)):
        (row,) = evaluated(tmp_path, claim | {"as_published": sql})[0].to_pylist()
        assert row["verdict"] == UNTESTABLE and "the value is null in all" in row["reason"]
        assert ("without `as_published: true` in its experiment" in row["reason"]) == said


@pytest.mark.parametrize(
    "sql, said",
    [
        ("cosine - 0.3 AS value FROM identity", "cosine"),
        ("adjusted + 2 AS value FROM identity WHERE centred > 0", "adjusted and centred"),
        ("layer + 1.0 AS value, i.cosine AS rank FROM identity AS i", "cosine"),
        ("layer + 1.0 AS value FROM identity", ""),
    ],
)
def test_a_direction_of_some_forms_alone_is_said_to_be_of_them(tmp_path, sql, said):
    """On the row, and so on both pages: it may be the form's and not the model's."""
    own = {"as_published": f"SELECT CONCAT(label, layer, site) AS unit, {sql}"}
    for claim in (own, FORMS_OF | {"corrected": own["as_published"]}):
        table, _, file, _ = evaluated(tmp_path, claim)
        (row,) = table.to_pylist()
        assert row["verdict"] == HOLDS
        note = f"of {said} alone: no other form of similarity was looked at" if said else None
        assert row["reason"] == note
        pages = page(tmp_path, claim), findings_page(table, file, 0.95)
        assert [text.count("no other form") for text in pages] == [bool(said)] * 2
    for claim in (FORMS_OF, own | {"claimed": {"value": 1.0, "tolerance": 9.0}}):
        (row,) = evaluated(tmp_path, claim)[0].to_pylist()
        assert row["verdict"] == HOLDS and "alone" not in (row["reason"] or "")


# Enough units for an interval: those of `ranks` are two texts, those of `identity` four.
UNITS = "SELECT CONCAT(label, layer, site) AS unit, cosine - 0.3 AS value FROM identity"
FORMS_OF = {
    "as_published": UNITS,
    "corrected": "SELECT CONCAT(label, layer, site) AS unit, {form} - 0.3 AS value FROM identity",
    "correction": "c",
}


def test_a_corrected_formula_is_run_in_every_form_and_variant(tmp_path):
    variants = {"all": "0", "late": "6"}
    sql = FORMS_OF["corrected"] + " WHERE layer >= {variant}"
    claim = FORMS_OF | {"corrected": sql, "variants": variants}
    table, found, *_ = evaluated(tmp_path, claim)
    forms = forms_table(found, provenance={}).to_pylist()
    assert [row["form"] for row in forms] == [f"{f}, {v}" for f in SOUND for v in variants]
    identity = TABLES["identity"]
    for row in forms:
        form, variant = row["form"].split(", ")
        here = identity.filter(pl.col("layer") >= int(variants[variant]))[form]
        assert row["value"] == pytest.approx(here.mean() - 0.3)
    (shown,) = (row for row in forms if row["shown"])
    (row,) = table.to_pylist()
    assert (shown["form"], shown["value"]) == (row["form"], row["value_corrected"])
    assert row["p"] == pytest.approx(2 * max(form["favour"] for form in forms))
    assert row["verdict"] == HOLDS


def test_a_corrected_formula_is_run_for_every_part(tmp_path):
    """All values are above 0.1 and below 0.9, so that one of two parts is false."""
    sql = FORMS_OF["corrected"].replace("- 0.3", "{part}") + " WHERE layer >= {variant}"
    parts, variants = {"above": "- 0.1", "far above": "- 0.9"}, {"all": "0", "late": "6"}
    table, found, *_ = evaluated(
        tmp_path, FORMS_OF | {"corrected": sql, "parts": parts, "variants": variants}
    )
    forms = forms_table(found, provenance={}).to_pylist()
    named = [f"{f}, {p}, {v}" for p in parts for f in SOUND for v in variants]
    assert [row["form"] for row in forms] == named
    assert [row["part"] for row in forms] == [part for part in parts for _ in range(10)]
    (row,) = table.to_pylist()
    assert row["verdict"] == AS_PUBLISHED and ", far above, " in row["form"]
    against = max(form["against"] for form in forms if form["part"] == "far above")
    assert row["p"] == pytest.approx(2 * 2 * against)
    without = evaluated(tmp_path, FORMS_OF)[1]
    assert set(forms_table(without, provenance={})["part"].to_pylist()) == {None}


@pytest.mark.parametrize("key", ["part", "variant"])
@pytest.mark.parametrize("other", ["cosine", "other"])
def test_a_name_like_that_of_a_form_is_a_name(tmp_path, key, other):
    """`matched` is left out where it has fewer units than `cosine`; only forms of similarity."""
    pieces = {"matched": "layer > 5", other: "layer >= 0"}
    sql = UNITS + f" WHERE {{{key}}}"
    claim = {"corrected": sql, "correction": "c", f"{key}s": pieces, "as_published": UNITS}
    _, found, *_ = evaluated(tmp_path, claim)
    assert {*found[0].corrected} == {"matched", other}


def test_what_stands_in_for_a_table_of_any_part_is_said(tmp_path):
    sql = UNITS + " WHERE layer >= {part}"
    parts = {"all": "0", "more": "(SELECT MIN(layer) FROM few)"}
    tables = {"identity": "*/identity", "few": ["a/identity", "*/identity"]}
    claim = {"as_published": UNITS, "corrected": sql, "correction": "c"}
    file = load_claims(claims_file(tmp_path, claim | {"parts": parts, "tables": tables}), TABLES)
    run = run_with([(each.id, each.tables) for each in file.claims])
    run.sources["claim-0"]["m"]["few"] = Source(
        "identity", "b/identity: this run has no a/identity"
    )
    found = measured_claims(file.claims, run, BOOTSTRAP)
    run.refuse()
    (row,) = claims_table(found, run, 0.95, provenance={}).to_pylist()
    alone = "of cosine alone: no other form of similarity was looked at"
    assert row["reason"] == f"{alone}; corrected, of b/identity: this run has no a/identity"


def test_units_are_called_what_they_are_in_the_part_that_is_shown(tmp_path):
    parts = {"far above": "label AS unit, layer", "below": "word AS unit, -layer"}
    sql = "SELECT {part} + 0.5 * position AS value FROM whole"
    claim = {"corrected": sql, "correction": "c", "parts": parts, "tables": {"whole": "*/whole"}}
    claim["as_published"] = sql.replace("{part}", "label AS unit, layer")
    file = load_claims(claims_file(tmp_path, claim), {*TABLES, "whole"})
    run = run_with([(each.id, each.tables) for each in file.claims])
    whole = grid(label=[f"t{i}" for i in range(9)], position=[0, 1]).with_columns(
        word="label", layer=3 + pl.col("label").hash(1) % 2
    )
    run = replace(run, query=lambda sql, *_: run_sql(sql, {"whole": whole}, ""))
    found = measured_claims(file.claims, run, BOOTSTRAP)
    run.refuse()
    (row,) = claims_table(found, run, 0.95, provenance={}).to_pylist()
    assert (row["form"], row["unit"]) == ("below", "word")


def with_draws(run, *frames):
    """The same run, and draws of a control of the model m, each with its own table identity."""
    planted = {f"draw{index}": frame for index, frame in enumerate(frames)}

    def query(sql, paths, model, where):
        if (path := paths.get("identity")) in planted:
            assert model["name"].item() == "r"
            return run_sql(sql, {"identity": planted[path], "model": model}, where)
        return run.query(sql, paths, model, where)

    draws = {claim: {"m": [("r", {"identity": name}) for name in planted]} for claim in run.sources}
    models = {**run.models, "r": MODEL.with_columns(name=pl.lit("r"))}
    return replace(run, query=query, draws=draws, models=models)


CONTROL = ["control", "control_low", "control_high"]


def beside(tmp_path, *frames, claim=FORMS_OF):
    """The row of a claim with draws of a control; and the pages, and the numbers."""
    alone, _, file, run = evaluated(tmp_path, claim)
    run = with_draws(run, *frames)
    found = measured_claims(file.claims, run, BOOTSTRAP)
    run.refuse()
    table = claims_table(found, run, 0.95, provenance={"x": "y"})
    of_control = [*CONTROL, "control_reason"]  # which decides nothing
    assert table.drop_columns(of_control).equals(alone.drop_columns(of_control))
    assert set(alone["control"].to_pylist()) == {None}
    pages = claims_page(table, forms_table(found, provenance={}), file, 0.95)
    pages += findings_page(table, file, 0.95)
    (row,) = table.to_pylist()
    kept = json.loads(numbers(table, [], run))["claims"][row["claim"]]["m"]
    assert [kept[key] for key in CONTROL] == [row[key] and round(row[key], 6) for key in CONTROL]
    return row, pages


def test_a_verdict_stands_beside_the_number_of_random_weights_in_the_same_form(tmp_path):
    """A control that is equal has the same number and interval."""
    identity = TABLES["identity"]
    row, pages = beside(tmp_path, identity)
    same = ("value_corrected", "ci_low", "ci_high")
    assert [row[key] for key in CONTROL] == [row[key] for key in same]
    said = "random weights: {:.3f} [{:.3f}, {:.3f}]".format(*(row[key] for key in CONTROL))
    assert pages.count(said.replace("-", "−")) == 2
    # Every form and variant another number: that of the one that is shown.
    variants = {"high": "0", "low": "0.17"}
    claim = FORMS_OF | {"corrected": FORMS_OF["corrected"].replace("-", "- {variant} -")}
    others = {form: 0.5 + i / 10 + 0.01 * pl.col(form) for i, form in enumerate(SOUND)}
    planted = identity.with_columns(**others)
    row, _ = beside(tmp_path, planted, claim=claim | {"variants": variants})
    form, variant = row["form"].split(", ")
    assert variant == "low"
    assert row["control"] == pytest.approx(planted[form].mean() - 0.47)
    assert row["control_low"] < row["control"] < row["control_high"]


def test_the_number_of_several_draws_is_their_mean_with_an_interval_over_draws(tmp_path):
    def draws(n):
        return [TABLES["identity"].with_columns(pl.col(SOUND) + i / 100) for i in range(n)]

    row, pages = beside(tmp_path, *draws(2))
    expected = row["value_corrected"] + 0.005
    assert [row[key] for key in CONTROL] == [pytest.approx(expected), None, None]
    assert pages.count(f"random weights: {expected:.3f}".replace("-", "−")) == 2
    row, _ = beside(tmp_path, *draws(5))
    shifts = [0, 0.01, 0.02, 0.03, 0.04]
    half = 2.776445 * np.std(shifts, ddof=1) / np.sqrt(5)  # Student's t of 4 degrees of freedom
    center = row["value_corrected"] + 0.02
    assert [row[key] for key in CONTROL] == pytest.approx([center, center - half, center + half])


def test_a_control_without_a_value_or_beside_none_is_null(tmp_path):
    identity = TABLES["identity"]
    nothing = {"as_published": "SELECT label AS unit, NULL AS value FROM identity"}
    row, pages = beside(tmp_path, identity, claim=nothing)
    assert [row[key] for key in CONTROL] == [None] * 3 and "random weights:" not in pages
    of_encoders = FORMS_OF | {"applies_to": {"kind": "encoder"}}
    row, _ = beside(tmp_path, identity, claim=of_encoders)
    assert row["verdict"] == UNTESTABLE and row["control"] is None
    own = {"as_published": UNITS}
    row, pages = beside(tmp_path, identity.with_columns(cosine=pl.lit(None, pl.Float64)), claim=own)
    assert row["control"] is None and "random weights:" not in pages
    reason = f"random weights give no number (the value is null in all {len(identity)} rows)"
    assert row["control_reason"] == reason and pages.count(reason) == 2
    assert "no random weights to compare with" not in pages
    row, pages = beside(tmp_path, identity, claim=own)  # nothing was wrong, and it has no form
    assert row["control"] == row["value_as_published"] == row["value_corrected"]


def test_the_control_of_a_set_is_that_of_all_its_models(tmp_path):
    on_training = {"applies_to": {"several_checkpoints": True}, "as_published": UNITS}
    file = load_claims(claims_file(tmp_path, on_training), TABLES)
    run = run_with([(claim.id, claim.tables) for claim in file.claims], ("m", "n"))
    run = with_draws(run, TABLES["identity"])
    two = pl.lit(2).alias("checkpoints")
    models = {name: table.with_columns(two) for name, table in run.models.items()}
    run = replace(run, models=models, replicates={"set": ("m", "n")})
    (of_set,) = measured_claims(file.claims, run, BOOTSTRAP)
    assert of_set.model == "set"
    assert of_set.control.value == pytest.approx(of_set.corrected[""].value)
    # Each of its models counts once, however many draws it has.
    draws = {name: [("r", {"identity": "draw0"})] * n for name, n in (("m", 3), ("n", 1))}
    draws["n"] = [("n", {"identity": "other"})]
    other = TABLES["identity"].with_columns(pl.col("cosine") + 1)

    def query(sql, paths, model, where):
        if paths["identity"] == "other":
            return run_sql(sql, {"identity": other, "model": model}, where)
        return first(sql, paths, model, where)

    first, run = run.query, replace(run, draws={"claim-0": draws}, query=query)
    (of_set,) = measured_claims(file.claims, run, BOOTSTRAP)
    assert of_set.control.value == pytest.approx(of_set.corrected[""].value + 0.5)


def test_a_claim_on_training_is_tested_in_a_set_in_the_place_of_its_models(tmp_path):
    on_training = {"applies_to": {"several_checkpoints": True}}
    of_set = {"applies_to": {"several_checkpoints": True, "models": ["set"]}}
    file = load_claims(claims_file(tmp_path, {}, on_training, of_set), TABLES)
    run = run_with([(claim.id, claim.tables) for claim in file.claims], ("m", "n", "o"))
    models = dict.fromkeys("mno", MODEL.with_columns(checkpoints=pl.lit(2)))
    run = replace(run, models=models, replicates={"set": ("m", "n"), "other": ("m", "p")})
    alone, *_, of_o, of_set, named = found = measured_claims(file.claims, run, BOOTSTRAP)
    assert [(tested.claim.id, tested.model) for tested in found] == [
        *(("claim-0", name) for name in "mno"),
        *(("claim-1", name) for name in ("o", "set")),
        ("claim-2", "set"),
    ]
    assert of_set.published.value == named.published.value == pytest.approx(of_o.published.value)
    assert of_set.published.units == 2 and of_set.published.n == 2 * alone.published.n
    rows = claims_table(found, run, 0.95, provenance={}).to_pylist()
    assert "2" in rows[-1]["reason"] and rows[-1]["tables"] == "identity"


def test_one_training_does_not_test_what_is_said_of_trainings(tmp_path):
    """Whatever its words say; five of them do."""
    of_all = {"applies_to": {"replicates": True}, "as_published": UNITS}
    of_value = {"claimed": {"value": 0.2, "tolerance": 0.5}}
    file = load_claims(claims_file(tmp_path, of_all, of_all | FORMS_OF, of_all | of_value), TABLES)
    names = tuple("mnopqr")
    run = run_with([(claim.id, claim.tables) for claim in file.claims], names)
    run = replace(run, replicates={"set": names[1:]})
    found = measured_claims(file.claims, run, BOOTSTRAP)
    assert [tested.model for tested in found] == ["m", "set"] * 3
    rows = claims_table(found, run, 0.95, provenance={}).to_pylist()
    (words,) = evaluated(tmp_path, {"as_published": UNITS})[0].to_pylist()
    for row in rows[::2]:
        assert row["verdict"] == UNTESTABLE and "takes 5 trainings; here 1" in row["reason"]
        assert row["ci_low"] is row["p"] is None and row["unit"] == "training" and row["units"] == 1
    assert rows[0]["value_corrected"] == pytest.approx(words["value_corrected"])
    assert words["verdict"] == HOLDS and {row["units"] for row in rows[1::2]} == {5}


def test_holm_is_over_all_claims_and_models_of_a_run(tmp_path):
    claim = {"as_published": UNITS.replace("0.3", "0.47")}
    alone = evaluated(tmp_path, claim)[0].to_pylist()
    two = evaluated(tmp_path, claim, models=("m", "n"))[0].to_pylist()
    assert 0.001 < alone[0]["p"] == alone[0]["p_holm"] == two[0]["p"]
    assert two[0]["p_holm"] == pytest.approx(2 * two[0]["p"])
    nothing = {"as_published": "SELECT label AS unit, NULL AS value FROM identity"}
    with_one = evaluated(tmp_path, claim, nothing)[0].to_pylist()
    assert with_one[0]["p_holm"] == alone[0]["p"]  # what is not tested is no test


def findings(tmp_path, *claims, **more):
    table, _, file, _ = evaluated(tmp_path, *claims, **more)
    return findings_page(table, file, 0.95)


def test_findings_are_the_claims_that_are_decided_each_with_its_numbers(tmp_path):
    claims = (
        {"statement": "It holds.", "claimed": {"above": 0.0}},
        {"statement": "It does not.", "claimed": {"above": 2.0}},
        {"statement": "Nobody knows.", "claimed": {"above": 0.5}},
        {"statement": "Not here.", "applies_to": {"models": ["other"]}},
    )
    table, _, file, _ = evaluated(tmp_path, *claims)
    html = findings_page(table, file, 0.95)
    rows = table.to_pylist()
    verdicts = [row["verdict"] for row in rows]
    assert verdicts == ["holds", "does not hold", "undecided", "not testable here"]
    first, second = html.split("<section")[1:]
    for section, row, claimed in zip((first, second), rows, (0, 2), strict=False):
        number, low, high = (row[k] for k in ("value_corrected", "ci_low", "ci_high"))
        assert (
            f"Claimed: above {claimed}." in section and f">{row['verdict']}</span> in m" in section
        )
        assert f"{number:.3f} [{low:.3f}, {high:.3f}]".replace("-", "−") in section
    assert "<li>Nobody knows. Claimed: above 0.5.<ul>" in html and "Not here." not in html
    assert "the interval reaches over 0.5" in html
    sampled = f"{rows[0]['n']} values from {rows[0]['units']} texts"
    assert f"({sampled}; no random weights to compare with)" in first
    assert "The page of claims, claims.html," in html
    assert "4. With a verdict: 2.\nUndecided: 1. Lacking data: 1." in html


def test_the_page_of_claims_folds_statements_without_data(tmp_path):
    claims = ({"statement": "It holds."}, {"statement": "Gone.", "applies_to": {"models": ["x"]}})
    summary = "<summary>1 statement for which data are lacking</summary>"
    shown, folded = page(tmp_path, *claims).split(summary)
    assert "It holds." in shown and "Gone." not in shown
    assert "Gone." in folded.partition("</details>")[0]


@pytest.mark.parametrize(
    ("sql", "unit"),
    [
        ("SELECT label AS unit, cosine AS value FROM identity", "text"),
        (
            "WITH a AS (SELECT word, 1 AS unit FROM t) SELECT a.word AS unit, 2 AS value FROM a",
            "word",
        ),
        ("SELECT CONCAT(layer, '-', head) AS unit, 1 AS value FROM heads", "head"),
        ("SELECT a.last_token AS unit, a.cosine AS value FROM a JOIN b ON a.w = b.w", "last token"),
        ("SELECT label AS unit, r.token AS crossed, 1 AS value FROM r", "text × token"),
        ("SELECT label AS unit, site AS crossed, 1 AS value FROM r", None),
        ("SELECT site AS unit, cosine AS value FROM baseline", None),
        ("SELECT 1 AS unit, cosine AS value FROM baseline", None),
        ("SELECT * FROM t", None),
        ("SELECT label AS unit, 1 AS value FROM a UNION ALL SELECT label, 2 FROM b", "text"),
    ],
)
def test_a_formula_says_what_its_units_are(sql, unit):
    assert unit_of(sql) == unit


def test_every_claim_of_several_units_says_what_they_are():
    claims = SHIPPED.claims
    silent = [
        claim.id
        for claim in claims
        for sql in claim.corrected_formulas().values()
        if not unit_of(sql)
    ]
    assert all(name.startswith("ethayarajh-") for name in silent), silent


@pytest.mark.parametrize(
    ("n", "units", "unit", "words"),
    [
        (90, 8, "text", "90 values from 8 texts"),
        (1200, 1200, "word", "1,200 words"),
        (1, 1, "text", "1 text"),
        (1, 1, None, "1 value"),
        (7, 3, None, "7 values from 3 units"),
        (947, 74, "text × token", "947 values from 74 texts, crossed with tokens"),
        (None, None, None, ""),
        (0, 0, "text", ""),
    ],
)
def test_a_sample_is_told_with_its_noun(n, units, unit, words):
    assert sample({"n": n, "units": units, "unit": unit}) == words


def test_findings_say_where_another_table_stands_in(tmp_path):
    table, _, file, run = evaluated(tmp_path, FORMS_OF)
    assert "Of the tables of first choice" not in findings_page(table, file, 0.95)
    run.sources["claim-0"]["m"]["identity"] = Source(
        "identity", "drift/identity: this run has no a/b"
    )
    found = measured_claims(file.claims, run, BOOTSTRAP)
    html = findings_page(claims_table(found, run, 0.95, provenance={}), file, 0.95)
    for way in ("as published", "corrected"):
        assert f"{way}, of drift/identity: this run has no a/b" in html
    assert "Of the tables of first choice" in html


@pytest.mark.parametrize(("models", "too_few"), [("m", 0), ("mno", 3), ("mnopq", 5)])
def test_findings_say_how_many_claims_so_few_units_could_not_have_decided(
    tmp_path, models, too_few
):
    """Five units give no p below 0.019: two are decided together, and three or more are not."""
    few = {"as_published": "SELECT layer AS unit, cosine AS value FROM identity WHERE layer < 5"}
    table, _, file, _ = evaluated(tmp_path, few, models=tuple(models))
    rows = table.to_pylist()
    assert sum("5 units could not have" in (row["reason"] or "") for row in rows) == too_few
    html = findings_page(table, file, 0.95)
    assert (f"{too_few} could not have been decided with so few units" in html) == bool(too_few)
    many = {"as_published": UNITS, "claimed": {"above": 0.226}}
    (row,) = evaluated(tmp_path, many)[0].to_pylist()
    assert row["verdict"] == UNDECIDED and "could not have" not in row["reason"]


def test_studies_of_models_of_the_run_come_first(tmp_path):
    claims = ({"study": "Theirs"}, {"study": "Ours"}, {"study": "Anybody's"})
    studies = {"Theirs": ["other"], "Ours": ["m"]}
    for html in (
        page(tmp_path, *claims, studies=studies),
        findings(tmp_path, *claims, studies=studies),
    ):
        headings = re.findall("<h2>(.+?)</h2>", html)
        assert headings == ["Ours", escape("Anybody's"), "Theirs"]


def test_the_page_shows_every_form_and_says_where_a_claim_is_replicated(tmp_path):
    html = page(tmp_path, FORMS_OF | {"statement_is": "reading"}, studies={"S": ["other"]})
    assert html.count("<svg class='forms'") == 1 and html.count("<circle") == len(SOUND)
    assert "'>replicated</span>" in html and "read from its tables" in html


def test_untrusted_text_stays_text(tmp_path):
    claim = {key: NASTY for key in ("study", "statement", "source", "measure")}
    claim |= {"as_published": f"SELECT label AS unit, cosine AS value FROM identity -- {NASTY}"}
    decided = claim | {"correction": NASTY, "corrected": claim["as_published"]}
    for html in (
        page(tmp_path, claim, studies={NASTY: [NASTY]}),
        findings(tmp_path, decided, studies={NASTY: [NASTY]}),
    ):
        assert "<script" not in html and html.count("</style>") == 1
        assert escape(" ".join(NASTY.split())) in html
        html = html.replace('<a href="claims.html">', "")  # the page beside it
        assert not re.search(r"<[^>]*(src|href)=", html)  # nothing is fetched
    table, *_ = evaluated(tmp_path, {"statement": "=1+1"})
    write_table(table, tmp_path / "c.parquet", tmp_path / "c.csv")
    assert "'=1+1" in (tmp_path / "c.csv").read_text()


def test_the_same_bytes_every_time(tmp_path):
    made = []
    for name in ("a", "b"):
        table, found, file, run = evaluated(tmp_path, {}, FORMS_OF | {"statistic": "median"})
        write_table(table, tmp_path / name)
        forms = forms_table(found, provenance={})
        text = claims_page(table, forms, file, 0.95) + numbers(table, file.numbers, run)
        made.append((tmp_path / name).read_bytes() + text.encode())
    assert made[0] == made[1]


def test_a_new_claim_moves_no_other_interval(tmp_path):
    claim = {"as_published": UNITS}
    alone = evaluated(tmp_path, claim)[0].to_pylist()
    together = evaluated(tmp_path, claim, claim)[0].to_pylist()
    for key in ("ci_low", "ci_high", "p"):
        assert alone[0][key] == together[0][key]
    assert together[0]["ci_low"] != together[1]["ci_low"]  # their draws are their own


def test_numbers_are_sorted_and_rounded(tmp_path):
    table, _, file, run = evaluated(tmp_path, {})
    text = numbers(table, file.numbers, run)
    data = json.loads(text)
    assert text == json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    value = data["claims"]["claim-0"]["m"]["value_corrected"]
    assert value == round(table["value_corrected"][0].as_py(), 6)


def quoted(tmp_path, sql, **more):
    """What a number says of the models m and n."""
    entry = {"name": "n", "meaning": "m", "tables": {"identity": "*/identity"}, "sql": sql} | more
    file = load_claims(claims_file(tmp_path, {}, numbers=[entry]), TABLES)
    run = run_with([("n", file.numbers[0].tables)], ("m", "n"))
    nothing = claims_table([], run, 0.95, provenance={})
    made = json.loads(numbers(nothing, file.numbers, run))["numbers"]["n"]
    run.refuse()
    return made


def test_a_number_may_have_many_values_each_with_its_key(tmp_path):
    sql = """SELECT layer AS key, COUNT(*) AS n, AVG(1.23456 + layer) AS value FROM identity
        WHERE layer < 2 GROUP BY layer"""
    made = quoted(tmp_path, sql, digits=2)
    rows = TABLES["identity"].filter(layer=1).height
    assert made["m"]["1"] == {"n": rows, "value": 2.23} and made["m"].keys() == {"0", "1"}
    assert made["n"] == made["m"]


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("SELECT MIN(layer) AS value FROM identity", 0),
        ("SELECT MIN(layer) AS a, MAX(layer) AS value FROM identity", {"a": 0, "value": DEPTH}),
        ("SELECT layer AS value FROM identity WHERE layer < 0", None),
        ("SELECT layer AS key, label FROM identity WHERE layer < 0", {}),
    ],
)
def test_a_number_of_one_row_is_its_value_or_its_columns(tmp_path, sql, value):
    assert quoted(tmp_path, sql) == {"m": value, "n": value}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT layer AS value FROM identity",
        "SELECT site AS key, layer AS value FROM identity",
    ],
)
def test_values_that_cannot_be_told_apart_are_refused(tmp_path, sql):
    with pytest.raises(TokentrailsError, match="give each its 'key'"):
        quoted(tmp_path, sql)


# --- what is wrong with a claims file ------------------------------------------------------------


PARTED = {"corrected": "SELECT {part} AS value FROM identity", "correction": "c"}


@pytest.mark.parametrize(
    ("claim", "parts"),
    [
        ({"tables": {"identity": "*/identiy"}}, ("identiy", "did you mean 'identity'")),
        ({"tables": {"model": "*/identity"}}, ("model",)),
        ({"tables": {"identity": "identity"}}, ("identity",)),
        ({"statment": "x"}, ("statment", "did you mean 'statement'")),
        *(
            (
                {"claimed": claimed},
                (
                    f"claims[0].claimed: {said}\nHint: give one of these and nothing else: ",
                    "'above'; 'below'; 'value' with 'tolerance'.",
                ),
            )
            for claimed, said in (
                ({"above": 0, "below": 1}, "'above' and 'below' are given together"),
                (
                    {"above": 0, "value": 1, "tolerance": 1},
                    "'above' and 'tolerance' and 'value' are given together",
                ),
                ({"value": 0}, "'value' is given"),
                ({}, "nothing is given"),
            )
        ),
        ({"as_published": "DROP TABLE identity"}, ("no query", "SELECT")),
        ({"as_published": "SELECT * FROM read_csv('x')"}, ("a file of its own",)),
        (
            {"as_published": "SELECT label AS unit, cosine AS value FROM identiy"},
            ("as_published: there is no table 'identiy'", "did you mean 'identity'"),
        ),
        (
            {"as_published": "WITH a AS (SELECT 1) SELECT * FROM a JOIN geometry USING (x)"},
            ("there is no table 'geometry'", "its tables are identity, model"),
        ),
        ({"corrected": "SELECT 1"}, ("go together",)),
        ({"as_published": "SELECT {form} AS value FROM identity"}, ("{form}", "one way")),
        ({"variants": {"a": "1"}}, ("variants", "go together")),
        ({"corrected": "SELECT {variant}", "correction": "c"}, ("variants", "go together")),
        ({"parts": {"a": "1", "b": "2"}}, ("parts", "go together")),
        ({"corrected": "SELECT {part}", "correction": "c"}, ("parts", "go together")),
        ({"as_published": "SELECT {part} AS value FROM identity"}, ("{part}", "one way")),
        ({"id": "Not an id"}, ("Not an id",)),
        *(
            (PARTED | {"parts": {name: "1", "other": "2"}}, ("claims[0].parts", why))
            for name, why in {
                "": "empty",
                " ": "not valid",
                "a, b": "has ','",
                "a\nb": "without a comma",
                1: "Put it in quotes",
                "a" * 41: "at most 40 characters",
            }.items()
        ),
        ({"tables": {1: "*/identity"}}, ("Put it in quotes",)),
        (PARTED | {"parts": {"a": "{part}"}}, ("corrected: {part} stands in a piece",)),
        (
            PARTED
            | {"parts": {"a": "{variant}"}, "variants": {"b": "{form}"}}
            | {"corrected": "SELECT {part} AS value, {variant} AS unit FROM identity"},
            ("corrected: {form} stands in a piece",),
        ),
    ],
)
def test_a_bad_claims_file_is_refused_in_one_message(tmp_path, claim, parts):
    with refused("claims.yaml, line ", *parts):
        load_claims(claims_file(tmp_path, claim), TABLES)


def test_all_formulas_that_fail_are_named_in_one_message(tmp_path):
    sql = "SELECT label AS unit, {} AS value FROM identity"
    bad = [{"as_published": sql.format(name)} for name in "ab"]
    entry = {"name": "n", "meaning": "m", "tables": {"identity": "*/identity"}}
    file = load_claims(
        claims_file(tmp_path, bad[0], {}, bad[1], numbers=[entry | {"sql": sql.format("c")}]),
        TABLES,
    )
    run = run_with([(each.id, each.tables) for each in file.claims], ("m", "n"))
    run.sources["n"] = run.sources["claim-1"]
    table = claims_table(measured_claims(file.claims, run, BOOTSTRAP), run, 0.95, provenance={})
    numbers(table, file.numbers, run)
    with pytest.raises(TokentrailsError, match="3 formulas of the claims file fail") as caught:
        run.refuse()
    lines = str(caught.value).splitlines()[1:]
    for line, where, name in zip(
        lines, ("(claim-0), as", "(claim-2), as", "(n)"), "abc", strict=False
    ):
        assert where in line and f'column "{name}"' in line and "Columns of identity: " in line
    assert len(lines) == 4 and "claim-1" not in str(caught.value)


def test_what_is_wrong_with_several_claims_is_said_at_once(tmp_path):
    bad = [{"as_published": "DROP TABLE identity"}, {}, {"tables": {"identity": "*/identiy"}}]
    with pytest.raises(TokentrailsError, match="2 claims or numbers are not") as caught:
        load_claims(claims_file(tmp_path, *bad), TABLES)
    parts = ("claims[0].as_published: the formula is no query", "claims[2].tables.identity: no an")
    assert all(part in str(caught.value) for part in parts)


def test_an_id_used_twice_is_refused(tmp_path):
    with pytest.raises(TokentrailsError, match="used 2 times"):
        load_claims(claims_file(tmp_path, {"id": "a"}, {"id": "a"}), TABLES)


def test_a_number_with_the_name_of_a_claim_is_refused(tmp_path):
    number = {"name": "claim-0", "meaning": "m", "tables": {"identity": "*/identity"}}
    number["sql"] = "SELECT 1 AS value FROM identity"
    with pytest.raises(TokentrailsError, match=r"numbers\[0\]\.name: a claim has the id 'claim-0'"):
        load_claims(claims_file(tmp_path, {}, numbers=[number]), TABLES)


def test_the_names_of_tables():
    assert Spec.parse("words/convergence") == Spec("words", "convergence", None)
    assert str(Spec.parse("*/perturbation@step64")) == "*/perturbation@step64"
