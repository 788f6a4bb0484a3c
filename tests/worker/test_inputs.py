"""Files of a task: the same bytes before and after, or no outcome."""

from __future__ import annotations

import os

import pytest

from edit_eval.core.identity import file_sha256
from edit_eval.worker import inputs
from edit_eval.worker.inputs import ChangedInputError, Inputs


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    return path


@pytest.fixture
def read(monkeypatch):
    """The files whose bytes were read; what changed just now is remembered as well as what changed long ago."""
    found = []
    monkeypatch.setattr(inputs, "_RACY_NS", -(10**12))
    monkeypatch.setattr(inputs, "file_sha256", lambda path: found.append(path) or file_sha256(path))
    return found


def pairs(*files):
    return [(str(path), file_sha256(path)) for path in files]


def test_a_file_that_stays_is_read_once(file, read):
    held, files = Inputs(), pairs(file)
    for _ in range(3):
        with held.held(files):
            pass
    assert read == [str(file)]


def test_a_file_that_has_just_changed_is_not_remembered(file, monkeypatch):
    read = []
    monkeypatch.setattr(inputs, "file_sha256", lambda path: read.append(path) or file_sha256(path))
    with Inputs().held(pairs(file)):
        pass
    assert len(read) == 2


def test_another_file_is_found_before_anything_is_done(file, read):
    files = pairs(file)
    file.write_bytes(b"two")
    with pytest.raises(ChangedInputError) as caught, Inputs().held(files):
        pytest.fail("it was done")
    assert str(caught.value) == (
        f"{file} changed while the run went on; give the same command again once it is whole"
    )


def test_a_change_meanwhile_is_found_also_when_size_and_time_are_kept(file, read):
    def rewrite():
        status = file.stat()
        file.write_bytes(b"two")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    with pytest.raises(ChangedInputError, match="changed while"), Inputs().held(pairs(file)):
        rewrite()


def test_the_same_bytes_in_another_file_are_no_change(file, read):
    with Inputs().held(pairs(file)):
        other = file.with_name("b.png")
        other.write_bytes(b"one")
        other.replace(file)
        file.chmod(0o600)


def test_a_file_named_twice_with_two_hashes_is_another_one(file, read):
    first = pairs(file)
    file.write_bytes(b"two")
    with pytest.raises(ChangedInputError), Inputs().held([*first, *pairs(file)]):
        pytest.fail("it was done")


def test_a_file_that_is_gone(file, read):
    with pytest.raises(ChangedInputError, match=r"a\.png was removed while"), Inputs().held(pairs(file)):
        file.unlink()


def test_a_pipe_in_its_place_is_not_waited_for(file, read):
    files = pairs(file)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ChangedInputError, match=r"unreadable \(it is no file\) while"), Inputs().held(files):
        pytest.fail("it was done")


def test_what_fails_over_a_change_is_the_changes_fault(file, read):
    def fail():
        file.write_bytes(b"tw")
        raise ValueError("cut short")

    with pytest.raises(ChangedInputError) as caught, Inputs().held(pairs(file)):
        fail()
    assert isinstance(caught.value.__context__, ValueError)
    with pytest.raises(ValueError, match="a fault of its own"), Inputs().held(pairs(file)):
        raise ValueError("a fault of its own")
