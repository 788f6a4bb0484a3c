"""run.json: what a run says of itself, read in one place and checked there, so that nobody else need doubt it.

Whoever reads it may rely on what is here: whatever is there has its shape, a rubric can be followed, and nothing is of
a newer edit-eval. Any key may be missing: `needed` says so in one line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edit_eval.core.errors import ConfigError, RunError
from edit_eval.driver.ledger import json_value
from edit_eval.driver.plan import recorded_rubrics
from edit_eval.driver.refusals import cannot_read
from edit_eval.driver.rubrics import check_recorded_rubric
from edit_eval.driver.shapes import Each, misfit_of
from edit_eval.driver.shards import FOLDER, Shard

__all__ = [
    "FORMAT",
    "WHOLE",
    "DamagedInfo",
    "distinct",
    "hosts_in",
    "mapping",
    "needed",
    "read_info",
    "rebuild_with",
    "shard_of",
    "starts_in",
]

FORMAT = 1

WHOLE = "whole.jsonl"
"""In a shard: the samples of the run that it is a part of, as samples.jsonl has its own."""

_SCALAR = (str, float, bool, None)
_START = {
    "judge": (str, None),
    "at": str,
    "edit_eval": str,
    "python": str,
    "hosts": (Each(Each(_SCALAR)), None),
}
_JUDGING = {
    "!identity": dict,
    "rubrics": Each(dict),
    "rubric": dict,
    "!reads": [str],
    "against": ({"!run": str}, None),
}
_HEADLINE = {
    "!name": str,
    "!low": float,
    "!high": float,
    "value": str,
    "pool": bool,
    "group": str,
    "groups": Each(int),
    "where": Each(str),
    "digits": int,
}
_OTHER_JUDGE = {
    "!judge": (str, None),
    "!protocol": (str, None),
    "judge_size_policy": (str, None),
    "!judging": _JUDGING,
    "headlines": ([_HEADLINE], None),
    "repeat_fraction": (float, None),
    "config": ({"params": dict}, None),
}
_misfit = misfit_of(
    {
        "created": str,
        "name": str,
        "config": {"editor": {"params": dict}, "judge": ({"params": dict}, None), "shard": (str, None)},
        "identity": {
            "editor": ({"!params": dict}, None),
            "judge": ({"!params": dict}, None),
            "rubric": (str, None),
            "seed": (int, None),
        },
        "editor": str,
        "size_policy": (Each(str), None),
        "min_coverage": float,
        "protocol": (str, None),
        "judge": (str, None),
        "judge_size_policy": (str, None),
        "judging": (_JUDGING, None),
        "headlines": ([_HEADLINE], None),
        "repeat_fraction": (float, None),
        "other_judges": ([_OTHER_JUDGE], None),
        "starts": [(_START, None)],
        "shards": (Each([str]), None),
    }
)


class DamagedInfo(RunError):
    """A run.json that is ours and cannot be used: `edit-eval run` writes it anew from the config."""


def rebuild_with(path: Path, *, config_is_there: bool) -> str:
    """Return the command that writes what is missing or damaged in a run, or in a shard of one, anew."""
    if config_is_there:
        return f"'edit-eval run {path}'"
    if shard := Shard.of_folder(path):
        run = (path if path.parent.name == FOLDER else path.absolute()).parent.parent
        return f"'edit-eval run CONFIG --output {run} --shard {shard}'"
    if (path / WHOLE).exists():  # a shard that was put elsewhere
        return f"'edit-eval run CONFIG --set shard=I/N --output {path}'"
    return f"'edit-eval run CONFIG --output {path}'"


def read_info(path: Path) -> dict[str, Any]:
    """Return what the run.json of a run directory says.

    Raises:
        RunError: there is none, it is not ours, of a newer edit-eval, or cannot be read.
        DamagedInfo: it is ours, and damaged.
    """
    if not (path / "run.json").is_file():
        hint = "" if path.exists() else "; it does not exist"
        if (path / "shards").is_dir():
            hint = f"; it has shards: 'edit-eval merge {path}/shards' makes them a run"
        raise RunError(f"{path} is no run directory (no run.json in it{hint})")
    try:
        info = json_value((path / "run.json").read_bytes())
    except OSError as error:
        raise cannot_read(path / "run.json", error) from error
    except ValueError as error:
        raise _damaged(path, "no JSON") from error
    if (
        not isinstance(info, dict)
        or isinstance(info.get("format"), bool)
        or not isinstance(info.get("format"), int)
    ):
        raise _damaged(path, "not of edit-eval")
    if info["format"] > FORMAT:
        raise RunError(f"{path} was written by a newer edit-eval; use that one")
    fault = _misfit(info) or _rubric_fault(info) or _shard_fault(info)
    if fault:
        raise _damaged(path, fault)
    return info


def _rubric_fault(info: Mapping[str, Any]) -> str | None:
    for number, said in enumerate([info, *(info.get("other_judges") or ())]):
        where = f"other_judges.{number - 1}." if number else ""
        try:
            for one in recorded_rubrics(said["judging"]).values() if said.get("judging") else ():
                check_recorded_rubric(one)
        except ConfigError as error:
            return f"{where}judging.{error.problems[0]}"
    return None


def _shard_fault(info: Mapping[str, Any]) -> str | None:
    try:
        shard_of(info)
    except ValueError as error:
        return f"config.shard: {error}"
    return None


def _damaged(path: Path, fault: str) -> RunError:
    """Return what is said of a run.json that cannot be used; one without ledgers beside it may be anybody's."""
    if any(
        (path / name).is_file() for name in ("edits.jsonl", "verdicts.jsonl")
    ):  # samples.jsonl may be data
        command = rebuild_with(path, config_is_there=False)
        return DamagedInfo(f"{path}/run.json cannot be read (damaged: {fault}); {command} writes it anew")
    return RunError(f"{path} is no run directory: {path}/run.json cannot be read ({fault}); name another one")


def needed(info: Mapping[str, Any], key: str, path: Path) -> Any:
    """Return a value of run.json, by its dotted key. Raises `DamagedInfo` if it is not there."""
    value: Any = info
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is None:
        command = rebuild_with(path, config_is_there=key != "config" and isinstance(info.get("config"), dict))
        raise DamagedInfo(f"{path}/run.json lacks {key!r}; {command} writes it anew")
    return value


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a part of run.json, empty where it is not there or of another kind."""
    return value if isinstance(value, Mapping) else {}


def starts_in(info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what run.json says of each start."""
    return [mapping(start) for start in info.get("starts") or ()]


def hosts_in(starts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return what each host of these starts said of itself."""
    return [mapping(host) for start in starts for host in mapping(start.get("hosts")).values()]


def shard_of(info: Mapping[str, Any]) -> Shard | None:
    """Return which shard of a run this is, or None for a whole run. What `read_info` returned names one that there is."""
    shard = mapping(info.get("config")).get("shard")
    return Shard.parse(shard) if shard else None


def distinct(values: Iterable[Any]) -> str:
    """Return the values that there are as one text; of several that says that they are mixed."""
    found = sorted({str(value) for value in values if value not in (None, "")})
    return ", ".join(found) + (" (mixed)" if len(found) > 1 else "")
