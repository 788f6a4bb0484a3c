"""Values in a config, whatever key they stand under: what may be written down, and how a wrong one is named.

Knows no key of the config but `env` and `params`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from edit_eval.core.errors import shown
from edit_eval.worker.secrets import holds_password, is_secret_parameter

__all__ = ["INT_64", "env_problems", "is_plain", "message", "secret_problems"]

INT_64 = (-(1 << 63), (1 << 63) - 1)
"""Smallest and largest whole number that every reader of JSON keeps."""

_SET_BY_US = ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "PYTHONSAFEPATH")
_LONGEST_VALUE = 100_000
"""Of a variable, in characters: Linux takes 128 KiB for one."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def env_problems(kind: str, section: Mapping[str, Any]) -> Iterator[str]:
    """Yield what no environment can hold, or what edit-eval sets itself, of a stage's `env`."""
    env = section.get("env")
    for key, value in env.items() if isinstance(env, Mapping) else ():
        name = str(key)
        where = f"{kind}.env.{shown(name, quote=False)}"
        if name in _SET_BY_US:
            choose = f"; choose devices with {kind}.devices" if "DEVICE" in name else ""
            yield f"{where}: edit-eval sets it itself{choose}"
        elif not _VARIABLE.fullmatch(name):
            yield f"{where}: is no name of a variable: use letters, digits and _"
        elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
            yield f"{where}: must be a text or a number; put it in quotes"
        elif isinstance(value, float) and not math.isfinite(value):
            yield f"{where}: must be a finite number, or a text in quotes"
        elif isinstance(value, int) and abs(value) > INT_64[1]:
            yield f"{where}: is too large a number; put it in quotes"
        elif isinstance(value, str) and ("\0" in value or len(value) > _LONGEST_VALUE):
            yield f"{where}: " + ("cannot hold a null byte" if "\0" in value else "is too long")
        elif isinstance(value, str) and not _is_unicode(value):
            yield f"{where}: holds half of a character (a lone surrogate), which no environment can"


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= one <= "\udfff" for one in text)


def secret_problems(section: Mapping[str, Any], kind: str = "") -> Iterator[str]:
    """Yield where a password or a key stands in a part of the config that run.json keeps as it is."""
    for name, value in section.items():
        if name == "env":
            continue
        key = shown(str(name), quote=False)
        for place, text in _texts(value, f"{kind}.{key}" if kind else key):
            if holds_password(text):
                yield f"{place}: holds a password (NAME:PASSWORD@); secrets come from the environment only"
            elif name == "params" and is_secret_parameter(place.rpartition(".")[2]) and text:
                yield (
                    f"{place}: is a secret, and run.json would keep it; secrets come from the environment only, "
                    "or from " + (f"{kind}.env" if kind != "benchmark" else "a file of yours")
                )


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield every text within `value` with the dotted key that leads to it."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, f"{place}.{shown(str(key), quote=False)}")
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner, place)


def message(error: Any) -> str:
    """Return what pydantic says, in our voice, with a hint where YAML took a value for something else."""
    said, value = error["msg"].removeprefix("Value error, "), error.get("input")
    text = f"{said[0].lower()}{said[1:]}".partition(" or instance of ")[0]
    if value is None:
        return f"{text}, and is empty; write it, or leave the key out"
    if error["type"] == "string_type" and isinstance(value, bool):
        return f"{text}; yes, no, on, off, true and false are no texts in YAML: put it in quotes"
    if error["type"] == "string_type" and isinstance(value, (int, float)):
        return f"{text}; put it in quotes"
    if error["type"] in ("int_type", "float_type") and isinstance(value, str) and _is_number(value):
        return f"{text}; {shown(value)} is a text here: write it without quotes, and 1e5 as 1.0e+5"
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_plain(value: Any) -> bool:
    """Whether `value` can be written as JSON and read back the same: 64 bits for whole numbers, whole characters."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return INT_64[0] <= value <= INT_64[1]
    if isinstance(value, str):
        return _is_unicode(value)
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_unicode(key) and is_plain(one) for key, one in value.items())
    return value is None or (isinstance(value, (list, tuple)) and all(map(is_plain, value)))
