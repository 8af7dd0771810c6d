"""One folder of one form, whatever the source."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import TokentrailsError
from ..files.hashes import sha256_of
from ..files.json_file import read_object
from ..network.architectures import READ_AS, architecture_of, text_config
from ..network.weights import Weights
from ..settings import SOURCE_KINDS, Source
from .convert import DEQUANTISED, dequantise_gguf, link_or_copy, merge_shards, unpickle
from .derive import readings
from .fit import blocks_ahead, refuse_misfit, refuse_not_finite
from .names import unwrapping
from .quantised import dequantise
from .readable import checked_config
from .self_check import self_check
from .source import (
    CONFIG_FILE,
    FORM,
    PROVENANCE,
    SAFETENSORS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    module_of,
)
from .tokenizer import refuse_unfit, save_tokenizer

log = logging.getLogger(__name__)


def prepare(
    source: Source, checkpoint: str, target: Path, siblings: Sequence[Path] = ()
) -> dict[str, Any]:
    """Fetch a checkpoint and bring it into its final form.

    Parameters
    ----------
    source, checkpoint: from the configuration.
    target: the checkpoint's folder. Its files appear together when all are there.
    siblings: folders that may hold the same checkpoint already. One that does, as the hub has it
        now, gives its files, so that nothing is fetched twice.

    Returns
    -------
    The provenance: source, revision, hashes, size, and what was converted.

    Raises
    ------
    TokentrailsError: for what is wrong with the source, or an unsupported architecture.
    """
    scratch = target / ".fetch"
    # What has arrived of a commit is kept when something fails: it need not be fetched again.
    unfinished = scratch / "work" if SOURCE_KINDS[source.kind].by_commit else scratch
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        made = scratch / "work" / "made"
        made.mkdir(parents=True)
        provenance = _borrow(source, checkpoint, siblings, made) or _prepare(
            source, checkpoint, scratch, made
        )
        _publish(made, target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(scratch)
    return provenance


def _borrow(
    source: Source, checkpoint: str, siblings: Sequence[Path], made: Path
) -> dict[str, Any] | None:
    """Take the files of a sibling and give its provenance; None if no sibling has them."""
    if not SOURCE_KINDS[source.kind].by_commit or not siblings or source.base is not None:
        return None
    wanted = _recipe(source) | {"revision": module_of(source).commit_of(source, checkpoint)}
    for folder in siblings:
        try:
            provenance = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
            if not wanted.items() <= provenance.items():
                continue
            link_or_copy(folder / SAFETENSORS, made / SAFETENSORS)
            for name in (CONFIG_FILE, TOKENIZER, TOKENIZER_CONFIG, PROVENANCE):
                shutil.copyfile(folder / name, made / name)
            if sha256_of(made / SAFETENSORS) == provenance["sha256"][SAFETENSORS]:
                return provenance
        except (FileNotFoundError, ValueError):  # its weights were deleted, or it was killed
            pass
        for left in made.iterdir():
            left.unlink()
    return None


def _recipe(source: Source) -> dict[str, Any]:
    """What decides, beside the revision, which files are taken and what is made of them."""
    return {
        "source": source.spec,
        "base": source.base,  # the facts of a merge say more of it
        "file": source.file,
        "allow_pickle": source.allow_pickle,
        "form": FORM,
        "tokentrails_version": __version__,
    }


def _prepare(source: Source, checkpoint: str, scratch: Path, made: Path) -> dict[str, Any]:
    fetched = module_of(source).fetch(source, checkpoint, scratch)
    where = f"models.{source.model}"
    if source.base is not None:
        from .merge import merge  # needs seconds for that

        fetched = merge(fetched, source, made.parent / "merged")
    facts = dict(fetched.facts)
    warnings = list(facts.pop("warnings", ()))
    if fetched.gguf is not None:
        facts |= dequantise_gguf(fetched.folder, fetched.gguf, made)
    else:
        found = read_object(fetched.folder / CONFIG_FILE)
        is_half = text_config(found) is not found
        names = [file.name for file in fetched.folder.iterdir()]
        config, base = checked_config(fetched.folder, names, where=where)
        quantisation = config.pop("quantization_config", None)
        check = partial(refuse_misfit, config, where=where)
        wrappers: set[str] = set()
        left_out: set[str] = set()
        architecture = architecture_of(config, where=where)
        rename = unwrapping(
            architecture,
            base,
            half=is_half,
            ahead=blocks_ahead(config, architecture),
            removed=wrappers,
            left_out=left_out,
            where=where,
        )
        # Before the weights, whose files may be gone afterwards.
        facts["tokenizer"] = save_tokenizer(fetched.folder, made, config, where)
        plain = made / SAFETENSORS
        counts: dict[str, int] = {}
        if not any(fetched.folder.glob("*.safetensors")):
            unpickle(fetched.folder, plain, check=check, rename=rename)
            facts["note"] = "converted from PyTorch .bin weights"
        elif quantisation:
            counts = dequantise(fetched.folder, quantisation, plain, check=check, rename=rename)
        else:
            consume = fetched.folder.is_relative_to(scratch)
            merge_shards(fetched.folder, plain, check=check, consume=consume, rename=rename)
        if any(counts.values()):
            facts |= {"quantisation": counts, "note": DEQUANTISED}
        elif quantisation:
            warnings.append(
                f"quantization_config says {quantisation['quant_method']}, and none of its tensors "
                "is quantised: they are taken as they are"
            )
        if wrappers:
            facts["wrappers"] = sorted(wrappers)
        if left_out:
            facts["left_out"] = sorted(left_out)
        if is_half:
            facts["part"] = f"the model of texts in one of {found.get('model_type')!r}"
        shutil.copyfile(fetched.folder / CONFIG_FILE, made / CONFIG_FILE)
        _write_config(config, found, made)
    refuse_not_finite(read_object(made / CONFIG_FILE), Weights(made / SAFETENSORS), where=where)
    config, checked = _checked(made, where)
    architecture = architecture_of(config, where=where)
    if "logits" not in checked.get("errors", {"logits": 0.0}):
        lacking = architecture.unembedding_tensor
        warnings.append(f"its weights lack {lacking!r}: there are no log-probabilities")
    read_as = f", read as {config[READ_AS]}" if READ_AS in config else ""
    weights = Weights(made / SAFETENSORS)
    rows, width = weights.shape(weights.find(architecture.embedding))
    if width != architecture.width(config):
        raise TokentrailsError(
            f"its embedding has {width:,} dimensions, its stream {architecture.width(config):,}",
            where=where,
            hint="what states are compared with is a vector of the stream; choose another model.",
        )
    refuse_unfit(made / TOKENIZER, rows, where)
    digest = sha256_of(made / SAFETENSORS)
    provenance = {
        "model": source.model,
        "checkpoint": checkpoint,
        **_recipe(source),
        "revision": fetched.revision or digest,
        "architecture": architecture.model_type + read_as,
        "depth": architecture.depth(config),
        "d_model": architecture.width(config),
        "vocabulary_rows": rows,
        "sha256": {SAFETENSORS: digest},
        "tensors_sha256": weights.content_sha256(),
        "tokenizer_sha256": sha256_of(made / TOKENIZER),
        "bytes": {SAFETENSORS: (made / SAFETENSORS).stat().st_size},
        "self_check": checked,
        "warnings": warnings,
        **facts,
    }
    for warning in warnings:
        log.warning("%s: %s", where, warning)
    (made / PROVENANCE).write_text(
        json.dumps(provenance, indent=2, sort_keys=True, ensure_ascii=False) + "\n",
        encoding="utf-8",
    )
    return provenance


def _checked(made: Path, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration, and what the check says of its parts.

    Of a type outside the table it names the first row by which all adds up, else the first by which
    at least the stream does.
    """
    config = read_object(made / CONFIG_FILE)
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    failed: TokentrailsError | None = None
    for reading in readings(config, where=where):
        _write_config(reading, config, made)
        try:
            found.append((reading, self_check(made, where)))
        except TokentrailsError as error:
            failed = failed or error
            continue
        if found[-1][1]["grade"] == "full":
            return found[-1]
    if not found:
        assert failed is not None
        if READ_AS not in reading:
            raise failed
        raise TokentrailsError(
            f"model_type {config['model_type']!r} is not supported: read as {reading[READ_AS]}, "
            f"{failed.problem}",
            where=where,
            hint="choose another model; docs/catalogue.md has those that are.",
        )
    _write_config(found[0][0], config, made)
    return found[0]


def _write_config(config: dict[str, Any], there: dict[str, Any], made: Path) -> None:
    """Write a configuration, unless it is the one that is there."""
    if config != there:
        (made / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _publish(made: Path, target: Path) -> None:
    """Move the files of a finished folder; provenance last, since it says that all is there."""
    for file in sorted(made.iterdir(), key=lambda f: (f.name == PROVENANCE, f.name)):
        file.chmod(0o644)  # some writers give files to their owner alone
        os.replace(file, target / file.name)
