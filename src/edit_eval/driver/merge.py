"""Shards of one run become that run: what belongs together, what is missing, which outcome counts. Files: `driver.gather`.

Nothing is decided by the order in which shards are named. Of two outcomes for one key an edit or a score counts before a
failure, and of two failures the later one; two edits or scores that are not the same are refused, for nobody could say which
is the run's. What was merged before counts as one more shard, so that merging again does only what is new.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edit_eval.core.errors import RunError, shown
from edit_eval.driver.changes import changes
from edit_eval.driver.judges import main_judge, same_judging
from edit_eval.driver.rows import read_rows
from edit_eval.driver.runinfo import mapping, shard_of
from edit_eval.driver.shards import Shard
from edit_eval.driver.store import RunReader, image_is_intact

__all__ = [
    "Chosen",
    "Part",
    "chosen_edits",
    "chosen_verdicts",
    "missing_shards",
    "open_parts",
    "refuse_strangers",
]

Record = Mapping[str, Any]

_NAMED = 5


class Part:
    """One directory that takes part in a merge: a shard, or the run that is merged into.

    Attributes:
        path: of the directory.
        run: what it holds.
        shard: which it is; None for a whole run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = RunReader(path)
        found = shard_of(self.run.info)
        self.shard = Shard.parse(found) if found else None

    @cached_property
    def keys(self) -> frozenset[str]:
        """Of the edits of the whole run."""
        return frozenset(one.key for one in self.run.whole)

    def unfinished(self) -> tuple[int, int]:
        """Return how many edits, and how many verdicts on edits that are there, are still to come."""
        rows = read_rows(self.run, thumbnails=False)
        edits = sum(1 for row in rows if row.edited is None)
        judged = main_judge(self.run.info) is not None
        verdicts = sum(1 for row in rows if row.edited and row.applicable and row.verdict is None)
        return edits, verdicts if judged else 0


def open_parts(paths: Iterable[Path]) -> list[Part]:
    """Return the shards in these directories, in their order; a folder with shards in it stands for all of them.

    Raises:
        RunError: one is no run directory, or no shard.
    """
    parts: dict[Path, Part] = {}
    for given in paths:
        for path in _shards_in(given):
            one = Part(path)
            if one.shard is None:
                raise RunError(f"{path} is no shard: it was run without --shard")
            if {edit.key for edit in one.run.wanted} != {edit.key for edit in one.shard.share(one.run.whole)}:
                raise RunError(
                    f"{path}: its samples are not those of shard {one.shard}; 'edit-eval run {path}' mends it"
                )
            parts[path.resolve()] = one
    return sorted(parts.values(), key=lambda one: (one.shard or Shard(0, 1), str(one.path)))


def _shards_in(path: Path) -> list[Path]:
    if (path / "run.json").is_file():
        return [path]
    found = sorted(one.parent for one in path.glob("*-of-*/run.json"))
    return found or [path]  # that is no run directory, which is said


def refuse_strangers(parts: Sequence[Part], into: Part | None) -> None:
    """Raise `RunError` unless all are of one run, divided into as many shards, and (if it is there) of that in `into`."""
    first = next((one for one in parts if main_judge(one.run.info)), parts[0])
    for one in parts:
        if one.shard and first.shard and one.shard.count != first.shard.count:
            raise RunError(
                f"{first.path} is a shard of {first.shard.count} and {one.path} one of {one.shard.count}; "
                "merge shards of one division"
            )
    for one in (*parts, *([into] if into else [])):
        lines = _differences(first, one)
        if lines:
            more = f" (and {len(lines) - 1} more differences)" if len(lines) > 1 else ""
            raise RunError(f"{one.path} is not of the same run as {first.path}: {lines[0]}{more}")


def _differences(first: Part, other: Part) -> list[str]:
    """Return in what two directories are of two runs; what was not judged yet differs in nothing of a judge."""
    if other is first:
        return []
    lines = [*changes(mapping(first.run.info.get("identity")), _known(first, other))]
    own, theirs = main_judge(first.run.info), main_judge(other.run.info)
    if own and theirs and not lines:
        if own.protocol != theirs.protocol:
            lines.append(f"protocol: {own.protocol} -> {theirs.protocol}")
        elif not same_judging(own.judging, theirs.judging):
            lines.append("the judge compares with another run, or sees other images")
    if first.keys != other.keys and not lines:
        both = len(first.keys & other.keys)
        lines.append(
            f"of {len(first.keys)} edits it has {both} and {len(other.keys) - both} others: other samples"
        )
    return lines


def _known(first: Part, other: Part) -> Mapping[str, Any]:
    """Return the identity of another part, with `first`'s judge where it has none yet."""
    own, theirs = (mapping(one.run.info.get("identity")) for one in (first, other))
    absent = {name: own.get(name) for name in ("judge", "rubric") if theirs.get(name) is None}
    return {**theirs, **absent}


def missing_shards(parts: Sequence[Part]) -> list[str]:
    """Return a line about each shard that is not there, and each that has work left."""
    there = {one.shard for one in parts if one.shard}
    count = next(iter(there)).count
    absent = [str(Shard(index, count)) for index in range(count) if Shard(index, count) not in there]
    lines = []
    if absent:
        more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
        lines.append(f"not there: shard {', '.join(absent[:_NAMED])}{more}")
    for shard in sorted(there):
        least = min(
            ((*one.unfinished(), str(one.path)) for one in parts if one.shard == shard),
            key=lambda one: one[:2],
        )
        edits, verdicts, path = least
        if edits or verdicts:
            what = [f"{edits} edits"] * bool(edits) + [f"{verdicts} verdicts"] * bool(verdicts)
            lines.append(f"not finished: shard {shard} ({path}) lacks {' and '.join(what)}")
    return lines


@dataclass(frozen=True)
class Chosen:
    """The outcome that counts for one key: its record, as it is to be written, and where it comes from."""

    key: str
    record: Record
    part: Part


def chosen_edits(parts: Sequence[Part]) -> Iterator[Chosen]:
    """Yield the edit that counts of every key, those of the run in its order; one whose image is gone counts last.

    Raises:
        RunError: two parts have two different edits of one sample.
    """

    def intact(part: Part, record: Record) -> bool:
        return image_is_intact(part.path, str(record["key"]), record)

    for key in _in_order(parts, [one.run.edits for one in parts]):
        found = _found(parts, [one.run.edits for one in parts], key)
        made = [one for one in found if one.record["status"] == "edited"]
        if len({one.record["image"]["sha256"] for one in made}) > 1:
            raise _conflict("edits", made)
        if len(made) > 1:
            made.sort(key=lambda one: not intact(one.part, one.record))  # stable: the first that is whole
        yield made[0] if made else max(found, key=_age)


def chosen_verdicts(parts: Sequence[Part]) -> Iterator[Chosen]:
    """Yield the verdict that counts of every key, those on edits of the run in its order. Raises `RunError`, likewise."""
    order = {one.key: one.index for one in parts[0].run.whole}
    chosen = []
    for key in dict.fromkeys(key for one in parts for key in one.run.verdicts):
        found = _found(parts, [one.run.verdicts for one in parts], key)
        scored = [one for one in found if one.record["verdict"]["unscored"] is None]
        if len({_said(one.record["verdict"]) for one in scored}) > 1:
            raise _conflict("verdicts", scored)
        one = scored[0] if scored else max(found, key=_age)
        place = order.get(str(one.record.get("edit_key")), len(order))
        chosen.append((place, int(one.record.get("again", 0)), key, parts.index(one.part)))
    for _, _, key, number in sorted(chosen):
        yield Chosen(key, _marked(parts[number], parts[number].run.verdicts[key]), parts[number])


def _in_order(parts: Sequence[Part], ledgers: Sequence[Iterable[str]]) -> Iterator[str]:
    """Yield every key that a ledger has, those of the run first and in its order, others by themselves."""
    wanted = [one.key for one in parts[0].run.whole]
    there = {key for ledger in ledgers for key in ledger}
    yield from (key for key in dict.fromkeys(wanted) if key in there)
    yield from sorted(there.difference(wanted))


def _found(parts: Sequence[Part], ledgers: Sequence[Mapping[str, Record]], key: str) -> list[Chosen]:
    return [
        Chosen(key, _marked(part, ledger[key]), part)
        for part, ledger in zip(parts, ledgers, strict=True)
        if key in ledger
    ]


def _marked(part: Part, record: Record) -> Record:
    """Return a record with the shard that it comes from: the devices of all shards have the same names."""
    return {**record, "shard": str(part.shard)} if part.shard else record


def _age(one: Chosen) -> tuple[str, str]:
    return str(one.record.get("at", "")), str(sorted(one.record.items()))


def _said(verdict: Mapping[str, Any]) -> str:
    return str((verdict.get("overall"), sorted(verdict["scores"].items()), verdict.get("reply")))


def _conflict(what: str, found: Sequence[Chosen]) -> RunError:
    one, other = found[0], found[-1]
    return RunError(
        f"{one.part.path} and {other.part.path} have different {what} of sample {shown(str(one.record.get('sample')))}; "
        "leave one of the two out, or merge into another folder"
    )
