"""`edit-eval fetch`: everything of a hub that a config names, brought to this machine before a run needs it.

First the listings: what is needed, how large it is, how much of it is here. Small configs come at once, so that a
model of another kind is refused before its weights are fetched. Then the files, repository by repository; each
becomes visible to runs when all of it is there and verified, and its archives are unpacked. Small files of GitHub come
first. Starts no process, loads no model.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edit_eval.benchmarks import GitHubFiles, HubData
from edit_eval.core.errors import ModelError, UserError, did_you_mean
from edit_eval.driver.config import Checked, EditorConfig, StageConfig
from edit_eval.driver.github import GitHub, github_folder, missing_files
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.hubcache import HubCache, HubKind, HubName, RepoKind, hub_name, open_cache
from edit_eval.driver.hubdata import wanted_data
from edit_eval.driver.huberrors import HubError
from edit_eval.driver.hubs import Hub, Listing, RemoteFile, Watch
from edit_eval.driver.machine import nearest_folder, size_text
from edit_eval.driver.models import hub_id, is_local
from edit_eval.driver.registry import Found
from edit_eval.driver.unpacking import unpack, unpacked_folder
from edit_eval.driver.weightfiles import (
    every_model_file,
    lora_files,
    matching_files,
    model_files,
    pipeline_files,
    weight_files,
)

__all__ = ["FetchItem", "FetchPlan", "Fetcher", "SmallFiles"]

_SMALL_BYTES = 1 << 20
_PIPELINE = "model_index.json"

DiskUsage = Callable[[Path], Any]


@dataclass
class FetchItem:
    """One repository at one commit.

    Attributes:
        where: the config keys that name it.
        listing: its files.
        files: those that are needed.
        last: paths that become visible last; without them a run sees no model.
        packed: (config key, what is read) whose archives are unpacked when all is there.
    """

    where: list[str]
    listing: Listing
    hub: Hub
    cache: HubCache
    files: dict[str, RemoteFile] = field(default_factory=dict)
    last: set[str] = field(default_factory=set)
    packed: list[tuple[str, HubData]] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Size of the needed files."""
        return sum(one.size for one in self._distinct())

    @property
    def bytes_here(self) -> int:
        """How much of that is here."""
        return sum(self.hub.bytes_here(self.listing, one) for one in self._distinct())

    @property
    def bytes_to_unpack(self) -> int:
        """About how much the archives hold that are not unpacked yet: as much as they are large."""
        snapshot = self.cache.repository(self.listing.name.repository, self.listing.kind)
        snapshot = snapshot / "snapshots" / str(self.listing.commit)
        return sum(
            self.files[name].size
            for _, data in self.packed
            if not unpacked_folder(snapshot, data.files, data.archives).is_dir()
            for name in matching_files(self.files, data.archives)
        )

    def _distinct(self) -> list[RemoteFile]:
        return list({one.hash or one.path: one for one in self.files.values()}.values())

    def ordered(self) -> list[RemoteFile]:
        """Return the files, those that a run looks for first at the end."""
        return sorted(self.files.values(), key=lambda one: (one.path in self.last, one.path))


@dataclass(frozen=True)
class SmallFiles:
    """Small files of a repository on GitHub.

    Attributes:
        where: the config key that they are for.
        files: which.
        folder: where they are kept.
        needed: whether a run of this config cannot do without them.
    """

    where: str
    files: GitHubFiles
    folder: Path
    needed: bool

    @property
    def here(self) -> bool:
        """Whether all of them are there."""
        return not missing_files(self.folder, self.files)


@dataclass(frozen=True)
class FetchPlan:
    """What a config names.

    Attributes:
        items: by repository and commit.
        local: (config key, path) of what is on this machine anyway.
        bytes_left: still to be fetched.
        free: (folder, free bytes) of each cache.
        small: what is read from GitHub.
    """

    items: Sequence[FetchItem]
    local: Sequence[tuple[str, str]]
    bytes_left: int
    free: Sequence[tuple[Path, int]]
    small: Sequence[SmallFiles] = ()


class Fetcher:
    """Plans, then fetches.

    Args:
        checked: the config.
        hashes: remembers the hashes of files that were verified.
        watch: who is told.
        disk_usage: as `shutil.disk_usage`.
    """

    def __init__(
        self, checked: Checked, hashes: FileHashes, watch: Watch, disk_usage: DiskUsage = shutil.disk_usage
    ) -> None:
        self._checked = checked
        self._hashes = hashes
        self._watch = watch
        self._disk_usage = disk_usage
        self._hubs: dict[HubKind, tuple[Hub, HubCache]] = {}
        self._items: dict[tuple[HubKind, RepoKind, str, str], FetchItem] = {}
        self._local: list[tuple[str, str]] = []
        self._small: list[SmallFiles] = []

    def plan(self) -> FetchPlan:
        """Find what is needed, and how large it is.

        Raises:
            UserError: a hub cannot be asked, has no such thing, or has something of another kind; one line.
        """
        config = self._checked.config
        self._stage("editor", config.editor, self._checked.editor)
        self._parts(config.editor)
        if config.judge and self._checked.judge:
            self._stage("judge", config.judge, self._checked.judge)
        self._benchmark()
        items = list(self._items.values())
        left = sum(one.bytes - one.bytes_here for one in items)
        folders = dict.fromkeys(one.cache.folder for one in items)
        free = [(one, int(self._disk_usage(nearest_folder(one)).free)) for one in folders]
        return FetchPlan(items, self._local, left, free, self._small)

    def refuse_too_large(self, plan: FetchPlan) -> None:
        """Raise `ModelError` if a plan does not fit on the disks."""
        left_on: dict[int, int] = {}
        for folder, free in plan.free:
            disk = nearest_folder(folder).stat().st_dev
            left_on[disk] = left_on.get(disk, 0) + sum(
                one.bytes - one.bytes_here + one.bytes_to_unpack
                for one in plan.items
                if one.cache.folder == folder
            )
            left = left_on[disk]
            if left > free:
                raise ModelError(
                    f"hub_cache: {size_text(left)} are to be fetched to {folder}, and {size_text(free)} are free there; "
                    "make room, or set hub_cache to a folder on another disk"
                )

    def fetch(self, plan: FetchPlan) -> Sequence[str]:
        """Fetch what a plan names; archives are unpacked.

        Returns:
            What could not be brought though a run can do without it (official prompts), one line each.

        Raises:
            UserError: what a run needs cannot be brought; what was fetched stays.
        """
        without = [line for one in plan.small if (line := self._bring_small(one))]
        for item in plan.items:
            where = item.where[0]
            item.hub.bring(where, item.listing, item.ordered(), self._watch)
            snapshot = item.hub.settle(where, item.listing, item.ordered())
            for key, data in item.packed:
                names = matching_files(item.files, data.files)
                target = unpacked_folder(snapshot, data.files, data.archives)
                unpack(key, snapshot, names, matching_files(names, data.archives), target, self._watch)
        return without

    def _bring_small(self, small: SmallFiles) -> str:
        """Bring small files; return why not where a run can do without them. Raises `UserError` where it cannot."""
        try:
            GitHub(self._watch).bring(small.where, small.files, small.folder)
        except HubError as error:
            if small.needed:
                raise
            return str(error)
        return ""

    # What the config names

    def _stage(self, kind: str, config: StageConfig, found: Found) -> None:
        where = f"{kind}.model"
        if not found.cls.model_file or not config.model:
            return
        name = self._hub_name(where, config.model)
        if name is None:
            return
        replaced = getattr(config, "components", {})
        item = self._item(where, config.hub, name, "model")
        files = self._model_paths(item, where, name, found, replaced)
        self._add(item, files, last=found.cls.model_file)
        self._refuse_other_kind(
            item, where, name, found, self._checked.params["editor" if kind == "editor" else "judge"]
        )

    def _model_paths(
        self, item: FetchItem, where: str, name: HubName, found: Found, replaced: Mapping[str, str]
    ) -> list[str]:
        names, main = list(item.listing.files), found.cls.model_file
        start = f"{name.inside}/" if name.inside else ""
        if start + main not in names:
            raise ModelError(
                f"{where}: {name.text} holds no {main}, so {found.name} cannot use it; {_what_it_is(names)}"
            )
        if patterns := found.cls.hub_files:
            return [start + main, *matching_files(names, [start + one for one in patterns])]
        if main != _PIPELINE:
            files, weights = model_files(names, name.inside)
            if not weights:
                files, weights = every_model_file(names, name.inside)
            if not weights:
                raise ModelError(
                    f"{where}: {name.text} holds no weights that can be loaded; {_what_it_is(names)}"
                )
            return files
        index = self._json(item, where, start + main)
        files, lacking = pipeline_files(names, index, name.inside, replaced)
        if lacking:
            raise ModelError(
                f"{where}: {name.text} holds no weights of {lacking[0]} that can be loaded (variants such as fp16 are not)"
            )
        return files

    def _parts(self, config: EditorConfig) -> None:
        for part, text in sorted(config.components.items()):
            where = f"editor.components.{part}"
            if name := self._hub_name(where, text):
                item = self._item(where, config.hub, name, "model")
                self._add(item, _component_paths(where, name, part, list(item.listing.files)))
        if config.lora and (name := self._hub_name("editor.lora", config.lora.model)):
            item = self._item("editor.lora", config.hub, name, "model")
            self._add(item, [_lora_path("editor.lora", name, list(item.listing.files))])

    def _benchmark(self) -> None:
        cls, params = self._checked.benchmark.cls, self._checked.params["benchmark"]
        for where, data in wanted_data(self._checked):
            if isinstance(data, GitHubFiles):
                self._add_small(where, data, needed=True)
                continue
            name = hub_name(where, data.repository)
            item = self._item(where, "huggingface", name, data.kind)
            paths = matching_files(item.listing.files, data.files)
            if not paths or (data.archives and not matching_files(paths, data.archives)):
                raise ModelError(
                    f"{where}: {name.text} has no files such as {', '.join(data.archives or data.files)}"
                )
            self._add(item, paths)
            if data.archives:
                item.packed.append((where, data))
        prompts = cls.prompt_files
        if prompts and not getattr(params, "prompts", None):
            self._add_small("benchmark.params.prompts", prompts, needed=False)

    def _add_small(self, where: str, files: GitHubFiles, *, needed: bool) -> None:
        folder = github_folder(self._checked.config.hub_cache, files)
        self._small.append(SmallFiles(where, files, folder, needed))

    def _hub_name(self, where: str, text: str) -> HubName | None:
        if is_local(text):
            self._local.append((where, text))
            return None
        return hub_id(where, text)

    # One repository

    def _item(self, where: str, hub_kind: HubKind, name: HubName, kind: RepoKind) -> FetchItem:
        hub, cache = self._hub(hub_kind)
        key = (hub_kind, kind, name.repository, name.revision or "")
        if key not in self._items:
            try:
                listing = hub.listing(where, name, kind, self._watch)
            except HubError as error:
                if not error.missing:
                    raise
                known = [*hub.near(name, kind), *cache.repositories(kind)]
                raise HubError(f"{error}{did_you_mean(name.repository, known)}", missing=True) from error
            self._items[key] = FetchItem([], listing, hub, cache)
        item = self._items[key]
        item.where.append(where)
        return item

    def _hub(self, kind: HubKind) -> tuple[Hub, HubCache]:
        if kind not in self._hubs:
            cache = open_cache(kind, self._checked.config.hub_cache)
            self._hubs[kind] = (_open_hub(kind, cache, self._hashes), cache)
        return self._hubs[kind]

    @staticmethod
    def _add(item: FetchItem, paths: Sequence[str], last: str = "") -> None:
        item.files |= {path: item.listing.files[path] for path in paths}
        item.last |= {path for path in paths if last and path.rpartition("/")[2] == last}

    def _json(self, item: FetchItem, where: str, path: str) -> Mapping[str, Any]:
        """Bring one small file, and return what it says."""
        file = item.listing.files[path]
        item.hub.bring(where, item.listing, [file], self._quiet())
        try:
            value = json.loads(item.hub.place(item.listing, file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{where}: {path} of {item.listing.name.repository} cannot be read as json"
            ) from error
        return value if isinstance(value, dict) else {}

    def _quiet(self) -> Watch:
        return Watch(say=self._watch.say, stop=self._watch.stop, pause_s=self._watch.pause_s)

    def _refuse_other_kind(
        self, item: FetchItem, where: str, name: HubName, found: Found, params: Any
    ) -> None:
        """Have the class look at the small configs before anything large is fetched. Raises `UserError`."""
        start = f"{name.inside}/" if name.inside else ""
        small = [one for one in item.files.values() if one.path.endswith(".json") and one.size < _SMALL_BYTES]
        small = [one for one in small if one.path.startswith(start)]
        item.hub.bring(where, item.listing, small, self._quiet())
        with tempfile.TemporaryDirectory(prefix="edit-eval-fetch-") as folder:
            for file in small:
                place = Path(folder, file.path.removeprefix(start))
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(item.hub.place(item.listing, file).absolute())
            try:
                if hasattr(found.cls, "check"):
                    found.cls.check(folder, {})
                found.cls.resolve(params, folder)
            except UserError as error:
                text = str(error).replace(folder, name.text)
                raise ModelError(text if text.startswith(where) else f"{where}: {text}") from error


def _open_hub(kind: HubKind, cache: HubCache, hashes: FileHashes) -> Hub:
    if kind == "modelscope":
        from edit_eval.driver.modelscope import ModelScope

        return ModelScope(cache, hashes)
    from edit_eval.driver.huggingface import HuggingFace

    return HuggingFace(cache, hashes)


def _component_paths(where: str, name: HubName, part: str, names: Sequence[str]) -> list[str]:
    if name.inside in names:
        if not name.inside.endswith(".safetensors"):
            raise ModelError(f"{where}: {name.text} is no .safetensors file, and others are not unpickled")
        return [name.inside]
    start = f"{name.inside}/" if name.inside else ""
    if start + _PIPELINE in names:
        inside = f"{name.repository}/{start}{part}"
        raise ModelError(f"{where}: {name.text} is a whole pipeline; give {inside}")
    files, _ = model_files(names, name.inside)
    if not files:
        folders = sorted({one.rpartition("/")[0] for one in names if "/" in one})
        hint = did_you_mean(name.inside, folders) or (
            f"; there are {', '.join(folders[:8])}" if folders else ""
        )
        raise ModelError(f"{where}: {name.repository} has no {name.inside or 'model in it'}{hint}")
    return files


def _lora_path(where: str, name: HubName, names: Sequence[str]) -> str:
    found = lora_files(names, name.inside)
    if len(found) == 1 and found[0].endswith(".safetensors"):
        return found[0]
    every = sorted(one for one in names if one.endswith(".safetensors"))
    if not every:
        raise ModelError(f"{where}: {name.repository} holds no .safetensors file")
    raise ModelError(
        f"{where}: name the one file that is meant, such as {name.repository}/{every[0]}; there are {len(every)}"
    )


def _what_it_is(names: Sequence[str]) -> str:
    """Say what a repository seems to hold instead."""
    root = [one for one in names if "/" not in one]
    if _PIPELINE in root:
        return "it is a diffusers pipeline"
    if "adapter_config.json" in root or "pytorch_lora_weights.safetensors" in root:
        return "it holds a LoRA: name that as editor.lora, over a base as editor.model"
    if "config.json" in root:
        return "it is a single model (config.json), perhaps a component, or a judge"
    if weight_files(root)[1]:
        return "it holds weights without a config"
    return f"it holds {', '.join(root[:4]) or 'nothing'}"
