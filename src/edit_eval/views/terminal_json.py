"""The display for programs: one JSON object an event, one event a line, ASCII only, flushed at once.

The contract is `events.schema.json` beside this module, with a page for people in `docs/display.md`: every object has
`event`, the snake-case name of a class of `edit_eval.driver.events`, and that class's fields. A reader must ignore keys
and events that it does not know: later versions may add some, and take none away.
"""

from __future__ import annotations

import importlib.resources
import json
import re
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Self, TextIO

from edit_eval.core.types import Verdict
from edit_eval.driver.events import Event
from edit_eval.views.outlet import Outlet

__all__ = ["JsonDisplay", "event_schema", "event_to_json"]

_SECONDS_DECIMALS = 4


def event_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one line."""
    text = importlib.resources.files("edit_eval.views").joinpath("events.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def event_to_json(event: Event) -> dict[str, Any]:
    """Return `event` as JSON data, with its name under `event`."""
    kind: Any = type(event)
    name, keys = _shape(kind)
    return {"event": name, **{key: _plain(getattr(event, key)) for key in keys}}


@cache
def _shape(kind: type[Event]) -> tuple[str, tuple[str, ...]]:
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
    return name, tuple(field.name for field in fields(kind))


def _plain(value: object) -> object:
    if isinstance(value, (str, int)):
        return value
    if isinstance(value, float):  # every float of an event is seconds
        return round(value, _SECONDS_DECIMALS)
    if isinstance(value, Verdict):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return list(value) if isinstance(value, tuple) else value


class JsonDisplay:
    """Writes every event as one line of JSON."""

    def __init__(self, stream: TextIO) -> None:
        self._outlet = Outlet(stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, event: Event) -> None:
        """Write `event`."""
        self._outlet.line(json.dumps(event_to_json(event)))

    def tick(self) -> None:
        """Do nothing: there is no clock to show."""
