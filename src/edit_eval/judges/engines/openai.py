"""An OpenAI-compatible endpoint as an engine: a server of vLLM or SGLang, or a commercial one.

Many questions are under way at once, in one event loop on a thread of its own; any number of threads may ask. Each
attempt has a time limit over all of it, so that neither a hang nor a slow drip holds it up; attempts are bounded. What
an answer means is read by `_answers`. The `openai` client is imported inside.
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import io
import json
import os
import re
import sys
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from edit_eval.core.errors import ModelError, UserError, shown
from edit_eval.core.identity import digest
from edit_eval.core.types import HostContext
from edit_eval.judges.engines import Engine, Question, Reply
from edit_eval.judges.engines._answers import (
    Denial,
    DeniedError,
    MalformedError,
    NoProbabilitiesError,
    denial_in,
    read_reply,
    retry_after_s,
)
from edit_eval.worker.images import png_bytes
from edit_eval.worker.secrets import ours

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["OpenAIEngine"]

_BEAT_S = 5.0
"""How often whoever waits for a reply gives a sign of life: an endpoint may take longer than a model at hand."""

_LOOK_S = 10.0
_CONNECT_S = 10.0
_LONGEST_BACK_OFF_S = 60.0
_MOST_LOGPROBS = 20
"""How many alternatives of a token the interface tells at most."""

_LENGTHS = ("max_tokens", "max_completion_tokens")
"""Names of the longest reply's length: old models and most servers take the first, newer models the second."""


class _AgainError(Exception):
    """An attempt gave nothing; another one may. `wait_s`: how long the endpoint asks everybody to wait."""

    def __init__(self, kind: Literal["timeout", "error"], reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.wait_s = wait_s


class OpenAIEngine(Engine):
    """Asks `base_url` by chat completions. `params` is an `EndpointParams`, resolved."""

    def __init__(self, params: Any, context: HostContext) -> None:
        """Make the client; nothing is sent yet.

        Raises:
            ModelError: no `openai` in this interpreter, or no model is named.
            UserError: the key's variable is named and not set.
        """
        super().__init__()
        self._params = params
        self._model = str(context.model)
        self._key = _key(params)
        self._host = params.provider
        self._left_out: list[str] = []  # what the endpoint does not take; touched in the loop only
        self._length = _LENGTHS[0]
        self._lengths_refused: set[str] = set()
        self._next_turn = self._closed_until = 0.0
        self._between_s = 60.0 / params.requests_per_minute if params.requests_per_minute else 0.0
        self._openai = _client_library()
        self._loop = asyncio.new_event_loop()
        self._places = asyncio.Semaphore(params.concurrency)
        self._client = self._openai.AsyncOpenAI(
            api_key=self._key or "none",  # a server that wants none takes any
            base_url=params.base_url,
            max_retries=0,  # ours are bounded in time, and their waits follow from a hash
            timeout=self._openai.Timeout(params.timeout_s, connect=min(_CONNECT_S, params.timeout_s)),
        )
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="endpoint")
        self._thread.start()

    @property
    def window(self) -> int:
        """As many edits as there may be questions under way."""
        return int(self._params.concurrency)

    @property
    def threads(self) -> int:
        """As many as there may be questions under way: an edit waits for its replies, not for those of others."""
        return int(self._params.concurrency)

    def facts(self) -> dict[str, Any]:
        """Return where the questions go, and by which client."""
        return {
            "endpoint": self._params.base_url,
            "client": f"openai {self._openai.__version__}",
            "concurrency": self._params.concurrency,
        }

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        """Return one reply per question, in order; any number of threads may ask at once.

        Raises:
            UserError: the key, the model or a setting is refused: no question would be answered.
        """
        encoded: dict[int, dict[str, Any]] = {}
        content = [self._content(one, encoded) for one in questions]
        answered: list[int] = []
        asked = [self._ask(one, parts, answered) for one, parts in zip(questions, content, strict=True)]
        work = asyncio.run_coroutine_threadsafe(_gathered(asked), self._loop)
        while not concurrent.futures.wait([work], timeout=_BEAT_S).done:
            self.progress(len(answered), len(questions))
        return work.result()

    def announced_end(self) -> str:
        """Return the day (YYYY-MM-DD) from which the endpoint says that it has this model no more; empty if it says none."""
        openai = self._openai

        async def look() -> str:
            try:
                asked = self._client.models.with_raw_response.retrieve(self._model)
                raw = await asyncio.wait_for(asked, min(_LOOK_S, self._params.timeout_s))
                said = json.loads(raw.http_response.content)
            except (asyncio.TimeoutError, openai.OpenAIError, ValueError):
                return ""  # few endpoints tell, and many have no such page
            day = said.get("shutdown_date") if isinstance(said, dict) else None
            return day if isinstance(day, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", day) else ""

        return asyncio.run_coroutine_threadsafe(look(), self._loop).result()

    # What is sent

    def _content(self, question: Question, encoded: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the user message's parts; an image that several questions share is encoded once."""
        parts: list[dict[str, Any]] = []
        for kind, value in question.parts:
            if isinstance(value, str):
                parts.append({"type": kind, "text": value})
                continue
            if id(value) not in encoded:
                detail = {"detail": self._params.detail} if self._params.detail else {}
                encoded[id(value)] = {"url": self._data_url(value), **detail}
            parts.append({"type": "image_url", "image_url": encoded[id(value)]})
        return parts

    def _data_url(self, image: Image) -> str:
        params = self._params
        pixels = image.width * image.height
        if params.max_pixels and pixels > params.max_pixels:
            scale = (params.max_pixels / pixels) ** 0.5
            size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
            image = image.resize(size, resample=3)  # bicubic
        if params.image_format == "png":
            data = png_bytes(image)
        else:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=params.jpeg_quality)
            data = buffer.getvalue()
        return f"data:image/{params.image_format};base64,{base64.b64encode(data).decode('ascii')}"

    def _request(self, question: Question, content: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the arguments of one call, without what the endpoint is known not to take."""
        request: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "temperature": question.temperature,
            self._length: question.max_tokens,
            "seed": question.seed & 0x7FFFFFFF,  # some take 31 bits only
        }
        if question.schema:
            schema = {"name": "verdict", "strict": True, "schema": dict(question.schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        if question.choices:
            request |= {"logprobs": True, "top_logprobs": _MOST_LOGPROBS}
        if self._params.extra_body:
            request["extra_body"] = dict(self._params.extra_body)
        return {name: value for name, value in request.items() if name not in self._left_out}

    # Asking

    async def _ask(self, question: Question, content: list[dict[str, Any]], answered: list[int]) -> Reply:
        """Ask until there is a reply, at most `attempts` times. Raises `UserError`."""
        began = time.monotonic()
        attempt, reply = 0, None
        while reply is None:
            attempt += 1
            try:
                async with self._places:
                    await self._turn()
                    reply = await self._adapting(question, content)
            except _AgainError as error:
                if attempt >= self._params.attempts:
                    reply = Reply(f"{error} ({attempt} attempts)", unscored=error.kind)
                else:
                    await asyncio.sleep(self._wait_s(question, attempt, error))
        answered.append(attempt)
        notes = {**reply.notes, "without": list(self._left_out)} if self._left_out else reply.notes
        return replace(reply, attempts=attempt, seconds=time.monotonic() - began, notes=notes)

    async def _turn(self) -> None:
        """Wait for a place in the minute, and as long as the endpoint has asked everybody to wait."""
        now = self._loop.time()
        at = max(now, self._next_turn, self._closed_until)
        self._next_turn = at + self._between_s
        await asyncio.sleep(at - now)

    def _wait_s(self, question: Question, attempt: int, error: _AgainError) -> float:
        """Return how long to wait after this attempt: twice as long each time, spread by a hash of what is asked."""
        if error.wait_s is not None:
            self._closed_until = max(self._closed_until, self._loop.time() + error.wait_s)
        longest = min(self._params.backoff_s * 2.0 ** (attempt - 1), _LONGEST_BACK_OFF_S)
        share = int(digest([self._model, question.seed, attempt])[:8], 16) / 0xFFFFFFFF
        return float(longest * (0.5 + 0.5 * share))

    async def _adapting(self, question: Question, content: list[dict[str, Any]]) -> Reply:
        """Make one attempt; again at once without an option that the endpoint does not take, each but once."""
        while True:
            request = self._request(question, content)
            try:
                return await self._attempt(question, request)
            except DeniedError as error:
                option = error.denial.option(request)
                if option is None or not self._leave_out(option, question, error.denial):
                    return self._without_reply(error.denial)
            except NoProbabilitiesError as error:
                raise self._no_probabilities("it sends none") from error

    def _leave_out(self, option: str, question: Question, denial: Denial) -> bool:
        """Note that the endpoint does not take an option; say whether to ask again. Raises `UserError` if it must be."""
        if option == "logprobs":
            raise self._no_probabilities(str(denial))
        if option == "temperature":
            raise UserError(
                f"judge.params.temperature: {self._model} at {self._host} does not take {question.temperature:g} "
                f"({denial})"
            )
        if option in _LENGTHS:
            if set(_LENGTHS) - {option} <= self._lengths_refused:
                return False  # it takes the name, and not the number
            self._lengths_refused.add(option)
            self._length = next(iter(set(_LENGTHS) - {option}))
        elif option not in self._left_out:
            self._left_out.append(option)
        return True

    async def _attempt(self, question: Question, request: Mapping[str, Any]) -> Reply:
        """Ask once. Raises `DeniedError`, `NoProbabilitiesError`, and `_AgainError` where another attempt may help."""
        openai = self._openai
        try:
            asked = self._client.chat.completions.with_raw_response.create(**request)
            raw = await asyncio.wait_for(asked, self._params.timeout_s)
            return read_reply(raw.http_response.content, question, self._model)
        except (asyncio.TimeoutError, openai.APITimeoutError) as error:
            raise _AgainError("timeout", f"no reply within {self._params.timeout_s:g} s") from error
        except openai.APIStatusError as error:
            denial = denial_in(error.status_code, error.body or error.response.text)
            if denial.meaning == "busy":
                wait_s = retry_after_s(error.response.headers, time.time())
                raise _AgainError("error", str(denial), wait_s) from error
            raise DeniedError(denial) from error
        except DeniedError as error:
            if error.denial.meaning == "busy":
                raise _AgainError("error", str(error.denial)) from error
            raise
        except MalformedError as error:
            raise _AgainError("error", f"the endpoint sent {error}") from error
        except openai.APIConnectionError as error:
            raise _AgainError("error", f"no connection: {_cause(error)}") from error

    # What a denial comes to

    def _without_reply(self, denial: Denial) -> Reply:
        """Return what a denial is for this question alone. Raises `UserError` where it is one for every question."""
        meaning, host = denial.meaning, self._host
        if meaning == "refused":
            return Reply(denial.text, unscored="refused")
        if meaning == "key" and not self._key:
            raise UserError(
                f"judge: {host} wants a key, and none was sent ({denial}); put it into a variable and name that in "
                "judge.params.api_key_env"
            )
        if meaning == "key":
            raise UserError(f"judge: {host} does not take the key in {self._params.api_key_env} ({denial})")
        if meaning == "credit":
            raise UserError(f"judge: {host} says that there is no credit left ({denial})")
        if meaning == "model":
            raise UserError(f"judge.model: {host} has no model {shown(self._model)} for this ({denial})")
        return Reply(str(denial), unscored="error")

    def _no_probabilities(self, why: str) -> UserError:
        return UserError(
            f"judge.params.mode: expected needs the probabilities of tokens, and {self._model} at {self._host} does not "
            f"tell them ({why}); use mode generate"
        )

    def close(self) -> None:
        """End the connections and the thread; nothing can be asked any more."""
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result(_BEAT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_BEAT_S)
        self._loop.close()


async def _gathered(asked: Sequence[Coroutine[Any, Any, Reply]]) -> list[Reply]:
    return list(await asyncio.gather(*asked))


def _key(params: Any) -> str:
    """Return the key, or an empty text if none is to be sent. Raises `UserError`, which does not show it."""
    name = params.api_key_env
    if not name:
        return ""
    key = os.environ.get(name, "").strip()
    if not key:
        raise UserError(
            f"judge.params.api_key_env: the variable {name} is not set; set it where you start edit-eval, or under judge.env"
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"judge.params.api_key_env: what {name} holds cannot be a key; look for a stray character"
        )
    return key


def _client_library() -> Any:
    try:
        import openai
    except ImportError as error:
        lacks = "has no openai" if error.name == "openai" else f"cannot import openai ({error})"
        raise ModelError(
            f"{sys.executable} {lacks}; pip install openai into it, or set judge.python to another interpreter"
        ) from error
    return openai


def _cause(error: BaseException) -> str:
    """Return why there was no connection, in one line without secrets."""
    cause = error.__cause__ or error
    text = " ".join(ours().text(str(cause)).split())
    return shown(f"{type(cause).__name__}: {text}" if text else type(cause).__name__, 200, quote=False)
