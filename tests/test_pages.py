"""Pages in a real browser: no text of a user's runs as a script, and the report has its results."""

import html
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import workflow as wf

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here"),
]

SCRIPT = "document.title='PWNED'"
ATTACKS = (
    f"</script><script>{SCRIPT}</script>",
    f"<!--<script>{SCRIPT}</script>",
    f'"><img src=x onerror="{SCRIPT}">',
    f"'-{SCRIPT}-'${{{SCRIPT}}}",
    f"</textarea></style></title><svg onload={SCRIPT}>",
)


def rendered(page: Path) -> str:
    """A page as the browser has it when its scripts have run."""
    # Its own sandbox, and much shared memory, are what a container may not have.
    container = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
    what = ("--dump-dom", "--virtual-time-budget=5000", page.resolve().as_uri())
    # Figures that this process has drawn leave it without fonts, and without any it dies.
    env = {name: value for name, value in os.environ.items() if name != "FONTCONFIG_FILE"}
    with tempfile.TemporaryDirectory() as profile:
        command = [BROWSER, "--headless=new", *container, *what, f"--user-data-dir={profile}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, f"{page}: {done.returncode}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run in which every text that may hold anything holds scripts."""
    folder = wf.small(tmp_path_factory.mktemp("pages") / "run")
    file = folder / "config/experiments/senses.yaml"
    with wf.edited(file) as data:
        for prompt, attack in zip(data["prompts"], ATTACKS * 10, strict=False):
            prompt |= {"prompt": f"{prompt['prompt']} {attack}", "note": attack}
            prompt["sense"] = f"{prompt['sense']} {attack}"
    claim = {
        **dict.fromkeys(("study", "source", "statement", "measure"), " ".join(ATTACKS)),
        "claimed": {"above": 0},
        "tables": {"identity": "*/identity"},
        "as_published": "SELECT label AS unit, cosine AS value FROM identity",
    }
    wf.write_yaml(folder / "claims.yaml", {"claims": [{"id": "c", **claim}]})
    path = folder / "config/config.yaml"
    with wf.edited(path) as config:
        config["models"] = {"gpt2": config["models"]["gpt2"]}
        config["experiments"] = {"senses": config["experiments"]["senses"]}
        title = f'{{model}}\'"><img src=x onerror="{SCRIPT}">'
        config["figures"] = dict.fromkeys(("identity_context", "senses", "summary"), title)
        config["claims"] = {"enabled": True, "file": "claims.yaml"}
    wf.run(folder, *wf.ONE_THREAD)
    return folder


def test_no_text_runs_in_a_page(folder):
    pages = sorted((folder / "results").rglob("*.html"))
    assert len(pages) >= 5
    for page in pages:
        dom = rendered(page)
        assert "PWNED</title>" not in dom, page
        assert "PWNED" in html.unescape(dom) or "PWNED" not in page.read_text(), page


def test_no_text_runs_in_the_report(folder):
    wf.run(folder, "--report", "report.html")
    dom = rendered(folder / "report.html")
    assert "PWNED</title>" not in dom
    assert "Claims" in dom  # its menu: what it shows was read
