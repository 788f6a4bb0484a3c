"""Writes a run from its shards: images first, then the ledgers, run.json last.

A run that is there already is held, and read, before anything is decided. Every file is written whole or not at all, and run.json makes a
directory a run; so whatever interrupts a merge, the same command goes on from there. Images and thumbnails are links to the
same bytes where that can be, else copies. Shards are only read. Logs and telemetry of shards that lie elsewhere are copied
below `shards/` of the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from functools import partial as bound
from itertools import groupby
from pathlib import Path
from typing import Any

from edit_eval.core.errors import RunError
from edit_eval.driver.against import PREFIX, against_file, against_lines, read_against
from edit_eval.driver.judges import SAID, main_judge
from edit_eval.driver.ledger import json_bytes, ledger_line
from edit_eval.driver.merge import (
    Chosen,
    Part,
    chosen_edits,
    chosen_verdicts,
    missing,
    open_parts,
    open_run,
    records_of,
    refuse_strangers,
)
from edit_eval.driver.plan import Against, Judging, Rival, WantedEdit
from edit_eval.driver.refusals import cannot_write, why_not
from edit_eval.driver.runinfo import WHOLE, mapping, read_info, shard_of
from edit_eval.driver.shards import FOLDER
from edit_eval.driver.store import RunStore, image_is_intact, image_path, link_names, read_wanted
from edit_eval.driver.taken import take, take_inputs, take_thumbnails

__all__ = ["Merged", "merge"]

_TELEMETRY = "telemetry.jsonl"


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Attributes:
        output: the run directory.
        shards: how many there were.
        of: how many there are.
        edits, verdicts: outcomes that the run has now.
        missing: a line about every shard of which something is missing.
        notes: what could not be done and costs no outcome.
    """

    output: Path
    shards: int
    of: int
    edits: int
    verdicts: int
    missing: Sequence[str]
    notes: Sequence[str]


def merge(paths: Iterable[Path], output: Path, *, partial: bool = False) -> Merged:
    """Write the run that these shards are parts of.

    A file system that cannot lock is refused unless a config says `lock: false`, the run's or a shard's.

    Args:
        paths: of the shards, in any order.
        output: run directory; one that is there already, of the same run, gets what it lacks.
        partial: whether to merge although something of the run is missing in all of them.

    Raises:
        RunError: shards are not of one run, or not all there; two outcomes differ; something cannot be read or written.
    """
    parts = open_parts(paths)
    before = _info_before(output, parts)
    new = (
        None if before else _Gathered(parts, None, output, partial=partial)
    )  # what is refused leaves no folder
    lock = all(mapping(info.get("config")).get("lock", True) for info in (before, *_infos(parts)))
    with RunStore(output, lock=lock) as store:
        if new is None or store.info():
            new = _Gathered(parts, open_run(output, parts), output, partial=partial)
        return _Writer(store, new).write()


def _info_before(output: Path, parts: Sequence[Part]) -> Mapping[str, Any]:
    """Return what run.json says in a directory that is to become the run; empty if there is none.

    Raises:
        RunError: it is damaged, and what the run has must not be lost; or the directory is a shard.
    """
    if any(one.path.resolve() == output.resolve() for one in parts):
        raise RunError(f"{output} is one of the shards; merge into another folder")
    info = read_info(output) if (output / "run.json").is_file() else {}
    if itself := shard_of(info):
        raise RunError(f"{output} is a shard itself ({itself}); merge into another folder")
    return info


class _Gathered:
    """What shards, and the run if it is there, hold together: which outcomes count, and what is missing.

    Attributes:
        parts: the shards.
        into: the run; None: there is none yet.
        root: the run directory, absolute.
        wanted: every edit that the run is about.
        edits: which counts of each, in the order of the ledger.
        verdicts: likewise.
        compared: see `compared`.
        missing: lines for people.

    Raises:
        RunError: they are not of one run; two outcomes differ; something is missing, and the merge is not to be partial.
    """

    def __init__(self, parts: Sequence[Part], into: Part | None, output: Path, *, partial: bool) -> None:
        every = [*([into] if into else []), *parts]
        refuse_strangers(every)
        self.parts = parts
        self.into = into
        self.root = output.absolute()
        self._partial = partial
        self.wanted = into.run.wanted if into else read_wanted(parts[0].path / WHOLE, self.root)
        self.edits = self._whole(chosen_edits(every))
        self.verdicts = chosen_verdicts(every)
        self.compared = compared(every)
        self.missing = self._missing()

    @cached_property
    def edited(self) -> list[WantedEdit]:
        """What there is an edit of, in the run's order."""
        edited = {one.key for one in self.edits if one.image}
        return [one for one in self.wanted if one.key in edited]

    def _whole(self, edits: Iterable[Chosen]) -> list[Chosen]:
        """Return the edits whose image is what was recorded; without the others the run makes them anew.

        Raises:
            RunError: there is another one, and the merge is not to be partial.
        """
        kept = []
        for one in edits:
            if one.image is None or image_is_intact(one.part.path, one.key, {"image": one.image}):
                kept.append(one)
            elif not self._partial:
                raise RunError(
                    f"{one.part.path / image_path(one.key)} is missing or altered; 'edit-eval run {one.part.path}' makes it "
                    "anew, or merge without it with --partial"
                )
        return kept

    def _missing(self) -> list[str]:
        """Return the lines about what the run lacks, whoever has done the rest of it.

        Raises:
            RunError: something is missing, and the merge is not to be partial.
        """
        judges = merged_judges(self.parts, self.into)
        known = main_judge(judges)
        lines = missing(
            self.parts,
            self.wanted,
            {one.key: str(one.image["sha256"]) if one.image else None for one in self.edits},
            {one.key for one in self.verdicts},
            self._looked_up(known.judging) if known else None,
            known.repeat_fraction if known else 0.0,
        )
        if lines and not self._partial:
            raise RunError(f"{'; '.join(lines)}; finish it, or merge what there is with --partial")
        return lines

    def _looked_up(self, judging: Judging) -> Judging:
        """Return `judging` with the edits with which it compared, if it did. Raises `RunError`."""
        if judging.against is None:
            return judging
        name = against_file(judging.against)
        if name not in self.compared:
            raise RunError(
                f"none of the shards has {name}, the edits that they were compared with; judge one of them again"
            )
        return replace(judging, against=replace(judging.against, edits=self.compared[name]))


class _Writer:
    """Writes what was gathered into a run directory that is held."""

    def __init__(self, store: RunStore, gathered: _Gathered) -> None:
        self._store = store
        self._of = gathered
        self._root = gathered.root
        self._notes = [store.lock_note] if store.lock_note else []

    def write(self) -> Merged:
        """Write everything, in an order that leaves a run, or none, wherever it is interrupted.

        Raises:
            RunError: something cannot be written.
        """
        try:
            self._take_images()
            self._take_thumbnails()
            take_inputs(self._of.wanted, self._root, [one.path for one in self._of.parts])
            folders = self._take_records()
        except OSError as error:
            place = Path(error.filename2 or error.filename or self._root)
            raise cannot_write(place, error, place=self._root, instead="merge into another folder") from error
        self._link_by_id()
        self._store.write_lines("edits.jsonl", lambda: map(ledger_line, records_of(self._of.edits, "edits")))
        self._store.write_lines(
            "verdicts.jsonl", lambda: map(ledger_line, records_of(self._of.verdicts, "verdicts"))
        )
        for name, edits in self._of.compared.items():
            self._store.write_lines(name, bound(against_lines, Against("", edits)))
        self._store.write_wanted(self._of.wanted)
        self._store.write_info(merged_info(self._of.parts, self._of.into, self._root, folders))
        return Merged(
            self._store.path,
            len({one.shard for one in self._of.parts}),
            self._of.parts[0].whole.count,
            len(self._of.edited),
            len(self._of.verdicts),
            self._of.missing,
            self._notes,
        )

    def _take_images(self) -> None:
        for one in self._of.edits:
            if one.image is None or one.part is self._of.into:
                continue
            name = image_path(one.key)
            copied = take(one.part.path / name, self._root / name)
            if not image_is_intact(self._root, one.key, {"image": one.image}, verify=copied):
                raise RunError(
                    f"{self._root / name} is not what was recorded, though it was just taken over from {one.part.path}; "
                    "look at the disk, then give the same command again"
                )

    def _take_thumbnails(self) -> None:
        """Take over thumbnails: of an edit, from one of the directories that have it or are of its shard."""
        place = self._of.parts[0].whole.place
        edited: dict[int, list[WantedEdit]] = {}
        for one in self._of.edited:
            edited.setdefault(place[one.key][0], []).append(one)
        for shard, group in groupby(self._of.parts, lambda one: one.shard):
            if shard:
                take_thumbnails(edited.get(shard.index, ()), self._root, [one.path for one in group])

    def _take_records(self) -> Mapping[str, Sequence[str]]:
        """Copy logs and telemetry of shards that lie elsewhere; those below the run stay where they are.

        Returns:
            Where they are now, relative to the run, by shard.
        """
        home = self._root / FOLDER
        there = {
            part.path.resolve() for part in self._of.parts if part.path.resolve().parent == home.resolve()
        }
        taken = {path.name for path in there}
        folders: dict[str, list[str]] = {}
        for part in self._of.parts:
            if part.shard is None:
                continue
            name, number = part.shard.folder_name, 1
            if part.path.resolve() in there:
                folders.setdefault(str(part.shard), []).append(f"{FOLDER}/{part.path.resolve().name}")
                continue
            while name in taken or not _may_hold(home / name, part.path):
                number += 1
                name = f"{part.shard.folder_name}-{number}"
            taken.add(name)
            folders.setdefault(str(part.shard), []).append(f"{FOLDER}/{name}")
            for source in [part.path / _TELEMETRY, *sorted((part.path / "logs").glob("*"))]:
                if source.is_file():
                    take(source, home / name / source.relative_to(part.path), copy=True)
        return folders

    def _link_by_id(self) -> None:
        """Make the links for people; where there cannot be links, that is a note."""
        config = mapping(self._of.parts[0].run.info.get("config"))
        if config.get("links") is False:
            return
        names = link_names(self._of.wanted)
        for one in self._of.edited:
            try:
                self._store.link_by_id(one, names[one.key])
            except OSError as error:
                place = self._root / "by-id"
                self._notes.append(f"no links under {place}: {why_not(error, place)}")
                return


def _may_hold(folder: Path, shard: Path) -> bool:
    """Whether a shard's logs and telemetry may be copied there: it has none yet, or what was copied of the same ones before."""
    if (folder / "run.json").exists():
        return False
    before, now = folder / _TELEMETRY, shard / _TELEMETRY
    return not before.exists() or (now.exists() and now.read_bytes().startswith(before.read_bytes()))


def compared(parts: Iterable[Part]) -> dict[str, dict[tuple[str, int], Rival]]:
    """Return what the files say about the runs that this one is compared with: of each sample, what its own shard says.

    Args:
        parts: the run first, if there is one.

    Returns:
        By the file's name: the other run's edits by sample id and repeat.

    Raises:
        RunError: one is damaged.
    """
    found: dict[str, dict[tuple[str, int], Rival]] = {}
    sure: dict[str, set[tuple[str, int]]] = {}
    for part in parts:
        own = {(one.sample.id, one.repeat) for one in part.run.wanted}
        for path in sorted(part.path.glob(f"{PREFIX}*.jsonl")):
            edits, known = found.setdefault(path.name, {}), sure.setdefault(path.name, set())
            there = read_against(path, "").edits or {}
            edits.update((key, one) for key, one in there.items() if key not in edits or key in own - known)
            known |= own & there.keys()
    return found


def _infos(parts: Iterable[Part]) -> list[Mapping[str, Any]]:
    return [one.run.info for one in parts]


def merged_judges(parts: Sequence[Part], into: Part | None) -> dict[str, Any]:
    """Return what run.json says of the merged run's own judge, with the largest share judged twice."""
    own = _own(parts, into)
    judges = {name: own.get(name) for name in SAID}
    if judges.get("judging"):
        shares = [one.get("repeat_fraction") or 0.0 for one in (own, *_infos(parts)) if one.get("judging")]
        judges["repeat_fraction"] = max(shares) or None
    return judges


def _own(parts: Sequence[Part], into: Part | None) -> Mapping[str, Any]:
    """Return the run.json that the merged run's config and judge are taken from: its own, if it was judged or none was."""
    base = _base(parts)
    before: Mapping[str, Any] = into.run.info if into else {}
    return before if into and (main_judge(before) or not main_judge(base)) else base


def _base(parts: Sequence[Part]) -> Mapping[str, Any]:
    """Return the run.json of a shard that was judged, or of the first."""
    return next((one for one in _infos(parts) if main_judge(one)), parts[0].run.info)


def merged_info(
    parts: Sequence[Part], into: Part | None, output: Path, folders: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return what run.json says of the merged run.

    Its judges are those that the shards had, its starts those of all shards, each marked with its shard, and its own.
    `folders`: of each shard, where its logs and telemetry lie.
    """
    infos, own, base = _infos(parts), _own(parts, into), _base(parts)
    before: Mapping[str, Any] = into.run.info if into else {}
    starts = [
        {**mapping(start), "shard": str(one.shard)}
        for one in parts
        for start in one.run.info.get("starts") or ()
    ]
    given = {(one["shard"], one.get("at")) for one in starts}
    kept = [
        one
        for one in before.get("starts") or ()
        if (mapping(one).get("shard"), mapping(one).get("at")) not in given
    ]
    created = [str(one["created"]) for one in (*infos, before) if one.get("created")]
    others = _other_judges([before, *infos])
    known = mapping(before.get("shards"))
    return {
        "created": min(created, default=""),
        "name": output.name,
        "config": {**mapping(own.get("config")), "shard": None, "output": str(output)},
        "identity": own.get("identity", {}),
        "data": base.get("data", {}),
        "editor": base.get("editor", ""),
        "size_policy": base.get("size_policy", {}),
        "min_coverage": own.get("min_coverage", base.get("min_coverage")),
        **merged_judges(parts, into),
        **({"other_judges": others} if others else {}),
        "shards": {
            name: list(dict.fromkeys([*known.get(name, ()), *folders.get(name, ())]))
            for name in sorted({*known, *folders})
        },
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
