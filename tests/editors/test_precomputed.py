"""Finished edits are found by id or source name, by any usual extension, and never outside their folder."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from cpu_time import within
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edit_eval.core.errors import ConfigError, DataError
from edit_eval.core.identity import identity_params
from edit_eval.core.types import EditRequest, HostContext, Sample
from edit_eval.editors.precomputed import Precomputed, PrecomputedParams
from edit_eval.worker.images import UnreadableImageError

RED = (200, 40, 40)


def put(path: Path, colour: tuple[int, int, int] = RED) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), colour).save(path)
    return str(path)


def sample(sample_id: str, source: str = "/data/source.png", **tags: str) -> Sample:
    return Sample(sample_id, "Go.", (source,), tags=tags)


def found(folder: Path, one: Sample, names: str = "{id}") -> list[str]:
    return list(Precomputed.conditioning(PrecomputedParams(str(folder), names), one))


def edit(folder: Path, one: Sample, repeat: int = 0) -> Image.Image:
    editor = Precomputed(Precomputed.resolve(PrecomputedParams(str(folder)), None), HostContext())
    return editor.edit(EditRequest(one, "Go.", (), 1, repeat), lambda step, steps: None)


@pytest.mark.parametrize("extension", ["png", "PNG", "jpg", "JPEG", "webp", "Bmp"])
def test_every_extension_in_any_case(tmp_path: Path, extension: str) -> None:
    path = put(tmp_path / f"中文 7.{extension}")
    assert found(tmp_path, sample("中文 7")) == [path]
    picture = edit(tmp_path, sample("中文 7"))
    assert (picture.mode, picture.size) == ("RGB", (8, 6))


def test_of_several_extensions_png_comes_first(tmp_path: Path) -> None:
    put(tmp_path / "a.bmp")
    put(tmp_path / "a.jpg")
    assert found(tmp_path, sample("a"))[0].endswith("a.jpg")
    time.sleep(0.02)  # a folder is listed again when its mtime changed
    put(tmp_path / "a.png")
    assert found(tmp_path, sample("a"))[0].endswith("a.png")


def test_the_id_comes_before_the_source_name(tmp_path: Path) -> None:
    by_source = put(tmp_path / "source.png")
    assert found(tmp_path, sample("a")) == [by_source]
    time.sleep(0.02)
    by_id = put(tmp_path / "a.png")
    assert found(tmp_path, sample("a")) == [by_id]


def test_an_id_may_hold_an_extension_or_a_folder(tmp_path: Path) -> None:
    dotted, nested = put(tmp_path / "v1.5.png"), put(tmp_path / "cats" / "7.png")
    assert found(tmp_path, sample("v1.5")) == found(tmp_path, sample("v1.5.png")) == [dotted]
    assert found(tmp_path, sample("cats/7")) == [nested]


def test_odd_characters_may_be_underscores(tmp_path: Path) -> None:
    path = put(tmp_path / "a_b_c_d.png")
    assert found(tmp_path, sample('a/b:c"d')) == [path]


def test_a_pattern_with_tags(tmp_path: Path) -> None:
    path = put(tmp_path / "recolour" / "en" / "7_out.png")
    one = sample("7", category="recolour", language="en")
    assert found(tmp_path, one, "{category}/{language}/{id}_out") == [path]
    assert found(tmp_path, one, "{category}/{nothing}/{id}_out") == []
    put(tmp_path / "recolour" / "source.png")
    assert len(found(tmp_path, one, "{category}/{source}")) == 1


def test_repeats_have_files_of_their_own(tmp_path: Path) -> None:
    first, second = put(tmp_path / "a.png"), put(tmp_path / "a_r1.png", (0, 0, 255))
    assert found(tmp_path, sample("a")) == [first, second]
    assert edit(tmp_path, sample("a"), 1).getpixel((0, 0)) == (0, 0, 255)
    with pytest.raises(FileNotFoundError, match="a_r2"):
        edit(tmp_path, sample("a"), 2)
    numbered = [put(tmp_path / f"b-{number}.png") for number in (0, 1)]
    assert found(tmp_path, sample("b"), "{id}-{repeat}") == numbered


def test_nothing_found_is_missing(tmp_path: Path) -> None:
    assert found(tmp_path, sample("a")) == []
    with pytest.raises(FileNotFoundError, match="names: a, source"):
        edit(tmp_path, sample("a"))


def test_a_broken_file_is_an_error_and_not_missing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(UnreadableImageError, match="is a text file") as caught:
        edit(tmp_path, sample("a"))
    assert not isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("sample_id", [
    "../secret", "..", ".", "", "/", "a/../../secret", "./../secret", "..\\secret", "x\0y", "a//secret", "x" * 5000,
    "x" * 300 + "/y", "inside.png/a", "\udcff",
])  # fmt: skip
def test_odd_ids_find_nothing_outside(tmp_path: Path, sample_id: str) -> None:
    put(tmp_path / "secret.png")
    put(tmp_path / "edits" / "inside.png")
    assert found(tmp_path / "edits", sample(sample_id)) == []
    assert found(tmp_path / "edits", sample(str(tmp_path / "secret"))) == []
    assert found(tmp_path / "edits", sample("7", category=".."), "{category}/{id}") == []


@given(st.text(alphabet=st.sampled_from("./\\ab\0~"), max_size=12))
def test_no_id_leads_outside(tmp_path_factory: pytest.TempPathFactory, sample_id: str) -> None:
    base = tmp_path_factory.getbasetemp() / "outside"
    if not base.exists():
        for name in ("a.png", "b.png", "edits/a.png", "edits/a/b.png"):
            put(base / name)
    for path in found(base / "edits", sample(sample_id)):
        assert Path(path).resolve().is_relative_to(base.resolve() / "edits")


def test_the_bytes_decide_the_key_and_the_folder_does_not(tmp_path: Path) -> None:
    assert identity_params(PrecomputedParams("anywhere", "{source}")) == {}


def test_resolve_makes_the_folder_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "edits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Precomputed.resolve(PrecomputedParams("edits"), None).folder == str((tmp_path / "edits").resolve())


def test_resolve_refuses_what_cannot_work(tmp_path: Path) -> None:
    (tmp_path / "edits").mkdir()
    path = put(tmp_path / "a.png")
    with pytest.raises(ConfigError, match=r"editor\.params\.folder is missing"):
        Precomputed.resolve(PrecomputedParams(), None)
    with pytest.raises(ConfigError, match=r"needs \{id\} or \{source\}"):
        Precomputed.resolve(PrecomputedParams(str(tmp_path), "out"), None)
    with pytest.raises(DataError, match=r"does not exist \(did you mean 'edits'\?\)"):
        Precomputed.resolve(PrecomputedParams(str(tmp_path / "edit")), None)
    with pytest.raises(DataError, match="does not exist"):
        Precomputed.resolve(PrecomputedParams("/nowhere/at/all"), None)
    with pytest.raises(DataError, match="is a file"):
        Precomputed.resolve(PrecomputedParams(path), None)


def test_ten_thousand_files_are_listed_once(tmp_path: Path) -> None:
    for number in range(10_000):
        os.close(os.open(tmp_path / f"{number:05d}.png", os.O_CREAT))
    with within(5):
        assert all(len(found(tmp_path, sample(f"{number:05d}"))) == 1 for number in range(10_000))
