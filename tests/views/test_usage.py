"""The tables of devices: 80 columns, dashes where nothing is known, money only at a price."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edit_eval.driver.laggards import Laggard
from edit_eval.driver.usage import DeviceUsage, StageUsage, Usage
from edit_eval.views.report import html_report, json_report, text_report
from edit_eval.views.usage import laggard_lines, usage_block
from views.samples import row, summary

GIB = 1 << 30


def device(index: int, **changes) -> DeviceUsage:
    whole = DeviceUsage(
        device=f"GPU {index}",
        kind="cuda",
        gpus=1,
        wall_s=19812.4,
        load_s=118.9,
        edit_s=14093.2,
        judge_s=5017.4,
        wait_s=580.1,
        other_s=2.8,
        busy=0.9646,
        utilisation=0.912,
        memory_bytes=int(65.04 * GIB),
        memory_total_bytes=80 * GIB,
        energy_wh=3170.25,
        cpu_s=20123.1,
        rss_bytes=9 * GIB,
        restarts=0,
        edits=150,
        verdicts=150,
    )
    return replace(whole, **changes)


def usage(count: int = 2, price: float | None = None, **changes) -> Usage:
    def stage(seconds: float) -> StageUsage:
        cost = None if price is None else seconds / 3600 * price
        each = None if cost is None else cost / 900
        return StageUsage(
            900, seconds, seconds, seconds / 6, seconds / 900, seconds / 900, seconds / 5400, cost, each
        )

    whole = Usage(
        starts=1,
        wall_s=19812.4,
        device_s=19812.4 * count,
        gpu_s=19812.4 * count,
        energy_wh=3170.25 * count,
        price=price,
        cost=None if price is None else 19812.4 * count / 3600 * price,
        devices=tuple(device(index) for index in range(count)),
        stages={"edit": stage(14200.0 * count), "judge": stage(5100.0 * count)},
        laggards=(),
    )
    return replace(whole, **changes)


@pytest.mark.parametrize("price", [None, 2.5])
@pytest.mark.parametrize("label", ["GPU {}", "GPU {}+1+2+3"])
def test_eight_devices_fit_80_columns(price, label):
    devices = tuple(device(index, device=label.format(index)) for index in range(8))
    block = usage_block(usage(8, price, devices=devices))
    lines = block.splitlines()
    assert max(map(len, lines)) <= 80
    assert block.isascii()
    assert sum(line.startswith("  GPU ") for line in lines) == 8
    assert any(line.startswith("  all ") for line in lines)
    assert block.isprintable() or "\n" in block
    assert ("cost" in block) is (price is not None)


def test_numbers_are_where_they_belong():
    lines = usage_block(usage(1, 2.5)).splitlines()
    assert lines[0] == "Devices: 19812 s; load, edit, judge, wait and other are seconds of it"
    assert "/".join(lines[1].split()) == "Device/busy/util/GiB/Wh/load/edit/judge/wait/other"
    assert "/".join(lines[2].split()) == "GPU/0/96%/91%/65.0/3170/118.9/14093/5017/580.1/2.8"
    by_title = {line[2:13].strip(): "/".join(line[13:].split()) for line in lines[4:]}
    assert by_title[""] == "n/GPU-s/each/Wh/each/cost/each/GPU-s/Wh/cost"
    assert by_title["An edit"] == "900/15.78/2.630/0.0110/14200/2367/9.8611"
    assert by_title["In all"] == "-/-/-/-/19812/3170/13.76"


def test_what_is_unknown_is_a_dash():
    one = device(
        0, kind="cpu", gpus=0, busy=None, utilisation=None, memory_bytes=None, energy_wh=None, wall_s=0.0
    )
    nothing = StageUsage(0, 0.0, 0.0, None, None, None, None, None, None)
    whole = usage(1, devices=(one,), energy_wh=None, gpu_s=0.0, stages={"edit": nothing, "judge": nothing})
    lines = usage_block(whole).splitlines()
    assert lines[2].split()[2:6] == ["-", "-", "-", "-"]
    assert "device-s" in lines[4]
    assert not any(line.startswith(("  An edit", "  A verdict")) for line in lines)
    assert "No GPU was used" in usage_block(replace(whole, price=2.0))


def test_findings_are_wrapped_the_costliest_first():
    found = (
        Laggard("GPU 1", "edit", "idle", 0.34, 52.0, "no work left for it (40 s); loading the judge (12 s)"),
        Laggard("GPU 0", "edit", "slow", 1.94, 190.0, "2.36 s a step, its siblings 0.802 s: " + "hot " * 60),
        Laggard("GPU 2", "judge", "idle", 0.5, 20.0, "retired: \x1b[31mred\n" + "x" * 200),
    )
    block = usage_block(usage(2, laggards=found))
    assert max(map(len, block.splitlines())) <= 80
    assert "\x1b" not in block
    assert block.index("GPU 0 was slower by 194% at editing: 2.36 s a step") < block.index(
        "GPU 1 did no work in 34% of editing: no work left"
    )


def test_many_findings_are_counted():
    found = tuple(Laggard(f"GPU {index}", "edit", "idle", 0.5, 20.0, "x") for index in range(64))
    lines = laggard_lines(usage(2, laggards=found))
    assert len(lines) == 11
    assert lines[-1].startswith("and 54 more")


def test_every_report_has_it(tmp_path):
    found = (Laggard("GPU 1", "edit", "idle", 0.34, 52.0, "<b>no work</b>"),)
    whole = usage(2, 2.5, laggards=found)
    assert usage_block(whole) in text_report(summary(), [row()], whole)
    data = json.loads(json.dumps(json_report(summary(), [row()], whole)))
    assert data["usage"]["devices"][1]["device"] == "GPU 1"
    assert data["usage"]["stages"]["edit"]["count"] == 900
    assert data["usage"]["laggards"][0]["kind"] == "idle"
    page = html_report(tmp_path, summary(), [row()], whole).read_text()
    assert "<bdi>GPU 1</bdi>" in page
    assert "&lt;b&gt;no work" in page
    assert json_report(summary(), [])["usage"] is None
    without = html_report(tmp_path, summary(), [row()]).read_text()
    assert 'id="devices"' not in without
    assert "Devices" not in text_report(summary(), [row()])
