"""How a judge that talks comes to a verdict: which questions it asks, when it asks again, what it makes of the replies.

Knows engines by their interface only. What a reply says is read by `judges.contract` alone; a reply that gives no score is
asked for again a bounded number of times, and then the verdict is *unscored*. Standard library only.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from edit_eval.core.errors import ConfigError, UserError
from edit_eval.core.identity import digest
from edit_eval.core.types import Call, HostContext, JudgeRequest, Prompt, Rubric, Verdict
from edit_eval.judges import Judge
from edit_eval.judges.contract import (
    CallReply,
    combine,
    json_schema,
    levels_of,
    parse_reply,
    verdict_from_scores,
)
from edit_eval.judges.engines import Engine, Part, Question, Reply

__all__ = ["AskingJudge", "AskingParams"]

_BY_CHANCE = frozenset({"unparsable", "refused", "out_of_range", "truncated"})
"""Kinds of replies of which another one, sampled, may be better."""


@dataclass(frozen=True)
class AskingParams:
    """Parameters that every judge that talks has.

    Attributes:
        mode: `generate`: the judge writes reasons and scores. `expected`: it writes nothing; a dimension's score is the
            expected value over the levels of its scale, by the probabilities that the model gives to each level as the
            first token of its reply. Needs whole-number scales whose levels are single digits (1 to 5, 0 to 9).
        max_new_tokens: most tokens of one reply; a reply that needs more is *truncated*.
        temperature: of the first reply to a question; 0 is greedy.
        samples: how many replies are asked for each question; scores are their means, and the spread is recorded.
            More than 1 needs a temperature above 0.
        retries: how often a question is asked again whose reply gives no score.
        retry_temperature: at which it is then sampled, because a greedy reply would be the same again.
        least_mass: `expected`: the probability that all levels together must have; below it the dimension is *unscored*.
        constrained: whether the reply is held to the rubric's JSON schema: `auto`, where the engine can and the form is
            ours; `off`, never.
    """

    mode: Literal["generate", "expected"] = "generate"
    max_new_tokens: int = 512
    temperature: float = 0.0
    samples: int = 1
    retries: int = 2
    retry_temperature: float = 0.7
    least_mass: float = 0.5
    constrained: Literal["auto", "off"] = "auto"

    def check(self) -> None:
        """Raise `UserError` for a value out of its range."""
        ranges: tuple[tuple[str, float, float], ...] = (
            ("max_new_tokens", 1, math.inf),
            ("temperature", 0, 2),
            ("samples", 1, 100),
            ("retries", 0, 20),
            ("retry_temperature", 0, 2),
            ("least_mass", 0, 1),
        )
        for name, low, high in ranges:
            value = getattr(self, name)
            if not low <= value <= high:
                most = "" if high == math.inf else f" and at most {high:g}"
                raise UserError(f"judge.params.{name}: must be at least {low:g}{most}, is {value}")
        if self.samples > 1 and self.mode == "expected":
            raise UserError(
                "judge.params: mode expected gives one value however often it is asked; leave out samples"
            )
        if self.samples > 1 and self.temperature == 0:
            raise UserError(
                "judge.params.samples: more than 1 needs a temperature above 0, or all replies are the same"
            )


class AskingJudge(Judge):
    """A judge that asks an engine. A kind of its own says how its engine is made (`open_engine`)."""

    Params: ClassVar[type[Any]] = AskingParams

    def __init__(self, params: Any, context: HostContext, rubrics: Sequence[Rubric]) -> None:
        super().__init__(params, context, rubrics)
        for rubric in rubrics:
            if not rubric.calls:
                raise UserError(
                    f"rubric {rubric.name!r} asks nothing, so a judge that talks cannot answer it; use general-v1"
                )
        self.engine_in_use = self.open_engine()

    def open_engine(self) -> Engine:
        """Return the engine, ready to answer. Raises `UserError` if it cannot be had."""
        raise NotImplementedError

    @classmethod
    def adapted(cls, params: Any, rubric: Rubric) -> Rubric:
        """Return the rubric as this mode asks and scores it, under a name that says so.

        Raises:
            ConfigError: the mode cannot follow this rubric.
        """
        if rubric.compares and (params.mode == "expected" or params.samples > 1):
            key = "mode: expected" if params.mode == "expected" else "samples"
            raise ConfigError(
                f"judge.params.{key}: rubric {rubric.name!r} asks which of two is better, of which there is no mean; "
                "leave it out"
            )
        if params.mode == "expected":
            return _expected_rubric(rubric)
        if params.samples > 1:
            return replace(rubric, name=f"{rubric.name}-mean-of-{params.samples}", continuous=True)
        return rubric

    @property
    def window(self) -> int:
        """As many edits as the engine wants at once."""
        return self.engine_in_use.window

    @property
    def threads(self) -> int:
        """As many as the engine bears."""
        return self.engine_in_use.threads

    def facts(self) -> dict[str, Any]:
        """Return what is recorded of the engine."""
        return self.engine_in_use.facts()

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """Return one verdict per request, in order.

        Raises:
            UserError: no question would be answered.
            RuntimeError: a fault of the model's code.
        """
        self.engine_in_use.progress = self.progress
        asked = [list(self._asked(request)) for request in requests]
        pending = [one for several in asked for one in several]
        for attempt in range(self.params.retries + 1):
            replies = self.engine_in_use.ask([self._question(one, attempt) for one in pending])
            for one, reply in zip(pending, replies, strict=True):
                one.take(reply, self.params.least_mass)
            pending = [one for one in pending if one.may_be_asked_again]
            if not pending:
                break
        return [_verdict(request, several) for request, several in zip(requests, asked, strict=True)]

    def first_answer(self, engine: Engine, request: JudgeRequest) -> tuple[Reply, CallReply]:
        """Ask `engine` a request's first question, once; return what it replied and what that says. Raises `UserError`."""
        one = next(self._asked(request))
        (reply,) = engine.ask([self._question(one, 0)])
        one.take(reply, self.params.least_mass)
        return reply, one.read

    def _asked(self, request: JudgeRequest) -> Iterator[_Asked]:
        """Yield every question of a request, those of one reading side by side."""
        for sample in range(self.params.samples):
            for prompt in request.prompts:
                yield _Asked(request, prompt, sample)

    def _question(self, one: _Asked, attempt: int) -> Question:
        params, call = self.params, one.call
        temperature = (
            params.temperature if attempt == 0 else max(params.temperature, params.retry_temperature)
        )
        seed = int(
            digest([one.request.seed, call.name, one.sample, attempt])[:8], 16
        )  # 32 bits, as every engine takes
        if params.mode == "expected":
            return Question(one.parts(), 1, choices=levels_of(one.request.rubric, call))
        held = params.constrained == "auto" and call.reply == "object"
        schema = json_schema(one.request.rubric, call) if held else None
        return Question(one.parts(), params.max_new_tokens, temperature, seed, schema)


@dataclass
class _Asked:
    """A question that is asked until its reply gives a score, and what came of it.

    Attributes:
        request: what it is about.
        prompt: the rendered question.
        sample: which reading of this question it is, from 0.
        read: what the last reply says.
        replies: every reply, in order.
        mass: `expected`: the probability of all levels together.
    """

    request: JudgeRequest
    prompt: Prompt
    sample: int
    read: CallReply = field(default_factory=lambda: CallReply(unscored="error"))
    replies: list[Reply] = field(default_factory=list)
    mass: float | None = None

    def __post_init__(self) -> None:
        self.call = next(one for one in self.request.rubric.calls if one.name == self.prompt.call)

    def parts(self) -> tuple[Part, ...]:
        """Return the texts and images of this question."""
        parts: list[Part] = []
        for kind, value in self.prompt.parts():
            if kind == "text":
                parts.append(("text", value))
            else:
                parts += [("image", image) for image in self.request.images_as(value)]
        return tuple(parts)

    def take(self, reply: Reply, least_mass: float) -> None:
        """Read a reply."""
        self.replies.append(reply)
        if reply.unscored is not None:
            self.read = CallReply(unscored=reply.unscored)
        elif self.call.reply == "level":
            self.mass = math.fsum(reply.probabilities.values())
            self.read = _expected(self.call.dimensions[0], reply.probabilities, self.mass, least_mass)
        else:
            self.read = parse_reply(reply.text, self.request.rubric, self.call, truncated=reply.truncated)

    @property
    def may_be_asked_again(self) -> bool:
        """Whether there is no score yet, and another reply by chance could give one."""
        return self.read.unscored in _BY_CHANCE and self.call.reply != "level"

    @property
    def text(self) -> str:
        """The last reply's text; of an expected score, the probabilities."""
        last = self.replies[-1]
        if self.call.reply != "level":
            return last.text
        levels = ", ".join(f"{level}: {one:.4f}" for level, one in last.probabilities.items())
        return f"{self.call.dimensions[0]} by probability: {levels or 'none of its levels'}"


def _expected(dimension: str, probabilities: Mapping[str, float], mass: float, least: float) -> CallReply:
    """Return the expected value over the levels, if they have the probability that they must have together."""
    if not mass or mass < least:
        return CallReply(unscored="unparsable")
    value = math.fsum(float(level) * one for level, one in probabilities.items()) / mass
    levels = [float(level) for level in probabilities]
    return CallReply({dimension: min(max(value, min(levels)), max(levels))}, {dimension: ""})


def _expected_rubric(rubric: Rubric) -> Rubric:
    """Return a rubric that asks for each dimension alone, by one digit and no reason.

    All questions of a call begin with the same text, which an engine then reads once.
    """
    where = f"judge.params.mode: expected cannot follow rubric {rubric.name!r}"
    calls: list[Call] = []
    for call in rubric.calls:
        if call.reply != "object" or call.fill:
            raise ConfigError(
                f"{where}: its question {call.name!r} wants a text of another form; use general-5-v1"
            )
        calls += [
            replace(call, name=f"{call.name}_{name}", dimensions=(name,), reply="level")
            for name in call.dimensions
        ]
    asked = replace(rubric, name=f"{rubric.name}-expected", calls=tuple(calls), continuous=True)
    for call in calls:
        try:
            levels_of(asked, call)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}; use general-5-v1") from error
    return asked


def _verdict(request: JudgeRequest, asked: Sequence[_Asked]) -> Verdict:
    """Return what the replies to all questions of a request come to, with what they cost."""
    count = len(request.prompts)
    readings = [asked[start : start + count] for start in range(0, len(asked), count)]
    verdicts = [
        combine(request.rubric, [one.read for one in reading], [one.text for one in reading])
        for reading in readings
    ]
    return replace(_mean(request.rubric, verdicts), facts=_facts(asked, verdicts))


def _mean(rubric: Rubric, verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict of several readings: the mean of each score. One that gives no score leaves the edit unscored."""
    if len(verdicts) == 1:
        return verdicts[0]
    texts = [one.reply for one in verdicts]
    failed = next((one for one in verdicts if one.unscored is not None), None)
    if failed is not None:
        return replace(failed, reply="\n\n".join(texts))
    scores = {name: statistics.fmean(one.scores[name] for one in verdicts) for name in verdicts[0].scores}
    return verdict_from_scores(rubric, scores, verdicts[0].reasons, "\n\n".join(texts))


def _facts(asked: Sequence[_Asked], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the provenance of a verdict: what it cost, and how sure the judge was."""
    replies = [reply for one in asked for reply in one.replies]
    facts: dict[str, Any] = {
        "replies": len(replies),
        "attempts": sum(one.attempts for one in replies),
        "tokens_in": sum(one.tokens_in for one in replies),
        "tokens_out": sum(one.tokens_out for one in replies),
    }
    if seconds := sum(one.seconds for one in replies):
        facts["seconds"] = round(seconds, 3)
    for one in replies:
        facts |= one.notes
    if masses := {one.call.dimensions[0]: round(one.mass, 6) for one in asked if one.mass is not None}:
        facts["mass"] = masses
    if len(verdicts) > 1 and all(one.unscored is None for one in verdicts):
        facts["spread"] = {
            name: round(statistics.stdev(one.scores[name] for one in verdicts), 6)
            for name in verdicts[0].scores
        }
    return facts
