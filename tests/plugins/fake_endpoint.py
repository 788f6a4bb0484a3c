"""An OpenAI-compatible endpoint for tests: real HTTP on loopback, with every fault that one may have."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from PIL import Image

KEY = "sk-PLANTED-right-key-0123456789"
MODEL = "fake-vlm-1"
FAULTS = ("429", "429-after", "500", "hang", "half", "json", "empty", "drip", "reset", "error-200")

Fault = Callable[[str, int], str | None]
"""What befalls attempt k (from 1) of the question of that id; None: nothing does."""


def some(share: float, kinds: tuple[str, ...] = FAULTS) -> Fault:
    """Return faults for that share of all attempts, the same ones each time."""

    def fault(question: str, attempt: int) -> str | None:
        number = int(hashlib.sha256(f"{question} {attempt}".encode()).hexdigest()[:8], 16)
        return kinds[number // 1000 % len(kinds)] if number % 1000 < share * 1000 else None

    return fault


def scores(request: Mapping[str, Any]) -> str:
    """A good reply of the form that `general-v1` and the like ask for, each score 7 or the top of its scale."""
    schema = request.get("response_format", {}).get("json_schema", {}).get("schema")
    names = ("instruction", "preservation", "quality")
    tops = dict.fromkeys(names, 7)
    if schema:
        tops = {
            name: min(7, one["properties"]["score"]["maximum"]) for name, one in schema["properties"].items()
        }
    return json.dumps({name: {"reason": "seen", "score": top} for name, top in tops.items()})


class FakeEndpoint:
    """A server in threads of this process; `url` is its `base_url`.

    Args:
        fault: what goes wrong.
        answer: request -> the reply's text, or a whole `choices[0]`.
        refuses: options that are answered with status 400, which names them.
        key: the only key that is taken; empty: any, or none.
        model: the only one there is.
        sees: whether it takes images.
        usage: tokens in and out of every reply; None: it does not say.
        delay_s: before every reply.
    """

    def __init__(
        self,
        fault: Fault = lambda _question, _attempt: None,
        answer: Callable[[Mapping[str, Any]], Any] = scores,
        *,
        refuses: tuple[str, ...] = (),
        key: str = "",
        model: str = MODEL,
        sees: bool = True,
        usage: tuple[int, int] | None = (1000, 50),
        delay_s: float = 0.0,
    ) -> None:
        self.fault, self.answer, self.refuses, self.key = fault, answer, refuses, key
        self.model, self.sees, self.usage, self.delay_s = model, sees, usage, delay_s
        self.requests: list[dict[str, Any]] = []
        self.tried = 0  # questions of a preflight, which are not among the requests
        self.headers: list[dict[str, str]] = []
        self.attempts: Counter[str] = Counter()  # by question
        self.replies: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = 0
        self.ended = threading.Event()
        self.shutdown_date: str | None = None
        fake = self

        class Handler(_Handler):
            endpoint = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            with self.lock:
                self.at_once -= 1


class _Handler(BaseHTTPRequestHandler):
    endpoint: FakeEndpoint
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def _key_is_wrong(self) -> bool:
        fake, given = self.endpoint, self.headers.get("Authorization", "")
        if not fake.key or given == f"Bearer {fake.key}":
            return False
        self._deny(401, f"Incorrect API key provided: {given.removeprefix('Bearer ')}.", "invalid_api_key")
        return True

    def do_GET(self) -> None:
        fake = self.endpoint
        if self._key_is_wrong():
            return
        if self.path != f"/v1/models/{fake.model}":
            self._deny(404, "The model does not exist", "model_not_found")
            return
        about = {"id": fake.model, "object": "model", "created": 0, "owned_by": "tests"}
        self._send(200, about | ({"shutdown_date": fake.shutdown_date} if fake.shutdown_date else {}))

    def do_POST(self) -> None:
        fake = self.endpoint
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = hashlib.sha256(json.dumps([request["messages"], request.get("seed")]).encode()).hexdigest()
        tried = "Turn the red square yellow" in json.dumps(request["messages"])
        with fake.lock:
            fake.tried += tried
            if not tried:
                fake.requests.append(request)
            fake.headers.append({name.lower(): value for name, value in self.headers.items()})
            fake.attempts[question] += 1
            attempt = fake.attempts[question]
        if self._key_is_wrong():
            return
        if request["model"] != fake.model:
            self._deny(404, f"The model `{request['model']}` does not exist.", "model_not_found")
            return
        if not fake.sees and any(part["type"] == "image_url" for part in request["messages"][0]["content"]):
            self._deny(400, f"{fake.model} is not a multimodal model", "invalid_request")
            return
        for option in fake.refuses:
            if option in request:
                self._deny(400, f"Unsupported parameter: '{option}'", "unsupported_parameter", option)
                return
        with fake.counted():
            fault = fake.fault("preflight" if tried else question, attempt)
            fake.ended.wait(fake.delay_s)
            if fault is None:
                with fake.lock:
                    fake.replies[question] += not tried
                self._send(200, self._completion(request))
            else:
                self._go_wrong(fault, request)

    def _completion(self, request: Mapping[str, Any]) -> dict[str, Any]:
        said = self.endpoint.answer(request)
        choice = said
        if isinstance(said, str):
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        whole = {"id": "x", "object": "chat.completion", "created": 0, "model": self.endpoint.model}
        if self.endpoint.usage:
            tokens_in, tokens_out = self.endpoint.usage
            whole["usage"] = {
                "prompt_tokens": tokens_in,
                "completion_tokens": tokens_out,
                "total_tokens": tokens_in + tokens_out,
            }
        return {**whole, "choices": [choice]}

    def _go_wrong(self, fault: str, request: Mapping[str, Any]) -> None:
        whole = json.dumps(self._completion(request)).encode()
        if fault in ("429", "429-after"):
            after = {"Retry-After": "0.2"} if fault == "429-after" else {}
            self._deny(429, "Rate limit reached", "rate_limit_exceeded", headers=after)
        elif fault == "500":
            self._send_bytes(500, b"<html>Internal Server Error</html>", "text/html")
        elif fault == "hang":
            self.endpoint.ended.wait(60)
            self.close_connection = True
        elif fault == "half":
            self._send_bytes(200, whole[: len(whole) // 2], length=len(whole))
            self.close_connection = True
        elif fault == "json":
            self._send_bytes(200, whole[: len(whole) // 2])
        elif fault == "empty":
            self._send(200, {"choices": []})
        elif fault == "error-200":
            self._send(200, {"error": {"code": 503, "message": "No worker is free"}})
        elif fault == "drip":
            self._send_bytes(200, b"", length=len(whole))
            for one in whole:
                self.wfile.write(bytes([one]))
                self.wfile.flush()
                if self.endpoint.ended.wait(0.1):
                    break
            self.close_connection = True
        elif fault == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()
        else:
            raise AssertionError(fault)

    def _deny(
        self, status: int, text: str, code: str, param: str | None = None, headers: Mapping[str, str] = {}
    ) -> None:
        error = {"message": text, "type": "invalid_request_error", "param": param, "code": code}
        self._send_bytes(status, json.dumps({"error": error}).encode(), headers=headers)

    def _send(self, status: int, body: Mapping[str, Any]) -> None:
        self._send_bytes(status, json.dumps(body).encode())

    def _send_bytes(
        self,
        status: int,
        data: bytes,
        kind: str = "application/json",
        *,
        length: int | None = None,
        headers: Mapping[str, str] = {},
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()


def images_in(request: Mapping[str, Any]) -> list[Image.Image]:
    """Return the images of a request, decoded; each has the format that its address says."""
    found = []
    for part in request["messages"][0]["content"]:
        if part["type"] == "image_url":
            kind, data = re.fullmatch(r"data:image/(\w+);base64,(.*)", part["image_url"]["url"]).groups()
            image = Image.open(io.BytesIO(base64.b64decode(data)))
            assert image.format.lower() == kind
            found.append(image)
    return found
