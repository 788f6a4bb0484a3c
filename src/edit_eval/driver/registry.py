"""Names of benchmarks, editors and judges -> the classes behind them. Nothing is imported before it is asked for.

To add a built-in kind is to add one line here. Plugins are found by entry points of the groups
`edit_eval.benchmarks`, `edit_eval.editors` and `edit_eval.judges`; a type may also be written as `module:Class`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from edit_eval.benchmarks import Benchmark
from edit_eval.core.errors import ConfigError, did_you_mean
from edit_eval.editors import Editor
from edit_eval.judges import Judge

__all__ = ["BENCHMARKS", "EDITORS", "JUDGES", "Alias", "Found", "Kind", "find", "names"]

Kind = Literal["benchmark", "editor", "judge"]

BENCHMARKS: Mapping[str, str] = {
    "folder": "edit_eval.benchmarks.folder:Folder",
    "gedit": "edit_eval.benchmarks.gedit:GEdit",
    "imgedit": "edit_eval.benchmarks.imgedit:ImgEdit",
    "imgedit_uge": "edit_eval.benchmarks.imgedit:ImgEditUGE",
    "krisbench": "edit_eval.benchmarks.krisbench:KRISBench",
    "risebench": "edit_eval.benchmarks.risebench:RISEBench",
    "scenes": "edit_eval.benchmarks.scenes:Scenes",
    "unicbench": "edit_eval.benchmarks.unicbench:UnicBench",
    "unireditbench": "edit_eval.benchmarks.unireditbench:UniREditBench",
    "wiseedit": "edit_eval.benchmarks.wiseedit:WiseEdit",
}
EDITORS: Mapping[str, str] = {
    "diffusers": "edit_eval.editors.diffusers:Diffusers",
    "precomputed": "edit_eval.editors.precomputed:Precomputed",
    "qwen_image_edit": "edit_eval.editors.qwen_image_edit:QwenImageEdit",
    "scripted": "edit_eval.editors.scripted:Scripted",
}
JUDGES: Mapping[str, str] = {
    "qwen3_vl": "edit_eval.judges.qwen3_vl:Qwen3VL",
    "reference": "edit_eval.judges.reference:Reference",
}
_BUILT_IN: Mapping[Kind, Mapping[str, str]] = {"benchmark": BENCHMARKS, "editor": EDITORS, "judge": JUDGES}
_GROUPS: Mapping[Kind, str] = {
    "benchmark": "edit_eval.benchmarks",
    "editor": "edit_eval.editors",
    "judge": "edit_eval.judges",
}
_BASES: Mapping[Kind, type] = {"benchmark": Benchmark, "editor": Editor, "judge": Judge}


@dataclass(frozen=True)
class Alias:
    """Another name for a type, which carries a default model."""

    type: str
    model: str


_QWEN_EDIT = "Qwen/Qwen-Image-Edit"
_QWEN_JUDGE = "Qwen/Qwen3-VL-30B-A3B-Instruct"
ALIASES: Mapping[Kind, Mapping[str, Alias]] = {
    "benchmark": {},
    "editor": {
        "multi_gpu_qwen_image_edit": Alias("qwen_image_edit", _QWEN_EDIT),
    },
    "judge": {
        "qwen3_vl_subprocess": Alias("qwen3_vl", _QWEN_JUDGE),
        "qwen3_vl_multi_gpu_subprocess": Alias("qwen3_vl", _QWEN_JUDGE),
    },
}


@dataclass(frozen=True)
class Found:
    """A type that was found.

    Attributes:
        name: the registered name (never an alias).
        target: `module:Class`.
        cls: the class.
        package: top-level package of the class, and the path that a host must see to import it.
    """

    name: str
    target: str
    cls: Any
    package: tuple[str, Path]


def names(kind: Kind) -> dict[str, str]:
    """Return every name of `kind` with its `module:Class`: built-in ones, then plugins."""
    plugins = {point.name: point.value for point in entry_points(group=_GROUPS[kind])}
    return {**plugins, **_BUILT_IN[kind]}


def find(kind: Kind, name: str) -> Found:
    """Return the class registered as `name` (or the one that `module:Class` names).

    Raises:
        ConfigError: no such type (with the nearest name), or its module does not import (with the reason).
    """
    known = names(kind)
    if name in known:
        target = known[name]
    elif ":" in name:
        target = name
    else:
        every = sorted({*known, *ALIASES[kind]})
        hint = did_you_mean(name, every) or f"; there are {', '.join(sorted(known))}"
        raise ConfigError(f"{kind}.type: no {kind} is called {name!r}{hint}")
    module_name, _, class_name = target.partition(":")
    try:
        module = importlib.import_module(module_name)
        cls = getattr(module, class_name)
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ConfigError(f"{kind}.type: {name!r} ({target}) does not import: {reason}") from error
    if not (isinstance(cls, type) and issubclass(cls, _BASES[kind])):
        raise ConfigError(
            f"{kind}.type: {name!r} ({target}) is no {kind}: it must subclass {_BASES[kind].__qualname__}"
        )
    top = module_name.split(".")[0]
    return Found(name, target, cls, (top, _location(top)))


def _location(top: str) -> Path:
    """Return the folder (or single file) of a top-level package."""
    spec = importlib.util.find_spec(top)
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        raise ConfigError(f"the package {top!r} has no place on disk, so no host could import it")
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(str(spec.origin)).resolve()
