"""Planted keys: in the environment, in a stage's `env`, in addresses; looked for in all that is written, printed or started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from harness import PYTHONPATH, cli, config_tree, make_benchmark

OURS = {
    "HF_TOKEN": "hf_PLANTED1abcdefgh",
    "OPENAI_API_KEY": "sk-PLANTED2/+=&'\"{}",
    "DB_PASSWORD": "PLANTED3 with spaces",
    "HTTPS_PROXY": "http://user:PLANTED4pass@proxy.example:8080",
    "AWS_SECRET_ACCESS_KEY": "PLANTED5键",
}
STAGE = {
    "editor": {
        "JUDGE_TOKEN": "PLANTED6-of-the-editor",
        "BASE_URL": "https://me:PLANTED7word@host.example/v1",
    },
    "judge": {"MY_SECRET": "PLANTED8-of-the-judge", "SERVICE_AUTH": "Basic PLANTED9=="},
}
INSTRUCTIONS = ["ok", "raise", "judge-raises", "unscored", "crash", "ok"]


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    table = make_benchmark(folder / "data", INSTRUCTIONS)
    tree = config_tree(folder, table, editor__type="leaky:LeakyEditor", judge__type="leaky:LeakyJudge")
    for kind, env in STAGE.items():
        tree[kind]["env"] = env
    tree |= {"output": "run", "min_coverage": 0}
    (folder / "c.yaml").write_text(json.dumps(tree))
    return folder


class CommandLines(threading.Thread):
    """Looks at the command lines of all processes, all the time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen = 0
        self.leaks: set[bytes] = set()
        self.ended = False

    def run(self) -> None:
        while not self.ended:
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    try:
                        line = (entry / "cmdline").read_bytes()
                    except OSError:
                        continue
                    self.seen += 1
                    if b"PLANTED" in line:
                        self.leaks.add(line)
            time.sleep(0.01)


def found_in(folder: Path) -> list[str]:
    """Return the files below `folder` that hold a planted secret, but for the user's own config."""
    holders = []
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "c.yaml" and b"PLANTED" in path.read_bytes():
            holders.append(str(path.relative_to(folder)))
        if "PLANTED" in str(path):
            holders.append(str(path))
    return holders


def test_no_command_tells_a_secret(here):
    watch = CommandLines()
    watch.start()
    said = []
    for arguments, codes in (
        (["doctor", "c.yaml"], (0,)),
        (["doctor", "c.yaml", "--deep"], (0, 2)),
        (["run", "c.yaml", "--dry-run"], (0,)),
        (["run", "c.yaml", "--display", "plain"], (0,)),
        (["run", "c.yaml", "--display", "json", "--output", "again"], (0,)),
        (["run", "c.yaml", "--output", "failed", "--set", "editor.params.fail=load"], (1, 2)),
        (
            ["run", "run", "--retry-failed", "--display", "json"],
            (2,),
        ),  # the run does not hold the stage's secrets
        (["report", "run"], (0,)),
        (["report", "run", "--format", "json"], (0,)),
        (["report", "run", "--format", "html"], (0,)),
        (["report", "failed"], (0,)),
        (["export", "run", "--canonical"], (0,)),
        (["ls", "runs", "--runs", "."], (0,)),
        (["ls"], (0,)),
    ):
        done = cli(*arguments, cwd=here, env=OURS)
        assert done.returncode in codes, (arguments, done.stdout, done.stderr)
        said.append((arguments, done.stdout + done.stderr))
    watch.ended = True
    watch.join()
    assert watch.seen > 100
    assert watch.leaks == set()
    assert [arguments for arguments, text in said if "PLANTED" in text] == []
    assert found_in(here) == []
    assert "***" in (here / "run" / "logs" / "edit-cpu-0.log").read_text()
    assert "HF_TOKEN=***" in (here / "run" / "verdicts.jsonl").read_text()
    edits = [json.loads(line) for line in (here / "run" / "edits.jsonl").read_text().splitlines()]
    assert any("401 for" in edit.get("reason", "") for edit in edits)


def test_a_run_is_repeated_with_secrets_from_the_environment_only(here):
    assert (here / "run" / "run.json").is_file()
    config = json.loads((here / "run" / "run.json").read_text())["config"]
    assert config["editor"]["env"] == {"JUDGE_TOKEN": "***", "BASE_URL": "***"}
    assert config["judge"]["env"] == {"MY_SECRET": "***", "SERVICE_AUTH": "***"}
    done = cli("run", "run", cwd=here, env=OURS)
    assert done.returncode == 2
    assert "editor.env.BASE_URL: a run directory does not keep it; set the variable BASE_URL" in done.stderr
    done = cli("run", "run", cwd=here, env={**OURS, **STAGE["editor"], **STAGE["judge"]})
    assert done.returncode == 0, done.stderr
    assert "Nothing to do" in done.stdout
    assert found_in(here) == []


@pytest.mark.parametrize(
    "setting",
    [
        "editor.model=https://me:PLANTED@hub.example/owner/name",
        "judge.model=ssh://git:PLANTED@hub.example/x",
        "benchmark.path=https://me:PLANTED@data.example/x.csv",
        "benchmark.params.images=s3://key:PLANTED@bucket/x",
        "output=ftp://me:PLANTED@host/x",
        "judge.rubric=https://me:PLANTED@host/r.yaml",
        "editor.python=https://me:PLANTED@host/python",
        "editor.type=http://me:PLANTED@host/x",
        "editor.devices=[http://me:PLANTED@host/x]",
        "judge.params.api_key=PLANTED",
        "judge.params.fail=https://me:PLANTED@host/v1",
        "editor.params={call: {hf_token: PLANTED}}",
        "https://me:PLANTED@host=1",
    ],
)
def test_a_password_in_the_config_is_refused_without_showing_it(here, setting):
    done = cli("run", "c.yaml", "--set", "output=none", "--set", setting, cwd=here, env=OURS)
    assert done.returncode == 2
    assert done.stderr.startswith("edit-eval: ")
    assert done.stderr.count("\n") == 1
    assert "PLANTED" not in done.stderr + done.stdout
    doctor = cli("doctor", "c.yaml", "--set", setting, cwd=here, env=OURS)
    assert doctor.returncode == 2
    assert "PLANTED" not in doctor.stderr + doctor.stdout
    assert not (here / "none").exists()


def test_a_plugin_that_raises_a_secret_in_the_driver(here, tmp_path):
    (tmp_path / "telling.py").write_text(
        "import os\nfrom edit_eval.editors import Editor\nclass Mine(Editor):\n"
        "    def edit(self, request, step): pass\n"
        "    @classmethod\n    def resolve(cls, params, model): raise ValueError(f'{dict(os.environ)}')\n"
    )
    env = {**OURS, "PYTHONPATH": os.pathsep.join([str(tmp_path), PYTHONPATH])}
    done = cli("run", "c.yaml", "--set", "editor.type=telling:Mine", cwd=here, env=env)
    assert done.returncode == 2
    assert "resolve() failed" in done.stderr
    assert "PLANTED" not in done.stderr


def test_a_fault_of_ours_with_a_secret_in_it(tmp_path):
    code = (
        "import os, sys\nfrom edit_eval.cli import main, commands\n"
        "def run(arguments): raise RuntimeError(os.environ['HF_TOKEN'])\n"
        "commands.COMMANDS = {'run': run}\nsys.exit(main(['run', 'c.yaml']))\n"
    )
    env = {**os.environ, **OURS}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 1
    assert "RuntimeError: ***" in done.stderr
    assert "PLANTED" not in done.stderr
