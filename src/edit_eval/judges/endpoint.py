"""A model at an OpenAI-compatible endpoint as a judge: on a server of your own (vLLM, SGLang), or a commercial one.

Knows what an endpoint's settings must be, and which of them are part of a verdict's identity. Asking and reading are
`judges.asking`'s and `judges.contract`'s, the connection is `judges.engines.openai`'s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal
from urllib.parse import SplitResult, urlsplit

from edit_eval.core.errors import UserError, shown
from edit_eval.core.types import JudgeRequest, Rubric, Verdict
from edit_eval.judges import Remark
from edit_eval.judges.asking import AskingJudge, AskingParams
from edit_eval.judges.contract import CallReply
from edit_eval.judges.engines import Engine, Reply
from edit_eval.worker.secrets import is_secret

__all__ = ["EndpointJudge", "EndpointParams"]

_DEFAULT_URL = "https://api.openai.com/v1"
_DEFAULT_KEY = "OPENAI_API_KEY"
_NOT_IDENTITY: Mapping[str, bool] = {"identity": False}


@dataclass(frozen=True)
class EndpointParams(AskingParams):
    """Parameters of `EndpointJudge`, beside those of every judge that talks.

    Attributes:
        base_url: address of the interface, mostly ending in `/v1`; None takes `OPENAI_BASE_URL` where that is set, else
            OpenAI's own.
        provider: who answers, part of the identity; None takes the host's name in `base_url`, so that a port or a path
            makes no difference. Give the same name to two addresses of one model, and no verdict is given anew.
        api_key_env: environment variable that holds the key. None: `OPENAI_API_KEY` for OpenAI's own endpoint, no key for
            any other.
        concurrency: how many questions are under way at once, and how many edits are judged at once.
        requests_per_minute: most requests in a minute, those that are repeated included; 0: any number.
        timeout_s: seconds that one attempt may take, from connecting to the last byte.
        attempts: how often a question is put at most while the endpoint is busy, broken or silent.
        backoff_s: the longest wait after the first attempt; it doubles with each (60 s at most).
        image_format: how images are sent.
        jpeg_quality: 1..95, for `jpeg`.
        max_pixels: an image with more pixels is reduced to that many before it is sent; 0: none is.
        detail: `detail` of an image, for endpoints that have it.
        extra_body: further fields of a request, as `{reasoning_effort: low}`.
        price: of a million tokens, `{input: 2.0, output: 8.0}`, in any currency; what verdicts cost is then counted.
    """

    base_url: str | None = field(default=None, metadata=_NOT_IDENTITY)
    provider: str | None = None
    api_key_env: str | None = field(default=None, metadata=_NOT_IDENTITY)
    concurrency: int = field(default=32, metadata=_NOT_IDENTITY)
    requests_per_minute: float = field(default=0.0, metadata=_NOT_IDENTITY)
    timeout_s: float = field(default=120.0, metadata=_NOT_IDENTITY)
    attempts: int = field(default=8, metadata=_NOT_IDENTITY)
    backoff_s: float = field(default=1.0, metadata=_NOT_IDENTITY)
    image_format: Literal["png", "jpeg"] = "png"
    jpeg_quality: int = 95
    max_pixels: int = 0
    detail: Literal["auto", "low", "high"] | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    price: Mapping[str, float] | None = field(default=None, metadata=_NOT_IDENTITY)

    def check(self) -> None:
        """Raise `UserError` for a value out of its range."""
        super().check()
        ranges: tuple[tuple[str, float, float], ...] = (
            ("concurrency", 1, 1024),
            ("requests_per_minute", 0, 1e6),
            ("timeout_s", 0.1, 3600),
            ("attempts", 1, 100),
            ("backoff_s", 0, 60),
            ("jpeg_quality", 1, 95),
            ("max_pixels", 0, 1e9),
        )
        for name, low, high in ranges:
            if not low <= getattr(self, name) <= high:
                raise UserError(
                    f"judge.params.{name}: must be at least {low:g} and at most {high:g}, is {getattr(self, name)}"
                )
        if self.price is not None and (
            set(self.price) != {"input", "output"} or min(self.price.values()) < 0
        ):
            raise UserError(
                "judge.params.price: write what a million tokens cost, as {input: 2.0, output: 8.0}"
            )
        if taken := sorted(_OURS & self.extra_body.keys()):
            raise UserError(
                f"judge.params.extra_body: {taken[0]} is set by other parameters; leave it out here"
            )


_OURS = frozenset(
    {
        "model",
        "messages",
        "temperature",
        "max_tokens",
        "max_completion_tokens",
        "seed",
        "response_format",
        "logprobs",
        "top_logprobs",
        "stream",
        "n",
    }
)
"""Fields of a request that no `extra_body` may say otherwise."""


class EndpointJudge(AskingJudge):
    """A vision-language model at an OpenAI-compatible endpoint. `judge.model` is its name there.

    The key is read from the environment only. There is no system prompt: a question is its texts and images, in the
    rubric's order, as one user message.
    """

    Params: ClassVar[type[Any]] = EndpointParams
    needs: ClassVar[tuple[str, ...]] = ("PIL", "openai>=2.0")
    label: ClassVar[str] = "OpenAI"
    remote_model: ClassVar[bool] = True

    def open_engine(self) -> Engine:
        """Make the client; nothing is asked yet."""
        from edit_eval.judges.engines.openai import OpenAIEngine

        return OpenAIEngine(self.params, self.context)

    @classmethod
    def most_cost(cls, params: Any, rubric: Rubric, tokens_in: int) -> float | None:
        """Return what a verdict costs if every question is asked as often, and answered as long, as may be."""
        if not params.price:
            return None
        if params.mode == "expected":
            return _cost(len(rubric.calls) * tokens_in, len(rubric.calls), params.price)
        replies = len(rubric.calls) * params.samples * (params.retries + 1)
        return _cost(replies * tokens_in, replies * params.max_new_tokens, params.price)

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """Return one verdict per request, in order; with a price, `facts["cost"]` is what it cost.

        Raises:
            UserError: no question would be answered; or there is a price, and the endpoint does not count tokens.
        """
        verdicts = super().judge(requests)
        return [self._priced(one) for one in verdicts] if self.params.price else verdicts

    def _priced(self, verdict: Verdict) -> Verdict:
        tokens_in, tokens_out = verdict.facts["tokens_in"], verdict.facts["tokens_out"]
        if verdict.unscored is None and not tokens_in:
            raise UserError(
                f"judge.params.price: {self.params.provider} does not say how many tokens it used; leave price out"
            )
        return replace(
            verdict, facts={**verdict.facts, "cost": _cost(tokens_in, tokens_out, self.params.price)}
        )

    def try_out(self, request: JudgeRequest) -> Sequence[Remark]:
        """Ask one question, at most twice, and whether the model's end is announced. Raises `UserError`."""
        from edit_eval.judges.engines.openai import OpenAIEngine

        hasty = replace(self.params, attempts=min(2, self.params.attempts), requests_per_minute=0.0)
        engine = OpenAIEngine(hasty, self.context)
        try:
            reply, read = self.first_answer(engine, request)
            day = engine.announced_end() or _ENDS.get(self.params.provider, {}).get(
                str(self.context.model), ""
            )
        finally:
            engine.close()
        name = f"{self.context.model} at {self.params.provider}"
        return [*_remarks(name, reply, read, self.params), *([_end(name, day)] if day else [])]

    @classmethod
    def resolve(cls, params: Any, model: str | None) -> Any:
        """Return `params` with address, provider and the key's variable filled in.

        Raises:
            UserError: a parameter out of its range, or an address that is none.
        """
        del model
        params.check()
        address = params.base_url or os.environ.get("OPENAI_BASE_URL") or _DEFAULT_URL
        parts = _parts(address)
        own = parts.hostname == urlsplit(_DEFAULT_URL).hostname
        key = params.api_key_env or (_DEFAULT_KEY if own else None)
        if key is not None and not (re.fullmatch(r"[A-Za-z_]\w*", key) and is_secret(key, "")):
            raise UserError(  # which does not show it: it may be the key
                "judge.params.api_key_env: must be the name of a variable that says that it holds a secret, such as "
                "MY_API_KEY, so that its value is kept out of logs; it is never the key itself"
            )
        return replace(
            params,
            base_url=address,
            provider=params.provider or parts.hostname,
            api_key_env=key,
            jpeg_quality=params.jpeg_quality if params.image_format == "jpeg" else 0,
        )

    @classmethod
    def size_policy(cls, params: Any) -> str:
        """Say in words how the judge is sent an image; recorded in the run."""
        sent = "PNG" if params.image_format == "png" else f"JPEG of quality {params.jpeg_quality}"
        size = f"reduced to at most {params.max_pixels} pixels (bicubic)" if params.max_pixels else "as it is"
        detail = f", detail {params.detail}" if params.detail else ""
        return f"each image {size}, sent as {sent}{detail}; what the endpoint does with it, it alone knows"


def _remarks(name: str, reply: Reply, read: CallReply, params: EndpointParams) -> Iterator[Remark]:
    """Yield what the reply to a first question says of the endpoint."""
    if reply.unscored == "refused":
        yield "warn", f"{name} refuses a question about a drawing: {reply.text[:200]}", ""
        return
    if reply.unscored is not None:
        if "HTTP 429" in reply.text:
            yield (
                "warn",
                f"{name} is busy: {reply.text}",
                "a run will be patient; a lower concurrency may help",
            )
        else:
            yield "bad", f"{name} does not answer: {reply.text}", _NO_ANSWER
        return
    for option in reply.notes.get("without", ()):
        yield "ok", f"{name} does not take {option}, and is asked without it", ""
    if read.unscored == "truncated":
        mend = "raise judge.params.max_new_tokens; a model that thinks before it writes needs thousands"
        yield "warn", f"{name} was cut off after {params.max_new_tokens} tokens", mend
    elif read.unscored is not None:
        said = shown(" ".join(reply.text.split()), 100)
        yield (
            "warn",
            f"what {name} replied cannot be read ({read.unscored}): {said}",
            "look at the rubric's prompt",
        )
    if params.price and not reply.tokens_in:
        yield "bad", f"{name} does not say how many tokens it used", "leave judge.params.price out"
    tokens = f"{reply.tokens_in} tokens in, {reply.tokens_out} out"
    yield "ok", f"{name} answers in {reply.seconds:.1f} s, {tokens}", ""


_NO_ANSWER = "see that it is there, has this model, and that the model sees images"


def _end(name: str, day: str) -> Remark:
    return (
        "warn",
        f"{name} ends on {day}, as is announced",
        "choose a model that stays, if scores are to be compared later",
    )


_ENDS: Mapping[str, Mapping[str, str]] = {
    "api.openai.com": {
        **dict.fromkeys(
            (
                "gpt-5",
                "gpt-5-2025-08-07",
                "gpt-5-mini",
                "gpt-5-mini-2025-08-07",
                "gpt-5-nano",
                "gpt-5-nano-2025-08-07",
                "o3",
                "o3-2025-04-16",
            ),
            "2026-12-11",
        ),
        **dict.fromkeys(
            (
                "gpt-4.1",
                "gpt-4.1-2025-04-14",
                "gpt-4.1-mini",
                "gpt-4.1-mini-2025-04-14",
                "gpt-4o",
                "gpt-4o-2024-08-06",
                "gpt-4o-2024-11-20",
                "gpt-4o-mini",
                "gpt-4o-mini-2024-07-18",
            ),
            "2027-01-14",
        ),
    }
}
"""Announced ends of models that judge images, where the endpoint itself does not tell: provider -> model -> day. As of
2026-11-28, from https://developers.openai.com/api/docs/deprecations."""


def _cost(tokens_in: int, tokens_out: int, price: Mapping[str, float]) -> float:
    return float(tokens_in * price["input"] + tokens_out * price["output"]) / 1e6


def _parts(address: str) -> SplitResult:
    """Return an address taken apart. Raises `UserError`, which shows no password."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - raises if it is none
    except ValueError as error:
        raise UserError(f"judge.params.base_url: is no address ({error})") from error
    if parts.username or parts.password:
        raise UserError(
            "judge.params.base_url: holds a user or password; put the key into a variable and name that in api_key_env"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UserError(
            f"judge.params.base_url: {shown(re.split('[?#]', address)[0])} must be like http://127.0.0.1:8000/v1, without "
            "anything after the path"
        )
    return parts
