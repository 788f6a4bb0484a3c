"""Promises of docs/security.md that belong to no single module: modes of files, sockets, temporary names, hub and page."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import PYTHONPATH, config_tree, make_benchmark, ours

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module", params=[0o022, 0o077], ids=["umask 022", "umask 077"])
def watched(request, tmp_path_factory):
    """Return what a run of about two seconds left, and what was seen of it while it ran."""
    folder = tmp_path_factory.mktemp("watched")
    scratch = folder / "tmp"
    scratch.mkdir()
    table = make_benchmark(folder / "data", ["sleep:0.5"] * 4, [{"judge": "sleep:0.3"}] * 4)
    (folder / "c.yaml").write_text(json.dumps(config_tree(folder, table)))
    env = {
        **os.environ,
        "PYTHONPATH": PYTHONPATH,
        "TMPDIR": str(scratch),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "edit_eval", "run", "c.yaml", "--display", "none"],
        cwd=folder,
        env=env,
        umask=request.param,
    )
    modes: dict[str, int] = {}
    listening: set[str] = set()
    while process.poll() is None:
        modes |= modes_below(scratch)
        listening |= sockets_that_listen(ours(str(scratch)))
        time.sleep(0.05)
    assert process.returncode == 0
    return folder, request.param, modes, listening


def modes_below(folder: Path) -> dict[str, int]:
    """Return the modes of everything below a folder, by name from there; what vanishes meanwhile is left out."""

    def unless_gone(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    found = {}
    for place, folders, files in os.walk(folder, onerror=unless_gone):
        for name in (*folders, *files):
            path = Path(place, name)
            try:
                found[str(path.relative_to(folder))] = stat.S_IMODE(path.lstat().st_mode)
            except FileNotFoundError:
                continue
    return found


def sockets_that_listen(pids: list[int]) -> set[str]:
    """Return the sockets of processes that accept connections from others: TCP, UDP, and named Unix sockets."""
    inodes = set()
    for name, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == state:
                inodes.add(parts[9])
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        parts = line.split()
        if len(parts) > 7:  # it has a name
            inodes.add(parts[6])
    found = set()
    for pid in pids:
        try:
            for entry in Path(f"/proc/{pid}/fd").iterdir():
                match = re.fullmatch(r"socket:\[(\d+)\]", str(entry.readlink()))
                if match and match[1] in inodes:
                    found.add(f"{pid} {match[1]}")
        except OSError:
            continue
    return found


def test_a_folder_that_vanishes_while_it_is_looked_at_disturbs_nothing(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    (tmp_path / "kept").mkdir(0o700)
    (tmp_path / "kept" / "file").touch(0o600)
    list_entries = os.scandir

    def vanishing(path):
        if Path(path).name == "gone":
            Path(path).rmdir()
        return list_entries(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    found = modes_below(tmp_path)
    found.pop("gone")
    assert found == {"kept": 0o700, "kept/file": 0o600}


def test_scratch_folders_are_private_and_go_away(watched):
    folder, _, modes, _ = watched
    top = {name: mode for name, mode in modes.items() if "/" not in name}
    assert top
    assert set(top.values()) == {0o700}
    assert all(re.fullmatch(r"edit-eval-[a-z0-9_]{8}", name) for name in top)  # nobody can guess them
    assert list((folder / "tmp").iterdir()) == []


def test_nothing_listens(watched):
    assert watched[3] == set()


def test_a_run_directory_follows_the_umask(watched):
    folder, umask, _, _ = watched
    seen = {"dir": set(), "file": set()}
    for path in (folder / "run").rglob("*"):
        if not path.is_symlink():
            seen["dir" if path.is_dir() else "file"].add(stat.S_IMODE(path.stat().st_mode))
    assert seen == {"dir": {0o777 & ~umask}, "file": {0o666 & ~umask}}


def test_hosts_do_not_ask_the_hub():
    from edit_eval.driver.devices import Device
    from edit_eval.driver.interpreters import Interpreter
    from edit_eval.driver.stage import StageSpec

    spec = StageSpec("edit", [Device("cpu", (0,))], Interpreter(sys.executable), {}, {}, {})
    assert spec.host_spec(Device("cpu", (0,)), Path("x"), 1)["env"]["HF_HUB_OFFLINE"] == "1"


def test_the_page_allows_our_own_script_and_no_stranger():
    from edit_eval.views.templating import script, template

    templates = ROOT / "src/edit_eval/views/templates"
    head = template("head.html").render()
    [policy] = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', head)
    rules = dict(rule.strip().split(" ", 1) for rule in html.unescape(policy).split(";"))
    digest = base64.b64encode(hashlib.sha256(script().text.encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "script-src": f"'sha256-{digest}'",
        "img-src": "'self' file: data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert "<title>" not in head
    assert "<style>" not in head
    pages = [path for path in templates.glob("*.html") if "<!doctype" in path.read_text(encoding="utf-8")]
    assert pages == [templates / "head.html"]
    for path in templates.glob("*.html"):
        text = path.read_text(encoding="utf-8").replace("<script>{{ script().text }}</script>", "")
        assert not re.search(
            r"<script|<iframe|<object|<embed|<form|\son[a-z]+\s*=|javascript:|\|\s*safe|autoescape false",
            text,
        ), path


def test_our_script_makes_no_markup_no_code_and_no_request():
    """What it is given are texts and elements of the page; it knows no way to make anything else of them."""
    from edit_eval.views.templating import script

    text = script().text
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|setHTML|DOMParser|createContextualFragment|srcdoc"
        r"|\beval\b|\bFunction\b|\bimport\b|setTimeout\(\s*[\"'`]|setAttribute|javascript:"
        r"|\bfetch\b|XMLHttpRequest|WebSocket|EventSource|sendBeacon|\bWorker\b|localStorage|cookie|postMessage"
        r"|window\.open|location\.(?:href|assign|replace)",
        text,
    )
    assert "</script" not in text.lower()
    assert "<!--" not in text


def test_every_promise_names_a_test_that_is_there():
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 10
    for file, test in named:
        text = (ROOT / file).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in text, (file, test)
