"""What a run was made with, as labels and texts, and in which of these two runs differ.

A comparison shows every difference, also those that should change no score (devices, versions): what they do change is
for the reader to judge. Reads run.json; computes no score.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edit_eval.core.identity import canonical_json
from edit_eval.driver.comparison import ProvenanceDifference
from edit_eval.driver.judges import RecordedJudge
from edit_eval.driver.runinfo import mapping, starts_in
from edit_eval.driver.starts import starts_of

__all__ = ["differences", "made_with"]

_NOT_OF_THE_RUN = frozenset(
    {"load_s", "prepared_s", "executable", "disk_bytes", "ahead_bytes", "ahead_disk_bytes", "ahead_disk_s"}
)
"""What a host says of itself that is no property of what it made."""


def differences(base: Mapping[str, str], other: Mapping[str, str]) -> tuple[ProvenanceDifference, ...]:
    """Return what two runs' `made_with` says differently, in its order; what one of them lacks is empty there."""
    return tuple(
        ProvenanceDifference(label, base.get(label, ""), other.get(label, ""))
        for label in dict.fromkeys([*base, *other])
        if base.get(label, "") != other.get(label, "")
    )


def made_with(info: Mapping[str, Any], judge: RecordedJudge) -> dict[str, str]:
    """Return what a run was made with, label -> text: benchmark, editor, judge, seeds, sizes, versions, devices.

    Args:
        info: what run.json says.
        judge: the one whose verdicts count; what is said of hosts that judge is of its starts alone.
    """
    config = mapping(info.get("config"))
    judging = judge.judging
    found: dict[str, Any] = {
        **_leaves("benchmark", mapping(config.get("benchmark"))),
        **_leaves("data", mapping(info.get("data"))),
        "limit": config.get("limit"),
        "seed": mapping(info.get("identity")).get("seed", config.get("seed")),
        "repeats": config.get("repeats"),
        "editor": info.get("editor"),
        **_leaves("editor", mapping(mapping(info.get("identity")).get("editor"))),
        "editor's sizes": mapping(info.get("size_policy")).get("editor"),
        **_hosts("edit", starts_in(info)),
        "protocol": judge.protocol,
        "judge": judge.title,
        **_leaves("judge", judging.identity),
        "judge's sizes": judge.size_policy,
        "rubrics": ", ".join(sorted({one.name for one in judging.rubrics.values()})),
        "rubrics' hash": judging.rubrics_hash[:16],
        "judge compares with": judging.against.run if judging.against else None,
        **_hosts("judge", starts_of(info, judging)),
        "edit-eval": _joined(one.get("edit_eval") for one in starts_in(info)),
    }
    return {label: _text(value) for label, value in found.items() if value not in (None, "", [], {})}


def _leaves(where: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return every value of a tree by its dotted path."""
    found: dict[str, Any] = {}
    for name, one in value.items():
        path = f"{where}.{name}"
        found |= _leaves(path, one) if isinstance(one, Mapping) and one else {path: one}
    return found


def _hosts(stage: str, starts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return what the hosts of a stage said of themselves, over all starts, and on which devices they were."""
    said: dict[str, list[Any]] = {}
    devices: list[str] = []
    for start in starts:
        for name, facts in mapping(start.get("hosts")).items():
            whose, _, device = name.partition(" ")
            if whose != stage:
                continue
            devices.append(device)
            for what, value in mapping(facts).items():
                if what not in _NOT_OF_THE_RUN:
                    said.setdefault(what, []).append(value)
    lines = {f"{stage}: devices": _joined(devices)}
    return lines | {f"{stage}: {what}": _joined(values) for what, values in sorted(said.items())}


def _joined(values: Iterable[Any]) -> str:
    return ", ".join(sorted({_text(one) for one in values if one is not None}))


def _text(value: Any) -> str:
    return canonical_json(value) if isinstance(value, (list, tuple, Mapping)) else str(value)
