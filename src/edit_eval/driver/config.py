"""What the user wrote, checked: YAML file, `--set` overrides, and the user's own shape, as one typed `Config`.

Finds every fault that can be found without looking at devices, models or data, and reports all of them at once.
`driver.job` does the rest.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from edit_eval.core.errors import ConfigError, did_you_mean, shown
from edit_eval.driver.parameters import validated
from edit_eval.driver.plugins import unwritable_field
from edit_eval.driver.registry import ALIASES, Found, Kind, find
from edit_eval.driver.shards import Shard
from edit_eval.driver.values import INT_64, env_problems, is_plain, message, secret_problems
from edit_eval.driver.yamlfile import parse_yaml, read_yaml
from edit_eval.worker.secrets import HIDDEN, holds_password, is_secret

__all__ = [
    "BackendConfig",
    "BenchmarkConfig",
    "Checked",
    "Config",
    "DeadlinesConfig",
    "EditorConfig",
    "JudgeConfig",
    "LoraConfig",
    "StageConfig",
    "check_config",
    "load_config",
    "read_tree",
    "without_secrets",
]

_SECTIONS = {"diffusion_model": "editor", "reward_model": "judge"}
_LIFTED = (
    "against",
    "batch_size",
    "budget",
    "components",
    "conda",
    "device",
    "device_ids",
    "devices",
    "env",
    "hub",
    "lora",
    "model",
    "python",
    "rubric",
)
"""What may stand under a stage's `params` in the user's shape and belongs to the stage itself."""

_LONGEST_TEXT = 4096
"""Characters; no path may be longer on Linux."""

_MOST_SECONDS = 1e7
_MOST_NAMES = 40
"""Parts of the key that an override may have."""


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank; write it, or leave the key out")
    if "\0" in text:
        raise ValueError("cannot hold a null byte")
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"is longer than {_LONGEST_TEXT} characters")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ValueError("holds half of a character (a lone surrogate)") from error
    try:
        Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError("names a home folder that cannot be found; write the path out") from error
    return text


def _spelt_off(value: Any) -> Any:
    """Return `off` for what YAML makes of it."""
    return _as_written(value, ("off",))


def _as_written(value: Any, choices: Sequence[Any]) -> Any:
    """Return `on` or `off` for the truth value that YAML makes of it, if that word is a choice."""
    word = {True: "on", False: "off"}.get(value) if isinstance(value, bool) else None
    return word if word in choices else value


def _a_shard(text: str) -> str:
    return str(Shard.parse(text))


def _no_client(address: str) -> str:
    if address.startswith("ray://"):
        raise ValueError(
            "ray:// is the way of Ray's client, which is not used; give the cluster's own address, HEAD:6379"
        )
    return address


def _whole_gpus(resources: dict[str, float]) -> dict[str, float]:
    gpus = resources.get("GPU", 1.0)
    if gpus != int(gpus):
        raise ValueError(f"{gpus:g} GPUs: a device holds whole ones, 1 or more; models do not share a GPU")
    return resources


_Text = Annotated[str, AfterValidator(_said)]
_Seconds = Annotated[float, Field(gt=0, le=_MOST_SECONDS)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class BenchmarkConfig(_Strict):
    """Where the samples come from."""

    type: _Text
    path: _Text | None = None
    params: dict[str, Any] = {}


class DeadlinesConfig(_Strict):
    """Seconds after which a silent host counts as stalled; see `driver.stage.Deadlines`."""

    load_s: _Seconds = 1800.0
    first_task_s: _Seconds = 900.0
    task_s: _Seconds = 120.0
    task_factor: _Seconds = 10.0


class StageConfig(_Strict):
    """What editor and judge have in common."""

    type: _Text
    model: _Text | None = None
    hub: Literal["huggingface", "modelscope"] = "huggingface"
    devices: Any = None
    python: _Text | None = None
    conda: _Text | None = None
    env: dict[str, Any] = {}
    params: dict[str, Any] = {}
    deadlines: DeadlinesConfig = DeadlinesConfig()
    max_attempts: int = Field(default=2, ge=1, le=100)


class LoraConfig(_Strict):
    """Low-rank weights put over the editor's own; a text stands for its `model`."""

    model: _Text
    scale: float = 1.0

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"model": given} if isinstance(given, str) else given


class EditorConfig(StageConfig):
    """The editor."""

    components: dict[_Text, _Text] = {}
    lora: LoraConfig | None = None


class JudgeConfig(StageConfig):
    """The judge."""

    rubric: _Text | None = None
    against: _Text | None = None
    batch_size: int = Field(default=4, ge=1, le=4096)
    budget: float | None = Field(default=None, gt=0, le=1e12)


class BackendConfig(_Strict):
    """Where keepers run; a text stands for its `type`. See `driver.backends`."""

    type: Literal["local", "ray"] = "local"
    address: Annotated[_Text, AfterValidator(_no_client)] | None = None
    resources: Annotated[
        dict[_Text, Annotated[float, Field(ge=1e-4, le=1e6)]], AfterValidator(_whole_gpus)
    ] = {}
    python: _Text | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return {"type": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _of_a_cluster(self) -> BackendConfig:
        if self.type == "local" and (self.address or self.resources or self.python):
            raise ValueError("address, resources and python are for type ray; the local backend takes none")
        return self


class Config(_Strict):
    """A whole run, as asked for."""

    benchmark: BenchmarkConfig
    editor: EditorConfig
    judge: JudgeConfig | None = None
    backend: BackendConfig = BackendConfig()
    seed: int = Field(default=0, ge=INT_64[0], le=INT_64[1])
    repeats: int = Field(default=1, ge=1, le=1000)
    limit: int | None = Field(default=None, ge=1, le=INT_64[1])
    shard: Annotated[str, AfterValidator(_a_shard)] | None = None
    output: _Text | None = None
    hub_cache: _Text | None = None
    scratch: _Text | None = None
    lock: bool = True
    links: bool = True
    proxy: Literal["environment", "none"] = "environment"
    stages: Literal["overlapped", "sequential"] = "overlapped"
    busy_gpus: Literal["refuse", "leave_out"] = "refuse"
    grace_s: float = Field(default=25.0, ge=0, le=_MOST_SECONDS)
    preflight: Annotated[Literal["strict", "warn", "off"], BeforeValidator(_spelt_off)] = "strict"
    min_coverage: float = Field(default=0.98, ge=0, le=1)


@dataclasses.dataclass(frozen=True)
class Checked:
    """A config with the classes it names and their parameters.

    Attributes:
        config: normalised; aliases replaced.
        benchmark, editor, judge: the classes found.
        params: an instance of each class's `Params`.
    """

    config: Config
    benchmark: Found
    editor: Found
    judge: Found | None
    params: Mapping[Kind, Any]


def load_config(
    path: str | Path | None,
    overrides: Sequence[str] = (),
    base: Mapping[str, Any] | None = None,
    replace: Mapping[str, Any] | None = None,
) -> Checked:
    """Read a config file (and overrides) and check all that can be checked without the machine.

    Args:
        path: YAML file; None if `base` is everything.
        overrides: `a.b=c`, later ones win; the value is YAML.
        base: defaults below the file.
        replace: top-level keys that replace what base and file say; overrides are above them.

    Raises:
        ConfigError: with every fault found.
    """
    return check_config(read_tree(path, overrides, base, replace))


def read_tree(
    path: str | Path | None,
    overrides: Sequence[str] = (),
    base: Mapping[str, Any] | None = None,
    replace: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return all layers of a config as one normalised tree, not yet checked; arguments as for `load_config`.

    Raises:
        ConfigError: the file cannot be read, or a layer says one thing twice.
    """
    tree: dict[str, Any] = {}
    if base:
        tree = _merge(tree, _normalise(dict(base)))
    if path is not None:
        tree = _merge(tree, _normalise(_read(Path(path))))
    tree = {**tree, **(replace or {})}
    for override in overrides:
        tree = _merge(tree, _normalise(_nested(override)))
    return _with_secrets(_without_aliases(tree))


def check_config(tree: Mapping[str, Any]) -> Checked:
    """Check a normalised tree; see `load_config`."""
    problems: list[str] = []
    config: Config | None = None
    try:
        config = Config.model_validate(tree, strict=True)
    except ValidationError as error:
        problems += [_problem(one) for one in error.errors()]
    found: dict[Kind, Found] = {}
    params: dict[Kind, Any] = {}
    sections: tuple[Kind, ...] = ("benchmark", "editor", "judge")
    for kind in sections:
        section = tree.get(kind)
        if not isinstance(section, Mapping):
            continue
        problems += env_problems(kind, section) if kind != "benchmark" else ()
        problems += secret_problems(section, kind)
        if not _is_type(section.get("type")):
            continue
        given = section.get("params", {})
        try:
            found[kind] = find(kind, section["type"])
            found[kind].refuse_unusable()
            if isinstance(given, Mapping):
                with found[kind].guard("its Params"):
                    params[kind], faults = _check_params(kind, found[kind], given)
                problems += faults
        except ConfigError as error:
            problems += error.problems
    problems += secret_problems({name: tree[name] for name in tree if name not in sections})
    problems += _home_problems(tree)
    if config is None or problems:
        raise ConfigError(problems)
    params["editor"] = found["editor"].cls.for_layout(params["editor"], found["benchmark"].cls.layout)
    return Checked(config, found["benchmark"], found["editor"], found.get("judge"), params)


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = read_yaml(path, f"the config {path}")
    except FileNotFoundError:
        near = sorted(one.name for one in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        raise ConfigError(f"no config at {path}{did_you_mean(path.name, near)}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} is no config: expected keys such as benchmark, editor and judge")
    return tree


def _nested(override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names) or len(names) > _MOST_NAMES:
        raise ConfigError(f"--set {shown(override, quote=False)}: write it as a.b=value")
    tree: dict[str, Any] = {names[-1]: parse_yaml(text, f"--set {shown(key, quote=False)}")}
    for name in reversed(names[:-1]):
        tree = {name: tree}
    return tree


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _normalise(tree: dict[str, Any]) -> dict[str, Any]:
    """Bring the user's own shape into ours: section names, type aliases, settings under `params`."""
    result: dict[str, Any] = {}
    for key, value in tree.items():
        name = _SECTIONS.get(key, key)
        if name in result:
            raise ConfigError(f"both {name} and {key} are given; keep one")
        result[name] = value
    for kind in ("editor", "judge"):
        if isinstance(result.get(kind), dict):
            result[kind] = _normalise_stage(kind, result[kind])
    return result


def _normalise_stage(kind: Kind, section: dict[str, Any]) -> dict[str, Any]:
    stage = dict(section)
    params = stage.get("params")
    if isinstance(params, dict):
        stage["params"] = params = dict(params)
        for key in _LIFTED:
            if key not in params:
                continue
            if key in stage:
                raise ConfigError(f"{kind}.{key} is given twice, also under params; keep one")
            stage[key] = params.pop(key)
    places = [key for key in ("devices", "device_ids", "device") if key in stage]
    if len(places) > 1:
        raise ConfigError(f"{kind}: {' and '.join(places)} are given; keep one")
    if places and places[0] != "devices":
        stage["devices"] = stage.pop(places[0])
    return stage


def _without_aliases(tree: dict[str, Any]) -> dict[str, Any]:
    """Replace alias types once all layers are merged: the model an alias carries is below any that was given."""
    result = dict(tree)
    kinds: tuple[Kind, ...] = ("editor", "judge")
    for kind in kinds:
        section = result.get(kind)
        name = section.get("type") if isinstance(section, dict) else None
        alias = ALIASES[kind].get(name) if isinstance(name, str) else None
        if alias:
            result[kind] = {"model": alias.model, **result[kind], "type": alias.type}
    return result


def without_secrets(config: Config) -> dict[str, Any]:
    """Return the config as run.json keeps it: the values of variables that look like secrets are left out."""
    tree = config.model_dump(mode="json")
    for kind in ("editor", "judge"):
        if tree[kind]:
            env = tree[kind]["env"]
            tree[kind]["env"] = {
                name: HIDDEN if is_secret(name, str(value)) else value for name, value in env.items()
            }
    return tree


def _with_secrets(tree: dict[str, Any]) -> dict[str, Any]:
    """Fill in from the environment what `without_secrets` left out. Raises `ConfigError`."""
    result = dict(tree)
    problems = []
    for kind in ("editor", "judge"):
        section = tree.get(kind)
        if not isinstance(section, dict) or not isinstance(env := section.get("env"), dict):
            continue
        hidden = [name for name, value in env.items() if value == HIDDEN]
        problems += [
            f"{kind}.env.{name}: a run directory does not keep it; set the variable {name} where you start edit-eval"
            for name in hidden
            if name not in os.environ
        ]
        known = {name: os.environ[name] for name in hidden if name in os.environ}
        result[kind] = {**section, "env": {**env, **known}}
    if problems:
        raise ConfigError(problems)
    return result


def _is_type(name: Any) -> bool:
    """Whether `name` can be looked for; what else is wrong with it, the model of the config says."""
    return (
        isinstance(name, str)
        and bool(name.strip())
        and len(name) <= _LONGEST_TEXT
        and not holds_password(name)
    )


_PATHS: Mapping[str, Sequence[str]] = {
    "benchmark": ("path",),
    "editor": ("model", "python", "conda"),
    "judge": ("model", "python", "conda", "rubric", "against"),
}


def _home_problems(tree: Mapping[str, Any]) -> list[str]:
    """Return the paths that begin with a home folder that nobody has."""
    given = [(name, tree.get(name)) for name in ("output", "scratch")]
    for kind, names in _PATHS.items():
        section = tree.get(kind)
        if isinstance(section, Mapping):
            given += [(f"{kind}.{name}", section.get(name)) for name in names]
            parts = section.get("components")
            if isinstance(parts, Mapping):
                given += [(f"{kind}.components.{name}", path) for name, path in parts.items()]
    return [
        f"{name}: {text}: there is no such home folder here; write the path out"
        for name, text in given
        if isinstance(text, str) and text.startswith("~") and os.path.expanduser(text) == text  # noqa: PTH111 - raises nothing
    ]


_FIELDS: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): Config,
    ("backend",): BackendConfig,
    ("benchmark",): BenchmarkConfig,
    ("editor",): EditorConfig,
    ("judge",): JudgeConfig,
    ("editor", "deadlines"): DeadlinesConfig,
    ("editor", "lora"): LoraConfig,
    ("judge", "deadlines"): DeadlinesConfig,
}


def _problem(error: Any) -> str:
    where = tuple(str(part) for part in error["loc"])
    name = ".".join(shown(part, quote=False) for part in where)
    if error["type"] == "extra_forbidden":
        known = [*_FIELDS[where[:-1]].model_fields]
        if len(where) == 1 and (hint := did_you_mean(where[0], [*known, *_SECTIONS])):
            return f"{name}: unknown key{hint}"
        return f"{name}: unknown key" + (
            did_you_mean(where[-1], known) or f"; there are {', '.join(sorted(known))}"
        )
    if error["type"] == "missing":
        return f"{name}: is missing"
    return f"{name}: {message(error)}"


def _check_params(kind: Kind, found: Found, given: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Return an instance of the class's `Params`, or None, and the faults found."""
    hints = TypeAdapter(found.cls.Params)
    known = [one.name for one in dataclasses.fields(found.cls.Params)]
    problems = [
        f"{kind}.params.{shown(str(key), quote=False)}: {found.name} has no such parameter"
        + (did_you_mean(str(key), known) or f"; there are {', '.join(known) or 'none'}")
        for key in given
        if key not in known
    ]
    written = {}
    kinds = get_type_hints(found.cls.Params)
    for key in [key for key in given if key in known]:
        value = _as_written(given[key], get_args(kinds[key]))
        if is_plain(value):
            written[key] = json.dumps(value)
        else:
            problems.append(f"{kind}.params.{key}: must be made of texts, finite numbers, lists and mappings")
    try:
        params = validated(hints, written)
    except ValidationError as error:
        for one in error.errors():
            where = ".".join(shown(str(part), quote=False) for part in one["loc"])
            said = "is missing" if one["type"] in ("missing", "missing_argument") else message(one)
            problems.append(f"{kind}.params{'.' if where else ''}{where}: {said}")
        return None, problems
    if field := unwritable_field(params):
        problems.append(
            f"{kind}.type: {shown(found.name)}: its parameter {field!r} has the default "
            f"{shown(getattr(params, field))}, which is not made of texts, finite numbers, lists and mappings"
        )
    return params, problems
