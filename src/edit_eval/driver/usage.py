"""What a run took: per device its seconds, utilisation, memory and energy; over all, what an edit and a verdict cost.

Pure functions from telemetry records. Several starts of one run add up. A number that is not known is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edit_eval.driver.laggards import Laggard, laggards
from edit_eval.driver.tally import STAGES, StageSums, Tally, add_start, plus
from edit_eval.driver.timeline import Start, timelines

__all__ = ["DeviceUsage", "StageUsage", "Usage", "usage", "usage_of"]


@dataclass(frozen=True)
class DeviceUsage:
    """One device, over all starts that had it.

    Attributes:
        device: its label.
        kind: `cuda` or `cpu`.
        gpus: how many GPUs it is made of; 0 for a CPU slot.
        wall_s: how long the run went on; the five below add up to it.
        load_s: a model was loading.
        edit_s, judge_s: it worked.
        wait_s: it had nothing to do, with a model in it or without.
        other_s: it ended a model and freed its memory, or recovered from a loss.
        busy: share of `wall_s` in which it worked.
        utilisation: mean of NVML's, as a share: how often any kernel ran, not how well.
        memory_bytes: the most in use on its GPUs, by whomever; on a CPU, the most that its processes had resident.
        memory_total_bytes: what its GPUs have.
        energy_wh: drawn by its GPUs, idle moments included.
        cpu_s: CPU seconds of its processes; the last second may be missing.
        rss_bytes: the most that its processes had resident.
        restarts: hosts that were lost.
        edits, verdicts: outcomes.
    """

    device: str
    kind: str
    gpus: int
    wall_s: float
    load_s: float
    edit_s: float
    judge_s: float
    wait_s: float
    other_s: float
    busy: float | None
    utilisation: float | None
    memory_bytes: int | None
    memory_total_bytes: int | None
    energy_wh: float | None
    cpu_s: float | None
    rss_bytes: int | None
    restarts: int
    edits: int
    verdicts: int


@dataclass(frozen=True)
class StageUsage:
    """What a stage took, loading, waiting and ending of its models included.

    Attributes:
        count: outcomes.
        device_s: seconds of all devices.
        gpu_s: the same, each device as often as it has GPUs.
        energy_wh: drawn by the GPUs meanwhile.
        device_s_each, gpu_s_each, energy_wh_each: per outcome; None if there is none.
        cost, cost_each: money; None without a price or a GPU.
    """

    count: int
    device_s: float
    gpu_s: float
    energy_wh: float | None
    device_s_each: float | None
    gpu_s_each: float | None
    energy_wh_each: float | None
    cost: float | None
    cost_each: float | None


@dataclass(frozen=True)
class Usage:
    """What a run took, over all its starts.

    Attributes:
        starts: how many.
        wall_s: from beginning to end of each, added up.
        device_s: of all devices.
        gpu_s: of all GPUs, each counted once.
        energy_wh: of all GPUs, each counted once.
        price: of a GPU hour, in whatever currency; None if none was given.
        cost: `gpu_s` at that price; None without a price or a GPU.
        devices: in the order of the config.
        stages: by name.
        laggards: what stands out.
    """

    starts: int
    wall_s: float
    device_s: float
    gpu_s: float
    energy_wh: float | None
    price: float | None
    cost: float | None
    devices: tuple[DeviceUsage, ...]
    stages: Mapping[str, StageUsage]
    laggards: tuple[Laggard, ...]


def usage(records: Iterable[Mapping[str, Any]], price: float | None = None) -> Usage | None:
    """Return what the records of a run say that it took, or None if they say nothing.

    Args:
        records: from `telemetry.read_telemetry`, in any order.
        price: of a GPU hour.
    """
    return usage_of(timelines(records), price)


def usage_of(starts: Sequence[Start], price: float | None = None) -> Usage | None:
    """Return the same from the timelines of a run."""
    if not starts:
        return None
    tallies: dict[str, Tally] = {}
    sums = {stage: StageSums() for stage in STAGES}
    joules = math.nan
    for start in starts:
        joules = plus(joules, add_start(start, tallies, sums))
    gpu_s = math.fsum(
        start.wall_s * len({gpu for lane in start.lanes.values() for gpu in lane.gpus}) for start in starts
    )
    devices = tuple(_device(tally) for tally in tallies.values())
    return Usage(
        starts=len(starts),
        wall_s=math.fsum(start.wall_s for start in starts),
        device_s=math.fsum(one.wall_s for one in devices),
        gpu_s=gpu_s,
        energy_wh=_wh(joules),
        price=price,
        cost=_cost(gpu_s, price),
        devices=devices,
        stages={
            stage: _stage(sum(_outcomes(tally, stage) for tally in tallies.values()), one, price)
            for stage, one in sums.items()
        },
        laggards=tuple(laggards(tallies)),
    )


def _device(tally: Tally) -> DeviceUsage:
    seconds, lane = tally.seconds, tally.lane
    wall = math.fsum(seconds.values())
    share = tally.utilisation.mean
    return DeviceUsage(
        device=lane.device,
        kind=lane.kind,
        gpus=len(lane.gpus),
        wall_s=wall,
        load_s=seconds["load"],
        edit_s=seconds["edit"],
        judge_s=seconds["judge"],
        wait_s=seconds["wait"],
        other_s=seconds["other"],
        busy=(seconds["edit"] + seconds["judge"]) / wall if wall > 0 else None,
        utilisation=None if share is None else share / 100,
        memory_bytes=_whole(tally.memory if lane.gpus else tally.rss),
        memory_total_bytes=_whole(tally.memory_total),
        energy_wh=_wh(tally.joules),
        cpu_s=None if math.isnan(tally.cpu_s) else round(tally.cpu_s, 2),
        rss_bytes=_whole(tally.rss),
        restarts=sum(tally.restarts.values()),
        edits=_outcomes(tally, "edit"),
        verdicts=_outcomes(tally, "judge"),
    )


def _outcomes(tally: Tally, stage: str) -> int:
    return sum(1 for task in tally.tasks if task.stage == stage)


def _stage(count: int, sums: StageSums, price: float | None) -> StageUsage:
    energy, cost = _wh(sums.joules), _cost(sums.gpu_s, price)

    def each(value: float | None) -> float | None:
        return value / count if count and value is not None else None

    return StageUsage(
        count=count,
        device_s=sums.device_s,
        gpu_s=sums.gpu_s,
        energy_wh=energy,
        device_s_each=each(sums.device_s),
        gpu_s_each=each(sums.gpu_s),
        energy_wh_each=each(energy),
        cost=cost,
        cost_each=each(cost),
    )


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else int(value)


def _wh(joules: float) -> float | None:
    return None if math.isnan(joules) else joules / 3600


def _cost(gpu_s: float, price: float | None) -> float | None:
    return None if price is None or gpu_s <= 0 else gpu_s / 3600 * price
