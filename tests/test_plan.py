"""The plan of a run: what is counted, against what the workflow would do and against plain sums."""

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import hub as stand_in
import polars as pl
import pytest
import workflow as wf

from tokentrails.config.load import load_config
from tokentrails.config.trainings import SIZES
from tokentrails.errors import TokentrailsError
from tokentrails.models.size import Expected, expected
from tokentrails.network.size import ModelSize
from tokentrails.running.cost import (
    FLOP_PER_SECOND,
    READ_MB_PER_SECOND,
    START_MINUTES,
    Counts,
    occurrences_of,
)
from tokentrails.running.plan import (
    Need,
    Output,
    Rule,
    Tables,
    counted,
    needs,
    page,
    read_summary,
    stages,
    tables,
    total,
)
from tokentrails.training.network import network

RULES = {
    "model": Rule("models", 5, local=True, gpu=False),
    "passing_model": Rule("models", 5, local=True, gpu=False),
    "hidden_states": Rule("hidden_states", 1, local=False, gpu=True),
    "ranks": Rule("vocabulary", 1, local=False, gpu=True),
    "identity": Rule("metrics", 2, local=False, gpu=False),
    "training": Rule("training", 3, local=False, gpu=False),
}
SIZE = ModelSize(
    weights_mb=400.0,
    parameters=10**8,
    depth=4,
    d_model=64,
    vocabulary=10**5,
    tied=True,
    causal=True,
)


@pytest.fixture(scope="module")
def config():
    steps = {"checkpoints": ["step1", "step2"]}
    return load_config(
        {
            "models": {
                "kept": {"source": "hub:owner/kept", **steps},
                "passing": {"source": "hub:owner/passing", **steps, "keep_weights": False},
                "other": {"source": "hub:owner/other", **steps, "keep_weights": False},
                "nano": {"source": "train:nano"},
            },
            "experiments": {"polysemy": {"file": "config/experiments/polysemy.yaml"}},
            "baseline": {"enabled": False},
        }
    )


def outputs(rule, pattern, pending=True):
    return [Output(pattern.format(i), rule, pending) for i in range(RULES[rule].outputs)]


def of_checkpoints(model, rule="model", folder="", pending=True):
    return [
        output
        for step in ("step1", "step2")
        for output in outputs(rule, f"resources/models/{model}/{step}/{folder}{{}}", pending)
    ]


def states(model, step, pending=True):
    return outputs(
        "hidden_states", f"results/hidden_states/{model}/{step}/polysemy.parquet", pending
    )


def test_the_summary_is_read_without_its_header():
    text = (
        "output_file\tdate\trule\tlog-file(s)\tstatus\tplan\n"
        "a b.csv\t-\tidentity\t-\tmissing\tupdate pending\n"
        "c\tMon\tmodel\t-\tok\tno update\n"
        "d\tMon\ttokens\t-\tok\tupdate pending\n"
        "e\tMon\ttokens\t-\tparams changed\tupdate pending\n"
        "a message\n"
    )
    assert read_summary(text) == [
        Output("a b.csv", "identity", True),
        Output("c", "model", False, current=True),
        Output("d", "tokens", True, current=True),
        Output("e", "tokens", True),
    ]


def test_jobs_are_counted_by_stage_and_by_where_they_run():
    listed = [
        *of_checkpoints("kept", pending=False),
        *of_checkpoints("other"),
        *states("kept", "step1"),
        *states("kept", "step2", pending=False),
        *outputs("identity", "results/metrics/kept/step1/polysemy/{}"),
    ]
    found = stages(listed, RULES)
    assert list(found) == ["models", "hidden_states", "metrics"]
    counts = {name: (s.local, s.cpu, s.gpu, s.done, s.pending) for name, s in found.items()}
    assert counts["models"] == (2, 0, 0, 2, 2)
    assert counts["hidden_states"] == (0, 0, 1, 1, 1)
    assert counts["metrics"] == (0, 1, 0, 0, 1)


def test_only_what_is_to_be_done_is_needed(config):
    def asked(model):
        assert model.name == "kept", "a model with nothing to do needs no size"
        return Expected(SIZE, 500.0)

    listed = [*of_checkpoints("kept"), *states("kept", "step1", False), *states("kept", "step2")]
    listed += outputs("ranks", "results/metrics/kept/step1/polysemy/ranks.parquet")
    found = needs(listed, RULES, config, asked)
    need = found["kept"]
    assert (need.checkpoints, need.gpu_jobs) == (2, 2)
    assert need.download_mb == 2 * 500
    assert need.weights_mb == 2 * 400
    experiment = config.experiments["polysemy"]
    places = 5 + 4 + 1  # resid, resid_mid, final_norm
    assert need.states_mb == occurrences_of(experiment) * places * 64 * 4 / 1e6
    assert need.asked_hours > START_MINUTES / 60 > need.work_hours > 0
    assert found["other"] == Need()


def test_texts_that_are_tokenized_are_counted(config, tmp_path):
    """Each once, and in a causal model up to the last position that is read."""
    rows = {"token_ids": [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 5]], "last": [1, 2, 1]}
    pl.DataFrame(rows).write_parquet(tmp_path / "tokens.parquet")
    causal = counted(tmp_path / "tokens.parquet", SIZE)
    assert causal == Counts(tokens=3 + 2, occurrences=3)
    assert counted(tmp_path / "tokens.parquet", replace(SIZE, causal=False)) == Counts(4 + 3, 3)

    listed = [*states("kept", "step1"), *states("kept", "step2")]
    listed += outputs("ranks", "results/metrics/kept/step1/polysemy/ranks.parquet")
    unread = needs(listed, RULES, config, lambda model: Expected(SIZE, 0.0))
    read = needs(listed, RULES, config, lambda model: Expected(SIZE, 0.0), lambda *_: causal)
    assert (unread["kept"].bounded, read["kept"].bounded) == (3, 0)
    assert read["kept"].states_mb == 2 * 3 * (5 + 4 + 1) * 64 * 4 / 1e6
    passes = 3 * 2 * (10**8 - 64 * 10**5) * 5
    products = 2 * 64 * 10**5 * 3 * 4 * 5
    traffic = 3 * 400 + 1.5 * read["kept"].states_mb  # ranks reads those of one checkpoint
    expected_hours = (passes + products) / FLOP_PER_SECOND + traffic / READ_MB_PER_SECOND
    assert read["kept"].work_hours == pytest.approx(expected_hours / 3600)
    assert read["kept"].asked_hours == unread["kept"].asked_hours  # Slurm is asked for the bound


def test_weights_that_are_not_kept_take_the_room_of_one_checkpoint(config):
    listed = [
        output
        for model in ("passing", "other")
        for experiment in ("polysemy", "drift")
        for output in of_checkpoints(model, "passing_model", f"for/{experiment}/")
    ]
    found = needs(listed, RULES, config, lambda model: Expected(SIZE, 500.0))
    assert found["passing"].download_mb == 2 * 500  # once for both experiments
    assert found["passing"].weights_mb == 400
    assert total(found, config).weights_mb == 400
    assert total(found, config).download_mb == 4 * 500


def test_a_training_saves_all_checkpoints_of_its_schedule(config):
    listed = outputs("training", "resources/training/nano/{}")
    found = needs(listed, RULES, config, lambda model: Expected(SIZE, 0.0))
    assert found["nano"].weights_mb == 400 * 13  # 0, 1, 2, 4, … 512, 1024, 1536


def test_what_is_unknown_is_named_and_in_no_sum(config):
    def asked(model):
        if model.name == "passing":
            raise TokentrailsError("no network", hint="connect.")
        return Expected(SIZE, 500.0)

    listed = [*of_checkpoints("kept"), *of_checkpoints("passing", "passing_model")]
    found = needs(listed, RULES, config, asked)
    assert found["passing"].unknown == "no network"
    assert total(found, config).download_mb == 2 * 500
    assert total(found, config).checkpoints == 4


def test_tables_are_as_large_as_those_of_the_same_rule():
    there = outputs("identity", "results/metrics/a/{}", pending=False)
    listed = [
        *there,
        *outputs("identity", "results/metrics/b/{}"),
        *outputs("identity", "results/metrics/c/{}"),
        Output("results/claims.csv", "claims", True),
        *states("kept", "step1"),
        *of_checkpoints("kept"),
    ]
    sizes = {there[0].file: 1_000_000, there[1].file: 3_000_000}
    found = tables(listed, sizes.get)
    assert (found.files, found.mb) == (5, 8.0)
    assert found.unknown == {"claims": 1}


def test_a_page_says_at_least_where_a_size_is_unknown():
    need = Need(states_mb=1500.0, work_hours=0.51, asked_hours=2.34, bounded=2)
    found = {"gpt2": need}
    known, unknown = Tables(files=2, mb=500.0), Tables(files=3, unknown={"claims": 3})
    text = page({}, found, need, known, 10**10, gpu_here=True)
    assert "Disk: 2,000 MB more, 10 GB free." in text
    assert "GPU: at most 31 min of work on a small GPU; jobs ask for 2.3 h together" in text
    assert "Texts of 2 GPU jobs are not tokenized" in text
    assert "Without Slurm all run here.\n" in text
    alone = page({}, found, need, known, 10**10, gpu_here=False)
    assert "all run here, GPU jobs on the CPU: there is no GPU. They take longer there." in alone
    counted_all = replace(need, bounded=0)
    assert "GPU: about 31 min of work" in page({}, found, counted_all, known, 10**10, gpu_here=True)
    text = page({}, found, need, unknown, 10**9, gpu_here=True)
    assert "no file is there of claims, so the size of 3 is unknown." in text
    assert "Disk: at least 1,500 MB more, 1,000 MB free. NOT ENOUGH." in text


def test_a_sum_of_unknown_numbers_is_no_zero():
    known, packed = Need(states_mb=1500.0, gpu_jobs=1), Need(gpu_jobs=2, unknown="not fetched")
    text = page(
        {},
        {"gpt2": known, "b": packed},
        replace(known, gpu_jobs=3),
        Tables(),
        10**10,
        gpu_here=True,
    )
    *_, line = (line for line in text.splitlines() if line.startswith("total"))
    assert line.split("  ")[-1].strip() == "3" and "≥ 1,500 MB" in line
    text = page({}, {"b": packed}, Need(gpu_jobs=2), Tables(), 10**10, gpu_here=True)
    *_, line = (line for line in text.splitlines() if line.startswith("total"))
    assert line.split() == ["total", "0", *["unknown"] * 4, "2"]
    assert "Disk: unknown more, 10 GB free." in text and "GPU: unknown." in text


def test_the_size_of_a_training_is_that_of_its_network(config):
    shape = SIZES["nano"]
    tokenizer = SimpleNamespace(bos_token_id=0, eos_token_id=0, pad_token_id=0)
    tokenizer = type("Full", (), {"__len__": lambda _: shape.vocabulary, **vars(tokenizer)})()
    trained = network(shape, tokenizer, 0)
    size = expected(config.models["nano"], []).size
    assert size.parameters == sum(p.numel() for p in trained.parameters())
    assert (size.depth, size.d_model) == (6, 128)


def test_the_size_of_a_folder_is_that_of_its_files(config, saved, prepared):
    model = config.models["kept"]
    there = ModelSize.from_folder(prepared["gpt2"])
    assert (there.tied, there.causal) == (True, True)
    assert expected(model, [prepared["gpt2"]]) == Expected(there, there.weights_mb)
    source = replace(model.source, kind="path", location=str(saved["gpt2"]), has_checkpoints=False)
    found = expected(replace(model, source=source), [saved["gpt2"]])
    assert found.download_mb == 0
    assert found.size.weights_mb == (saved["gpt2"] / "model.safetensors").stat().st_size / 1e6
    assert found.size.parameters == pytest.approx(there.parameters, rel=0.05)  # and the header
    assert (found.size.depth, found.size.d_model) == (there.depth, there.d_model)


def test_an_adapter_is_as_large_as_its_base_in_float32(config, prepared, tmp_path):
    model = config.models["kept"]
    tuned = replace(model, source=replace(model.source, base=str(prepared["gpt2"])))
    there = ModelSize.from_folder(prepared["gpt2"])
    found = expected(tuned, [])
    assert (found.download_mb, found.size.parameters) == (0, there.parameters)
    assert found.size.weights_mb == 4 * there.parameters / 1e6
    missing = replace(model, source=replace(model.source, base=str(tmp_path / "m/main")))
    with pytest.raises(TokentrailsError, match="as large as 'm', which is not fetched yet"):
        expected(missing, [])


def test_quantised_weights_have_another_size_before_they_are_read(config, saved, tmp_path):
    model = config.models["kept"]
    folder = shutil.copytree(saved["gpt2"], tmp_path / "gpt2")
    described = json.loads((folder / "config.json").read_text())
    described["quantization_config"] = {"quant_method": "fp8"}
    (folder / "config.json").write_text(json.dumps(described))
    here = replace(model.source, kind="path", location=str(folder), has_checkpoints=False)
    for source in (here, replace(model.source, kind="hub", file="m.gguf")):
        with pytest.raises(TokentrailsError, match="not known before they are read"):
            expected(replace(model, source=source), [])


def test_a_package_says_nothing_before_it_is_fetched(config):
    model = config.models["kept"]
    with pytest.raises(TokentrailsError, match="not known before it is fetched"):
        expected(replace(model, source=replace(model.source, kind="package")), [])


def test_the_plan_is_what_a_dry_run_would_do_and_asks_the_hub_once(small, tmp_path):
    folder = wf.small(tmp_path / "run", small / "models")
    model = small / "models/gpt2"
    config = wf.read_yaml(folder / "config/config.yaml")
    steps = ["step1", "step2", "step4"]
    config["models"]["far"] = {"source": "hub:owner/far", "checkpoints": steps}
    wf.write_yaml(folder / "config/config.yaml", config)
    with stand_in.running() as hub:
        for step in steps:
            hub.add("owner/far", model, step)
        before = set(wf.contents(folder))
        # As profiles/slurm has it of jobs that say nothing of a GPU.
        no_gpu = ("--default-resources", "gpu=0")
        done = wf.run(folder, "plan", *no_gpu, **wf.from_hub(hub.url, tmp_path / "home"))
        assert hub.downloaded() == ["config.json"]
        assert sum("/api/models/" in path for _, path, _ in hub.log) == 1
    found = wf.contents(folder)
    made = {n for n in found if not n.startswith(".snakemake/") and "__pycache__" not in n}
    assert made - before == {"results/logs/plan.log"}
    row = re.search(r"^total +([\d,]+) ", done.stdout, re.MULTILINE)
    with_costs = len(wf.jobs_to_run(folder)) + 1  # the list leaves out what sums up the others
    assert int(row[1].replace(",", "")) == with_costs
    # On a cluster, each figure would wait in the queue for longer than it is drawn.
    figures = re.search(r"^figures +(\d+) +(\d+) ", done.stdout, re.MULTILINE)
    assert figures[1] == figures[2] != "0"
    size = sum(f.stat().st_size for f in model.iterdir() if f.name != "generation_config.json")
    far = re.search(r"^far +3 +([\d,]+ kB) ", done.stdout, re.MULTILINE)
    assert far[1] == f"{3 * size / 1e3:,.0f} kB"
