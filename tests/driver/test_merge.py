"""Shards, however they fared, are the run without shards; what is not of one run is not put together."""

from __future__ import annotations

import json
import re
import resource
import shutil
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from harness import config_tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from driver.compared import compared
from edit_eval.core.errors import RunError
from edit_eval.core.identity import file_sha256
from edit_eval.core.types import Verdict
from edit_eval.driver import taken
from edit_eval.driver.against import against_file, against_lines
from edit_eval.driver.config import check_config
from edit_eval.driver.divide import begin_shard, divide
from edit_eval.driver.forecast import forecast
from edit_eval.driver.gather import merge
from edit_eval.driver.job import Job, in_shard, prepare
from edit_eval.driver.merge import open_parts
from edit_eval.driver.plan import WantedEdit, judged_again
from edit_eval.driver.shards import Shard
from edit_eval.driver.starts import next_info
from edit_eval.driver.store import RunReader, RunStore, image_path, lock_holder, thumbnail_path
from edit_eval.driver.summary import read_rows, summarize
from edit_eval.views.export import canonical_lines

AT = "2026-01-01T00:00:00+00:00"

SETTINGS = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """Return a run with failed edits, unscored verdicts, repeats, pairs of samples, and edits judged twice."""
    folder = tmp_path_factory.mktemp("base")
    data = folder / "data"
    data.mkdir()
    lines = []
    for index in range(10):
        Image.new("RGB", (16, 12), (index // 2 * 20, 90, 120)).save(data / f"{index}.png")
        judge = {"judge": "raise"} if index in {4, 7} else {}
        what = "raise" if index in {3, 8} else "ok"
        lines.append({"id": f"s{index}", "image": f"{index}.png", "instruction": what, "tags": judge})
    (data / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_outcomes(prepare(check_config(config_tree(folder, data / "samples.jsonl", repeats=2))), twice=0.3)
    return folder / "run"


def write_outcomes(job: Job, *, twice: float) -> None:
    """Write what a run of the faulty editor and judge comes to, without their processes."""
    assert job.judge
    judging = job.judge.judging
    again = judged_again((one.key for one in job.wanted), twice)
    with RunStore(job.output) as store:
        for one in job.wanted:
            about = {
                "at": AT,
                "sample": one.sample.id,
                "repeat": one.repeat,
                "device": "CPU 0",
                "seconds": 0.5,
            }
            if one.sample.instruction == "raise":
                failure = {"status": "failed", "kind": "error", "reason": "raised"}
                store.edits.append({**about, "key": one.key, **failure})
                continue
            image = edited(job.output, one)
            store.edits.append({**about, "key": one.key, "status": "edited", "image": image, "flags": []})
            store.link_by_id(one)
            if not judging.applies(one):
                continue
            for number in range(2 if one.key in again else 1):
                key = judging.key(one, image["sha256"], repeat=number)
                said = {"edit_key": one.key, "again": number, "judge": judging.judge_id}
                store.verdicts.append(
                    {**about, "key": key, **said, "verdict": verdict(one, number).to_json()}
                )
        if judging.against:
            store.write_lines(against_file(judging.against), partial(against_lines, judging.against))
        store.write_wanted(job.wanted)
        how: dict[str, Any] = {"working": True, "beside": False, "repeat_fraction": twice}
        store.write_info(next_info(job, {}, at=AT, **how)[0])
    devices = [{"device": f"CPU {i}", "kind": "cpu", "gpus": [], "stages": ["edit"]} for i in (0, 1)]
    start = {"v": 1, "type": "start", "start": 1, "n": 1, "at": 0.0, "devices": devices, "gpus": {}}
    (job.output / "telemetry.jsonl").write_bytes(orjson.dumps(start) + b"\n")


def edited(root: Path, one: WantedEdit) -> dict[str, Any]:
    """Write an edit, its thumbnail and its source's; return what is recorded of it."""
    for name in (image_path(one.key), thumbnail_path(one.key), thumbnail_path(one.source_sha256[0])):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12), (one.index, one.repeat, 9)).save(root / name)
    path = root / image_path(one.key)
    found = path.stat()
    size = {"bytes": found.st_size, "width": 16, "height": 12}
    return {"sha256": file_sha256(path), "mtime_ns": found.st_mtime_ns, **size}


def verdict(one: WantedEdit, number: int) -> Verdict:
    if one.sample.tags:
        return Verdict(unscored="error", reply="raised")
    score = 5.0 + one.index % 3 + number
    return Verdict({"similarity": score}, score, reasons={"similarity": "measured"}, reply="measured")


def canonical(path: Path) -> list[str]:
    return list(canonical_lines(read_rows(RunReader(path), thumbnails=False)))


@pytest.fixture(scope="module")
def divided(base, tmp_path_factory) -> dict[int, list[Path]]:
    """Return its shards, by how many there are."""
    return {count: shards_of(base, count, tmp_path_factory.mktemp("divided")) for count in range(1, 5)}


def shards_of(base: Path, count: int, folder: Path) -> list[Path]:
    paths = [Shard(index, count).folder(folder) for index in range(count)]
    for index, path in enumerate(paths):
        divide(base, Shard(index, count), path)
    return paths


def without(run: Path, keys: set[str], *, copy: Path) -> Path:
    """Return a copy of a run whose ledgers lack these keys; its folders are the same ones, to be read only."""
    copy.mkdir(parents=True)
    for one in run.iterdir():
        if one.is_dir():
            (copy / one.name).symlink_to(one)
        else:
            shutil.copy2(one, copy)
    for name in ("edits.jsonl", "verdicts.jsonl"):
        lines = (run / name).read_bytes().splitlines(keepends=True)
        (copy / name).write_bytes(b"".join(line for line in lines if orjson.loads(line)["key"] not in keys))
    return copy


def keys_of(run: Path) -> list[str]:
    reader = RunReader(run)
    return sorted([*reader.edits, *reader.verdicts])


def test_samples_of_one_source_are_in_one_shard(base):
    whole = RunReader(base).wanted
    for count in (1, 2, 3, 7):
        shares = [Shard(index, count).share(whole) for index in range(count)]
        assert sorted(one.index for share in shares for one in share) == list(range(len(whole)))
        for share in shares:
            clusters = Counter(one.sample.cluster for one in share)
            assert set(clusters.values()) <= {4}  # two samples, two repeats
            assert [one.index for one in share] == sorted(one.index for one in share)


@SETTINGS
@given(data=st.data(), count=st.integers(1, 4))
def test_whatever_became_of_its_shards_a_run_is_the_same(base, divided, data, count):
    """Every shard may be there twice, each with a part of the outcomes; some may be lost."""
    keys = keys_of(base)
    lost = data.draw(st.sets(st.sampled_from(keys), max_size=4), "lost")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = []
        for index, path in enumerate(divided[count]):
            first = data.draw(st.sets(st.sampled_from(keys)), f"not in the first {index}")
            parts.append(without(path, first | lost, copy=folder / f"first-{index}"))
            parts.append(without(path, set(keys) - first | lost, copy=folder / f"second-{index}"))
        shuffled = data.draw(st.permutations(parts))
        merge(shuffled, folder / "merged", partial=True)
        expected = without(base, lost, copy=folder / "expected")
        assert canonical(folder / "merged") == canonical(expected)
        merge(parts[::-1], folder / "other", partial=True)
        for ledger in ("edits.jsonl", "verdicts.jsonl", "samples.jsonl"):
            assert (folder / "merged" / ledger).read_bytes() == (folder / "other" / ledger).read_bytes()
        before = (folder / "merged" / "edits.jsonl").read_bytes()
        merge(parts[:3], folder / "merged", partial=True)
        assert (folder / "merged" / "edits.jsonl").read_bytes() == before
        assert canonical(folder / "merged") == canonical(expected)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_merged_run_has_everything_that_the_run_has(base, tmp_path, count):
    merged = tmp_path / "merged"
    done = merge(shards_of(base, count, tmp_path / "x"), merged)
    assert (done.shards, done.of, done.missing, done.notes) == (count, count, [], [])
    assert canonical(merged) == canonical(base)
    for name in ("images", "thumbs", "by-id"):
        there = {
            one.relative_to(base): one.read_bytes() for one in (base / name).rglob("*.*") if one.is_file()
        }
        assert there == {
            one.relative_to(merged): one.read_bytes() for one in (merged / name).rglob("*.*") if one.is_file()
        }
    one, other = (summarize(RunReader(path)) for path in (base, merged))
    assert (other.headline, other.bounds, other.noise) == (one.headline, one.bounds, one.noise)
    assert one.noise is not None
    assert one.noise.wanted > 0


def test_a_shard_counts_its_own_share(base, tmp_path):
    for path in shards_of(base, 3, tmp_path):
        summary = summarize(RunReader(path))
        assert summary.wanted == len(RunReader(path).wanted) < 20
        assert (
            summary.coverage
            == 1 - (sum(summary.unscored.values()) + sum(summary.edit_failed.values())) / summary.wanted
        )
    whole = summarize(RunReader(base)).noise
    parts = [summarize(RunReader(Shard(index, 3).folder(tmp_path))).noise for index in range(3)]
    assert whole
    assert (
        sum(part.wanted for part in parts if part) == whole.wanted
    )  # the same edits are judged twice, however it is divided


def refused(paths, output, **options) -> str:
    with pytest.raises(RunError) as caught:
        merge(paths, output, **options)
    assert not (output / "run.json").exists()
    return str(caught.value)


def test_missing_shards_and_unfinished_ones_are_named(base, tmp_path):
    parts = shards_of(base, 4, tmp_path / "x")
    some = RunReader(parts[1])
    left = without(parts[1], {next(iter(some.edits))}, copy=tmp_path / "half")
    line = refused([left, parts[3]], tmp_path / "m")
    assert not (tmp_path / "m").exists()
    assert "not there: shard 0/4, 2/4; not finished: shard 1/4 (" in line
    assert "half) lacks 1 edits" in line
    assert "--partial" in line
    done = merge([left, parts[3]], tmp_path / "m", partial=True)
    assert len(done.missing) == 2
    assert summarize(RunReader(tmp_path / "m")).wanted == 20  # what is missing counts as missing
    merge(parts, tmp_path / "m")
    assert canonical(tmp_path / "m") == canonical(base)


def changed_info(path: Path, **changes) -> None:
    info = json.loads((path / "run.json").read_text())
    for key, value in changes.items():
        section = info
        *way, last = key.split("__")
        for name in way:
            section = section[name]
        section[last] = value
    (path / "run.json").write_text(json.dumps(info))


def test_what_is_of_another_run_is_refused(base, tmp_path):
    parts = shards_of(base, 2, tmp_path / "x")
    assert "was run without --shard" in refused([base], tmp_path / "m")
    assert "is no run directory" in refused([tmp_path], tmp_path / "m")
    with pytest.raises(RunError, match="is one of the shards"):
        merge(parts, parts[0])
    assert "is a shard of 2 and" in refused([parts[0], *shards_of(base, 3, tmp_path / "y")], tmp_path / "m")
    other = Path(shutil.copytree(parts[1], tmp_path / "other", symlinks=True))
    changed_info(other, identity__seed=5)
    assert "seed: 0 -> 5" in refused([parts[0], other], tmp_path / "m")
    changed_info(other, identity__seed=0, protocol="other/v1")
    assert "protocol: " in refused([parts[0], other], tmp_path / "m")


def test_shards_of_other_samples_are_refused(base, tmp_path):
    parts = shards_of(base, 2, tmp_path / "x")
    whole = (parts[1] / "whole.jsonl").read_text()
    key = RunReader(parts[1]).whole[0].key
    (parts[1] / "whole.jsonl").write_text(whole.replace(key, "0" * 64))
    (parts[1] / "samples.jsonl").write_text((parts[1] / "samples.jsonl").read_text().replace(key, "0" * 64))
    assert "of 20 edits it has 19 and 1 others" in refused(parts, tmp_path / "m")


def test_two_different_edits_of_one_sample_are_refused(base, tmp_path):
    parts = shards_of(base, 2, tmp_path / "x")
    twin = Path(shutil.copytree(parts[0], tmp_path / "twin", symlinks=True))
    record = next(one for one in RunReader(twin).edits.values() if one["status"] == "edited")
    image = twin / image_path(record["key"])
    image.unlink()
    Image.new("RGB", (16, 12), (1, 2, 3)).save(image)
    text = (twin / "edits.jsonl").read_text()
    (twin / "edits.jsonl").write_text(text.replace(record["image"]["sha256"], file_sha256(image)))
    line = refused([*parts, twin], tmp_path / "m", partial=True)
    assert "have different edits of sample" in line
    assert not (tmp_path / "m").exists()
    assert str(twin) in line


def test_of_two_outcomes_an_edit_counts_before_a_failure(base, tmp_path):
    parts = shards_of(base, 2, tmp_path / "x")
    twin = Path(shutil.copytree(parts[0], tmp_path / "twin", symlinks=True))
    lines = []
    for record in RunReader(twin).edits.values():
        at = {"at": "2999-01-01T00:00:00+00:00"}
        lines.append({**record, **at, "status": "failed", "kind": "crash", "reason": "later"})
    (twin / "edits.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    merge([twin, *parts], tmp_path / "m")
    failed = {
        one.sample.id: one.edit_failure for one in read_rows(RunReader(tmp_path / "m")) if one.edit_failure
    }
    assert set(failed) == {"s3", "s8"}
    own = {one.sample.id for one in RunReader(parts[0]).wanted}
    assert all(kind == (("crash", "later") if name in own else failed[name]) for name, kind in failed.items())


def test_an_image_that_is_gone_or_altered_is_not_merged(base, tmp_path):
    parts = shards_of(base, 2, tmp_path / "x")
    record = next(one for one in RunReader(parts[0]).edits.values() if one["status"] == "edited")
    image = parts[0] / image_path(record["key"])
    kept = image.read_bytes()
    image.unlink()
    image.write_bytes(kept[:-1] + b"x")
    assert "is missing or altered" in refused(parts, tmp_path / "m")
    merge(parts, tmp_path / "m", partial=True)
    [row] = [one for one in read_rows(RunReader(tmp_path / "m")) if one.edited is None]
    assert row.edit_key == record["key"]
    twin = Path(shutil.copytree(parts[0], tmp_path / "twin", symlinks=True))
    image.unlink()
    image.write_bytes(kept)
    merge([twin, *parts], tmp_path / "m")  # the other copy of the shard has it
    assert canonical(tmp_path / "m") == canonical(base)


def test_on_another_disk_images_are_copied_and_looked_at(base, tmp_path, monkeypatch):
    parts = shards_of(base, 2, tmp_path / "x")

    def another_disk(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(taken.os, "link", another_disk)
    merge(parts, tmp_path / "m")
    assert canonical(tmp_path / "m") == canonical(base)
    images = list((tmp_path / "m" / "images").rglob("*.png"))
    assert {one.stat().st_nlink for one in images} == {1}

    real = shutil.copy2

    def copied_badly(source, target):
        """Leave one bit of another kind, as a disk may; size and time are those of the source."""
        real(source, target)
        if str(source).endswith(".png"):
            data = Path(target).read_bytes()
            Path(target).write_bytes(bytes([data[0] ^ 1]) + data[1:])
            shutil.copystat(source, target)

    monkeypatch.setattr(taken.shutil, "copy2", copied_badly)
    assert "is not what was recorded" in refused(parts, tmp_path / "n")


def test_logs_and_telemetry_come_along_and_are_told_apart(base, tmp_path):
    from edit_eval.driver.shard_telemetry import read_all_telemetry

    parts = shards_of(base, 2, tmp_path / "elsewhere")
    for number, path in enumerate(parts):
        shutil.copy(base / "telemetry.jsonl", path / "telemetry.jsonl")
        (path / "logs" / "edit-cpu-0.log").write_text(f"shard {number}")
    merge(parts, tmp_path / "m")
    assert (tmp_path / "m/shards/1-of-2/logs/edit-cpu-0.log").read_text() == "shard 1"
    info = RunReader(tmp_path / "m").info
    assert info["shards"] == {"0/2": ["shards/0-of-2"], "1/2": ["shards/1-of-2"]}
    records = list(read_all_telemetry(tmp_path / "m", info))
    devices = {one["device"] for record in records if record["type"] == "start" for one in record["devices"]}
    assert devices == {"0/2 CPU 0", "0/2 CPU 1", "1/2 CPU 0", "1/2 CPU 1"}
    assert {one["start"] for one in records} == {1, 2}
    with (parts[0] / "telemetry.jsonl").open("ab") as file:
        file.write(b"{}\n")
    merge(parts, tmp_path / "m")
    assert sorted(one.name for one in (tmp_path / "m/shards").iterdir()) == ["0-of-2", "1-of-2"]
    twin = Path(shutil.copytree(parts[0], tmp_path / "twin", symlinks=True))
    (twin / "telemetry.jsonl").write_text("{}\n")
    for one in (twin, parts[0], twin):
        merge([one], tmp_path / "m")
    assert RunReader(tmp_path / "m").info["shards"]["0/2"] == ["shards/0-of-2", "shards/0-of-2-2"]
    for path, folder in ((parts[0], "0-of-2"), (twin, "0-of-2-2")):
        copied = tmp_path / "m" / "shards" / folder / "telemetry.jsonl"
        assert copied.read_bytes() == (path / "telemetry.jsonl").read_bytes()


def test_an_interrupted_merge_is_no_run_and_goes_on(base, tmp_path, monkeypatch):
    parts = shards_of(base, 2, tmp_path / "x")
    real = RunStore.write_lines
    for stop in ("edits.jsonl", "verdicts.jsonl"):

        def interrupted(store, name, lines, stop=stop):
            if name == stop:
                raise KeyboardInterrupt
            real(store, name, lines)

        monkeypatch.setattr(RunStore, "write_lines", interrupted)
        with pytest.raises(KeyboardInterrupt):
            merge(parts, tmp_path / "m")
        assert not (tmp_path / "m" / "run.json").exists()
        assert lock_holder(tmp_path / "m") is None
    monkeypatch.undo()
    merge(parts, tmp_path / "m")
    assert canonical(tmp_path / "m") == canonical(base)


def test_what_the_run_did_itself_stays_when_shards_come(base, tmp_path):
    """Merged in part, gone on with in one place, then merged again: nothing is lost and nothing conflicts."""
    parts = shards_of(base, 3, tmp_path / "x")
    merge(parts[:1], tmp_path / "m", partial=True)
    changed_info(
        tmp_path / "m", starts=[*RunReader(tmp_path / "m").info["starts"], {"at": "2999", "hosts": {}}]
    )
    merge(parts, tmp_path / "m")
    assert canonical(tmp_path / "m") == canonical(base)
    assert {"at": "2999", "hosts": {}} in RunReader(tmp_path / "m").info["starts"]


def test_shards_that_each_have_a_part_of_the_outcomes_are_one_run_together(base, tmp_path):
    """The same shard twice, of which neither is finished; shards in two places, and one that the run has already."""
    parts = shards_of(base, 2, tmp_path / "x")
    keys = set(keys_of(parts[0]))
    first = set(sorted(keys)[::2])
    twins = [
        without(parts[0], some, copy=tmp_path / name / "0-of-2")
        for name, some in (("a", first), ("b", keys - first))
    ]
    assert f"not finished: shard 0/2 ({twins[0]}) lacks" in refused([twins[0], parts[1]], tmp_path / "m")
    assert merge([*twins, parts[1]], tmp_path / "m").missing == []
    assert canonical(tmp_path / "m") == canonical(base)
    merge(twins, tmp_path / "n", partial=True)
    done = merge(parts[1:], tmp_path / "n")  # what came before is there, wherever its shard is now
    assert (done.shards, done.of, done.missing) == (1, 2, [])
    assert canonical(tmp_path / "n") == canonical(base)


def test_a_shard_that_has_no_sample_need_not_be_there(base, tmp_path):
    parts = shards_of(base, 40, tmp_path / "x")
    some = [path for path in parts if RunReader(path).wanted]
    assert len(some) < 40
    assert merge(some, tmp_path / "m").missing == []
    assert canonical(tmp_path / "m") == canonical(base)


def only_edited(shard: Path) -> None:
    (shard / "verdicts.jsonl").write_bytes(b"")
    unknown = (
        "protocol",
        "judge",
        "judging",
        "headlines",
        "repeat_fraction",
        "identity__judge",
        "identity__rubric",
    )
    changed_info(shard, **dict.fromkeys(unknown))


def test_a_shard_that_was_only_edited_lacks_its_verdicts(base, tmp_path):
    parts = shards_of(base, 2, tmp_path / "x")
    count = len(RunReader(parts[1]).verdicts)
    only_edited(parts[1])
    assert f"not finished: shard 1/2 ({parts[1]}) lacks {count} verdicts;" in refused(parts, tmp_path / "m")
    only_edited(parts[0])
    done = merge(parts, tmp_path / "m")
    assert (done.missing, done.verdicts) == ([], 0)
    assert merge(shards_of(base, 2, tmp_path / "judged"), tmp_path / "m").missing == []
    assert canonical(tmp_path / "m") == canonical(base)


def test_a_second_verdict_that_is_wanted_may_be_missing(base, tmp_path):
    parts = shards_of(base, 2, tmp_path / "x")
    second = {key for path in parts for key, one in RunReader(path).verdicts.items() if one["again"]}
    assert second
    without(parts[0], second, copy=tmp_path / "0")
    without(parts[1], second, copy=tmp_path / "1")
    some = [tmp_path / "0", tmp_path / "1"]
    line = refused(some, tmp_path / "m")
    assert sum(int(one) for one in re.findall(r"lacks (\d+) verdicts", line)) == len(second)
    for path in some:
        changed_info(path, repeat_fraction=None)
    assert merge(some, tmp_path / "m").missing == []


def test_the_run_is_held_before_it_is_read(base, tmp_path, monkeypatch):
    """What a start does while the shards are opened is not lost."""
    from edit_eval.driver import gather

    parts = shards_of(base, 2, tmp_path / "x")
    run = tmp_path / "m"
    keys = set(keys_of(parts[1]))
    merge(parts, run)
    whole = {name: (run / name).read_bytes() for name in ("edits.jsonl", "verdicts.jsonl")}
    for name, data in whole.items():
        lines = data.splitlines(keepends=True)
        (run / name).write_bytes(b"".join(one for one in lines if orjson.loads(one)["key"] not in keys))

    class Later(RunStore):
        def __init__(self, path, *, lock=True):
            for name, data in whole.items():  # the last moment at which another start may have held it
                (run / name).write_bytes(data)
            super().__init__(path, lock=lock)

    monkeypatch.setattr(gather, "RunStore", Later)
    merge(parts[:1], run, partial=True)
    assert canonical(run) == canonical(base)
    monkeypatch.undo()
    with RunStore(run), pytest.raises(RunError, match="is in use by"):
        merge(parts, run)


def test_a_run_whose_own_record_is_damaged_is_not_written_over(base, tmp_path):
    parts = shards_of(base, 2, tmp_path / "x")
    merge(parts, tmp_path / "m")
    (tmp_path / "m" / "run.json").write_text("{")
    before = (tmp_path / "m" / "edits.jsonl").read_bytes()
    with pytest.raises(RunError, match="cannot be read"):
        merge(parts[:1], tmp_path / "m", partial=True)
    assert (tmp_path / "m" / "run.json").read_text() == "{"
    assert (tmp_path / "m" / "edits.jsonl").read_bytes() == before


def test_without_locks_a_merge_goes_by_what_the_config_says(base, tmp_path, monkeypatch):
    from edit_eval.driver import store

    parts = shards_of(base, 2, tmp_path / "x")

    def no_flock(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(store.fcntl, "flock", no_flock)
    assert "has no flock" in refused(parts, tmp_path / "m")
    changed_info(parts[1], config__lock=False)
    assert "has no flock" in merge(parts, tmp_path / "m").notes[0]


def test_a_shard_is_only_added_to(base, tmp_path):
    """However it began, and whoever began it: what it has done since stays, and what the run has since comes in."""
    run = tmp_path / "m"
    edits = sorted(RunReader(base).edits)
    without(base, {*edits[::2], *RunReader(base).verdicts}, copy=run)
    shard = Shard(0, 2)
    path = shard.folder(run)
    begin_shard(path, shard)
    own = next(one for one in RunReader(path).wanted if one.key not in RunReader(path).edits)
    failure = {"key": own.key, "status": "failed", "kind": "crash", "reason": "here"}
    with RunStore(path) as store:
        store.edits.append({**failure, "at": AT, "sample": own.sample.id})
    changed_info(path, starts=[{"at": AT, "hosts": {}}])
    begin_shard(path, shard)
    assert RunReader(path).edits[own.key]["reason"] == "here"
    (path / "run.json").rename(tmp_path / "kept")  # as another start may have found it, a moment ago
    begin_shard(path, shard)
    assert RunReader(path).edits[own.key]["reason"] == "here"
    (tmp_path / "kept").rename(path / "run.json")
    for name in ("edits.jsonl", "verdicts.jsonl"):
        (run / name).write_bytes((base / name).read_bytes())
    begin_shard(path, shard)
    assert RunReader(path).info["starts"] == [{"at": AT, "hosts": {}}]
    made = RunReader(base).edits[own.key]["status"] == "edited"
    assert (RunReader(path).edits[own.key]["status"] == "edited") == made
    [alone] = shards_of(base, 1, tmp_path / "alone")
    expected = {line for line in canonical(alone) if orjson.loads(line)["sample"] in samples_of(path)}
    assert made
    assert set(canonical(path)) == expected
    size = (path / "edits.jsonl").stat().st_size
    begin_shard(path, shard)
    assert (path / "edits.jsonl").stat().st_size == size


def samples_of(run: Path) -> set[str]:
    return {one.sample.id for one in RunReader(run).wanted}


@pytest.mark.parametrize("stages", [("judge",), ("edit", "judge")])
def test_a_dry_run_of_a_shard_foresees_what_it_takes_over(base, tmp_path, stages):
    """Nothing is written, and once the shard has begun the same is foreseen."""
    edits, verdicts = (sorted(one)[::3] for one in (RunReader(base).edits, RunReader(base).verdicts))
    run = without(base, {*edits, *verdicts}, copy=tmp_path / "m")
    tree = config_tree(tmp_path, base.parent / "data" / "samples.jsonl", repeats=2, output=str(run))
    shard = Shard(0, 2)
    checked = in_shard(check_config(tree), shard)
    before = forecast(checked, stages=stages, repeat_fraction=0.3)
    assert not (run / "shards").exists()
    begin_shard(shard.folder(run), shard)
    after = forecast(checked, stages=stages, repeat_fraction=0.3)
    assert before.is_new
    assert (after.edit, after.judge, after.judge_calls) == (before.edit, before.judge, before.judge_calls)
    assert (after.samples, after.failed) == (before.samples, before.failed)
    assert before.judge
    assert 0 < before.judge.left < before.judge.total
    if before.edit:
        assert 0 < before.edit.left < before.edit.total


def test_a_shard_that_is_in_use_is_not_touched(base, tmp_path):
    run = Path(shutil.copytree(base, tmp_path / "m", symlinks=True))
    path = Shard(0, 2).folder(run)
    with RunStore(path), pytest.raises(RunError, match="is in use by"):
        begin_shard(path, Shard(0, 2))
    assert begin_shard(path, Shard(0, 2)) == [f"{path / 'run.json'} is missing: it is written anew"]
    assert begin_shard(path, Shard(0, 2)) == []
    (path / "run.json").write_text("{")
    [line] = begin_shard(path, Shard(0, 2))
    assert "kept as run.json.damaged and written anew" in line


def test_a_shard_is_not_divided(base, tmp_path):
    part = shards_of(base, 2, tmp_path)[0]
    path = Shard(1, 3).folder(part)
    with pytest.raises(RunError, match="is a shard itself"):
        begin_shard(path, Shard(1, 3))
    assert not path.exists()


def test_shards_of_two_divisions_in_one_run_are_told_apart(base, tmp_path):
    shards_of(base, 2, tmp_path)
    shards_of(base, 3, tmp_path)
    line = refused([tmp_path / "shards"], tmp_path / "m")
    assert "merge shards of one division, as in 'edit-eval merge" in line
    assert line.endswith(("-of-2'", "-of-3'"))
    merge((tmp_path / "shards").glob("*-of-2"), tmp_path / "m")
    merge((tmp_path / "shards").glob("*-of-3"), tmp_path / "m")
    assert canonical(tmp_path / "m") == canonical(base)


def test_a_start_says_that_the_run_is_divided_otherwise_too(base, tmp_path):
    run = Path(shutil.copytree(base, tmp_path / "m", symlinks=True))
    first, second = Shard(0, 2), Shard(1, 3)
    assert begin_shard(first.folder(run), first) == []
    [line] = begin_shard(second.folder(run), second)
    assert line == (
        f"{run}/shards has shards of another division, whose work counts here once it is in the run: "
        f"'edit-eval merge {run}/shards/*-of-2 --partial'"
    )
    merge([first.folder(run)], run, partial=True)
    assert begin_shard(second.folder(run), second) == []
    shutil.rmtree(run / "shards" / "1-of-3")
    (run / "run.json").unlink()
    assert begin_shard(second.folder(run), second) == [line]  # also where there is no run yet


def test_damage_is_one_line(base, tmp_path):
    parts = shards_of(base, 2, tmp_path / "x")
    for data in (
        b"{",
        b'{"sample": "s1"}',
        b"[]",
        b'{"sample": "s1", "repeat": "x", "key": "k", "sha256": "s"}',
    ):
        (parts[0] / "against-0.jsonl").write_bytes(data)
        assert "against-0.jsonl cannot be read (line 1" in refused(parts, tmp_path / "m")
    (parts[0] / "against-0.jsonl").unlink()
    changed_info(parts[0], config__shard="9/2")
    assert "run.json cannot be read (damaged: config.shard: there is no such shard" in refused(
        parts, tmp_path / "m"
    )


def test_what_was_compared_with_another_run_is_finished_where_that_has_an_edit(base, tmp_path):
    samples = base.parent / "data" / "samples.jsonl"
    judge = {**compared(tmp_path), "against": str(base)}
    job = prepare(check_config(config_tree(tmp_path, samples, judge=judge)))
    write_outcomes(job, twice=0.0)
    own = tmp_path / "run"
    parts = shards_of(own, 2, tmp_path / "x")
    [name] = [one.name for one in own.glob("against-*")]
    for path in parts:  # each knows of its own samples only
        mine = samples_of(path)
        lines = (path / name).read_bytes().splitlines(keepends=True)
        (path / name).write_bytes(b"".join(one for one in lines if orjson.loads(one)["sample"] in mine))
    assert merge(parts, tmp_path / "m").missing == []
    assert (tmp_path / "m" / name).read_bytes() == (own / name).read_bytes()
    assert canonical(tmp_path / "m") == canonical(own)
    verdict = next(iter(RunReader(parts[0]).verdicts))
    half = without(parts[0], {verdict}, copy=tmp_path / "half")
    assert "shard 0/2" in refused([half, parts[1]], tmp_path / "n")
    for path in parts:
        (path / name).unlink()
    assert f"none of the shards has {name}" in refused(parts, tmp_path / "n")


def test_many_shards_need_few_open_files(base, tmp_path):
    count = 60
    parts = shards_of(base, count, tmp_path / "x")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    there = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + 20, limits[1]))
    try:
        assert merge(parts, tmp_path / "m").missing == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert canonical(tmp_path / "m") == canonical(base)


def test_shards_say_in_one_object_what_the_run_is_about(base, tmp_path):
    parts = open_parts(shards_of(base, 3, tmp_path))
    assert len({id(one.whole) for one in parts}) == 1


def test_how_a_shard_is_written_anew(tmp_path):
    from edit_eval.driver.runinfo import rebuild_with

    shard = tmp_path / "m" / "shards" / "0-of-2"
    assert rebuild_with(shard, config_is_there=True) == f"'edit-eval run {shard}'"
    assert (
        rebuild_with(shard, config_is_there=False)
        == f"'edit-eval run CONFIG --output {tmp_path / 'm'} --shard 0/2'"
    )
    assert (
        rebuild_with(Path("shards/0-of-2"), config_is_there=False)
        == "'edit-eval run CONFIG --output . --shard 0/2'"
    )
    carried = tmp_path / "carried"
    carried.mkdir()
    assert rebuild_with(carried, config_is_there=False) == f"'edit-eval run CONFIG --output {carried}'"
    (carried / "whole.jsonl").touch()
    assert (
        rebuild_with(carried, config_is_there=False)
        == f"'edit-eval run CONFIG --set shard=I/N --output {carried}'"
    )


def test_starts_of_a_shard_that_came_from_two_places_are_all_told_of(base, tmp_path):
    parts = shards_of(base, 2, tmp_path / "x")
    twin = Path(shutil.copytree(parts[0], tmp_path / "twin", symlinks=True))
    changed_info(parts[0], starts=[{"at": "2026-02-01", "hosts": {}}])
    changed_info(twin, starts=[{"at": "2026-02-02", "hosts": {}}])
    for one in (parts[0], twin, parts[0], parts[1]):
        merge([one], tmp_path / "m", partial=True)
    info = RunReader(tmp_path / "m").info
    assert [one["at"] for one in info["starts"]] == ["2026-02-01", "2026-02-02"]
    merge(shards_of(base, 2, tmp_path / "m"), tmp_path / "m")
    assert RunReader(tmp_path / "m").info["shards"]["0/2"] == ["shards/0-of-2"]
    merge([twin], tmp_path / "m")
    assert RunReader(tmp_path / "m").info["shards"]["0/2"] == ["shards/0-of-2", "shards/0-of-2-2"]
