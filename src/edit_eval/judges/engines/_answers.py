"""What comes back from an OpenAI-compatible endpoint, read strictly: a reply, or what it means that there is none.

Pure: no connection, no clock. Standard library only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from edit_eval.core.errors import shown
from edit_eval.judges.engines import Question, Reply
from edit_eval.worker.secrets import ours

__all__ = [
    "Denial",
    "DeniedError",
    "MalformedError",
    "NoProbabilitiesError",
    "denial_in",
    "read_reply",
    "retry_after_s",
]

_POLICY = re.compile(
    r"content.?(polic|filter|management)|data.?inspection|moderation|safety|responsible.?ai|flagged|sensitive",
    re.IGNORECASE,
)
_CREDIT = re.compile(
    r"insufficient.?(quota|balance|credit|funds)|billing|exceeded your current quota", re.IGNORECASE
)
_KEY = re.compile(r"api.?key|unauthorized|authentication", re.IGNORECASE)
_NO_MODEL = re.compile(
    r"model.?not.?(found|exist)|(unknown|invalid|no such) model|model\b.*\b(does not exist|not exist|not found|not supported)",
    re.IGNORECASE | re.DOTALL,
)
_OPTIONS: Mapping[str, re.Pattern[str]] = {
    "response_format": re.compile(r"response_?format|json.?schema|structured|guided|grammar", re.IGNORECASE),
    "logprobs": re.compile(r"log.?probs?|log.?probabilit", re.IGNORECASE),
    "seed": re.compile(r"\bseed\b", re.IGNORECASE),
    "max_tokens": re.compile(r"\bmax_tokens\b"),
    "max_completion_tokens": re.compile(r"\bmax_completion_tokens\b"),
    "temperature": re.compile(r"\btemperature\b", re.IGNORECASE),
}
"""How a server names an option of a request that it does not take."""

_BUSY = frozenset({408, 409, 425, 429})
_MOST_WAIT_S = 120.0


class MalformedError(Exception):
    """An answer of status 200 that is no reply: half a body, no JSON, no choices. Asking again may help."""


class NoProbabilitiesError(Exception):
    """A reply without the probabilities that were asked for."""


@dataclass(frozen=True)
class Denial:
    """An endpoint's answer that is no reply.

    Attributes:
        status: HTTP's.
        text: what it says, on one line, without secrets.
        code: its own word for it, if it has one.
    """

    status: int
    text: str
    code: str = ""

    @property
    def meaning(self) -> Literal["busy", "refused", "key", "credit", "model", "request"]:
        """Whose fault it is: `busy` asks for patience; `key`, `credit` and `model` are no sample's fault."""
        said = f"{self.code} {self.text}"
        if self.status == 402 or (self.status in (403, 429) and _CREDIT.search(said)):
            return "credit"
        if self.status in _BUSY or self.status >= 500:
            return "busy"
        if self.status != 401 and _POLICY.search(said):
            return "refused"
        if self.status in (401, 403) or (self.status == 400 and _KEY.search(said)):
            return "key"
        if self.status == 404 or _NO_MODEL.search(said):
            return "model"
        return "request"

    def option(self, sent: Collection[str]) -> str | None:
        """Return the option among those `sent` that it refuses, if that is what it says."""
        if self.status not in (400, 422, 501):
            return None
        said = f"{self.code} {self.text}"
        return next((name for name, mark in _OPTIONS.items() if name in sent and mark.search(said)), None)

    def __str__(self) -> str:
        return f"HTTP {self.status}: {self.text}"


class DeniedError(Exception):
    """The endpoint answered with a denial."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(str(denial))
        self.denial = denial


def denial_in(status: int, body: Any) -> Denial:
    """Return what an error's body says; any shape will do: an object, `{"error": ...}`, `{"detail": ...}`, a text."""
    inner = body
    if isinstance(body, Mapping):
        inner = next((body[name] for name in ("error", "detail") if body.get(name)), body)
    if isinstance(inner, Mapping):
        words = [inner.get(name) for name in ("code", "type", "param")]
        code = " ".join(str(one) for one in words if one not in (None, ""))
        text = inner.get("message") or json.dumps(inner, ensure_ascii=False, default=str)
    else:
        code, text = "", inner if isinstance(inner, str) else json.dumps(inner, default=str)
    line = " ".join(ours().text(str(text)).split())  # before it is cut: half a secret is not found any more
    return Denial(status, shown(line, 300, quote=False) or "no reason given", shown(code, 100, quote=False))


def read_reply(content: bytes, question: Question, model: str) -> Reply:
    """Return the reply in a body of status 200.

    Args:
        content: the body.
        question: what was asked; with choices, their probabilities are read.
        model: the name that was asked for.

    Raises:
        DeniedError: it is an error after all; some endpoints say so with status 200.
        MalformedError: it is no chat completion.
        NoProbabilitiesError: it lacks the probabilities that were asked for.
    """
    choice, whole = _choice(content)
    message = choice.get("message")
    if not isinstance(message, dict):
        raise MalformedError("a choice without a message")
    usage = whole.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    served = whole.get("model")
    given: dict[str, Any] = {
        "tokens_in": _count(counts.get("prompt_tokens")),
        "tokens_out": _count(counts.get("completion_tokens")),
        "notes": {"served": served} if isinstance(served, str) and served not in ("", model) else {},
    }
    text, refusal = message.get("content"), message.get("refusal")
    if not isinstance(text, (str, type(None))):
        raise MalformedError(f"a reply that is {type(text).__name__} and no text")
    if refusal or choice.get("finish_reason") == "content_filter":
        said = refusal if isinstance(refusal, str) else text or "the endpoint's filter stopped the reply"
        return Reply(said, unscored="refused", **given)
    if question.choices:
        return Reply("", probabilities=_probabilities(choice, question.choices), **given)
    return Reply(text or "", truncated=choice.get("finish_reason") == "length", **given)


def _choice(content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the first choice, and the whole body."""
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"a body of {len(content)} bytes that is no JSON") from error
    choices = whole.get("choices") if isinstance(whole, dict) else None
    if not choices and isinstance(whole, dict) and (said := whole.get("error")):
        status = said.get("code") if isinstance(said, dict) else None
        raise DeniedError(
            denial_in(status if isinstance(status, int) and 400 <= status < 600 else 502, whole)
        )
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise MalformedError("an answer without choices")
    return choices[0], whole


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _probabilities(choice: Mapping[str, Any], wanted: tuple[str, ...]) -> dict[str, float]:
    """Return the probability of each wanted text as the reply's first token; one that is not listed has 0.

    Raises `NoProbabilitiesError`.
    """
    try:
        listed = choice["logprobs"]["content"][0]["top_logprobs"]
        found = {one["token"]: float(one["logprob"]) for one in listed}
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise NoProbabilitiesError from error
    if not found:
        raise NoProbabilitiesError
    return {one: min(1.0, math.exp(found[one])) if one in found else 0.0 for one in wanted}


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Return how many seconds an answer's `Retry-After` asks for, at most 120; None if it asks for none.

    Args:
        headers: of the answer, asked in lower case.
        now_s: seconds since 1970, for a date.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return _bounded(milliseconds / 1000)
    said = headers.get("retry-after")
    if (seconds := _number(said)) is not None:
        return _bounded(seconds)
    try:
        return _bounded(parsedate_to_datetime(said or "").timestamp() - now_s)
    except (TypeError, ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _MOST_WAIT_S)
