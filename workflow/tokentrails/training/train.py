"""Training from scratch: the same bytes from the same seed, killed and taken up or not."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor
from transformers import GPTNeoXForCausalLM, PreTrainedTokenizerFast

from ..config.trainings import FACTS, Size, schedule
from ..errors import TokentrailsError
from ..progress import progress_bar
from .network import loss_of, network
from .state import discard, load_state, save_state, write_folder
from .text import Text
from .tokenizer import hash_of, learn_tokenizer, stream

HELD_OUT_TEXTS = 64
STEPS_BETWEEN_STATES = 64
_BETAS, _WEIGHT_DECAY, _LARGEST_GRADIENT = (0.9, 0.95), 0.1, 1.0


def train(
    size: Size,
    seed: int,
    steps: int,
    text: Text,
    work: Path,
    *,
    facts: dict[str, Any] | None = None,
    label: str = "",
) -> list[dict[str, Any]]:
    """Train a model, and save it at every step of the schedule.

    The bytes of a checkpoint depend on the size, the seed, the number of steps, the text, torch's
    version and its number of threads. Every batch is drawn from the seed and its step, so that
    there is no state of random numbers to keep.

    Parameters
    ----------
    work: a folder to work in. What a killed training of the same recipe left there is taken up.
        Afterwards `checkpoints/` in it holds a transformers model for each step.
    facts: what else to say in each checkpoint's `training.json`.
    label: of the progress bar.

    Returns
    -------
    One row per step, the last one without an update, for `loss_table`.

    Raises
    ------
    TokentrailsError: if the text is shorter than one text of a batch.
    """
    tokenizer = learn_tokenizer(text.training, size.vocabulary)
    tokens = _tokens(tokenizer, text.training, size.context)
    checks = _evenly_spread(_tokens(tokenizer, text.held_out, size.context), size.context)
    recipe = {
        **asdict(size),
        "seed": seed,
        "steps": steps,
        "text_sha256": text.sha256,
        "tokenizer_sha256": hash_of(tokenizer),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
    }
    model = network(size, tokenizer, seed)
    optimizer = _optimizer(model)
    rows: list[dict[str, Any]] = []
    folders = {step: work / "checkpoints" / f"step{step}" for step in schedule(steps)}
    state = load_state(work, recipe)
    # Once finished, it may have been killed when its checkpoints had been moved away already.
    done = 0 if state is None else len(state["rows"])
    if state is None or not all(folders[step].is_dir() for step in folders if step < done):
        discard(work)
    else:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        rows = state["rows"]

    def save(folder: Path) -> None:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        known = {"training": {**recipe, **rows[-1], **(facts or {})}}
        (folder / FACTS).write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")

    with progress_bar(steps * size.tokens_per_step, label) as bar:
        bar.update(len(rows) * size.tokens_per_step)
        for step in range(len(rows), steps + 1):
            if step % STEPS_BETWEEN_STATES == 0 and step > 0:
                state = {"recipe": recipe, "rows": rows}
                state |= {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                save_state(work, state)
            model.train()
            loss = loss_of(model, _batch(tokens, size, seed, step))
            saved, last = step in folders, step == steps
            rate = None if last else _learning_rate(step, steps, size.learning_rate)
            rows.append(
                {
                    "step": step,
                    "tokens": step * size.tokens_per_step,
                    "train_loss": loss.item(),
                    "heldout_loss": _held_out_loss(model, checks, size.batch) if saved else None,
                    "learning_rate": rate,
                }
            )
            if saved:
                write_folder(folders[step], save)
            if rate is not None:
                _update(model, optimizer, loss, rate)
                bar.update(size.tokens_per_step)
    return rows


def _tokens(
    tokenizer: PreTrainedTokenizerFast, speeches: list[str], context: int
) -> Int32[np.ndarray, " tokens"]:
    """The stream of speeches, which has to be longer than one text of a batch."""
    tokens = stream(tokenizer, speeches)
    if len(tokens) <= context:
        raise TokentrailsError(
            f"the text has {len(tokens)} tokens; more than {context} are needed",
            where="training text",
            hint="delete the folder of the text and run again; it is fetched anew.",
        )
    return tokens


def _optimizer(model: GPTNeoXForCausalLM) -> torch.optim.AdamW:
    """AdamW; matrices decay, biases and norms do not."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": _WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=_BETAS, fused=True)


def _learning_rate(step: int, steps: int, highest: float) -> float:
    """Linear warm-up over a twentieth of the steps, then a cosine down to a tenth."""
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return highest * (step + 1) / warm_up
    done = (step - warm_up) / (steps - warm_up)
    return highest * (0.55 + 0.45 * math.cos(math.pi * done))


def _batch(
    tokens: Int32[np.ndarray, " tokens"], size: Size, seed: int, step: int
) -> Int64[Tensor, "batch length"]:
    """Texts from random places of the stream, one token longer than the context."""
    random = np.random.default_rng([seed, step])
    starts = random.integers(len(tokens) - size.context, size=size.batch)
    return _windows(tokens, starts, size.context)


def _evenly_spread(
    tokens: Int32[np.ndarray, " tokens"], context: int
) -> Int64[Tensor, "texts length"]:
    """Texts from all over the stream; none overlaps another if there are enough tokens."""
    starts = np.linspace(0, len(tokens) - context - 1, HELD_OUT_TEXTS).astype(int)
    return _windows(tokens, starts, context)


def _windows(
    tokens: Int32[np.ndarray, " tokens"], starts: Int64[np.ndarray, " texts"], context: int
) -> Int64[Tensor, "texts length"]:
    return torch.from_numpy(np.stack([tokens[s : s + context + 1] for s in starts])).long()


@torch.inference_mode()
def _held_out_loss(
    model: GPTNeoXForCausalLM, texts: Int64[Tensor, "texts length"], batch: int
) -> float:
    model.eval()
    return float(np.mean([loss_of(model, part).item() for part in texts.split(batch)]))


def _update(
    model: GPTNeoXForCausalLM, optimizer: torch.optim.AdamW, loss: Tensor, rate: float
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), _LARGEST_GRADIENT)
    optimizer.step()
    optimizer.zero_grad()
