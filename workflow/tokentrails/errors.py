"""The one exception that users are meant to read, and the keys that it names."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

KeyPath = tuple[str | int, ...]


class TokentrailsError(Exception):
    """Bad input or a bad environment, said in one message.

    What others wrote may stand in it as it is: nothing of that steers a terminal, begins a line or
    has no end. Further lines of the problem are indented.

    Parameters
    ----------
    problem: what is wrong, with the offending value.
    where: the file, key or line it was found at.
    hint: what to do about it.
    """

    def __init__(self, problem: str, *, where: object = None, hint: str) -> None:
        self.problem = "\n  ".join(map(_shown, problem.split("\n")))
        self.where = None if where is None else _shown(str(where), most=300)
        self.hint = _shown(hint)
        prefix = f"{self.where}: " if where is not None else ""
        super().__init__(f"{prefix}{self.problem}\nHint: {self.hint}")


def _shown(text: str, most: int = 1000) -> str:
    """A text in one line, without its middle where it is longer than any list of choices."""
    if len(text) > most:
        text = f"{text[: most // 2]} … {text[-most // 2 :]}"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


_MOST = 20


def refuse_all(errors: Sequence[TokentrailsError], what: str) -> None:
    """Raise what was found wrong, in one message; nothing where nothing was.

    Parameters
    ----------
    what: they are, in the plural.
    """
    if len(errors) == 1:
        raise errors[0]
    if errors:
        lines = [f"\n- {each.where}: {each.problem} ({each.hint})" for each in errors[:_MOST]]
        more = len(errors) - len(lines)
        lines += [f"\n- and {more} more"] if more else []
        raise TokentrailsError(f"{len(errors)} {what}:{''.join(lines)}", hint="mend each of them.")


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that the disk or a quota is full."""
    full = (errno.ENOSPC, errno.EDQUOT)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in full:
            return True
        # Libraries that write from C++ or Rust keep the system's text, not its number.
        if "No space left on device" in str(cause) or "Disk quota exceeded" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def one_line(error: BaseException) -> str:
    """What an error says, in a line; the name of its class where it says nothing."""
    return " ".join(str(error).split())[:300] or type(error).__name__


@contextmanager
def rust_errors() -> Iterator[None]:
    """Raise the panics of libraries in Rust as RuntimeErrors: they are no Exceptions of Python."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise RuntimeError(str(error)) from error


def show_keys(keys: KeyPath) -> str:
    """``("models", "gpt2", 0)`` as ``models.gpt2[0]``."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.lstrip(".")


@dataclass(frozen=True)
class Where:
    """A key path, as errors show it; `where / key` is the path of what lies under a key.

    Attributes
    ----------
    show: says where a key path is.
    """

    show: Callable[[KeyPath], str] = show_keys
    keys: KeyPath = ()

    def __truediv__(self, key: str | int) -> Where:
        return Where(self.show, (*self.keys, key))

    def __str__(self) -> str:
        return self.show(self.keys)

    def error(self, problem: str, hint: str) -> TokentrailsError:
        return TokentrailsError(problem, where=self, hint=hint)

    def placed(self, error: TokentrailsError) -> TokentrailsError:
        """An error that names this key, or one under it, with the line; others as they are."""
        start, named, more = f"{error.where}.".partition(f"{show_keys(self.keys)}.")
        if start or not named:
            return error
        place = self
        for key in filter(None, more.split(".")):
            place /= key
        return place.error(error.problem, error.hint)
