"""From a checked config to a job: devices, interpreters, samples, models and keys, all of them found to be there.

Everything that can be wrong with the user's input is found here, before any process starts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from edit_eval.core.errors import ConfigError, DataError, ModelError, RunError, shown
from edit_eval.core.headlines import Headline
from edit_eval.core.identity import identity_params
from edit_eval.core.types import Sample
from edit_eval.driver.against import find_against
from edit_eval.driver.backends import Backend
from edit_eval.driver.checkpoints import inspect_checkpoint, refuse_cut_off
from edit_eval.driver.config import Checked, Config, EditorConfig, JudgeConfig, StageConfig
from edit_eval.driver.devices import visible_gpus
from edit_eval.driver.divide import run_above
from edit_eval.driver.events import StageName
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.hubcache import FETCH, HubCache, open_cache
from edit_eval.driver.hubdata import find_data
from edit_eval.driver.interpreters import resolve_interpreter
from edit_eval.driver.keys import edit_keys, seeds
from edit_eval.driver.lint import FolderOfEdits, summary_line
from edit_eval.driver.models import Model, find_lora, find_model, resolve_lora, resolve_model
from edit_eval.driver.place import Place, open_backend, remote_name, stage_devices, stage_spec
from edit_eval.driver.plan import Judging, WantedEdit
from edit_eval.driver.protocol import ProtocolInUse, approximations_of, counted, protocol_in_use
from edit_eval.driver.registry import Found
from edit_eval.driver.runinfo import needed, read_info
from edit_eval.driver.samples import check_images, limited, load_samples, outside_images
from edit_eval.driver.scratch import Scratch, find_scratch
from edit_eval.driver.shards import Shard
from edit_eval.driver.stage import StageSpec
from edit_eval.driver.store import RunReader, refuse_foreign

__all__ = ["Job", "JudgeJob", "StageJob", "in_shard", "output_folder", "prepare", "stage_cache"]


@dataclass(frozen=True)
class StageJob:
    """What editor and judge have in common once everything is found.

    Attributes:
        spec: for the pool; None if the stage does not run this time.
        params: resolved; None if the stage does not run this time.
        identity: part of keys.
        title: for people.
        size_policy: in words.
        models: what it loads: the model and the parts replaced over it.
    """

    spec: StageSpec | None
    params: Any
    identity: Mapping[str, Any]
    title: str
    size_policy: str
    models: Sequence[Model] = ()


@dataclass(frozen=True)
class JudgeJob:
    """The judge.

    Attributes:
        stage: as for the editor.
        judging: what makes its verdicts' keys.
        rubrics_hash: of all rubrics of the protocol, used by this run's samples or not.
        headlines: the benchmark's own numbers, the most important first.
        label: the name people know it by.
        batch_size: how many edits it judges at once.
        budget: money that judging may cost in this run directory (of a shard, its part of what the whole run may cost);
            None: any.
        most_cost: tokens of a question -> the most money that a verdict may cost; 0 where it costs none.
    """

    stage: StageJob
    judging: Judging
    rubrics_hash: str
    headlines: Sequence[Headline]
    label: str
    batch_size: int
    budget: float | None = None
    most_cost: Callable[[int], float] = lambda _tokens_in: 0.0


@dataclass(frozen=True)
class Job:
    """Everything a run needs.

    Attributes:
        checked: the config and its classes.
        output: run directory.
        wanted: every edit, in the benchmark's order, repeats of a sample side by side; of a shard, its own.
        editor, judge: the stages.
        protocol: id of what is measured.
        scratch: where hosts put caches and temporary files.
        backend: finds devices and starts keepers; who holds a job closes it.
        data: config key -> repository and commit of what the benchmark reads from a hub.
        whole: of a shard, every edit of the run that it is a part of; else `wanted`.
        judged_now: keys of the edits that this start judges, where edits that are there already are scored with a limit;
            None: all.
    """

    checked: Checked
    output: Path
    wanted: Sequence[WantedEdit]
    editor: StageJob
    judge: JudgeJob | None
    protocol: str
    scratch: Scratch
    backend: Backend
    data: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    whole: Sequence[WantedEdit] = ()
    judged_now: frozenset[str] | None = None

    def judges(self, one: WantedEdit) -> bool:
        """Whether this start has a verdict on this edit, or wants one."""
        if self.judge is None or (self.judged_now is not None and one.key not in self.judged_now):
            return False
        return self.judge.judging.applies(one)

    def identity(self) -> dict[str, Any]:
        """Return what may not change silently between two starts of one run."""
        return {
            "editor": dict(self.editor.identity),
            "judge": dict(self.judge.stage.identity) if self.judge else None,
            "rubric": self.judge.rubrics_hash if self.judge else None,
            "seed": self.checked.config.seed,
        }

    def with_devices(self, backend: Backend) -> Job:
        """Return the job with the devices that were not looked for yet (`prepare`). Raises `DeviceError`, `RunError`."""
        config, checked = self.checked.config, self.checked
        editor = _with_devices(self.editor, "editor", config.editor, checked.editor, backend)
        judge = self.judge
        if judge and config.judge and checked.judge:
            stage = _with_devices(judge.stage, "judge", config.judge, checked.judge, backend)
            judge = dataclasses.replace(judge, stage=stage)
        return dataclasses.replace(self, editor=editor, judge=judge)


def _with_devices(
    stage: StageJob, where: Literal["editor", "judge"], config: StageConfig, found: Found, backend: Backend
) -> StageJob:
    if stage.spec is None or stage.spec.devices:
        return stage
    devices = stage_devices(where, config, found, backend)
    return dataclasses.replace(stage, spec=dataclasses.replace(stage.spec, devices=devices))


def prepare(
    checked: Checked,
    *,
    stages: Sequence[StageName] = ("edit", "judge"),
    progress: Callable[[str], None] = lambda _text: None,
    hashes: FileHashes | None = None,
    workspace: Path | None = None,
) -> Job:
    """Find everything that the config names and the stages need.

    Without the editing stage, the run directory says which edits there are: neither the editor's model nor its
    interpreter nor the benchmark's files are looked for. Without the judging stage, nothing of the judge is.

    Devices of other machines are looked for at once for a run that is new; one that has begun may be finished, and what
    finds that there is work left asks for them (`Job.with_devices`).

    Args:
        checked: from `load_config`.
        stages: which will run.
        progress: told what takes long.
        hashes: of files; None: this is a real start, which makes the folders in `scratch` and remembers hashes.
        workspace: where a benchmark that makes its own images puts them; None: in the run directory.

    Raises:
        UserError: something is missing; one line.
    """
    config = checked.config
    if config.judge is None and "edit" not in stages:
        raise ConfigError("judge: is missing; there is nothing to score with")
    output_folder(checked)
    gpus = visible_gpus()
    scratch = find_scratch(config.scratch)
    backend = open_backend(config.backend, scratch.temporary, gpus)
    try:
        return _prepared(checked, stages, progress, hashes, workspace, scratch, backend)
    except BaseException:
        backend.close()
        raise


def _prepared(
    checked: Checked,
    stages: Sequence[StageName],
    progress: Callable[[str], None],
    hashes: FileHashes | None,
    workspace: Path | None,
    scratch: Scratch,
    backend: Backend,
) -> Job:
    """Find the same, with what finds devices; see `prepare`."""
    output, limit = output_folder(checked), checked.config.limit
    if "edit" not in stages:
        checked = _with_limit_of_edits(checked, output)
    config = checked.config

    def place(where: Literal["editor", "judge"], stage: StageConfig, found: Found) -> Place:
        interpreter = resolve_interpreter(where, stage.python, stage.conda)
        later = backend.connects and (output / "run.json").exists()
        devices = [] if later else stage_devices(where, stage, found, backend)
        return Place(devices, interpreter, scratch, config.proxy)

    editor_place = place("editor", config.editor, checked.editor) if "edit" in stages else None
    judge_place = None
    if "judge" in stages and config.judge and checked.judge:
        judge_place = place("judge", config.judge, checked.judge)
    protocol = protocol_in_use(checked, judging=judge_place is not None)
    _find_cheap_faults(checked, protocol, edit="edit" in stages, judge=judge_place is not None)
    if hashes is None:
        scratch.make()
    with hashes or FileHashes(scratch.hashes) as known:
        if editor_place:
            refuse_foreign(output)
            samples = load_samples(checked, output, workspace, known)
            if line := outside_images(checked, samples, workspace or output):
                progress(line)
            editor = _editor_job(checked, editor_place, known, progress)
            whole: Sequence[WantedEdit] = _wanted(checked, samples, editor, known)
            if line := _finished_edits(checked, samples, editor):
                progress(line)
        else:
            editor, whole = _recorded(_edited_in(config, output), known)
        protocol = counted(protocol, (one.sample for one in whole))
        judge = _judge_job(checked, judge_place, protocol, whole, known, progress) if judge_place else None
    data = find_data(checked).commits if editor_place else {}
    wanted = _share(config, whole)
    if judge and judge.budget is not None and whole:
        judge = dataclasses.replace(judge, budget=judge.budget * len(wanted) / len(whole))
    now = None if editor_place or not limit else _first_of(whole, limit, checked.benchmark.cls.stratum)
    return Job(checked, output, wanted, editor, judge, protocol.id, scratch, backend, data, whole, now)


def _with_limit_of_edits(checked: Checked, output: Path) -> Checked:
    """Return the config with the limit that the edits were made with: what is scored is about these, whatever the limit now."""
    place = _edited_in(checked.config, output)
    if not (place / "run.json").exists():
        return checked
    limit = needed(read_info(place), "config", place).get("limit")
    return dataclasses.replace(checked, config=checked.config.model_copy(update={"limit": limit}))


def _first_of(whole: Sequence[WantedEdit], limit: int, stratum: str) -> frozenset[str] | None:
    """Return the keys of the edits of so many samples, or None where that is all of them."""
    samples = list({one.sample.id: one.sample for one in whole}.values())
    if limit >= len(samples):
        return None
    chosen = {sample.id for sample in limited(samples, limit, stratum)}
    return frozenset(one.key for one in whole if one.sample.id in chosen)


def _share(config: Config, whole: Sequence[WantedEdit]) -> Sequence[WantedEdit]:
    """Return which edits this start is about."""
    return Shard.parse(config.shard).share(whole) if config.shard else whole


def _find_cheap_faults(checked: Checked, protocol: ProtocolInUse, *, edit: bool, judge: bool) -> None:
    """Raise what is wrong with models, parameters and rubric before images and weights are read, which takes minutes."""
    config = checked.config
    if judge and config.judge and checked.judge:
        _refuse_unpriced(checked.judge, config.judge, checked.params["judge"], protocol)
        folder = _model_folder(checked, "judge", config.judge, checked.judge)
        checked.judge.resolve(checked.params["judge"], folder or remote_name(config.judge, checked.judge))
        _refuse_incomplete("judge", config.judge, folder, {})
    if edit:
        folder = _model_folder(checked, "editor", config.editor, checked.editor)
        parts = _found_parts(checked, folder)
        checked.editor.resolve(checked.params["editor"], folder)
        _refuse_incomplete("editor", config.editor, folder, parts)


def _refuse_unpriced(found: Found, config: JudgeConfig, params: Any, protocol: ProtocolInUse) -> None:
    """Raise `ConfigError` if there is a budget, and no way to know what a verdict costs."""
    rubrics = protocol.rubrics.values()
    if config.budget is not None and any(found.cls.most_cost(params, one, 1) is None for one in rubrics):
        raise ConfigError(
            "judge.budget: needs to know what verdicts cost; only type openai does, with judge.params.price"
        )


def _found_parts(checked: Checked, folder: str | None) -> dict[str, Path]:
    """Return where the components lie that replace those of the editor's model, which is in `folder`; look for a LoRA."""
    config, found = checked.config.editor, checked.editor
    cache = stage_cache(checked, config)
    if config.components and folder is None:
        raise ConfigError(f"editor.components: {found.name} has no components")
    if folder is not None:
        found.check(folder, config.components)  # first by name: a wrong one need not be looked for
    parts = {
        name: find_model(f"editor.components.{name}", path, "", cache)
        for name, path in sorted(config.components.items())
    }
    if folder is not None and parts:
        found.check(folder, {name: str(path) for name, path in parts.items()})
    if config.lora:
        if not found.cls.takes_lora:
            raise ConfigError(f"editor.lora: {found.name} takes no LoRA")
        refuse_cut_off("editor.lora", config.lora.model, find_lora("editor.lora", config.lora.model, cache))
    return parts


def _refuse_incomplete(
    where: str, config: StageConfig, folder: str | None, parts: Mapping[str, Path]
) -> None:
    """Raise `ModelError` if a part of a model is missing or cut off, by its index and its files' own headers."""
    if folder is None:
        return
    faults = inspect_checkpoint(Path(folder), None, parts).faults
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise ModelError(
            f"{where}.model: {config.model} is incomplete: {faults[0]}{more}; {FETCH}, or copy it again"
        )


def stage_cache(checked: Checked, stage: StageConfig) -> HubCache:
    """Return the cache in which a stage's models are looked for."""
    return open_cache(stage.hub, checked.config.hub_cache)


def _model_folder(checked: Checked, where: str, stage: StageConfig, found: Found) -> str | None:
    """Return the folder of a stage's model, its weights unread; None for a kind that takes none, or none from here."""
    if found.cls.remote_model:
        remote_name(stage, found, where)
        return None
    if not found.cls.model_file:
        if stage.model:
            raise ConfigError(f"{where}.model: {found.name} takes no model")
        return None
    if not stage.model:
        raise ConfigError(f"{where}.model: is missing; give a local folder or a hub id such as owner/name")
    return str(find_model(f"{where}.model", stage.model, found.cls.model_file, stage_cache(checked, stage)))


def _edited_in(config: Config, output: Path) -> Path:
    """Return where the edits are: of a shard that has not begun in the run above it, of which it will have its share."""
    if config.shard and not (output / "run.json").exists():
        return run_above(output, Shard.parse(config.shard)) or output
    return output


def _recorded(output: Path, hashes: FileHashes) -> tuple[StageJob, Sequence[WantedEdit]]:
    """Return the editor and the edits of a run that is there already, made from files that are still the same."""
    if not (output / "run.json").exists():
        raise RunError(
            f"{output} holds no edits yet; make them with 'edit-eval edit', or give a folder of finished ones with --edits"
        )
    run = RunReader(output)
    identity, title, size_policy = (
        needed(run.info, key, output) for key in ("identity.editor", "editor", "size_policy.editor")
    )
    check_images([one.sample for one in run.wanted], hashes)
    _refuse_changed(run.wanted, hashes)
    return StageJob(None, None, identity, title, size_policy), run.whole


def _refuse_changed(wanted: Sequence[WantedEdit], hashes: FileHashes) -> None:
    """Refuse files that are no longer those the edits' keys were made of: a verdict on them would be of another edit."""
    changed = []
    for one in wanted:
        try:
            now = _hashes_of(one.sample, hashes)
        except OSError as error:
            raise _unreadable(one.sample, error) from error
        if now != (one.source_sha256, one.beside_sha256):
            changed.append(one.sample.id)
    if changed:
        names = sorted({*changed})
        more = f", and those of {len(names) - 1} more did" if len(names) > 1 else ""
        raise DataError(
            f"the images of sample {shown(changed[0])} changed since it was edited{more}; use 'edit-eval run', which edits anew"
        )


def _hashes_of(sample: Sample, hashes: FileHashes) -> tuple[tuple[str, ...], Mapping[str, tuple[str, ...]]]:
    """Return the hashes of the sources, and of the sample's other images by what they are. Raises `OSError`."""
    sources = tuple([hashes.recalled(path) for path in sample.images])
    if not (sample.references or sample.target or sample.judged):
        return sources, _NOTHING_BESIDE
    beside = {
        "reference": tuple(map(hashes.recalled, sample.references)),
        "target": (hashes.recalled(sample.target),) if sample.target else (),
    }
    if sample.judged:
        beside["judged"] = tuple(map(hashes.recalled, sample.judged))
    return sources, beside


_NOTHING_BESIDE: Mapping[str, tuple[str, ...]] = {"reference": (), "target": ()}


def _unreadable(sample: Sample, error: OSError) -> DataError:
    return DataError(
        f"sample {shown(sample.id)}: cannot read {error.filename or sample.images[0]}: {error.strerror or error}"
    )


def output_folder(checked: Checked) -> Path:
    """Return the run directory: the config's `output`, or one named after editor and benchmark under `runs/`.

    What is said to be a shard is one in this directory: `in_shard` gives it one of its own.
    """
    config = checked.config
    if config.output:
        if "\0" in config.output:
            raise ConfigError("output: a path cannot hold a null byte")
        return Path(config.output).expanduser().absolute()
    model = (config.editor.model or checked.editor.name).rstrip("/").split("/")[-1]
    return (Path("runs") / f"{model}-{checked.benchmark.cls.name}").absolute()


def in_shard(checked: Checked, shard: Shard) -> Checked:
    """Return the config of one shard: the same run, its own directory below the run's.

    Raises:
        ConfigError: it is that of another shard.
    """
    known = checked.config.shard
    if known == str(shard):
        return checked
    if known:
        raise ConfigError(f"shard: this is shard {known} already, and none of it is {shard}")
    given = {"shard": str(shard), "output": str(shard.folder(output_folder(checked)))}
    return dataclasses.replace(checked, config=checked.config.model_copy(update=given))


def _model(
    checked: Checked,
    where: str,
    stage: StageConfig,
    found: Found,
    hashes: FileHashes,
    progress: Callable[[str], None],
) -> Model | None:
    if not found.cls.model_file or not stage.model:
        return None
    cache = stage_cache(checked, stage)
    return resolve_model(f"{where}.model", stage.model, found.cls.model_file, hashes, progress, cache)


def _editor_job(
    checked: Checked, place: Place, hashes: FileHashes, progress: Callable[[str], None]
) -> StageJob:
    config, found = checked.config.editor, checked.editor
    model, cache = _model(checked, "editor", config, found, hashes, progress), stage_cache(checked, config)
    components = {
        name: resolve_model(f"editor.components.{name}", path, "", hashes, progress, cache)
        for name, path in sorted(config.components.items())
    }
    message: dict[str, Any] = {
        "role": "edit_eval.worker.roles:EditRole",
        "components": {name: str(part.path) for name, part in components.items()},
        "options": {},
    }
    used = [*components.values()]
    parts: dict[str, Any] = {"components": {name: part.identity for name, part in components.items()}}
    if config.lora:  # else the key stays what it was before there were any
        lora = resolve_lora("editor.lora", config.lora.model, hashes, progress, cache)
        used.append(lora)
        message["lora"] = [str(lora.path), config.lora.scale]
        parts["lora"] = {**lora.identity, "scale": config.lora.scale}
    stage = _stage_job("edit", config, found, checked.params["editor"], model, place, message, parts)
    return dataclasses.replace(stage, models=(*stage.models, *used))


def _judge_job(
    checked: Checked,
    place: Place,
    protocol: ProtocolInUse,
    wanted: Sequence[WantedEdit],
    hashes: FileHashes,
    progress: Callable[[str], None],
) -> JudgeJob:
    config, found = checked.config.judge, checked.judge
    if config is None or found is None:
        raise ConfigError("judge: is missing")
    model = _model(checked, "judge", config, found, hashes, progress)
    whole = Judging({}, protocol.rubrics, tuple(found.cls.reads))
    if config.against:
        against = find_against(config.against, wanted, output_folder(checked), hashes)
        whole = dataclasses.replace(whole, against=against)
    used = whole.used_by(one.sample for one in wanted)
    message = {
        "role": "edit_eval.worker.roles:JudgeRole",
        "components": {},
        "options": {"batch_size": config.batch_size},
        "rubrics": {name: rubric.to_json() for name, rubric in used.rubrics.items()},
    }
    stage = _stage_job("judge", config, found, checked.params["judge"], model, place, message, {})
    judging = dataclasses.replace(used, identity=stage.identity)
    rubrics = tuple(used.rubrics.values())

    def most_cost(tokens_in: int) -> float:
        return max(found.cls.most_cost(stage.params, rubric, tokens_in) or 0.0 for rubric in rubrics)

    return JudgeJob(
        stage,
        judging,
        whole.rubrics_hash,
        protocol.headlines,
        found.cls.label,
        config.batch_size,
        config.budget,
        most_cost,
    )


def _stage_job(
    name: StageName,
    config: EditorConfig | JudgeConfig,
    found: Found,
    given: Any,
    model: Model | None,
    place: Place,
    message: Mapping[str, Any],
    parts: Mapping[str, Any],
) -> StageJob:
    """Return what both stages have in common; `message` and `parts` are what only one has."""
    remote = remote_name(config, found)
    path = str(model.path) if model else remote
    params = found.resolve(given, path)
    identity = {
        "name": found.name,
        "version": found.cls.version,
        "model": model.identity if model else {"name": remote} if remote else None,
        "params": identity_params(params),
        **parts,
    }
    whole = {**message, "target": found.target, "params": dataclasses.asdict(params), "model": path}
    title = f"{found.name} {config.model}" if config.model else found.name
    if isinstance(config, EditorConfig) and config.lora:
        title += f" + {config.lora.model} x {config.lora.scale:g}"
    title += "".join(f" + {one}" for one in approximations_of(params))
    spec = stage_spec(name, config, found, place, whole)
    models = (model,) if model else ()
    return StageJob(spec, params, identity, title, found.size_policy(params), models)


def _finished_edits(checked: Checked, samples: Sequence[Sample], editor: StageJob) -> str:
    """Return a line about a folder of edits that is not as it should be; the rest of it belongs to no limited run."""
    found = FolderOfEdits.of(samples, checked.config.repeats, checked.editor.cls, editor.params)
    if found is None:
        return ""
    line = summary_line(dataclasses.replace(found, extra=()) if checked.config.limit else found)
    return f"{line}; edit-eval lint says which, and looks into them" if line else ""


def _wanted(
    checked: Checked, samples: Sequence[Sample], editor: StageJob, hashes: FileHashes
) -> list[WantedEdit]:
    config = checked.config
    seed_of, key_of = seeds(config.seed), edit_keys(editor.identity)
    conditioning_of, origin = partial(checked.editor.conditioning, editor.params), checked.editor.cls.origin
    wanted: list[WantedEdit] = []
    for sample in samples:
        try:
            sources, beside = _hashes_of(sample, hashes)
            further = tuple([(path, hashes.sha256(path)) for path in conditioning_of(sample)])
            conditioning = [origin(editor.params, *one) for one in further]
        except OSError as error:
            raise _unreadable(sample, error) from error
        clustered = sample if sample.cluster else sample.in_cluster(sources[0])
        for repeat in range(config.repeats):
            seed = seed_of(sample.id, repeat)
            key = key_of(
                sample=sample,
                image_sha256=sources,
                conditioning_sha256=conditioning,
                seed=seed,
                repeat=repeat,
            )
            wanted.append(WantedEdit(len(wanted), clustered, repeat, seed, key, sources, beside, further))
    return wanted
