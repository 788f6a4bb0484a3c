"""The telemetry of a run with that of the shards it was merged from: every start once, every device by its own name.

The devices of all shards have the same names, so `CPU 0` of shard 1/4 is `1/4 CPU 0` here. Their starts are counted on from
the run's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edit_eval.driver.runinfo import mapping
from edit_eval.driver.telemetry import read_telemetry

__all__ = ["read_all_telemetry"]


def read_all_telemetry(run: Path, info: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the records of a run, then those of its shards.

    Args:
        run: run directory.
        info: what its run.json says: `shards` has the folders of each, relative to the run.
    """
    last = 0
    for record in read_telemetry(run):
        last = max(last, record["start"])
        yield record
    for shard, folders in sorted(mapping(info.get("shards")).items()):
        for folder in folders:
            before = last
            for record in read_telemetry(run / folder):
                start = before + record["start"]
                last = max(last, start)
                yield {**_named(record, shard), "start": start}


def _named(record: Mapping[str, Any], shard: str) -> dict[str, Any]:
    """Return a record with the names that its devices have among those of all shards."""
    named = dict(record)
    if "device" in record:
        named["device"] = f"{shard} {record['device']}"
    if record["type"] == "start":
        named["devices"] = [{**one, "device": f"{shard} {one['device']}"} for one in record["devices"]]
    if record["type"] == "sample":
        named["hosts"] = {f"{shard} {device}": values for device, values in record["hosts"].items()}
    return named
