"""Hidden states of an experiment's targets: one load of the checkpoint, then batches."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from ..errors import TokentrailsError
from ..files.states import Place, StatesWriter
from ..progress import no_bar
from .architectures import Architecture, architecture_of
from .batches import Text, batches, texts_to_run
from .stream import StreamReader
from .weights import Weights

# Most room for the states of one batch at all places, in bytes.
STATES_BYTES = 128 << 20


def load_model(folder: Path, device: torch.device, dtype: str) -> tuple[nn.Module, Architecture]:
    """The bare model of a checkpoint folder, without unembedding, ready to run.

    Raises
    ------
    TokentrailsError: for weights that are cut short, or lack a part of the model.
    """
    config, architecture = _read_config(folder)
    options = {"add_pooling_layer": False} if config["model_type"] in ("bert", "roberta") else {}
    model, bad = _load(AutoModel, folder, device, dtype, **options)
    _refuse_bad_tensors(bad, folder)
    return model, architecture


def load_language_model(
    folder: Path, device: torch.device, *, name: str
) -> tuple[nn.Module, Architecture]:
    """The model of a checkpoint folder with its unembedding, in float32.

    Its attribute `base_model` is what `load_model` gives.

    Parameters
    ----------
    name: of the model and checkpoint, for messages.

    Raises
    ------
    TokentrailsError: for weights that are cut short, or lack the unembedding (of encoders: the
        masked-token head) or another part of the model.
    """
    _, architecture = _read_config(folder)
    auto = AutoModelForCausalLM if architecture.causal else AutoModelForMaskedLM
    model, bad = _load(auto, folder, device, "float32")
    of_head = [tensor for tensor in bad if not tensor.startswith(f"{model.base_model_prefix}.")]
    if of_head and len(of_head) == len(bad):
        head = "unembedding" if architecture.causal else "masked-token head"
        raise TokentrailsError(
            f"{name} has no {head}: its weights lack {_list_of(of_head)}",
            where=folder / "model.safetensors",
            hint="take a model that was saved with it, or leave this one out of the experiment.",
        )
    _refuse_bad_tensors(bad, folder)
    return model, architecture


def _read_config(folder: Path) -> tuple[dict[str, Any], Architecture]:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config, architecture_of(config, where=folder / "config.json")


def _load(
    auto: Any, folder: Path, device: torch.device, dtype: str, **options: Any
) -> tuple[nn.Module, list[str]]:
    """A model as one of transformers' auto classes builds it, and the tensors that it lacks."""
    Weights(folder / "model.safetensors")  # refuses a file that is cut short
    model, loading = auto.from_pretrained(
        folder,
        config=AutoConfig.from_pretrained(folder, trust_remote_code=False),
        dtype=getattr(torch, dtype),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are refused, by name
        **options,
    )
    bad = sorted(loading["missing_keys"]) + sorted(map(str, loading.get("mismatched_keys", ())))
    return model.eval().to(device), bad


def _refuse_bad_tensors(bad: list[str], folder: Path) -> None:
    if bad:  # transformers would fill them with random numbers
        raise TokentrailsError(
            f"{len(bad)} tensors are missing or of another shape, among them {bad[0]!r}",
            where=folder / "model.safetensors",
            hint="the weights do not fit config.json; fetch or save the model again.",
        )


def _list_of(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]!r}{more}"


def target_positions(first: int, last: int, pooling: str) -> tuple[int, ...]:
    """The positions whose states stand for a target, by the experiment's pooling."""
    return {"first": (first,), "last": (last,), "mean": tuple(range(first, last + 1))}[pooling]


def extract(
    model: nn.Module,
    architecture: Architecture,
    tokens: pa.Table,
    writer: StatesWriter,
    *,
    pooling: str,
    token_budget: int,
    name: str,
    progress: Callable[[int], tqdm] = no_bar,
) -> None:
    """Run every text and hand the targets' states to the writer.

    Parameters
    ----------
    model, architecture: as `load_model` gives them.
    tokens: the experiment's tokens table.
    writer: takes the states; its places say where to read.
    pooling: `last`, `first` or `mean` over a target's tokens.
    token_budget: most tokens in a batch, padding included; halved when memory runs out.
    name: of the model and checkpoint, for messages.
    progress: makes a progress bar for a number of tokens.

    Raises
    ------
    TokentrailsError: if a state is not finite, or one text alone does not fit in memory.
    """
    ids = tokens["token_ids"].to_pylist()
    spans = zip(tokens["first"].to_pylist(), tokens["last"].to_pylist(), strict=True)
    positions = [target_positions(first, last, pooling) for first, last in spans]
    texts = texts_to_run(ids, positions, causal=architecture.causal)
    waiting = batches(texts, token_budget, max(1, STATES_BYTES // writer.row_bytes))
    labels = tokens["label"].to_pylist()
    reader = StreamReader(model, architecture, writer.places)
    try:
        with torch.inference_mode(), progress(tokens_in(*waiting)) as bar:
            while waiting:
                batch = waiting.pop(0)
                try:
                    rows, hidden = run_batch(reader, batch, causal=architecture.causal)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    waiting = halve(batch, waiting, name)
                    continue
                refuse_non_finite(hidden, rows, writer.places, labels, name)
                writer.add(rows, hidden)
                bar.update(tokens_in(batch))
    finally:
        reader.close()


def run_batch(
    reader: StreamReader, batch: Sequence[Text], *, causal: bool
) -> tuple[np.ndarray, Float[np.ndarray, "places m d"]]:
    """The table rows of a batch's targets, and their pooled states at every place."""
    device = next(reader.model.parameters()).device
    lengths = [len(text.token_ids) for text in batch]
    longest = max(lengths)
    # Right padding: learned positions then count from the text's own beginning. What is padded with
    # does not matter then, and a configuration's pad_token_id may be -1.
    input_ids = torch.zeros((len(batch), longest), dtype=torch.long)
    for b, text in enumerate(batch):
        input_ids[b, : lengths[b]] = torch.tensor(text.token_ids)
    mask = None
    if not causal and min(lengths) < longest:  # a causal model never looks at what comes behind
        mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long().to(device)
    rows: list[int] = []
    owner: list[int] = []
    flat: list[int] = []
    for b, text in enumerate(batch):
        for row, where in text.targets:
            owner += [len(rows)] * len(where)
            flat += [b * longest + position for position in where]
            rows.append(row)
    states = reader(input_ids.to(device), torch.tensor(flat, device=device), mask)
    return np.asarray(rows), mean_by_owner(states, owner, len(rows)).cpu().numpy()


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
        if padded_size(whole) >= size and len(whole) > 1:
            middle = len(whole) // 2
            halves += [whole[:middle], whole[middle:]]
        else:
            halves.append(whole)
    return halves


def tokens_in(*parts: Sequence[Text]) -> int:
    """Tokens of batches, padding left out."""
    return sum(len(text.token_ids) for batch in parts for text in batch)


def padded_size(batch: Sequence[Text]) -> int:
    """Tokens of a batch, padding included."""
    return len(batch) * max(len(text.token_ids) for text in batch)


def refuse_non_finite(
    hidden: np.ndarray, rows: np.ndarray, places: Sequence[Place], labels: Sequence[str], name: str
) -> None:
    """Raise for a state with a NaN or an infinity, at the first such place on the model's way."""
    # A sum is finite exactly when all is, unless it overflows; only then look closer.
    if np.isfinite(hidden.sum(dtype=np.float64)):
        return
    broken = ~np.isfinite(hidden).all(axis=2)
    for place in sorted(range(len(places)), key=lambda p: _on_the_way(places[p])):
        if not broken[place].any():
            continue
        (site, layer), row = places[place], rows[broken[place].argmax()]
        raise TokentrailsError(
            f"the state is not finite at site {site}, layer {layer}, label {labels[row]!r}",
            where=name,
            hint="in half precision, use extract.dtype: float32; otherwise the weights are broken.",
        )


def _on_the_way(place: Place) -> tuple[int, int]:
    """Sorts places by when the model comes to them."""
    site, layer = place
    return layer, ("resid", "resid_mid", "final_norm").index(site)
