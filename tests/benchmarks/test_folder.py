"""A folder benchmark reads every format the same, and says precisely what is wrong with a file."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.benchmarks import _tables, folder
from edit_eval.benchmarks.folder import Folder, FolderParams
from edit_eval.core.errors import DataError
from edit_eval.core.types import Sample

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "real" / "step1x_examples"
ROWS = [
    {"image": "cat.png", "instruction": "Make it blue."},
    {
        "image": "dog.png",
        "instruction": "把它变成蓝色。",
        "id": "d",
        "tags": {"category": "recolour", "level": 2},
    },
]
PNG = b"\x89PNG\r\n\x1a\n" + b"not read by the folder"


def load(path: Path, workspace: Path | None = None, **params: object) -> list[Sample]:
    return list(Folder.load(path, FolderParams(**params), workspace or path.parent / "workspace"))


def written(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def jsonl(rows: list[dict[str, object]]) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)


def message(path: Path, **params: object) -> str:
    with pytest.raises(DataError) as caught:
        load(path, **params)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@settings(deadline=None)
@given(st.text(st.sampled_from("ab./ ~é\\"), min_size=1).filter(lambda text: text.strip()))
def test_a_path_is_joined_as_pathlib_joins_it(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), "s.json", [{"image": text, "instruction": "-", "target": text}])
        [sample] = load(path, outside=True)
        assert sample.images == (str(Path(folder) / text),)
        assert sample.target == sample.images[0]


# --- formats ---


def expected(folder: Path) -> list[Sample]:
    return [
        Sample("cat", "Make it blue.", (str(folder / "cat.png"),)),
        Sample(
            "d", "把它变成蓝色。", (str(folder / "dog.png"),), tags={"category": "recolour", "level": "2"}
        ),
    ]


@pytest.mark.parametrize("content", [ROWS, {"samples": ROWS}, {"data": ROWS, "version": 1}])
def test_json(tmp_path: Path, content: object) -> None:
    assert load(written(tmp_path, "s.json", content)) == expected(tmp_path)


def test_jsonl_with_bom_crlf_and_blank_lines(tmp_path: Path) -> None:
    text = "\ufeff" + jsonl(ROWS).replace("\n", "\r\n\r\n  \r\n") + "\r\n"
    assert load(written(tmp_path, "s.jsonl", text.encode())) == expected(tmp_path)


@pytest.mark.parametrize(("name", "comma"), [("s.csv", ","), ("s.tsv", "\t")])
def test_csv(tmp_path: Path, name: str, comma: str) -> None:
    rows = [
        ["image", "instruction", "id", "tag.category", "tags"],
        ["cat.png", "Make it blue.", "", "", ""],
        [],
        ["dog.png", "把它变成蓝色。", "d", "recolour", '"{""level"": 2}"'],
    ]
    text = "\r\n".join(comma.join(row) for row in rows)
    assert load(written(tmp_path, name, text.encode("utf-8-sig"))) == expected(tmp_path)


def test_csv_keeps_commas_line_breaks_and_short_rows(tmp_path: Path) -> None:
    text = 'images,instruction,language,reference\na.png | b.png,"One, two\nthree\u2028four",en,r.png|q.png\nc.png,Go\n'
    first, second = load(written(tmp_path, "s.csv", text))
    assert first.instruction == "One, two\nthree\u2028four"
    assert first.images == (str(tmp_path / "a.png"), str(tmp_path / "b.png"))
    assert first.references == (str(tmp_path / "r.png"), str(tmp_path / "q.png"))
    assert (first.tags, second.tags) == ({"language": "en"}, {})


def test_a_mapping_of_names_to_instructions(tmp_path: Path) -> None:
    samples = load(written(tmp_path, "p.json", {"0001.jpg": "Let her cry.", "0000.png": "加一顶帽子。"}))
    assert [(one.id, one.instruction) for one in samples] == [
        ("0001", "Let her cry."),
        ("0000", "加一顶帽子。"),
    ]


def test_a_single_object_is_one_sample(tmp_path: Path) -> None:
    assert [one.id for one in load(written(tmp_path, "s.json", ROWS[1]))] == ["d"]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real inputs are not beside the project")
@pytest.mark.parametrize("language", ["en", "cn"])
def test_the_real_examples_of_step1x(language: str, tmp_path: Path) -> None:
    samples = load(REAL / f"prompt_{language}.json", tmp_path, language=language)
    assert [one.id for one in samples] == ["0000", "0001", "0002", "0003", "0004"]
    assert all(Path(one.images[0]).is_file() and one.tags == {"language": language} for one in samples)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not REAL.is_dir(), reason="the real inputs are not beside the project")
def test_the_real_folder_has_two_tables(tmp_path: Path) -> None:
    assert "prompt_cn.json, prompt_en.json" in message(REAL)


def test_the_examples_of_this_project(tmp_path: Path) -> None:
    samples = load(ROOT / "examples" / "bench", tmp_path)
    assert len(samples) == 6
    assert all(0 < Path(one.images[0]).stat().st_size <= 40_000 for one in samples)


def test_parquet(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    tags = pa.array([None, [("category", "recolour"), ("level", "2")]], pa.map_(pa.string(), pa.string()))
    columns = {name: [row.get(name) for row in ROWS] for name in ("image", "instruction", "id")}
    pq.write_table(pa.table({**columns, "tags": tags}), tmp_path / "s.parquet")
    assert load(tmp_path / "s.parquet") == expected(tmp_path)


def test_images_embedded_in_parquet_are_written_once(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    jpeg = b"\xff\xd8\xff and so on"
    table = pa.table({
        "image": [{"bytes": PNG, "path": "cat.png"}, {"bytes": jpeg, "path": None}, {"bytes": PNG, "path": "x"}],
        "images2": [[{"bytes": PNG, "path": "a"}]] * 3,
        "instruction": ["a", "b", "c"],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "s.parquet")
    workspace = tmp_path / "run"
    first = load(tmp_path / "s.parquet", workspace)
    assert [one.id for one in first] == ["cat", "row-2", "x"]
    assert Path(first[0].images[0]).read_bytes() == PNG
    assert Path(first[1].images[0]).suffix == ".jpg"
    assert (
        first[0].images
        == first[2].images
        == (str(workspace / f"embedded/{hashlib.sha256(PNG).hexdigest()}.png"),)
    )
    before = {one: one.stat().st_mtime_ns for one in (workspace / "embedded").iterdir()}
    assert load(tmp_path / "s.parquet", workspace) == first
    assert {one: one.stat().st_mtime_ns for one in (workspace / "embedded").iterdir()} == before
    assert len(before) == 2
    listed = load(tmp_path / "s.parquet", workspace, fields={"images": "images2"})
    assert listed[0].images == first[0].images


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'edit-eval[parquet]'" in message(written(tmp_path, "s.parquet", b"PAR1"))


def test_broken_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    assert "not readable as Parquet" in message(written(tmp_path, "s.parquet", b"no parquet at all"))


@pytest.mark.parametrize(("name", "content"), [
    ("s.jsonl", ""), ("s.jsonl", "\n \n"), ("s.json", ""), ("s.json", "[]"), ("s.json", "{}"), ("s.json", {"samples": []}),
    ("s.csv", ""), ("s.csv", "image,instruction\n"),
])  # fmt: skip
def test_an_empty_table_is_no_samples(tmp_path: Path, name: str, content: object) -> None:
    assert load(written(tmp_path, name, content)) == []


# --- fields ---


def test_every_field(tmp_path: Path) -> None:
    row = {
        "id": 7, "images": ["a.png", "/abs/b.png"], "instruction": " As it is. ", "edit_instruction": "rewritten",
        "tags": {"a": True, "b": 1.5, "none": None}, "category": "x", "task": "t", "tag.c": "d", "cluster": 3,
        "references": ["r.png"], "target": "t.png", "note": {"ignored": 1},
    }  # fmt: skip
    assert load(written(tmp_path, "s.json", [row])) == [
        Sample(
            id="7", instruction=" As it is. ", images=(str(tmp_path / "a.png"), "/abs/b.png"),
            edit_instruction="rewritten", tags={"a": "true", "b": "1.5", "category": "x", "task": "t", "c": "d"},
            cluster="3", references=(str(tmp_path / "r.png"),), target=str(tmp_path / "t.png"),
        )
    ]  # fmt: skip


def test_default_ids_are_stems_numbered_past_taken_ones(tmp_path: Path) -> None:
    rows = [{"image": image, "instruction": "go"} for image in ("a.png", "x/a.jpg", "b.png", "a.png")]
    rows.append({"image": "c.png", "instruction": "go", "id": "a-2"})
    ids = [one.id for one in load(written(tmp_path, "s.json", rows))]
    assert ids == ["a", "a-3", "b", "a-4", "a-2"]
    assert [one.id for one in load(tmp_path / "s.json")] == ids


def test_doubled_ids_are_the_drivers_to_report(tmp_path: Path) -> None:
    rows = [{"image": "a.png", "instruction": "go", "id": "same"}] * 2
    assert [one.id for one in load(written(tmp_path, "s.json", rows))] == ["same", "same"]


def test_images_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "table" / "pictures").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    path = written(tmp_path / "table", "s.json", ROWS)
    monkeypatch.chdir(tmp_path)
    assert load(path, images="pictures")[0].images == (str(tmp_path / "table/pictures/cat.png"),)
    assert load(path, images="elsewhere")[0].images == (str(tmp_path / "elsewhere/cat.png"),)
    assert load(path, images=str(tmp_path / "elsewhere"))[0].images == (str(tmp_path / "elsewhere/cat.png"),)
    assert str(tmp_path / "table/nowhere") in message(path, images="nowhere")
    assert load(Path("table/s.json"))[0].images == (str(tmp_path / "table/cat.png"),)


@pytest.mark.parametrize(
    "image", ["../a.png", "x/../../a.png", "../table2/a.png", "..", "./../../../etc/passwd"]
)
@pytest.mark.parametrize("field", ["image", "reference", "target"])
def test_a_relative_path_stays_in_its_folder(tmp_path: Path, image: str, field: str) -> None:
    (tmp_path / "table").mkdir()
    path = written(tmp_path / "table", "s.json", [{**ROWS[0], field: image}])
    says = message(path)
    assert says == (
        f"{path}, entry 1: {field!r} is {image!r}, which leads out of {tmp_path}/table; "
        "if you trust this table, set benchmark.params.outside=true"
    )
    assert load(path, outside=True)[0].instruction == ROWS[0]["instruction"]


def test_paths_that_stay_or_are_absolute_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "table" / "pictures").mkdir(parents=True)
    names = ["a.png", "x/../a.png", "./..a.png", "pictures/../..a/b.png", "/etc/passwd", "..a/b.png"]
    path = written(tmp_path / "table", "s.json", [{**ROWS[0], "image": name} for name in names])
    assert [one.images[0] for one in load(path)] == [
        *(f"{tmp_path}/table/{name}" for name in ("a.png", "x/../a.png", "..a.png", "pictures/../..a/b.png")),
        "/etc/passwd",
        f"{tmp_path}/table/..a/b.png",
    ]
    beside = written(tmp_path / "table", "t.json", [{**ROWS[0], "image": "../a.png"}])
    assert load(beside, images="pictures")[0].images == (f"{tmp_path}/table/pictures/../a.png",)
    assert "leads out of" in message(beside, images=str(tmp_path))


def test_the_table_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    real = written(tmp_path, "real.json", ROWS)
    (tmp_path / "data" / "s.json").symlink_to(real)
    assert load(tmp_path / "data")[0].images == (str(tmp_path / "data/cat.png"),)


def test_language_is_a_default(tmp_path: Path) -> None:
    rows = [{**ROWS[0]}, {**ROWS[0], "language": "zh"}, {**ROWS[0], "tags": {"language": "fr"}}]
    samples = load(written(tmp_path, "s.json", rows), language="en")
    assert [one.tags["language"] for one in samples] == ["en", "zh", "fr"]


def test_renamed_fields(tmp_path: Path) -> None:
    rows = [{"image": "ignored.png", "input": "a.png", "prompt": "go", "kind": "k"}]
    path = written(tmp_path, "s.json", rows)
    (sample,) = load(path, fields={"images": "input", "instruction": "prompt", "tag.kind": "kind"})
    assert (sample.images, sample.instruction, sample.tags) == (
        (str(tmp_path / "a.png"),),
        "go",
        {"kind": "k"},
    )


# --- which file ---


def test_a_folder_with_one_table_or_a_preferred_one(tmp_path: Path) -> None:
    written(tmp_path, "anything.json", ROWS)
    written(tmp_path, ".hidden.json", "{")
    written(tmp_path, "readme.txt", "no table")
    assert len(load(tmp_path)) == 2
    written(tmp_path, "samples.jsonl", jsonl(ROWS[:1]))
    assert len(load(tmp_path)) == 1
    written(tmp_path, "samples.csv", "image,instruction\n")
    assert "several tables (anything.json, samples.csv, samples.jsonl)" in message(tmp_path)


def test_no_table(tmp_path: Path) -> None:
    assert "expected samples.jsonl" in message(tmp_path)
    assert "expected one of .jsonl" in message(written(tmp_path, "s.txt", "x"))
    written(tmp_path, "samples.json", ROWS)
    assert "did you mean 'samples.json'?" in message(tmp_path / "sample.json")
    with pytest.raises(DataError, match=r"benchmark\.path is missing"):
        Folder.load(None, FolderParams(), tmp_path)


# --- what is wrong ---


@pytest.mark.parametrize(("name", "content", "says"), [
    ("s.jsonl", '{"image": "a.png", "instruction": "x"}\n{"image": }', "line 2, column 11: this is not JSON"),
    ("s.jsonl", "[1]", "line 1: expected an object in {}, found a list"),
    ("s.jsonl", '\n{"image": "a", "image": "b"}', "line 2: 'image' stands twice"),
    ("s.json", "{\n1", "line 2, column 1: this is not JSON"),
    ("s.json", '{"a.png": "x", "a.png": "y"}', "'a.png' stands twice"),
    ("s.json", '[{"image": "a.png", "instruction": "x"}, "b.png"]', "entry 2: expected an object in {}, found text"),
    ("s.json", '{"a.png": 1}', "expected a list of samples, an object with that list under 'samples' or 'data'"),
    ("s.json", "3", "found a number"),
    ("s.json", "[" * 100_000, "nested too deeply"),
    ("s.jsonl", b'\n{"image": "\xff"}', "line 2: this is not UTF-8"),
    ("s.csv", "image,instruction\na.png,one, two\n", "line 2: 3 cells under 2 columns"),
    ("s.csv", "image,image\n", "column 'image' stands twice"),
    ("s.csv", 'image,instruction\na.png,"open', "line 2: this is not CSV"),
])  # fmt: skip
def test_unreadable_tables(tmp_path: Path, name: str, content: object, says: str) -> None:
    path = written(tmp_path, name, content)
    assert message(path).startswith(str(path))
    assert says in message(path)


@pytest.mark.parametrize(("change", "says"), [
    ({"instruction": 5}, "entry 1: 'instruction' is 5; expected text in quotes"),
    ({"instruction": ["x"]}, "'instruction' is a list"),
    ({"instruction": " "}, "'instruction' is blank"),
    ({"instruction": None}, "'instruction' is missing; found 'image'"),
    ({"image": None}, "'image' is missing; found 'instruction'"),
    ({"image": 3}, "'image' is 3; expected a path"),
    ({"image": ""}, "'image' is blank; expected a path"),
    ({"image": []}, "'image' is an empty list"),
    ({"image": ["a.png", {}]}, "'image' is an object; expected a path"),
    ({"images": ["b.png"]}, "both 'image' and 'images' are given"),
    ({"id": True}, "'id' is True"),
    ({"id": 1.5}, "'id' is 1.5"),
    ({"id": ""}, "'id' is blank"),
    ({"cluster": []}, "'cluster' is a list"),
    ({"edit_instruction": 0}, "'edit_instruction' is 0"),
    ({"tags": "recolour"}, "'tags' is not a JSON object"),
    ({"tags": ["recolour"]}, "'tags' is a list; expected an object"),
    ({"tags": {"a": ["b"]}}, "tag 'a' is a list"),
    ({"category": {}}, "tag 'category' is an object"),
    ({"target": ["a.png", "b.png"]}, "'target' names several images"),
    ({"reference": 1}, "'reference' is 1"),
])  # fmt: skip
def test_wrong_fields(tmp_path: Path, change: dict[str, object], says: str) -> None:
    path = written(tmp_path, "s.json", [{**ROWS[0], **change}])
    assert message(path).startswith(f"{path}, entry 1: ")
    assert says in message(path)


def test_a_misspelt_field_is_found(tmp_path: Path) -> None:
    path = written(tmp_path, "s.json", [{"image": "a.png", "instructon": "x"}])
    assert (
        "'instruction' is missing, and 'instructon' is no known field (did you mean 'instruction'?)"
        in message(path)
    )


def test_faults_are_counted_by_kind(tmp_path: Path) -> None:
    rows = [ROWS[0], *[{**ROWS[0], "instruction": 1}] * 5, {**ROWS[0], "id": []}]
    says = message(written(tmp_path, "s.jsonl", jsonl(rows)))
    assert says.endswith(
        "line 2: 'instruction' is 1; expected text in quotes; and 4 more like it; and 1 of other kinds"
    )


def test_wrong_renames(tmp_path: Path) -> None:
    path = written(tmp_path, "s.json", [{"picture": "a.png", "prompt": "go"}])
    assert "no field 'imagee' (did you mean 'image'?)" in message(path, fields={"imagee": "picture"})
    says = message(path, fields={"image": "picture", "instruction": "promt"})
    assert (
        "'instruction' is called 'promt', but no row has it (did you mean 'prompt'?); found: picture, prompt"
        in says
    )


names = st.sampled_from(
    [
        "image",
        "images",
        "instruction",
        "id",
        "tags",
        "category",
        "tag.x",
        "tag.",
        "reference",
        "target",
        "cluster",
        "width",
    ]
)
cells = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(
        ["a.png", "b/c.png", "b/../c.png", "../a.png", "/abs.png", ".a.png", "b//c.png", "~a.png", "b/"]
    )
    | st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.integers() | st.none(), max_size=2)
    | st.lists(st.text(max_size=3), max_size=2)
)
plain = st.fixed_dictionaries(
    {
        "image": st.just("a.png") | cells,
        "instruction": st.just("Go: on") | cells,
        "id": st.text(max_size=3) | cells,
    },
    optional={"tags": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2) | cells},
)


@settings(deadline=None, max_examples=150)
@given(st.lists(plain | st.dictionaries(names, cells, max_size=6), min_size=1, max_size=3), st.booleans())
def test_a_plain_row_is_read_as_any_other(rows, speaks):
    params = {"language": "en"} if speaks else {}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "t.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))

        def read() -> object:
            try:
                return load(path, **params)
            except DataError as error:
                return str(error)

        quick = read()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(folder._Reader, "_is_plain", lambda *_: False)
            patch.setattr(_tables, "_plainly_parsed", lambda _line: None)
            assert quick == read()


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "a", "id": "b"}',
        '{"tags": {"a": "1", "a": "2"}}',
        '{"id": 123456789012345678901234567890}',
        '{"id": 1e400}',
        '{"id": "\\ud800"}',
        '{"id": NaN}',
        '{"id": [{"a": 1, "a": 2}]}',
        '{"id": {"a": {"b": 1, "b": 2}}}',
        '["id"]',
        "{",
    ],
)
def test_a_line_that_needs_a_closer_look_gets_it(line):
    assert _tables._plainly_parsed(line) is None


def test_a_line_as_nearly_all_are_is_read_by_the_faster_reader():
    line = '{"id": "a", "image": "a.png", "instruction": "Go.", "tags": {"a": "1"}, "images": ["b"], "n": 3}'
    assert _tables._plainly_parsed(line) == json.loads(line)
