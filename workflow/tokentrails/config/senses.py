"""What an experiment of senses must have: words of two senses each, with several texts."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import normalize

from ..errors import Where
from ..settings import Prompt
from ..texts.entries import target


def check_senses(prompts: Sequence[Prompt], where: Where) -> None:
    """Refuse prompts whose senses cannot be compared.

    Parameters
    ----------
    where: the list of prompts, for messages.

    Raises
    ------
    TokentrailsError: for a prompt without a sense, a word without exactly two senses, and a sense
        with a single text.
    """
    texts: dict[str, dict[str, list[int]]] = {}
    for index, prompt in enumerate(prompts):
        sense = prompt.groups.get("sense")
        if sense is None or not str(sense).strip():
            raise (where / index).error(
                f"the prompt {prompt.label!r} has no sense, which the analysis senses compares",
                "give it a 'sense', or leave senses out of the analyses.",
            )
        word = normalize("NFC", target(prompt).strip())
        texts.setdefault(word, {}).setdefault(str(sense), []).append(index)
    for word, senses in texts.items():
        first, *_ = next(iter(senses.values()))
        if len(senses) != 2:
            named = f"{len(senses)} sense{'' if len(senses) == 1 else 's'} ({', '.join(senses)})"
            raise (where / first).error(
                f"the word {word!r} has {named}, and senses are compared two by two",
                "give every word exactly two senses, spelt alike in all prompts; put pairs of "
                "several senses into files of their own.",
            )
        for sense, (index, *others) in senses.items():
            if not others:
                raise (where / index).error(
                    f"the sense {sense!r} of {word!r} has one text, so no two are alike within it",
                    "write at least two texts for every sense; ten or more tell something.",
                )
