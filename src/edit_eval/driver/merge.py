"""Shards of one run become that run: what belongs together, which outcome counts, what is missing. Files: `driver.gather`.

Nothing is decided by the order in which shards are named. Of two outcomes for one key an edit or a score counts before a
failure, and of two failures the later one; two edits or scores that are not the same are refused, for nobody could say which
is the run's. What the run has already counts as one more shard, so that merging again does only what is new, and what is
missing is what all of them together lack.

There may be thousands of shards. Their ledgers are read one shard after another, and only its own are open meanwhile.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from edit_eval.core.errors import RunError, shown
from edit_eval.core.identity import file_sha256
from edit_eval.driver.changes import changes
from edit_eval.driver.judges import main_judge, same_judging
from edit_eval.driver.plan import Judging, Record, WantedEdit, judged_again
from edit_eval.driver.runinfo import WHOLE, mapping, shard_of
from edit_eval.driver.shards import Shard
from edit_eval.driver.store import RunReader, image_is_intact, read_wanted

__all__ = [
    "Chosen",
    "Part",
    "Whole",
    "chosen_edits",
    "chosen_verdicts",
    "missing",
    "open_parts",
    "open_run",
    "records_of",
    "refuse_strangers",
]

LedgerName = Literal["edits", "verdicts"]

_NAMED = 5


class Whole:
    """What a run is about, and how it is divided.

    Attributes:
        count: how many shards there are.
        place: of every edit, by key: its shard's index, and its own place in the run.
    """

    def __init__(self, wanted: Iterable[WantedEdit], count: int) -> None:
        self.count = count
        self.place: Mapping[str, tuple[int, int]] = {
            one.key: (Shard.index_among(count, one.sample.cluster), one.index) for one in wanted
        }

    @cached_property
    def shares(self) -> Mapping[int, set[str]]:
        """Keys of each shard's edits, by its index; a shard that has none is not among them."""
        shares: dict[int, set[str]] = {}
        for key, (index, _) in self.place.items():
            shares.setdefault(index, set()).add(key)
        return shares


@dataclass(frozen=True, eq=False)
class Part:
    """One directory that takes part in a merge: a shard, or the run that is merged into.

    Attributes:
        path: of the directory.
        run: what it holds.
        shard: which it is; None for the run.
        whole: what the run is about; parts of one run share it.
    """

    path: Path
    run: RunReader
    shard: Shard | None
    whole: Whole

    def ledger(self, name: LedgerName) -> Mapping[str, Record]:
        """Return the last record of every key."""
        return self.run.edits if name == "edits" else self.run.verdicts

    def record(self, name: LedgerName, key: str) -> Record:
        """Return a record with the shard that it comes from: the devices of all shards have the same names."""
        record = self.ledger(name)[key]
        return {**record, "shard": str(self.shard)} if self.shard else record


def open_parts(paths: Iterable[Path]) -> list[Part]:
    """Return the shards in these directories, by number and path; a folder with shards in it stands for all of them.

    Raises:
        RunError: one is no run directory, no shard, of another division than the others, or has other samples than its own.
    """
    folders = {path.resolve(): path for given in paths for path in _shards_in(given)}
    parts: list[Part] = []
    known: dict[str, Whole] = {}
    for path in folders.values():
        run = RunReader(path)
        run.release()
        shard = shard_of(run.info)
        if shard is None:
            raise RunError(f"{path} is no shard: it was run without --shard")
        if parts and (first := parts[0]).shard and shard.count != first.whole.count:
            raise RunError(
                f"{first.path} is a shard of {first.whole.count} and {path} one of {shard.count}; merge shards of one "
                f"division, as in 'edit-eval merge {path.parent}/*-of-{shard.count}'"
            )
        whole = _whole_in(path / WHOLE, shard.count, known)
        if {one.key for one in run.wanted} != whole.shares.get(shard.index, set()):
            raise RunError(
                f"{path}: its samples are not those of shard {shard}; 'edit-eval run {path}' mends it"
            )
        parts.append(Part(path, run, shard, whole))
    return sorted(parts, key=lambda one: (one.shard or Shard(0, 1), str(one.path)))


def open_run(path: Path, parts: Sequence[Part]) -> Part:
    """Return the run in `path`, of which these shards are to be parts. Raises `RunError`."""
    run, known = RunReader(path), parts[0].whole
    whole = Whole(run.wanted, known.count)
    return Part(path, run, None, known if known.place == whole.place else whole)


def _shards_in(path: Path) -> list[Path]:
    if (path / "run.json").is_file():
        return [path]
    found = sorted(one.parent for one in path.glob("*-of-*/run.json"))
    return found or [path]  # that is no run directory, which is said


def _whole_in(path: Path, count: int, known: dict[str, Whole]) -> Whole:
    """Return what a shard says of the whole run: the same object if it says the same as one before, however it names files."""
    try:
        sha256 = file_sha256(path)
    except OSError:
        sha256 = ""  # reading it says why
    if sha256 not in known:
        whole = Whole(read_wanted(path), count)
        known[sha256] = next((one for one in known.values() if one.place == whole.place), whole)
    return known[sha256]


def refuse_strangers(parts: Sequence[Part]) -> None:
    """Raise `RunError` unless all are of one run."""
    first = next((one for one in parts if main_judge(one.run.info)), parts[0])
    for one in parts:
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
    keys, others = first.whole.place.keys(), other.whole.place.keys()
    if keys != others and not lines:
        both = len(keys & others)
        lines.append(f"of {len(keys)} edits it has {both} and {len(others) - both} others: other samples")
    return lines


def _known(first: Part, other: Part) -> Mapping[str, Any]:
    """Return the identity of another part, with `first`'s judge where it has none yet."""
    own, theirs = (mapping(one.run.info.get("identity")) for one in (first, other))
    absent = {name: own.get(name) for name in ("judge", "rubric") if theirs.get(name) is None}
    return {**theirs, **absent}


@dataclass(frozen=True, slots=True)
class Chosen:
    """The outcome that counts for one key: the part that has its record.

    Attributes:
        key: of the edit or verdict.
        part: where its record is.
        order: where it comes in the merged ledger: one shard after another, in each as in the run.
        image: of an edit, what was recorded of it; None of a failure, and of a verdict.
    """

    key: str
    part: Part
    order: tuple[int, int, int, str]
    image: Mapping[str, Any] | None = None


def chosen_edits(parts: Sequence[Part]) -> list[Chosen]:
    """Return the edit that counts of every key; one whose image is gone counts last.

    Args:
        parts: the run first, if there is one, then the shards as `open_parts` returns them.

    Raises:
        RunError: two parts have two different edits of one sample.
    """
    chosen = []
    for key, having in _by_key(parts, "edits"):
        found = [(part, part.record("edits", key)) for part in having]
        made = [(part, record) for part, record in found if record["status"] == "edited"]
        if len({record["image"]["sha256"] for _, record in made}) > 1:
            raise _conflict("edits", made)
        if len(made) > 1:
            made.sort(
                key=lambda one: not image_is_intact(one[0].path, key, one[1])
            )  # stable: the first whole
        part, record = made[0] if made else max(found, key=_age)
        chosen.append(Chosen(key, part, _order(part, key, 0, key), record["image"] if made else None))
    return sorted(chosen, key=lambda one: one.order)


def chosen_verdicts(parts: Sequence[Part]) -> list[Chosen]:
    """Return the verdict that counts of every key; see `chosen_edits`."""
    chosen = []
    for key, having in _by_key(parts, "verdicts"):
        found = [(part, part.record("verdicts", key)) for part in having]
        scored = [(part, record) for part, record in found if record["verdict"]["unscored"] is None]
        if len({_said(record["verdict"]) for _, record in scored}) > 1:
            raise _conflict("verdicts", scored)
        part, record = scored[0] if scored else max(found, key=_age)
        order = _order(part, str(record.get("edit_key")), int(record.get("again", 0)), key)
        chosen.append(Chosen(key, part, order))
    return sorted(chosen, key=lambda one: one.order)


def _by_key(parts: Sequence[Part], name: LedgerName) -> Iterator[tuple[str, list[Part]]]:
    """Yield every key with the parts that have it, in their order: those of a shard together, the run's own at last."""
    having: dict[str, list[Part]] = {}
    for part in parts:
        for key in part.ledger(name):
            having.setdefault(key, []).append(part)
    for _, group in groupby(sorted(parts, key=lambda one: one.shard is None), _shard):
        of_shard = list(group)
        for part in of_shard:
            for key in part.ledger(name):
                if key in having:
                    yield key, having.pop(key)
        _release(of_shard)


def records_of(chosen: Iterable[Chosen], name: LedgerName) -> Iterator[Record]:
    """Yield their records, as they are to be written."""
    for _, group in groupby(chosen, lambda one: one.order[0]):
        used: dict[Path, Part] = {}
        for one in group:
            used[one.part.path] = one.part
            yield one.part.record(name, one.key)
        _release(used.values())


def _release(parts: Iterable[Part]) -> None:
    for one in parts:
        if one.shard:
            one.run.release()


def _shard(part: Part) -> Shard | None:
    return part.shard


def _order(part: Part, edit_key: str, again: int, key: str) -> tuple[int, int, int, str]:
    """Return what outcomes are sorted by; those of edits that the run is not about any more come last."""
    whole = part.whole
    after = part.shard.index if part.shard else whole.count
    index, place = whole.place.get(edit_key, (whole.count + after, 0))
    return index, place, again, key


def _age(one: tuple[Part, Record]) -> tuple[str, str]:
    return str(one[1].get("at", "")), str(sorted(one[1].items()))


def _said(verdict: Mapping[str, Any]) -> str:
    return str((verdict.get("overall"), sorted(verdict["scores"].items()), verdict.get("reply")))


def _conflict(what: str, found: Sequence[tuple[Part, Record]]) -> RunError:
    (one, record), (other, _) = found[0], found[-1]
    return RunError(
        f"{one.path} and {other.path} have different {what} of sample {shown(str(record.get('sample')))}; "
        "leave one of the two out, or merge into another folder"
    )


def missing(
    parts: Sequence[Part],
    wanted: Iterable[WantedEdit],
    edits: Mapping[str, str | None],
    verdicts: Container[str],
    judging: Judging | None,
    twice: float,
) -> list[str]:
    """Return a line about the shards that were not given, and one about each that was, where something of them is missing.

    Args:
        parts: the shards.
        wanted: every edit of the run.
        edits: which there are: by key, the hash of the image, or None of a failure.
        verdicts: keys of those that there are.
        judging: who judges the run, with the edits that it compares with looked up; None: nothing was judged.
        twice: share of the edits that are judged twice, 0..1.
    """
    whole = parts[0].whole
    again = judged_again(whole.place, twice)
    lacks: dict[int, list[int]] = {}
    for one in wanted:
        index, _ = whole.place[one.key]
        no_edit, no_verdict = one.key not in edits, 0
        sha256 = edits.get(one.key)
        if judging and sha256 and judging.applies(one):
            repeats = range(2 if one.key in again else 1)
            no_verdict = sum(judging.key(one, sha256, repeat=each) not in verdicts for each in repeats)
        if no_edit or no_verdict:
            lack = lacks.setdefault(index, [0, 0])
            lack[0] += no_edit
            lack[1] += no_verdict
    return [*_absent(parts, lacks), *_unfinished(parts, lacks)]


def _absent(parts: Sequence[Part], lacks: Container[int]) -> Iterator[str]:
    there = {one.shard for one in parts}
    every = (Shard(index, parts[0].whole.count) for index in range(parts[0].whole.count))
    absent = [str(one) for one in every if one.index in lacks and one not in there]
    if absent:
        more = f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else ""
        yield f"not there: shard {', '.join(absent[:_NAMED])}{more}"


def _unfinished(parts: Sequence[Part], lacks: Mapping[int, Sequence[int]]) -> Iterator[str]:
    for shard, group in groupby(parts, _shard):
        paths = " and ".join(str(one.path) for one in group)
        if shard and shard.index in lacks:
            edits, verdicts = lacks[shard.index]
            what = [f"{edits} edits"] * bool(edits) + [f"{verdicts} verdicts"] * bool(verdicts)
            yield f"not finished: shard {shard} ({paths}) lacks {' and '.join(what)}"
