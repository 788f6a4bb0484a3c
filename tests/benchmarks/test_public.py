"""Each public benchmark from end to end: a small copy in its official layout, edited, judged, exported and read again."""

from __future__ import annotations

import json

import pytest
from cpu_time import within
from harness import Ran
from public import config, save, sheet, table

from edit_eval.driver.config import check_config
from edit_eval.driver.job import prepare
from edit_eval.driver.layout import write_layout
from edit_eval.driver.summary import summarize


def imgedit(root):
    items = {}
    for number, kind in enumerate(["add", "adjust", "background", "style", "remove"]):
        items[str(number)] = {
            "id": f"animal/{number}.jpg",
            "prompt": "go" + "!" * (number % 3),
            "edit_type": kind,
        }
        save(root / "Benchmark" / "singleturn" / "animal" / f"{number}.jpg", number)
    table(root / "Benchmark" / "Basic" / "basic_edit.json", items)
    # Five of nine types: the mean of nine types is not known; that of one type is, 5 - k of 5.
    return root / "Benchmark" / "Basic" / "basic_edit.json", "adjust", 4


def imgedit_uge(root):
    items = {str(number): {"id": f"{number}.jpg", "prompt": "go" + "!" * number} for number in range(3)}
    for number in range(3):
        save(root / "Benchmark" / "hard" / f"{number}.jpg", number)
    return table(root / "Benchmark" / "UGE" / "UGE_edit.json", items), "UGE", (5 + 4 + 3) / 3


def krisbench(root):
    for folder, key in (("color_change", "ins_en"), ("count_change", "instruction")):
        item = {"ori_img": "1.png", "gt_img": "", key: "go!", "explain_en": ""}
        table(root / "KRIS_Bench" / folder / "annotation.json", {"1": item})
        save(root / "KRIS_Bench" / folder / "1.png", 3)
    frames = ["1-2.jpg", "1-3.jpg", "1-4.jpg"]
    several = {"ori_img": frames, "gt_img": "1-1.jpg", "ins_en": "go!", "explain_en": ""}
    table(root / "KRIS_Bench" / "temporal_prediction" / "annotation.json", {"1": several})
    for name in ("1-1.jpg", *frames):
        save(root / "KRIS_Bench" / "temporal_prediction" / name, 4)
    return root, "Overall", (4 - 1) * 25  # every score is 4 of 5


def risebench(root):
    items = [
        {"index": f"temporal_reasoning_{number}", "category": "temporal_reasoning", "instruction": "go" + "!" * number,
         "image": f"temporal_reasoning_images/{number}.png", "reference": "older"}
        for number in range(2)
    ]  # fmt: skip
    for number in range(2):
        save(root / "data" / "temporal_reasoning_images" / f"{number}.png", number)
    table(root / "data" / "data_total.json", items)
    return root / "data" / "data_total.json", "Accuracy", 50  # one of two has all fives


def unireditbench(root):
    items = [
        {"name": "attributes", "idx": str(number), "instruction": "go" + "!" * number, "rules": None,
         "original_image_path": f"a/{number}.png", "reference_image_path": f"a/{number}_ref.png",
         "reference_effect": "older"}
        for number in range(2)
    ]  # fmt: skip
    for number in range(2):
        save(root / "a" / f"{number}.png", number)
        save(root / "a" / f"{number}_ref.png", number + 9)
    return table(root / "data.json", items), "Score", (100 + 75) / 2


def unicbench(root):
    lines = [
        {"key": f"{number:032x}", "task": "Scene Editing", "subtask": "Background Change", "cn": "改", "en": "go" + "!" * number,
         "image_path": f"images/{number}.png", "resolution": [24, 16]}
        for number in range(2)
    ]  # fmt: skip
    for number in range(2):
        save(root / "images" / f"{number}.png", number)
    (root / "data").mkdir()
    (root / "data" / "test_data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return root / "data" / "test_data.jsonl", "IF en", (10 + 9) / 2


def wiseedit(root):
    rows = [
        {"idx": str(number), "prompt": "go" + "!" * number, "promptcn": "改", "input_1": "WiseEdit/a.png", "hint": "", "ref": ""}
        for number in range(2)
    ]  # fmt: skip
    sheet(root / "WiseEdit" / "Awareness" / "Awareness_1" / "Awareness_1.csv", rows)
    save(root / "WiseEdit" / "a.png", 1)
    return root, "Awareness", (100 + (9 - 1) / 9 * 100) / 2  # 1 to 10, brought to 0 to 100


MAKERS = [imgedit, imgedit_uge, krisbench, risebench, unireditbench, unicbench, wiseedit]


@pytest.mark.parametrize("make", MAKERS, ids=lambda one: one.__name__)
def test_a_small_copy_from_end_to_end(tmp_path, make):
    path, name, expected = make(tmp_path / "data")
    ran = Ran(config(tmp_path, make.__name__, path))
    assert [row.status for row in ran.rows if row.verdict is None or row.verdict.overall is None] == []
    summary = summarize(ran.run, ran.rows)
    found = next(one for one in summary.headlines if one.headline.name.startswith(name))
    assert found.mean == pytest.approx(expected)
    # A small copy by a stand-in judge with our rubric is nothing official, and says so.
    assert summary.protocol.startswith(f"{make.__name__}/v")
    assert "own-prompts" in summary.protocol
    assert "official" not in summary.protocol
    assert any(one.why_partial for one in summary.headlines)
    _exported_and_read_again(tmp_path, make.__name__, path, ran)


def _exported_and_read_again(tmp_path, name, path, ran):
    tree = config(tmp_path, name, path)
    cls = check_config(tree).benchmark.cls
    written = write_layout(ran.run, ran.rows, cls, tmp_path / "exported")
    assert written.files == len(ran.rows)
    editor = {"type": "precomputed", "devices": ["cpu:0"], "params": {"folder": str(tmp_path / "exported")}}
    again = Ran({**tree, "editor": editor, "output": str(tmp_path / "again")})
    assert [row.sample.id for row in again.rows] == [row.sample.id for row in ran.rows]
    assert {row.verdict.overall for row in again.rows} == {row.verdict.overall for row in ran.rows}
    before, after = summarize(ran.run, ran.rows), summarize(again.run, again.rows)
    assert [one.mean for one in after.headlines] == [one.mean for one in before.headlines]
    assert [row.verdict_key for row in again.rows if row.edit["sha256"] in _made(ran)] == [
        row.verdict_key for row in ran.rows if row.edit["sha256"] in _made(again)
    ]  # of the layouts that lose nothing, all of them
    _without_one_edit(tmp_path, tree, editor, before)


def _made(ran):
    return {row.edit["sha256"] for row in ran.rows}


def _without_one_edit(tmp_path, tree, editor, before):
    """An edit that is missing is neither skipped without a word nor a zero: the numbers are partial, with bounds."""
    manifest = tmp_path / "exported" / "edit-eval.json"
    gone = next(iter(json.loads(manifest.read_text())["files"]))
    (tmp_path / "exported" / gone).unlink()
    ran = Ran({**tree, "editor": editor, "output": str(tmp_path / "third")})
    assert [row.edit_failure[0] for row in ran.rows if not row.edited] == ["missing"]
    first = summarize(ran.run, ran.rows).headlines[0]
    assert (first.wanted, first.n) == (before.headlines[0].wanted, before.headlines[0].n - 1)
    assert "1 without scores" in first.why_partial
    assert first.bounds is not None
    assert first.bounds[0] < first.bounds[1]


def test_2700_samples_load_in_no_time_and_no_image_is_opened(tmp_path):
    """CPU time, so that no neighbour changes it; the images are links to one file that no decoder would read."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.png").write_bytes(b"not an image")
    items = []
    for number in range(2700):
        for name in (f"{number}.png", f"{number}_ref.png"):
            (tmp_path / "a" / name).hardlink_to(tmp_path / "a" / "one.png")
        items.append({
            "name": f"kind {number % 18}", "idx": str(number), "instruction": "go", "rules": None,
            "original_image_path": f"a/{number}.png", "reference_image_path": f"a/{number}_ref.png",
            "reference_effect": "older",
        })  # fmt: skip
    checked = check_config(config(tmp_path, "unireditbench", table(tmp_path / "data.json", items)))
    prepare(checked)  # hashes
    with within(2):
        job = prepare(checked)
    assert len(job.wanted) == 2700
