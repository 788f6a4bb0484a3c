"""Text that breaks things elsewhere, from the table of samples to every view of the run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from harness import cli, config_tree, make_benchmark

ODD = [
    "\ud800 a lone surrogate",
    "two\nlines\r\n",
    "</script><b>{{ 7 * 7 }} {} %s ${HOME}",
    "x" * 20_000,
    "../../etc/passwd",
    "\u202e rtl \x1b[31m \x07 🙂 红",
    "“quotes\" and 'others' \\ %2e%2e",
]


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """Return a folder with a run over samples whose ids, tags, instructions and file names are odd."""
    folder = tmp_path_factory.mktemp("hostile")
    table = make_benchmark(folder / "data", ["ok"] * len(ODD))
    lines = [json.loads(line) for line in table.read_text().splitlines()]
    for line, odd in zip(lines, ODD, strict=True):
        line |= {
            "id": odd,
            "instruction": f"make {odd}",
            "edit_instruction": "ok",
            "tags": {"category": odd[:50]},
        }
    (folder / "data" / "0000.png").rename(folder / "data" / os.fsdecode(b"\xff\xfe.png"))
    lines[0]["image"] = os.fsdecode(b"\xff\xfe.png")
    table.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "c.yaml").write_text(json.dumps(config_tree(folder, table)))
    done = cli("run", "c.yaml", "--display", "plain", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    return folder


@pytest.mark.parametrize("display", ["plain", "json", "rich", "none"])
def test_it_is_all_done_and_found_again(here, display):
    done = cli("run", "c.yaml", "--display", display, cwd=here)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("display", ["json", "rich"])
def test_displays(here, display):
    done = cli("run", "c.yaml", "--display", display, "--output", f"with-{display}", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x07" not in done.stdout
    if display == "json":
        assert all(json.loads(line) for line in done.stdout.splitlines())


def test_reports_and_exports(here):
    text = cli("report", "run", cwd=here)
    assert (text.returncode, text.stderr) == (0, "")
    assert "\x1b" not in text.stdout
    report = cli("report", "run", "--format", "json", cwd=here)
    assert report.returncode == 0
    assert {row["sample"] for row in json.loads(report.stdout)["rows"]} == set(ODD)
    export = cli("export", "run", "--canonical", cwd=here)
    assert {json.loads(line)["sample"] for line in export.stdout.splitlines()} == set(ODD)
    page = (here / "run" / "report" / "index.html").read_text(encoding="utf-8", errors="strict")
    assert "</script><b>" not in page
    assert "{{ 7 * 7 }}" in page  # as it was written: no template saw it


def test_links_stay_inside(here):
    links = [path for path in (here / "run" / "by-id").rglob("*") if path.is_symlink()]
    assert len(links) == len(ODD)
    assert all(link.resolve().is_relative_to(here / "run" / "images") for link in links)
    assert not (here / "etc").exists()
