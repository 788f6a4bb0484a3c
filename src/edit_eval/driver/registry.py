"""Names of benchmarks, editors and judges -> the classes behind them. Nothing is imported before it is asked for.

To add a built-in kind is to add one line here. Plugins are found by entry points of the groups
`edit_eval.benchmarks`, `edit_eval.editors` and `edit_eval.judges`; a type may also be written as `module:Class`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from edit_eval.benchmarks import Benchmark
from edit_eval.core.errors import ConfigError, did_you_mean, shown
from edit_eval.core.types import Rubric, Sample
from edit_eval.driver.plugins import class_faults, guarded, printing_to_stderr, unwritable_field, why
from edit_eval.editors import Editor
from edit_eval.judges import Judge

__all__ = ["BENCHMARKS", "EDITORS", "JUDGES", "Alias", "Found", "Kind", "find", "left_out", "names"]

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
    "tiny": "edit_eval.editors.tiny:Tiny",
}
JUDGES: Mapping[str, str] = {
    "openai": "edit_eval.judges.endpoint:EndpointJudge",
    "qwen3_vl": "edit_eval.judges.qwen3_vl:Qwen3VL",
    "reference": "edit_eval.judges.reference:Reference",
    "vlm": "edit_eval.judges.vision:VisionJudge",
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

    Its class is called through the methods here: what a plugin's code raises then names the plugin.

    Attributes:
        name: the registered name (never an alias).
        target: `module:Class`.
        cls: the class.
        package: top-level package of the class, and the path that a host must see to import it.
        kind: `benchmark`, `editor` or `judge`.
    """

    name: str
    target: str
    cls: Any
    package: tuple[str, Path]
    kind: Kind = "editor"

    def guard(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Return a context in which a plugin's code is called; built-in code raises as it is."""
        if self.package[0] == "edit_eval":
            return printing_to_stderr()
        return guarded(f"{self.kind}.type: {self.name!r}: {what}")

    def refuse_unusable(self) -> None:
        """Raise `ConfigError` if the class lacks what the driver and the hosts will ask of it."""
        with self.guard("its class"):
            faults = list(class_faults(self.kind, self.cls, _BASES[self.kind]))
        if faults:
            raise ConfigError(
                f"{self.kind}.type: {self.name!r} ({self.target}) is no usable {self.kind}: {'; '.join(faults)}"
            )

    def resolve(self, params: Any, model: str | None) -> Any:
        """Return the class's `resolve(params, model)`, which must be made of what JSON has words for.

        Raises `UserError`.
        """
        with self.guard("resolve()"):
            made = self.cls.resolve(params, model)
        if not isinstance(made, self.cls.Params):
            raise ConfigError(
                f"{self.kind}.type: {self.name!r}: resolve() must return its Params, and returned {shown(made)}"
            )
        if field := unwritable_field(made):
            raise ConfigError(
                f"{self.kind}.type: {self.name!r}: its parameter {field!r} is {shown(getattr(made, field))}; parameters "
                "must be made of texts, finite numbers, lists and mappings"
            )
        return made

    def check(self, model: str, components: Mapping[str, str]) -> None:
        """Call the class's `check`. Raises `UserError`."""
        with self.guard("check()"):
            self.cls.check(model, components)

    def size_policy(self, params: Any) -> str:
        """Return the class's `size_policy(params)`. Raises `UserError`."""
        with self.guard("size_policy()"):
            said = self.cls.size_policy(params)
        if not isinstance(said, str):
            raise ConfigError(
                f"{self.kind}.type: {self.name!r}: size_policy() must return a text, and returned {shown(said)}"
            )
        return said

    def adapted(self, params: Any, rubric: Rubric) -> Rubric:
        """Return the class's `adapted(params, rubric)`. Raises `UserError`."""
        with self.guard("adapted()"):
            made = self.cls.adapted(params, rubric)
            if not isinstance(made, Rubric):
                raise TypeError(f"it must return a Rubric, and returned {shown(made)}")
            return made

    def conditioning(self, params: Any, sample: Sample) -> Sequence[str]:
        """Return the class's `conditioning(params, sample)`. Raises `UserError` and `OSError`."""
        if self.package[0] == "edit_eval":  # says nothing, and is asked 100,000 times and more
            return tuple(self.cls.conditioning(params, sample))
        with self.guard("conditioning()"):
            paths = tuple(self.cls.conditioning(params, sample))
            if not all(isinstance(one, str) for one in paths):
                raise TypeError(f"it must return paths as texts, and returned {shown(paths)}")
            return paths

    def load(self, path: Path | None, params: Any, workspace: Path) -> list[Any]:
        """Return what the class's `load` yields. Raises `UserError`, and `OSError`."""
        with self.guard("load()"):
            return list(self.cls.load(path, params, workspace))


def names(kind: Kind) -> dict[str, str]:
    """Return every name of `kind` with its `module:Class`: built-in ones, then plugins."""
    plugins = {
        point.name: point.value
        for point in entry_points(group=_GROUPS[kind])
        if point.name not in ALIASES[kind]
    }
    return {**plugins, **_BUILT_IN[kind]}


def left_out(kind: Kind) -> list[tuple[str, str]]:
    """Return the plugins of `kind` that no name leads to, and why: name and reason."""
    taken = {**_BUILT_IN[kind], **{name: alias.type for name, alias in ALIASES[kind].items()}}
    found = [
        (
            point.name,
            f"the plugin {point.value} has the name of a built-in type; write it as type: {point.value}",
        )
        for point in entry_points(group=_GROUPS[kind])
        if point.name in taken
    ]
    return sorted(set(found))


def find(kind: Kind, name: str) -> Found:
    """Return the class registered as `name` (or the one that `module:Class` names).

    Raises:
        ConfigError: no such type (with the nearest name), two plugins of one name, or its module does not import
            (with the reason).
    """
    target = _BUILT_IN[kind].get(name) or _target(kind, name)
    where = f"{kind}.type: {shown(name)} ({shown(target, quote=False)})"
    module_name, _, class_name = target.partition(":")
    try:
        with printing_to_stderr():
            module = importlib.import_module(module_name)
            cls = getattr(module, class_name) if class_name else None
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{where} does not import: {why(error)}") from error
    if not (isinstance(cls, type) and issubclass(cls, _BASES[kind])):
        raise ConfigError(f"{where} is no {kind}: it must subclass {_BASES[kind].__qualname__}")
    top = module_name.split(".")[0]
    return Found(name, target, cls, (top, _location(top)), kind)


def _target(kind: Kind, name: str) -> str:
    """Return the `module:Class` of a plugin's name, or of a name that is one itself. Raises `ConfigError`."""
    targets = sorted({point.value for point in entry_points(group=_GROUPS[kind]) if point.name == name})
    if len(targets) > 1:
        raise ConfigError(
            f"{kind}.type: {len(targets)} plugins are called {shown(name)}: {' and '.join(targets)}; uninstall one, or "
            f"write type: {targets[0]}"
        )
    if targets:
        return targets[0]
    if ":" in name:
        return name
    known = names(kind)
    hint = did_you_mean(name, sorted({*known, *ALIASES[kind]})) or f"; there are {', '.join(sorted(known))}"
    raise ConfigError(f"{kind}.type: no {kind} is called {shown(name)}{hint}")


def _location(top: str) -> Path:
    """Return the folder (or single file) of a top-level package."""
    spec = importlib.util.find_spec(top)
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        raise ConfigError(f"the package {top!r} has no place on disk, so no host could import it")
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(str(spec.origin)).resolve()
