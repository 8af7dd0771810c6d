"""Experiments of the configuration, and the files with their texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..catalogue import ANALYSES, BASELINE, COMPARED, Kind
from ..errors import KeyPath, TokentrailsError, Where, show_keys
from ..files.documents import emptiness, shortage
from ..files.lfs import refuse_pointer
from ..files.near import near_name, near_path
from ..files.rows import FORMATS
from ..files.schema import check, schema, with_defaults
from ..files.yaml_file import YamlFile
from ..project import PROJECT
from ..settings import (
    BASELINE_TEXTS,
    HUB,
    OF_LANGUAGE,
    PLAYS,
    WORDFREQ,
    Circuits,
    Corpus,
    Experiment,
    ExperimentFile,
    Message,
    Prompt,
    Ranks,
    Sentences,
    Splits,
    Words,
    build,
)
from ..texts.entries import target
from ..texts.languages import LANGUAGES, WITH_LIST
from ..texts.replacement import replaced
from ..texts.shuffle import shuffled
from ..texts.template import Template
from ..texts.word_classes import function_words, plain
from ..texts.word_groups import NO_CLASSES
from .data_sets import with_revision
from .senses import check_senses
from .tables import check_group, check_sense, load_table

# The analyses that look inside the blocks.
_INSIDE = [each.name for each in ANALYSES if each.inside]

_ON_STATES = {each.name for each in ANALYSES if each.on_states}

# What the workflow writes under a name of its own.
_TAKEN = {
    "weights": "what belongs to the weights alone",
    BASELINE: "what others are compared with, of random pairs,",
}


def refuse_taken(name: str, where: Where | None = None) -> None:
    """Raise for a name that no experiment may have."""
    skips = "what another experiment leaves out" if name.endswith(".skipped") else None
    if taken := _TAKEN.get(name, skips):
        problem = f"the name {name!r} is taken: {taken} lies under it"
        raise TokentrailsError(problem, where=where, hint="call the experiment otherwise.")


def load_experiment(
    name: str,
    entry: dict[str, Any],
    models: tuple[str, ...] = (),
    where: Where | None = None,
    prompts: Sequence[Prompt] = (),
    named: Where | None = None,
) -> Experiment:
    """An experiment of the configuration, with its file.

    Parameters
    ----------
    entry: its keys in the configuration; those that are not there have their defaults.
    models: the models it runs on, if `entry` names none.
    where: the configuration's top level, for messages.
    prompts: those of the file's table, where a job has read it; the experiment is as if its file
        listed them.
    named: where the configuration names the file, for messages; by default the experiment's `file`.

    Raises
    ------
    TokentrailsError: for the first thing that is wrong here or in the file.
    """
    where = where or Where()
    here = where / "experiments" / name
    file = entry["file"]
    rules = schema("config")["properties"]["experiments"]["additionalProperties"]
    if is_baseline := name == BASELINE:
        entry = entry | {"analyses": []}  # it has one of its own, whatever its file says
    filled = with_defaults(entry, rules)
    asked = (filled["analyses"], here / "analyses") if "analyses" in entry else None
    named = named or (where / BASELINE if is_baseline else here) / "file"
    content = load_experiment_file(file, asked, named)
    if prompts:
        content = replace(content, prompts=tuple(prompts), table=None)
    if is_baseline:
        content = _only_baseline(content, file, named)
    if not _ON_STATES.isdisjoint(content.analyses) and "resid" not in filled["sites"]:
        raise (here / "sites").error(
            f"the sites {filled['sites']} lack resid, which the summary and the figures show",
            "add resid.",
        )
    has_circuits = not set(_INSIDE).isdisjoint(content.analyses)
    _refuse_unused(entry, content, has_circuits, here)
    _check_chat(entry, filled, content, here)
    Template.parse(filled["template"], here / "template")
    if "shuffle" in entry:  # of a table, when its rows are there
        content = _shuffled(content, file, filled["shuffle"], here / "shuffle")
    if "replace" in entry:
        content = _replaced(content, file, filled["replace"], here / "replace")
    return build(
        Experiment,
        filled | vars(content),
        name=name,
        models=entry.get("models", models),
        ranks=_ranks(filled, content, here) if "ranks" in content.analyses else None,
        circuits=_circuits(filled, content, here) if has_circuits else None,
    )


def _refuse_unused(
    entry: dict[str, Any], content: ExperimentFile, has_circuits: bool, where: Where
) -> None:
    """Refuse keys that do nothing with this file."""
    file = entry["file"]
    kind = "running text" if content.corpus else "prompts and no words"
    if content.words:
        kind = f"{'sentences' if content.kind is Kind.SENTENCES else 'contexts'} of its own"
    uses = {
        "template": (
            content.kind is Kind.WORDS,
            f"the file {file} has {kind}",
            "remove 'template'.",
        ),
        "special_tokens": (
            not content.words or content.kind is Kind.SENTENCES,
            f"the file {file} has words, to which no special tokens are added",
            "remove 'special_tokens'; {bos} in the template or the contexts puts a BOS in front.",
        ),
        "chat_template": (
            bool(content.prompts or content.table),
            f"the file {file} has {content.kind}, and what a chat template takes are prompts",
            "remove 'chat_template', or write the texts as prompts.",
        ),
        "pooling": (
            entry.get("pooling") == "last"
            or not (content.splits or content.has_whole_texts or content.kind is Kind.STREAMED),
            f"the file {file} has splits, of which the last token is compared with the whole word"
            if content.splits
            else f"the file {file} has {content.kind}, of which every token is a target by itself",
            "remove 'pooling', or write last.",
        ),
        "shuffle": (
            bool(content.prompts or content.table),
            f"the file {file} has {content.kind}, and what is shuffled are the words of prompts",
            "remove 'shuffle'.",
        ),
        "replace": (
            content.kind is Kind.TARGETS,
            f"the file {file} has {content.kind}, and what is replaced are the targets of prompts",
            "remove 'replace'.",
        ),
        "ranks": (
            "ranks" in content.analyses,
            f"the file {file} does not ask for the analysis ranks",
            "add ranks to the analyses of the file, or remove 'ranks' here.",
        ),
        "circuits": (
            has_circuits,
            f"the file {file} asks for none of the analyses {', '.join(_INSIDE)}",
            "add one of them to the analyses of the file, or remove 'circuits' here.",
        ),
    }
    for key, (is_used, problem, hint) in uses.items():
        if key in entry and not is_used:
            raise (where / key).error(problem, hint)


def _check_chat(
    entry: dict[str, Any], filled: dict[str, Any], content: ExperimentFile, where: Where
) -> None:
    """Refuse messages that are put into no format, and keys that go with only one of both."""
    is_chat, messages = filled["chat_template"], [p for p in content.prompts if p.role is not None]
    if messages and not is_chat:
        raise (where / "chat_template").error(
            f"the prompt {messages[0].label!r} of the file {entry['file']} has messages, and no "
            "chat format is asked for",
            "write 'chat_template: true', or make the prompts texts.",
        )
    if is_chat and "special_tokens" in entry:
        raise (where / "special_tokens").error(
            "chat_template is true, and a chat template has its own special tokens, the BOS too",
            "remove 'special_tokens'.",
        )
    if filled["generation_prompt"] and not is_chat:
        raise (where / "generation_prompt").error(
            "the beginning of an answer is a part of the chat format, which is not asked for",
            "write 'chat_template: true', or remove it.",
        )


def _only_baseline(content: ExperimentFile, file: str, where: Where) -> ExperimentFile:
    """Whole texts without the analyses that their file asks for."""
    if not content.has_whole_texts:
        raise where.error(
            f"the baseline is made of whole texts, but the file {file} has {content.kind}",
            "name a file of prompts without 'word' and 'token'.",
        )
    return replace(content, analyses=(BASELINE,))


def _shuffled(content: ExperimentFile, file: str, seed: int, where: Where) -> ExperimentFile:
    """The same prompts with their words in random order."""
    prompts = []
    for prompt in content.prompts:
        if prompt.is_whole and len(prompt.chat) > 1:
            raise where.error(
                f"the text {prompt.label!r} of the file {file} has several messages and no target, "
                "and what is shuffled is the message with the target",
                "mark a target in it, or remove 'shuffle'.",
            )
        text = shuffled(prompt, seed)
        if text is None:
            raise where.error(
                f"the text {prompt.label!r} of the file {file} has fewer than two words to move",
                "lengthen it, or give this experiment a file without it.",
            )
        prompts.append(replace(prompt, prompt=text))
    return replace(content, prompts=tuple(prompts))


def _replaced(
    content: ExperimentFile, file: str, words: Sequence[str], where: Where
) -> ExperimentFile:
    """The same prompts with other words in the place of the targets."""
    prompts = []
    for index, new in enumerate(replaced(content.prompts, words)):
        if new is None:
            _, own = _read(file)
            raise (own / "prompts" / index).error(
                f"the target {target(content.prompts[index])!r} does not stand in the text, and "
                f"{show_keys(where.keys)} puts another word in its place",
                "check its spelling, case and 'occurrence'.",
            )
        assert new.word is not None and new.stands_for is not None
        if plain(new.word.strip()) == plain(new.stands_for):
            raise where.error(
                f"the target {new.stands_for!r} of the file {file} would be replaced with itself",
                "list other words; targets and words meet in turn, both in alphabetical order.",
            )
        prompts.append(new)
    return replace(content, prompts=tuple(prompts))


def _ranks(entry: dict[str, Any], content: ExperimentFile, where: Where) -> Ranks:
    """The settings of the analysis `ranks`, checked against the texts and the sites."""
    given, sites, here = entry["ranks"], entry["sites"], where / "ranks"
    own_sites = ".".join(map(str, (where / "sites").keys))
    for site in given["sites"]:
        if site not in sites:
            raise (here / "sites").error(
                f"the ranks are read at {site}, which the experiment's sites {sites} lack",
                f"add {site} to {own_sites}, or choose other ranks.sites.",
            )
    if given["as_published"]:
        if content.kind is not Kind.WHOLE:
            raise (here / "as_published").error(
                "the published formula needs the states of all tokens of a text, but the prompts "
                f"of the file {entry['file']} have single targets",
                "remove it, or make them whole texts: without 'word' and 'token'.",
            )
        if "resid" not in sites:
            raise (here / "as_published").error(
                "the published formula begins with the states at resid, which the experiment's "
                f"sites {sites} lack",
                f"add resid to {own_sites}, or remove it.",
            )
        if "resid_mid" not in given["sites"]:
            raise (here / "as_published").error(
                f"the published formula is one for resid_mid, which ranks.sites {given['sites']} "
                "lack",
                "add resid_mid to ranks.sites, or remove it.",
            )
    return build(Ranks, given, show=_shown(given, entry["file"], content, here / "show"))


def _circuits(entry: dict[str, Any], content: ExperimentFile, where: Where) -> Circuits:
    """The settings of the analyses of heads and neurons; whether these exist, the model says."""
    given = entry["circuits"]
    show = _shown(given, entry["file"], content, where / "circuits" / "show")
    every = {key: None for key in ("layers", "heads", "lists") if given[key] == "all"}
    circuits = build(Circuits, given | every, show=show)
    lacking = set(circuits.lists or ()) - set(circuits.layers or circuits.lists or ())
    if lacking:
        raise (where / "circuits" / "lists").error(
            f"layer {min(lacking)} is to be listed, and is none of the layers {given['layers']}",
            "add it to 'layers', or take it out here.",
        )
    return circuits


def _shown(given: dict[str, Any], file: str, content: ExperimentFile, where: Where) -> str | None:
    """The label of the text that figures draw, by default the first; of a table None."""
    if content.table:
        return given.get("show")
    labels = [prompt.label for prompt in content.prompts]
    show: str = given.get("show", labels[0])
    if show not in labels:
        raise where.error(
            f"no text of the file {file} has the label {show!r}",
            near_name(show, labels, f"give one of them, such as {labels[0]!r}."),
        )
    return show


def load_experiment_file(
    path: str, asked: tuple[Sequence[str], Where] | None = None, named: Where | None = None
) -> ExperimentFile:
    """What an experiment file says, with every default filled in.

    Parameters
    ----------
    asked: analyses in the place of the file's, and where they stand, for messages.
    named: where the configuration names the file, for messages.

    Raises
    ------
    TokentrailsError: if the file breaks its schema, a label is used twice, or keys and analyses do
        not go together.
    """
    data, where = _read(path, named)
    check(data, "experiment", where.show)
    assert isinstance(data, dict)
    if "corpus" in data:
        _check_corpus(data, where)
    if "prompts" in data and (extra := data.keys() & _OF_WORDS):
        key = str(where / "prompts").rpartition(", ")[2]  # as the file has it
        raise (where / min(extra)).error(
            f"the file has {key}, and {min(extra)!r} goes with words",
            "write two files, one of prompts and one of words.",
        )
    table = load_table(data, where / "table") if "table" in data else None
    if "others" in data and data.keys().isdisjoint(("contexts", "sentences", "contexts_from")):
        raise (where / "others").error(
            "'others' says how many contexts and words to compare with, but there are no contexts",
            "remove 'others', or give 'contexts' or 'sentences'.",
        )
    if "left" in data and "contexts_from" not in data:
        raise (where / "left").error(
            "'left' says which sentences of a text to take, but there is no text",
            "remove 'left', or give 'contexts_from'.",
        )
    if "contexts_from" in data:
        _check_text(data, where)
    if "sentences" in data:
        _check_sentences(data, where)
        data = {"words": {}} | data
    filled = with_defaults(data, schema("experiment"))
    language = _language(filled, where)
    words = build(Words, filled["words"]) if "words" in data else None
    if words:
        _check_list(words.list, language, where / "words" / "list")
    if words and "sentences" in data:
        words = replace(words, n_tokens=())
    content = ExperimentFile(
        analyses=(),
        prompts=_prompts(data.get("prompts", ()), where / "prompts"),
        table=table,
        words=words,
        contexts=_contexts(data.get("contexts", ()), where / "contexts"),
        sentences=_sentences(data.get("sentences", {}), where / "sentences"),
        contexts_from=data.get("contexts_from"),
        left=filled["left"],
        others=filled["others"],
        corpus=_corpus(filled["corpus"], where / "corpus") if "corpus" in data else None,
        splits=build(Splits, filled["splits"]) if "splits" in data else None,
        language=language,
        function_words=data.get("function_words"),
        frequency_list=_frequency_list(data, language, where / "frequency_list"),
    )
    if "frequency_list" in data and content.kind not in _WITH_BANDS:
        raise (where / "frequency_list").error(
            f"bands of frequency are of the words of whole texts, and the file has {content.kind}",
            "remove 'frequency_list'.",
        )
    if content.splits:
        _check_splits(content, content.splits, where / "splits")
    names, named = asked or (data.get("analyses"), where / "analyses")
    analyses = _analyses(names, content.kind, named)
    if "matched_groups" in analyses:
        _check_groups(content, named / analyses.index("matched_groups"))
    if "senses" in analyses and table:
        check_sense(table, where / "table")
    elif "senses" in analyses:
        check_senses(content.prompts, where / "prompts")
    return replace(content, analyses=analyses)


def _read(path: str, named: Where | None = None) -> tuple[Any, Where]:
    """What an experiment file holds, in the form of its schema, and where its keys are."""
    file = YamlFile(_found(path), named)
    data = file.data
    key = "prompts"
    if isinstance(data, dict) and "experiments" in data and "prompts" not in data:
        key = "experiments"  # the published format
        data = {"prompts" if k == key else k: v for k, v in data.items()}
    only_sentences = _has_only_sentences(data)
    if only_sentences:
        data = {"sentences": data}

    def show(keys: KeyPath) -> str:
        if only_sentences:
            return file.where(keys[1:])
        return file.where((key, *keys[1:]) if keys[:1] == ("prompts",) else keys)

    return data, Where(show)


_WITH_BANDS = (Kind.WHOLE, Kind.STREAMED)
_OF_WORDS = {"words", "contexts", "sentences", "contexts_from", "left", "others"}


def _has_only_sentences(data: Any) -> bool:
    """Whether a file is as published: words with their sentences, under no key."""
    entries = list(data.values()) if isinstance(data, dict) else []
    return all(isinstance(entry, dict) for entry in entries) and any(
        isinstance(entry.get("sentences"), list) for entry in entries
    )


def _check_sentences(data: dict[str, Any], where: Where) -> None:
    """Refuse, beside sentences, what only goes with words that are drawn from a list."""
    if "contexts" in data:
        raise (where / "contexts").error(
            "the file has sentences of each word, and 'contexts' are shared by all words",
            "write two files, one of sentences and one of contexts.",
        )
    for key in ("n_tokens", "per_group"):
        if key in data.get("words", {}):
            raise (where / "words" / key).error(
                f"{key!r} says which words are drawn, but the file has sentences of its own words",
                f"remove '{key}'; the list only replaces these words.",
            )


def _check_text(data: dict[str, Any], where: Where) -> None:
    """Refuse a text that is not there, or beside other contexts."""
    for key in ("contexts", "sentences"):
        if key in data:
            raise (where / key).error(
                f"the file has {key}, and 'contexts_from' takes others from a text",
                "write two files, one of each.",
            )
    if not Path(data["contexts_from"]).is_file():
        raise (where / "contexts_from").error(
            f"there is no text {data['contexts_from']!r}",
            f"{near_path(data['contexts_from'])}give a file of plain text; its name is relative to "
            "the working directory.",
        )
    _check_content(data["contexts_from"], where / "contexts_from")


def _check_content(name: str, where: Where) -> None:
    """Refuse a file that Git LFS has not fetched, or with nothing in it."""
    refuse_pointer(Path(name))
    with suppress(OSError), open(name, "rb") as file:  # of which the job says more
        if not any(part.strip() for part in iter(lambda: file.read(1 << 16), b"")):
            raise where.error(*emptiness(name))


def _check_splits(content: ExperimentFile, splits: Splits, where: Where) -> None:
    """Refuse splits without targets, and a word list that is not there."""
    marked = (not prompt.is_whole for prompt in content.prompts)
    if not (content.table.has_targets if content.table else any(marked)):
        raise where.error(
            "'splits' says how the targets of prompts are cut up, and there is none",
            "give every prompt a 'word', which is one token.",
        )
    _check_list(splits.list, content.language, where / "list")


def _corpus(filled: dict[str, Any], where: Where) -> Corpus:
    corpus: Corpus = build(Corpus, filled, text=with_revision(filled, "text", where))
    return corpus


def _check_corpus(data: dict[str, Any], where: Where) -> None:
    """Refuse a running text that is not there, or beside other texts."""
    if extra := data.keys() - {"corpus", "analyses", *OF_LANGUAGE}:
        raise (where / min(extra)).error(
            f"the file has a corpus, whose every token is a target, and {min(extra)!r}",
            "write two files, one of each.",
        )
    given, text = data["corpus"], data["corpus"].get("text", PLAYS)
    here = where / "corpus" / "text"
    is_streamed = given.get("states") == "stream"
    is_table = Path(text.removesuffix(".gz")).suffix.lower() in FORMATS
    if is_table and not is_streamed:
        raise here.error(
            f"the text {text!r} is a table, and states are stored of plain texts alone",
            "write 'states: stream', and 'column', or give a file of plain text.",
        )
    for key in ("column", "readout"):
        if key in given and not is_streamed:
            raise (where / "corpus" / key).error(
                f"{key!r} goes with a text whose states are not stored",
                f"write 'states: stream', or remove {key!r}.",
            )
    if text == PLAYS and "column" not in given:
        return
    is_here = not text.startswith(HUB)
    if is_here and not Path(text).is_file():
        raise here.error(
            f"there is no text {text!r}",
            f"{near_path(text)}write {PLAYS}, or a file of plain text, relative to the working "
            "directory.",
        )
    if is_streamed and is_table != ("column" in given):
        raise here.error(
            f"the text {text!r} is {'a table' if is_table else 'no table'}, and "
            f"{'no column is named' if is_table else 'a column is named'}",
            f"{'give' if is_table else 'remove'} 'column', or give a name that ends in what the "
            f"file is; tables end in {', '.join(FORMATS)}.",
        )
    if not is_here:
        return
    _check_content(text, here)
    if is_table or text.endswith(".gz"):  # whose size says little
        return
    asked = with_defaults(data["corpus"], schema("experiment")["properties"]["corpus"])["tokens"]
    if (size := Path(text).stat().st_size) < asked:  # a token is a byte at least
        raise here.error(*shortage(text, asked, size, "bytes"))


def _found(path: str) -> str | Path:
    """Where a file is: in the working directory; the default texts are in the project, too."""
    own = PROJECT / path
    return own if path == BASELINE_TEXTS and not Path(path).exists() else path


def _analyses(names: Sequence[str] | None, kind: Kind, where: Where) -> tuple[str, ...]:
    """The analyses of a file, by default those of its kind."""
    if names is None:
        return tuple(each.name for each in ANALYSES if kind in each.default)
    known = [each.name for each in ANALYSES if kind in each.kinds]
    why = (
        "only words in contexts are perturbed, only a corpus is decoded, one with 'states: stream' "
        "is summed up, and 'splits' cuts words"
    )
    if kind is Kind.WHOLE:
        why = "others need a target, the 'word' or the 'token' of every prompt; or a corpus"
    for index, name in enumerate(names):
        if name not in known:
            raise (where / index).error(
                f"{name!r} is not an analysis of {kind}", f"choose from {', '.join(known)}; {why}."
            )
    if "matched_groups" in names and not set(COMPARED) & set(names):
        raise (where / list(names).index("matched_groups")).error(
            "matched_groups compares groups of words in the tables of other analyses, and there is "
            "none of these",
            f"add one or more of {', '.join(COMPARED)}.",
        )
    return tuple(names)


def _prompts(entries: Sequence[dict[str, Any]], where: Where) -> tuple[Prompt, ...]:
    rules = schema("experiment")["properties"]["prompts"]["items"]
    known = list(rules["properties"])
    chats = [_chat(entry, where / index) for index, entry in enumerate(entries)]
    for index, entry in enumerate(entries):
        for name in entry.keys() - set(known):
            check_group(name, entry[name], known, where / index / name)
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if (other := first.setdefault(entry["label"], index)) != index:
            raise (where / index / "label").error(
                f"the label {entry['label']!r} is used twice, first at {where / other / 'label'}",
                "give every prompt a label of its own.",
            )
    _check_targets(chats, where)
    return tuple(
        build(
            Prompt,
            with_defaults(chat, rules),
            groups={k: v for k, v in entry.items() if k not in known},
        )
        for entry, chat in zip(entries, chats, strict=True)
    )


def _chat(entry: dict[str, Any], where: Where) -> dict[str, Any]:
    """A prompt with one of its messages as its text: that with the target, else the last."""
    messages = entry["prompt"]
    if isinstance(messages, str):
        return entry
    for key in _TARGET & entry.keys():
        raise (where / key).error(
            f"the prompt {entry['label']!r} has messages, and {key!r} does not say of which one",
            "write it into the message that has the target.",
        )
    marked = [index for index, each in enumerate(messages) if _TARGET & each.keys()]
    if len(marked) > 1:
        raise (where / "prompt" / marked[1]).error(
            f"the prompt {entry['label']!r} has targets in {len(marked)} of its messages",
            "mark one; a second one is a prompt of its own.",
        )
    at = marked[0] if marked else len(messages) - 1
    own = messages[at]
    if "occurrence" in own and not {"word", "token"} & own.keys():
        raise (where / "prompt" / at / "occurrence").error(
            "'occurrence' says which target is meant, but the message has none",
            "remove it, or give the message a 'word' or a 'token'.",
        )
    chat = [Message(each["role"], each["content"]) for each in messages]
    return (
        {key: value for key, value in entry.items() if key != "prompt"}
        | {key: own[key] for key in _TARGET & own.keys()}
        | {"prompt": own["content"], "role": own["role"]}
        | {"before": chat[:at], "after": chat[at + 1 :]}
    )


_TARGET = {"word", "token", "occurrence"}


def _check_targets(entries: Sequence[dict[str, Any]], where: Where) -> None:
    """Refuse a file of which some prompts have targets, and others are whole texts."""
    marked = ["token" in entry or "word" in entry for entry in entries]
    example = entries[marked.index(True)]["label"] if any(marked) else None
    for index, entry in enumerate(entries):
        if not marked[index] and example:
            raise (where / index).error(
                f"the prompt {entry['label']!r} has no target, and {example!r} has one",
                "give it a 'word' or a 'token'; whole texts, which have neither, go into a file of "
                "their own.",
            )
        if not marked[index] and "occurrence" in entry:
            raise (where / index / "occurrence").error(
                "'occurrence' says which target is meant, but the prompt has none",
                "remove it, or give every prompt a 'word' or a 'token'.",
            )


def _language(filled: dict[str, Any], where: Where) -> str:
    """The language of a file, of which there is such a code, and its function words, if given."""
    code: str = filled["language"]
    if code not in LANGUAGES:
        near = re.split("[-_]", code.lower())[0]  # of de_AT, or DE
        raise (where / "language").error(
            f"{code!r} is no code of a language",
            (f"did you mean {near!r}? " if near in LANGUAGES else "")
            + f"write one of {', '.join(LANGUAGES)}.",
        )
    if file := filled.get("function_words"):
        if not Path(file).is_file():
            raise (where / "function_words").error(
                f"there is no file {file!r}",
                f"{near_path(file)}give a file with the words of each closed class; its name is "
                "relative to the working directory.",
            )
        function_words(Path(file))
    return code


def _frequency_list(data: dict[str, Any], language: str, where: Where) -> str | None:
    """The list that bands are of; None where none is named and wordfreq has none."""
    if "frequency_list" not in data and language not in WITH_LIST:
        return None
    name: str = data.get("frequency_list", WORDFREQ)
    _check_list(name, language, where)
    return name


def _check_groups(content: ExperimentFile, where: Where) -> None:
    """Refuse to match groups of words without classes, or without a list."""
    if not content.has_classes:
        raise where.error(
            "matched_groups compares function words with content words, and there are "
            f"{NO_CLASSES}, {content.language!r}",
            "add 'function_words', a file with the words of its closed classes, or remove "
            "matched_groups.",
        )
    if content.frequency_list is None:
        raise where.error(
            "matched_groups compares words of the same frequency, and the package wordfreq has no "
            f"list of the language {content.language!r}",
            "add 'frequency_list', a file with one word a line, the most frequent first, or remove "
            "matched_groups.",
        )


def _check_list(name: str, language: str, where: Where) -> None:
    if name == WORDFREQ:
        if language not in WITH_LIST:
            raise where.error(
                f"the package wordfreq has no list of the language {language!r}",
                "give a file, with one word a line, the most frequent first; there are lists of "
                f"{', '.join(WITH_LIST)}.",
            )
    elif not Path(name).is_file():
        raise where.error(
            f"there is no word list {name!r}",
            f"{near_path(name)}write {WORDFREQ}, or a file; its name is relative to the working "
            "directory.",
        )
    else:
        refuse_pointer(Path(name))


def _sentences(entries: dict[str, dict[str, Any]], where: Where) -> tuple[Sentences, ...]:
    for word, entry in entries.items():
        n, replaced = len(entry["sentences"]), len(entry.get("replaced_sentences", ()))
        if replaced not in (0, n):
            raise (where / word / "replaced_sentences").error(
                f"the word {word!r} has {n} sentences, and {replaced} with another word",
                "give one for each, in the same order, or none.",
            )
    return tuple(build(Sentences, entry, word=word) for word, entry in entries.items())


def _contexts(sources: Sequence[str], where: Where) -> tuple[str, ...]:
    seen: dict[Template, int] = {}
    for index, source in enumerate(sources):
        template = Template.parse(source, where / index)
        if template in seen:
            raise (where / index).error(
                f"the context {source!r} is the same as contexts[{seen[template]}]",
                "remove one of them.",
            )
        seen[template] = index
    return tuple(sources)
