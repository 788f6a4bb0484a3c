"""A dry run in text and as JSON."""

from __future__ import annotations

import dataclasses
import json

from rich.cells import cell_len

from edit_eval.driver.forecast import Forecast, StageForecast
from edit_eval.views.forecast import forecast_json, forecast_text

GIB = 1 << 30
GPUS = tuple(f"GPU {index}" for index in range(6))
EDIT = StageForecast(
    title="qwen_image_edit Qwen/Qwen-Image-Edit-2509",
    devices=GPUS,
    hardware=("NVIDIA H100 80GB HBM3",),
    total=900,
    left=888,
    weights_bytes=int(53.8 * GIB),
    need_bytes=int(61.9 * GIB),
    device_bytes=int(79.6 * GIB),
    task_s=17.25,
    learnt_from=(("/runs/one", "/runs/two"), 512),
)
FOUND = Forecast(
    output="/runs/three",
    is_new=False,
    samples=450,
    repeats=2,
    failed=3,
    edit=EDIT,
    judge=dataclasses.replace(EDIT, title="qwen3_vl", task_s=None, learnt_from=((), 0), weights_bytes=None),
    judge_calls=897,
    seconds=None,
    image_bytes=2 << 20,
    image_bytes_known_from="mean of 512 earlier edits",
    disk_bytes=888 * (2 << 20),
    disk_free=100 * GIB,
    notes=("GPU 1: 41.0 GiB held by python (pid 1234) 41.0 GiB; a start would be refused",),
)


def test_everything_is_said_in_80_columns():
    text = forecast_text(FOUND)
    assert max(map(cell_len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    for part in (
        "nothing is started, nothing is written",
        "/runs/three (goes on)",
        "Samples 450 x 2 repeats",
        "888 left of 900; 3 failed earlier (--retry-failed)",
        "897 questions to a model",
        "on GPU 0, GPU 1, GPU 2, GPU 3, GPU 4, GPU 5 (NVIDIA H100 80GB HBM3)",
        "61.9 GiB on each: 53.8 GiB weights + margin; each has 79.6 GiB",
        "Time unknown",
        "edit: 17.25 s (median of 512 in /runs/one and 1 more)",
        "verdict: no earlier run",
        "1.7 GiB for the edits left (mean of 512 earlier edits); 100.0 GiB free",
        "GPU 1: 41.0 GiB held by python",
    ):
        assert part in flat


def test_a_known_time_and_a_full_disk():
    text = forecast_text(dataclasses.replace(FOUND, seconds=2553.0, judge=None, disk_free=GIB))
    assert "Time      42:33 at the least, without loading" in text
    assert "NOT ENOUGH: 1.7 GiB" in text


def test_nothing_left():
    done = dataclasses.replace(EDIT, left=0)
    assert "nothing is left to do" in forecast_text(dataclasses.replace(FOUND, edit=done, judge=None))


def test_json_has_every_field_and_null_for_the_unknown():
    data = json.loads(json.dumps(forecast_json(FOUND)))
    assert data["event"] == "forecast"
    assert data["seconds"] is None
    assert data["edit"]["left"] == 888
    assert set(data) == {"event", *(one.name for one in dataclasses.fields(Forecast))}
