"""Writes a run from its shards: images first, then the ledgers, run.json last.

Every file is written whole or not at all, and run.json makes a directory a run; so whatever interrupts a merge, the same
command goes on from there. Images and thumbnails are links to the same bytes where that can be, else copies. Shards are only
read. Logs and telemetry of shards that lie elsewhere are copied below `shards/` of the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edit_eval.core.errors import RunError
from edit_eval.driver.against import PREFIX
from edit_eval.driver.judges import SAID, main_judge
from edit_eval.driver.ledger import json_bytes, json_value, ledger_line
from edit_eval.driver.merge import (
    Chosen,
    Part,
    chosen_edits,
    chosen_verdicts,
    missing_shards,
    open_parts,
    refuse_strangers,
)
from edit_eval.driver.plan import WantedEdit
from edit_eval.driver.refusals import cannot_write, why_not
from edit_eval.driver.runinfo import mapping
from edit_eval.driver.shards import FOLDER
from edit_eval.driver.store import WHOLE, RunStore, image_is_intact, image_path, link_names
from edit_eval.driver.taken import take, take_inputs, take_thumbnails
from edit_eval.driver.wanted import wanted_from_lines

__all__ = ["Merged", "merge"]


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Attributes:
        output: the run directory.
        shards: how many there were.
        of: how many there are.
        edits, verdicts: outcomes that the run has now.
        missing: a line about every shard that is not there, or not finished.
        notes: what could not be done and costs no outcome.
    """

    output: Path
    shards: int
    of: int
    edits: int
    verdicts: int
    missing: Sequence[str]
    notes: Sequence[str]


def merge(paths: Iterable[Path], output: Path, *, partial: bool = False, lock: bool = True) -> Merged:
    """Write the run that these shards are parts of.

    Args:
        paths: of the shards, in any order.
        output: run directory; one that is there already, of the same run, gets what it lacks.
        partial: whether to merge although a shard is missing or not finished.
        lock: whether to refuse a file system that cannot lock.

    Raises:
        RunError: shards are not of one run, or not all there; two outcomes differ; something cannot be read or written.
    """
    parts = open_parts(paths)
    if any(one.path.resolve() == output.resolve() for one in parts):
        raise RunError(f"{output} is one of the shards; merge into another folder")
    into = Part(output) if (output / "run.json").is_file() else None
    if into and into.shard:
        raise RunError(f"{output} is a shard itself ({into.shard}); merge into another folder")
    refuse_strangers(parts, into)
    missing = missing_shards(parts)
    if missing and not partial:
        raise RunError(f"{'; '.join(missing)}; finish it, or merge what there is with --partial")
    every = [*([into] if into else []), *parts]
    edits = list(_whole(chosen_edits(every), partial=partial))
    with RunStore(output, lock=lock) as store:
        return _Writer(store, parts, into, edits).write(missing)


def _whole(edits: Iterable[Chosen], *, partial: bool) -> Iterator[Chosen]:
    """Yield the edits whose image is what was recorded; without the others the run makes them anew.

    Raises:
        RunError: there is another one, and the merge is not to be partial.
    """
    for one in edits:
        if one.record["status"] != "edited" or image_is_intact(one.part.path, one.key, one.record):
            yield one
        elif not partial:
            raise RunError(
                f"{one.part.path / image_path(one.key)} is missing or altered; 'edit-eval run {one.part.path}' makes it "
                "anew, or merge without it with --partial"
            )


class _Writer:
    """One merge, into a run directory that it holds."""

    def __init__(
        self, store: RunStore, parts: Sequence[Part], into: Part | None, edits: Sequence[Chosen]
    ) -> None:
        self._store = store
        self._parts = parts
        self._into = into
        self._edits = edits
        self._root = store.path.absolute()
        self._wanted = self._rerooted()
        self._notes = [store.lock_note] if store.lock_note else []

    def write(self, missing: Sequence[str]) -> Merged:
        """Write everything, in an order that leaves a run, or none, wherever it is interrupted."""
        every = [*([self._into] if self._into else []), *self._parts]
        verdicts = [(one.key, one.part) for one in chosen_verdicts(every)]
        try:
            self._take_images()
            take_thumbnails(self._edited(), self._root, [one.path for one in self._parts])
            take_inputs(self._wanted, self._root, [one.path for one in self._parts])
            folders = self._take_records()
        except OSError as error:
            place = Path(error.filename2 or error.filename or self._root)
            raise cannot_write(place, error, place=self._root, instead="merge into another folder") from error
        self._link_by_id()
        self._store.write_lines("edits.jsonl", lambda: map(ledger_line, (one.record for one in self._edits)))
        self._store.write_lines(
            "verdicts.jsonl", lambda: map(ledger_line, (one.record for one in chosen_verdicts(every)))
        )
        for name, lines in self._compared().items():
            self._store.write_lines(name, lines.__iter__)
        self._store.write_wanted(self._wanted)
        self._store.write_info(merged_info(self._parts, self._into, self._root, folders))
        first = self._parts[0].shard
        return Merged(
            self._store.path,
            len({one.shard for one in self._parts}),
            first.count if first else 1,
            sum(1 for one in self._edits if one.record["status"] == "edited"),
            len(verdicts),
            missing,
            self._notes,
        )

    def _rerooted(self) -> list[WantedEdit]:
        """Return what the run is about; images that lie in a shard are named where they will lie in the run."""
        if self._into:
            return self._into.run.whole
        lines = (self._parts[0].path / WHOLE).read_bytes().splitlines()
        return list(wanted_from_lines(lines, self._root))

    def _take_images(self) -> None:
        for one in self._edits:
            if one.record["status"] != "edited":
                continue
            if one.part is self._into:
                continue
            name = image_path(one.key)
            copied = take(one.part.path / name, self._root / name)
            if not image_is_intact(self._root, one.key, one.record, verify=copied):
                raise RunError(
                    f"{self._root / name} is not what was recorded, though it was just taken over from {one.part.path}; "
                    "look at the disk, then give the same command again"
                )

    def _take_records(self) -> Mapping[str, Sequence[str]]:
        """Copy logs and telemetry of shards that lie elsewhere; those below the run stay where they are.

        Returns:
            Where they are now, relative to the run, by shard.
        """
        home = self._root / FOLDER
        there = {part.path.resolve() for part in self._parts if part.path.resolve().parent == home.resolve()}
        taken = {path.name for path in there}
        folders: dict[str, list[str]] = {}
        for part in self._parts:
            if part.shard is None:
                continue
            name, number = part.shard.folder_name, 1
            if part.path.resolve() in there:
                folders.setdefault(str(part.shard), []).append(f"{FOLDER}/{part.path.resolve().name}")
                continue
            while name in taken or (home / name / "run.json").exists():
                number += 1
                name = f"{part.shard.folder_name}-{number}"
            taken.add(name)
            folders.setdefault(str(part.shard), []).append(f"{FOLDER}/{name}")
            for source in [part.path / "telemetry.jsonl", *sorted((part.path / "logs").glob("*"))]:
                if source.is_file():
                    take(source, home / name / source.relative_to(part.path), copy=True)
        return folders

    def _edited(self) -> list[WantedEdit]:
        edited = {one.key for one in self._edits if one.record["status"] == "edited"}
        return [one for one in self._wanted if one.key in edited]

    def _link_by_id(self) -> None:
        """Make the links for people; where there cannot be links, that is a note."""
        config = mapping(self._parts[0].run.info.get("config"))
        if config.get("links") is False:
            return
        names = link_names(self._wanted)
        for one in self._edited():
            try:
                self._store.link_by_id(one, names[one.key])
            except OSError as error:
                place = self._root / "by-id"
                self._notes.append(f"no links under {place}: {why_not(error, place)}")
                return

    def _compared(self) -> Mapping[str, Sequence[bytes]]:
        """Return the lines of the files about runs that this one is compared with: of each sample, its own shard's."""
        found: dict[str, dict[tuple[str, int], tuple[bool, bytes]]] = {}
        for part in (*([self._into] if self._into else []), *self._parts):
            own = {(one.sample.id, one.repeat) for one in part.run.wanted}
            for path in sorted(part.path.glob(f"{PREFIX}*.jsonl")):
                lines = found.setdefault(path.name, {})
                for line in path.read_bytes().splitlines():
                    entry = json_value(line)
                    key = (str(entry["sample"]), int(entry["repeat"]))
                    if key not in lines or (key in own and not lines[key][0]):
                        lines[key] = (key in own, line + b"\n")
        return {name: [line for _, (_, line) in sorted(lines.items())] for name, lines in found.items()}


def merged_info(
    parts: Sequence[Part], into: Part | None, output: Path, folders: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return what run.json says of the merged run.

    Its judges are those that the shards had, its starts those of all shards, each marked with its shard, and its own.
    `folders`: of each shard, where its logs and telemetry lie.
    """
    infos = [one.run.info for one in parts]
    base = next((one for one in infos if main_judge(one)), infos[0])
    before: Mapping[str, Any] = into.run.info if into else {}
    own = before if into and (main_judge(before) or not main_judge(base)) else base
    given = {str(one.shard) for one in parts}
    kept = [one for one in before.get("starts") or () if mapping(one).get("shard") not in given]
    starts = [
        {**mapping(start), "shard": str(one.shard)}
        for one in parts
        for start in one.run.info.get("starts") or ()
    ]
    created = [str(one["created"]) for one in (*infos, before) if one.get("created")]
    others = _other_judges([before, *infos])
    judges = {name: own.get(name) for name in SAID}
    if main_judge(base) and judges.get("judging"):
        shares = [one.get("repeat_fraction") or 0.0 for one in (own, *infos)]
        judges["repeat_fraction"] = max(shares) or None
    return {
        "created": min(created, default=""),
        "name": output.name,
        "config": {**mapping(own.get("config")), "shard": None, "output": str(output)},
        "identity": own.get("identity", {}),
        "data": base.get("data", {}),
        "editor": base.get("editor", ""),
        "size_policy": base.get("size_policy", {}),
        "min_coverage": own.get("min_coverage", base.get("min_coverage")),
        **judges,
        **({"other_judges": others} if others else {}),
        "shards": dict(sorted({**mapping(before.get("shards")), **folders}.items())),
        "starts": sorted([*kept, *starts], key=lambda start: str(mapping(start).get("at", ""))),
    }


def _other_judges(infos: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the judges beside the run's own that any part has had, each once, with the largest share judged twice."""
    found: dict[bytes, dict[str, Any]] = {}
    for info in infos:
        for one in info.get("other_judges") or ():
            known = found.setdefault(json_bytes(one["judging"]), dict(one))
            shares = [each.get("repeat_fraction") or 0.0 for each in (known, one)]
            known["repeat_fraction"] = max(shares) or None
    return list(found.values())
