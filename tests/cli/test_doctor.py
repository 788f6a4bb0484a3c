"""`edit-eval doctor` and `--dry-run` as a person runs them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from harness import cli, make_benchmark

from edit_eval.driver.devices import visible_gpus

ROOT = Path(__file__).parents[2]
CONFIG = """\
benchmark: {type: folder, path: data/samples.jsonl}
editor: {type: scripted, devices: [cpu:0, cpu:1]}
judge: {type: reference, devices: [cpu:0]}
output: run
"""
no_gpu = pytest.mark.skipif(bool(visible_gpus()), reason="for machines without a GPU")


@pytest.fixture
def here(tmp_path) -> Path:
    make_benchmark(tmp_path / "data", ["make it red", "make it blue", "remove it"])
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


def everything(here: Path) -> list[Path]:
    return sorted(here.rglob("*"))


def mended(text: str) -> None:
    """Check that every bad line is followed by its mend, and all fits into 80 columns."""
    blocks: list[list[str]] = []
    for line in text.split("\n\n", maxsplit=1)[0].splitlines():
        assert len(line) <= 80, line
        if line[:4].strip():
            blocks.append([])
        blocks[-1].append(line)
    for block in blocks:
        assert not block[0].startswith("bad") or any(line.strip().startswith("mend: ") for line in block), (
            block
        )


@no_gpu
def test_the_full_config_without_gpus_lists_what_is_missing_at_once(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "full.yaml").write_text((ROOT / "config_full_multi_gpu.yaml").read_text())
    before = everything(tmp_path)
    began = time.monotonic()
    done = cli("doctor", "full.yaml", cwd=tmp_path, env={"HF_HUB_CACHE": str(tmp_path / "hub")})
    seconds = time.monotonic() - began
    assert (done.returncode, done.stderr) == (2, "")
    assert seconds < 3
    assert everything(tmp_path) == before
    mended(done.stdout)
    starts = [line.split()[:2] for line in done.stdout.splitlines()]
    for what in ("editor.devices", "editor.model", "judge.devices", "judge.model"):
        assert ["bad", what] in starts
    assert "edit-eval fetch CONFIG" in done.stdout
    assert "\x1b" not in done.stdout


@no_gpu
def test_the_machine_alone(here):
    done = cli("doctor", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok   CPU" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("All is well")


def test_deep_on_a_scripted_config_passes_and_leaves_nothing(tmp_path):
    (tmp_path / "c.yaml").write_text(
        CONFIG.replace("{type: folder, path: data/samples.jsonl}", "{type: scenes}")
    )
    done = cli("doctor", "c.yaml", "--deep", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "ok   deep edit" in done.stdout
    assert "ok   deep verdict      scored" in done.stdout
    assert [path.name for path in everything(tmp_path) if path.suffix != ".tsv"] in (
        ["c.yaml"],
        ["c.yaml", "cache", "edit-eval"],
    )


def test_faults_are_mended_one_by_one(here):
    (here / "c.yaml").write_text(CONFIG + "sead: 1\n")
    done = cli("doctor", "c.yaml", "--set", "judge.python=none", "--devices", "cuda:77", cwd=here)
    assert done.returncode == 2
    mended(done.stdout)
    assert "mend: write 'seed'" in done.stdout
    assert "no interpreter at none" in done.stdout
    assert "cuda:77 asked for" in done.stdout


def test_a_run_directory_can_be_examined(here):
    assert cli("run", "c.yaml", "--display", "none", cwd=here).returncode == 3  # no targets, so unscored
    done = cli("doctor", "run", cwd=here)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "goes on; 3 outcomes of edits are there" in " ".join(done.stdout.split())


@pytest.mark.parametrize("arguments", [["--deep"], ["--set", "seed=1"], ["--devices", "all"]])
def test_options_need_a_config(here, arguments):
    done = cli("doctor", *arguments, cwd=here)
    assert done.returncode == 2
    assert "these options need a config" in done.stderr


@pytest.mark.parametrize("command", ["run", "edit"])
def test_a_dry_run_leaves_no_files(here, command):
    before = everything(here)
    done = cli(command, "c.yaml", "--dry-run", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Edits     3 left of 3" in done.stdout
    assert ("Verdicts" in done.stdout) == (command == "run")
    assert everything(here) == before


def test_a_dry_run_equals_the_run(here):
    def foreseen() -> dict:
        done = cli("run", "c.yaml", "--dry-run", "--display", "json", cwd=here)
        return json.loads(done.stdout)

    first = foreseen()
    assert cli("edit", "c.yaml", "--display", "none", cwd=here).returncode == 0
    assert len((here / "run" / "edits.jsonl").read_text().splitlines()) == first["edit"]["left"] == 3
    before = everything(here)
    assert "3 left of 3" in cli("score", "c.yaml", "--dry-run", cwd=here).stdout
    second = foreseen()
    assert (second["edit"]["left"], second["judge"]["left"]) == (0, 3)
    assert everything(here) == before
    cli("score", "c.yaml", "--display", "none", cwd=here)
    assert len((here / "run" / "verdicts.jsonl").read_text().splitlines()) == 3
    third = foreseen()
    assert (third["edit"]["left"], third["judge"]["left"], third["seconds"]) == (0, 0, 0.0)


def test_a_dry_run_of_a_folder_of_edits_and_of_the_demo(here):
    done = cli("score", "c.yaml", "--edits", "data", "--output", "scored", "--dry-run", cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    assert "precomputed" in done.stdout
    demo = cli("demo", "--dry-run", cwd=here)
    assert demo.stdout.count("Edits     64 left of 64") == 2
    assert not (here / "runs").exists()
    assert not (here / "scored").exists()


def test_what_a_run_refuses_a_dry_run_refuses(here):
    done = cli("run", "c.yaml", "--dry-run", "--set", "editor.python=none", cwd=here)
    assert done.returncode == 2
    assert "no interpreter at none" in done.stderr
