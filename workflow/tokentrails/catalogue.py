"""What the workflow makes, as rows: analyses, their tables, and the figures that show them.

Rules, targets, checks of the configuration, claims, planner, report and manual read these rows.
Plain data: this module imports nothing of the project.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Kind of an experiment, by what its file holds."""

    TARGETS = "prompts with targets"
    WHOLE = "whole texts"
    WORDS = "words without contexts"
    CONTEXTS = "words in contexts"
    SENTENCES = "words in their own sentences"
    CORPUS = "running text"
    STREAMED = "running text whose states are not stored"
    SPLITS = "words cut up"


class Category(StrEnum):
    """What the report shows together, in this order: Snakemake sorts the names."""

    FINDINGS = "1. Findings"
    CLAIMS = "2. Claims"
    COMPOSITES = "3. Composites"
    FIGURES = "4. Figures"
    DOCUMENTS = "5. Texts in words"
    TABLES = "6. Tables"
    COSTS = "7. Costs"


class Scope(StrEnum):
    """What one file is about. The value is the folder of tables of this scope."""

    RUN = "results/metrics/{model}/{checkpoint}/{experiment}"
    ACROSS = "results/metrics/{model}/all/{experiment}"
    """All checkpoints of a model."""
    WEIGHTS = "results/metrics/{model}/{checkpoint}/weights"
    """A checkpoint, whatever the texts."""
    MODEL = "results/metrics/{model}/all"
    TRAINING = "resources/training/{model}"
    MODELS = "results/composites"
    """All models of an experiment."""
    ALL = "results"


MODEL_FOLDER = "resources/models/{model}/{checkpoint}"
TEXTS = "results/texts/{experiment}.parquet"
TOKENS = "results/tokens/{model}/{experiment}.parquet"
STATES = "results/hidden_states/{model}/{checkpoint}/{experiment}.parquet"
STATES_PART = "results/hidden_states/{model}/{checkpoint}/{experiment}/{shard}_of_{shards}.arrow"
SUMS = "results/corpora/{model}/{checkpoint}/{experiment}/{shard}_of_{shards}.{kind}.parquet"


@dataclass(frozen=True)
class Extra:
    """What an analysis computes beyond one forward pass.

    Attributes
    ----------
    per_head, per_layer, constant: products of a vector with the vocabulary, for each occurrence.
    passes_per_layer: forward passes on all texts.
    """

    per_head: int = 0
    per_layer: int = 0
    constant: int = 0
    passes_per_layer: int = 0


@dataclass(frozen=True)
class Analysis:
    """One entry of `analyses` in an experiment file.

    Attributes
    ----------
    kinds: experiments that may ask for it.
    default: kinds that have it where the file names no analyses.
    target: the rule that makes its tables, figures and documents alone; empty for none.
    on_states: whether it reads the states that are stored for it; the others run the model, or
        have sites of their own.
    gpu_rule, extra: the rule that runs the model for it, and what that costs.
    similarity: whether it compares states with those of random pairs, the baseline.
    several_checkpoints: whether a model with one checkpoint is left out of it.
    inside: whether it looks inside the blocks and takes the settings `circuits`.
    needs: the part that a model has to be taken apart into, `heads`, `neurons` or `logits`, or
        `unembedding`, without which there are no logits; empty for what its stream is enough for.
    """

    name: str
    kinds: tuple[Kind, ...]
    default: tuple[Kind, ...] = ()
    target: str = ""
    on_states: bool = False
    gpu_rule: str = ""
    extra: Extra = Extra()
    similarity: bool = False
    several_checkpoints: bool = False
    inside: bool = False
    needs: str = ""


@dataclass(frozen=True)
class Table:
    """One table, a Parquet file with its twins.

    Attributes
    ----------
    analyses: those that make it; empty where others ask for it.
    kinds: experiments that it is made for; empty for all that have the analysis.
    suffixes: the files there are.
    reported: whether the report shows its CSV: not if it grows with words, tokens or pairs.
    caption: a file of `report/tables`, by default its own name.
    document: whether the workbook and the page of a text show it.
    scaled: whether it is compared over the sizes of models.
    replicated: whether it is made of sets of replicates, too: means over trainings.
    """

    name: str
    analyses: tuple[str, ...] = ()
    scope: Scope = Scope.RUN
    kinds: tuple[Kind, ...] = ()
    suffixes: tuple[str, ...] = ("parquet", "csv")
    reported: bool = False
    caption: str = ""
    document: bool = False
    scaled: bool = False
    replicated: bool = False

    @property
    def path(self) -> str:
        """Pattern of its files, without the dot and the suffix."""
        return f"{self.scope.value}/{self.name}"


_FIGURE_FOLDERS = {
    Scope.RUN: "results/figures/{model}/{checkpoint}/{experiment}/",
    Scope.ACROSS: "results/figures/{model}/all/{experiment}/",
    Scope.TRAINING: "results/figures/{model}/",
    Scope.MODELS: "results/composites/{experiment}_",
    Scope.ALL: "results/composites/",
}


@dataclass(frozen=True)
class Figure:
    """One figure, as HTML, SVG, PNG, PDF and JSON.

    Attributes
    ----------
    tables: in the order in which `function` takes their frames; across checkpoints, those of a run
        are all of theirs.
    about: what it shows, for the manual.
    title: the default; {model}, {checkpoint} and {experiment} are filled in.
    subject: what it is listed under in the report; composites are listed all together.
    scope: RUN, ACROSS, TRAINING, MODELS or ALL.
    module, function: what draws it, below `tokentrails.figures`; by default those of its name.
    stem: name of its files, by default its own.
    caption: a file of `report/figures`, by default its own name.
    optional: tables that may be missing; the function gets None.
    control: a table that the function takes of the model's controls too, behind the others; None
        where there are none.
    options: settings that the function takes: confidence, threshold, controls, unit.
    show: the settings of the experiment, `ranks` or `circuits`, that name the one text it shows.
    target: the rule that makes it, besides those of all figures; empty for none.
    reference_only: whether it is drawn at the reference checkpoint alone.
    several_checkpoints: whether models with one checkpoint are left out.
    """

    name: str
    tables: tuple[str, ...]
    about: str
    title: str
    subject: str = "Identity"
    scope: Scope = Scope.RUN
    module: str = ""
    function: str = ""
    stem: str = ""
    caption: str = ""
    optional: tuple[str, ...] = ()
    control: str = ""
    options: tuple[str, ...] = ()
    show: str = ""
    target: str = ""
    reference_only: bool = False
    several_checkpoints: bool = False

    @property
    def drawing(self) -> str:
        """The module, by its dotted name below the package."""
        return f"figures.{self.module or self.name}"

    @property
    def path(self) -> str:
        """Pattern of its files, without the dot and the suffix."""
        return f"{_FIGURE_FOLDERS[self.scope]}{self.stem or self.name}"

    @property
    def category(self) -> Category:
        """Where the report shows it."""
        across = self.scope in (Scope.MODELS, Scope.ALL)
        return Category.COMPOSITES if across else Category.FIGURES

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of its inputs, in the order in which `function` takes them."""
        return (*self.tables, "control") if self.control else self.tables

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(name for name in self.tables if name not in self.optional)


COMPARED = ("identity", "ranks", "own_token")
"""The analyses, and their tables, in which `matched_groups` compares groups of words."""

BASELINE = "baseline"
"""The experiment, and its analysis, of random pairs, which similarities are compared with."""

FIGURE_SUFFIXES = ("html", "svg", "png", "pdf", "json")
DOCUMENT_SUFFIXES = ("xlsx", "html")

# fmt: off
ANALYSES = (
    Analysis(BASELINE, ()),
    Analysis("identity", (Kind.TARGETS, Kind.WHOLE), (Kind.TARGETS,), target="half_life",
        on_states=True, similarity=True),
    Analysis("context", (Kind.TARGETS,), (Kind.TARGETS,), on_states=True, similarity=True),
    Analysis("senses", (Kind.TARGETS,), target="senses", on_states=True, similarity=True),
    Analysis("convergence", (Kind.TARGETS, Kind.WORDS), (Kind.WORDS,), target="convergence",
        on_states=True, several_checkpoints=True),
    Analysis("perturbation", (Kind.CONTEXTS, Kind.SENTENCES), (Kind.CONTEXTS, Kind.SENTENCES),
        target="perturbation", on_states=True, similarity=True),
    Analysis("ranks", (Kind.TARGETS, Kind.WHOLE), (Kind.WHOLE,), target="vocabulary",
        gpu_rule="ranks", extra=Extra(per_layer=4),  # at two sites, raw and standardised
        similarity=True),
    Analysis("own_token", (Kind.WHOLE,), target="own_token", gpu_rule="own_token_table",
        needs="logits", extra=Extra(per_layer=3)),  # in two spaces, in one for two tokens
    Analysis("matched_groups", (Kind.WHOLE,), target="matched_groups"),
    Analysis("geometry", (Kind.TARGETS, Kind.WHOLE, Kind.WORDS), target="geometry", on_states=True),
    Analysis("heads", (Kind.WHOLE,), target="heads", gpu_rule="head_tables",
        needs="heads", extra=Extra(per_head=3), inside=True),  # two patterns and a message
    Analysis("neurons", (Kind.WHOLE,), target="neurons", gpu_rule="activations",
        needs="neurons", extra=Extra(constant=1), inside=True),
    Analysis("evolution", (Kind.WHOLE,), target="evolution", gpu_rule="evolution_tables",
        needs="unembedding", extra=Extra(per_layer=2), inside=True),  # in two spaces
    Analysis("attribution", (Kind.WHOLE,), target="attribution", gpu_rule="attribution_tables",
        needs="heads", extra=Extra(constant=1), inside=True),
    Analysis("ablation", (Kind.WHOLE,), target="ablation", gpu_rule="ablation_table",
        needs="heads",
        extra=Extra(passes_per_layer=3), inside=True),  # a run each of a head, another one, the MLP
    Analysis("splits", (Kind.SPLITS,), (Kind.SPLITS,), target="splits", on_states=True,
        gpu_rule="splits_table", extra=Extra(per_layer=2),  # raw and standardised
        similarity=True),
    Analysis("decodability", (Kind.CORPUS,), (Kind.CORPUS,), target="decodability",
        on_states=True, gpu_rule="decodability_tables",
        extra=Extra(per_layer=1)),  # of a few of the tokens
    Analysis("corpus", (Kind.STREAMED,), (Kind.STREAMED,), target="corpus",
        gpu_rule="corpus_sums", similarity=True),
)
# fmt: on

_CURVES = ("identity", "context")

# fmt: off
TABLES = (
    Table("baseline", (BASELINE,), reported=True),
    Table("baseline_dimensions", (BASELINE,)),
    Table("identity", _CURVES),
    Table("context", ("context",)),
    Table("summary", _CURVES, kinds=(Kind.TARGETS,), reported=True),
    Table("curves", _CURVES, kinds=(Kind.TARGETS,), reported=True),
    Table("half_lives", ("identity",), kinds=(Kind.WHOLE,)),
    Table("half_lives_by_group", ("identity",), kinds=(Kind.WHOLE,), reported=True,
        scaled=True),
    Table("half_life_curve", ("identity",), kinds=(Kind.WHOLE,)),
    Table("half_lives_by_threshold", ("identity",), kinds=(Kind.WHOLE,), reported=True),
    Table("senses", ("senses",), reported=True),
    Table("senses_by_layer", ("senses",), reported=True, scaled=True),
    Table("senses_best", ("senses",), reported=True, scaled=True),
    Table("convergence", ("convergence",), Scope.ACROSS),
    Table("convergence_by_group", ("convergence",), Scope.ACROSS, reported=True,
        replicated=True),
    Table("alignment", ("convergence",), Scope.ACROSS, reported=True, replicated=True),
    Table("perturbation", ("perturbation",)),
    Table("perturbation_contexts", ("perturbation",)),
    Table("perturbation_by_group", ("perturbation",), Scope.ACROSS, reported=True,
        replicated=True),
    Table("ranks", ("ranks",), scaled=True),
    Table("ranks_by_class", ("ranks",), reported=True),
    Table("ranks_gap", ("ranks",), reported=True),
    Table("ranks_summary", ("ranks",), reported=True),
    Table("own_token", ("own_token",)),
    Table("own_token_by_layer", ("own_token",), reported=True),
    Table("matched_groups", ("matched_groups",), reported=True),
    Table("geometry", ("geometry",), reported=True),
    Table("attention", ("heads",), document=True),
    Table("heads", ("heads",), document=True),
    Table("head_summary", ("heads",), reported=True),
    Table("activations", ("neurons",), document=True),
    Table("first_position_neurons", ("neurons",)),
    Table("evolution", ("evolution",), document=True),
    Table("predictions", ("evolution",), suffixes=("parquet", "csv", "txt"), document=True),
    Table("attribution", ("attribution",), document=True),
    Table("attribution_cosine", ("attribution",)),
    Table("attribution_sum", ("attribution",)),
    Table("attribution_by_layer", ("attribution",), reported=True),
    Table("attribution_causal", ("ablation",), reported=True),
    Table("splits", ("splits",)),
    Table("splits_by_layer", ("splits",), reported=True),
    Table("decodability", ("decodability",), reported=True),
    Table("decodability_half_lives", ("decodability",), reported=True),
    Table("decodability_types", ("decodability",)),
    Table("corpus_by_layer", ("corpus",), reported=True),
    Table("corpus_geometry", ("corpus",), reported=True),
    Table("corpus_types", ("corpus",)),
    Table("neurons", ("neurons",), Scope.WEIGHTS, document=True),
    Table("parameters", scope=Scope.WEIGHTS),
    Table("lens", scope=Scope.WEIGHTS, suffixes=("parquet", "csv", "safetensors")),
    Table("checkpoints", scope=Scope.MODEL, reported=True),
    Table("loss", scope=Scope.TRAINING),
    Table("scaling", scope=Scope.ALL, reported=True),
    Table("scaling_slopes", scope=Scope.ALL),
)
# fmt: on

_RUN = "{model} ({checkpoint}), {experiment}: "
_ACROSS = "{model}, {experiment}: "
_MODELS = "{experiment}: "
_BAND = ("confidence",)
_LOSS_BAND = ("threshold", "confidence")
_IDENTITY = ("identity", "context", "curves")
_GROUPS = ("convergence_by_group", "checkpoints")
_PERTURBATION = ("perturbation_by_group", "checkpoints")

# fmt: off
FIGURES = (
    Figure("identity_context", _IDENTITY, "identity and context similarity across layers",
        _RUN + "identity and context similarity", module="identity", optional=("context",),
        control="identity", options=_BAND),
    Figure("summary", ("summary",), "half-life and context-dominance layers",
        _RUN + "where identity falls"),
    Figure("baseline", ("baseline", "baseline_dimensions"),
        "how alike random pairs are, and which dimensions make them so",
        "{model} ({checkpoint}): similarity of random pairs", options=_BAND, reference_only=True),
    Figure("half_life", ("half_life_curve",),
        "the share of tokens whose identity has fallen below the threshold, by layer and group",
        _RUN + "how fast identity falls", module="half_lives",
        control="half_life_curve", options=_LOSS_BAND, target="half_life"),
    Figure("half_life_thresholds", ("half_lives_by_threshold",),
        "the median half-life by threshold and form of similarity",
        _RUN + "half-life by threshold", module="half_lives", control="half_lives_by_threshold",
        options=_LOSS_BAND, target="half_life"),
    Figure("senses_by_layer", ("senses_by_layer", "senses_best"),
        "how alike texts are within and between senses, by layer",
        _RUN + "within and between senses", "Senses", module="separability", options=_BAND,
        target="senses"),
    Figure("senses_words", ("senses",), "how separable the senses of each word are, by layer",
        _RUN + "separability of the senses of each word", "Senses", module="sense_words",
        target="senses"),
    Figure("similarity_layers", ("ranks",),
        "each token's similarity to its own embedding, of one text",
        _RUN + "similarity to the own embedding", "Vocabulary", module="ranks", show="ranks",
        target="vocabulary"),
    Figure("rank_layers", ("ranks",), "each token's rank, of one text",
        _RUN + "rank of the own embedding", "Vocabulary", module="ranks", show="ranks",
        target="vocabulary"),
    Figure("rank_heatmap", ("ranks",), "rank and nearest entry by token and layer, of one text",
        _RUN + "rank and nearest entry", "Vocabulary", show="ranks", target="vocabulary"),
    Figure("rank_classes", ("ranks_by_class", "ranks_gap", "ranks_summary"),
        "similarity and rank by class of words", _RUN + "function words and content words",
        "Vocabulary", options=_BAND, target="vocabulary"),
    Figure("own_token", ("own_token_by_layer",),
        "rank and log-probability of the token itself and of the next one, by layer",
        _RUN + "the token itself and the next one", "Vocabulary", control="own_token_by_layer",
        options=_BAND, target="own_token"),
    Figure("matched_groups", ("matched_groups",),
        "function against content words and several tokens against one, at the same frequency and "
        "position", _RUN + "groups of words at the same frequency and position", "Vocabulary",
        control="matched_groups", options=_BAND, target="matched_groups"),
    Figure("geometry", ("geometry",),
        "lengths, largest activations, spectra, curvature and neighbouring layers, by layer",
        _RUN + "the shape of the states", "Geometry", control="geometry", options=_BAND,
        target="geometry", reference_only=True),
    Figure("corpus", ("corpus_by_layer", "corpus_geometry"),
        "identity, the token itself and the next one in a running text of any size, by layer",
        _RUN + "a running text", "Vocabulary", control="corpus_by_layer", options=_BAND,
        target="corpus"),
    Figure("splits", ("splits_by_layer",),
        "words cut up against the whole word: its state, and its rank in the vocabulary, by layer",
        _RUN + "words cut up, and whole", "Vocabulary", control="splits_by_layer", options=_BAND,
        target="splits"),
    Figure("decodability", ("decodability",),
        "how far tokens have turned, and whether they can still be decoded",
        _RUN + "what is turned, and what is lost", "Vocabulary", control="decodability",
        options=_BAND, target="decodability"),
    Figure("attention", ("attention", "head_summary"), "the attention of every head, of one text",
        _RUN + "attention", "Circuits", show="circuits", target="heads"),
    Figure("head_summary", ("head_summary",), "what heads do, by layer and head",
        _RUN + "kinds of heads", "Circuits", target="heads"),
    Figure("evolution", ("evolution",), "the nearest word by token and layer, of one text",
        _RUN + "token evolution", "Circuits", show="circuits", target="evolution"),
    Figure("attribution", ("attribution", "attribution_cosine", "attribution_sum"),
        "what heads and MLPs do to identity, of one text",
        _RUN + "where identity falls, by head and MLP", "Circuits", show="circuits",
        target="attribution"),
    Figure("attribution_by_layer", ("attribution_by_layer",),
        "what heads and MLPs do to identity, means over all texts",
        _RUN + "what heads and MLPs do to identity", "Circuits",
        control="attribution_by_layer", options=_BAND, target="attribution"),
    Figure("ablation", ("attribution_causal",),
        "what changes where a head or an MLP gives its mean, by layer",
        _RUN + "identity and loss without heads and MLPs", "Circuits",
        control="attribution_causal", options=_BAND, target="ablation"),
    Figure("convergence", _GROUPS, "similarity to the reference checkpoint at each layer",
        _ACROSS + "convergence during training", "Convergence", scope=Scope.ACROSS, options=_BAND,
        target="convergence"),
    Figure("convergence_aggregate", _GROUPS,
        "the same over all layers, and of all words at every layer",
        _ACROSS + "convergence during training, in sum", "Convergence", scope=Scope.ACROSS,
        module="convergence", options=_BAND, target="convergence"),
    Figure("convergence_slope", _GROUPS, "how fast that similarity rises",
        _ACROSS + "speed of convergence", "Convergence", scope=Scope.ACROSS, module="convergence",
        options=_BAND, target="convergence"),
    Figure("convergence_heatmap", _GROUPS, "that similarity by layer and step",
        _ACROSS + "convergence by layer and step", "Convergence", scope=Scope.ACROSS,
        target="convergence"),
    Figure("alignment", ("alignment", "checkpoints"),
        "cosine, CKA and Procrustes similarity to the reference checkpoint",
        _ACROSS + "similarity to the reference, with and without rotation", "Convergence",
        scope=Scope.ACROSS, options=_BAND, target="convergence"),
    Figure("geometry_steps", ("geometry", "checkpoints"), "the same by layer and step",
        _ACROSS + "the shape of the states during training", "Geometry", scope=Scope.ACROSS,
        module="geometry", several_checkpoints=True, target="geometry"),
    Figure("perturbation", _PERTURBATION, "similarity under perturbation across layers",
        _ACROSS + "perturbation by layer", "Perturbation", scope=Scope.ACROSS, options=_BAND,
        target="perturbation"),
    Figure("perturbation_steps", _PERTURBATION, "similarity under perturbation during training",
        _ACROSS + "perturbation during training", "Perturbation", scope=Scope.ACROSS,
        module="perturbation", options=_BAND, several_checkpoints=True, target="perturbation"),
    Figure("training", ("loss",), "the loss of a model that is trained here",
        "{model}: loss during training", "Training", scope=Scope.TRAINING),
    Figure("senses", _IDENTITY, "words by models",
        _MODELS + "identity and context similarity of each sense", scope=Scope.MODELS,
        module="identity", function="composite_senses", optional=("context",), options=_BAND),
    Figure("depth", _IDENTITY, "models over relative depth",
        _MODELS + "identity and context similarity over depth", scope=Scope.MODELS,
        module="identity", function="composite_depth", optional=("context",),
        options=(*_BAND, "controls")),
    Figure("half_lives", ("half_life_curve",),
        "tokens whose identity has fallen below the threshold over relative depth, by model",
        _MODELS + "how fast identity falls, over depth", scope=Scope.MODELS,
        function="composite_half_lives", options=(*_LOSS_BAND, "controls"), target="half_life"),
    Figure("ranks", ("ranks_by_class",),
        "similarity and rank by class of words, a column per model",
        _MODELS + "function words and content words over depth", scope=Scope.MODELS,
        module="rank_classes", function="composite_ranks", options=_BAND, target="vocabulary"),
    Figure("turned_and_lost", ("decodability",),
        "identity and what can be decoded over relative depth, a panel per model",
        _MODELS + "what is turned, and what is lost", scope=Scope.MODELS,
        module="decodability", options=(*_BAND, "controls"), target="decodability"),
    Figure("identity_parts", ("attribution_by_layer",),
        "what heads and MLPs do to identity, a panel per model",
        _MODELS + "what heads and MLPs do to identity", scope=Scope.MODELS,
        module="attribution_by_layer", options=_BAND, target="attribution"),
    Figure("separability", ("senses_by_layer", "senses_best"),
        "how separable senses are over relative depth",
        _MODELS + "how well senses are told apart over depth", scope=Scope.MODELS,
        function="composite_separability", options=(*_BAND, "controls"), target="senses"),
    Figure("scaling", ("scaling", "scaling_slopes"),
        "measures by the size of the model, of all experiments",
        "What changes with the size of the model", scope=Scope.ALL, options=_BAND,
        target="half_life"),
)
# fmt: on


@dataclass(frozen=True)
class Catalogue:
    """The rows by name."""

    analyses: dict[str, Analysis]
    tables: dict[str, Table]
    figures: dict[str, Figure]

    @classmethod
    def from_rows(
        cls, analyses: Iterable[Analysis], tables: Iterable[Table], figures: Iterable[Figure]
    ) -> Catalogue:
        return cls(
            {row.name: row for row in analyses},
            {row.name: row for row in tables},
            {row.name: row for row in figures},
        )

    def with_measures(self, titles: Mapping[str, str]) -> Catalogue:
        """The same with the rows of measures of one's own.

        Parameters
        ----------
        titles: by name, what each measures.
        """
        rows = self.from_rows(
            (Analysis(name, tuple(Kind), target=name) for name in titles),
            (
                table
                for name in titles
                for table in (
                    Table(name, (name,)),
                    Table(f"{name}_curves", (name,), reported=True, caption="measure_curves"),
                )
            ),
            (
                figure
                for name, title in titles.items()
                for figure in (
                    _measure_figure(name, title, Scope.RUN),
                    _measure_figure(name, title, Scope.MODELS),
                )
            ),
        )
        return Catalogue(
            self.analyses | rows.analyses,
            self.tables | rows.tables,
            self.figures | rows.figures,
        )


def _measure_figure(name: str, title: str, scope: Scope) -> Figure:
    """The curves of a measure of one's own: of one model, or of all over relative depth."""
    models = scope is Scope.MODELS
    kind = "composite_measure" if models else "measure"
    return Figure(
        f"{name}_composite" if models else name,
        (f"{name}_curves",),
        f"{title}, {'models over relative depth' if models else 'by layer'}",
        (_MODELS if models else _RUN) + title.replace("{", "{{").replace("}", "}}"),
        "Measures of one's own",
        scope,
        module="measure",
        function=kind,
        stem=name,
        caption=kind,
        options=(*_BAND, "unit", *(("controls",) if models else ())),
        target=name,
    )


CATALOGUE = Catalogue.from_rows(ANALYSES, TABLES, FIGURES)
"""What comes with the workflow."""
