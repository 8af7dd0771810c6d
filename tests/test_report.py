"""The report: what it opens on, how figures are read, how large it gets, and nobody's markup."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import workflow as wf
import yaml
from docutils.core import publish_parts
from jinja2 import Environment

from tokentrails.catalogue import CATALOGUE, Category
from tokentrails.config.load import load_config
from tokentrails.documents.captions import captions
from tokentrails.documents.readings import READINGS
from tokentrails.running.report_size import ENTRY, JOB, PAGE, UNKNOWN, embedded
from tokentrails.running.targets import Targets

REPORT = wf.ROOT / "workflow/report"
HOSTILE = "a_ `x <javascript:alert(1)>`_ ``|y|`` *z*\n\n.. raw:: html\n\n   <img src=x onerror=f()>"
"""A text with all that reStructuredText and HTML could take for more than text."""


def rendered(template: Path | str, **given: Any) -> str:
    """HTML of a caption or description, as Snakemake makes it."""
    text = template.read_text(encoding="utf-8") if isinstance(template, Path) else template
    jinja = Environment(trim_blocks=True, lstrip_blocks=True)
    return publish_parts(jinja.from_string(text).render(**given), writer="html")["html_body"]


def job_of(title: str) -> SimpleNamespace:
    """What a caption sees of a job."""
    return SimpleNamespace(
        wildcards=SimpleNamespace(model="m_", checkpoint="c_", experiment="e_", label="l_"),
        params=SimpleNamespace(title=title, measure={"title": title}),
    )


def inert(html: str) -> bool:
    """Whether nothing of `HOSTILE` has become markup, and all markup is understood."""
    parts = ("<img", 'href="javascript:alert', "system-message", "problematic")
    return not any(part in html for part in parts)


# Captions


@pytest.mark.parametrize("name", sorted(READINGS))
def test_every_figure_says_how_to_read_it(name):
    html = rendered(REPORT / f"figures/{name}.rst", snakemake=job_of("Own title"))
    assert "Own title" in html and inert(html)
    for part in ("Axes", "Marks", "High and low", "Compared with", "Interval"):
        text = re.search(rf"<strong>{part}</strong>: (.+?)</li>", html, re.DOTALL)
        assert text and len(text[1].split()) >= 3, part
    axes = READINGS[name].axes
    assert re.search(r"[Aa]cross", axes) and re.search(r"[Uu]pwards|[Dd]ownwards", axes)


def test_each_figure_has_a_caption_and_each_caption_a_figure():
    rows = CATALOGUE.with_measures({"own": "own"}).figures.values()
    assert {row.caption or row.name for row in rows} == READINGS.keys()
    assert {Path(path).stem for path in captions()} == READINGS.keys()
    assert {path.stem for path in (REPORT / "figures").glob("*.rst")} == READINGS.keys()


@pytest.mark.parametrize(
    "path", sorted(str(path.relative_to(REPORT)) for path in REPORT.glob("*/*.rst"))
)
def test_no_name_or_title_is_markup_in_a_caption(path):
    html = rendered(REPORT / path, snakemake=job_of(HOSTILE))
    assert inert(html)
    assert ("javascript:alert" in html) == ("title" in (REPORT / path).read_text(encoding="utf-8"))


def test_an_empty_title_leaves_no_empty_literal():
    html = rendered(REPORT / "figures/summary.rst", snakemake=job_of(" "))
    assert inert(html) and "``" not in html


# What it opens on


class Named(str):
    """A category, as Snakemake gives it."""

    @property
    def name(self) -> str:
        return str(self)


def description(findings: Path | None = None, **config: Any) -> str:
    """The first page of a report that has these findings."""
    made = {
        "REPORTED": SimpleNamespace(left_out=[]),
        "CONFIG": SimpleNamespace(report={"megabytes": 10.0}),
    }
    job = SimpleNamespace(rule=SimpleNamespace(module_globals=made))
    names = [Category.COMPOSITES, *([Category.FINDINGS] if findings else [])]
    files = {name: SimpleNamespace(path=findings, job=job) for name in names}
    links = "".join(f"\n.. _{name}: javascript:app.showCategory('')" for name in names)
    return rendered(
        f"{(REPORT / 'workflow.rst').read_text(encoding='utf-8')}\n{links}",
        snakemake=SimpleNamespace(config={"models": {}, "experiments": {}} | config),
        categories={Named(name): {"Other": [file]} for name, file in files.items()},
        files=[*files.values()],
    )


def test_it_opens_on_the_findings(tmp_path):
    page = tmp_path / "findings.html"
    page.write_text("<html><head></head><body>\n<h1>Findings</h1>\n\n<p>in m</p>\n</body></html>")
    html = description(findings=page)
    order = ["<h1>Findings</h1>", "<p>in m</p>", "1. Findings", "3. Composites", "How to read"]
    assert sorted(order, key=html.index) == order
    assert inert(html)
    assert "<h1>Findings" not in description()


def test_its_categories_are_in_the_order_of_what_matters():
    """Snakemake sorts them by name."""
    order = (Category.FINDINGS, Category.CLAIMS, Category.COMPOSITES, Category.FIGURES)
    assert tuple(sorted(Category))[:4] == order
    for row in CATALOGUE.figures.values():
        assert (row.category is Category.COMPOSITES) == row.path.startswith("results/composites/")


def test_no_text_of_the_configuration_is_markup_in_the_description():
    html = description(models={"m_": {"source": HOSTILE}}, experiments={"e_": {}})
    assert inert(html) and "javascript:alert" in html


# Its size


def test_kinds_are_embedded_whole_and_in_order_as_long_as_there_is_room(tmp_path):
    def files(name: str, number: int, size: int) -> list[str]:
        paths = [tmp_path / f"{name}{i}" for i in range(number)]
        for path in paths:
            path.write_bytes(b"x" * size)
        return list(map(str, paths))

    kinds = {
        "first": files("a", 1, 1_500_000),
        "large": files("b", 40, 300_000),
        "small": files("c", 10, 60_000),
        "missing": [str(tmp_path / "none")] * 3,
    }
    found = embedded(kinds, 10)
    assert found.kinds == {"first", "small", "missing"}
    (left,) = found.left_out
    assert (left.pattern, left.files, left.size) == ("large", 40, "16 MB")
    assert left.megabytes == pytest.approx(40 * (ENTRY + 400_000) / 1e6)
    room = PAGE + 54 * JOB + ENTRY + 2_000_000  # for the first kind, to the byte
    assert embedded(kinds, room / 1e6).kinds == {"first"}
    assert embedded(kinds, (room - 1) / 1e6).kinds == {"small", "missing"}
    (left,) = embedded({"missing": ["none"] * 99, "empty": []}, 1).left_out
    assert left.megabytes == pytest.approx(99 * (ENTRY + 4 * UNKNOWN // 3) / 1e6)


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> tuple[Path, Targets]:
    """A folder with the figures and tables that a run of 30 models would make, without content."""
    folder = wf.checkout(tmp_path_factory.mktemp("large") / "run")
    path = folder / "config/config.yaml"
    config = yaml.safe_load(path.read_text())
    source = config["models"]["smollm2-135m"]
    config["models"] = {f"m{number}_": source for number in range(30)}
    config["experiments"] = {
        name: {"file": config["experiments"][name]["file"]} for name in ("polysemy", "vocabulary")
    }
    config["figures"] = {"summary": f"{HOSTILE} {{model}}"}
    wf.write_yaml(path, config)
    targets = Targets(load_config(config))
    svg = f"<svg xmlns='http://www.w3.org/2000/svg'><text>{'x' * 60_000}</text></svg>"
    for name in (name for files in targets.reported().values() for name in files):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(svg if file.suffix == ".svg" else "a,b\n" * 5_000)
    (folder / "results/findings.html").write_text("<body><h1>Findings</h1></body>")
    return folder, targets


def data(file: Path, name: str) -> Any:
    """What the report holds under a name."""
    page = file.read_text(encoding="utf-8")
    found = re.search(rf'<script id="{name}">\s*var \w+ = (.*?);\s*</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.mark.e2e
def test_a_report_of_many_models_stays_small_and_says_what_is_not_in_it(large):
    folder, targets = large
    wf.run(folder, "--report", "report.html")
    file = folder / "report.html"
    assert 5e6 < file.stat().st_size <= 10e6
    results, first = data(file, "results"), data(file, "workflow-desc")
    order = ["<h1>Findings</h1>", "2. Claims", "3. Composites", "4. Figures", "Not embedded"]
    assert sorted(order, key=first.index) == order
    assert data(file, "categories").keys() <= set(Category)
    listed = re.findall(r'<span class="pre">(results/[^<]+)</span></tt>: ([^<]*)', first)
    assert all(re.fullmatch(r"[1-9]\d* files?, [1-9][\d,.]* [kM]B", size) for _, size in listed)
    named = {pattern for pattern, _ in listed}
    assert len(listed) == len(named)
    kinds = {pattern: set(files) for pattern, files in targets.reported().items() if files}
    assert named and named < kinds.keys()
    for pattern, files in kinds.items():
        assert files & results.keys() == (set() if pattern in named else files), pattern
    assert not any(pattern.startswith("results/composites/") for pattern in named)
    assert inert(first)


@pytest.mark.e2e
@pytest.mark.slow
def test_with_more_room_it_holds_all(large):
    folder, targets = large
    with wf.edited(folder / "config/config.yaml") as config:
        config["report"] = {"megabytes": 300}
    wf.run(folder, "--report", "all.html")
    file = folder / "all.html"
    assert "Not embedded" not in data(file, "workflow-desc")
    results = data(file, "results")
    assert results.keys() == {path for files in targets.reported().values() for path in files}
    titled = [each["caption"] for path, each in results.items() if path.endswith("summary.svg")]
    assert len(titled) == 30
    assert all("javascript:alert" in caption for caption in titled)
    assert all(inert(each["caption"]) for each in results.values())
