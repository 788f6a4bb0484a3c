"""What is asked of a plugin's class before and while the driver calls it, so that its faults carry its name.

The code of plugins runs in the driver: to check the config, to load samples, to say sizes. What it prints goes to
stderr, because stdout may be JSON; what it raises becomes one line that names the plugin. Knows no registry.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edit_eval.core.errors import ConfigError, UserError, shown
from edit_eval.core.types import Sample
from edit_eval.worker.secrets import ours

__all__ = ["class_faults", "guarded", "printing_to_stderr", "sample_fault", "unwritable_field", "why"]

_METHOD = {"benchmark": "load", "editor": "edit", "judge": "judge"}
"""What each kind must have of its own."""

_TEXT = {str}
_NAME = re.compile(r"\w[\w.-]{0,60}")
_READS = frozenset({"reference", "target"})


@contextlib.contextmanager
def printing_to_stderr() -> Iterator[None]:
    """Let what is printed within go to stderr: stdout holds results, maybe JSON."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn whatever a plugin's code raises within into a `ConfigError` that begins with `what`.

    Errors meant for users, and those of a file that is named, go through as they are.
    """
    try:
        with printing_to_stderr():
            yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, OSError) and error.filename is not None and error.strerror:
            raise
        raise ConfigError(f"{what} failed: {why(error)}") from error


def why(error: BaseException) -> str:
    """Return an error in one line: its kind, its message, and where in the plugin's file it was raised."""
    said = traceback.TracebackException.from_exception(
        error
    )  # its text is there even where str(error) raises
    text = " ".join(ours().text(str(said)).split())  # before it is cut: half a secret is not found any more
    if isinstance(error, SystemExit):
        text = f"it wants to end the process (SystemExit{f': {text}' if text else ''})"
    elif not text:
        text = type(error).__name__
    elif not isinstance(error, (ImportError, SyntaxError)):
        text = f"{type(error).__name__}: {text}"
    place = _place(error)
    return f"{shown(text, 600, quote=False)}{f' ({place})' if place else ''}"


def _place(error: BaseException) -> str:
    """Return file and line of the innermost frame that is not Python's own."""
    ours, library = Path(__file__).resolve().parents[1], Path(traceback.__file__).resolve().parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        installed = "site-packages" in path.parts
        if path.is_absolute() and ours not in path.parents and (installed or library not in path.parents):
            return f"{path.name}, line {frame.lineno}"
    return ""


def class_faults(kind: str, cls: Any, base: type) -> Iterator[str]:
    """Yield what is wrong with the class of a `benchmark`, `editor` or `judge`, whose base class is `base`."""
    method = _METHOD[kind]
    missing = inspect.getattr_static(cls, method) is inspect.getattr_static(base, method)
    if missing or not callable(getattr(cls, method)):
        yield f"it has no method {method}()"
    if not (isinstance(cls.Params, type) and dataclasses.is_dataclass(cls.Params)):
        yield "its Params must be a dataclass of the standard library"
    if isinstance(cls.version, bool) or not isinstance(cls.version, int):
        yield f"its version must be a whole number, and is {shown(cls.version)}"
    yield from _benchmark_faults(cls) if kind == "benchmark" else _stage_faults(cls)
    if kind == "judge":
        yield from _judge_faults(cls)


def _benchmark_faults(cls: Any) -> Iterator[str]:
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield f"its name must be a short text of letters, digits, '_', '-' and '.', and is {shown(name)}"
    if not isinstance(cls.default_rubric, str):
        yield f"its default_rubric must be a text, and is {shown(cls.default_rubric)}"


def _stage_faults(cls: Any) -> Iterator[str]:
    if not isinstance(cls.model_file, str):
        yield f"its model_file must be a text, and is {shown(cls.model_file)}"
    if not isinstance(cls.needs, (tuple, list)) or not all(isinstance(one, str) for one in cls.needs):
        yield f"its needs must be a tuple of texts, and is {shown(cls.needs)}"


def _judge_faults(cls: Any) -> Iterator[str]:
    if not isinstance(cls.label, str):
        yield f"its label must be a text, and is {shown(cls.label)}"
    if cls.default_rubric is not None and not isinstance(cls.default_rubric, str):
        yield f"its default_rubric must be a text or None, and is {shown(cls.default_rubric)}"
    if not isinstance(cls.reads, (tuple, list)) or not _READS.issuperset(cls.reads):
        yield f"its reads may hold 'reference' and 'target', and is {shown(cls.reads)}"


def unwritable_field(params: Any) -> str | None:
    """Return the name of the first field of a `Params` instance that JSON has no word for, or None."""
    for one in dataclasses.fields(params):
        value = getattr(params, one.name)
        plain = (
            dataclasses.asdict(value)
            if dataclasses.is_dataclass(value) and not isinstance(value, type)
            else value
        )
        try:
            json.dumps(plain, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            return one.name
    return None


def _is_plain(sample: Sample) -> bool:
    """Whether a sample is as nearly all are: nothing but texts, tuples and dicts. Of 100,000 this is asked first."""
    return (
        type(sample.id) is type(sample.instruction) is type(sample.cluster) is str
        and type(sample.tags) is dict
        and type(sample.images) is type(sample.references) is tuple
        and not sample.references
        and sample.target is None
        and (sample.edit_instruction is None or type(sample.edit_instruction) is str)
        and {*map(type, sample.images), *map(type, sample.tags), *map(type, sample.tags.values())} <= _TEXT
    )


def sample_fault(sample: Any) -> str | None:
    """Return what makes `sample` no sample, in words that may follow its number, or None."""
    if type(sample) is Sample and _is_plain(sample):
        return None
    if not isinstance(sample, Sample):
        return f"is no Sample but {type(sample).__name__}"
    for name, wanted in (("id", str), ("instruction", str), ("cluster", str), ("tags", Mapping)):
        if not isinstance(getattr(sample, name), wanted):
            return f"has {shown(getattr(sample, name))} as {name}"
    for name in ("edit_instruction", "target"):
        if not isinstance(getattr(sample, name), (str, type(None))):
            return f"has {shown(getattr(sample, name))} as {name}"
    for name in ("images", "references"):
        paths = getattr(sample, name)
        if (
            not isinstance(paths, Sequence)
            or isinstance(paths, str)
            or not all(isinstance(one, str) for one in paths)
        ):
            return f"has {shown(paths)} as {name}; a tuple of paths is needed"
    if not all(isinstance(one, str) for pair in sample.tags.items() for one in pair):
        return f"has {shown(dict(sample.tags))} as tags; names and values must be texts"
    return None
