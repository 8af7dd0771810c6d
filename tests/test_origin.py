"""Tables that lie where they do not belong."""

import json
import os
import subprocess
import sys

import pyarrow as pa
import pytest
from config_files import refused
from workflow import ROOT

from tokentrails.errors import TokentrailsError
from tokentrails.files.origin import refuse_strangers
from tokentrails.files.tables import describe, write_table

RUN = {"model": "m", "checkpoint": "step1", "experiment": "e", "experiment_hash": "texts"}
RUN |= {"weights_sha256": "weights", "tokenizer_sha256": "tokenizer"}
TABLE = pa.table({"layer": [0]})
STATES, TOKENS = "results/hidden_states/m/step1/e.parquet", "results/tokens/m/e.parquet"


def put(folder, name, **provenance):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(describe(TABLE, title="t", provenance=provenance), path)
    return str(path)


@pytest.mark.parametrize(
    ("name", "about"),
    [
        (STATES, RUN),
        (TOKENS, RUN),
        ("results/metrics/m/step1/e/identity.parquet", RUN),
        ("results/metrics/m/all/e/convergence.parquet", RUN | {"checkpoint": "all"}),
        ("results/metrics/m/step1/weights/neurons.parquet", {"model": "m", "checkpoint": "step1"}),
    ],
)
def test_a_table_is_of_what_its_path_says(tmp_path, name, about):
    refuse_strangers([put(tmp_path, name, **about)])
    for key in {"model", "checkpoint", "experiment"} & about.keys():
        if f"{key}" == "checkpoint" and ("/all/" in name or "/tokens/" in name):
            continue  # it is of all of them
        for wrong in ({key: "other"}, {}):
            rest = {k: v for k, v in about.items() if k != key}
            path = put(tmp_path, name, **rest, **wrong)
            with refused(path, key, about[key], "rm '"):
                refuse_strangers([path])


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("weights_sha256", "results/metrics/m/step1/other/baseline.parquet"),
        ("experiment_hash", TOKENS),
        ("tokenizer_sha256", "results/hidden_states/m/step2/e.parquet"),
    ],
)
def test_tables_of_one_thing_agree_on_it(tmp_path, key, name):
    place = {"checkpoint": "step2"} if "step2" in name else {}
    place |= {"experiment": "other"} if "other" in name else {}
    first, second = put(tmp_path, STATES, **RUN), put(tmp_path, name, **RUN | place)
    refuse_strangers([first, second])
    put(tmp_path, name, **RUN | place | {key: "changed"})
    with pytest.raises(TokentrailsError, match=f"its {key} is 'changed', and that of {first}"):
        refuse_strangers([first, second])


def test_what_differs_by_nature_is_no_stranger(tmp_path):
    refuse_strangers(
        [
            put(tmp_path, STATES, **RUN),
            put(
                tmp_path,
                STATES.replace("step1", "step2"),
                **RUN | {"checkpoint": "step2", "weights_sha256": "later"},
            ),
            put(tmp_path, TOKENS.replace("/m/", "/n/"), **RUN | {"model": "n"}),
            put(tmp_path, "results/metrics/m/all/checkpoints.parquet", model="m"),
            put(tmp_path, "elsewhere/table.parquet"),
        ]
    )


def test_states_of_other_weights_than_those_at_hand(tmp_path):
    path = tmp_path / "provenance.json"
    facts = {"model": "m", "checkpoint": "step1", "sha256": {"model.safetensors": "weights"}}
    path.write_text(json.dumps(facts))
    states = put(tmp_path, STATES, **RUN)
    refuse_strangers([str(path), states])
    put(tmp_path, STATES, **RUN | {"weights_sha256": "changed"})
    with pytest.raises(TokentrailsError, match="weights_sha256 is 'changed'"):
        refuse_strangers([str(path), states])


@pytest.mark.parametrize("user", ["", "for/e/"])
def test_the_provenance_of_another_model(tmp_path, user):
    path = tmp_path / f"resources/models/m/step1/{user}provenance.json"
    path.parent.mkdir(parents=True)
    facts = {"model": "m", "checkpoint": "step1", "sha256": {"model.safetensors": "weights"}}
    path.write_text(json.dumps(facts))
    refuse_strangers([str(path)])
    for wrong in (facts | {"model": "n"}, facts | {"checkpoint": "step2"}, {}):
        path.write_text(json.dumps(wrong))
        with pytest.raises(TokentrailsError, match="not of"):
            refuse_strangers([str(path)])
    path.write_text("{")
    with pytest.raises(TokentrailsError, match="cannot be read"):
        refuse_strangers([str(path)])


def test_a_table_is_read_without_what_is_slow_to_load(tmp_path):
    """Pandas, of which pyarrow makes use where it is there, takes longer than most jobs read."""
    path = put(tmp_path, STATES, **RUN)
    code = (
        "import sys\n"
        "from tokentrails.files.origin import refuse_strangers\n"
        "from tokentrails.files.tables import read_frames\n"
        "refuse_strangers(sys.argv[1:])\n"
        "assert read_frames(sys.argv[1:]).rows() == [(0,)]\n"
        "assert 'pyarrow' in sys.modules and 'pandas' not in sys.modules\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    subprocess.run([sys.executable, "-c", code, path], env=environment, check=True)
