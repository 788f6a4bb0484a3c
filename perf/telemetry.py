"""What the recorder costs the driver: CPU milliseconds a second, with 8 GPUs and what runs on them.

    python perf/telemetry.py [--seconds 20] [--devices 8] [--events 10] [--others 300] [--real]

Every device has a keeper, a host and two processes below it, all real (asleep), among `--others` processes that are not
ours; every device emits `--events` events a second, and the loop ticks as often (at least four times a second). NVML is the
tests' fake unless `--real` asks for this machine's: the fake leaves out what the driver itself takes. Printed: CPU time
of the whole process above that of the same loop without a recorder, and how much is written. Exit 1 from 10 ms a second.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from edit_eval.driver.devices import Device, visible_gpus
from edit_eval.driver.events import DeviceState, Event, StepProgress
from edit_eval.driver.telemetry import Recorder
from edit_eval.worker import readings

HERE = Path(__file__).resolve().parent
MOST_MS = 10.0
FAMILY = "sleep 1000 & sh -c 'sleep 1000 & sleep 1000 & echo $$; wait' & wait"


@contextlib.contextmanager
def families(count: int, others: int) -> Iterator[Sequence[int]]:
    """Start what runs on every device, and what is not ours; yield the hosts' pids."""
    started: list[subprocess.Popen[str]] = []
    try:
        started += [
            subprocess.Popen(["sleep", "1000"], start_new_session=True, text=True) for _ in range(others)
        ]
        hosts = []
        for _ in range(count):
            family = subprocess.Popen(
                ["sh", "-c", FAMILY], stdout=subprocess.PIPE, start_new_session=True, text=True
            )
            started.append(family)
            hosts.append(int(family.stdout.readline()) if family.stdout else 0)
        yield hosts
    finally:
        for one in started:
            os.killpg(one.pid, signal.SIGKILL)
            one.communicate()


def loop(seconds: float, events: int, devices: Sequence[Device], recorder: Recorder) -> float:
    """Emit and tick as a run does; return the CPU seconds that the whole process took."""
    began, cpu = time.monotonic(), time.process_time()
    turn = 0
    while time.monotonic() - began < seconds:
        for device in devices:
            recorder.emit(StepProgress(0.0, device.label, turn, f"s{turn}", turn % 40, 40))
            if turn % (10 * events) == 0:
                recorder.emit(DeviceState(0.0, device.label, "edit", "waiting"))
                recorder.sent("edit", device)
                recorder.ended("edit", device, ok=True, seconds=10.0, steps=40)
        turn += 1
        for _ in range(max(1, 4 // events)):
            recorder.tick()
        time.sleep(max(0.0, began + turn / events - time.monotonic()))
    return time.process_time() - cpu


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--events", type=int, default=10)
    parser.add_argument("--others", type=int, default=300)
    parser.add_argument("--real", action="store_true")
    arguments = parser.parse_args()
    if arguments.real:
        devices = [Device("cuda", (gpu.index,), (gpu.token,)) for gpu in visible_gpus()]
    else:
        sys.path.insert(0, str(HERE.parent / "tests" / "plugins"))
        from fake_nvml import FakeNvml

        fake = FakeNvml(arguments.devices)
        readings.open_nvml = lambda: (fake, "")
        devices = [Device("cuda", (index,), (str(index),)) for index in range(arguments.devices)]
    seen: list[Event] = []

    def emit(event: Event) -> None:
        seen.append(event)

    with families(len(devices), arguments.others) as hosts, tempfile.TemporaryDirectory() as name:
        without = loop(
            arguments.seconds, arguments.events, devices, Recorder(Path(name), emit, time.monotonic)
        )
        recorder = Recorder(Path(name), emit, time.monotonic)
        with recorder.begin(1, {"edit": devices}):
            for device, host in zip(devices, hosts, strict=True):
                recorder.started("edit", device, host)
            having = loop(arguments.seconds, arguments.events, devices, recorder)
        size = (Path(name) / "telemetry.jsonl").stat().st_size
    cost_ms = 1000 * (having - without) / arguments.seconds
    print(
        f"{len(devices)} GPUs ({'this machine' if arguments.real else 'fake'}), {arguments.others} other processes,"
    )
    print(f"{arguments.events} events a second and device, {arguments.seconds:.0f} s:")
    print(f"  the recorder      {cost_ms:6.2f} ms of CPU a second")
    print(f"  the loop without  {1000 * without / arguments.seconds:6.2f} ms of CPU a second")
    print(f"  written           {size / arguments.seconds / 1000:6.2f} kB a second")
    return 0 if cost_ms < MOST_MS else 1


if __name__ == "__main__":
    sys.exit(main())
