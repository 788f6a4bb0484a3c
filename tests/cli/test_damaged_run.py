"""Run directories that were damaged: every command works on them or says one line, and `run` makes them whole again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edit_eval.cli import main

CONFIG = {
    "benchmark": {"type": "scenes", "params": {"n": 4, "size": 48}},
    "editor": {"type": "scripted", "devices": ["cpu:0"], "params": {"error_rate": 0.4}},
    "judge": {"type": "reference", "devices": ["cpu:0"]},
    "output": "run",
}
JSONL = ("samples.jsonl", "edits.jsonl", "verdicts.jsonl", "telemetry.jsonl")
FILES = ("run.json", *JSONL)
FOLDERS = ("images", "thumbs", "by-id", "logs", "report", "inputs")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a config and a finished run."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        Path("c.yaml").write_text(yaml.safe_dump(CONFIG))
        assert main(["run", "c.yaml", "--display", "none"]) == 0
    return folder


@pytest.fixture
def place(whole, tmp_path, monkeypatch):
    """A copy of that folder, and the working directory."""
    folder = tmp_path / "place"
    shutil.copytree(whole, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    return folder


class Asks:
    """Gives commands in this process and checks that each works or says one line."""

    def __init__(self, capfd) -> None:
        self._capfd = capfd

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._capfd.readouterr()
        code = main(list(arguments))
        out, said = self._capfd.readouterr()
        assert code in (0, 2, 3), (arguments, code, said)
        if code == 2:
            lines = [line for line in said.splitlines() if line]
            assert arguments[0] == "doctor" or len(lines) == 1, (arguments, said)
            assert all(line.startswith("edit-eval: ") for line in lines), said
            assert len("".join(lines)) < 500
        return code, out, said

    def looking(self) -> list[tuple[int, str, str]]:
        """Give every command that only looks."""
        return [
            self("report", "run"),
            self("report", "run", "--format", "json"),
            self("export", "run", "--canonical"),
            self("export", "run", "--format", "csv"),
            self("compare", "run", "run"),
            self("ls", "runs", "--runs", "."),
            self("doctor", "c.yaml"),
            self("doctor", "run"),
            self("run", "c.yaml", "--dry-run"),
            self("run", "run", "--dry-run"),
            self("score", "c.yaml", "--dry-run"),
        ]


@pytest.fixture
def asks(capfd):
    return Asks(capfd)


def rewrite(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def replaced_by(make: Callable[[Path], None]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        make(path)

    return damage


def newer(data: bytes) -> bytes:
    return data.replace(b'"v":1', b'"v":2', 1).replace(b'"format": 1', b'"format": 2', 1)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "deleted": lambda path: path.unlink(),
    "empty": rewrite(lambda _data: b""),
    "halved": rewrite(lambda data: data[: len(data) // 2]),
    "cut at a line": rewrite(lambda data: data[: data.rfind(b"\n", 0, -1) + 1]),
    "nothing but NUL": rewrite(lambda data: bytes(len(data))),
    "a block of NUL": rewrite(lambda data: data[:100] + bytes(200) + data[300:]),
    "NUL at its end": rewrite(lambda data: data + bytes(4096)),
    "binary garbage within": rewrite(lambda data: data[:150] + bytes(range(256)) + data[150:]),
    "null": rewrite(lambda _data: b"null\n"),
    "a list": rewrite(lambda _data: b"[[]]\n"),
    "a number": rewrite(lambda _data: b"7\n"),
    "an empty object": rewrite(lambda _data: b"{}\n"),
    "twice": rewrite(lambda data: data * 2),
    "CRLF": rewrite(lambda data: data.replace(b"\n", b"\r\n")),
    "with a BOM": rewrite(lambda data: b"\xef\xbb\xbf" + data),
    "deep": rewrite(lambda data: data + b'{"\\ud800":' * 9000 + b"\n"),
    "of a newer version": rewrite(newer),
    "a folder": replaced_by(Path.mkdir),
    "a full folder": replaced_by(lambda path: (path / "deep").mkdir(parents=True)),
    "a dangling link": replaced_by(lambda path: path.symlink_to("/nonexistent/x")),
    "a link to itself": replaced_by(lambda path: path.symlink_to(path.name)),
}


REFUSED = ("a folder", "a full folder", "a dangling link", "a link to itself")
SHORT = ("deleted", "cut at a line", "nothing but NUL", "CRLF", "of a newer version", "a full folder")
HARMLESS = ("NUL at its end", "twice", "CRLF", "deep")
"""Damages that cost no line of a ledger."""


def contents(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage", [pytest.param(one, marks=[] if one in SHORT else [pytest.mark.long]) for one in DAMAGES]
)
def test_a_damaged_file(place, asks, name, damage):
    before = asks("export", "run", "--canonical")[1]
    DAMAGES[damage](place / "run" / name)
    asks.looking()
    damaged = contents(place / "run")
    code, out, said = asks("run", "c.yaml", "--display", "plain")
    if damage == "of a newer version" and name in ("run.json", "edits.jsonl", "verdicts.jsonl"):
        assert code == 2
        assert "newer edit-eval" in said
        assert contents(place / "run") == damaged
    elif damage in REFUSED and code == 2:  # what lies there is somebody's, and stays
        assert f"run/{name}" in said
        assert "folder" in said or "file" in said or "output" in said
    else:
        assert code == 0
        if damage in HARMLESS or name not in ("edits.jsonl", "verdicts.jsonl"):
            assert "Nothing to do" in out
        assert asks("export", "run", "--canonical")[1] == before
        assert {code for code, _, _ in asks.looking()} == {0}
        assert asks("run", "run", "--display", "plain")[1].startswith("Nothing to do")


@pytest.mark.parametrize("how", [shutil.rmtree, replaced_by(Path.touch)])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_gone_or_none(place, asks, name, how):
    before = asks("export", "run", "--canonical")[1]
    how(place / "run" / name)
    asks.looking()
    code, _, said = asks("run", "c.yaml", "--display", "plain")
    if code == 2:
        assert "run directory" in said
        (place / "run" / name).unlink()
        assert asks("run", "c.yaml", "--display", "plain")[0] == 0
    assert asks("export", "run", "--canonical")[1] == before
    assert asks("report", "run")[0] == 0


LEAVES = st.sampled_from([None, True, -1, 10**30, 1.5, "", "x", "\ud800", [], [None], {}, {"": {}}])


def changed(value, path, leaf):
    """Return `value` with what lies at `path` (numbers, wherever they lead) replaced or left out."""
    if not path or not isinstance(value, (dict, list)) or not value:
        return leaf
    names = sorted(value) if isinstance(value, dict) else range(len(value))
    name = names[path[0] % len(names)]
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and leaf == "":
        del copy[name]
    else:
        copy[name] = changed(value[name], path[1:], leaf)
    return copy


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FILES), st.integers(0), st.lists(st.integers(0, 50), min_size=1, max_size=6), LEAVES)
def test_a_value_of_another_kind_is_no_traceback(whole, monkeypatch, capfd, name, line, path, leaf):
    monkeypatch.chdir(whole)
    file = whole / "run" / name
    data = file.read_bytes()
    asks = Asks(capfd)
    try:
        if name == "run.json":
            file.write_text(json.dumps(changed(json.loads(data), path, leaf)))
        else:
            lines = data.splitlines()
            index = line % len(lines)
            lines[index] = json.dumps(changed(json.loads(lines[index]), path, leaf)).encode()
            file.write_bytes(b"".join(one + b"\n" for one in lines))
        asks("report", "run", "--format", "json")
        asks("export", "run", "--canonical")
        asks("export", "run", "--format", "json")
        asks("compare", "run", "run", "--format", "json")
        asks("ls", "runs", "--runs", ".")
        asks("run", "run", "--dry-run")
        asks("score", "c.yaml", "--dry-run")
    finally:
        file.write_bytes(data)
