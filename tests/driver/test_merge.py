"""Shards, however they fared, are the run without shards; what is not of one run is not put together."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import orjson
import pytest
from harness import Ran, config_tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edit_eval.core.errors import RunError
from edit_eval.driver import taken
from edit_eval.driver.divide import divide
from edit_eval.driver.gather import merge
from edit_eval.driver.shards import Shard
from edit_eval.driver.store import RunReader, image_path, lock_holder
from edit_eval.driver.summary import read_rows, summarize
from edit_eval.views.export import canonical_lines

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
    Ran(config_tree(folder, data / "samples.jsonl", repeats=2), repeat_fraction=0.3)
    return folder / "run"


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
    """Return a copy of a run whose ledgers lack these keys."""
    shutil.copytree(run, copy, symlinks=True, copy_function=os.link)
    for name in ("edits.jsonl", "verdicts.jsonl"):
        lines = (copy / name).read_bytes().splitlines(keepends=True)
        (copy / name).unlink()
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
    from edit_eval.core.identity import file_sha256

    (twin / "edits.jsonl").write_text(text.replace(record["image"]["sha256"], file_sha256(image)))
    line = refused([*parts, twin], tmp_path / "m", partial=True)
    assert "have different edits of sample" in line
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

    def copied_badly(source, target):
        shutil.copyfile(source, target)
        os.utime(target, ns=(0, 0))

    monkeypatch.setattr(taken.shutil, "copy2", lambda source, target: Path(target).write_bytes(b"\0" * 9))
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
    merge(parts, tmp_path / "m")
    assert sorted(one.name for one in (tmp_path / "m/shards").iterdir()) == ["0-of-2", "1-of-2"]


def test_an_interrupted_merge_is_no_run_and_goes_on(base, tmp_path, monkeypatch):
    from edit_eval.driver.store import RunStore

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
