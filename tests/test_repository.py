"""What the repository says about itself, and what must not be in it."""

import re
import subprocess

import yaml
from repository import ROOT, repository_texts

import tokentrails
from tokentrails.catalogue import CATALOGUE

# Paths of somebody's machine, and the hosts of package registries. Written in pieces, so that this
# file passes its own test.
FORBIDDEN = re.compile(
    "|".join(
        [
            r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+)" + r"/",
            r"(?<![\w.])/tmp" + r"/w\b",
            r"(?<![\w.])/opt" + r"/(?:pypi|wheels)",
            r"\bpypi" + r"\.org",
            r"\bpythonhosted" + r"\.org",
            r"\bdownload\.pytorch" + r"\.org",
            r"\bregistry\.npmjs" + r"\.org",
            r"\bdeb\.debian" + r"\.org",
        ]
    )
)


def test_no_machine_path_and_no_registry_host():
    texts = repository_texts()
    assert "Makefile" in texts
    found = [(name, hit) for name, text in texts.items() for hit in FORBIDDEN.findall(text)]
    assert found == []


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    entries = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert citation["version"] == entries[0] == tokentrails.__version__


def test_the_report_has_no_table_of_single_words_tokens_or_pairs():
    """They grow with the texts, and the report embeds whole files."""
    reported = {name for name, table in CATALOGUE.tables.items() if table.reported}
    assert {"curves", "half_lives_by_group", "alignment"} < reported
    assert CATALOGUE.tables.keys() > LONG and not reported & LONG


# A row for each word, token or pair, and not for a group of them.
LONG = {
    *("identity", "context", "half_lives", "ranks", "convergence", "perturbation"),
    *("baseline_dimensions", "evolution", "own_token", "splits", "attribution", "neurons"),
    "attribution_cosine",
}


def test_make_env_says_what_comes_next_and_no_other_target_does():
    said = "The environment is ready: 'make' runs the workflow"
    for target, is_said in (("env", True), ("report", False), ("manual", False)):
        command = ["make", "-n", target]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert (said in done.stdout) is is_said, target
