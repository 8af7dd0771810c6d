"""What the site shows of files outside of docs/: pages of the root, and code that pages link to.

A hook of MkDocs. On GitHub these links lead to the files themselves.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
LINK = re.compile(r"(?<=\]\()(?P<target>[\w./+-]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the root's pages, and as plain text every file of the project that a page links to."""
    for name in PAGES:
        files.append(File.generated(config, name, content=(ROOT / name).read_text("utf-8")))
    for file in list(files):
        if file.src_uri.endswith(".md"):
            for target in outside(file.src_uri, file.content_string):
                source = f"source/{target}.txt"
                if source not in files.src_uris:
                    content = (ROOT / target).read_text("utf-8")
                    files.append(File.generated(config, source, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files outside of docs/ to where the site has them."""

    def lead(match: re.Match[str]) -> str:
        target = resolved(page.file.src_uri, match["target"])
        if target.startswith("docs/"):
            return target.removeprefix("docs/")
        if target in PAGES:
            return target
        return f"source/{target}.txt" if (ROOT / target).is_file() else match["target"]

    return LINK.sub(lead, markdown)


def outside(page: str, markdown: str) -> list[str]:
    """Paths from the root of the files, outside of docs/ and no pages, that a page links to."""
    targets = (resolved(page, match["target"]) for match in LINK.finditer(markdown))
    return [
        target
        for target in targets
        if not target.startswith("docs/") and target not in PAGES and (ROOT / target).is_file()
    ]


def resolved(page: str, target: str) -> str:
    """A link of a page as a path from the root, where some pages lie; all others are in docs/."""
    folder = "" if page in PAGES else "docs"
    return posixpath.normpath(posixpath.join(folder, target))
