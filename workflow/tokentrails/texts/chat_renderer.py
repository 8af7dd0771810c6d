"""Fills in a chat template, in a process of its own: templates are programs of strangers.

transformers keeps them from files and objects; memory is bounded here, and time by who waits for
it. The date that templates may ask for is always the same, so that tokens do not change overnight.
"""

import json
import resource
import sys
from datetime import datetime
from types import SimpleNamespace

DATE = datetime(2024, 7, 26)
"""Today, to templates: what those of Llama 3 say where they are told none."""

MOST_CHARACTERS = 1_000_000
_MOST_BYTES = 1 << 30


def main() -> None:
    """Read template, tokens and chats from the standard input, and write a text or problem each."""
    from transformers.utils import chat_template_utils

    chat_template_utils.datetime = SimpleNamespace(now=lambda: DATE)
    asked = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))

    def render(chat: list[dict[str, str]]) -> dict[str, str]:
        try:
            ((text,), _) = chat_template_utils.render_jinja_template(
                [chat],
                chat_template=asked["template"],
                add_generation_prompt=asked["generation_prompt"],
                **asked["tokens"],
            )
        except Exception as error:
            return {"problem": " ".join(f"{error}".split())[:200] or type(error).__name__}
        if len(text) > MOST_CHARACTERS:
            return {"problem": f"it makes more than {MOST_CHARACTERS:,} characters of it"}
        return {"text": text}

    json.dump([render(chat) for chat in asked["chats"]], sys.stdout)


if __name__ == "__main__":
    main()
