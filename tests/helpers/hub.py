"""A hub of data sets on this machine, for the real packages datasets and huggingface_hub.

A data set is a folder ORGANISATION/NAME with a folder for each branch: `main`, and `parquet` for
refs/convert/parquet. Only what these packages ask for is answered.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

BRANCHES = {"main": "main", "parquet": "refs/convert/parquet"}
_INFO = re.compile(r"/api/datasets/([^/]+/[^/]+)(?:/revision/([^/]+))?")
_TREE = re.compile(r"/api/datasets/([^/]+/[^/]+)/tree/([^/]+)/?(.*)")
_PATHS = re.compile(r"/api/datasets/([^/]+/[^/]+)/paths-info/([^/]+)")
_FILE = re.compile(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@contextlib.contextmanager
def serving(root: Path) -> Iterator[str]:
    """Serve the data sets of a folder; gives the address for HF_ENDPOINT."""

    class Handler(_Handler):
        folder = root

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path

    def log_message(self, *_):
        """Nothing is logged."""

    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        address = urlsplit(self.path).path
        if not (match := _PATHS.fullmatch(address)) or not (found := self._branch(*match.groups())):
            return self._answer(404)
        asked = json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode())["paths"]
        return self._json([entry for entry in _entries(found[1]) if entry["path"] in asked])

    def do_GET(self):
        parts = urlsplit(self.path)
        if match := _TREE.fullmatch(parts.path):
            return self._tree(*match.groups(), recursive="recursive=true" in parts.query.lower())
        if match := _INFO.fullmatch(parts.path):
            return self._info(*match.groups())
        if match := _FILE.fullmatch(parts.path):
            return self._file(*match.groups())
        return self._answer(404)

    def _info(self, repository, revision):
        found = self._branch(repository, revision or "main")
        if found is None:
            return self._answer(404, **{"X-Error-Code": "RepoNotFound"})
        names = [entry["path"] for entry in _entries(found[1]) if entry["type"] == "file"]
        return self._json(
            {
                "_id": "0", "id": repository, "sha": found[0], "private": False, "gated": False,
                "downloads": 0, "likes": 0, "tags": [],
                "siblings": [{"rfilename": name} for name in names],
            }
        )  # fmt: skip

    def _tree(self, repository, revision, below, *, recursive):
        found, below = self._branch(repository, revision), unquote(below)
        if found is None or not (found[1] / below).is_dir():
            return self._answer(404, **{"X-Error-Code": "EntryNotFound"})
        inside = [
            entry
            for entry in _entries(found[1])
            if Path(entry["path"]).is_relative_to(below) and entry["path"] != below
        ]
        if not recursive:
            inside = [entry for entry in inside if Path(entry["path"]).parent == Path(below)]
        return self._json(inside)

    def _file(self, repository, revision, name):
        found = self._branch(repository, revision)
        path = None if found is None else found[1] / unquote(name)
        if found is None or path is None or not path.is_file():
            commit = found[0] if found else ""
            return self._answer(404, **{"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        content = path.read_bytes()
        headers = {"X-Repo-Commit": found[0], "ETag": f'"{_hash(content)}"'}
        if asked := re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(asked[1]), int(asked[2] or len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            return self._answer(206, content[first : last + 1], **headers)
        return self._answer(200, content, **headers)

    def _branch(self, repository, revision):
        """Commit and folder of a branch, by its name or commit."""
        for folder, branch in BRANCHES.items():
            commit = _hash(f"{repository} {branch}".encode())
            place = self.folder / repository / folder
            if place.is_dir() and unquote(revision) in (branch, commit):
                return commit, place
        return None

    def _json(self, value):
        self._answer(200, json.dumps(value).encode(), **{"Content-Type": "application/json"})

    def _answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entries(folder: Path) -> list[dict[str, object]]:
    """Files and folders of a branch as the hub lists them."""
    return [
        {
            "type": "directory" if path.is_dir() else "file",
            "path": path.relative_to(folder).as_posix(),
            "size": 0 if path.is_dir() else path.stat().st_size,
            "oid": _hash(b"" if path.is_dir() else path.read_bytes()),
        }
        for path in sorted(folder.rglob("*"))
    ]


def _hash(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
