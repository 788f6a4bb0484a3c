"""What a stage's interpreter has: asked of the interpreter itself, in a process of its own that loads no model.

Runs the text of `worker.probe` there. torch is imported only where it is asked for.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edit_eval.core.errors import UserError
from edit_eval.driver.devices import Device
from edit_eval.driver.interpreters import Interpreter
from edit_eval.worker import probe

__all__ = ["Environment", "TorchFacts", "older", "probe_environment"]

_LOOK_S = 60.0
_TORCH_S = 300.0


@dataclass(frozen=True)
class TorchFacts:
    """What torch says once it is imported.

    Attributes:
        sees_cuda: whether CUDA starts.
        error: why torch does not import, or CUDA does not start; empty if all is well.
        conv_s: seconds of a patch embedding as Conv3d; None if it was not measured.
        linear_s: seconds of the equal Linear.
        difference: between the two, as a share of the largest value.
        conditions: of the measurement, for people.
    """

    sees_cuda: bool
    error: str = ""
    conv_s: float | None = None
    linear_s: float | None = None
    difference: float | None = None
    conditions: str = ""


@dataclass(frozen=True)
class Environment:
    """One interpreter's libraries.

    Attributes:
        python: its version.
        packages: name -> version; None where the package is missing, `unknown` where it does not say.
        torch_cuda: the CUDA version (major, minor) that torch was built for; None for CPU builds.
        unknown: pipelines and model types that were asked about and that the libraries do not know.
        torch: None unless it was imported.
    """

    python: str
    packages: Mapping[str, str | None]
    torch_cuda: tuple[int, int] | None = None
    unknown: Sequence[str] = ()
    torch: TorchFacts | None = field(default=None)


def probe_environment(
    interpreter: Interpreter,
    env: Mapping[str, str],
    packages: Sequence[str],
    *,
    device: Device | None = None,
    pipelines: Sequence[str] = (),
    model_types: Sequence[str] = (),
    torch: bool = False,
) -> Environment:
    """Ask an interpreter what it has.

    Args:
        interpreter: of a stage.
        env: variables of that stage's hosts.
        packages: names to look for.
        device: what it shall see; None: the CPU.
        pipelines: classes of diffusers to look for.
        model_types: of transformers to look for.
        torch: import torch, start CUDA, and time a Conv3d.

    Raises:
        UserError: it gives no answer.
    """
    asked = {
        "packages": list(packages),
        "pipelines": list(pipelines),
        "model_types": list(model_types),
        "torch": torch,
    }
    text = Path(probe.__file__).read_text(encoding="utf-8")
    limit_s = _TORCH_S if torch else _LOOK_S
    try:
        done = subprocess.run(
            [interpreter.python, "-c", text, json.dumps(asked)],
            env=_environment(interpreter, env, device or Device("cpu", (0,))),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            check=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{interpreter.python} gave no answer within {limit_s:.0f} s") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        how = lines[-1] if lines else f"exit status {error.returncode}"
        raise UserError(f"{interpreter.python} cannot be looked into: {how}") from error
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"{interpreter.python} cannot be looked into: {error}") from error
    return _read(found)


def _environment(interpreter: Interpreter, env: Mapping[str, str], device: Device) -> dict[str, str]:
    """Return the variables that a host would have."""
    changes = {**interpreter.env, **device.environment(1), **env, "PYTHONSAFEPATH": "1"}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    merged: dict[str, str | None] = {**inherited, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _read(found: Mapping[str, Any]) -> Environment:
    torch = found.get("torch")
    facts = None
    if torch is not None:
        timing = torch.get("conv3d") or {}
        facts = TorchFacts(
            sees_cuda=bool(torch.get("cuda")),
            error=torch.get("error") or torch.get("cuda_error") or torch.get("conv3d_error") or "",
            conv_s=timing.get("conv_s"),
            linear_s=timing.get("linear_s"),
            difference=timing.get("error"),
            conditions=f"{timing.get('patches')} patches, {timing.get('dtype')}" if timing else "",
        )
    built = found["torch_cuda"]
    return Environment(
        python=found["python"],
        packages=found["packages"],
        torch_cuda=_numbers(built) if built else None,
        unknown=found["unknown"],
        torch=facts,
    )


def older(version: str, than: str) -> bool:
    """Whether `version` is older than `than`, by as many numbers as that has; what gives no numbers is not."""
    least = [int(part) for part in re.findall(r"\d+", than)]
    found = [int(part) for part in re.findall(r"\d+", version)[: len(least)]]
    return bool(version[:1].isdigit()) and found < least


def _numbers(version: str) -> tuple[int, int]:
    found = [int(part) for part in re.findall(r"\d+", version)[:2]]
    return found[0], found[1] if len(found) > 1 else 0
