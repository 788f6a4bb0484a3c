"""What can be known of a benchmark's images before anything starts."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cpu_time import within
from harness import config_tree, make_benchmark
from PIL import Image

from edit_eval.core.errors import DataError, RunError
from edit_eval.core.types import Sample
from edit_eval.driver.config import check_config
from edit_eval.driver.samples import check_images, image_faults, outside_images, read_samples


@pytest.fixture
def good(tmp_path) -> str:
    Image.new("RGB", (4, 4)).save(tmp_path / "good.png")
    return str(tmp_path / "good.png")


def fault(path: str, good: str) -> str:
    """Return what is said of a sample that names `path`, checked to be one line."""
    with pytest.raises(DataError) as caught:
        check_images([Sample("s", "x", (good, path))])
    said = str(caught.value)
    assert said.isprintable()
    return said.partition("sample 's' ")[2]


def test_what_is_no_file_is_said_by_name(tmp_path, good):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    (tmp_path / "dangling.png").symlink_to("nowhere/x.png")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket.png"))
    listener.close()
    for name, says in {
        "pipe.png": "is a named pipe, not an image file",
        "folder.png": "is a folder, not an image file",
        "socket.png": "is a socket, not an image file",
        "empty.png": "is empty (0 bytes)",
        "none.png": "is missing",
        "good.png/x.png": "is missing",
        "a.png": "is missing: its links lead in a circle",
        "dangling.png": "is missing: it is a link to nowhere/x.png, which is not there",
        "x" * 300: "is missing: the name is too long for a file",
        "x\0.png": "is missing: no file can have this name",
        "\ud800.png": "is missing: no file can have this name",
    }.items():
        assert fault(f"{tmp_path}/{name}", good) == says
    assert fault("/dev/null", good) == "is a device, not an image file"


def test_links_and_odd_names_are_as_good_as_any(tmp_path, good):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link.png").symlink_to(good)
    (tmp_path / "elsewhere" / "far.png").symlink_to("../link.png")
    names = ["图.png", "a\nb.PNG", "'\".png", "100%#?.png", os.fsdecode(b"\xff.png"), "x" * 251 + ".png"]
    for name in names:
        (tmp_path / name).write_bytes(Path(good).read_bytes())
    paths = [f"{tmp_path}/{name}" for name in (*names, "link.png", "elsewhere/far.png")]
    assert image_faults([Sample("s", "x", tuple(paths))]) == []


def test_the_first_is_named_and_the_others_are_counted_by_kind(tmp_path, good):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    paths = [str(tmp_path / name) for name in ("none.png", "folder.png", "empty.png", "gone.png")]
    samples = [Sample(str(n), "x", (good,), references=(path,)) for n, path in enumerate(paths)]
    with pytest.raises(DataError) as caught:
        check_images(samples)
    assert str(caught.value) == (
        f"the image {tmp_path}/none.png of sample '0' is missing, and 3 more cannot be used "
        "(1 empty, 1 missing, 1 not a file)"
    )
    with pytest.raises(DataError, match=r"is a folder, not an image file$"):
        check_images(samples[1:2])
    again = [Sample(str(n), "x", (paths[0],)) for n in range(3)]
    with pytest.raises(DataError, match=r"is missing$"):  # one image, three samples
        check_images(again)


NO_PERMISSION = """
import os, sys
from edit_eval.core.types import Sample
from edit_eval.driver.samples import image_faults
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
for path in sys.argv[1:]:
    print(*(one.text for one in image_faults([Sample("s", "x", (path,))])))
"""


def test_without_permission():
    with tempfile.TemporaryDirectory() as folder:  # not pytest's, which is its owner's alone
        shut, file = Path(folder) / "shut", Path(folder) / "a.png"
        shut.mkdir()
        for path in (file, shut / "a.png"):
            path.write_bytes(b"x")
        for path, mode in ((Path(folder), 0o755), (shut, 0), (file, 0)):
            path.chmod(mode)
        code = NO_PERMISSION if os.geteuid() == 0 else NO_PERMISSION.replace("os.set", "None and os.set")
        done = subprocess.run(
            [sys.executable, "-c", code, str(file), str(shut / "a.png")],
            capture_output=True,
            text=True,
            check=False,
        )
        shut.chmod(0o755)
    assert done.stdout.splitlines() == [
        "cannot be read: you have no permission",
        "cannot be read: Permission denied",
    ], done.stderr


def test_looking_at_many_takes_little(good):
    samples = [Sample(str(n), "x", (f"{good[:-8]}./{'./' * (n % 50)}good.png",)) for n in range(20_000)]
    with within(2):
        assert image_faults(samples) == []


# Where images may lie


def line_about(tmp_path, paths: list[str], **params) -> str | None:
    table = make_benchmark(tmp_path / "data", ["x"] * len(paths))

    rows = [json.loads(line) for line in table.read_text().splitlines()]
    table.write_text(
        "".join(json.dumps({**row, "image": name}) + "\n" for row, name in zip(rows, paths, strict=True))
    )
    tree = config_tree(tmp_path, table, benchmark__params=params)
    checked = check_config(tree)
    return outside_images(checked, read_samples(checked, tmp_path / "run"), tmp_path / "run")


def test_images_elsewhere_are_said_once(tmp_path, good):
    data = tmp_path / "data"
    assert line_about(tmp_path, ["0000.png", "./0001.png", f"{data}/0002.png"]) is None
    (data / "link.png").symlink_to(good)
    assert line_about(tmp_path, ["link.png"]) is None
    said = line_about(tmp_path, ["0000.png", good, good, f"{data}/../good.png"])
    assert said == (
        f"1 image lies outside of {data}, such as {good}; the run directory and the report will show what such files hold"
    )
    assert line_about(tmp_path, [good], images=str(tmp_path)) is None
    assert line_about(tmp_path, [good], outside=True) is None
    assert line_about(tmp_path, ["../good.png"], outside=True) is None


def test_a_folder_that_is_reached_by_a_link_is_the_same_folder(tmp_path, good):
    make_benchmark(tmp_path / "real", ["x"])
    (tmp_path / "data").symlink_to("real")
    assert line_about(tmp_path, [f"{tmp_path}/real/0000.png", f"{tmp_path}/data/0000.png"]) is None


@pytest.mark.parametrize("filename", [None, "s0000.png"])
def test_a_disk_that_is_full_is_no_fault_of_the_benchmark(tmp_path, monkeypatch, filename):
    """Pillow raises a full disk without the file's name where it writes through a file that is open."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *([filename] if filename else []))

    def draw(_path, _params, _workspace):
        raise full
        yield

    checked = check_config(
        {"benchmark": {"type": "scenes"}, "editor": {"type": "scripted"}, "output": str(tmp_path / "run")}
    )
    monkeypatch.setattr(checked.benchmark.cls, "load", draw)
    with pytest.raises(RunError, match=r"cannot write .*: No space left on device; make room"):
        read_samples(checked, tmp_path / "run")
