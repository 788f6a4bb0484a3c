"""The scripts that measure the whole job run on CPU slots, print what they promise, and leave nothing behind."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from perf_scripts import run_script

SECONDS = r"-?\d+\.\d+"


def test_every_phase_is_measured_and_the_long_job_is_called_arithmetic(tmp_path):
    text = run_script(
        "pipeline.py", tmp_path, "--scripted", "--json", "found.json", "--svg", "lanes.svg"
    ).stdout
    for phase in ("one", "all", "alone", "described"):
        assert f"\n{phase}: done\n" in text
    for part in ("a denoising step", "around the steps of an edit", "a verdict, of one device"):
        # No ratio to what noise has made less than nothing, as little as a scripted edit takes around its steps.
        assert re.search(rf"^{part} +{SECONDS} +{SECONDS} +({SECONDS}|-)$", text, re.MULTILINE), part
    assert re.search(r"^CPU [01]: last edit to first verdict .* alone it is ready after", text, re.MULTILINE)
    assert re.search(r"edits a second on 2 devices, .* on one: \d\.\d{3} times \(load and", text)
    composed = text[text.index("By arithmetic from these parts, and not measured") :]
    assert "150 x (40 x" in composed
    assert composed.count("times ours; the aim is") == 2
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == {"one", "all", "alone", "described"}
    picture = (tmp_path / "lanes.svg").read_text()
    assert picture.startswith("<svg ")
    assert all(f">{lane}</text>" in picture for lane in ("CPU 0", "CPU 1", "described"))
    assert re.search(r"^described +\|l*E+x*l*J+ *\|$", text, re.MULTILINE)
    lane = found["described"]["lane"]
    assert [doing for *_, doing in lane] == ["load", "edit", "other", "load", "judge"]
    assert lane[0][0] == 0
    assert all(one[1] == two[0] and two[0] <= two[1] for one, two in itertools.pairwise(lane))

    again = run_script("pipeline.py", tmp_path, "--scripted", "--phases", "--join", "found.json").stdout
    assert again[again.index("\nParts") :] == text[text.index("\nParts") :]


@pytest.mark.long
def test_the_headline_run_says_all_it_promises(tmp_path):
    text = run_script(
        "headline.py", tmp_path, "--scripted", "--devices", "cpu:0,cpu:1,cpu:2", "--output", "kept"
    ).stdout
    assert re.search(r"^CPU [0-2] +\|[lEJx. ]+\|$", text, re.MULTILINE)
    assert re.search(r"^CPU [0-2]: busy \d+\.\d% of its editing", text, re.MULTILINE)
    assert re.search(rf"^load: {SECONDS} s with 1 at once, .* 2 at once, .* 3 at once$", text, re.MULTILINE)
    assert re.search(r"^host memory: at most \d+\.\d GiB taken, \d+% of the machine's$", text, re.MULTILINE)
    for stage in ("edit", "judge"):
        assert re.search(rf"^unload of every {stage} host: {SECONDS} s", text, re.MULTILINE)
    for count in (6, 8):
        assert f"900 edits of 40 steps on {count} GPUs" in text
    assert "not measured" in text
    assert (tmp_path / "kept" / "all" / "report" / "index.html").is_file()
    assert (tmp_path / "kept" / "timeline.svg").is_file()


@pytest.mark.models
@pytest.mark.long
@pytest.mark.parametrize("script", ["pipeline.py", "headline.py"])
def test_with_toy_models(tmp_path, script):
    assert "not measured" in run_script(script, tmp_path, "--tiny").stdout
