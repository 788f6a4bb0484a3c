"""`edit-eval view RUN`: a run's page in the browser while the run goes on, on this machine only.

Serves what the page needs and nothing else: the report's folder, the run's images and thumbnails, and of the files
outside those images that the page names. Knows no frameworks: the standard library's server, one thread a request.
What it answers is never taken from the request but by looking it up.

| path | what |
|---|---|
| `/report/...` | the report's folder; pages are brought up to date first |
| `/images/...`, `/thumbs/...` | of the run |
| `/file/PATH` | an image outside of the run that the page names by its absolute path |
| `/status` | a small page within the page, while the run goes on: how far it is, and whether there is more to see |
"""

from __future__ import annotations

import errno
import html
import os
import re
import socketserver
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote_to_bytes, urlsplit

from edit_eval.core.errors import RunError, UserError
from edit_eval.serve.page import LivePage, Progress

__all__ = ["ViewServer", "image_type", "led_here", "open_server"]

HOST = "127.0.0.1"
_FOLDERS = ("report", "images", "thumbs")
_STATUS_EVERY_S = 5
_RELOAD_EVERY_S = 30
_REQUEST_S = 30.0
_PIECE_BYTES = 1 << 20
_LINK = re.compile(rb'\b(src|href)="(file://|\.\./)([^"<>\s]*)"')
_POLICY = b"default-src 'none';"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
}
_IMAGES: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"BM": "image/bmp",
    b"II*\x00": "image/tiff",
    b"MM\x00*": "image/tiff",
}
_STATUS_STYLE = (
    ":root{color-scheme:light dark}body{margin:0;box-sizing:border-box;min-height:100vh;font:14px/1.4 system-ui,sans-serif;padding:.5rem .8rem;"
    "background:#fbf3df;color:#5c4100;border:1px solid #b08a2e;border-radius:8px}"
    "@media(prefers-color-scheme:dark){body{background:#322a18;color:#e6c069}}a{color:inherit}p{margin:0}"
)
_FRAME_STYLE = "position:fixed;right:1rem;bottom:1rem;width:min(24rem,calc(100vw - 2rem));height:5.2rem;border:0;z-index:9"


def image_type(beginning: bytes) -> str | None:
    """Return the media type of an image by its first bytes; None for what is no image that a browser shows as one."""
    for magic, kind in _IMAGES.items():
        if beginning.startswith(magic):
            return kind
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return "image/webp"
    if beginning[4:8] == b"ftyp" and beginning[8:12] in (b"avif", b"avis", b"heic", b"mif1"):
        return "image/avif" if beginning[8:11] == b"avi" else "image/heic"
    return None


def led_here(page: bytes, folder: str) -> bytes:
    """Return a page whose links to files outside of what is served lead to `/file/PATH`.

    Args:
        page: in whose text quotation marks are escaped, so that none of it can look like a link.
        folder: the real path of the folder that the page lies in.
    """

    def led(found: re.Match[bytes]) -> bytes:
        attribute, kind, rest = found.groups()
        path = unquote_to_bytes(rest)
        if kind == b"../":
            if path.split(b"/", 1)[0].decode("ascii", "replace") in _FOLDERS:
                return found[0]
            path = os.path.normpath(os.path.join(os.fsencode(folder), kind + path))  # noqa: PTH118 - bytes
        return attribute + b'="../file' + quote(path).encode() + b'"'

    return _LINK.sub(led, page)


class ViewServer(ThreadingHTTPServer):
    """Serves one run's page on loopback.

    Args:
        live: the page.
        port: 0 for any that is free.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, live: LivePage, port: int = 0) -> None:
        self.live = live
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        """Bind, and look up no name: the standard library asks the network for the machine's own."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no error; anything else is said as usual."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """What to open."""
        return f"http://{HOST}:{self.server_port}/"


def open_server(run_dir: Path, port: int = 0, price: float | None = None) -> ViewServer:
    """Return a server of a run's page, up to date and listening.

    Args:
        run_dir: the run directory.
        port: 0 for any that is free.
        price: of a GPU hour.

    Raises:
        UserError: this is no run, its page cannot be made, or the port cannot be had.
    """
    live = LivePage(run_dir.absolute(), price)
    live.refresh()
    try:
        return ViewServer(live, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} is taken; name another one, or leave out --port") from error
        if error.errno == errno.EACCES:
            raise UserError(
                f"port {port} is not for you: ports below 1024 are root's; name another"
            ) from error
        raise


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    server_version = "edit-eval"
    sys_version = ""
    timeout = _REQUEST_S
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the standard library's
        """Say nothing: the terminal is the run's."""

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer()

    def do_GET(self) -> None:
        """Answer."""
        self._answer()

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        path, query = unquote_to_bytes(parts.path), parse_qs(parts.query)
        if fault := self._refused():
            self._refuse(HTTPStatus.FORBIDDEN, fault)
        elif path == b"/":
            self._send(HTTPStatus.FOUND, b"", "text/plain", {"Location": "/report/index.html"})
        elif path == b"/favicon.ico":  # browsers ask for it, whatever a page says
            self._send(HTTPStatus.NO_CONTENT, b"", None, {})
        elif path == b"/status":
            self._status(query)
        elif b"\0" in path:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such file")
        else:
            self._look_up(path.decode("utf-8", "surrogateescape"), query)

    def _look_up(self, path: str, query: Mapping[str, list[str]]) -> None:
        folder, _, rest = path[1:].partition("/")
        if folder == "file":
            return self._outside("/" + rest)
        file = self._inside(folder, rest)
        if file is None:
            return self._refuse(HTTPStatus.NOT_FOUND, "there is no such file")
        return self._page(file, query) if file.suffix == ".html" else self._file(file)

    def _refused(self) -> str:
        """Return why this is not answered at all; empty if it is.

        Another name for this machine than its own is that of a page elsewhere whose name was made to lead here. And a page
        elsewhere has no business with what it cannot read, such as whether there is an image.
        """
        port = self.server.server_port
        if self.headers.get("Host", "") not in (f"{HOST}:{port}", f"localhost:{port}"):
            return f"open http://{HOST}:{port}/"
        elsewhere = self.headers.get("Sec-Fetch-Site", "") in ("cross-site", "same-site")
        if elsewhere and self.headers.get("Sec-Fetch-Mode") != "navigate":
            return "this is for its own pages"
        return ""

    def _inside(self, folder: str, rest: str) -> Path | None:
        """Return a file below one of the folders that are served; None if there is none, or it leads elsewhere."""
        if folder not in _FOLDERS or not rest:
            return None
        try:
            root = (self.server.live.run_dir / folder).resolve(strict=True)
            file = (root / rest).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            return None
        hidden = any(part.startswith(".") for part in file.parts[len(root.parts) :])
        return file if file.is_relative_to(root) and file.is_file() and not hidden else None

    def _outside(self, path: str) -> None:
        if not self.server.live.shows(path):
            return self._refuse(HTTPStatus.NOT_FOUND, "the page names no such image")
        try:
            with Path(path).open("rb") as file:
                kind = image_type(file.read(16))
        except OSError:
            kind = None
        if kind is None or not Path(path).is_file():
            return self._refuse(HTTPStatus.NOT_FOUND, "this is no image, or it cannot be read")
        return self._file(Path(path), kind)

    def _page(self, file: Path, query: Mapping[str, list[str]]) -> None:
        """Answer with a page, its links to files led through here; while the run goes on, with what is new beside it."""
        live = self.server.live
        progress = live.progress()
        try:
            live.refresh()
            text = file.read_bytes()
        except (RunError, OSError) as error:
            return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        text = led_here(text, os.path.realpath(file.parent))
        headers = {"Cache-Control": "no-store"}
        if live.is_active():
            text = _with_status(text, progress)
            if query.get("refresh"):
                headers["Refresh"] = str(_RELOAD_EVERY_S)
        return self._send(HTTPStatus.OK, text, _TYPES[".html"], headers)

    def _status(self, query: Mapping[str, list[str]]) -> None:
        live, headers = self.server.live, {"Cache-Control": "no-store"}
        now, active = live.progress(), live.is_active()
        if active:
            headers["Refresh"] = str(_STATUS_EVERY_S)
        text = _status_text(now, _seen(query), active=active, fault=live.fault)
        headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"
        )
        return self._send(HTTPStatus.OK, text.encode(), _TYPES[".html"], headers)

    def _file(self, file: Path, kind: str | None = None) -> None:
        try:
            with file.open("rb") as opened:
                facts = os.fstat(opened.fileno())
                kind = kind or _TYPES.get(file.suffix) or image_type(opened.read(16))
                opened.seek(0)
                tag = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'
                headers = {"ETag": tag, "Cache-Control": "no-cache"}
                if self.headers.get("If-None-Match") == tag:
                    return self._send(HTTPStatus.NOT_MODIFIED, b"", None, headers)
                self._head(HTTPStatus.OK, facts.st_size, kind or "application/octet-stream", headers)
                left = facts.st_size if self.command == "GET" else 0
                while left > 0 and (piece := opened.read(min(left, _PIECE_BYTES))):
                    self.wfile.write(piece)
                    left -= len(piece)
                self.close_connection = self.close_connection or left > 0
        except OSError as error:
            if isinstance(error, ConnectionError | TimeoutError):
                raise
            return self._refuse(HTTPStatus.NOT_FOUND, "it cannot be read")
        return None

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._send(status, f"{why}\n".encode("utf-8", "replace"), "text/plain; charset=utf-8", {})

    def _send(self, status: HTTPStatus, body: bytes, kind: str | None, headers: Mapping[str, str]) -> None:
        self._head(status, len(body), kind, headers)
        if self.command == "GET" and status is not HTTPStatus.NOT_MODIFIED:
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, length: int, kind: str | None, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        if status is not HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(length))
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in {
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "SAMEORIGIN",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()


def _with_status(page: bytes, progress: Progress) -> bytes:
    """Put the small page of the run's state into a page, and let its policy allow just that."""
    frame = (
        f'<iframe src="../status?edits={progress.edits}&amp;verdicts={progress.verdicts}" '
        f'title="How far the run is" style="{_FRAME_STYLE}"></iframe>'
    )
    page = page.replace(_POLICY, _POLICY + b" frame-src 'self';", 1)
    return page.replace(b"</body>", frame.encode() + b"</body>", 1)


def _seen(query: Mapping[str, list[str]]) -> Progress:
    def number(name: str) -> int:
        text = query.get(name, ["0"])[0]
        return int(text) if re.fullmatch("[0-9]{1,12}", text) else 0

    return Progress(number("edits"), number("verdicts"))


def _status_text(now: Progress, seen: Progress, *, active: bool, fault: str) -> str:
    more = [
        f"{count} {name}{'s' if count != 1 else ''}"
        for count, name in ((now.edits - seen.edits, "edit"), (now.verdicts - seen.verdicts, "verdict"))
        if count > 0
    ]
    state = (
        f"The run goes on: {now.edits} edits, {now.verdicts} verdicts." if active else "The run has ended."
    )
    link = '<a href="report/index.html" target="_top">Reload</a>'
    if active:
        link += f', or <a href="report/index.html?refresh=1" target="_top">every {_RELOAD_EVERY_S} s</a>'
    news = f"New since this page: {' and '.join(more)}. {link}" if more else link
    told = f"<p>The page could not be made again: {html.escape(fault[:300])}</p>" if fault else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>How far the run is</title>'
        f"<style>{_STATUS_STYLE}</style></head><body><p>{state}</p><p>{news}</p>{told}</body></html>"
    )
