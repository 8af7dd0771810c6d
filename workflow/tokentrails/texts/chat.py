"""Messages in a model's own chat format, and where their contents stand in it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import TokentrailsError
from ..settings import Message, Prompt
from . import chat_renderer
from .spans import NotAligned

SECONDS = 120
"""Longest time for all texts of an experiment. Ten thousand short chats took four."""

# Characters for private use, which formats do not touch: no spaces, letters or capitals.
_MARKS = [*map(chr, range(0xE000, 0xF900))]


@dataclass(frozen=True)
class Rendering:
    """A text as a model is given it.

    Attributes
    ----------
    contents: characters of what the experiment says; white space around it is left out, as some
        formats do. All others are the format's.
    own: those of the prompt's own text.
    begins: where that would begin with its white space.
    """

    text: str
    contents: tuple[tuple[int, int], ...]
    own: tuple[int, int]
    begins: int = 0

    @classmethod
    def plain(cls, text: str) -> Rendering:
        """A text in no format."""
        return cls(text, ((0, len(text)),), (0, len(text)))

    @property
    def words(self) -> str:
        """The text with spaces in the place of the format, whose characters are no words."""
        text, done = "", 0
        for start, end in self.contents:
            text += " " * (start - done) + self.text[start:end]
            done = end
        return text + " " * (len(self.text) - done)


@dataclass(frozen=True)
class ChatTemplate:
    """How a model is given the messages of a chat.

    Attributes
    ----------
    source: in the language Jinja, from the model's own files.
    tokens: the special tokens that it may use, by their keys in transformers.
    """

    source: str
    tokens: Mapping[str, str]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.source.encode("utf-8", "surrogatepass")).hexdigest()

    def render(
        self, prompts: Sequence[Prompt], *, generation_prompt: bool, where: str
    ) -> list[Rendering | NotAligned]:
        """Each prompt in the format, or why that cannot be.

        Contents are found by their places: in the same chat with marks instead of them. Where
        contents in the place of the marks do not give the very same text, the format depends on
        what is said, and nothing tells which of its words are whose.

        Parameters
        ----------
        generation_prompt: whether the beginning of an answer follows.
        where: for messages.

        Raises
        ------
        TokentrailsError: if the template does not end, or takes the process down.
        """
        chats = [prompt.chat for prompt in prompts]
        n, marked = len(chats), [tuple(map(_marked, chat, _MARKS)) for chat in chats]
        made = self._rendered([*chats, *marked], generation_prompt, where)
        return [_placed(*each) for each in zip(prompts, made[:n], made[n:], strict=True)]

    def _rendered(
        self, chats: Sequence[Sequence[Message]], generation_prompt: bool, where: str
    ) -> list[dict[str, str]]:
        asked = {
            "template": self.source,
            "tokens": dict(self.tokens),
            "generation_prompt": generation_prompt,
            "chats": [[message._asdict() for message in chat] for chat in chats],
        }
        hint = "look at the chat_template of the model before you trust it."
        try:
            done = subprocess.run(
                # Not beside the file: its neighbours have names that libraries have, too.
                [sys.executable, "-P", chat_renderer.__file__],
                input=json.dumps(asked),
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            problem = f"its chat template has not ended after {SECONDS} seconds"
            raise TokentrailsError(problem, where=where, hint=hint) from error
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1]
            raise TokentrailsError(f"its chat template failed: {last:.300}", where=where, hint=hint)
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found


def _marked(message: Message, mark: str) -> Message:
    """A message with a mark between the white space around what it says."""
    content = message.content
    return message._replace(content=content.replace(content.strip(), mark))


def _placed(
    prompt: Prompt, real: Mapping[str, str], marked: Mapping[str, str]
) -> Rendering | NotAligned:
    for made in (real, marked):
        if "problem" in made:
            return NotAligned(f"the chat template refuses it: {made['problem']}")
    cores: dict[str, str] = {}
    for mark, message in zip(_MARKS, prompt.chat, strict=False):
        if (n := marked["text"].count(mark)) != 1:
            how = f"has it {n} times" if n else "leaves it out"
            return NotAligned(f"of a message of {message.role!r} the chat template {how}")
        cores[mark] = message.content.strip()
    text = ""
    contents: dict[str, tuple[int, int]] = {}  # in the order of the text
    for piece in re.split(f"([{''.join(cores)}])", marked["text"]):
        if piece in cores:
            contents[piece] = (len(text), len(text) + len(cores[piece]))
        text += cores.get(piece, piece)
    if text != real["text"]:
        return NotAligned("the chat template changes what is said, or itself with it")
    own = contents[_MARKS[len(prompt.before)]]
    begins = own[0] - len(prompt.prompt) + len(prompt.prompt.lstrip())
    return Rendering(text, tuple(contents.values()), own, begins)
