"""A hub over real HTTP on loopback: listings, small files with git's hashes, large ones on a second "CDN" server.

    with FakeHub() as hub:
        commit = hub.add("owner/name", {"config.json": b"{}", "model.safetensors": data})
        hub.fault("model.safetensors", cut=1000)       # the next answer ends after 1000 bytes
        ... HF_ENDPOINT=hub.url ...
        hub.asked                                       # [(method, path, headers), ...]

What it answers follows the public hub: `X-Error-Code`, `X-Repo-Commit`, `X-Linked-Etag`, redirects of large files.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

LARGE_BYTES = 4096
"""From this size on a file is on the CDN, and known by its sha256."""


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()


@dataclass
class Repository:
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose path matches."""

    match: str
    times: int
    method: str | None = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None  # bytes after which the connection is closed
    body: bytes | None = None  # instead of the real bytes
    ignore_range: bool = False
    hang_s: float = 0.0  # before anything is answered
    slow_s: float = 0.0  # after every 1000 bytes


class FakeHub:
    """A hub (`url`) and its CDN, each a server on loopback with a thread of its own."""

    def __init__(self, token: str = "hf_right") -> None:
        self.token = token
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.faults: list[Fault] = []
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.relative_redirects = False
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._servers = [_Server(self, cdn=False), _Server(self, cdn=True)]
        self.url, self.cdn_url = (
            f"http://{host}:{one.server_address[1]}"
            for host, one in zip(("127.0.0.1", "localhost"), self._servers, strict=True)
        )

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def add(
        self,
        name: str,
        files: Mapping[str, bytes | str] | Path,
        *,
        kind: str = "model",
        branch: str = "main",
        gated: bool = False,
        private: bool = False,
    ) -> str:
        """Add a commit with these files (or those below a folder), let `branch` name it, and return its id."""
        if isinstance(files, Path):
            files = {
                str(one.relative_to(files)): one.read_bytes() for one in files.rglob("*") if one.is_file()
            }
        data = {path: one.encode() if isinstance(one, str) else one for path, one in files.items()}
        listing = "\n".join(f"{path} {git_sha1(one)}" for path, one in sorted(data.items()))
        commit = hashlib.sha1(f"{name}\n{listing}".encode()).hexdigest()
        repository = self.repositories.setdefault((kind, name), Repository())
        repository.commits[commit] = data
        repository.refs[branch] = commit
        repository.gated, repository.private = gated, private
        return commit

    def fault(self, match: str, times: int = 1, **what: Any) -> None:
        """Let something go wrong with the next `times` requests for a path that holds `match`."""
        self.faults.append(Fault(match, times, **what))

    def take(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.times and fault.match in path and fault.method in (None, method):
                    fault.times -= 1
                    return fault
        return None

    def paths(self, method: str = "GET") -> list[str]:
        """Return the paths that were asked for."""
        return [path for one, path, _ in self.asked if one == method]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: FakeHub, *, cdn: bool) -> None:
        self.hub = hub
        super().__init__(("127.0.0.1", 0), _Cdn if cdn else _Hub)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    @property
    def hub(self) -> FakeHub:
        return self.server.hub

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.asked.append((self.command, self.path, headers))
        fault = self.hub.take(self.command, unquote(self.path))
        if fault and fault.hang_s:
            self.hub.closing.wait(fault.hang_s)
        if fault and fault.status is not None:
            self.send(fault.status, b"no", fault.headers)
            return
        self.serve(fault)

    def serve(self, fault: Fault | None) -> None:
        raise NotImplementedError

    def send(
        self,
        status: int,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        fault: Fault | None = None,
    ) -> None:
        """Send an answer; a part of it if a range is asked for, or if a fault says so."""
        headers = dict(headers or {})
        whole = len(body)
        wanted = self.headers.get("Range")
        if status == 200 and wanted and not (fault and fault.ignore_range):
            first = int(wanted.removeprefix("bytes=").partition("-")[0])
            if first >= whole:
                status, headers, body = 416, {"Content-Range": f"bytes */{whole}"}, b""
            else:
                status, body = 206, body[first:]
                headers["Content-Range"] = f"bytes {first}-{whole - 1}/{whole}"
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault and fault.cut is not None:
            body = body[: fault.cut]
            self.close_connection = True
        step = 1000 if fault and fault.slow_s else max(1, len(body))
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            self.wfile.flush()
            if fault and fault.slow_s:
                time.sleep(fault.slow_s)


class _Cdn(_Handler):
    """Gives bytes by their sha256, to anybody who brings no token."""

    def serve(self, fault: Fault | None) -> None:
        sha = urlsplit(self.path).path.strip("/").split("/")[0]
        if "Authorization" in self.headers:
            self.send(400, b"a token on a signed address")
            return
        for repository in self.hub.repositories.values():
            for files in repository.commits.values():
                for data in files.values():
                    if hashlib.sha256(data).hexdigest() == sha:
                        self.send(200, fault.body if fault and fault.body is not None else data, fault=fault)
                        return
        self.send(404)


class _Hub(_Handler):
    """Listings and files."""

    def serve(self, fault: Fault | None) -> None:
        address = urlsplit(self.path)
        parts = [unquote(one) for one in address.path.strip("/").split("/")]
        query = parse_qs(address.query)
        if parts[0] == "api" and len(parts) == 2:
            self._search(parts[1], query)
        elif parts[0] == "api":
            self._listing(parts[1].removesuffix("s"), parts[2:], fault)
        else:
            kind = "dataset" if parts[0] == "datasets" else "model"
            parts = parts[1:] if parts[0] in ("datasets", "moved") else parts
            self._file(kind, parts, fault)

    def _search(self, kinds: str, query: Mapping[str, list[str]]) -> None:
        owner = query.get("author", [""])[0]
        names = [name for kind, name in self.hub.repositories if kind == kinds.removesuffix("s")]
        found = [{"id": name, "modelId": name} for name in fnmatch.filter(names, f"{owner}/*")]
        self.send(200, json.dumps(found).encode(), {"Content-Type": "application/json"})

    def _found(self, kind: str, name: str, revision: str) -> tuple[str, Repository] | None:
        """Return commit and repository, or answer why not."""
        repository = self.hub.repositories.get((kind, name))
        sent = self.headers.get("Authorization")
        if sent is not None and sent != f"Bearer {self.hub.token}":
            self.send(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repository is None or (repository.private and sent is None):
            status = 404 if sent else 401  # as the hub does: it does not tell strangers what there is
            self.send(
                status, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            )
        elif (commit := repository.refs.get(revision, revision)) not in repository.commits:
            self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            return commit, repository
        return None

    def _listing(self, kind: str, parts: list[str], fault: Fault | None) -> None:
        name, rest = "/".join(parts[:2]), parts[2:]
        revision = "/".join(rest[1:]) if rest[:1] == ["revision"] else "main"
        if fault and fault.body is not None:
            self.send(200, fault.body, {"Content-Type": "text/html"})
            return
        if (found := self._found(kind, name, revision)) is None:
            return
        commit, repository = found
        siblings = []
        for path, data in repository.commits[commit].items():
            entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_sha1(data)}
            if len(data) >= LARGE_BYTES:
                sha = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"size": len(data), "sha256": sha, "pointerSize": 134}
            siblings.append(entry)
        body = {"_id": "0", "id": name, "modelId": name, "sha": commit, "siblings": siblings}
        self.send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _file(self, kind: str, parts: list[str], fault: Fault | None) -> None:
        name, revision, path = "/".join(parts[:2]), parts[3], "/".join(parts[4:])
        if (found := self._found(kind, name, revision)) is None:
            return
        commit, repository = found
        if repository.gated and self.headers.get("Authorization") is None:
            self.send(
                401, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model is restricted"}
            )
            return
        if repository.gated and repository.gated != "accepted":
            self.send(403, b"", {"X-Error-Code": "GatedRepo"})
            return
        data = repository.commits[commit].get(path)
        if data is None:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        headers = {"X-Repo-Commit": commit}
        if len(data) >= LARGE_BYTES:
            sha = hashlib.sha256(data).hexdigest()
            headers |= {"X-Linked-Etag": f'"{sha}"', "X-Linked-Size": str(len(data))}
            headers["Location"] = f"{self.hub.cdn_url}/{sha}/{path}?signature=once"
            self.send(302, b"", headers)
        elif self.hub.relative_redirects and not self.path.startswith("/moved/"):
            self.send(307, b"", {**headers, "Location": f"/moved{self.path}"})
        else:
            body = fault.body if fault and fault.body is not None else data
            self.send(200, body, {**headers, "ETag": f'"{git_sha1(data)}"'}, fault)
