"""What is trained, and at which steps it is saved. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

FACTS = "training.json"
"""The file in a checkpoint's folder that says what it was trained on, and how far."""


@dataclass(frozen=True)
class Size:
    """Shape and training of one size of model: GPT-NeoX, the architecture of Pythia.

    Attributes
    ----------
    layers, width, heads: of the network; the MLP is four times as wide.
    vocabulary: most entries of the tokenizer.
    context: length of a training text in tokens, and the longest text that the model takes.
    batch: texts in a step.
    steps: updates, unless the configuration says otherwise.
    learning_rate: the highest, reached after the warm-up.
    """

    layers: int
    width: int
    heads: int
    vocabulary: int
    context: int
    batch: int
    steps: int
    learning_rate: float

    @property
    def tokens_per_step(self) -> int:
        return self.batch * self.context


SIZES = {
    "nano": Size(6, 128, 4, vocabulary=4096, context=256, batch=2, steps=1536, learning_rate=3e-3),
    "pico": Size(2, 64, 4, vocabulary=2048, context=128, batch=4, steps=512, learning_rate=5e-3),
}


def schedule(steps: int) -> list[int]:
    """The steps that are saved: 0, powers of two up to 512, then every 512, as for Pythia."""
    doubling = [0, *(2**power for power in range(10))]
    return [step for step in doubling if step <= steps] + list(range(1024, steps + 1, 512))


def checkpoint_names(steps: int) -> list[str]:
    """Names of the checkpoints of a training, in order."""
    return [f"step{step}" for step in schedule(steps)]
