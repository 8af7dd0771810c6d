"""YAML files, read so that errors can name a line and no repeated key is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import yaml

from ..errors import KeyPath, TokentrailsError, Where, show_keys
from .lfs import refuse_pointer
from .near import near_path

MOST_DEEP, MOST_REPEATED = 32, 100_000  # collections in each other; values that aliases stand for

# What YAML refuses, or folds as the end of a line: control characters, NEL, U+2028 and U+2029.
_RAW = re.compile(r"[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_QUOTED = ("mapping values", "cannot start", "block ", "expected ':'")  # in yaml's messages
_SURROGATES = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE)

_Loader11: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""YAML 1.1, as Snakemake reads it."""


class _Loader(_Loader11):
    """YAML 1.2 as far as plain values go: `no`, `12:30`, `2026-01-02` and `007` are texts."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node; one that is not what its tag says is an error with a line."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, ArithmeticError, AttributeError) as error:
            reason = f": {error}" if isinstance(error, ValueError) else ""  # others speak of code
            problem = f"{node.value!r:.60} is no {node.tag.rpartition(':')[2]}{reason}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


for _tag, _form, _first in (
    ("bool", r"(true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]*)$", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"
        r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$",
        "-+.0123456789",
    ),
    ("null", r"(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"<<$", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_form), list(_first))


class YamlFile:
    """A parsed YAML file: its `data`, and the line of every key.

    Parameters
    ----------
    named: where the configuration names it, for the message that it is not there.
    is_config: whether Snakemake reads it, too, which it does by YAML 1.1.

    Raises
    ------
    TokentrailsError: if the file is not there, is not YAML, or names a key twice in one mapping;
        and for a value of a configuration that is another one in YAML 1.1.
    """

    def __init__(
        self, path: str | Path, named: Where | None = None, *, is_config: bool = False
    ) -> None:
        self.path = Path(path)
        refuse_pointer(self.path)
        try:
            text = self.path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise TokentrailsError(
                f"the file {str(path)!r} cannot be read: {error.strerror}",
                where=named or self.path,
                hint=f"{near_path(path)}check the name; it is relative to the working directory.",
            ) from error
        except UnicodeDecodeError as error:
            raise TokentrailsError(
                f"the file is not UTF-8 text: {error}", where=self.path, hint="save it as UTF-8."
            ) from error
        self._keys: dict[yaml.Node, Any] = {}
        try:
            if is_json := _is_json(text):
                text = _as_yaml(text)
            self._refuse_raw(text)
            self._refuse_excess(text)
            loader = _Loader(text)
            try:
                self._root = loader.get_single_node()
                if self._root is not None:
                    self._refuse_repeated_keys(self._root, loader, set())
                    if is_config and not is_json:
                        self._refuse_other_readings(self._root, _Loader11(text))
                self.data = loader.construct_document(self._root) if self._root else None
            finally:
                loader.dispose()
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise self._invalid(error, text) from error

    def where(self, keys: KeyPath = ()) -> str:
        """The file, the line and the key path, as errors show them."""
        line, node = 1, self._root
        for key in keys:
            child = None
            if isinstance(node, yaml.MappingNode):
                for key_node, value_node in node.value:
                    if key in (key_node.value, self._keys.get(key_node)):
                        line, child = key_node.start_mark.line + 1, value_node
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
                child = node.value[key]
                line = child.start_mark.line + 1
            if child is None:
                break
            node = child
        return f"{self.path}, line {line}" + (f", {show_keys(keys)}" if keys else "")

    def _invalid(self, error: Exception, text: str) -> TokentrailsError:
        """What is said of a text that is no YAML, with the line where that was noticed."""
        problem = str(error)
        where: object = self.path
        hint = "check brackets, quotes and indentation there."
        if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark):
            # What is never closed is noticed behind the last line.
            line = min(mark.line, text.rstrip().count("\n")) + 1
            where, problem = f"{self.path}, line {line}", f"{error.problem}"
            if error.context:
                begin = error.context_mark.line + 1 if error.context_mark else line
                of_line = f" of line {begin}" if begin != line else ""
                problem = f"{error.context}{of_line}, {problem}"
            if text[mark.index : mark.index + 1] == "\t":
                problem, hint = "a tab stands where spaces alone may", "indent with spaces."
        if any(part in problem for part in _NOT_QUOTED):
            hint = "quote strings that hold ': ' or begin with a special character."
        if "escape c" in problem:
            hint = "write the character itself, or as YAML escapes it, such as \\U0001F642."
        return TokentrailsError(f"the file is not valid YAML: {problem}", where=where, hint=hint)

    def _refuse_raw(self, text: str) -> None:
        """Refuse characters that YAML does not take, or takes for the end of a line."""
        if raw := _RAW.search(text):
            raise TokentrailsError(
                f"the character U+{ord(raw[0]):04X} is not valid YAML as it is",
                where=f"{self.path}, line {text.count(chr(10), 0, raw.start()) + 1}",
                hint=f"remove it; or put the string in double quotes, and write {_escaped(raw)}.",
            )

    def _refuse_excess(self, text: str) -> None:
        """Refuse what a few lines make endless, before anything is made of it."""
        sizes: dict[str | None, int] = {}
        open_nodes: list[tuple[str | None, int]] = []
        count = repeated = 0
        event: Any
        for event in yaml.parse(text, _Loader):
            problem = ""
            if isinstance(event, yaml.AliasEvent):
                if event.anchor in (anchor for anchor, _ in open_nodes):
                    problem = f"*{event.anchor} stands inside itself"
                count += sizes.get(event.anchor, 0)
                repeated += sizes.get(event.anchor, 0)
                if repeated > MOST_REPEATED:
                    problem = f"the aliases stand for more than {MOST_REPEATED:,} values"
            elif isinstance(event, yaml.NodeEvent):
                count += 1
                sizes[event.anchor] = 1
                if isinstance(event, yaml.CollectionStartEvent):
                    open_nodes.append((event.anchor, count))
                    if len(open_nodes) > MOST_DEEP:
                        problem = f"more than {MOST_DEEP} lists and mappings lie in each other"
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, first = open_nodes.pop()
                sizes[anchor] = count - first + 1
            if problem:
                raise TokentrailsError(
                    problem,
                    where=f"{self.path}, line {event.start_mark.line + 1}",
                    hint="write the values out; no file of this workflow needs that.",
                )

    def _refuse_other_readings(self, root: yaml.Node, loader: Any) -> None:
        """Refuse plain keys and values that are others in YAML 1.1."""
        here, there = _scalars(root), _scalars(loader.get_single_node())
        for (keys, node), (_, other) in zip(here, there, strict=True):
            if node.tag == other.tag:
                continue
            is_text = other.tag.endswith(":str")
            plain = _plain(loader.construct_object(node if is_text else other))
            versions = ("1.2", "1.1") if is_text else ("1.1", "1.2")
            raise TokentrailsError(
                f"{node.value} is {plain or 'a date'} in YAML {versions[0]} and a text in YAML "
                f"{versions[1]}; Snakemake reads by YAML 1.1",
                where=f"{self.path}, line {node.start_mark.line + 1}, {show_keys(keys)}",
                hint=f"put it in quotes{f', or write {plain}' if plain else ''}.",
            )

    def _refuse_repeated_keys(self, node: yaml.Node, loader: _Loader, visited: set[int]) -> None:
        """Refuse keys that are spelt alike, or stand for the same, as true and True, 1 and 1.0."""
        if id(node) in visited:  # nodes may refer to each other
            return
        visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            seen: dict[Any, yaml.ScalarNode] = {}
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    continue  # refused by name when the data is made
                is_merge = key.tag.endswith(":merge")
                meant = key.value if is_merge else loader.construct_object(key, deep=True)
                first = seen.get(key.value) or seen.get(meant)
                if first is not None:
                    form = "" if first.value == key.value else f" as {first.value!r}"
                    raise TokentrailsError(
                        f"the key {key.value!r} is there twice, first{form} in line "
                        f"{first.start_mark.line + 1}",
                        where=f"{self.path}, line {key.start_mark.line + 1}",
                        hint="remove or rename one of them.",
                    )
                seen[key.value] = seen[meant] = key
                self._keys[key] = meant
                self._refuse_repeated_keys(value, loader, visited)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                self._refuse_repeated_keys(value, loader, visited)


def plain_values(texts: Collection[str]) -> dict[str, Any]:
    """What texts stand for as plain values of YAML, if all are numbers, or all true or false."""
    loader = _Loader("")
    tags = {text: loader.resolve(yaml.ScalarNode, text, (True, False)) for text in texts}
    kinds = {tag.rpartition(":")[2] for tag in tags.values()}
    if not (kinds <= {"int", "float"} or kinds == {"bool"}):
        return {}
    values = {
        text: loader.construct_object(yaml.ScalarNode(tag, text)) for text, tag in tags.items()
    }
    return values if all(-(2**63) <= value < 2**63 for value in values.values()) else {}


def _scalars(node: yaml.Node, keys: KeyPath = ()) -> Iterator[tuple[KeyPath, yaml.ScalarNode]]:
    """The keys and plain values under a node, in their order, with their key paths."""
    if isinstance(node, yaml.ScalarNode):
        yield keys, node
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):  # others are refused when the data is made
                yield (*keys, key.value), key
                yield from _scalars(value, (*keys, key.value))
    else:
        for index, value in enumerate(node.value):
            yield from _scalars(value, (*keys, index))


def _plain(value: object) -> str | None:
    """A number, or true or false, as every version of YAML reads it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{Decimal(str(value)):f}".replace("Infinity", ".inf")
    return None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _as_yaml(text: str) -> str:
    """JSON without what YAML does not know of it: tabs, control characters, pairs of escapes."""
    text = _RAW.sub(_escaped, text.replace("\t", " "))
    return _SURROGATES.sub(lambda pair: str(json.loads(f'"{pair[0]}"')), text)


def _escaped(raw: re.Match[str]) -> str:
    return f"\\u{ord(raw[0]):04x}"


def top_level(file: str | Path) -> Where:
    """That of a file, which is read for its lines only where a message needs one."""
    return Where(lambda keys: YamlFile(file).where(keys))
