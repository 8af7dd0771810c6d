"""The manual as a site: built strictly, and read without a network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from repository import ROOT
from workflow import environment

pytestmark = pytest.mark.slow

# What a page loads by itself; a link is followed by a reader alone.
LOADED = re.compile(r'<(?:script|img|iframe|source|link)\b[^>]*?\s(?:src|href)="([^"]*)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Every warning is an error: links and anchors that lead nowhere, pages without a place."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "--quiet", "build", "--strict", "-d", str(folder)]
    env = environment(
        NO_MKDOCS_2_WARNING="1", http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9"
    )
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_there(site):
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert pages | {"CONTRIBUTING", "SECURITY", "CHANGELOG"} <= {
        p.stem for p in site.glob("*.html")
    }
    assert not (site / "site.py").exists() and not (site / "numbers").exists()


def test_a_link_to_code_leads_to_its_text(site):
    page = (site / "cluster.html").read_text(encoding="utf-8")
    path = "workflow/tokentrails/running/cost.py"
    assert f'href="source/{path}.txt"' in page
    assert (site / f"source/{path}.txt").read_bytes() == (ROOT / path).read_bytes()


def test_no_page_loads_anything_from_elsewhere(site):
    """No fonts, scripts, styles or pictures of another host; what is named is there."""
    for page in site.glob("*.html"):
        loaded = LOADED.findall(page.read_text(encoding="utf-8"))
        assert len(loaded) > 4
        for target in loaded:
            assert not re.match(r"(https?:)?//", target), f"{page.name}: {target}"
            if not target.startswith("data:"):
                assert (site / target.partition("#")[0].removeprefix("/")).is_file(), (
                    f"{page.name}: {target}"
                )
    for style in site.rglob("*.css"):
        assert not re.search(r"@import|url\(\s*[\"']?(https?:)?//", style.read_text("utf-8"))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_search_works_from_the_disk(site, tmp_path):
    browser = Browser(tmp_path / "profile")
    try:
        browser.open((site / "index.html").as_uri())
        browser.wait("document.readyState === 'complete' && !!document.querySelector('#__search')")
        browser.evaluate("document.querySelector('#__search').click()")
        browser.evaluate("document.querySelector('.md-search__input').focus()")
        browser.wait(
            "/^Type/.test(document.querySelector('.md-search-result__meta').textContent.trim())"
        )
        browser.type("Kaplan-Meie")
        browser.press("r", text="r")  # the page listens to keys
        found = browser.wait("document.querySelector('.md-search-result__link')?.href")
        assert Path(found.partition("?")[0].partition("#")[0]).name == "measures.html"
        assert browser.errors == []
    finally:
        browser.close()
