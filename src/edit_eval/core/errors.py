"""Every error that edit-eval raises on purpose, drawn as one tree.

    EditEvalError
    ├── UserError             the user's input or system is at fault; shown as one line, exit code 2
    │   ├── ConfigError         the config, with every fault found in it
    │   ├── DataError           a benchmark's samples or images
    │   ├── ModelError          a model, a checkpoint or the libraries that should load it
    │   ├── DeviceError         a device that is not there or is held by others
    │   └── RunError            a run directory: locked, full, unwritable, damaged, of something else
    ├── RunFailed             the run could not go on; what was finished is on disk, exit code 1
    └── Interrupted           the run was asked to stop; what was finished is on disk, exit code 130

A failure of one sample is never an exception outside the host that met it: it is an outcome
(`types.EditFailureKind`, `types.Verdict.unscored`) with a kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

__all__ = [
    "ConfigError",
    "DataError",
    "DeviceError",
    "EditEvalError",
    "Interrupted",
    "ModelError",
    "RunError",
    "RunFailed",
    "UserError",
    "did_you_mean",
    "shown",
]


class EditEvalError(Exception):
    """Base of all errors raised on purpose."""


class UserError(EditEvalError):
    """The user's input is wrong, or the system refuses. The message is one line that says what to do."""


class ConfigError(UserError):
    """One or more faults of a config.

    Attributes:
        problems: every fault found, each one line.
    """

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("; ".join(self.problems))


class DataError(UserError):
    """A benchmark's samples or images are missing, doubled or unreadable."""


class ModelError(UserError):
    """A model cannot be found or loaded as asked: a wrong path, a wrong class, a missing library."""


class DeviceError(UserError):
    """A device that was asked for is not there, or its memory is held by others."""


class RunError(UserError):
    """A run directory cannot be used: locked, its disk full, not writable, damaged, or not a run."""


class RunFailed(EditEvalError):
    """The run could not go on. What was finished is on disk."""


class Interrupted(EditEvalError):
    """The run was asked to stop before it was done. What was finished is on disk."""


_LONGEST_SHOWN = 80


def shown(value: object, limit: int = _LONGEST_SHOWN, *, quote: bool = True) -> str:
    """Return `value` as it may stand in a one-line message: as Python writes it, cut to about `limit` characters.

    Control and direction characters, line breaks and lone surrogates come out as backslash escapes. `quote`: whether a
    text keeps its quotation marks.
    """
    if isinstance(value, int) and value.bit_length() > 4 * limit:
        return "a huge number"  # Python refuses to write thousands of digits
    if isinstance(value, str):
        text = repr(value[:limit])
        return (text if quote else text[1:-1]) + ("..." if len(value) > limit else "")
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return `" (did you mean 'x'?)"` for the nearest of `known`, or an empty string."""
    near = get_close_matches(word, known, n=1, cutoff=0.6) if len(word) <= _LONGEST_SHOWN else []
    return f" (did you mean {near[0]!r}?)" if near else ""
