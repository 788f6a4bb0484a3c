"""GitHub's address of raw files on loopback, for tests: files by repository and revision, and what goes wrong with them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import unquote


@dataclass
class FakeGitHub:
    """A server at `url`; `files` holds bytes by `owner/name/revision/path`, `faults` (status, body) by the same."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                name = unquote(self.path).strip("/")
                fake.asked.append((name, {key.lower(): value for key, value in self.headers.items()}))
                status, body = 200, fake.files.get(name)
                if waiting := fake.faults.get(name):
                    status, body = waiting.pop(0)
                elif body is None:
                    status, body = 404, b"404: Not Found"
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
