"""Prints what a run will take."""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import yaml
from _job import job

from tokentrails.catalogue import TOKENS
from tokentrails.config.load import load_config
from tokentrails.errors import TokentrailsError
from tokentrails.models.size import expected
from tokentrails.running.plan import Rule, counted, needs, page, read_summary, stages, tables, total


def summary(snakefile, config):
    """Every output of the workflow, and whether it is to be made."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "config.yaml"
        # In the given order, which is that of models in composites: another one would look stale.
        file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        command = ["--summary", "--snakefile", snakefile, "--configfile", file]
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *command], capture_output=True, text=True
        )
    if done.returncode:
        raise TokentrailsError(
            f"the workflow cannot be planned:\n{done.stderr.strip()}",
            hint="snakemake -n says more.",
        )
    return read_summary(done.stdout)


def folders(model):
    """Where checkpoints of a model may lie: those that are kept, and those that are not."""
    return [file.parent for file in Path("resources/models", model.name).rglob("provenance.json")]


def counts_of(current):
    """Counts the texts of an experiment, where their table is among the files that are current."""

    def of(model, experiment, size):
        file = TOKENS.format(model=model, experiment=experiment)
        return counted(Path(file), size) if file in current else None

    return of


def size_of(file):
    path = Path(file)
    return path.stat().st_size if path.is_file() else None


with job(snakemake):
    config = load_config(snakemake.params.config)
    prefix = snakemake.rule.removesuffix("plan")  # of all rules, where another Snakefile gave one
    rules = {
        name.removeprefix(prefix): Rule(*facts) for name, facts in snakemake.params.rules.items()
    }
    outputs = [
        replace(output, rule=output.rule.removeprefix(prefix))
        for output in summary(snakemake.params.snakefile, snakemake.params.main_config)
    ]
    current = {output.file for output in outputs if output.current}
    by_model = needs(
        outputs,
        rules,
        config,
        lambda model: expected(model, folders(model)),
        counts_of(current),
    )
    print(
        page(
            stages(outputs, rules),
            by_model,
            total(by_model, config),
            tables(outputs, size_of),
            shutil.disk_usage(".").free,
            gpu_here=any(Path("/dev", name).exists() for name in ("nvidiactl", "kfd")),
        )
    )
