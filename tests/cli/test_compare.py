"""`edit-eval compare` and `edit-eval export --format` as a person runs them."""

from __future__ import annotations

import csv
import io
import json
import re
import sys

import pytest
from harness import cli
from written import Item, judging, write_run

from edit_eval.cli import main

CONFIG = """\
benchmark: {type: scenes, params: {n: 12, size: 64}}
editor: {type: scripted, devices: [cpu:0], params: {seconds: 0, steps: 1}}
judge: {type: reference, devices: [cpu:0]}
"""
HOSTILE = "\x1b[31m=1+1|\\{x}\u202e\r\n红"


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run a command in this process: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.excepthook", lambda *_: None)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_a_careful_and_a_sloppy_editor(tmp_path, command):
    (tmp_path / "c.yaml").write_text(CONFIG)
    for name, rate in (("careful", 0), ("sloppy", 0.9)):
        more = ["--output", f"runs/{name}", "--set", f"editor.params.error_rate={rate}", "--display", "none"]
        done = cli("run", "c.yaml", *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    code, out, err = command("compare", "runs/careful", "runs/sloppy")
    assert (code, err) == (0, "")
    assert "careful is better than sloppy by " in out
    assert "editor.params.error_rate  0" in out
    assert "Largest drops of sloppy, of " in out
    assert out.replace("\n", "").isprintable()
    rows = list(csv.DictReader(io.StringIO(command("export", "runs/sloppy", "--format", "csv")[1])))
    assert len(rows) == 12
    assert {row["status"] for row in rows} == {"scored"}


def two(path):
    base = {f"s{number}": float(number % 5 + 3) for number in range(24)}
    write_run(path / "a", base)
    write_run(path / "b", {name: value + (2 if int(name[1:]) % 3 else 0) for name, value in base.items()})


def test_formats(tmp_path, command):
    two(tmp_path)
    code, text, _ = command("compare", "a", "b")
    assert code == 0
    assert "b is better than a by 1.333 (95 % interval " in text
    data = json.loads(command("compare", "a", "b", "--format", "json")[1])
    assert data["pairs"][0]["overall"]["difference"] == pytest.approx(4 / 3)
    assert data["pairs"][0]["verdict"] in " ".join(text.split())
    assert [run["label"] for run in data["runs"]] == ["a", "b"]
    _, table, _ = command("compare", "a", "b", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(table, newline="")))
    assert (rows[1]["overall:a"], rows[1]["overall:b"], rows[1]["difference:b"]) == ("4.0", "6.0", "2.0")
    _, marked, _ = command("compare", "a", "b", "--format", "markdown")
    assert "| overall | 4.917 | 6.250 | +1.333 |" in marked
    assert r"overall & 4.917 & 6.250 & $+$1.333 & " in command("compare", "a", "b", "--format", "latex")[1]


def test_the_page_lies_beside_the_runs_or_where_it_was_told(tmp_path, command):
    two(tmp_path)
    assert command("compare", "a", "b")[1].splitlines()[-1] == "Report: compare/a--b/index.html"
    assert command("compare", "a", "b", "--format", "html")[1] == "compare/a--b/index.html\n"
    assert command("compare", "a", "b", "--output", "there")[1].splitlines()[-1] == "Report: there/index.html"
    assert (tmp_path / "there" / "index.html").read_bytes() == (
        tmp_path / "compare" / "a--b" / "index.html"
    ).read_bytes().replace(b"../../", b"../")
    write_run(tmp_path / "x" / "b", {"s0": 4.0})
    [line] = command("compare", "a", "x/b")[1].splitlines()[-1:]
    assert re.fullmatch(r"Report: compare/a--b-[0-9a-f]{8}/index\.html", line)


def test_a_page_that_cannot_be_written_is_said(tmp_path, command):
    two(tmp_path)
    (tmp_path / "compare").write_text("in the way")
    code, out, err = command("compare", "a", "b")
    assert code == 0
    assert "b is better than a" in out
    assert err.count("\n") == 1
    assert command("compare", "a", "b", "--format", "html")[0] == 2


def test_below_its_least_coverage_the_exit_code_is_3(tmp_path, command):
    write_run(tmp_path / "a", {"x": 5, "y": 6})
    write_run(tmp_path / "b", {"x": 5, "y": "refused"})
    assert command("compare", "a", "b")[0] == 3
    write_run(tmp_path / "c", {"x": 5, "y": "refused"}, min_coverage=0.5)
    code, text, _ = command("compare", "a", "c")
    assert code == 0
    assert "c is partial: 1 of 2 scored" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a"], "name a second run"),
        (["a", "gone"], "gone is no run directory"),
        (["a", "other"], "are not judged alike"),
        (["a", "none"], "have no sample in common"),
        (["a", "edited"], "has no scores"),
        (["a", "b", "--format", "csv", "--output", "x"], "--output goes with the page"),
        (["a", "b", "--format", "excel"], "no such choice: 'excel'"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, command, capsys, arguments, said):
    two(tmp_path)
    write_run(tmp_path / "other", {"s0": 5.0}, judging("b"))
    write_run(tmp_path / "none", {"t": 5.0})
    write_run(tmp_path / "edited", {"s0": 5.0}, None)
    try:
        code, out, err = command("compare", *arguments)
    except SystemExit as end:
        code, (out, err) = end.code, capsys.readouterr()
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_hostile_texts_stay_texts(tmp_path, command):
    items = {HOSTILE: Item([5.0], instruction=HOSTILE, tags={HOSTILE: HOSTILE}), "b": 4.0}
    for name in ("a", "b"):
        write_run(tmp_path / name, items)
    for how in ("text", "json", "markdown", "latex"):
        for arguments in (["compare", "a", "b"], ["export", "a"]):
            if arguments[0] == "export" and how == "text":
                continue
            _, out, _ = command(*arguments, "--format", how)
            assert out.replace("\n", "").isprintable(), (arguments, how)
    for arguments in (["compare", "a", "b"], ["export", "a"]):
        _, out, _ = command(*arguments, "--format", "csv")
        [row] = [one for one in csv.DictReader(io.StringIO(out, newline="")) if one["sample"] == HOSTILE]
        assert row["instruction"] == HOSTILE


def test_export_to_a_file(tmp_path, command):
    two(tmp_path)
    code, out, err = command("export", "a", "--format", "csv", "--output", "deep/a.csv")
    assert (code, out, err) == (0, "", "edit-eval: written to deep/a.csv\n")
    assert (tmp_path / "deep" / "a.csv").read_bytes().decode() == command("export", "a", "--format", "csv")[1]
    assert [one.name for one in (tmp_path / "deep").iterdir()] == ["a.csv"]
    rows = json.loads(command("export", "a", "--format", "json")[1])
    assert [row["overall"] for row in rows][:3] == [3, 4, 5]
    assert "| overall | 4.917 | 4." in command("export", "a", "--format", "markdown")[1]


def test_parquet_goes_to_a_file_and_to_no_terminal(tmp_path, command, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    two(tmp_path)
    assert command("export", "a", "--format", "parquet", "--output", "a.parquet")[0] == 0
    assert parquet.read_table(tmp_path / "a.parquet").num_rows == 24
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    code, _, err = command("export", "a", "--format", "parquet")
    assert (code, err.count("\n")) == (2, 1)
    assert "Parquet is no text" in err


def test_without_pyarrow_one_line_says_what_to_install(tmp_path, command, monkeypatch):
    two(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, _, err = command("export", "a", "--format", "parquet", "--output", "a.parquet")
    assert (code, err.count("\n")) == (2, 1)
    assert "pip install 'edit-eval[parquet]'" in err
