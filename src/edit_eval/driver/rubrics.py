"""Rubrics: the built-in ones by name, a user's own from a YAML file, both through the same checks.

Knows what a rubric must be so that a judge can follow it and a score can come of it; knows no judge.
"""

from __future__ import annotations

import itertools
import keyword
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edit_eval.core.errors import ConfigError, did_you_mean, shown
from edit_eval.core.expression import evaluate, names_in
from edit_eval.core.types import Call, Dimension, ReplyForm, Rubric, Shown
from edit_eval.driver.yamlfile import parse_yaml, read_yaml
from edit_eval.judges.contract import levels_of

__all__ = ["builtin_rubrics", "check_recorded_rubric", "load_rubric"]

_SUFFIXES = (".yaml", ".yml")
_FILLED = re.compile(r"instruction|note:.+|image:(source|edited|reference)(/[1-9])?")
_RESERVED = frozenset({"min", "max", "mean", "sqrt", "geomean", "equal", "choose", "digits", "overall"})
"""No names for dimensions: functions of the expression, and what the combined score is called."""

_ROUNDING = 1e-9

_Text = Annotated[str, Field(strict=True, min_length=1, pattern=r"\S")]
_Name = Annotated[str, Field(strict=True, min_length=1, max_length=60)]
_Formula = Annotated[str, Field(strict=True, min_length=1, max_length=1000)]
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_Range = tuple[_Number, _Number]


_Role = Annotated[str, Field(strict=True, pattern=r"^(source|edited|reference)(/[1-9])?$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _DimensionFile(_Strict):
    name: _Name
    scale: _Range
    integer: Annotated[bool, Field(strict=True)] = False
    description: Annotated[str, Field(strict=True)] = ""


class _CallFile(_Strict):
    name: _Name
    prompt: _Text
    dimensions: Annotated[tuple[_Name, ...], Field(min_length=1)]
    images: Annotated[tuple[_Role, ...], Field(min_length=1)] = ("source", "edited")
    reply: ReplyForm = "object"
    keys: tuple[_Name, ...] = ()
    fill: dict[_Name, _Name] = {}


class _ShownFile(_Strict):
    edited_as_source: Annotated[bool, Field(strict=True)] = False
    longest_side: Annotated[int, Field(strict=True, ge=0, le=1 << 16)] = 0
    jpeg_quality: Annotated[int, Field(strict=True, ge=0, le=95)] = 0


class _RubricFile(_Strict):
    name: Annotated[str, Field(strict=True, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    dimensions: Annotated[tuple[_DimensionFile, ...], Field(min_length=1, max_length=12)]
    calls: Annotated[tuple[_CallFile, ...], Field(max_length=12)] = ()
    overall: _Formula
    range: _Range
    shown: _ShownFile = _ShownFile()
    continuous: Annotated[bool, Field(strict=True)] = False
    compares: Annotated[bool, Field(strict=True)] = False


_PARTS: dict[str, type[_Strict]] = {
    "dimensions": _DimensionFile,
    "calls": _CallFile,
    "shown": _ShownFile,
}


def builtin_rubrics() -> list[str]:
    """Return the names of the rubrics that come with edit-eval, sorted."""
    return sorted(one.name.removesuffix(".yaml") for one in _folder().iterdir() if one.name.endswith(".yaml"))


def load_rubric(name_or_path: str, base: Path | None = None) -> Rubric:
    """Return a rubric.

    Args:
        name_or_path: a built-in name (`general-v1`), or the path of a YAML file.
        base: folder that a relative path starts from; the current one by default.

    Raises:
        ConfigError: no such rubric, or everything that is wrong with the file.
    """
    if name_or_path in builtin_rubrics():
        return _builtin(name_or_path)
    path = (base or Path()) / Path(name_or_path).expanduser()
    if not (name_or_path.endswith(_SUFFIXES) or "/" in name_or_path or _is_file(path)):
        known = builtin_rubrics()
        raise ConfigError(
            f"no rubric {shown(name_or_path)}{did_you_mean(name_or_path, known)}; there are {', '.join(known)}, "
            "or give the path of a YAML file"
        )
    rubric = _checked(_read_file(path), str(path))
    if rubric.name in builtin_rubrics() and rubric != _builtin(rubric.name):
        raise ConfigError(
            f"rubric {path}: name: {rubric.name!r} is a built-in rubric and this one differs; give it another name"
        )
    return rubric


def check_recorded_rubric(data: Mapping[str, Any]) -> None:
    """Hold `Rubric.to_json()`, as it was read from a file, against the same rules. Raises `ConfigError`."""
    dimensions = data.get("dimensions")
    if isinstance(dimensions, list):
        dimensions = [_as_in_a_file(one) for one in dimensions]
    _checked({**_as_in_a_file(data, "range"), "dimensions": dimensions}, "recorded")


def _as_in_a_file(part: Any, scale: str = "scale") -> Any:
    """Return a part of a recorded rubric as it stands in a YAML file: the ends of a scale as a pair."""
    if not isinstance(part, Mapping):
        return part
    rest = {name: value for name, value in part.items() if name not in ("low", "high")}
    return {**rest, scale: [part.get("low"), part.get("high")]}


def _folder() -> Traversable:
    return files("edit_eval.judges") / "rubrics"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


@cache
def _builtin(name: str) -> Rubric:
    return _checked(parse_yaml((_folder() / f"{name}.yaml").read_text(encoding="utf-8"), name), name)


def _read_file(path: Path) -> Any:
    try:
        return read_yaml(path, f"rubric {path}")
    except FileNotFoundError as error:
        raise ConfigError(f"rubric {path}: {error.strerror}") from error


def _checked(data: Any, where: str) -> Rubric:
    if not isinstance(data, dict):
        raise ConfigError(f"rubric {where}: is no mapping with name, dimensions, calls, overall and range")
    try:
        read = _RubricFile.model_validate(data)
    except ValidationError as error:
        raise ConfigError([f"rubric {where}: {one}" for one in _schema_problems(error)]) from error
    rubric = _rubric(read)
    problems = [*_name_problems(rubric), *_call_problems(rubric)]
    problems += _comparison_problems(rubric) if rubric.compares else []
    problems += [] if problems else _overall_problems(rubric)
    if problems:
        raise ConfigError([f"rubric {where}: {one}" for one in problems])
    return rubric


def _schema_problems(error: ValidationError) -> Iterator[str]:
    places = [one["loc"] for one in error.errors()]
    for one in error.errors():
        place = one["loc"]
        within = any(other[: len(place)] == place for other in places if len(other) > len(place))
        if not (
            one["type"] == "too_short" and within
        ):  # items that were refused are missing: no fault of its own
            yield _problem(one)


def _problem(error: Any) -> str:
    place: Sequence[str | int] = error["loc"]
    dotted = ".".join(str(one) for one in place)
    if error["type"] != "extra_forbidden":
        return f"{dotted}: {error['msg'][0].lower()}{error['msg'][1:]}"
    part = _PARTS.get(str(place[0]), _RubricFile) if len(place) > 1 else _RubricFile
    known = list(part.model_fields)
    return f"unknown key {dotted!r}{did_you_mean(str(place[-1]), known)}; known: {', '.join(known)}"


def _rubric(read: _RubricFile) -> Rubric:
    return Rubric(
        name=read.name,
        dimensions=tuple(
            Dimension(one.name, one.scale[0], one.scale[1], one.integer, one.description)
            for one in read.dimensions
        ),
        calls=tuple(
            Call(one.name, one.prompt, one.dimensions, one.images, one.reply, one.keys, one.fill)
            for one in read.calls
        ),
        overall=read.overall,
        low=read.range[0],
        high=read.range[1],
        shown=Shown(**read.shown.model_dump()),
        continuous=read.continuous,
        compares=read.compares,
    )


def _name_problems(rubric: Rubric) -> Iterator[str]:
    for kind, names in (
        ("dimension", [d.name for d in rubric.dimensions]),
        ("call", [c.name for c in rubric.calls]),
    ):
        for name, count in Counter(names).items():
            if count > 1:
                yield f"{kind} {name!r} is there {count} times"
            if (
                not name.isidentifier()
                or keyword.iskeyword(name)
                or unicodedata.normalize("NFKC", name) != name
            ):
                yield f"{kind} {name!r} is no identifier: use letters, digits and _"
            elif kind == "dimension" and name in _RESERVED:
                yield f"dimension {name!r}: the name has a meaning of its own, use another"
    for one in rubric.dimensions:
        if one.low >= one.high:
            yield f"dimension {one.name!r}: scale must be [low, high] with low below high"
        elif one.integer and not (one.low.is_integer() and one.high.is_integer()):
            yield f"dimension {one.name!r}: an integer scale must begin and end at whole numbers"
    if rubric.low >= rubric.high:
        yield "range must be [low, high] with low below high"


def _call_problems(rubric: Rubric) -> Iterator[str]:
    known = [one.name for one in rubric.dimensions]
    answered = Counter(name for call in rubric.calls for name in call.dimensions)
    for call in rubric.calls:
        if call.reply == "level":
            yield from _level_problems(rubric, call)
        if call.reply in ("object", "level") and not call.fill and "{output_format}" not in call.prompt:
            yield f"call {call.name!r}: its prompt lacks {{output_format}}"
        if call.keys and len(call.keys) != len(call.dimensions):
            yield f"call {call.name!r}: it has {len(call.keys)} keys for {len(call.dimensions)} dimensions"
        for what in call.fill.values():
            if not _FILLED.fullmatch(what):
                yield f"call {call.name!r}: fill: {shown(what)} is none of instruction, note:NAME, image:ROLE"
        if len(set(call.images)) < len(call.images):
            yield f"call {call.name!r}: an image is named twice"
        for name in call.dimensions:
            if name not in known:
                yield f"call {call.name!r}: unknown dimension {name!r}{did_you_mean(name, known)}"
    if rubric.calls and not any(_asks_of_the_instruction(call) for call in rubric.calls):
        yield "no prompt holds {instruction}, so the judge would not know what was asked for"
    for name in known if rubric.calls else ():
        if answered[name] != 1:
            yield f"dimension {name!r} is answered by {answered[name] or 'no'} calls, must be by exactly one"


def _comparison_problems(rubric: Rubric) -> Iterator[str]:
    """Check what the report relies on: two questions in opposite orders, each answered by 0, 1 or 2."""
    if (rubric.low, rubric.high) != (0, 1):
        yield "compares: range must be [0, 1]: 1 where this run's edit wins, 0 where it loses"
    orders = [
        call.images.index("edited") < call.images.index("reference")
        for call in rubric.calls
        if {"edited", "reference"} <= set(call.images)
    ]
    if len(rubric.calls) != 2 or sorted(orders) != [False, True]:
        yield "compares: there must be two questions, one that shows edited before reference and one after it"
    if any(len(call.dimensions) != 1 for call in rubric.calls):
        yield "compares: each question must have one dimension"
    for one in rubric.dimensions:
        if (one.low, one.high, one.integer) != (0, 2, True):
            yield f"compares: the scale of {one.name!r} must be whole numbers from 0 to 2: first, neither, second is better"


def _level_problems(rubric: Rubric, call: Call) -> Iterator[str]:
    if set(call.dimensions) <= {one.name for one in rubric.dimensions}:
        try:
            levels_of(rubric, call)
        except ValueError as error:
            yield f"call {call.name!r}: {error}"


def _asks_of_the_instruction(call: Call) -> bool:
    marks = [mark for mark, what in call.fill.items() if what == "instruction"]
    return any(mark in call.prompt for mark in (marks if call.fill else ["{instruction}"]))


def _overall_problems(rubric: Rubric) -> Iterator[str]:
    """Check the expression at every corner of the scales, where a sum, a minimum or a root has its extremes."""
    known = [one.name for one in rubric.dimensions]
    try:
        unknown = sorted(names_in(rubric.overall) - set(known))
    except ValueError as error:
        yield f"overall: {error}"
        return
    if unknown:
        yield from (f"overall: unknown dimension {name!r}{did_you_mean(name, known)}" for name in unknown)
        return
    for corner in itertools.product(*((one.low, one.high) for one in rubric.dimensions)):
        values = dict(zip(known, corner, strict=True))
        try:
            value = evaluate(rubric.overall, values)
        except ValueError as error:
            yield f"overall: cannot be computed for {_named(values)}: {error}"
            return
        rounding = _ROUNDING * max(1.0, abs(rubric.low), abs(rubric.high))
        if not rubric.low - rounding <= value <= rubric.high + rounding:
            yield f"overall: {value:g} for {_named(values)} is outside range [{rubric.low:g}, {rubric.high:g}]"
            return


def _named(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in values.items())
