"""One start of a run, with real processes: what is recorded, what is done again, what is only said."""

from __future__ import annotations

import os

import pytest
from harness import Ran, config_tree, make_benchmark

from edit_eval.driver.events import Note


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def warnings(ran: Ran) -> list[str]:
    return [note.text for note in ran.of(Note) if note.level == "warning"]


@pytest.mark.parametrize("verify", [False, True])
def test_an_edit_altered_on_the_disk_is_not_judged_and_made_again(tmp_path, verify):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["-", "-"]))
    first = Ran(tree, stages=("edit",))
    image = first.run.path / first.rows[0].image
    stat, data = image.stat(), bytearray(image.read_bytes())
    data[-20] ^= 1
    image.write_bytes(data)
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    noticed = Ran(tree)
    assert [row.verdict is None for row in noticed.rows] == [True, False]
    assert len(noticed.run.verdicts) == 1
    assert any("'s0000' is not judged" in text and "was altered" in text for text in warnings(noticed))

    again = Ran(tree, verify=verify)
    assert again.worked
    assert [row.verdict.overall is not None for row in again.rows] == [True, True]
    assert not Ran(tree).worked
