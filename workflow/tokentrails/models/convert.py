"""Turning weights into one safetensors file, and showing that nothing changed."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import gguf as gguf_library
import torch
from gguf import GGUFReader
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
)

from ..errors import TokentrailsError, is_disk_full, one_line, rust_errors
from ..network.architectures import architecture_of
from ..network.extract import is_out_of_memory
from ..network.weights import Entry, Weights
from .fit import TYPES, Read
from .names import Rename
from .source import (
    CONFIG_FILE,
    PICKLE,
    PICKLE_INDEX,
    SAFETENSORS,
    SAFETENSORS_INDEX,
    files_by_tensor,
)

Check = Callable[[Mapping[str, Entry], Read], None]
"""Raises if tensors, of which it sees what a header says and may read some, are not a model's."""

_CHUNK = 1 << 22
"""Bytes that are copied at a time."""

_SIZES = (
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
)
"""What a GGUF file's header must say: not all of them can be seen in its tensors' shapes."""

_AS_GPT2 = {"gpt-2", "smollm"}
"""Of `tokenizer.ggml.pre`, what is cut as GPT-2 cuts. SmolLM cuts digits apart first; its merges
join none with anything: only several spaces before a digit may be cut otherwise."""

DEQUANTISED = "the weights were quantised; they are de-quantised values, not the original ones"
"""What `provenance.json` says of them."""

PROBE = "Once upon a time, in 1845, a small boat reached the bank of a wide river."


def merge_shards(
    folder: Path,
    target: Path,
    *,
    check: Check,
    rename: Rename,
    consume: bool = False,
) -> None:
    """Write the safetensors of a folder, one file or several, as one file.

    Tensors are joined by copying bytes: they are neither loaded nor changed.

    Parameters
    ----------
    check: looks at the tensors before any is copied.
    rename: gives their names in the model.
    consume: whether the folder is thrown away afterwards. A single file is then linked to, and each
        of several is removed as soon as it is copied: all that is needed besides them is the room
        of the largest.

    Raises
    ------
    TokentrailsError: if a shard is missing or cut short, or a tensor is there twice; if there is
        too little room, before any shard is removed.
    """
    shards = [Weights(path) for path in shards_of(folder)]
    held: dict[str, Weights] = {}
    for part in shards:
        for own in part.entries:
            _refuse_second(own, held, part.path)
            held[own] = part
    if not (folder / SAFETENSORS).is_file():
        _refuse_other_places(folder / SAFETENSORS_INDEX, held)
    names = rename(held)
    entries: dict[str, Entry] = {}
    sources: dict[str, tuple[Weights, str]] = {}
    kept: list[tuple[Weights, list[Entry]]] = []
    offset = 0
    for part in shards:
        kept.append((part, []))
        for own in sorted(part.entries, key=lambda name: part.entries[name].begin):
            if (name := names.get(own)) is None:
                continue
            entry = part.entries[own]
            end = offset + entry.end - entry.begin
            sources[name], entries[name] = (part, own), replace(entry, begin=offset, end=end)
            kept[-1][1].append(entry)
            offset = end

    def read(name: str) -> torch.Tensor:
        part, own = sources[name]
        with safe_open(part.path, framework="pt") as file:
            return file.get_tensor(own)

    check(entries, read)
    if len(shards) == 1 and all(names.get(own) == own for own in held):
        path = shards[0].path
        link_or_copy(path, target) if consume else shutil.copyfile(path, target)
        return
    merged: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for name, entry in entries.items():
        place = [entry.begin, entry.end]
        merged[name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": place}
    text = json.dumps(merged, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if consume:
        _refuse_lack_of_room(target.parent, len(text), kept)
    with target.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for part, own_entries in kept:
            with part.path.open("rb") as data:
                for entry in own_entries:
                    _append(data, out, part.start + entry.begin, entry.end - entry.begin)
            if consume:
                part.path.unlink()


def _refuse_other_places(index: Path, held: Mapping[str, Weights]) -> None:
    """Raise for a tensor that is not in the file where an index has it."""
    named = files_by_tensor(index) if index.is_file() else {}
    wrong = [t for t, file in named.items() if t not in held or held[t].path.name != file]
    if wrong:
        raise TokentrailsError(
            f"{len(wrong)} of its tensors are not in the files that it names, among them "
            f"{wrong[0]!r} in {named[wrong[0]]!r}",
            where=index,
            hint="the files are not of one model; fetch or save it again.",
        )


def _refuse_lack_of_room(
    folder: Path, header: int, kept: Sequence[tuple[Weights, Sequence[Entry]]]
) -> None:
    """Raise unless shards can be copied into a folder, each removed before the next is copied."""
    needed = held = header + 8
    for part, entries in kept:
        held += sum(entry.end - entry.begin for entry in entries)
        needed = max(needed, held)
        held -= part.path.stat().st_size
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TokentrailsError(
            f"too little room to join its {len(kept)} files of weights: {needed:,} bytes are "
            f"needed, {free:,} are free",
            where=folder,
            hint="make room on this disk, then run the same command again.",
        )


def _append(source: BinaryIO, target: BinaryIO, start: int, length: int) -> None:
    """Copy a part of a file to the end of another, within the kernel where that can be had.

    File systems that copy by themselves, or share blocks, then move no byte through memory.
    """
    target.flush()
    try:
        while length and (n := os.copy_file_range(source.fileno(), target.fileno(), length, start)):
            start, length = start + n, length - n
    except AttributeError:  # not on this system
        pass
    except OSError as error:  # not on this file system, or not between two
        if is_disk_full(error):
            raise
    source.seek(start)
    while length and (chunk := source.read(min(length, _CHUNK))):
        length -= target.write(chunk)


def shards_of(folder: Path) -> list[Path]:
    """The safetensors of a folder, one file or several."""
    if (folder / SAFETENSORS).is_file():
        return [folder / SAFETENSORS]
    return _shards(folder, SAFETENSORS_INDEX) or sorted(folder.glob("*.safetensors"))


def link_or_copy(file: Path, target: Path) -> None:
    """Give a file a second name, or a copy where the file system knows no links."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def _refuse_second(name: str, names: Container[str], path: Path) -> None:
    if name in names:
        raise TokentrailsError(
            f"the tensor {name!r} is in two files", where=path, hint="save the model again."
        )


def _shards(folder: Path, index: str) -> list[Path]:
    """The files that an index names; none where there is no index."""
    path = folder / index
    if not path.is_file():
        return []
    return [folder / name for name in sorted(set(files_by_tensor(path).values()))]


def unpickle(folder: Path, target: Path, *, check: Check, rename: Rename) -> None:
    """Convert PyTorch .bin weights, read with `weights_only`, which runs no code from the file.

    Parameters
    ----------
    check, rename: as of `merge_shards`.

    Raises
    ------
    TokentrailsError: if a file is missing, cut short, or holds more or less than tensors.
    """
    paths = [folder / PICKLE]
    if not paths[0].is_file():
        paths = _shards(folder, PICKLE_INDEX) or paths
    state: dict[str, torch.Tensor] = {}
    for path in paths:
        for name, tensor in _tensors(path):
            _refuse_second(name, state, path)
            state[name] = tensor
    state = model_tensors(state, check=check, rename=rename)
    try:
        # Safetensors refuses shared memory, which tied matrices have: each gets its own.
        save_file({k: v.clone().contiguous() for k, v in state.items()}, target, {"format": "pt"})
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TokentrailsError(
            "there is too little memory to convert its .bin weights",
            where=folder,
            hint="they need twice their size; use a larger machine, or safetensors.",
        ) from error


def model_tensors(
    state: dict[str, torch.Tensor], *, check: Check, rename: Rename
) -> dict[str, torch.Tensor]:
    """Tensors of files by their names in the model; the others are those of `merge_shards`."""
    state = {new: state[own] for own, new in rename(state).items()}
    types = {dtype: name for name, dtype in TYPES.items()}
    named = {name: types.get(tensor.dtype, str(tensor.dtype)) for name, tensor in state.items()}
    check({k: Entry(named[k], tuple(v.shape), 0, 0) for k, v in state.items()}, state.__getitem__)
    return state


def _tensors(path: Path) -> list[tuple[str, torch.Tensor]]:
    """The tensors of one .bin file, by name."""
    try:
        # Files older than torch 1.6 are no zip archives.
        held = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except Exception as error:
        raise TokentrailsError(
            f"the weights are missing, cut short, or more than tensors: {one_line(error)}",
            where=path,
            hint="save or fetch the model again, with safetensors if that can be had.",
        ) from error
    if not isinstance(held, dict):
        raise _no_tensor(f"it holds a {type(held).__name__}, not tensors by their names", path)
    for name, value in held.items():
        if not isinstance(name, str):
            raise _no_tensor(f"{name!r} is no name of a tensor", path)
        if not isinstance(value, torch.Tensor):
            raise _no_tensor(f"under {name!r} is a {type(value).__name__}, not a tensor", path)
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise _no_tensor(f"the tensor {name!r} is sparse, quantised or empty", path)
    return list(held.items())


def _no_tensor(problem: str, path: Path) -> TokentrailsError:
    return TokentrailsError(
        problem,
        where=path,
        hint="save the model's tensors alone: torch.save(model.state_dict(), …).",
    )


def dequantise_gguf(folder: Path, gguf: str, target_folder: Path) -> dict[str, Any]:
    """Read a GGUF model, save it as float32 safetensors, and compare the logits before and after.

    Parameters
    ----------
    folder, gguf: where the file is, and its name.
    target_folder: gets `model.safetensors`, `config.json` and the tokenizer.

    Returns
    -------
    Facts for the provenance: the quantisation, and the largest difference of logits.

    Raises
    ------
    TokentrailsError: if the file is not what its header says, or a single logit differs.
    """
    path = folder / gguf
    path = path.readlink() if path.is_symlink() else path  # to the user's own
    try:
        with rust_errors(), _header_read_once():
            reader = gguf_library.GGUFReader(path)
            _refuse_header(reader, path)
            config = AutoConfig.from_pretrained(folder, gguf_file=gguf)
            architecture_of(config.to_dict(), where=path)
            _refuse_misfit(reader, config, path)
            model, loading = AutoModelForCausalLM.from_pretrained(
                folder,
                gguf_file=gguf,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=gguf)
    except TokentrailsError:
        raise
    except Exception as error:
        raise TokentrailsError(
            f"the GGUF file is cut short, or transformers cannot read it: {one_line(error)}",
            where=path,
            hint="fetch it again, or take the model as safetensors.",
        ) from error
    for kind in ("missing", "mismatched", "unexpected"):
        if names := sorted(map(str, loading[f"{kind}_keys"])):
            raise _no_model(
                f"{len(names)} of its tensors are {kind}, among them {names[0]!r}", path
            )
    tokenizer.save_pretrained(target_folder, save_jinja_files=False)  # as `save_tokenizer` does
    state = model.state_dict()
    for tied in model.all_tied_weights_keys if model.config.tie_word_embeddings else ():
        state.pop(tied, None)
    save_file(
        {k: v.contiguous() for k, v in state.items()}, target_folder / SAFETENSORS, {"format": "pt"}
    )
    saved = model.config.to_dict()
    # transformers keeps calling the model quantized, and would refuse or misread the saved weights.
    saved.pop("quantization_config", None)
    saved.pop("_name_or_path", None)
    (target_folder / CONFIG_FILE).write_text(
        json.dumps(saved, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8"
    )
    ids = tokenizer(PROBE, return_tensors="pt").input_ids
    with torch.inference_mode():
        before = model.eval()(ids).logits
        again = AutoModelForCausalLM.from_pretrained(target_folder, dtype=torch.float32)
        difference = float((again.eval()(ids).logits - before).abs().max())
    if difference != 0:
        raise TokentrailsError(
            f"the logits changed by up to {difference} when the model was saved",
            where=path,
            hint="the conversion is wrong for this model; please report it.",
        )
    pre = reader.fields.get("tokenizer.ggml.pre")  # transformers has rules for many such names
    return {
        "quantisation": _quantisation(reader),
        "tokenizer": {"files": [gguf], "pre_tokenizer": pre and pre.contents()},
        "note": DEQUANTISED,
        "conversion": {"logits_max_difference": difference, "logits_compared": before.numel()},
    }


@contextmanager
def _header_read_once() -> Iterator[None]:
    """Within it a GGUF file's header is read once: transformers does for each of its questions.

    A header lists the vocabulary, entry by entry, which takes seconds. So does the map of names,
    which is made for each module.
    """
    names = "GGUFReader", "get_tensor_name_map"
    reader, name_map = (getattr(gguf_library, name) for name in names)
    read = cache(reader)
    once = (lambda path: read(os.path.realpath(path))), cache(name_map)
    vars(gguf_library).update(zip(names, once, strict=True))
    try:
        yield
    finally:
        vars(gguf_library).update(zip(names, (reader, name_map), strict=True))


def _refuse_misfit(reader: GGUFReader, config: PreTrainedConfig, path: Path) -> None:
    """Raise unless a GGUF file's tensors are those of the model that its header describes.

    transformers takes sizes that the header lacks from the class's defaults, and leaves tensors
    out that it has no place for. The model that is compared has no numbers, so takes no memory.
    """
    architecture = reader.fields["general.architecture"].contents()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config=config.to_dict())
    state = model.state_dict()
    for tied in model.all_tied_weights_keys if config.tie_word_embeddings else ():
        state.pop(tied, None)
    places = get_gguf_hf_weights_map(model, processor)
    # Some are kept transposed, which is seen when they are read.
    wanted = {name: sorted(state[own].shape) for name, own in places.items() if own in state}
    held = {tensor.name: sorted(map(int, tensor.shape)) for tensor in reader.tensors}
    for problem, names in (
        ("have no place in its model", held.keys() - wanted.keys()),
        ("are missing", wanted.keys() - held.keys()),
        (
            "have other shapes than its header says",
            {n for n, shape in held.items() if shape != wanted.get(n)},
        ),
    ):
        if names:
            raise _no_model(
                f"{len(names)} of its tensors {problem}, among them {min(names)!r}", path
            )


def _refuse_header(reader: GGUFReader, path: Path) -> None:
    """Raise for sizes that a GGUF file lacks in its header, or blocks that it has not."""
    architecture = reader.fields["general.architecture"].contents()
    for key in _SIZES:
        if f"{architecture}.{key}" not in reader.fields:
            raise _no_model(f"{architecture}.{key} is missing from its header", path)
    kind, pre = (reader.fields.get(f"tokenizer.ggml.{key}") for key in ("model", "pre"))
    rules = pre and pre.contents()
    known = GGUF_PRE_TOKENIZER_SPLITS.keys() | _AS_GPT2
    if kind and kind.contents() == "gpt2" and rules not in known:
        raise _no_model(
            f"tokenizer.ggml.pre is {rules!r}, which transformers has no rules for",
            path,
        )
    blocks = {t.name.split(".")[1] for t in reader.tensors if t.name.startswith("blk.")}
    if (depth := reader.fields[f"{architecture}.block_count"].contents()) != len(blocks):
        raise _no_model(
            f"{architecture}.block_count is {depth:,}, its tensors have {len(blocks)} blocks", path
        )


def _no_model(problem: str, path: Path) -> TokentrailsError:
    return TokentrailsError(
        problem,
        where=path,
        hint="the file is not the model that its header describes, or transformers does not know "
        "all of it; take the model as safetensors.",
    )


def _quantisation(reader: GGUFReader) -> dict[str, int]:
    """How many tensors a GGUF file holds of each type."""
    counts: dict[str, int] = {}
    for tensor in reader.tensors:
        counts[tensor.tensor_type.name] = counts.get(tensor.tensor_type.name, 0) + 1
    return dict(sorted(counts.items()))
