"""What `edit-eval lint` says about a folder of finished edits."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from tests.plugins.harness import cli

from edit_eval.core.errors import ConfigError
from edit_eval.core.types import Sample
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.lint import FolderOfEdits, lint, summary_line
from edit_eval.editors.precomputed import Precomputed, PrecomputedParams
from edit_eval.editors.scripted import Scripted


def noise(seed: int, size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Return what no filter makes blank."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def smooth() -> Image.Image:
    """Return the source: alike at every size, as photographs are."""
    return Image.linear_gradient("L").resize((60, 40)).convert("RGB")


@pytest.fixture
def folder(tmp_path):
    """Return the folder; the sample of each kind of fault is named after it."""
    (tmp_path / "edits" / "deeper").mkdir(parents=True)
    edits = tmp_path / "edits"
    noise(1).save(edits / "good.png")
    Image.new("RGB", (60, 40), (3, 3, 3)).save(edits / "blank.png")
    smooth().save(edits / "unchanged.png")
    smooth().resize((120, 80)).save(edits / "unchanged-larger.png")
    (edits / "unreadable.png").write_bytes(b"<html>")
    noise(2).save(edits / "doubled.png")
    noise(2).save(edits / "doubled.jpg")
    noise(3, (64, 64)).save(edits / "shape.png")
    noise(4, (120, 80)).save(edits / "size.png")
    noise(1).save(edits / "copy.png")
    noise(5).save(edits / "deeper" / "nobody.png")
    (edits / "notes.txt").write_text("rest")
    (edits / ".hidden").write_text("nothing to say")
    (edits / "edit-eval.json").write_text("{}")
    return edits


IDS = [
    "good",
    "missing",
    "blank",
    "unchanged",
    "unchanged-larger",
    "unreadable",
    "doubled",
    "shape",
    "size",
    "copy",
]


def samples(tmp_path):
    smooth().save(tmp_path / "source.png")
    return [Sample(one, "do it", (str(tmp_path / "source.png"),)) for one in IDS]


def found_in(folder, tmp_path, repeats: int = 1):
    params = PrecomputedParams(folder=str(folder), names="{id}")
    return FolderOfEdits.of(samples(tmp_path), repeats, Precomputed, params)


def test_every_kind_is_found_once(folder, tmp_path):
    found = found_in(folder, tmp_path)
    said = {one.what: (one.level, one.detail) for one in lint(found, FileHashes(tmp_path / "hashes"))}
    assert said.pop("edits") == ("ok", "9 of 10 are there")
    assert said.pop("missing") == ("bad", "1: 'missing'")
    level, detail = said.pop("doubled")
    assert (level, detail.count("doubled.jpg beside ")) == ("bad", 1)
    assert said.pop("same bytes") == ("warn", "1: 'copy' as 'good'")
    level, detail = said.pop("extra")
    assert (level, detail[:2]) == ("warn", "2:")
    assert "nobody.png" in detail
    assert "notes.txt" in detail
    for kind, name in (
        ("unreadable", "unreadable.png"),
        ("blank", "blank.png"),
        ("other shape", "shape.png (64 x 64"),
    ):
        level, detail = said.pop(kind)
        assert level == ("bad" if kind == "unreadable" else "warn")
        assert detail.startswith("1: ")
        assert name in detail
    level, detail = said.pop("unchanged")
    assert (level, detail[:2], detail.count("unchanged-larger.png")) == ("warn", "2:", 1)
    level, detail = said.pop("other size")
    assert (level, detail[:2], detail.count("size.png (120 x 80, source 60 x 40)")) == ("warn", "2:", 1)
    assert said == {}


def test_repeats_have_files_of_their_own(folder, tmp_path):
    noise(8).save(folder / "good_r1.png")
    found = found_in(folder, tmp_path, repeats=2)
    assert "good" not in found.missing
    assert "good (repeat 1)" not in found.missing
    assert "copy (repeat 1)" in found.missing
    assert not any(path.endswith("good_r1.png") for path in found.extra)


def test_the_line_of_a_run_and_its_silence(folder, tmp_path):
    assert (
        summary_line(found_in(folder, tmp_path))
        == "edits made elsewhere: 9 found, 1 missing, 1 doubled, 2 extra"
    )
    good = PrecomputedParams(folder=str(tmp_path / "only"), names="{id}")
    (tmp_path / "only").mkdir()
    noise(1).save(tmp_path / "only" / "good.png")
    assert summary_line(FolderOfEdits.of(samples(tmp_path)[:1], 1, Precomputed, good)) == ""


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "empty").mkdir()
    found = found_in(tmp_path / "empty", tmp_path)
    (finding,) = lint(found, FileHashes(tmp_path / "hashes"))
    assert (finding.level, finding.detail) == ("bad", "none of 10 is there")
    assert FolderOfEdits.of([], 1, Scripted, None) is None


def test_the_command(folder, tmp_path):
    table = [{"id": one.id, "image": one.images[0], "instruction": "do it"} for one in samples(tmp_path)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, table)))
    (tmp_path / "c.yaml").write_text(
        "benchmark: {type: folder, path: t.jsonl}\neditor: {type: scripted}\nlimit: 2\njudge: {type: reference}\n"
    )
    ended = cli("lint", "c.yaml", "--edits", str(folder), cwd=tmp_path)
    assert ended.returncode == 2
    assert "9 of 10 are there" in ended.stdout
    assert ended.stdout.endswith("bad, 6 warnings: the result would be partial; mend them first.\n")
    refused = cli("lint", "c.yaml", cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--edits DIR" in refused.stderr
    ended = cli("score", "c.yaml", "--edits", str(folder), "--display", "plain", cwd=tmp_path)
    assert (
        "edits made elsewhere: 1 found, 1 missing; edit-eval lint says which" in ended.stderr + ended.stdout
    )


def test_only_bad_kinds_are_exit_code_2(folder, tmp_path):
    (tmp_path / "t.jsonl").write_text(
        json.dumps({"id": "blank", "image": "source.png", "instruction": "do it"})
    )
    samples(tmp_path)
    config = (
        "benchmark: {type: folder, path: t.jsonl}\neditor: {type: precomputed, params: {folder: edits}}\n"
    )
    (tmp_path / "c.yaml").write_text(config)
    ended = cli("lint", "c.yaml", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "warn blank" in ended.stdout
    assert "All is well, 2 warnings." in ended.stdout


def test_a_faulty_config_is_one_line(tmp_path):
    ended = cli("lint", "none.yaml", cwd=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    with pytest.raises(ConfigError):
        Precomputed.resolve(PrecomputedParams(), None)
