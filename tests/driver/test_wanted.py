"""samples.jsonl: read back as it was, wherever the run lies, or refused with what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.types import Sample
from edit_eval.driver.plan import WantedEdit
from edit_eval.driver.wanted import wanted_from_lines, wanted_lines

ROOT = Path("/data/runs/one")


def wanted(index: int = 0, images: tuple[str, ...] = ("/x/a.png",), target: str | None = None) -> WantedEdit:
    sample = Sample(
        "s", "make it red", images, references=images[1:], target=target, tags={"a": "b"}, cluster="c"
    )
    return WantedEdit(index, sample, 0, 7, f"{index:064x}", ("f" * 64,), {"target": ("e" * 64,)})


def read(lines, root: Path = ROOT) -> list[WantedEdit]:
    return list(wanted_from_lines(lines, root))


texts = st.text(st.characters(), max_size=10)


@given(
    st.lists(
        st.builds(
            lambda index, paths, target, text: wanted(
                index, tuple(f"/{path}" for path in paths), target and f"/{target}"
            ),
            st.integers(0, 9),
            st.lists(texts, min_size=1, max_size=3),
            st.none() | texts,
            texts,
        ),
        max_size=4,
    )
)
def test_what_is_written_is_read_back(everything):
    lines = list(wanted_lines(everything, ROOT))
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    assert read(lines) == everything


def test_images_within_the_run_are_found_where_it_lies_now():
    one = wanted(0, ("/data/runs/one/inputs/a.png", "/data/b.png"), "/data/runs/one/inputs/t.png")
    lines = list(wanted_lines([one], ROOT))
    assert json.loads(lines[0])["sample"]["images"] == ["inputs/a.png", "/data/b.png"]
    [moved] = read(lines, Path("/elsewhere"))
    assert moved.sample.images == ("/elsewhere/inputs/a.png", "/data/b.png")
    assert moved.sample.references == ("/data/b.png",)
    assert moved.sample.target == "/elsewhere/inputs/t.png"
    assert list(wanted_lines([moved], Path("/elsewhere"))) == lines


def test_a_folder_whose_name_begins_alike_is_not_the_run():
    one = wanted(0, ("/data/runs/one-more/inputs/a.png",))
    assert read(wanted_lines([one], ROOT), Path("/elsewhere")) == [one]


@pytest.mark.parametrize("left", [0, 1, 2, 4])
def test_a_file_that_is_cut_off_between_two_lines_passes_for_no_smaller_benchmark(left):
    lines = list(wanted_lines([wanted(index) for index in range(3)], ROOT))
    lines = [*lines, lines[0]][:left]
    if left == 0:
        assert read(lines) == []  # whether there was more, the edits say
        return
    with pytest.raises(ValueError, match=f"^{left} lines of 3$"):
        read(lines)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "line 1 is no JSON"),
        (b"\0\0", "line 1 is no JSON"),
        (b"null", "line 1: all of it"),
        (b"{}", "line 1: index"),
    ],
)
def test_a_line_that_is_none_is_named(line, says):
    with pytest.raises(ValueError, match=f"^{says}$"):
        read([line])


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"source_sha256": []}, "no source image"),
        ({"source_sha256": [1]}, "source_sha256.0"),
        ({"beside_sha256": {"target": "e"}}, "beside_sha256.target"),
        ({"seed": "7"}, "seed"),
        ({"sample": {"id": "s", "instruction": "i", "images": []}}, "no source image"),
        ({"sample": {"id": "s", "instruction": 3, "images": ["/a"]}}, "sample.instruction"),
        ({"sample": {"id": "s", "instruction": "i", "images": ["/a"], "tags": {"a": 1}}}, "sample.tags.a"),
    ],
)
def test_a_value_of_another_kind_is_named(change, where):
    entry = {**json.loads(next(wanted_lines([wanted()], ROOT))), **change}
    with pytest.raises(ValueError, match=f"^line 1: {where}$"):
        read([json.dumps(entry).encode()])
