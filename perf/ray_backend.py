"""What a keeper on a Ray cluster costs over one on this machine: its start, and a task's way there and back.

One keeper of each kind, both with the same editor that does next to nothing, are given the same tasks in turn, one at a
time; so whatever else the machine does slows both alike. Without `--address` a cluster of this machine is started.

    python perf/ray_backend.py --tasks 200 --output perf.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from edit_eval.driver.backends import Backend, KeeperLink
from edit_eval.driver.config import check_config
from edit_eval.driver.devices import Device
from edit_eval.driver.job import Job, prepare
from edit_eval.driver.payloads import edit_payload

_PATIENCE_S = 120.0


class Keeper:
    """One keeper of a backend, with a host that is ready.

    Attributes:
        start_s: from the order to the keeper's first word.
        load_s: from the order to start a host until it is ready.
    """

    def __init__(self, job: Job, backend: Backend, device: Device) -> None:
        logs = job.output / "logs"
        began = time.monotonic()
        self._link: KeeperLink = backend.launch(device, logs)
        self.wait_for("hello")
        self.start_s = time.monotonic() - began
        spec = job.editor.spec
        assert spec is not None
        began = time.monotonic()
        host = spec.host_spec(device, logs / f"edit-{device.name}.log", 1)
        self._link.channel.send("start", host=host, load=spec.load(device))
        self.wait_for("ready")
        self.load_s = time.monotonic() - began

    def wait_for(self, kind: str) -> dict[str, Any]:
        """Return the next message of a kind."""
        import select

        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            select.select([self._link.channel], [], [], 1.0)
            for message in self._link.channel.receive():
                if message["type"] == kind:
                    return message
                if message["type"] in ("failed", "refused", "exited", "fatal"):
                    raise SystemExit(f"{message}")
            if self._link.channel.closed:
                raise SystemExit(f"lost: {self._link.why_lost()}")
        raise SystemExit(f"no {kind} in {_PATIENCE_S:.0f} s")

    def task(self, name: str, payload: dict[str, Any]) -> float:
        """Have a task done; return the seconds from sending it to its outcome, without those of the editor's host."""
        began = time.monotonic()
        self._link.channel.send("task", tasks=[{"id": name, "payload": payload}])
        done = self.wait_for("done")
        return time.monotonic() - began - float(done["seconds"])

    def end(self) -> None:
        """Have it end."""
        self._link.channel.send("quit")
        self._link.wait(10.0)


def tree(folder: Path, backend: dict[str, Any], devices: Any) -> dict[str, Any]:
    return {
        "benchmark": {"type": "scenes", "params": {"n": 4, "size": 64}},
        "editor": {"type": "scripted", "devices": devices, "params": {"seconds": 0.0, "steps": 1}},
        "backend": backend,
        "output": str(folder),
    }


def measured(folder: Path, address: str, tasks: int) -> dict[str, Any]:
    began = time.monotonic()
    ray = prepare(check_config(tree(folder / "ray", {"type": "ray", "address": address}, "ray:1")))
    connect_s = time.monotonic() - began
    local = prepare(check_config(tree(folder / "local", {"type": "local"}, ["cpu:0"])))
    with closing(ray.backend), closing(local.backend):
        keepers, jobs = {}, {"local": local, "ray": ray}
        for name, job in jobs.items():
            job.output.mkdir(parents=True, exist_ok=True)
            assert job.editor.spec is not None
            keepers[name] = Keeper(job, job.backend, job.editor.spec.devices[0])
        seconds: dict[str, list[float]] = {"local": [], "ray": []}
        for number in range(tasks):
            for name, job in jobs.items():
                one = job.wanted[number % len(job.wanted)]
                seconds[name].append(keepers[name].task(str(number), edit_payload(one, job.output)))
        for one in keepers.values():
            one.end()
    both = zip(seconds["ray"], seconds["local"], strict=True)
    over = sorted(1000 * (there - here) for there, here in both)
    return {
        "connect_s": round(connect_s, 2),
        **{f"{name}_start_s": round(one.start_s, 3) for name, one in keepers.items()},
        **{f"{name}_load_s": round(one.load_s, 3) for name, one in keepers.items()},
        **{f"{name}_task_ms": round(1000 * statistics.median(many), 2) for name, many in seconds.items()},
        "ratio": round(statistics.median(seconds["ray"]) / statistics.median(seconds["local"]), 2),
        "over_ms": {
            "median": round(statistics.median(over), 2),
            "p95": round(over[int(0.95 * len(over))], 2),
        },
        "tasks": tasks,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--address", default="local", help="of a cluster; default: one of this machine is started"
    )
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--output", help="a JSON file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edit-eval-perf-") as folder:
        found = measured(Path(folder), arguments.address, arguments.tasks)
    text = json.dumps(found, indent=2)
    if arguments.output:
        Path(arguments.output).write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
