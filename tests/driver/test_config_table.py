"""Every key of the config with every wrong value: one clear line that names the key, at once, and never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from harness import make_benchmark

from edit_eval.core.errors import UserError
from edit_eval.driver.config import Config, EditorConfig, JudgeConfig, load_config
from edit_eval.driver.forecast import forecast

STAGES = ("editor", "judge")
KEYS = [
    "benchmark", "benchmark.type", "benchmark.path", "benchmark.params", "benchmark.params.images",
    "benchmark.params.language", "benchmark.params.fields", "benchmark.params.fields.image",
    *STAGES,
    *(f"{stage}.{key}" for stage in STAGES for key in (
        "type", "model", "devices", "device", "device_ids", "python", "conda", "env", "env.A", "params", "deadlines",
        "hub", "deadlines.load_s", "deadlines.first_task_s", "deadlines.task_s", "deadlines.task_factor", "max_attempts",
    )),
    "diffusion_model", "diffusion_model.params.device_ids", "reward_model.params.batch_size",
    "editor.components", "editor.components.transformer", "editor.params.error_rate", "editor.params.steps",
    "editor.lora", "editor.lora.model", "editor.lora.scale", "hub_cache", "scratch", "lock", "links", "proxy",
    "judge.rubric", "judge.against", "judge.batch_size", "judge.params.seconds",
    "seed", "repeats", "limit", "shard", "output", "stages", "busy_gpus", "grace_s", "min_coverage", "no_such_key",
    "judge.budget", "preflight", "backend", "backend.type", "backend.address", "backend.resources", "backend.python",
]  # fmt: skip
VALUES = {
    "null": "null", "true": "true", "no": "no", "negative": "-1", "zero": "0", "huge": "1" + "0" * 40,
    "endless": "9" * 6000, "hex": "0x" + "f" * 40, "float": "1.5", "nan": ".nan", "inf": ".inf", "-inf": "-.inf",
    "exponent": "1e3", "empty": "''", "blank": "'  '", "list": "[]", "nested": "[[[1]]]", "mapping": "{}",
    "deep": "{a: {b: 1}}", "long": "x" * 20_000, "null byte": r'"a\0b"', "date": "2024-01-01",
    "time": "2024-01-01 10:00:00", "octal": "010", "sexagesimal": "12:30", "escape": r'"\e[31m"',
    "surrogate": r'"\ud800"', "newline": r'"a\nb"', "password": "http://u:pw12345@h/x", "number as key": "{1: 2}",
    "bool as key": "{yes: 2}", "binary": "!!binary aGVsbG8=", "object": "!!python/object/apply:os.system [ls]",
    "merge": "{<<: {a: 1}}", "alias": "*x", "twice": "{a: 1, a: 2}", "home": "~no_such_user_here/x", "dots": "'..'",
    "template": "'{}'",
}  # fmt: skip
FINE: dict[str, set[str]] = {
    "benchmark.params.images": {"null"},
    "benchmark.params.language": {
        "null", "exponent", "long", "null byte", "escape", "newline", "home", "dots", "template",
    },
    "benchmark.params": {"mapping"},
    "benchmark.params.fields": {"mapping"},
    "editor.components": {"mapping"},
    "editor.params": {"mapping"},
    "judge.params": {"mapping"},
    "judge": {"null"},
    "backend": {"mapping"},
    "backend.address": {"null"},
    "backend.resources": {"mapping"},
    "backend.python": {"null"},
    "judge.rubric": {"null"},
    "judge.against": {"null"},
    "judge.params.seconds": {"zero", "float"},
    "editor.params.error_rate": {"zero"},
    "editor.params.steps": {"zero"},
    "seed": {"negative", "zero"},
    "limit": {"null"}, "shard": {"null"},
    "grace_s": {"zero", "float"},
    "min_coverage": {"zero"},
    "judge.budget": {"null"},  # a judge without a price
    "preflight": {"no"},
    "output": {"null", "exponent", "escape", "newline", "template"},
}  # fmt: skip
for stage in STAGES:
    FINE |= {f"{stage}.{key}": {"null"} for key in ("model", "devices", "python", "conda")}
    FINE |= {
        f"{stage}.{key}": {"float"}
        for key in ("deadlines.load_s", "deadlines.first_task_s", "deadlines.task_s")
    }
    FINE |= {
        f"{stage}.deadlines": {"mapping"},
        f"{stage}.env": {"mapping"},
        f"{stage}.deadlines.task_factor": {"float"},
    }
    FINE[f"{stage}.device"] = FINE[f"{stage}.device_ids"] = {"null"}
    FINE[f"{stage}.env.A"] = {
        "negative", "zero", "float", "exponent", "empty", "blank", "long", "escape", "newline", "password", "home", "dots",
        "template",
    }  # fmt: skip
FINE["editor.lora"] = {"null"}
FINE["lock"] = FINE["links"] = {"true", "no"}
FINE["hub_cache"] = FINE["scratch"] = {"null", "exponent", "escape", "newline", "dots", "template"}
FINE["diffusion_model.params.device_ids"] = {"null"}
NAMES = {"diffusion_model": "editor", "reward_model": "judge", "device": "devices", "device_ids": "devices"}


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    make_benchmark(folder / "data", ["ok", "ok"])
    return folder


def base() -> dict[str, Any]:
    return {
        "benchmark": {"type": "folder", "path": "data/samples.jsonl"},
        "editor": {"type": "scripted"},
        "judge": {"type": "reference"},
        "output": "run",
    }


def with_value(key: str, value: str) -> str:
    tree: dict[str, Any] = base()
    *path, last = key.split(".")
    if path[:1] == ["diffusion_model"] or key == "diffusion_model":
        tree["diffusion_model"] = tree.pop("editor")
    if path[:1] == ["reward_model"]:
        tree["reward_model"] = tree.pop("judge")
    section = tree
    for name in path:
        section = section.setdefault(name, {})
    section[last] = "@@@"
    return json.dumps(tree).replace('"@@@"', value)


def test_the_table_knows_every_key():
    known = {*Config.model_fields, *(f"editor.{one}" for one in EditorConfig.model_fields)}
    known |= {f"judge.{one}" for one in JudgeConfig.model_fields}
    assert known <= set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_every_wrong_value_is_refused_in_one_line_with_its_key(here, monkeypatch, key):
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    fine = set()
    for name, value in VALUES.items():
        (here / "c.yaml").write_text(with_value(key, value))
        try:
            forecast(load_config("c.yaml"))
        except UserError as error:
            line = " ".join(str(error).split())
            assert line.count("Traceback") == 0
            assert len(line) < 1500, (name, line)
            parts = [
                NAMES.get(part, part)
                for part in key.split(".")
                if part != "params" or "device_ids" not in key
            ]
            named = (key, ".".join(parts), ".".join(parts[:-1]) or key, parts[-1])
            assert any(part in line for part in named) or name == "dots", (name, line)
            assert "pw12345" not in line
        else:
            fine.add(name)
    assert fine == FINE.get(key, set())


@pytest.mark.parametrize("name", VALUES)
def test_the_same_by_override(here, monkeypatch, name):
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "cache"))
    (here / "c.yaml").write_text(json.dumps(base()))
    for key in ("seed", "editor.type", "judge.batch_size", "output"):
        if name in FINE.get(key, set()):
            continue
        with pytest.raises(UserError) as caught:
            forecast(load_config("c.yaml", [f"{key}={VALUES[name]}"]))
        assert key in str(caught.value) or name == "dots"


def test_odd_overrides(here, monkeypatch):
    monkeypatch.chdir(here)
    for override in (
        ".".join("a" * 3000) + "=1",
        "a" * 100_000,
        "=" * 1000,
        "\x1b[31m=1",
        "editor.params." + "x" * 9999 + "=1",
    ):
        with pytest.raises(UserError) as caught:
            load_config("c.yaml", [override])
        assert len(str(caught.value)) < 1000
        assert not [one for one in str(caught.value) if unicodedata.category(one) == "Cc"]


BOMBS = {
    "aliases": "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 20)),
    "brackets": "[" * 100_000,
    "closed brackets": "[" * 100_000 + "]" * 100_000,
    "braces": "{a: " * 100_000,
    "values": "x: [" + "1," * 500_000 + "1]",
    "keys": "".join(f"k{n}: 1\n" for n in range(120_000)),
    "fifty megabytes": "x: " + "y" * 50_000_000,
    "fifty megabytes of lines": "# x\n" * 12_500_000,
    "documents": "---\n" * 200_000,
    "anchors": "&a " * 300_000,
    "escapes": 'x: "' + "\\x41" * 250_000 + '"',
}
MEASURE = """
import json, sys, time
from edit_eval.driver.config import load_config
from edit_eval.driver.rubrics import load_rubric
from edit_eval.core.errors import UserError
def peak():
    # Of this program alone, in kB: ru_maxrss counts what its parent held when it forked.
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
began = time.process_time()
told = []
for read in (load_config, load_rubric):
    try: read(sys.argv[1])
    except UserError as error: told.append(str(error))
print(json.dumps([told, time.process_time() - began, peak()]))
"""


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_cost_little_time_and_memory(tmp_path, name):
    (tmp_path / "c.yaml").write_text(BOMBS[name])
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "c.yaml")],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    told, seconds, kilobytes = json.loads(done.stdout)
    assert len(told) == 2
    assert all(len(line) < 1000 for line in told)
    assert seconds / 2 < 4  # of the processor; 2 s on a machine of its own
    assert kilobytes < 300_000
