"""Pages of the manual that are written from the catalogue and the schemas: `make manual`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..catalogue import CATALOGUE, FIGURE_SUFFIXES, Analysis, Figure, Table
from ..files.atomic import write_text
from ..network.architectures import ARCHITECTURES, Architecture
from ..project import PROJECT
from . import captions
from .licences import licences
from .reference import reference

_PAGE = """# What the workflow makes

Written by `make manual` from `workflow/tokentrails/catalogue.py`; do not edit it by hand.
[Measures of your own](measure.md) come on top.

## Analyses

The entries of `analyses` in an experiment file. A target makes what belongs to one analysis alone,
as in `snakemake --cores 8 senses`.

{analyses}

## Analyses that use a GPU

Each in jobs of its own, which take a GPU where there is one. At most a job makes so many passes of
the model over all texts of the experiment, and for each occurrence so many products of a vector
with the vocabulary. [What it asks a cluster for](cluster.md#what-a-job-asks-for) follows from that.

{jobs}

## Tables

Each is a Parquet file with a CSV twin; the meaning of every column is in the metadata of the
Parquet file. [Replicates](training.md#replicates-several-trainings-as-one-model) have
{replicated}.

{tables}

## Figures

[`figures`](configuration.md#figures) says which of {suffixes} each is written
as, and there the name is the key of its title.

{figures}

## Models

Families by the `model_type` of a model's `config.json`. Every analysis is exact in all of them,
but that neurons of experts are not listed, and that of some the stream alone is read, not its
heads, neurons and logits: the tests add heads, neurons and norms up to each model's own states
and logits. So does the workflow when it prepares a model: its first block, the middle one and the
last run a short text, and their errors stand in `provenance.json`, under `self_check`. Where
branches do not add up to a block, the model is refused; where heads, neurons or logits do not,
they are (`grade: states`). A type that is not listed, but has the modules of one that is, or at
least such a stream, is read as that one if all adds up; `architecture` says so in the provenance
of its tables. Others are refused by name before anything is downloaded. Of a model that sees
images too (Gemma 3 of 4 billion parameters and more, Mistral 3, SmolVLM, …) the model of texts
inside is taken; texts of one whose rotations change with the length of the text (Phi-3 with
128k tokens) run one at a time.

{models}
"""

_BY_HAND = "Written by `make manual` from `{schema}`; do not edit it by hand."
_SCHEMAS = {
    "configuration": (
        "config",
        "Keys of the configuration",
        "What `config/config.yaml`, or the file after `--configfile`, may say. A key that is not "
        "listed here is an error, and so is a key that appears twice, or a value that is another "
        "one in YAML 1.1 than in 1.2, such as `010`, `1:30`, `1e-1` and `yes`. Paths are relative "
        "to the working directory. [Your own models](models.md), [your own texts](texts.md) and "
        "[controls](controls.md) show how the keys are used.",
    ),
    "experiments": (
        "experiment",
        "Keys of an experiment file",
        "An experiment file has texts and the analyses to run on them. Which keys go together: "
        "[prompts](texts.md), [a table](tables.md), or [words](words.md).",
    ),
    "claims-files": (
        "claims",
        "Keys of a claims file",
        "A claims file says what a study states and how each statement is tested. "
        "[Your own claim](claim.md) explains it by an example.",
    ),
}


def pages() -> dict[str, str]:
    """Every page and caption that is written, by its path in the project."""
    made = {"docs/catalogue.md": manual(), "docs/figures.md": captions.page()}
    for page, (name, title, introduction) in _SCHEMAS.items():
        by_hand = _BY_HAND.format(schema=f"workflow/schemas/{name}.schema.yaml")
        made[f"docs/{page}.md"] = reference(name, title, f"{introduction}\n\n{by_hand}")
    made |= captions.captions()
    made["docs/licences.md"] = licences(PROJECT / "requirements.lock")
    return made


def manual() -> str:
    """What the workflow makes, and of which models, from their rows."""
    return _PAGE.format(
        analyses=_table(
            ("analysis", "of", "default of", "target", "tables"),
            (_analysis(row) for row in CATALOGUE.analyses.values()),
        ),
        jobs=_table(
            ("analysis", "rule", "passes", "products with the vocabulary"),
            (_job(row) for row in CATALOGUE.analyses.values() if row.gpu_rule),
        ),
        tables=_table(
            ("table", "files", "in the report"), (_file(row) for row in CATALOGUE.tables.values())
        ),
        suffixes=", ".join(suffix.upper() for suffix in FIGURE_SUFFIXES),
        replicated=_code(row.name for row in CATALOGUE.tables.values() if row.replicated),
        figures=_table(
            ("figure", "shows", "tables", "files"),
            (_figure(row) for row in CATALOGUE.figures.values()),
        ),
        models=_table(
            ("`model_type`", "models", "kind", "positions", "sites", "neurons"),
            (_model(ARCHITECTURES[name]) for name in sorted(ARCHITECTURES)),
        ),
    )


def _analysis(row: Analysis) -> Sequence[str]:
    tables = [table.name for table in CATALOGUE.tables.values() if row.name in table.analyses]
    kinds = ", ".join(row.kinds) or "the baseline's texts"
    return _code([row.name]), kinds, ", ".join(row.default), _code([row.target]), _code(tables)


def _job(row: Analysis) -> Sequence[str]:
    extra = row.extra
    passes = _sum((1, ""), (extra.passes_per_layer, "blocks"))
    products = _sum(
        (extra.constant, ""), (extra.per_layer, "(blocks + 1)"), (extra.per_head, "heads × blocks")
    )
    return _code([row.name]), _code([row.gpu_rule]), passes, products


def _sum(*terms: tuple[int, str]) -> str:
    """A sum of so many of something each, without what there is none of."""
    return " + ".join(f"{n} × {what}" if what else str(n) for n, what in terms if n) or "0"


def _file(row: Table) -> Sequence[str]:
    files = _code([f"{row.path}.{{{','.join(row.suffixes)}}}"])
    return _code([row.name]), files, "yes" if row.reported else ""


def _figure(row: Figure) -> Sequence[str]:
    return _code([row.name]), row.about, _code(row.tables), _code([row.path])


def _model(row: Architecture) -> Sequence[str]:
    kind = "decoder" if row.causal else "encoder"
    rotary = row.rotary or row.attention.rotated_pairs
    positions = "learned" if row.position_embedding else "rotary" if rotary else "ALiBi"
    neurons = "no: experts" if row.mlp.experts else "yes"
    neurons = "no: the stream alone" if row.attention.opaque else neurons
    return _code([row.model_type]), row.family, kind, positions, _code(row.sites), neurons


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names if name)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    for path, text in pages().items():
        write_text(PROJECT / path, text)
