"""The contract with a judge that talks: the form its answer must have, and the only place where that answer is read.

The output instruction, the JSON schema and the parser all come from the same rubric. A reply is read strictly or not
at all: nothing is repaired, nothing is guessed, and what cannot be read is *unscored* with a kind, never a number.
Knows no model, no sample and no file. Standard library only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from edit_eval.core.expression import evaluate
from edit_eval.core.types import Call, Dimension, Rubric, UnscoredKind, Verdict
from edit_eval.judges.refusals import is_refusal
from edit_eval.judges.text_forms import (
    THOUGHTS,
    final_numbers,
    labelled_numbers,
    number_alone,
    without_last_line,
    without_thoughts,
)

__all__ = [
    "CallReply",
    "combine",
    "held_to",
    "json_schema",
    "levels_of",
    "output_format",
    "parse_reply",
    "parse_verdict",
    "verdict_from_scores",
]

_MARK = re.compile(
    "|".join(re.escape(tag) for pair in THOUGHTS.items() for tag in pair) + r'|[\[{][\[{\s]*"?'
)
"""A thought's tag, or a run of opening brackets; `{"` at its end is where JSON begins, anything else is prose."""

_CLOSING = frozenset(THOUGHTS.values())

_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
"""A string, whole or cut off, or a bracket outside of strings."""

_ENCLOSED = re.compile(r"\s*[\]}]")
"""What follows an object that stands within something else, or has a bracket too many."""

_DOUBLED = object()
"""Key put into an object that names a key twice, so that it fits no schema."""

_ROUNDING = 1e-9
"""How far, relative to the scale, an overall score may lie outside it by floating point alone."""


@dataclass(frozen=True)
class CallReply:
    """What one reply says: either every dimension of its call is scored, or none and there is a kind.

    Attributes:
        scores: score by dimension, each on its scale; empty when unscored.
        reasons: the judge's one-sentence reason by dimension; empty when unscored.
        unscored: why there is no score; None when scored.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    unscored: UnscoredKind | None = None


# The form of an answer


def output_format(rubric: Rubric, call: Call) -> str:
    """Return the instruction that says how to answer `call`: one JSON object, a reason and a score per dimension.

    The shape shown is no valid JSON, so a judge that only echoes it gives no score. For `level` it is one digit.
    """
    wanted = [rubric.dimension(name) for name in call.dimensions]
    if call.reply == "level":
        (one,) = wanted
        return (
            f'Give the score of "{one.name}" alone: answer with one digit, a {_scale(one)}, and write nothing before or '
            "after it."
        )
    shape = ",\n".join(
        f'  {json.dumps(key, ensure_ascii=False)}: {{"reason": "<one sentence>", "score": <{_scale(one)}>}}'
        for key, one in zip(call.keys or call.dimensions, wanted, strict=True)
    )
    return (
        "Answer with exactly one JSON object and nothing after it. For each name below give first a reason of one "
        f"sentence, then a score as a plain number:\n{{\n{shape}\n}}"
    )


def _scale(dimension: Dimension) -> str:
    kind = "whole number" if dimension.integer else "number"
    return f"{kind} from {dimension.low:g} to {dimension.high:g}"


def levels_of(rubric: Rubric, call: Call) -> tuple[str, ...]:
    """Return the levels of the one dimension of a `level` question, lowest first, each a single digit.

    Raises:
        ValueError: several dimensions, a scale that is not of whole numbers, or one with a level of two digits: its
            probability would be spread over two tokens.
    """
    if len(call.dimensions) != 1:
        raise ValueError(
            f"question {call.name!r} asks for {len(call.dimensions)} scores at once, and one digit is one"
        )
    one = rubric.dimension(call.dimensions[0])
    if not one.integer:
        raise ValueError(f"the scale of {one.name!r} is not of whole numbers")
    if one.low < 0 or one.high > 9:
        raise ValueError(
            f"the scale of {one.name!r} is {one.low:g} to {one.high:g}, and not every level is one digit"
        )
    return tuple(str(level) for level in range(int(one.low), int(one.high) + 1))


def json_schema(rubric: Rubric, call: Call) -> dict[str, Any]:
    """Return the JSON schema of a reply to `call`, for judges that can be held to one."""
    properties = {}
    for key, name in zip(call.keys or call.dimensions, call.dimensions, strict=True):
        one = rubric.dimension(name)
        score = {"type": "integer" if one.integer else "number", "minimum": one.low, "maximum": one.high}
        properties[key] = _closed_object({"reason": {"type": "string"}, "score": score})
    return _closed_object(properties)


def _closed_object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


# Reading an answer


def parse_reply(text: str, rubric: Rubric, call: Call, *, truncated: bool = False) -> CallReply:
    """Read a judge's reply to `call`; never raises, whatever the text.

    A thought (`<think>` ... `</think>`, or other marks of `THOUGHTS`) is no part of the reply, and text before a lone
    closing mark counts as thought. What is accepted depends on `call.reply`; prose around it is allowed, a second
    answer is not (the reply is then *unparsable*):

    - `object`: one JSON object that fits `json_schema`, in a code fence or not, and in no other bracket. A second
      object that names one of the call's dimensions, fit or not, makes the reply ambiguous.
    - `fields`: one JSON object in which every dimension has its key (`call.keys`) with a plain number; what else it
      holds is taken for reasons where it is text.
    - `list`: one JSON object whose `score` is a list with one plain number per dimension, in their order.
    - `lines`: one line `LABEL: number` per dimension, bold or as a list item or not; `/N` may follow where N is the
      top of the scale.
    - `level`: the number of the one dimension, and nothing else.
    - `final`: `Final Score: number`, or `Final Scores: number, number` with one per dimension, in their order; nothing
      else on that line, but for a remark in parentheses.

    Numbers are written with the digits 0 to 9. The last line of a text that was cut off is not read: 1 may have become 10.

    Args:
        text: what the judge wrote, special tokens removed.
        rubric: gives the scales.
        call: the question.
        truncated: generation ended because its token limit was reached.

    Returns:
        Scores and reasons of every dimension, or one of these kinds:
        `out_of_range` (a number outside the scale, or a fraction on an integer scale),
        `truncated` (cut off within a thought, within an object that begins as the answer does, or before the answer's
        line), `refused` (says that it will not answer, see `judges.refusals`, and no digit is in the reply),
        `unparsable` (all else).
    """
    dimensions = [rubric.dimension(name) for name in call.dimensions]
    if call.reply in ("lines", "final", "level"):
        return _read_text(text, dimensions, call, truncated=truncated)
    keys = ("score",) if call.reply == "list" else call.keys or call.dimensions
    found = _scan(text, keys)
    if found.broken:
        return CallReply(unscored="truncated" if truncated and found.begun else "unparsable")
    if len(found.attempts) == 1:
        return _READERS[call.reply](found.attempts[0], dimensions, call)
    if not found.attempts and is_refusal(found.prose):
        return CallReply(unscored="refused")
    return CallReply(unscored="unparsable")


@dataclass
class _Found:
    """What a reply holds, its thoughts left out.

    Attributes:
        attempts: complete JSON objects that name a dimension of the call.
        prose: the text after the last thought, for telling a refusal.
        broken: something that begins like JSON is none, or a thought does not end; what follows was not looked at.
        begun: of what is broken: it is a verdict or a thought that lacks only its end.
    """

    attempts: list[dict[Any, Any]]
    prose: str
    broken: bool = False
    begun: bool = False


def _scan(text: str, names: Sequence[str]) -> _Found:
    """Walk through `text` once, stepping over whole JSON values; linear in its length."""
    attempts: list[dict[Any, Any]] = []
    start = position = 0
    while match := _MARK.search(text, position):
        mark, position = match.group(), match.end()
        if mark in THOUGHTS:
            closed = text.find(THOUGHTS[mark], position)
            if closed < 0:
                return _Found(attempts, text[start:], broken=True, begun=True)
            start = position = closed + len(THOUGHTS[mark])
        elif mark in _CLOSING:
            attempts.clear()
            start = position
        elif mark.endswith('"') and mark[:-1].rstrip().endswith("{"):
            value, position = _decode(text, match.start())
            if value is None:
                begun = _begins(text[match.end() :], names) and _is_open(text[match.start() :])
                return _Found(attempts, text[start:], broken=True, begun=begun)
            if isinstance(value, dict) and any(name in value for name in names):
                attempts.append({} if _ENCLOSED.match(text, position) else value)
            elif isinstance(value, list):  # verdicts in a list: nobody asked for that
                attempts.append({})
    return _Found(attempts, text[start:])


def _decode(text: str, position: int) -> tuple[Any, int]:
    """Return the JSON value at `position` and where it ends, or None if there is none."""
    try:
        return _DECODER.raw_decode(text, position)
    except (ValueError, RecursionError):
        return None, position


def _begins(rest: str, names: Sequence[str]) -> bool:
    """Whether `rest`, which follows `{"`, starts with a dimension's name, or with as much of one as there is room for."""
    return any(rest.startswith(f'{name}"') or name.startswith(rest) for name in names)


def _is_open(text: str) -> bool:
    """Whether the brackets of `text`, which begins with one, never all close (those within strings do not count)."""
    depth = 0
    for match in _BRACKET.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match.group()[0], 0)
        if depth == 0:
            return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[Any, Any]:
    result: dict[Any, Any] = dict(pairs)
    if len(result) < len(pairs):
        result[_DOUBLED] = True
    return result


def _whole_number(digits: str) -> float:
    """Read any number of digits: a huge one becomes infinite, which is outside every scale."""
    return float(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole_number, parse_constant=lambda _: None)


def _read_object(answer: Mapping[Any, Any], dimensions: Sequence[Dimension], call: Call) -> CallReply:
    """Read our own form: a reason and a score under every dimension's key, and nothing else."""
    keys = call.keys or call.dimensions
    if set(answer) != set(keys):
        return CallReply(unscored="unparsable")
    scores: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for key, one in zip(keys, dimensions, strict=True):
        part = answer[key]
        if (
            not isinstance(part, dict)
            or set(part) != {"reason", "score"}
            or not isinstance(part["reason"], str)
        ):
            return CallReply(unscored="unparsable")
        reasons[one.name] = part["reason"]
        scores[one.name] = part["score"]
    return _scored(scores, reasons, dimensions)


def _read_fields(answer: Mapping[Any, Any], dimensions: Sequence[Dimension], call: Call) -> CallReply:
    """Read one number per key; text under other keys is the reason, where it is clear of which score."""
    if _DOUBLED in answer:
        return CallReply(unscored="unparsable")
    keys = dict(zip(call.dimensions, call.keys or call.dimensions, strict=True))
    texts = {key: value for key, value in answer.items() if isinstance(value, str)}
    scores = {one.name: answer.get(keys[one.name]) for one in dimensions}
    if len(dimensions) == 1:
        return _scored(scores, {dimensions[0].name: "\n".join(texts.values())}, dimensions)
    reasons = {}
    for one in dimensions:
        stem = keys[one.name].removesuffix("_score")
        reasons[one.name] = "\n".join(value for key, value in texts.items() if key.startswith(stem))
    return _scored(scores, reasons, dimensions)


def _read_list(answer: Mapping[Any, Any], dimensions: Sequence[Dimension], call: Call) -> CallReply:
    """Read the scores of a list in the dimensions' order; `reasoning` is the reason of each."""
    del call
    values, reason = answer.get("score"), answer.get("reasoning", "")
    if _DOUBLED in answer or not isinstance(values, list) or len(values) != len(dimensions):
        return CallReply(unscored="unparsable")
    scores = {one.name: value for one, value in zip(dimensions, values, strict=True)}
    text = reason if isinstance(reason, str) else ""
    return _scored(scores, {one.name: text for one in dimensions}, dimensions)


_READERS: Mapping[str, Callable[[Mapping[Any, Any], Sequence[Dimension], Call], CallReply]] = {
    "object": _read_object,
    "fields": _read_fields,
    "list": _read_list,
}


def _read_text(text: str, dimensions: Sequence[Dimension], call: Call, *, truncated: bool) -> CallReply:
    """Read a reply that is no JSON: lines with labels, a final score, or a number alone."""
    answer = without_thoughts(text)
    if answer is None:
        return CallReply(unscored="truncated" if truncated else "unparsable")
    numbers = _numbers(without_last_line(answer) if truncated else answer, dimensions, call)
    if numbers is None:
        if is_refusal(answer):
            return CallReply(unscored="refused")
        return CallReply(unscored="truncated" if truncated else "unparsable")
    if not numbers:
        return CallReply(unscored="unparsable")
    scores = {one.name: number for one, number in zip(dimensions, numbers, strict=True)}
    return _scored(scores, {one.name: answer.strip() for one in dimensions}, dimensions)


def _numbers(answer: str, dimensions: Sequence[Dimension], call: Call) -> list[float] | None:
    """Return a number per dimension; empty if the answer is there and cannot be read, None if it is not there."""
    if call.reply == "lines":
        return labelled_numbers(answer, call.keys or call.dimensions, [one.high for one in dimensions])
    if call.reply == "final":
        return final_numbers(answer, len(dimensions))
    return number_alone(answer)


def _scored(
    scores: Mapping[str, Any], reasons: Mapping[str, str], dimensions: Sequence[Dimension]
) -> CallReply:
    """Return the reply with these scores, if each is a plain number (as JSON has it) on its scale."""
    if not all(isinstance(scores[one.name], float) for one in dimensions):
        return CallReply(unscored="unparsable")
    plain = {one.name: scores[one.name] + 0.0 for one in dimensions}  # no negative zero
    if not all(_on_scale(plain[one.name], one) for one in dimensions):
        return CallReply(unscored="out_of_range")
    return CallReply(plain, {one.name: _printable(reasons[one.name]) for one in dimensions})


def _on_scale(score: float, dimension: Dimension) -> bool:
    return dimension.low <= score <= dimension.high and not (dimension.integer and not score.is_integer())


def _stands(score: float, dimension: Dimension, rubric: Rubric) -> bool:
    """Whether a verdict may have this score: on the scale, or between its levels where the rubric's scores are means."""
    return _on_scale(score, replace(dimension, integer=False) if rubric.continuous else dimension)


def _printable(text: str) -> str:
    """Replace lone surrogates, which no file can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


# What it comes to


def parse_verdict(text: str, rubric: Rubric, *, truncated: bool = False) -> Verdict:
    """Return the verdict of one reply, for a rubric that asks one question: `parse_reply`, then `combine`.

    Args:
        text: what the judge wrote, special tokens removed; whatever it is, it raises nothing.
        rubric: asks exactly one question, which `text` answers.
        truncated: generation ended because its token limit was reached.

    Raises:
        ValueError: the rubric asks no question, or several.
    """
    if len(rubric.calls) != 1:
        raise ValueError(
            f"rubric {rubric.name!r} asks {len(rubric.calls)} questions, and one reply answers one"
        )
    return combine(rubric, [parse_reply(text, rubric, rubric.calls[0], truncated=truncated)], [text])


def combine(rubric: Rubric, replies: Sequence[CallReply], texts: Sequence[str]) -> Verdict:
    """Return the verdict of one edit from the replies to all calls of `rubric`, in their order.

    Args:
        rubric: gives the overall expression and its range.
        replies: one per call; the first that is unscored makes the verdict unscored, with its kind.
        texts: the raw text of each reply.

    Raises:
        ValueError: not one reply and one text per call (a fault of the judge's code, not of its model).
    """
    if not len(replies) == len(texts) == len(rubric.calls):
        raise ValueError(f"{len(rubric.calls)} calls, {len(replies)} replies, {len(texts)} texts")
    text = _printable("\n\n".join(texts))
    scores: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for reply in replies:
        if reply.unscored is not None:
            return Verdict(unscored=reply.unscored, reply=text)
        scores.update(reply.scores)
        reasons.update(reply.reasons)
    return verdict_from_scores(rubric, scores, reasons, text)


def verdict_from_scores(
    rubric: Rubric, scores: Mapping[str, float], reasons: Mapping[str, str], reply: str
) -> Verdict:
    """Return the verdict that `scores` make; for judges that measure, too.

    A score that is off its scale, or an overall that has no finite value in the rubric's range, makes the verdict
    unscored (`out_of_range`).

    Raises:
        ValueError: the names scored are not the rubric's dimensions (a fault of the judge's code).
    """
    if set(scores) != {one.name for one in rubric.dimensions}:
        raise ValueError(
            f"scored {sorted(scores)}, but the rubric's dimensions are {[one.name for one in rubric.dimensions]}"
        )
    ordered = {one.name: float(scores[one.name]) for one in rubric.dimensions}
    overall = _overall(rubric, ordered)
    if overall is None or not all(_stands(ordered[one.name], one, rubric) for one in rubric.dimensions):
        return Verdict(unscored="out_of_range", reply=reply)
    return Verdict(scores=ordered, overall=overall, reasons=dict(reasons), reply=reply)


def held_to(rubric: Rubric, verdict: Verdict) -> Verdict:
    """Return `verdict` with plain floats, whoever made it.

    Raises:
        ValueError: what is scored are not the rubric's dimensions, a score is off its scale, the overall score is
            outside the rubric's range or not what its expression gives, an unscored verdict has a kind that there is
            not, or a reply or reason is no text (faults of the judge's code).
    """
    if not all(isinstance(text, str) for text in (verdict.reply, *verdict.reasons.values())):
        raise ValueError("the judge's reply or a reason is no text")
    if verdict.overall is None:
        if verdict.unscored not in get_args(UnscoredKind):
            raise ValueError(f"there is no kind of unscored verdict {verdict.unscored!r}")
        return Verdict(unscored=verdict.unscored, reply=_printable(verdict.reply), facts=dict(verdict.facts))
    if any(isinstance(score, bool) for score in verdict.scores.values()):
        raise ValueError("a score is true or false, and not a number")
    scores = {str(name): float(score) for name, score in verdict.scores.items()}
    overall = float(verdict.overall)
    if set(scores) != {one.name for one in rubric.dimensions}:
        raise ValueError(
            f"scored {sorted(scores)}, but the rubric's dimensions are {[one.name for one in rubric.dimensions]}"
        )
    for one in rubric.dimensions:
        if not _stands(scores[one.name], one, rubric):
            raise ValueError(f"the score {scores[one.name]:g} of {one.name} is no {_scale(one)}")
    if not rubric.low <= overall <= rubric.high:
        raise ValueError(f"the overall score {overall:g} is outside {rubric.low:g} to {rubric.high:g}")
    made = _overall(rubric, scores)
    if made is None or not math.isclose(made, overall, rel_tol=1e-6, abs_tol=1e-6):
        raise ValueError(f"the overall score {overall:g} is not what the rubric makes of the scores: {made}")
    ordered = {one.name: scores[one.name] for one in rubric.dimensions}
    reasons = {str(name): _printable(reason) for name, reason in verdict.reasons.items()}
    return Verdict(ordered, overall, None, reasons, _printable(verdict.reply), dict(verdict.facts))


def _overall(rubric: Rubric, scores: Mapping[str, float]) -> float | None:
    try:
        value = evaluate(rubric.overall, scores)
    except ValueError:
        return None
    clipped = min(max(value, rubric.low), rubric.high)
    rounding = _ROUNDING * max(1.0, abs(rubric.low), abs(rubric.high))
    return clipped if math.isclose(value, clipped, rel_tol=0.0, abs_tol=rounding) else None
