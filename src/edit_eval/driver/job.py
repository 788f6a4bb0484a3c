"""From a checked config to a job: devices, interpreters, samples, models and keys, all of them found to be there.

Everything that can be wrong with the user's input is found here, before any process starts.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edit_eval
from edit_eval.core.errors import ConfigError, DataError
from edit_eval.core.identity import digest, edit_key, identity_params, rubric_hash, sample_seed, verdict_key
from edit_eval.core.types import Prompt, Rubric, Sample
from edit_eval.driver.config import Checked, EditorConfig, JudgeConfig, StageConfig
from edit_eval.driver.devices import Device, Gpu, default_devices, parse_devices, visible_gpus
from edit_eval.driver.events import StageName
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.interpreters import Interpreter, resolve_interpreter
from edit_eval.driver.models import Model, resolve_model
from edit_eval.driver.plan import WantedEdit
from edit_eval.driver.registry import Found
from edit_eval.driver.rubrics import load_rubric
from edit_eval.driver.stage import Deadlines, StageSpec
from edit_eval.judges.contract import render_prompts

__all__ = ["Job", "JudgeJob", "prepare"]


@dataclass(frozen=True)
class StageJob:
    """What editor and judge have in common once everything is found."""

    spec: StageSpec
    params: Any
    identity: Mapping[str, Any]
    title: str
    size_policy: str


@dataclass(frozen=True)
class JudgeJob:
    """The judge, and what makes its verdicts' keys."""

    stage: StageJob
    label: str
    rubric: Rubric
    batch_size: int
    reads: Sequence[str]
    hashes: FileHashes

    @property
    def id(self) -> str:
        """Identity of judge and rubric together, whatever they judge."""
        return digest({"judge": self.stage.identity, "rubric": rubric_hash(self.rubric)})

    def prompts(self, sample: Sample) -> tuple[Prompt, ...]:
        """Return the questions for this sample."""
        return render_prompts(self.rubric, sample)

    def key(self, wanted: WantedEdit, edited_sha256: str) -> str:
        """Return the key of the verdict on one edit."""
        return verdict_key(
            judge=self.stage.identity,
            rubric=self.rubric,
            prompts=self.prompts(wanted.sample),
            edited_sha256=edited_sha256,
            source_sha256=wanted.source_sha256,
            reference_sha256=[self.hashes.sha256(path) for path in self._read_besides(wanted.sample)],
            seed=wanted.seed,
            repeat=0,
        )

    def _read_besides(self, sample: Sample) -> list[str]:
        paths = list(sample.references) if "reference" in self.reads else []
        if "target" in self.reads and sample.target:
            paths.append(sample.target)
        return paths


@dataclass(frozen=True)
class Job:
    """Everything a run needs.

    Attributes:
        checked: the config and its classes.
        output: run directory.
        wanted: every edit, in the benchmark's order, repeats of a sample side by side.
        editor, judge: the stages.
        protocol: id of what is measured.
    """

    checked: Checked
    output: Path
    wanted: Sequence[WantedEdit]
    editor: StageJob
    judge: JudgeJob | None
    protocol: str

    def identity(self) -> dict[str, Any]:
        """Return what may not change silently between two starts of one run."""
        return {
            "editor": dict(self.editor.identity),
            "judge": dict(self.judge.stage.identity) if self.judge else None,
            "rubric": rubric_hash(self.judge.rubric) if self.judge else None,
            "seed": self.checked.config.seed,
        }


def prepare(
    checked: Checked,
    *,
    stages: Sequence[StageName] = ("edit", "judge"),
    progress: Callable[[str], None] = lambda _text: None,
) -> Job:
    """Find everything the config names.

    Args:
        checked: from `load_config`.
        stages: which will run; devices and models of others are not looked for.
        progress: told what takes long.

    Raises:
        UserError: something is missing; one line.
    """
    config = checked.config
    if "judge" in stages and config.judge is None and "edit" not in stages:
        raise ConfigError("judge: is missing; there is nothing to score with")
    gpus = visible_gpus()
    editor_devices = _devices("editor", config.editor, checked.editor, gpus, wanted="edit" in stages)
    judge_devices: list[Device] = []
    if config.judge and checked.judge:
        judge_devices = _devices("judge", config.judge, checked.judge, gpus, wanted="judge" in stages)
    editor_python = resolve_interpreter("editor", config.editor.python, config.editor.conda)
    judge_python = (
        resolve_interpreter("judge", config.judge.python, config.judge.conda) if config.judge else None
    )
    output = output_folder(checked)
    with FileHashes() as hashes:
        samples = load_samples(checked, output)
        rubric = _rubric(checked)
        editor = _editor_job(checked, editor_devices, editor_python, hashes, progress)
        wanted = _wanted(checked, samples, editor, hashes)
        judge = None
        if config.judge and checked.judge and judge_python and rubric:
            judge = _judge_job(
                checked.judge,
                config.judge,
                checked.params["judge"],
                rubric,
                judge_devices,
                judge_python,
                hashes,
                progress,
            )
    return Job(checked, output, wanted, editor, judge, _protocol(checked, rubric))


def output_folder(checked: Checked) -> Path:
    """Return the run directory: the config's `output`, or one named after editor and benchmark under `runs/`."""
    config = checked.config
    if config.output:
        return Path(config.output).expanduser().absolute()
    model = (config.editor.model or checked.editor.name).rstrip("/").split("/")[-1]
    return (Path("runs") / f"{model}-{checked.benchmark.cls.name}").absolute()


def _protocol(checked: Checked, rubric: Rubric | None) -> str:
    benchmark = checked.benchmark.cls
    limit = f"+limit-{checked.config.limit}" if checked.config.limit else ""
    return f"{benchmark.name}/v{benchmark.version}{limit}" + (f"+{rubric.name}" if rubric else "")


def _devices(
    where: str, stage: StageConfig, found: Found, gpus: Sequence[Gpu], *, wanted: bool
) -> list[Device]:
    if not wanted:
        return []
    devices = (
        stage.devices if stage.devices is not None else default_devices(accelerated=found.cls.accelerated)
    )
    if devices == "auto":
        devices = [0] if found.cls.accelerated or gpus else ["cpu:0"]
    return parse_devices(devices, f"{where}.devices", gpus)


def load_samples(checked: Checked, output: Path) -> list[Sample]:
    """Return the benchmark's samples, checked: at least one, unique ids, every image there.

    Raises:
        DataError: one line.
    """
    config = checked.config.benchmark
    found = checked.benchmark
    path = Path(config.path).expanduser().absolute() if config.path else None
    if found.cls.needs_path and path is None:
        raise ConfigError(f"benchmark.path: {found.name} needs the path of its data")
    if path is not None and not path.exists():
        raise DataError(f"benchmark.path: there is nothing at {config.path}")
    samples = list(found.cls.load(path, checked.params["benchmark"], output / "inputs"))
    if not samples:
        raise DataError(f"the benchmark {config.path or found.name} has no samples")
    _check_unique(samples)
    if checked.config.limit:
        samples = samples[: checked.config.limit]
    _check_images(samples)
    return samples


def _check_unique(samples: Sequence[Sample]) -> None:
    seen: set[str] = set()
    doubled = []
    for sample in samples:
        if sample.id in seen:
            doubled.append(sample.id)
        seen.add(sample.id)
    if doubled:
        more = f", and {len(doubled) - 1} more ids are used twice" if len(doubled) > 1 else ""
        raise DataError(f"two samples have the id {doubled[0]!r}{more}; give every sample its own id")


def _check_images(samples: Sequence[Sample]) -> None:
    missing = []
    for sample in samples:
        if not sample.images:
            raise DataError(f"sample {sample.id!r} has no source image")
        extra = [sample.target] if sample.target else []
        named = [*sample.images, *sample.references, *extra]
        missing += [(sample.id, path) for path in named if not os.path.isfile(path)]  # noqa: PTH113 - fast
    if missing:
        sample_id, path = missing[0]
        more = f", and {len(missing) - 1} more are missing" if len(missing) > 1 else ""
        raise DataError(f"the image {path} of sample {sample_id!r} is missing{more}")


def _rubric(checked: Checked) -> Rubric | None:
    if checked.config.judge is None or checked.judge is None:
        return None
    named = checked.config.judge.rubric
    name = named or checked.judge.cls.default_rubric or checked.benchmark.cls.default_rubric
    return load_rubric(name)


def _model(where: str, stage: StageConfig, found: Found, hashes: FileHashes) -> Model | None:
    if not found.cls.model_file:
        if stage.model:
            raise ConfigError(f"{where}.model: {found.name} takes no model")
        return None
    if not stage.model:
        raise ConfigError(f"{where}.model: is missing; give a local folder or a hub id such as owner/name")
    return resolve_model(f"{where}.model", stage.model, found.cls.model_file, hashes)


def _editor_job(
    checked: Checked,
    devices: Sequence[Device],
    interpreter: Interpreter,
    hashes: FileHashes,
    progress: Callable[[str], None],
) -> StageJob:
    config, found = checked.config.editor, checked.editor
    progress("reading the editor's files")
    model = _model("editor", config, found, hashes)
    if model:
        found.cls.check(str(model.path), config.components)
    elif config.components:
        raise ConfigError(f"editor.components: {found.name} has no components")
    components = {
        name: resolve_model(f"editor.components.{name}", path, "", hashes)
        for name, path in sorted(config.components.items())
    }
    params = found.cls.resolve(checked.params["editor"], str(model.path) if model else None)
    identity = {
        "name": found.name,
        "version": found.cls.version,
        "model": model.identity if model else None,
        "components": {name: part.identity for name, part in components.items()},
        "params": identity_params(params),
    }
    message = {
        "role": "edit_eval.worker.roles:EditRole",
        "target": found.target,
        "params": dataclasses.asdict(params),
        "model": str(model.path) if model else None,
        "components": {name: str(part.path) for name, part in components.items()},
        "options": {},
    }
    spec = _spec("edit", config, found, devices, interpreter, message)
    title = f"{found.name} {config.model}" if config.model else found.name
    return StageJob(spec, params, identity, title, found.cls.size_policy(params))


def _judge_job(
    found: Found,
    config: JudgeConfig,
    given: Any,
    rubric: Rubric,
    devices: Sequence[Device],
    interpreter: Interpreter,
    hashes: FileHashes,
    progress: Callable[[str], None],
) -> JudgeJob:
    progress("reading the judge's files")
    model = _model("judge", config, found, hashes)
    params = found.cls.resolve(given, str(model.path) if model else None)
    identity = {
        "name": found.name,
        "version": found.cls.version,
        "model": model.identity if model else None,
        "params": identity_params(params),
    }
    message = {
        "role": "edit_eval.worker.roles:JudgeRole",
        "target": found.target,
        "params": dataclasses.asdict(params),
        "model": str(model.path) if model else None,
        "components": {},
        "options": {"batch_size": config.batch_size},
        "rubric": rubric.to_json(),
    }
    spec = _spec("judge", config, found, devices, interpreter, message)
    title = f"{found.name} {config.model}" if config.model else found.name
    policy = getattr(found.cls, "size_policy", None)
    stage = StageJob(spec, params, identity, title, policy(params) if policy else "as recorded")
    return JudgeJob(stage, found.cls.label, rubric, config.batch_size, found.cls.reads, hashes)


def _spec(
    name: StageName,
    config: EditorConfig | JudgeConfig,
    found: Found,
    devices: Sequence[Device],
    interpreter: Interpreter,
    message: Mapping[str, Any],
) -> StageSpec:
    package, location = found.package
    packages = {"edit_eval": Path(edit_eval.__file__).resolve().parent}
    packages.setdefault(package, location) if location.is_dir() else packages.setdefault(
        f"{package}.py", location
    )
    return StageSpec(
        name=name,
        devices=devices,
        interpreter=interpreter,
        env={key: str(value) for key, value in config.env.items()},
        packages=packages,
        message=message,
        deadlines=Deadlines(**config.deadlines.model_dump()),
        max_attempts=config.max_attempts,
    )


def _wanted(
    checked: Checked, samples: Sequence[Sample], editor: StageJob, hashes: FileHashes
) -> list[WantedEdit]:
    config = checked.config
    wanted: list[WantedEdit] = []
    for sample in samples:
        try:
            sources = tuple(hashes.sha256(path) for path in sample.images)
            conditioning = [
                hashes.sha256(path) for path in checked.editor.cls.conditioning(editor.params, sample)
            ]
        except OSError as error:
            raise DataError(
                f"sample {sample.id!r}: cannot read {error.filename}: {error.strerror}"
            ) from error
        clustered = sample if sample.cluster else dataclasses.replace(sample, cluster=sources[0])
        for repeat in range(config.repeats):
            seed = sample_seed(config.seed, sample.id, repeat)
            key = edit_key(
                editor=editor.identity,
                sample=sample,
                image_sha256=sources,
                conditioning_sha256=conditioning,
                seed=seed,
                repeat=repeat,
            )
            wanted.append(WantedEdit(len(wanted), clustered, repeat, seed, key, sources))
    return wanted
