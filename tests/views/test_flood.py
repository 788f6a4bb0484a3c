"""A model that floods its standard output disturbs neither the display nor memory nor disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from harness import config_tree, make_benchmark

from edit_eval.worker.logs import CAP_BYTES
from views.emulator import OnTerminal, edit_eval

PLUGINS = Path(__file__).with_name("plugins")


def family(pid: int) -> list[int]:
    """Return `pid` and all that descend from it."""
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


class Watch:
    """The most memory that driver and keepers took, and the most disk that logs did."""

    def __init__(self, terminal: OnTerminal, logs: Path) -> None:
        self.terminal = terminal
        self.logs = logs
        self.memory_bytes: dict[str, int] = {}
        self.disk_bytes = 0

    def look(self) -> None:
        for pid in family(self.terminal.process.pid):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
                peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
            except OSError:
                continue
            who = next((name for name in ("keeper", "host") if f"worker.{name}" in command), "driver")
            if peak:
                self.memory_bytes[who] = max(self.memory_bytes.get(who, 0), int(peak[1]) << 10)
        size = 0
        for path in self.logs.glob("edit-cpu-*"):
            try:
                size += path.stat().st_size
            except OSError:
                continue
        self.disk_bytes = max(self.disk_bytes, size)


@pytest.mark.parametrize(
    "megabytes", [5, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
def test_a_flood(tmp_path: Path, megabytes: int) -> None:
    """Two devices, an edit on each, and each floods `megabytes`, half of it on each stream."""
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["one", "two"]))
    tree["editor"] |= {"type": "flooding:FloodingEditor", "params": {"megabytes": megabytes // 2}}
    del tree["judge"]
    (tmp_path / "c.yaml").write_text(json.dumps(tree))
    with OnTerminal(edit_eval("run", "c.yaml"), cwd=tmp_path, plugins=PLUGINS) as terminal:
        watch = Watch(terminal, tmp_path / "run" / "logs")
        while terminal.read(0.1):
            watch.look()
            assert all(row.count("FLOOD") == 0 for row in terminal.glass.rows)
        assert terminal.finish(60) == 0
        assert b"FLOOD" not in terminal.raw
        assert b"\x1b[2J" not in terminal.raw
        assert b"title" not in terminal.raw
        assert len(terminal.raw) < 1 << 20
        assert not terminal.glass.cursor_hidden
        assert any(row.startswith("[SYNC] Editing images: 100%") for row in terminal.glass.rows)
    assert watch.memory_bytes["keeper"] < 60 << 20
    assert watch.memory_bytes["driver"] < 250 << 20
    sizes = [path.stat().st_size for path in (tmp_path / "run" / "logs").glob("edit-cpu-*")]
    assert len(sizes) == 2, "no segment is left behind"
    assert max(sizes) <= CAP_BYTES
    assert watch.disk_bytes <= 2 * (CAP_BYTES + CAP_BYTES // 4), "a segment more while a log is joined"
    assert sum(sizes) >= 0.9 * min(CAP_BYTES, megabytes // 2 * 4_000_000), "and what was said is kept"
