"""Hidden states of an experiment's targets: one load of the checkpoint, then batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import TokentrailsError
from ..files.state_parts import PartWriter
from ..files.states import StatesWriter, refuse_non_finite
from ..progress import progress_bar
from .architectures import Architecture
from .batches import Text, model_batches
from .spread import device_of
from .stream import StreamReader

# Most bytes of a batch's stream on a CPU: what a block computes of more leaves the caches. That
# many tokens run in any case, for what a wide model reads of its weights to be worth it.
CPU_STREAM_BYTES, CPU_TOKENS = 9 << 18, 1024
# Most room for the states of one batch at all places, in bytes.
STATES_BYTES = 128 << 20


def target_positions(first: int, last: int, pooling: str) -> tuple[int, ...]:
    """The positions whose states stand for a target, by the experiment's pooling."""
    return {"first": (first,), "last": (last,), "mean": tuple(range(first, last + 1))}[pooling]


def extract(
    model: nn.Module,
    architecture: Architecture,
    tokens: pa.Table,
    writer: StatesWriter | PartWriter,
    *,
    pooling: str,
    token_budget: int,
    name: str,
    label: str = "",
    part: tuple[int, int] = (1, 1),
) -> None:
    """Run every text, or those of a part, and hand the targets' states to the writer.

    Parameters
    ----------
    writer: takes the states; its places say where to read.
    pooling: `last`, `first` or `mean` over a target's tokens.
    token_budget: most tokens in a batch, padding included; on a CPU at most what `cpu_budget`
        says. Halved when memory runs out.
    name: of the model and checkpoint, for messages.
    label: of the progress bar.
    part: which of how many, from 1. Texts are cut into batches first, which are then shared out:
        a batch is the same in however many parts.

    Raises
    ------
    TokentrailsError: if a state is not finite, or one text alone does not fit in memory.
    """
    ids = tokens["token_ids"].to_pylist()
    spans = zip(tokens["first"].to_pylist(), tokens["last"].to_pylist(), strict=True)
    positions = [target_positions(first, last, pooling) for first, last in spans]
    on_cpu = device_of(model).type == "cpu"
    if on_cpu:
        token_budget = min(token_budget, cpu_budget(writer.row_bytes // len(writer.places)))
    most_rows = max(1, STATES_BYTES // writer.row_bytes)
    number, parts = part
    # By turns, since those of longer texts come later.
    waiting = model_batches(architecture, ids, positions, token_budget, most_rows)
    waiting = waiting[number - 1 :: parts]
    labels = tokens["label"].to_pylist()
    # A GPU runs the next batch while the states of the last one are looked at and written.
    running: deque[tuple[list[Text], np.ndarray, Callable[[], np.ndarray]]] = deque()
    ahead = 0 if on_cpu else 1
    with (
        torch.inference_mode(),
        StreamReader(model, architecture, writer.places) as reader,
        progress_bar(tokens_in(*waiting), label) as bar,
    ):
        while waiting or running:
            if waiting:
                batch = waiting.pop(0)
                try:
                    running.append((batch, *run_batch(reader, batch, causal=architecture.causal)))
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    waiting = halve(batch, waiting, name)
                    continue
            if len(running) > ahead or not waiting:
                batch, rows, hidden_states = running.popleft()
                hidden = hidden_states()
                refuse_non_finite(hidden, rows, writer.places, labels, name)
                writer.add(rows, hidden)
                bar.update(tokens_in(batch))


def cpu_budget(state_bytes: int) -> int:
    """Most tokens that are worth a batch on a CPU, by the size of one's state."""
    return max(CPU_TOKENS, CPU_STREAM_BYTES // state_bytes)


def run_batch(
    reader: StreamReader, batch: Sequence[Text], *, causal: bool
) -> tuple[np.ndarray, Callable[[], Float[np.ndarray, "places m d"]]]:
    """The table rows of a batch's targets, and what gives their pooled states at every place."""
    rows, states = batch_states(reader, batch, causal=causal)
    return rows, copied(states)


def batch_states(
    reader: StreamReader, batch: Sequence[Text], *, causal: bool
) -> tuple[np.ndarray, Float[Tensor, "places m d"]]:
    """The table rows of a batch's targets, and their pooled states, on the model's device."""
    device = device_of(reader.model)
    lengths = np.asarray([len(text.token_ids) for text in batch])
    longest = int(lengths.max())
    present = np.arange(longest) < lengths[:, None]
    # Right padding: learned positions then count from the text's own beginning. What is padded with
    # does not matter then, and a configuration's pad_token_id may be -1.
    input_ids = np.zeros(present.shape, dtype=np.int64)
    input_ids[present] = [number for text in batch for number in text.token_ids]
    rows: list[int] = []
    owner: list[int] = []
    flat: list[int] = []
    for b, text in enumerate(batch):
        for row, positions in text.targets:
            owner += [len(rows)] * len(positions)
            flat += [b * longest + position for position in positions]
            rows.append(row)
    mask = None
    if not causal and not present.all():  # a causal model never looks at what comes behind
        mask = torch.from_numpy(present).long().to(device)
    ids = torch.from_numpy(input_ids).to(device)
    states = reader(ids, torch.tensor(flat, device=device), mask)
    return np.asarray(rows), mean_by_owner(states, owner, len(rows))


def copied(states: Tensor) -> Callable[[], np.ndarray]:
    """Start to copy states from where they are; the result waits for them."""
    if states.device.type != "cuda":
        return states.cpu().numpy
    # Only pinned memory is copied to while this goes on; torch keeps it for the next batch.
    room = torch.empty(states.shape, dtype=states.dtype, pin_memory=True)
    room.copy_(states, non_blocking=True)
    done = torch.cuda.Event()
    done.record()

    def wait() -> np.ndarray:
        done.synchronize()
        return room.numpy()

    return wait


def mean_by_owner(
    states: Float[Tensor, "places r d"], owner: Sequence[int], n: int
) -> Float[Tensor, "places n d"]:
    """Average the rows of each target; with one row a target, the rows themselves."""
    if len(owner) == n:
        return states
    index = torch.tensor(owner, device=states.device)
    total = states.new_zeros(states.shape[0], n, states.shape[2]).index_add_(1, index, states)
    return total / torch.bincount(index, minlength=n)[:, None]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU or the CPU allocator had too little memory."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "DefaultCPUAllocator" in str(error) or "out of memory" in str(error).lower()
    )


def halve(batch: list[Text], waiting: list[list[Text]], name: str) -> list[list[Text]]:
    """Split a batch that did not fit, and every later one of its size or more."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    size = padded_size(batch)
    if len(batch) == 1:
        raise TokentrailsError(
            f"a single text of {size} tokens does not fit in memory",
            where=name,
            hint="shorten the text, use a machine with more memory, or extract.dtype: bfloat16.",
        )
    halves: list[list[Text]] = []
    for whole in [batch, *waiting]:
        middle = len(whole) // 2 if padded_size(whole) >= size else 0
        halves += [half for half in (whole[:middle], whole[middle:]) if half]
    return halves


def tokens_in(*batches: Sequence[Text]) -> int:
    """Tokens of batches, padding left out."""
    return sum(len(text.token_ids) for batch in batches for text in batch)


def padded_size(batch: Sequence[Text]) -> int:
    """Tokens of a batch, padding included."""
    return len(batch) * max(len(text.token_ids) for text in batch)
