"""The explorer in a real browser: what passes from a key or a click to what is drawn."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from harness import Measured, Skipped, memory
from material import MODEL, NANO, ROOT, needed

from tokentrails.catalogue import BASELINE
from tokentrails.config.experiments import load_experiment
from tokentrails.explore.models import Models
from tokentrails.explore.server import Explorer, application
from tokentrails.network.spread import Placement
from tokentrails.settings import BASELINE_TEXTS

sys.path.append(str(ROOT / "tests"))  # last, since both folders have a checkpoints.py

from browser import CHROMIUM, Browser, running

SMOLLM2 = "smollm2-135m"
TEXT = "The old boat slowly reached the river bank before the storm came over the town."
TEXTS = 1000
TURNS = 5
"""Times that each is measured; the middle one counts, as of what a user meets."""


def results() -> Iterator[Measured]:
    steps = {folder.name: folder for folder in sorted(NANO.glob("step*"))}
    needed(MODEL, NANO)
    if CHROMIUM is None:
        raise Skipped("there is no Chromium")
    models = Models({SMOLLM2: {"main": MODEL}, "nano": steps}, Placement((torch.device("cpu"),)))
    texts = load_experiment(BASELINE, {"file": BASELINE_TEXTS})
    explorer = Explorer(models, {}, texts)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(lambda hosts: application(explorer, "a-token", hosts)) as address,
    ):
        browser = Browser(Path(folder))
        try:
            yield from _measured(browser, f"{address}/#token=a-token")
        finally:
            browser.close()
    yield Measured(
        f"the explorer, memory that {TEXTS:,} texts add to that of 100", _added(explorer), "MB",
        at_most=100,
    )  # fmt: skip


def _measured(browser: Browser, address: str) -> Iterator[Measured]:
    browser.open(address)
    browser.wait("document.body && document.body.dataset.ready")
    _text(browser, "Before all else it is loaded.")
    first = [_text(browser, f"{TEXT[:-1]}{end}") for end in ".!?;:"]
    browser.wait("document.body.dataset.reference === 'true'", 300)
    clicks = [_click(browser, position) for position in (3, 9, 5, 11, 7)]
    forms = [_choose(browser, "form", form) for form in ("standardised", "centred", "scaled")]
    _choose(browser, "form", "cosine")
    _choose(browser, "model", "nano")
    steps = [_checkpoint(browser, index) for index in range(TURNS)]
    lists, drawn = zip(*clicks, strict=True)
    for what, times, most in (
        ("first view of a text of 16 tokens, with figures", first, 1.0),
        ("lists of another token", lists, 0.15),
        ("figures of another token, beside chance", drawn, None),
        ("another form of cosines, with figures", forms, 2.0),
        ("another checkpoint of nano, with figures", steps, 0.5),
    ):
        yield Measured(f"the explorer, {what}", sorted(times)[len(times) // 2], "s", at_most=most)


_UNTIL = """
new Promise(done => {
  const start = performance.now(), body = document.body, found = {};
  const seen = new MutationObserver(changes => {
    for (const {attributeName} of changes) {
      found[attributeName] = (performance.now() - start) / 1000;
      if (attributeName === "data-figures") { seen.disconnect(); done(found); }
    }
  });
  seen.observe(body, {attributes: true, attributeFilter: ["data-lists", "data-figures"]});
  ACT;
})
"""


def _seconds(browser: Browser, act: str) -> tuple[float, float]:
    """From an act to lists and to figures that are drawn."""
    found = browser.evaluate(_UNTIL.replace("ACT", act))
    return found["data-lists"], found["data-figures"]


def _text(browser: Browser, text: str) -> float:
    set_text = f"document.getElementById('text').value = {text!r}"
    return _seconds(browser, f"{set_text}; document.getElementById('ask').requestSubmit()")[1]


def _click(browser: Browser, position: int) -> tuple[float, float]:
    return _seconds(
        browser, f"document.querySelector('#tokens [data-position=\"{position}\"]').click()"
    )


def _choose(browser: Browser, name: str, value: object) -> float:
    act = f"const e = document.getElementById({name!r}); e.value = {str(value)!r}; "
    return _seconds(
        browser, act + "for (const n of ['input', 'change']) e.dispatchEvent(new Event(n))"
    )[1]


def _checkpoint(browser: Browser, index: int) -> float:
    return _choose(browser, "checkpoint", index)


def _added(explorer: Explorer) -> float:
    """Memory in MB of the process after all texts, less that after 100 of them."""
    asked = {"model": SMOLLM2, "checkpoint": "main", "special_tokens": "default"}
    place = {"positions": [3], "site": "resid", "matrix": "embedding"}
    for number in range(TEXTS):
        text = {"text": f"{TEXT} {number}"}
        explorer.nearest(asked | text | place)
        if number == 99:
            before = memory()
    return memory() - before
