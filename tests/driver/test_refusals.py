"""What cannot be written: one line that says what, why and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from edit_eval.core.errors import RunError
from edit_eval.driver.refusals import cannot_write


def refused(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (
            errno.ENOSPC,
            "No space left on device; make room there and give the same command again, or set another output",
        ),
        (
            errno.EDQUOT,
            "Disk quota exceeded; make room there and give the same command again, or set another output",
        ),
        (errno.EROFS, "Read-only file system; make it writable, or set another output"),
        (errno.EACCES, "Permission denied; make it writable, or set another output"),
        (errno.EISDIR, "Is a directory; remove the folder that lies in its place"),
        (errno.EIO, "Input/output error; set another output"),
    ],
)
def test_every_reason_has_its_mend(number, says):
    found = cannot_write(Path("/r/edits.jsonl"), refused(number))
    assert isinstance(found, RunError)
    assert str(found) == f"cannot write /r/edits.jsonl: {says}; what was finished is kept"
    assert str(cannot_write(Path("/r/edits.jsonl"), refused(number), kept=False)).endswith(says)


def test_where_nothing_else_can_be_done_nothing_else_is_said():
    assert str(cannot_write("the page", refused(errno.EIO), instead="", kept=False)).endswith("; mend that")
    assert (
        "or" not in str(cannot_write("the page", refused(errno.EROFS), instead="", kept=False)).split("; ")[1]
    )


@pytest.mark.parametrize(
    ("files", "left", "room", "says"),
    [(100, 0, 50, True), (100, 5, 50, False), (0, 0, 50, False), (100, 0, 0, False)],
)
def test_a_disk_with_room_and_without_inodes_is_told_apart(monkeypatch, files, left, room, says):
    found = SimpleNamespace(f_files=files, f_favail=left, f_bavail=room)
    monkeypatch.setattr(os, "statvfs", lambda _path: found)
    text = str(cannot_write(Path("/r/x"), refused(errno.ENOSPC)))
    assert ("holds as many files as it can" in text) == says
