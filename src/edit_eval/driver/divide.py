"""A shard has what the run that it is a part of has already: its share of the edits and verdicts.

So a run that was edited in one place is judged in shards, and one that was merged before it was whole is divided anew. The
run is only read, and what a shard has already is only added to: at every start, whatever else starts at the same time. What
the shard adds comes back to the run by `driver.gather`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edit_eval.core.errors import RunError
from edit_eval.driver.against import PREFIX
from edit_eval.driver.plan import Record, WantedEdit
from edit_eval.driver.refusals import cannot_write
from edit_eval.driver.runinfo import mapping, needed, read_info, shard_of
from edit_eval.driver.shards import Shard
from edit_eval.driver.store import RunReader, RunStore, image_is_intact, image_path, read_wanted
from edit_eval.driver.taken import take, take_inputs, take_thumbnails

__all__ = ["Inherited", "begin_shard", "divide", "inherited", "run_above"]


def run_above(output: Path, shard: Shard) -> Path | None:
    """Return the run in whose directory a shard has the place that is its own; None if there is none."""
    run = output.absolute().parent.parent
    return run if Shard.of_folder(output) == shard and (run / "run.json").is_file() else None


def begin_shard(output: Path, shard: Shard, *, lock: bool = True) -> list[str]:
    """Give a shard what the run above it has, if there is one (see `divide`).

    Returns:
        Lines for people: what was found missing or damaged in the shard, and whose work is not taken over.
    """
    run = run_above(output, shard)
    lines = divide(run, shard, output, lock=lock) if run else []
    return [*lines, *_divided_otherwise(output, shard, run)]


def _divided_otherwise(output: Path, shard: Shard, run: Path | None) -> Iterator[str]:
    """Yield a line if other shards lie beside this one, of a division into another number, that were not merged yet."""
    if Shard.of_folder(output) != shard:
        return
    merged = mapping(read_info(run).get("shards")) if run else {}
    beside = (Shard.of_folder(path.parent) for path in output.parent.glob("*-of-*/run.json"))
    counts = {one.count for one in beside if one and one.count != shard.count and str(one) not in merged}
    if counts:
        yield (
            f"{output.parent} has shards of another division, whose work counts here once it is in the run: "
            f"'edit-eval merge {output.parent}/*-of-{min(counts)} --partial'"
        )


def divide(run_dir: Path, shard: Shard, output: Path, *, lock: bool = True) -> list[str]:
    """Add to one shard of a run what the run has of it and the shard has not; a new one begins with it.

    Args:
        run_dir: of the run; it is only read.
        shard: which one.
        output: its directory.
        lock: whether to refuse a file system that cannot lock.

    Returns:
        A line for everything that was found missing or damaged in the shard, and what becomes of it.

    Raises:
        RunError: the run is a shard itself, or cannot be read; the shard is in use, or cannot be written.
    """
    run, root = RunReader(run_dir), output.absolute()
    if itself := shard_of(run.info):
        raise RunError(f"{run_dir} is a shard itself ({itself}); divide the run that it is a part of")
    whole = read_wanted(run_dir / "samples.jsonl", root)
    share = shard.share(whole)
    with RunStore(output, lock=lock) as store:
        new = inherited(run, share, root, store.edits.records, store.verdicts.records)
        edits = [run.edits[key] for key in new.edits]
        edited = {one["key"] for one in edits if one["status"] == "edited"}
        try:
            for key in sorted(edited):
                take(run_dir / image_path(key), root / image_path(key))
            take_inputs(whole, root, [run_dir])
            take_thumbnails((one for one in share if one.key in edited), root, [run_dir])
            for path in run_dir.glob(f"{PREFIX}*.jsonl"):
                if not (root / path.name).exists():
                    take(path, root / path.name, copy=True)
        except OSError as error:
            raise cannot_write(f"the shard {output}", error, place=root) from error
        for record in edits:
            store.edits.append(record)
        for key in new.verdicts:
            store.verdicts.append(run.verdicts[key])
        if not store.info():
            store.write_wanted(share, whole)
            store.write_info(_info(run, shard, root))
        return store.mended


@dataclass(frozen=True)
class Inherited:
    """What a run has of a shard and the shard has not: keys of edits, and of verdicts."""

    edits: Sequence[str]
    verdicts: Sequence[str]


def inherited(
    run: RunReader,
    share: Iterable[WantedEdit],
    root: Path,
    edits: Mapping[str, Record],
    verdicts: Mapping[str, Record],
) -> Inherited:
    """Return what a shard takes over from its run: what it lacks, and an edit or a score for what failed in it.

    Args:
        run: the run.
        share: the shard's edits.
        root: the shard's directory.
        edits: what the shard has, by key.
        verdicts: likewise.
    """
    keys = {one.key for one in share}
    return Inherited(
        [key for key in run.edits if key in keys and _edit_is_new(run, key, root, edits.get(key))],
        [key for key in run.verdicts if _verdict_is_new(run, key, keys, verdicts.get(key))],
    )


def _edit_is_new(run: RunReader, key: str, root: Path, own: Record | None) -> bool:
    """Whether an edit is to be taken over. One whose image is not what was recorded never is: it is made again."""
    if own and own["status"] == "edited" and image_is_intact(root, key, own):
        return False
    record = run.edits[key]
    if record["status"] != "edited":
        return own is None
    return image_is_intact(run.path, key, record)


def _verdict_is_new(run: RunReader, key: str, edits: set[str], own: Record | None) -> bool:
    if own and own["verdict"]["unscored"] is None:
        return False
    record = run.verdicts[key]
    return record.get("edit_key") in edits and (own is None or record["verdict"]["unscored"] is None)


def _info(run: RunReader, shard: Shard, output: Path) -> dict[str, Any]:
    """Return what the shard's run.json says: the same, but for the starts, which were the run's."""
    config = {**needed(run.info, "config", run.path), "shard": str(shard), "output": str(output)}
    left_out = ("format", "starts", "shards")
    kept = {name: value for name, value in run.info.items() if name not in left_out}
    return {**kept, "name": output.name, "config": config, "starts": []}
