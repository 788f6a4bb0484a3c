"""Ledgers: whatever happened to the file, what is whole is kept and what is torn is done again."""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import orjson
import pytest
from cpu_time import within
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.core.errors import RunError
from edit_eval.driver import ledger as ledgers
from edit_eval.driver.ledger import (
    VERSION,
    Ledger,
    found_of_edit,
    json_bytes,
    json_value,
    read_ledger,
    tells_of_verdict,
)

keys = st.sampled_from(["a", "b", "c", "d", "键"])
records = st.builds(
    lambda key, value: {"key": key, "value": value}, keys, st.text(max_size=12) | st.integers(-(2**50), 2**50)
)
several = st.lists(records, max_size=8)
relaxed = settings(deadline=None, max_examples=60)


def written(path: Path, given_records) -> bytes:
    ledger = Ledger(path)
    for record in given_records:
        ledger.append(record)
    ledger.close()
    return path.read_bytes()


def last_by_key(given_records) -> dict:
    return {record["key"]: {"v": VERSION, **record} for record in given_records}


@relaxed
@given(several)
def test_the_last_line_of_a_key_wins(given_records):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "l.jsonl")
        data = written(path, given_records)
        assert data.count(b"\n") == len(given_records)  # append-only: nothing is ever taken away
        assert read_ledger(path) == last_by_key(given_records)
        ledger = Ledger(path)
        assert ledger.records == last_by_key(given_records)
        ledger.close()
        assert path.read_bytes() == data


@relaxed
@given(st.lists(records, min_size=1, max_size=5), several, st.data())
def test_torn_at_any_byte(before, after, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "l.jsonl")
        whole = written(path, before)
        cut = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:cut])
        kept = before[: whole[:cut].count(b"\n")]
        ledger = Ledger(path)
        assert ledger.records == last_by_key(kept)
        for record in after:
            ledger.append(record)
        assert ledger.records == last_by_key([*kept, *after])
        ledger.close()
        assert read_ledger(path) == last_by_key([*kept, *after])
        assert all(orjson.loads(line) for line in path.read_bytes().splitlines())  # no line grew out of two


@relaxed
@given(several, st.integers(0, 30_000), st.booleans())
def test_a_torn_line_of_any_length_is_cut_off_and_no_more(before, length, torn):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "l.jsonl")
        whole = written(path, before)
        path.write_bytes(whole + b"x" * length * torn)
        then = path.stat().st_mtime_ns
        ledger = Ledger(path)
        ledger.close()
        assert path.read_bytes() == whole
        assert torn or path.stat().st_mtime_ns == then  # a whole ledger is not touched


def test_torn_at_every_byte_of_a_long_line(tmp_path):
    path = tmp_path / "l.jsonl"
    first, second = {"key": "a", "text": 'x\n\r\u2028"\\红' * 3}, {"key": "b", "text": "y"}
    whole = written(path, [first, second])
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        found = read_ledger(path)  # a reader does not cut, and may look while a line is being written
        assert set(found) <= {"a", "b"}
        kept = last_by_key([first, second][: whole[:cut].count(b"\n")])
        assert kept.items() <= found.items()
        ledger = Ledger(path)
        assert ledger.records == kept
        ledger.append({"key": "c"})
        ledger.close()
        assert set(read_ledger(path)) == {*kept, "c"}


@relaxed
@given(several, st.binary(max_size=60), several)
def test_garbage_between_whole_lines_loses_none_of_them(before, garbage, after):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "l.jsonl")
        first = written(path, before)
        path.unlink()
        second = written(path, after)
        path.write_bytes(first + garbage + b"\n" + second)
        assert read_ledger(path) == last_by_key([*before, *after])
        ledger = Ledger(path)
        assert ledger.records == last_by_key([*before, *after])
        ledger.close()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\x00" * 100,
        b"\xff\xfe\x80",
        b"null",
        b"[]",
        b"3",
        b'"text"',
        b"{}",
        b'{"v": 1}',
        b'{"v": 1, "key": 3}',
        b'{"key": "a"}',
        b'{"v": "1", "key": "a"}',
        b'{"v": 1, "key": "a"',
        b'{"v": 1, "key": "a"}{"v": 1, "key": "b"}',
        b"{" * 5000,
        b'{"v": 1, "key": "\\ud800',
    ],
)
def test_a_line_that_is_no_record_is_left_out(tmp_path, line):
    path = tmp_path / "l.jsonl"
    path.write_bytes(b'{"v":1,"key":"x"}\n' + line + b'\n{"v":1,"key":"y"}\n')
    assert set(read_ledger(path)) == {"x", "y"}


def test_a_line_of_a_newer_version_is_refused_not_guessed_at(tmp_path):
    path = tmp_path / "l.jsonl"
    path.write_bytes(b'{"v":1,"key":"x"}\n{"v":2,"key":"x","how":"unknown"}\n')
    with pytest.raises(RunError, match="newer edit-eval"):
        read_ledger(path)
    with pytest.raises(RunError, match="newer edit-eval"):
        Ledger(path)


def test_a_missing_ledger_is_empty(tmp_path):
    assert read_ledger(tmp_path / "none.jsonl") == {}


def test_a_ledger_that_cannot_be_read_is_the_users_to_mend(tmp_path):
    (tmp_path / "l.jsonl").mkdir()
    with pytest.raises(RunError, match="cannot read"):
        read_ledger(tmp_path / "l.jsonl")
    with pytest.raises(RunError, match="cannot read"):
        Ledger(tmp_path / "l.jsonl")


def test_a_line_is_on_disk_before_append_returns(tmp_path):
    path = tmp_path / "l.jsonl"
    code = (
        "import os, pathlib, sys; from edit_eval.driver.ledger import Ledger\n"
        "ledger = Ledger(pathlib.Path(sys.argv[1]))\n"
        "for index in range(5): ledger.append({'key': str(index)})\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert list(read_ledger(path)) == ["0", "1", "2", "3", "4"]


def test_what_is_appended_reaches_the_disk_once_a_second(tmp_path, monkeypatch):
    now = [100.0]
    synced = []
    monkeypatch.setattr("edit_eval.driver.ledger.time.monotonic", lambda: now[0])
    monkeypatch.setattr("edit_eval.driver.ledger.os.fsync", synced.append)
    ledger = Ledger(tmp_path / "l.jsonl")
    ledger.append({"key": "a"})
    for _ in range(20):
        now[0] += 0.25
        ledger.append({"key": "b"})
        ledger.sync()
    assert len(synced) == 5
    now[0] += 60
    ledger.sync()
    ledger.sync()
    assert len(synced) == 5  # nothing new: nothing to do
    ledger.close()
    assert len(synced) == 6


FULL_DISK = """
import pathlib, resource, sys
from edit_eval.core.errors import RunError
from edit_eval.driver.ledger import Ledger
ledger = Ledger(pathlib.Path(sys.argv[1]))
ledger.append({"key": "first"})
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    ledger.append({"key": "second", "text": "x" * 500})
except RunError as error:
    print(error)
ledger.append({"key": "third"})
ledger.close()
"""


def test_a_full_disk_leaves_the_ledger_whole(tmp_path):
    path = tmp_path / "l.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True
    )
    assert "File too large" in done.stdout
    assert "what was finished is kept" in done.stdout
    assert path.read_bytes() == b'{"v":1,"key":"first"}\n{"v":1,"key":"third"}\n'


def test_two_writers_do_not_overwrite_each_other(tmp_path):
    # The run's lock keeps a second writer out; appending is what makes even its failure harmless.
    one, other = Ledger(tmp_path / "l.jsonl"), Ledger(tmp_path / "l.jsonl")
    for index in range(10):
        one.append({"key": f"one {index}"})
        other.append({"key": f"other {index}"})
    one.close()
    other.close()
    assert len(read_ledger(tmp_path / "l.jsonl")) == 20


@given(st.text(st.characters(), max_size=20))  # lone surrogates too
def test_any_text_comes_back(text):
    data = json_bytes({"text": text})
    assert b"\n" not in data
    assert json_value(data) == {"text": text}


def test_a_reply_that_is_no_unicode_is_recorded(tmp_path):
    path = tmp_path / "l.jsonl"
    written(path, [{"key": "a", "reply": "\ud800 oh"}, {"key": "b"}])
    assert read_ledger(path)["a"]["reply"] == "\ud800 oh"
    assert set(read_ledger(path)) == {"a", "b"}


@relaxed
@given(st.lists(records, min_size=1, max_size=6), st.integers(0, 40_000))
def test_a_record_is_found_again_whatever_the_length_of_its_line(several, length):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "l.jsonl")
        longer = [{**record, "reply": "r" * (length // (1 + index))} for index, record in enumerate(several)]
        ledger = Ledger(path)
        for number, record in enumerate(longer):
            ledger.append(record)
            assert ledger.records[record["key"]] == {"v": VERSION, **record}
            assert ledger.records == last_by_key(longer[: number + 1])
        ledger.close()
        found = read_ledger(path)
        assert found == last_by_key(longer)
        assert list(found) == list(last_by_key(longer))
        assert len(found) == len(last_by_key(longer))
        assert "none" not in found
        assert found.get("none") is None
        with pytest.raises(KeyError):
            found["none"]


def test_a_reader_and_a_writer_see_one_ledger_each(tmp_path):
    path = tmp_path / "l.jsonl"
    ledger = Ledger(path)
    ledger.append({"key": "a", "value": 1})
    reader = read_ledger(path)
    ledger.append({"key": "a", "value": 2})
    ledger.append({"key": "b"})
    assert (dict(reader), reader["a"]["value"]) == ({"a": {"v": VERSION, "key": "a", "value": 1}}, 1)
    ledger.close()
    path.unlink()  # or replaced: what was read stays what it was
    path.write_bytes(b'{"v":1,"key":"other"}\n')
    assert ledger.records["a"]["value"] == 2
    assert reader["a"]["value"] == 1


@pytest.mark.parametrize("damage", [b"", b"x" * 60, b'{"v":1,"key":"c"}\n' * 4, b"\n" * 60])
def test_a_ledger_that_is_changed_while_it_is_in_use_is_said_to_be(tmp_path, damage):
    path = tmp_path / "l.jsonl"
    written(path, [{"key": "a"}, {"key": "b"}])
    reader = read_ledger(path)
    path.write_bytes(damage)  # in place: the same file
    with pytest.raises(RunError, match="was changed by another program"):
        reader["a"]


def test_a_ledger_that_was_released_is_opened_again_if_it_is_the_same_file(tmp_path):
    path = tmp_path / "l.jsonl"
    written(path, [{"key": "a", "value": 1}])
    before = len(list(Path("/proc/self/fd").iterdir()))
    reader = read_ledger(path)
    for _ in range(2):
        reader.release()
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        with path.open("ab") as file:
            file.write(b'{"v":1,"key":"b"}\n')
        assert reader["a"]["value"] == 1
    reader.release()
    other = tmp_path / "other.jsonl"
    written(other, [{"key": "a", "value": 2}])
    other.replace(path)
    for _ in range(2):
        with pytest.raises(RunError, match="was changed by another program"):
            reader["a"]
    path.unlink()
    with pytest.raises(RunError, match="cannot read"):
        reader["a"]
    none = read_ledger(path)
    none.release()
    assert dict(none) == {}


def test_a_ledger_lets_go_of_its_file(tmp_path):
    path = tmp_path / "l.jsonl"
    (tmp_path / "newer.jsonl").write_bytes(b'{"v":2,"key":"x"}\n')

    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = opened()
    for _ in range(20):
        ledger = Ledger(path)
        ledger.append({"key": "a"})
        ledger.close()
        assert dict(read_ledger(path))
        for refused in (Ledger, read_ledger):
            with pytest.raises(RunError):
                refused(tmp_path / "newer.jsonl")
    del ledger
    gc.collect()
    assert opened() == before


def test_a_long_ledger_is_neither_held_nor_read_whole(tmp_path):
    path = tmp_path / "l.jsonl"
    line = json_bytes({"v": 1, "key": "K", "reply": "r" * 5000})
    with path.open("wb") as file:
        for index in range(4000):
            file.write(line.replace(b"K", b"%d" % index) + b"\n")
    tracemalloc.start()
    try:
        ledger = Ledger(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    ledger.close()
    assert len(ledger.records) == 4000
    assert most < path.stat().st_size / 10


def test_reading_is_fast(tmp_path):
    path = tmp_path / "l.jsonl"
    line = json_bytes({"v": 1, "key": "K", "sample": "s", "image": {"sha256": "a" * 64, "bytes": 1_000_000}})
    path.write_bytes(b"".join(line.replace(b"K", b"%064d" % index) + b"\n" for index in range(50_000)))
    with within(1.0):  # 1,000,000 in 5 s are wanted; this box has other work to do
        assert len(read_ledger(path)) == 50_000


odd = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=2)
    | st.lists(st.none(), max_size=1)
)
near = st.fixed_dictionaries(
    {},
    optional={
        "scores": st.dictionaries(st.text(max_size=2), st.floats() | odd, max_size=2) | odd,
        "overall": st.floats() | odd,
        "unscored": st.none() | st.sampled_from(["refused", "no kind"]) | odd,
        "reasons": st.dictionaries(st.text(max_size=2), st.text(max_size=2) | odd, max_size=2) | odd,
        "reply": st.text(max_size=2) | odd,
    },
)
verdicts = st.fixed_dictionaries(
    {"verdict": near | odd}, optional={"seconds": st.floats() | odd, "device": odd}
)
full = st.fixed_dictionaries(
    {
        "verdict": st.fixed_dictionaries(
            {
                "scores": st.dictionaries(st.text(max_size=2), st.floats(), max_size=2),
                "overall": st.floats(),
                "unscored": st.none(),
                "reasons": st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=2),
                "reply": st.text(max_size=2),
            }
        ),
        "seconds": st.floats(),
        "device": st.text(max_size=2),
    }
)


@settings(deadline=None, max_examples=400)
@given(verdicts | full)
def test_the_quick_look_at_a_verdict_takes_nothing_that_the_thorough_one_refuses(record):
    quick, ledgers._is_plain_score = ledgers._is_plain_score, lambda _record: False
    try:
        thorough = tells_of_verdict(record)
    finally:
        ledgers._is_plain_score = quick
    assert tells_of_verdict(record) == thorough


def test_what_is_kept_of_a_record_is_that_of_the_last_line_also_of_one_appended(tmp_path):
    path = tmp_path / "l.jsonl"
    image = {"sha256": "ab", "bytes": 3, "mtime_ns": 4, "width": 8}
    with_edit = {"key": "a", "status": "edited", "image": image, "seconds": 1.0}
    one = Ledger(path, keep=found_of_edit)
    one.append({"key": "a", "status": "failed", "kind": "error", "reason": "no"})
    assert one.records.kept == {"a": {"status": "failed"}}
    one.append(with_edit)
    kept = {"a": {"status": "edited", "image": image}}
    assert one.records.kept == kept
    one.close()
    again = Ledger(path, keep=found_of_edit)
    assert again.records.kept == kept
    again.close()
