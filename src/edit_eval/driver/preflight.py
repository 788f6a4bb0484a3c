"""Preflight: the judge is looked at before the first edit, so that hours of editing do not end at a judge that cannot judge.

A judge at an endpoint is asked one question, in its own interpreter. Of one that runs here, files and interpreter are
looked at as the doctor does; nothing is loaded. What a config says wrongly was found before (`driver.job`).
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edit_eval.core.errors import ConfigError, UserError
from edit_eval.driver.config import Checked
from edit_eval.driver.devices import visible_gpus
from edit_eval.driver.findings import Finding, bad, from_error
from edit_eval.driver.hubcache import open_cache
from edit_eval.driver.interpreters import resolve_interpreter
from edit_eval.driver.place import Place, open_backend, remote_name, stage_devices, stage_spec
from edit_eval.driver.protocol import protocol_in_use
from edit_eval.driver.scratch import find_scratch
from edit_eval.driver.stage import StageSpec
from edit_eval.driver.stagecheck import StageCheck
from edit_eval.worker.keeper import host_environment, make_links
from edit_eval.worker.processes import die_with_parent
from edit_eval.worker.secrets import Redactor, secrets_of

__all__ = ["judge_spec", "preflight", "try_judge"]

_MEND = "correct it"
_LEVELS = {"ok", "warn", "bad"}


def preflight(checked: Checked, spec: StageSpec, say: Callable[[str], None], *, editing: bool) -> None:
    """Look at the judge as the config's `preflight` says.

    Args:
        checked: the config; it has a judge.
        spec: of the judge's hosts.
        say: told of what a run survives.
        editing: whether there is anything to edit; a judge that is loaded at once needs no look before.

    Raises:
        ConfigError: `strict`, and the judge would not do; one line for each fault.
    """
    how, found = checked.config.preflight, checked.judge
    if how == "off" or found is None:
        return
    if found.cls.remote_model:
        findings = try_judge(spec)
    elif editing and found.cls.model_file:
        findings = list(_local(checked))
    else:
        return
    faults = [_line(one) for one in findings if one.level == "bad"]
    for one in findings:
        if one.level == "warn" or (one.level == "bad" and how == "warn"):
            say(_line(one))
    if faults and how == "strict":
        raise ConfigError(
            [f"{fault} (nothing was edited; preflight=warn goes on all the same)" for fault in faults]
        )


def _line(finding: Finding) -> str:
    return f"{finding.what}: {finding.detail}{f'; {finding.mend}' if finding.mend else ''}"


def _local(checked: Checked) -> Iterator[Finding]:
    """Look at a judge that runs on this machine, by its files and its interpreter."""
    config, found = checked.config.judge, checked.judge
    if config is None or found is None:
        return
    cache = open_cache(config.hub, checked.config.hub_cache)
    backend = open_backend(checked.config.backend)
    check = StageCheck(
        "judge", config, found, checked.params["judge"], {}, cache, backend, leave_out=False, deep=False
    )
    yield from check.before_editing()


def judge_spec(checked: Checked) -> StageSpec:
    """Return what the judge's hosts would be told, where no run is prepared. Raises `UserError`."""
    config, found = checked.config.judge, checked.judge
    if config is None or found is None:
        raise ConfigError("judge: is missing")
    scratch = find_scratch(checked.config.scratch)
    with closing(open_backend(checked.config.backend, gpus=visible_gpus())) as backend:
        devices = stage_devices("judge", config, found, backend)
    place = Place(
        devices,
        resolve_interpreter("judge", config.python, config.conda),
        scratch,
        checked.config.proxy,
    )
    model = remote_name(config, found)
    rubrics = protocol_in_use(checked, judging=True).rubrics
    message = {
        "role": "edit_eval.worker.roles:JudgeRole",
        "components": {},
        "options": {"batch_size": config.batch_size},
        "rubrics": {name: rubric.to_json() for name, rubric in rubrics.items()},
        "target": found.target,
        "params": asdict(found.resolve(checked.params["judge"], model)),
        "model": model,
    }
    return stage_spec("judge", config, found, place, message)


def try_judge(spec: StageSpec) -> list[Finding]:
    """Ask the judge of these hosts one question, in a process like theirs; return what was found."""
    device = spec.devices[0]
    with tempfile.TemporaryDirectory(prefix="edit-eval-preflight-") as folder:
        told = spec.host_spec(device, Path(folder) / "log", 1)
        environment = host_environment(told, make_links(Path(folder), told["links"]))
        clean = Redactor(secrets_of(environment)).text
        try:
            done = subprocess.run(
                [told["python"], "-m", "edit_eval.worker.tryout"],
                input=json.dumps(spec.load(device)).encode(),
                env=environment,
                cwd=folder,
                capture_output=True,
                timeout=spec.deadlines.first_task_s,
                check=False,
                preexec_fn=die_with_parent,
            )
        except subprocess.TimeoutExpired:
            return [bad("judge", f"gave no answer within {spec.deadlines.first_task_s:g} s", _MEND)]
        except OSError as error:
            return [bad("judge.python", f"cannot start {told['python']}: {error.strerror or error}", _MEND)]
    said = done.stdout.decode("utf-8", "replace").strip().splitlines()
    try:
        return _read(json.loads(clean(said[-1])))
    except (IndexError, ValueError, KeyError, TypeError):
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        how = clean(lines[-1]) if lines else f"exit code {done.returncode}"
        return [bad("judge", f"cannot be tried out: {how}", "correct what the reason names")]


def _read(answer: dict[str, Any]) -> list[Finding]:
    """Return the findings in an answer of `worker.tryout`. Raises what a wrong shape raises."""
    if refused := answer.get("refused"):
        what = re.match(r"(judge[\w.]*): ", refused)
        return list(from_error(what[1] if what else "judge", UserError(refused), _MEND))
    remarks: Sequence[Sequence[str]] = answer["remarks"]
    return [Finding(level, "judge", detail, mend) for level, detail, mend in remarks if level in _LEVELS]  # type: ignore[arg-type]
