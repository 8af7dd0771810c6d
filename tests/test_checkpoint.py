"""A checkpoint's folder as one object, without torch."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny import CONFIGS

from tokentrails.network.checkpoint import Checkpoint


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_checkpoint_says_what_its_files_say(prepared, kind):
    folder, checkpoint = prepared[kind], Checkpoint(prepared[kind])
    facts = json.loads((folder / "provenance.json").read_text())
    assert checkpoint.architecture.model_type == checkpoint.config["model_type"] == kind
    assert checkpoint.name == f"{kind} (main)"
    assert checkpoint.provenance == {
        "model": kind,
        "checkpoint": "main",
        "source": facts["source"],
        "source_revision": facts["revision"],
        "weights_sha256": facts["sha256"]["model.safetensors"],
        "architecture": kind,
        "dtype": "float32",
    }
    name = checkpoint.weights.find(checkpoint.architecture.embedding)
    expected = load_file(folder / "model.safetensors")[name]
    np.testing.assert_array_equal(checkpoint.embedding, expected)
    np.testing.assert_array_equal(checkpoint.embedding_rows([3, 0, 3]), expected[[3, 0, 3]])


def test_files_are_read_when_they_are_asked_for(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"provenance\.json"):
        _ = checkpoint.name
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    assert checkpoint.architecture.model_type == "gpt2"
