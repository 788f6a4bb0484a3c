"""Faults of processes: killed, hanging, crashing, never ready."""

from __future__ import annotations

from faults.suite import Fault, Trial, kill


def _kill_host_at(place: str):
    def inject(trial: Trial) -> None:
        trial.strike(place, "wait", after=int(trial.spread() * 4) if place != "load" else 0)
        driver = trial.start()
        for pid in trial.wait_until_struck():
            kill(pid)
        assert trial.end(driver) == 0

    return inject


FAULTS = (
    Fault(
        "processes",
        "SIGKILL of a host while editing",
        _kill_host_at("edit"),
        long=20,
        says="killed by SIGKILL",
    ),
)
