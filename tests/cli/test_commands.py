"""Each command as a person runs it, in a process of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from harness import cli

CONFIG = """\
benchmark: {type: scenes, params: {n: 8, size: 96}}
editor: {type: scripted, devices: [cpu:0, cpu:1], params: {error_rate: 0.4}}
judge: {type: reference, devices: [cpu:0, cpu:1], batch_size: 2}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG)
    return path


def made(folder: Path, command: str) -> Path:
    """Return the run directory that a command has made of the config."""
    (folder / "c.yaml").write_text(CONFIG)
    done = cli(command, "c.yaml", "--output", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def first_run(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("run"), "run")


@pytest.fixture(scope="module")
def first_edit(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("edit"), "edit")


@pytest.fixture
def run(tmp_path, config, first_run) -> Path:
    """Return a run directory `run` of the test's own, complete: a copy of one that was made once."""
    return Path(shutil.copytree(first_run, tmp_path / "run", symlinks=True))


@pytest.fixture
def edited(tmp_path, config, first_edit) -> Path:
    """Return a run directory `run` of the test's own in which everything is edited and nothing judged: a copy."""
    return Path(shutil.copytree(first_edit, tmp_path / "run", symlinks=True))


def test_demo_compares_20_steps_with_2(tmp_path):
    quick = ("--set", "benchmark.params.n=8", "--output", "runs/d")
    result = cli("demo", *quick, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    scored = [line for line in lines if line.startswith("  [Sample ") and " | Response: " in line]
    assert len(scored) == 2 * 8
    assert sum(line.startswith("[Batch ") for line in lines) == 2 * 2
    assert lines.count("[Reference Scoring] Completed!") == 2
    assert result.stdout.count("[SYNC] Editing images: 100%") == 2
    assert sum(line.startswith("[Unload] 2 devices ended editing in ") for line in lines) == 2
    assert [line for line in lines if line.startswith("Editor tiny with ")] == [
        "Editor tiny with 20 steps",
        "Editor tiny with 2 steps",
    ]
    assert [line for line in lines if line.startswith("20-steps is better than 2-steps by ")]
    reports = [line for line in lines if line.startswith("Report: ")]
    assert reports == [
        f"Report: runs/d/{page}/index.html" for page in ("20-steps/report", "2-steps/report", "compare")
    ]
    assert lines[-1] == reports[-1]
    assert "\x1b" not in result.stdout
    for page in ("20-steps/report", "2-steps/report", "compare"):
        text = (tmp_path / "runs/d" / page / "index.html").read_text()
        assert text.count("<img") >= 16
    again = cli("demo", *quick, cwd=tmp_path)
    assert again.returncode == 0
    assert again.stdout.count("Nothing to do") == 2
    assert lines[-1] == again.stdout.splitlines()[-1]


def test_two_demos_do_not_share_a_directory(tmp_path):
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    done = cli("demo", "--set", "benchmark.params.n=2", "--display", "none", cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "runs" / "demo-2" / "2-steps" / "run.json").is_file()
    assert not list((tmp_path / "runs" / "demo").iterdir())


def test_the_demo_says_what_it_lacks(tmp_path):
    """Where onnxruntime is missing; with an interpreter or an editor of its own it is not asked for here."""

    def demo(*more: str) -> subprocess.CompletedProcess[str]:
        code = "import sys; sys.modules['onnxruntime'] = None; from edit_eval import cli; sys.exit(cli.main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "demo", "--dry-run", *more]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    done = demo()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "edit-eval: the demo's editor needs onnxruntime: pip install 'edit-eval[tiny]', or use make demo\n"
    )
    for more in ("editor.type=scripted", f"editor.python={sys.executable}"):
        assert demo("--set", more).returncode == 0


def test_edit_then_score_is_run(tmp_path, config):
    whole = cli("run", str(config), "--output", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    edited = cli("edit", "--config", str(config), "--output", "parts", cwd=tmp_path)
    assert edited.returncode == 0, edited.stderr
    assert "Edited:    8 of 8" in edited.stdout
    assert "Score:" not in edited.stdout
    scored = cli("score", "parts", cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr
    exports = [cli("export", name, "--canonical", cwd=tmp_path).stdout for name in ("whole", "parts")]
    assert exports[0] == exports[1]
    assert len(exports[0].splitlines()) == 8
    # Editing again finds nothing to do, and hides no score.
    assert "Score:" in cli("edit", str(config), "--output", "parts", cwd=tmp_path).stdout


def test_scoring_needs_neither_the_editor_nor_the_benchmark(tmp_path, config, edited):
    broken = CONFIG.replace("type: scripted,", "type: qwen_image_edit, model: gone,").replace(
        ", params: {error_rate: 0.4}", ""
    )
    config.write_text(broken)
    scored = cli("score", str(config), "--output", "run", cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr


def test_score_a_folder_of_finished_edits(tmp_path, config, edited):
    folder = tmp_path / "finished"
    folder.mkdir()
    for link in (edited / "by-id").glob("*/*.png"):
        shutil.copy(link, folder / link.name)
    (folder / "scene-0002.png").unlink()
    config.write_text("\n".join(line for line in CONFIG.splitlines() if not line.startswith("editor")))
    result = cli("score", str(config), "--edits", str(folder), cwd=tmp_path)
    assert result.returncode == 3, result.stderr
    assert "No edit:   1 (1 missing)" in result.stdout
    assert "(partial)" in result.stdout
    [run] = (tmp_path / "runs").glob("finished-scored-*")
    report = json.loads(cli("report", str(run), "--format", "json", cwd=tmp_path).stdout)
    assert report["scored"] == 7
    assert report["bounds"][0] < report["headline"]["mean"] < report["bounds"][1]


def test_folders_of_one_name_have_runs_of_their_own_and_may_name_their_files(tmp_path, config, edited):
    for parent in ("a", "b"):
        (tmp_path / parent / "out").mkdir(parents=True)
        for link in (edited / "by-id").glob("*/*.png"):
            shutil.copy(link, tmp_path / parent / "out" / f"{link.stem}_edited.png")
        names = ("--set", "editor.params.names='{id}_edited'")
        result = cli("score", str(config), "--edits", f"{parent}/out", *names, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert "8 of 8 scored" in result.stdout
    assert len(list((tmp_path / "runs").glob("out-scored-*"))) == 2


def test_a_changed_edit_in_the_folder_is_judged_anew(tmp_path, config, edited):
    folder = tmp_path / "finished"
    folder.mkdir()
    links = sorted((edited / "by-id").glob("*/*.png"))
    for link in links:
        shutil.copy(link, folder / link.name)
    first = cli("score", str(config), "--edits", str(folder), cwd=tmp_path)
    shutil.copy(links[0], folder / links[1].name)
    second = cli("score", str(config), "--edits", str(folder), cwd=tmp_path)
    assert first.returncode == second.returncode == 0
    assert sum(line.startswith("  [Sample ") for line in second.stdout.splitlines()) == 1


def test_a_run_can_be_repeated_from_its_own_record(tmp_path, config):
    assert cli("run", str(config), "--set", "seed=5", "--output", "one", cwd=tmp_path).returncode == 0
    again = cli("run", "one", "--output", "two", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    exports = [cli("export", name, "--canonical", cwd=tmp_path).stdout for name in ("one", "two")]
    assert exports[0] == exports[1]


def test_a_changed_identity_is_said_and_done_anew(tmp_path, config, run):
    changed = cli(
        "run", str(config), "--output", "run", "--set", "editor.params.error_rate=0.1", cwd=tmp_path
    )
    assert changed.returncode == 0
    assert "editor.params.error_rate: 0.4 -> 0.1" in changed.stdout
    assert sum("Edited scene-" in line for line in changed.stdout.splitlines()) == 8
    back = cli("run", str(config), "--output", "run", cwd=tmp_path)
    assert "Edited scene-" not in back.stdout
    assert "Nothing to do" in back.stdout


def test_simulated_time_is_no_part_of_the_identity(tmp_path, config, run):
    slower = cli("run", str(config), "--output", "run", "--set", "editor.params.seconds=9", cwd=tmp_path)
    assert "Nothing to do" in slower.stdout


def test_an_edit_that_was_altered_is_found_and_made_again(tmp_path, config, run):
    before = cli("export", "run", "--canonical", cwd=tmp_path).stdout
    images = sorted((run / "images").glob("*/*.png"))
    images[0].unlink()
    images[1].write_bytes(images[2].read_bytes())
    again = cli("run", str(config), "--output", "run", cwd=tmp_path)
    assert sum("Edited scene-" in line for line in again.stdout.splitlines()) == 2
    assert cli("export", "run", "--canonical", cwd=tmp_path).stdout == before


def test_every_line_of_the_json_display_is_json(tmp_path, config):
    result = cli("run", str(config), "--output", "run", "--display", "json", cwd=tmp_path)
    events = [json.loads(line)["event"] for line in result.stdout.splitlines()]
    assert {"run_started", "edit_finished", "verdict_given", "unloaded"} <= set(events)


def test_report_and_ls(tmp_path, run):
    (tmp_path / "runs").mkdir()
    run.rename(tmp_path / "runs" / "one")
    expected = {
        "text": "Report: runs/one/report/index.html",
        "json": '"protocol"',
        "html": "runs/one/report/index.html",
    }
    for kind, said in expected.items():
        result = cli("report", "runs/one", "--format", kind, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert said in result.stdout
    assert "runs/one  scenes/v2+reference-v1" in cli("ls", "runs", cwd=tmp_path).stdout
    assert "qwen_image_edit" in cli("ls", cwd=tmp_path).stdout


def test_without_a_judge_a_run_only_edits(tmp_path, config):
    result = cli("run", str(config), "--set", "judge=null", "--output", "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Edited:    8 of 8" in result.stdout


def test_repeats_make_other_seeds_and_count_once(tmp_path, config):
    result = cli("run", str(config), "--set", "repeats=3", "--output", "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "n = 8" in result.stdout
    assert "24 of 24 scored" in result.stdout
    seeds = [json.loads(line)["seed"] for line in (tmp_path / "run/samples.jsonl").read_text().splitlines()]
    assert len(set(seeds)) == 24


def test_what_the_devices_did_and_cost_is_said_at_the_end(tmp_path, config):
    ran = cli("run", str(config), "--output", "runs/one", "--gpu-hour-price", "2.5", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    for title in ("Devices: ", "  Device  busy", "  CPU 1 ", "  An edit ", "  A verdict ", "No GPU was used"):
        assert title in ran.stdout
    assert ran.stdout.splitlines()[-1].startswith("Report: ")
    assert ran.stdout.index("Coverage:") < ran.stdout.index("Devices: ")
    told = json.loads(cli("report", "runs/one", "--format", "json", cwd=tmp_path).stdout)["usage"]
    assert [one["device"] for one in told["devices"]] == ["CPU 0", "CPU 1"]
    assert (told["starts"], told["price"], told["stages"]["edit"]["count"]) == (1, None, 8)
    assert "Devices: " in cli("report", "runs/one", cwd=tmp_path).stdout
    (tmp_path / "runs/one/telemetry.jsonl").unlink()
    without = cli("report", "runs/one", cwd=tmp_path)
    assert without.returncode == 0
    assert "Devices: " not in without.stdout


@pytest.mark.parametrize("price", ["x", "-1", "nan", "inf"])
def test_a_price_is_a_number(tmp_path, price):
    result = cli("report", "runs/one", f"--gpu-hour-price={price}", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("edit-eval: argument --gpu-hour-price: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_reader_that_has_gone_does_not_change_the_exit_code(tmp_path, config):
    folder = tmp_path / "none"
    folder.mkdir()
    text = CONFIG.replace("type: scripted,", "type: precomputed,").replace(
        "{error_rate: 0.4}", f"{{folder: {folder}}}"
    )
    config.write_text(text)
    command = f"{sys.executable} -m edit_eval run {config} --display none --output run | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, check=False, capture_output=True, timeout=60)
    assert done.returncode == 3, done.stderr


def test_nothing_to_do_says_what_could_be_tried_again(tmp_path, config):
    config.write_text(CONFIG.replace("{type: reference,", "{type: reference, params: {}, "))
    folder = tmp_path / "none"
    folder.mkdir()
    assert cli("score", str(config), "--edits", str(folder), "--output", "run", cwd=tmp_path).returncode == 3
    again = cli("score", str(config), "--edits", str(folder), "--output", "run", cwd=tmp_path)
    assert "--retry-failed takes up the 8 failed or unscored again." in again.stdout


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_ls_says_what_is_known_of_each_public_benchmark_on_every_terminal(tmp_path, columns):
    done = cli("ls", "benchmarks", cwd=tmp_path, env={"COLUMNS": str(columns)})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= max(min(columns, 120), 72)
    assert not any(line.endswith(" ") for line in lines)
    begins = next(number for number, line in enumerate(lines) if line.startswith("  gedit "))
    ends = next(number for number, line in enumerate(lines) if line.startswith("  imgedit "))
    said = " ".join(" ".join(lines[begins:ends]).split())
    for text in (
        "606 en, 606 cn; instructions in en, cn; licence MIT",
        "2 questions a sample; 0 to 10, four scores",
        "the mean of 11 group means",
        "data huggingface.co/datasets/stepfun-ai/GEdit-Bench",
        "prompts github.com/stepfun-ai/Step1X-Edit, GEdit-Bench/viescore/vie_prompts.py",
    ):
        assert text in said
    assert "1 question a sample" in " ".join(done.stdout.split())


def test_a_start_with_nothing_to_do_says_the_same_again_and_leaves_its_page(tmp_path, config):
    def run(*more: str) -> list[str]:
        done = cli("run", str(config), "--output", "run", *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    first = run()
    end = first[first.index("Result of run: scenes/v2+reference-v1") :]
    page = tmp_path / "run" / "report" / "index.html"
    text, written = page.read_bytes(), page.stat()
    again = run()
    assert again[0].startswith("Nothing to do")
    assert again[1:] == end
    assert (page.stat().st_ino, page.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    one, two = (json.loads(run("--display", "json")[-1]) for _ in range(2))
    page.unlink()
    assert one == two == json.loads(run("--display", "json")[-1])
    assert page.read_bytes() == text
    ledger = tmp_path / "run" / "verdicts.jsonl"
    last = json.loads(ledger.read_text().splitlines()[-1])
    last["verdict"] |= {"overall": 0.0, "scores": dict.fromkeys(last["verdict"]["scores"], 0.0)}
    with ledger.open("a") as file:
        file.write(json.dumps(last) + "\n")  # the last line of a key wins
    changed = run()
    assert changed[0].startswith("Nothing to do")
    assert "  Minimum:   0.000" in changed
    assert page.read_bytes() != text
