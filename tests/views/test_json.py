"""The contract of `--display json`: real streams hold it, and the page for people names all of it."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
from harness import cli, config_tree, make_benchmark

from edit_eval.core.stats.agreement import Bridge, Noise
from edit_eval.core.types import Verdict
from edit_eval.driver import events
from edit_eval.driver.agreement import Comparison, JudgeNoise
from edit_eval.driver.events import Event, VerdictGiven
from edit_eval.driver.laggards import Laggard
from edit_eval.driver.summary import Estimate, JudgeSummary
from edit_eval.driver.usage import DeviceUsage, StageUsage, Usage
from edit_eval.views.terminal_json import event_schema, event_to_json
from views.contract import check_event, kinds
from views.samples import scored, whole_run

PAGE = (Path(__file__).parents[2] / "docs" / "display.md").read_text(encoding="utf-8")
CLASSES = [one for one in vars(events).values() if isinstance(one, type) and issubclass(one, Event)]


def snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("kind", [one for one in CLASSES if one is not Event], ids=lambda kind: kind.__name__)
def test_every_event_and_key_is_in_the_contract(kind: type[Event]) -> None:
    """A new event or field belongs into `views/events.schema.json` and `docs/display.md`."""
    schema = kinds()[snake(kind.__name__)]
    names = {field.name for field in fields(kind)}
    assert schema["properties"].keys() - {"event"} == names
    assert set(schema["required"]) - {"event"} == names


@pytest.mark.parametrize("name", list(kinds()))
def test_the_page_names_every_event_and_key(name: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    for key in kinds()[name]["properties"].keys() - {"event", "at"}:
        assert f"`{key}`" in row


def test_real_streams_hold_the_contract(tmp_path: Path) -> None:
    """One with a crash, a failure and an unscored verdict; then its second start, which has nothing to do."""
    what = ["ok", "once:crash", "raise", "ok"]
    tags = [{}, {}, {}, {"judge": "raise"}]
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", what, tags))
    (tmp_path / "c.yaml").write_text(json.dumps(tree))
    for start in (1, 2):
        done = cli("run", "c.yaml", "--display", "json", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (3, "")
        assert done.stdout.isascii()
        assert "\x1b" not in done.stdout
        said = [json.loads(line) for line in done.stdout.splitlines()]
        for one in said:
            check_event(one)
        seen = {one["event"] for one in said}
        assert said[-1]["event"] == "run_finished"
        assert said[-1]["worked"] is (start == 1)
        if start == 1:
            assert {"run_started", "step_progress", "edit_failed", "verdict_given", "unloaded"} <= seen
            assert {"restarting", "ready"} <= {one.get("state") for one in said}
            times = [one["at"] for one in said[:-1]]
            assert times == sorted(times)


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": -1},
        {"steps": "30"},
        {"stage": "denoise"},
        {"at": None},
        {"device": 0},
    ],
)
def test_the_schema_refuses_what_is_wrong(wrong: dict[str, object]) -> None:
    event = next(one for one in whole_run() if type(one).__name__ == "StepProgress")
    data = event_to_json(event)
    check_event(data)
    with pytest.raises(AssertionError):
        check_event({**data, **wrong})
    with pytest.raises(AssertionError):
        check_event({key: value for key, value in data.items() if key not in wrong})


def test_a_score_and_a_reason_for_none_exclude_each_other() -> None:
    data = event_to_json(VerdictGiven(1.0, "GPU 0", 0, "a", scored(5)))
    check_event(data)
    for verdict in ({"unscored": "refused"}, {"overall": None}):
        with pytest.raises(AssertionError):
            check_event({**data, "verdict": {**data["verdict"], **verdict}})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("usage", Usage),
        ("device_usage", DeviceUsage),
        ("stage_usage", StageUsage),
        ("laggard", Laggard),
        ("estimate", Estimate),
        ("verdict", Verdict),
        ("judge_summary", JudgeSummary),
        ("bridge", Bridge),
        ("judge_noise", JudgeNoise),
        ("noise", Noise),
        ("comparison", Comparison),
    ],
)
def test_what_events_hold_is_in_the_contract_to_the_last_field(name: str, kind: type) -> None:
    schema = event_schema()["$defs"][name]
    assert list(schema["properties"]) == schema["required"] == [field.name for field in fields(kind)]


def test_a_reader_with_this_schema_takes_later_events() -> None:
    import jsonschema

    jsonschema.validate({"event": "coffee_made", "at": 1.0, "cups": 2}, event_schema())
    data = event_to_json(next(iter(whole_run())))
    jsonschema.validate({**data, "added_later": 1}, event_schema())
