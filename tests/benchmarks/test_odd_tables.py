"""Tables of samples that are odd in every field: one line that names the file, or samples that are as they were written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.benchmarks.folder import Folder, FolderParams
from edit_eval.core.errors import DataError
from edit_eval.core.types import Sample

WRONG: dict[str, Any] = {
    "null": None, "true": True, "negative": -1, "huge": 10**30, "float": 1.5, "empty": "", "blank": " \u3000\t",
    "invisible": "\u200b\x00\x07\ufeff\u202e", "list": [], "nested": [[["x"]]], "object": {}, "deep": {"a": {"b": [1]}},
}  # fmt: skip
FIELDS = (
    "image",
    "images",
    "instruction",
    "edit_instruction",
    "id",
    "tags",
    "category",
    "reference",
    "target",
    "cluster",
)
FINE = {
    "id": {"null", "negative", "huge"},
    "cluster": {"null", "negative", "huge"},
    "tags": {"null", "object"},
    "category": {"null", "true", "negative", "huge", "float", "empty", "blank", "invisible"},
    "edit_instruction": {"null"},
    "target": {"null", "list"},
    "reference": {"null", "list"},
}  # fmt: skip


def load(path: Path, **params: Any):
    return Folder.load(path, FolderParams(**params), path.parent / "workspace")


def attempted(path: Path) -> Sample | str:
    """Return the table's one sample, or what it is refused with."""
    try:
        [sample] = load(path)
    except DataError as error:
        return str(error)
    return sample


def refused(path: Path, **params: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(path, **params)
    text = str(caught.value)
    assert path.name in text
    assert "\n" not in text
    assert len(text) < 1500
    return text


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_every_wrong_value_of_every_field(tmp_path, field, kind):
    fine = set()
    for name, value in WRONG.items():
        row = {"image": "a.png", "instruction": "go", field: value}
        if field == "images":
            del row["image"]
        path = tmp_path / f"t.{kind}"
        if kind == "parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            if name in ("huge", "object"):  # no word of Parquet's
                fine |= {name} & FINE.get(field, set())
                continue
            pq.write_table(pa.Table.from_pylist([row]), path)
        else:
            path.write_text(json.dumps(row if kind == "jsonl" else [row]))
        read = attempted(path)
        if isinstance(read, str):
            assert path.name in read
            assert field.removesuffix("s") in read or "image" in read
        else:
            assert read.instruction == "go"
            fine.add(name)
    assert fine == FINE.get(field, set())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"image": "a.png", "instruction": "go", "id": ' + "9" * 5000 + "}", "this is not JSON: Exceeds the limit"),
        ('{"image": "a.png", "instruction": "go", "tags": {"a": NaN}}', "NaN is no number of JSON"),
        ('{"image": "a.png", "instruction": "go", "tags": {"a": -Infinity}}', "-Infinity is no number of JSON"),
        ('{"image": "a.png", "instruction": "go", "instruction": "no"}', "'instruction' stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("{" + ", ".join(f'"column {n}": 1' for n in range(10_000)) + "}", "and 9980 more"),
        ('{"' + "x" * 20_000 + '": 1}', "'image' is missing"),
        ("\x00", "this is not JSON"),
        ("!!python/object:os.system", "this is not JSON"),
        ('"text"', "expected an object"),
        ("\ufeff\ufeff{}", "this is not JSON"),
    ],
)  # fmt: skip
def test_lines_that_are_none(tmp_path, text, says):
    path = tmp_path / "t.jsonl"
    path.write_text(text + "\n", encoding="utf-8")
    assert says in refused(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv"])
def test_other_encodings(tmp_path, suffix, encoding):
    path = tmp_path / f"t{suffix}"
    text = (
        "image,instruction\na.png,é red\n"
        if suffix in (".csv", ".tsv")
        else '{"image": "a.png", "instruction": "é"}\n'
    )
    path.write_bytes(text.encode(encoding))
    refused(path)


@pytest.mark.parametrize(
    "text",
    [
        "image,instruction\r\na.png,go\r\n",
        "\ufeffimage,instruction\na.png,go\n",
        'image,instruction\n"a.png","go"\n',
    ],
)
def test_csv_as_other_programs_write_it(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    [sample] = load(path)
    assert (sample.images, sample.instruction) == ((str(tmp_path / "a.png"),), "go")


@pytest.mark.parametrize(
    "text",
    [
        'image,instruction\n"a.png,go\n',
        "image,instruction\na.png,go,more\n",
        "image,image\na.png,b.png\n",
        "image,instruction\na.png," + "x" * 200_000 + "\n",
        "image,instruction\na.png,\u200b\n",
        "image;instruction\na.png;go\n",
        "image,instruction,tags\na.png,go,{broken\n",
        "image,instruction,tags\na.png,go,NaN\n",
        "image,instruction,tags\na.png,go,[1]\n",
        "image,instruction,tags\na.png,go," + "[" * 50_000 + "\n",
    ],
)
def test_csv_that_is_none(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8", newline="")
    refused(path)


def test_parquet_that_is_none(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "t.parquet"
    for data in (b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"\x80\x04\x95", b"x" * 100_000):
        path.write_bytes(data)
        refused(path)
    not_utf8 = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff\xfe"]).buffers())
    stamp = pa.array([1], pa.timestamp("ns"))
    for column in (not_utf8, stamp, pa.array([b"go"]), pa.array([1.5]), pa.array([True]), pa.array([["go"]])):
        pq.write_table(pa.table({"image": ["a.png"], "instruction": column}), path)
        refused(path)


@pytest.mark.parametrize(
    "named", ["x.png\0", "../../x.sh", "x." + "y" * 300, "x.p\nng", "x.\x1b[31m", None, ""]
)
def test_embedded_images_get_names_of_our_own(tmp_path, named):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "t.parquet"
    for data in (b"no image", b"\x89PNG..."):
        rows = [{"image": {"bytes": data, "path": named}, "instruction": "go", "id": "x"}]
        pq.write_table(pa.Table.from_pylist(rows), path)
        [sample] = load(path)
        [written] = [Path(one) for one in sample.images]
        assert written.parent == tmp_path / "workspace" / "embedded"
        assert written.read_bytes() == data
        assert written.suffix in (".png", ".image", ".sh")
        assert len(written.name) < 80


@settings(deadline=None, max_examples=60)
@given(
    st.text(st.characters(exclude_categories=())),
    st.text(st.characters(exclude_categories=())),
    st.booleans(),
)
def test_any_text_is_kept_or_refused(tmp_path_factory, instruction, other, as_lines):
    path = tmp_path_factory.mktemp("t") / ("t.jsonl" if as_lines else "t.json")
    row = {"image": "a.png", "instruction": instruction, "tags": {other: other}, "id": f"i{other}"}
    path.write_text(json.dumps(row if as_lines else [row]))
    read = attempted(path)
    if isinstance(read, str):
        assert "'instruction' is blank" in read
    else:
        assert read.instruction == json.loads(json.dumps(instruction))
        assert read.tags == json.loads(json.dumps({other: other}))


def test_a_blank_instruction_names_its_line(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"image": "a.png", "instruction": "go"}\n{"image": "b.png", "instruction": "  "}\n')
    assert "t.jsonl, line 2: 'instruction' is blank; say what is to be done" in refused(path)


@pytest.mark.parametrize("params", [{"images": " "}, {"language": ""}, {"fields": {"image": ""}}])
def test_blank_parameters(tmp_path, params):
    (tmp_path / "t.jsonl").write_text('{"image": "a.png", "instruction": "go"}\n')
    with pytest.raises(DataError, match=r"benchmark\.params\.\S+ is blank"):
        load(tmp_path / "t.jsonl", **params)
