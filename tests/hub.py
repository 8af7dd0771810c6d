"""A stand-in for the hub on loopback, with the endpoints that huggingface_hub uses."""

import hashlib
import json
import mmap
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".bin", ".parquet")  # kept outside git on the hub, with a sha256

API = re.compile(
    r"/api/(?:models/)?(?P<repo>.+?)"
    r"(?:/(?P<what>revision|tree)/(?P<revision>refs/[^/]+/[^/]+|[^/]+))?/?"
)
REFS = re.compile(r"/api/models/(?P<repo>.+?)/refs")
FILE = re.compile(r"/(?P<repo>.+?)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")


class Hub(ThreadingHTTPServer):
    """Repositories by name, each with its files by revision; data sets as `datasets/OWNER/NAME`.

    Attributes
    ----------
    log: what was asked for: (method, path, Range header or None).
    cut: by file name, how often a download of it is cut in the middle.
    stall: names of files whose download stops in the middle and waits.
    lies: by file name, a sha256 that is announced instead of the right one.
    shas: commits that are announced instead of the right one, by it.
    answer: what every question gets, as status, headers and body; None for the right answer.
    lists_refs: whether it says which branches a repository has, as not every mirror does.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, dict[str, dict[str, bytes | mmap.mmap]]] = {}
        self.log: list[tuple[str, str, str | None]] = []
        self.cut: dict[str, int] = {}
        self.stall: set[str] = set()
        self.release = threading.Event()
        self.lies: dict[str, str] = {}
        self.shas: dict[str, object] = {}
        self.answer: tuple[int, dict[str, str], bytes] | None = None
        self.lists_refs = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def constants(self) -> dict[str, str]:
        """What huggingface_hub has read of its address when it was imported."""
        files = f"{self.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        return {"ENDPOINT": self.url, "HUGGINGFACE_CO_URL_TEMPLATE": files}

    def add(self, repo: str, folder: Path, revision: str = "main") -> str:
        """Put the files of a folder at a revision; the commit is given."""
        found = (f for f in folder.rglob("*") if f.is_file())
        files = {str(f.relative_to(folder)): _content(f) for f in found}
        self.repos.setdefault(repo, {})[revision] = files
        return commit(files)

    def downloaded(self) -> list[str]:
        """Names of the files whose content was asked for, in order."""
        paths = [path for method, path, _ in self.log if method == "GET"]
        return [match["name"] for match in map(FILE.fullmatch, paths) if match]

    def ranges(self, name: str) -> list[str | None]:
        """The Range header of every download of a file."""
        return [r for method, path, r in self.log if method == "GET" and path.endswith(f"/{name}")]


@contextmanager
def running() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.release.set()
        hub.shutdown()
        hub.server_close()


def commit(files: dict[str, bytes | mmap.mmap]) -> str:
    digest = hashlib.sha1()
    for name, data in sorted(files.items()):
        digest.update(f"{name}\0{_sha256(data)}\n".encode())
    return digest.hexdigest()


def _content(file: Path) -> bytes | mmap.mmap:
    """What is in it; of a large one no copy in memory."""
    if file.stat().st_size < 100e6:
        return file.read_bytes()
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


@cache
def _sha1(data: bytes | mmap.mmap) -> str:
    return hashlib.sha1(data).hexdigest()


@cache
def _sha256(data: bytes | mmap.mmap) -> str:
    return hashlib.sha256(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.log.append((self.command, path, self.headers.get("Range")))
        if self.server.answer is not None:
            return self._send(*self.server.answer)
        asked = REFS.fullmatch(path) or API.fullmatch(path) or FILE.fullmatch(path)
        if asked is None or asked["repo"] not in self.server.repos:
            return self._missing("RepoNotFound")
        revisions = self.server.repos[asked["repo"]]
        if asked.re is REFS:
            return self._refs(revisions)
        revision = asked["revision"] or "main"
        files = revisions.get(revision) or next(
            (f for f in revisions.values() if commit(f) == revision), None
        )
        if files is None:
            return self._missing("RevisionNotFound")
        if asked.re is FILE:
            if asked["name"] not in files:
                return self._missing("EntryNotFound")
            return self._file(asked["name"], files, with_body)
        entries = [self._entry(name, data) for name, data in sorted(files.items())]
        if asked["what"] == "tree":
            return self._json(entries)
        siblings = [
            {"rfilename": e["path"], "size": e["size"], "blobId": e["oid"]}
            | ({"lfs": {"sha256": e["lfs"]["oid"], **e["lfs"]}} if "lfs" in e else {})
            for e in entries
        ]
        repo = asked["repo"]
        sha = self.server.shas.get(commit(files), commit(files))
        self._json({"id": repo, "modelId": repo, "sha": sha, "siblings": siblings})

    def _refs(self, revisions: dict[str, dict[str, bytes]]) -> None:
        if not self.server.lists_refs:
            return self._missing("EntryNotFound")
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": commit(files)}
            for name, files in revisions.items()
        ]
        self._json({"branches": branches, "converts": [], "tags": []})

    def _entry(self, name: str, data: bytes | mmap.mmap) -> dict:
        entry = {"type": "file", "path": name, "size": len(data), "oid": _sha1(data)}
        if name.endswith(LARGE):
            entry["lfs"] = {"oid": self._sha256(name, data), "size": len(data), "pointerSize": 134}
        return entry

    def _sha256(self, name: str, data: bytes | mmap.mmap) -> str:
        return self.server.lies.get(name) or _sha256(data)

    def _file(self, name: str, files: dict[str, bytes | mmap.mmap], with_body: bool) -> None:
        data = memoryview(files[name])
        start = 0
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(asked[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        tag = self._sha256(name, files[name]) if name.endswith(LARGE) else _sha1(files[name])
        self.send_header("ETag", f'"{tag}"')
        if name.endswith(LARGE):
            self.send_header("X-Linked-ETag", f'"{tag}"')
            self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("X-Repo-Commit", commit(files))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if not with_body:
            return
        body = data[start:]
        if self.server.cut.get(name, 0) > 0:
            self.server.cut[name] -= 1
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        if name in self.server.stall:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.server.release.wait(60)
            self.close_connection = True
            return
        self.wfile.write(body)

    def _json(self, data: object) -> None:
        self._send(200, {"Content-Type": "application/json"}, json.dumps(data).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _missing(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()
