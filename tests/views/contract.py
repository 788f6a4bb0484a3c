"""Checks events written as JSON against the contract: the schema, and nothing that the schema does not name."""

from __future__ import annotations

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from edit_eval.views.terminal_json import event_schema


@cache
def _validator() -> Draft202012Validator:
    schema = event_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def kinds() -> dict[str, dict[str, Any]]:
    """Return the schema of each event by its name."""
    found = {}
    for one in event_schema()["$defs"].values():
        event = one.get("properties", {}).get("event", {})
        found |= dict.fromkeys(event.get("enum", [event["const"]] if "const" in event else []), one)
    return found


def check_event(data: dict[str, Any]) -> None:
    """Raise AssertionError where `data` breaks the contract or says more than it documents."""
    problems = [f"{error.json_path}: {error.message}" for error in _validator().iter_errors(data)]
    assert problems == [], data
    known = kinds()
    assert data["event"] in known
    assert data.keys() - {"rows"} <= known[data["event"]]["properties"].keys(), data
