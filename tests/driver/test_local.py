"""The local backend where the machine refuses what a keeper needs."""

from __future__ import annotations

import errno
import os
import tempfile

import pytest

from edit_eval.core.errors import RunError
from edit_eval.driver.backends.local import LocalBackend
from edit_eval.driver.devices import Device

CPU = Device("cpu", (0,))


def refusing(number: int):
    def refuse(*_arguments, **_options):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT])
def test_where_no_temporary_folder_can_be_made_that_is_said(tmp_path, monkeypatch, number):
    monkeypatch.setattr(tempfile, "mkdtemp", refusing(number))
    with pytest.raises(RunError, match=r"^cannot write a temporary folder: .*set TMPDIR to another one"):
        LocalBackend().launch(CPU, tmp_path / "logs")


def test_what_may_be_another_time_is_left_to_the_pool(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "mkdtemp", refusing(errno.EMFILE))
    with pytest.raises(OSError, match="Too many open files"):
        LocalBackend().launch(CPU, tmp_path / "logs")


def test_a_keeper_does_without_its_log(tmp_path):
    (tmp_path / "logs").touch()
    link = LocalBackend().launch(CPU, tmp_path / "logs")
    link.channel.send("quit")
    assert link.wait(10)
