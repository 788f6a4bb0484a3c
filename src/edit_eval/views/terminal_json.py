"""The display for programs: one JSON object an event, one event a line, ASCII only, flushed at once.

Schema. Every object has `event`, a name of the list below, and `at`, seconds since the run started. The other keys are the
fields of the event in `edit_eval.driver.events`, with the same names:

| `event` | keys |
|---|---|
| `run_started` | `output`, `editor`, `judge` (or null), `samples`, `devices` (stage -> list of labels), `batch_size` |
| `stage_started` | `stage` (`edit` or `judge`), `total`, `done` |
| `stage_finished` | `stage`, `seconds` |
| `device_state` | `device`, `stage` (or null), `state`, `detail` |
| `step_progress` | `device`, `index`, `sample_id`, `step`, `steps` |
| `edit_finished` | `device`, `index`, `sample_id`, `seconds`, `steps` |
| `edit_failed` | `index`, `sample_id`, `kind`, `reason` |
| `verdict_given` | `device`, `index`, `sample_id`, `verdict`: {`scores`, `overall`, `unscored`, `reasons`, `reply`} |
| `unloaded` | `stage`, `devices`, `seconds` |
| `note` | `level` (`info` or `warning`), `text` |

A reader must ignore keys and events that it does not know: later versions may add some, and take none away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self, TextIO

from edit_eval.core.types import Verdict
from edit_eval.driver.events import Event
from edit_eval.views.outlet import Outlet

__all__ = ["JsonDisplay", "event_to_json"]


def event_to_json(event: Event) -> dict[str, Any]:
    """Return `event` as JSON data, with its name under `event`."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return {"event": name, **{field.name: _plain(getattr(event, field.name)) for field in fields(event)}}


def _plain(value: object) -> object:
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
