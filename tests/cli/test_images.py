"""Images of every kind through the whole program: what goes wrong fails its own sample, with a reason."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from harness import cli
from pictures import HEIC, NO_IMAGES, bomb, grey_profile, photograph, raw_png, rgb_profile, saved
from PIL import Image

GOOD = saved(photograph(), "JPEG", quality=92)


def frames(kind: str) -> bytes:
    return saved(photograph(), kind, save_all=True, append_images=[photograph().transpose(0)])


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(photograph(), "JPEG", exif=exif)


FINE = {
    "plain.jpg": GOOD,
    "UPPER.PNG": saved(photograph()),
    "wrong-suffix.png": GOOD,
    "cmyk.jpg": saved(photograph().convert("CMYK"), "JPEG"),
    "grey16.png": saved(Image.new("I;16", (9, 9), 0x8000)),
    "rgb16.png": raw_png(1, 1, 16, 2, b"\0\x80\0\x40\0\x20\0"),
    "palette.png": saved(photograph().quantize(16), transparency=2),
    "grey.png": saved(photograph().convert("L")),
    "alpha.png": saved(photograph().convert("RGBA")),
    "grey-alpha.png": saved(photograph().convert("LA")),
    "turned.jpg": turned(),
    "wide.png": saved(photograph(), icc_profile=rgb_profile("P3")),
    "broken-profile.png": saved(photograph(), icc_profile=b"nonsense"),
    "grey-profile.png": saved(photograph().convert("L"), icc_profile=grey_profile(1.8)),
    "pages.tiff": frames("TIFF"),
    "anim.gif": frames("GIF"),
    "anim.webp": frames("WEBP"),
    "anim.png": frames("PNG"),
    "jpeg2000.jp2": saved(photograph(), "JPEG2000"),
    "bitmap.bmp": saved(photograph(), "BMP"),
    "dot.png": saved(photograph(1, 1)),
    "line.png": saved(photograph(1, 4000)),
    "中文 图片.png": GOOD,
    "two\nlines '\".png": GOOD,
    "100%41#?&.png": GOOD,
    "x" * 251 + ".png": GOOD,
}
SEVERAL = {"pages.tiff", "anim.gif", "anim.webp", "anim.png"}
BAD = {
    "cut.jpg": (GOOD[: len(GOOD) // 2], "is a damaged or cut short JPEG image"),
    "cut.png": (saved(photograph())[:600], "is a damaged or cut short PNG image"),
    "zeros.png": (bytes(5000), "begins with nothing but zero bytes"),
    "photo.heic": (HEIC, "is a picture in HEIC, which the Pillow of"),
    "bomb.png": (bomb(), "has 3,600,000,000 pixels, and at most 268,435,456"),
    "pointer.png": (b"version https://git-lfs.github.com/spec/v1\n", "'git lfs pull'"),
    **{f"{what}.png": (data, f"is {what} and no image") for what, data in NO_IMAGES.items()},
}


def write(folder: Path, rows: list[dict[str, Any]], **changes: Any) -> Path:
    """Write a table of `rows` and the config of a run of it in `folder`; return the config."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tree = {
        "benchmark": {"type": "folder", "path": str(data / "samples.jsonl")},
        "editor": {"type": "painter:Painter", "devices": ["cpu:0"]},
        "judge": {"type": "painter:Gauge", "devices": ["cpu:0"], "batch_size": 3},
        "output": str(folder / "run"),
        **changes,
    }
    (folder / "c.yaml").write_text(json.dumps(tree))
    return folder / "c.yaml"


def run(folder: Path, rows: list[dict[str, Any]], code: int, **changes: Any) -> dict[str, Any]:
    """Run, check the exit code, and return the report's JSON with the run's last words under `said`."""
    write(folder, rows, **changes)
    done = cli("run", "c.yaml", "--display", "none", cwd=folder)
    assert (done.returncode, done.stderr) == (code, "")
    report = cli("report", "run", "--format", "json", cwd=folder)
    return {**json.loads(report.stdout), "said": done.stdout}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, Any]:
    """Return the report of a run over good and bad source images, with its folder."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "data").mkdir()
    for name, data in (FINE | {name: data for name, (data, _) in BAD.items()}).items():
        (folder / "data" / name).write_bytes(data)
    (folder / "data" / os.fsdecode(b"\xff\xfe.png")).write_bytes(GOOD)
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "far.jpg").write_bytes(GOOD)
    (folder / "data" / "link.jpg").symlink_to("../elsewhere/far.jpg")
    fine = [*FINE, os.fsdecode(b"\xff\xfe.png"), "link.jpg"]
    rows = [{"image": name, "id": name, "instruction": "good", "category": "fine"} for name in fine]
    rows += [{"image": name, "id": name, "instruction": "good", "category": "bad"} for name in BAD]
    return {**run(folder, rows, 3), "folder": folder}


def test_good_images_are_edited_and_scored(sources):
    rows = [row for row in sources["rows"] if row["tags"] == {"category": "fine"}]
    assert [row["sample"] for row in rows if row["status"] != "scored"] == []
    assert len(rows) == len(FINE) + 2
    lines = [
        json.loads(line) for line in (sources["folder"] / "run" / "edits.jsonl").read_bytes().splitlines()
    ]
    assert {line["sample"] for line in lines if "first_frames" in line} == SEVERAL
    assert sources["first_frames"] == len(SEVERAL)
    assert {row["sample"] for row in rows if row["flags"] not in ([], ["blank"])} == {
        "dot.png",
        "grey16.png",
        "line.png",  # one pixel wide: its mirror image is itself
        "rgb16.png",
    }
    turned = next(line for line in lines if line["sample"] == "turned.jpg")
    assert turned["source_size"] == [64, 96]


def test_bad_images_fail_alone_with_a_reason_in_plain_words(sources):
    rows = {row["sample"]: row for row in sources["rows"] if row["tags"] == {"category": "bad"}}
    assert set(rows) == set(BAD)
    for name, (_, says) in BAD.items():
        row = rows[name]
        assert (row["status"], row["kind"], row["overall"]) == ("edit-failed", "unreadable", None)
        assert row["reason"].startswith(f"{sources['folder']}/data/{name} ")
        assert says in row["reason"]
        assert "Error" not in row["reason"]
    assert sources["edit_failed"] == {"unreadable": len(BAD)}


def test_the_end_says_how_many_failed_and_why(sources):
    said = sources["said"]
    assert f"No edit:   {len(BAD)} ({len(BAD)} unreadable)" in said
    assert f"Without a score ({len(BAD)}):" in said
    assert "cut.jpg is a damaged or cut short JPEG image" in said
    assert f"and {len(BAD) - 5} more; 'edit-eval report' lists them all" in said
    assert "Sources:   4 edits are of the first frame or page of several" in said
    text = cli("report", "run", cwd=sources["folder"]).stdout
    assert all(says in text for _, says in BAD.values())


def test_a_category_without_a_score_keeps_its_line(sources):
    assert sources["tags"]["category"]["bad"]["n"] == 0
    assert sources["tags"]["category"]["bad"]["mean"] is None
    assert sources["tag_coverage"] == {"category": {"bad": 0.0, "fine": 1.0}}
    line = next(line for line in sources["said"].splitlines() if line.strip().startswith("bad "))
    assert line.split() == ["bad", "-", "-", "0", "0.0", "%"]


def test_the_page_asks_no_browser_to_open_what_could_not_be(sources):
    page = (sources["folder"] / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'<a href="(\.\./)+[^"]+">the file</a>', page)
    assert not re.search(r'<img src="(?!thumbs/|\.\./images/)', page)


# Faults that are known before anything starts


def refusal(folder: Path, *arguments: str) -> str:
    done = cli("run", "c.yaml", *arguments, cwd=folder, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.isprintable()
    assert not (folder / "run").exists()
    return line.removeprefix("edit-eval: ")


def test_what_is_no_file_ends_the_run_before_it_starts(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    os.mkfifo(data / "pipe.png")
    (data / "folder.png").mkdir()
    (data / "empty.png").touch()
    (data / "loop.png").symlink_to("loop.png")
    (data / "new\nline.png").symlink_to("nowhere")
    (data / "good.png").write_bytes(GOOD)
    names = ["good.png", "pipe.png", "folder.png", "empty.png", "loop.png", "new\nline.png"]
    write(tmp_path, [{"image": name, "id": name, "instruction": "good"} for name in names])
    assert refusal(tmp_path) == (
        f"the image {data}/pipe.png of sample 'pipe.png' is a named pipe, not an image file, and 4 more cannot be used "
        "(1 empty, 2 missing, 1 not a file)"
    )
    write(tmp_path, [{"image": names[-1], "id": "x", "instruction": "good"}])
    assert refusal(tmp_path) == (
        f"the image {str(data / names[-1])!r} of sample 'x' is missing: it is a link to nowhere, which is not there"
    )
    for field in ("references", "target"):
        write(tmp_path, [{"image": "good.png", field: "folder.png", "instruction": "good"}])
        assert "is a folder, not an image file" in refusal(tmp_path)


def test_a_table_does_not_lead_out_of_its_folder(tmp_path):
    (tmp_path / "secret.png").parent.mkdir(exist_ok=True)
    (tmp_path / "secret.png").write_bytes(GOOD)
    rows = [{"image": "../secret.png", "instruction": "good"}] * 2
    write(tmp_path, rows)
    assert refusal(tmp_path) == (
        f"{tmp_path}/data/samples.jsonl, line 1: 'image' is '../secret.png', which leads out of {tmp_path}/data; "
        "if you trust this table, set benchmark.params.outside=true; and 1 more like it"
    )
    done = cli("run", "c.yaml", "--display", "none", "--set", "benchmark.params.outside=true", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_absolute_path_is_taken_and_said(tmp_path):
    (tmp_path / "elsewhere.png").write_bytes(GOOD)
    write(tmp_path, [{"image": str(tmp_path / "elsewhere.png"), "instruction": "good"}])
    done = cli("run", "c.yaml", "--display", "none", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == (
        f"edit-eval: 1 image lies outside of {tmp_path}/data, such as {tmp_path}/elsewhere.png; "
        "the run directory and the report will show what such files hold\n"
    )


# References and targets


@pytest.mark.parametrize("field", ["references", "target"])
def test_an_image_that_a_judge_cannot_see_makes_the_verdict_unscored(tmp_path, field):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "good.jpg").write_bytes(GOOD)
    for name, (data, _) in BAD.items():
        (tmp_path / "data" / name).write_bytes(data)
    rows = [
        {"image": "good.jpg", "id": name, "instruction": "good", field: name} for name in ("good.jpg", *BAD)
    ]
    found = run(tmp_path, rows, 3)
    by_id = {row["sample"]: row for row in found["rows"]}
    assert by_id.pop("good.jpg")["status"] == "scored"
    for name, row in by_id.items():
        assert (row["status"], row["kind"], row["overall"], row["scores"]) == ("unscored", "error", None, {})
        assert row["reason"].startswith(f"unreadable: {tmp_path}/data/{name} ")
        assert BAD[name][1] in row["reason"]


# What editors return

RETURNED = {
    "good": [],
    "good-array": [],
    "same": ["no_op"],
    "black": ["blank"],
    "noisy-grey": ["blank"],
    "nan": ["nan"],
    "inf": ["nan"],
    "all-nan": ["blank", "nan"],
    "half": ["resized"],
    "same-half": ["resized", "no_op"],
}
NOT_RETURNED = {
    "none": "the editor returned None",
    "list": "the editor returned a list",
    "closed": "the editor returned an image (mode RGB) that cannot be used",
    "0x0": "the editor returned an image of 0 x 0 pixels",
    "no-colours": "the editor returned an array (64 x 96, float32)",
    "too-bright": "the editor returned an array with values from",
}


@pytest.fixture(scope="module")
def edits(tmp_path_factory) -> dict[str, Any]:
    """Return the report of a run whose editor returns all kinds of things, with its folder."""
    folder = tmp_path_factory.mktemp("edits")
    (folder / "data").mkdir()
    (folder / "data" / "good.jpg").write_bytes(GOOD)
    rows = [{"image": "good.jpg", "id": what, "instruction": what} for what in (*RETURNED, *NOT_RETURNED)]
    return {**run(folder, rows, 3), "folder": folder}


def test_flags_are_recorded_and_the_scores_stand(edits):
    rows = {row["sample"]: row for row in edits["rows"]}
    for what, flags in RETURNED.items():
        assert (what, rows[what]["flags"], rows[what]["overall"]) == (what, flags, 5.0)
    lines = [json.loads(line) for line in (edits["folder"] / "run" / "edits.jsonl").read_bytes().splitlines()]
    assert {line["sample"]: line["flags"] for line in lines if line["status"] == "edited"} == RETURNED
    assert edits["flagged"] == 8
    assert edits["flags"] == {"blank": 3, "nan": 3, "no_op": 2, "resized": 2}


def test_flags_are_said_everywhere(edits):
    headline = "8 edits are flagged: 3 blank, 3 nan, 2 no_op, 2 resized"
    assert f"Flags:     {headline}" in edits["said"]
    text = cli("report", "run", cwd=edits["folder"]).stdout
    assert "Flagged (8):" in text
    assert "blank, nan all-nan | 5.00" in text
    page = (edits["folder"] / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert headline in page
    assert 'title="the source, unchanged">no_op</p>' in page


def test_what_is_no_image_fails_its_own_sample(edits):
    rows = {row["sample"]: row for row in edits["rows"]}
    for what, says in NOT_RETURNED.items():
        assert (rows[what]["status"], rows[what]["kind"], rows[what]["flags"]) == ("edit-failed", "error", [])
        assert rows[what]["reason"].startswith(says)


@pytest.mark.parametrize("display", ["plain", "json", "rich"])
def test_flags_are_said_as_they_come(edits, display):
    output = f"with-{display}"
    done = cli(
        "run", "c.yaml", "--display", display, "--output", output, "--set", "limit=4", cwd=edits["folder"]
    )
    assert (done.returncode, done.stderr) == (0, "")
    if display == "json":
        events = [json.loads(line) for line in done.stdout.splitlines()]
        finished = {one["sample_id"]: one["flags"] for one in events if one["event"] == "edit_finished"}
        assert finished == {"good": [], "good-array": [], "same": ["no_op"], "black": ["blank"]}
        assert (events[-1]["flagged"], events[-1]["flags"]) == (2, {"blank": 1, "no_op": 1})
    else:
        assert "[Sample   3] Edit flagged: blank" in done.stdout


def test_a_run_made_before_there_were_flags_reads_well(edits, tmp_path):
    import shutil

    shutil.copytree(edits["folder"] / "run", tmp_path / "run", symlinks=True)
    ledger = tmp_path / "run" / "edits.jsonl"
    lines = [json.loads(line) for line in ledger.read_bytes().splitlines()]
    ledger.write_text("".join(json.dumps({**line, "flags": None}) + "\n" for line in lines))
    text = cli("report", "run", cwd=tmp_path)
    assert text.returncode == 3
    assert "lagged" not in text.stdout
    for line in lines:
        line.pop("flags", None)
    ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = json.loads(cli("report", "run", "--format", "json", cwd=tmp_path).stdout)
    assert (found["flagged"], found["flags"]) == (0, {})
    assert found["facts"]["flags"] == f"not looked for in {len(RETURNED)} edits, made by an earlier version"
    assert all(row["flags"] == [] for row in found["rows"])
