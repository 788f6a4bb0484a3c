"""YAML as users write it: read with care, refused in one line.

Refused are aliases and depth, with which a small file costs a lot, and doubled keys, which YAML drops silently. Knows
nothing of what a file is about.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from edit_eval.core.errors import ConfigError

__all__ = ["parse_yaml", "read_yaml"]

_MAX_BYTES = 1 << 20
_MAX_DEPTH = 50


def read_yaml(path: Path, where: str) -> Any:
    """Return what a YAML file says; `where` names it in messages.

    Raises:
        ConfigError: it cannot be read, is larger than 1 MiB, is no UTF-8 text or no YAML.
        FileNotFoundError: there is none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise ConfigError(f"cannot read {where}: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{where} is larger than {_MAX_BYTES >> 20} MiB")
    try:
        return parse_yaml(data.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {where}: not UTF-8 text (byte {error.start})") from error


def parse_yaml(text: str, where: str) -> Any:
    """Return the plain data that YAML `text` says.

    Raises:
        ConfigError: see the module; one line, with the line's number where there is one.
    """
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ConfigError(
                    f"{where}: YAML aliases (*{event.anchor}) are not allowed; write the value out"
                )
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise ConfigError(f"{where} is nested too deeply")
        _refuse_doubled_keys(text, where)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        said = [getattr(error, name, None) for name in ("context", "problem")]
        reason = " ".join(str(part) for part in said if part) or " ".join(str(error).split())
        raise ConfigError(f"{where}:{line} is not YAML: {reason}") from error
    except (ValueError, LookupError, AttributeError) as error:
        # PyYAML lets these out for `2026-13-45`, `!!bool maybe` and the like.
        raise ConfigError(
            f"{where}: a value cannot be read as what it looks like ({error}); quote it"
        ) from error


def _refuse_doubled_keys(text: str, where: str) -> None:
    nodes = [yaml.compose(text, Loader=yaml.SafeLoader)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        line = key.start_mark.line + 1
                        raise ConfigError(
                            f"{where}: line {line}: the key {key.value!r} stands twice; keep one"
                        )
                    seen.add(key.value)
                nodes.append(value)
        elif isinstance(node, yaml.SequenceNode):
            nodes.extend(node.value)
