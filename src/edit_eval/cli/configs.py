"""The config that a command's arguments describe."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edit_eval.cli import config_argument
from edit_eval.core.errors import ConfigError
from edit_eval.driver.config import Checked, check_config, read_tree
from edit_eval.driver.job import in_shard
from edit_eval.driver.runinfo import needed, read_info
from edit_eval.driver.shards import Shard
from edit_eval.worker.proxies import is_proxy_variable

__all__ = ["checked_config", "described"]


def checked_config(
    arguments: argparse.Namespace,
    base: Mapping[str, Any] | None = None,
    replace: Mapping[str, Any] | None = None,
) -> Checked:
    """Return the config that the arguments describe; a run directory stands for the config it was made from.

    `replace` has sections that take the place of the config's. With `proxy: none` this process forgets its proxies too.
    """
    checked = check_config(described(arguments, base, replace))
    if shard := getattr(arguments, "shard", None):
        checked = in_shard(checked, Shard.parse(shard))
    if checked.config.proxy == "none":
        for name in [name for name in os.environ if is_proxy_variable(name)]:
            del os.environ[name]
    return checked


def described(
    arguments: argparse.Namespace,
    base: Mapping[str, Any] | None = None,
    replace: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the same, not yet checked."""
    overrides = list(arguments.set)
    if arguments.output:
        overrides.append(f"output={json.dumps(arguments.output)}")
    if arguments.limit is not None:
        overrides.append(
            f"limit={json.dumps(int(arguments.limit) if arguments.limit.isdecimal() else arguments.limit)}"
        )
    path: str | None = None
    if base is None:
        path = config_argument(arguments)
        if (Path(path) / "run.json").is_file():
            base, path = {**needed(read_info(Path(path)), "config", Path(path)), "output": path}, None
        elif Path(path).is_dir():
            raise ConfigError(f"{path} is a folder without run.json; name a config file or a run directory")
    tree = read_tree(path, overrides, base, replace)
    devices: Any = None
    if arguments.devices:
        parts = [part.strip() for part in arguments.devices.split(",")]
        devices = [int(part) if re.fullmatch("[0-9]{1,4}", part) else part for part in parts]
    stages = [
        name
        for name in ("editor", "judge")
        if isinstance(tree.get(name), dict) and (name == "judge" or name not in (replace or {}))
    ]
    moved = _moved(tree, arguments.backend)
    for name in stages:
        if devices is not None or (
            moved and _asks_ray(tree[name].get("devices")) != (arguments.backend == "ray")
        ):
            tree[name] = {**tree[name], "devices": devices}
    return tree


def _asks_ray(devices: Any) -> bool:
    """Whether a config's `devices` are those of a Ray cluster: `ray`, `ray:16`, `{ray: 16}`, or a list of one of these."""
    first = devices[0] if isinstance(devices, list) and devices else devices
    return "ray" in first if isinstance(first, dict) else str(first).partition(":")[0] == "ray"


def _moved(tree: dict[str, Any], backend: str | None) -> bool:
    """Take over `--backend`; whether that is another one than the config's, so that its devices may be of no use."""
    before = tree.get("backend")
    given = before if isinstance(before, dict) else {"type": before or "local"}
    if backend is None or given.get("type", "local") == backend:
        return False
    tree["backend"] = {**given, "type": backend} if backend == "ray" else {"type": backend}
    return True
