"""Numbers that the manual quotes: each has a source, and is what the source says."""

import csv
import json
import re
from pathlib import Path

import pytest
import yaml
from repository import ROOT, repository_texts

from tokentrails.documents import quoted
from tokentrails.documents.quoted import MARK, PAGES, SOURCES, filled, load
from tokentrails.errors import TokentrailsError

CLAIMS = yaml.safe_load((ROOT / "config/claims.yaml").read_text(encoding="utf-8"))
INDEX = r"\d(?:[\d,]*\d)?"

NUMBERS = {
    "claims": {
        "gone": {
            "m": {
                **{"value_as_published": 0.5, "value_corrected": -0.0849, "n": 3, "units": 3},
                **{"ci_low": -0.0961, "ci_high": 0.0733, "verdict": "does not hold"},
            }
        }
    },
    "verdicts": {"does not hold": 1, "all": 1},
    "numbers": {
        "rank": {"m": 46972.0, "empty": None},
        "auc": {"m": {"10": {"value": 0.9049, "ci_low": 0.8618, "ci_high": 0.9301, "p": 12.34}}},
    },
}
BENCH = """area,what,value,unit,bound,passed,problem,machine
speed,"ours, against theirs",6.04,times as fast,5.5,true,,"Some CPU, 2 of 4 cores"
speed,slow,3,s,2,false,,"Some CPU, 2 of 4 cores"
speed,late,3,s,1,false,,"Some CPU, 2 of 4 cores"
disk,,,,,,failed: OSError,"Some CPU, 2 of 4 cores"
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "numbers.json").write_text(json.dumps(NUMBERS))
    (tmp_path / "bench.csv").write_text(BENCH)
    return tmp_path


# --- the manual ----------------------------------------------------------------------------------


def test_every_page_with_a_source_is_filled_in():
    texts = {name: text for name, text in repository_texts().items() if name.endswith(".md")}
    quoting = {name for name, text in texts.items() if MARK.search(text)}
    assert {"README.md", *FINDINGS} <= quoting <= set(PAGES)


def test_every_row_of_the_benchmarks_has_a_name_of_its_own():
    with (SOURCES / "bench.csv").open(encoding="utf-8", newline="") as file:
        names = [row["what"] for row in csv.DictReader(file)]
    assert names and len(names) == len(set(names))


@pytest.mark.parametrize("page", PAGES)
def test_the_manual_quotes_what_its_sources_say(page):
    text = read(page)
    assert filled(text, load(SOURCES), page) == text, "run `make numbers`"


# Pages of findings and times: every number in them has a source.
FINDINGS = ("docs/tour.md", "docs/studies.md", "docs/speed.md")
# Code, links, what a table's row is about, and where in a model or a training something is.
NO_RESULT = re.compile(
    r"```.*?```|`[^`]*`|!?\[[^\]]*\]\([^)]*\)|^\|[^|\n]*"
    rf"|\b(?:layer|step|block|head|neuron|position)s? {INDEX}(?:(?:,| to| and) {INDEX})*",
    re.DOTALL | re.MULTILINE,
)
OTHERS = re.compile("Of this project|How Contextual")
OF_STUDIES = sum(not OTHERS.match(claim["study"]) for claim in CLAIMS["claims"])
# How models and experiments are made, which no run can change.
DESIGN = (
    "a decoder of 30 blocks, called SmolLM2-135M here; MiniLM-L6, an encoder of 6",
    "Words of one token, 32 of them",
    "the first 20,000 tokens of *Henry V*",
    "(4 words × 2 senses × 4 sentences)",
    "below 0.1",
    "of 576",
    "Two senses each of 24 words",
    "95 % interval",
    "6 blocks and 128 dimensions",
    "for 1,536 steps",
    "600 frequent English words, 200 of each",
    "12 carrier sentences",
    "74 sentences",
    "49,152",
    "7 tokens behind the BOS",
    "4-bit",
    f"{len(CLAIMS['claims'])} statements",
    f"{OF_STUDIES} of the four studies",
    "(2019)",
    "(0.5, 0.02 and the like)",
    "ranks of 2,000 states",
    "every third layer",
)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def without_source(text: str) -> list[str]:
    """Where a text has a number without a mark that could be a result."""
    text = re.sub(r"\n +|(?<=\w)\n(?=\w)", " ", text)
    for known in (MARK, NO_RESULT, re.compile("|".join(map(re.escape, DESIGN)))):
        text = known.sub("", text)
    return re.findall(r".{,30}(?<![\w-])\d[\d,.]*.{,20}", text)


@pytest.mark.parametrize("page", FINDINGS)
def test_every_finding_and_every_time_has_a_source(page):
    assert without_source(read(page)) == []


@pytest.mark.parametrize("phrase", DESIGN)
def test_what_needs_no_source_is_there(phrase):
    assert phrase in re.sub(r"\s+", " ", "".join(map(read, FINDINGS)))


def test_the_readme_counts_the_claims():
    assert f"{len(CLAIMS['claims'])} statements" in read("README.md")


def test_the_studies_page_says_which_verdicts_are_of_this_projects_claims():
    own = {claim["id"] for claim in CLAIMS["claims"] if claim["study"] == "Of this project"}
    claims = load(SOURCES)["numbers.json"]["claims"]
    verdicts = [row["verdict"] for name in own for row in claims[name].values()]
    said = "three of those that hold, and the one that holds only as published"
    assert said in " ".join(read("docs/studies.md").split())
    assert [verdicts.count(v) for v in ("holds", "holds only as published")] == [3, 1]


def test_the_studies_page_has_all_claims_that_a_model_of_the_tour_can_test():
    claims = load(SOURCES)["numbers.json"]["claims"]
    testable = {
        f"claims/{name}/{model}"
        for name, models in claims.items()
        for model, row in models.items()
        if row["verdict"] != "not testable here"
    }
    said = {mark["path"] for mark in MARK.finditer(read("docs/studies.md")) if mark["verdict"]}
    assert said == testable


@pytest.mark.parametrize(
    "text", ["so 0.9 is", "SmolLM2 has 12", "| a | 1.5 |", "(−0.1)", "at layer 3: 4"]
)
def test_a_number_without_a_source_is_found(text):
    assert len(without_source(f"\n{text}\n")) == 1
    assert (
        without_source("\nP2 of SmolLM2-135M at layers 3, 4 and 1,024 was `0.9`, 3<!--=x-->.\n")
        == []
    )


def test_the_manual_quotes_numbers_and_claims_that_there_are():
    known = {"bench", "published", "verdicts", *(number["name"] for number in CLAIMS["numbers"])}
    known |= {f"claims/{claim['id']}" for claim in CLAIMS["claims"]}
    for page in PAGES:
        for mark in MARK.finditer((ROOT / page).read_text(encoding="utf-8")):
            assert (
                "/".join(mark["path"].split("/")[: 1 + mark["path"].startswith("claims/")]) in known
            )


# --- filling in ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ("1", "46,972", "rank/m"),
        ("0.1", "0.9", "auc/m/10"),
        ("0.111 [0, 1]", "0.905 [1, 1]", "auc/m/10"),
        ("−5 % [1.0, −1.00]", "1 % [0.9, 0.93]", "auc/m/10"),
        ("7", "12", "auc/m/10/p"),
        ("0.00", "−0.08", "claims/gone/m"),
        ("0", "0", "claims/gone/m"),
        ("**holds**: 0.000 [0.0, 9]", "does not hold: −0.085 [−0.1, 0]", "claims/gone/m"),
        ("1.5", "0.5", "claims/gone/m/value_as_published"),
        ("1,073.5", "6.0", "bench/ours, against theirs"),
        ("4.0", "5.5", "bench/ours, against theirs/bound"),
        ("`none`", "`slow; late`", "bench/missed"),
        ("`an old one`", "`Some CPU, 2 of 4 cores`", "bench/machine"),
        ("22", "1", "verdicts/does not hold"),
        ("0.87", "0.87", "published"),
    ],
)
def test_a_number_takes_the_place_of_what_the_text_had_in_its_own_form(folder, before, after, path):
    page = "Here, {}<!--=" + path + "--> and 0.3 stay: {}<!--=" + path + "-->."
    made = filled(page.format(before, before), load(folder), "page.md")
    assert made == page.format(after, after)


@pytest.mark.parametrize(
    ("verdict", "control", "said"),
    [
        ("holds", 0.2, "**holds**"),
        ("holds", None, "holds"),
        ("undecided", 0.2, "undecided"),
        ("holds only as published", 0.2, "holds only as published"),
    ],
)
def test_a_verdict_is_bold_where_a_claim_holds_beside_random_weights(verdict, control, said):
    claim = {"value_corrected": 0.9, "verdict": verdict, "control": control}
    sources = {"numbers.json": {"claims": {"gone": {"m": claim}}}}
    mark = "0.9<!--=claims/gone/m-->"
    for before in ("**holds**", "holds", "does not hold"):
        assert filled(f"so {before}: {mark}", sources, "page.md") == f"so {said}: {mark}"


def test_what_has_no_file_stays(tmp_path):
    page = "0.1<!--=rank/m-->, 2 MB<!-- a comment -->, 3<!--=bench/nothing-->"
    assert filled(page, load(tmp_path), "page.md") == page


@pytest.mark.parametrize(
    "mark",
    [
        "0.1<!--=nothing/m-->",
        "0.1<!--=rank/other-->",
        "0.1<!--=rank/empty-->",
        "0.1<!--=rank/m/10-->",
        "0.1<!--=auc/m-->",
        "0.1 [0, 1]<!--=rank/m-->",
        "**holds**: 0.1<!--=rank/m-->",
        "0.1<!--=bench/theirs-->",
    ],
)
def test_a_source_that_does_not_say_what_is_quoted_is_named_with_its_line(folder, mark):
    with pytest.raises(TokentrailsError) as raised:
        filled(f"0.3\n\nand {mark}", load(folder), "page.md")
    assert str(raised.value).startswith("page.md: ")
    assert f"line 3: {mark!r}" in str(raised.value) and "line 1" not in str(raised.value)


@pytest.mark.parametrize("text", ["much", "0.1 ", "[0.1, 0.2]", "v0.1."])
def test_a_source_must_stand_behind_a_number(folder, text):
    with pytest.raises(TokentrailsError, match="behind no number"):
        filled(f"1<!--=rank/m--> {text}<!--=rank/m-->", load(folder), "page.md")


@pytest.fixture
def project(folder, tmp_path, monkeypatch) -> Path:
    """A project of one page, and its results in the folder."""
    project = tmp_path / "project"
    (project / "docs").mkdir(parents=True)
    monkeypatch.setattr(quoted, "PROJECT", project)
    monkeypatch.setattr(quoted, "SOURCES", project / "docs/numbers")
    monkeypatch.setattr(quoted, "PAGES", ["page.md"])
    (project / "page.md").write_text("1<!--=rank/m--> and 2.0<!--=bench/ours, against theirs-->")
    return project


def test_the_command_fills_in_pages_keeps_their_sources_and_says_what_changed(
    project, folder, capsys
):
    (folder / "bench.csv").unlink()
    quoted.main(folder)
    bench = "2.0<!--=bench/ours, against theirs-->"
    assert (project / "page.md").read_text() == f"46,972<!--=rank/m--> and {bench}"
    assert [f.name for f in (project / "docs/numbers").iterdir()] == ["numbers.json"]
    assert capsys.readouterr().out == "page.md: 1<!--=rank/m--> is now 46,972\n"
    (folder / "bench.csv").write_text(BENCH)
    (folder / "numbers.json").unlink()  # the kept one counts
    quoted.main(folder)
    assert "46,972<!--=rank/m--> and 6.0<!--" in (project / "page.md").read_text()


def test_a_run_that_lacks_a_number_changes_nothing(project, folder):
    (folder / "numbers.json").write_text(json.dumps(NUMBERS | {"numbers": {}}))
    before = (project / "page.md").read_text()
    with pytest.raises(TokentrailsError):
        quoted.main(folder)
    assert (project / "page.md").read_text() == before
    assert not (project / "docs/numbers").exists()
