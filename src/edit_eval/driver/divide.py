"""A shard begins with what the run that it is a part of has already: its share of the edits and verdicts.

So a run that was edited in one place is judged in shards, and one that was merged before it was whole is divided anew. The
run is only read; what the shard adds comes back to it by `driver.merge`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edit_eval.core.errors import RunError
from edit_eval.driver.against import PREFIX
from edit_eval.driver.ledger import ledger_line
from edit_eval.driver.refusals import cannot_write
from edit_eval.driver.shards import FOLDER, Shard
from edit_eval.driver.store import RunReader, RunStore, image_is_intact, image_path
from edit_eval.driver.taken import take, take_inputs, take_thumbnails
from edit_eval.driver.wanted import wanted_from_lines

__all__ = ["begin_shard", "divide"]


def begin_shard(output: Path, shard: Shard, *, lock: bool = True) -> bool:
    """Give a shard that has not begun what the run above it has, if there is one; say whether there was.

    Raises:
        RunError: the run cannot be read, or the shard not written.
    """
    run = output.parent.parent
    is_ours = output.parent.name == FOLDER and output.name == shard.folder_name
    if not is_ours or (output / "run.json").exists() or not (run / "run.json").is_file():
        return False
    divide(run, shard, output, lock=lock)
    return True


def divide(run_dir: Path, shard: Shard, output: Path, *, lock: bool = True) -> None:
    """Write one shard of a run, with what the run has of it.

    Raises:
        RunError: the run is a shard itself, cannot be read, or the shard not written.
    """
    run = RunReader(run_dir)
    root = output.absolute()
    try:
        lines = (run_dir / "samples.jsonl").read_bytes().splitlines()
        whole = list(wanted_from_lines(lines, root))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{run_dir / 'samples.jsonl'} cannot be read ({error}); 'edit-eval run {run_dir}' mends it"
        ) from error
    share = shard.share(whole)
    keys = {one.key for one in share}
    edits = [run.edits[key] for key in run.edits if key in keys and _is_there(run, key)]
    edited = {one["key"] for one in edits if one["status"] == "edited"}
    verdicts = [key for key, record in run.verdicts.items() if record.get("edit_key") in keys]
    with RunStore(output, lock=lock) as store:
        try:
            for key in sorted(edited):
                take(run_dir / image_path(key), root / image_path(key))
            take_inputs(whole, root, [run_dir])
            take_thumbnails((one for one in share if one.key in edited), root, [run_dir])
            for path in run_dir.glob(f"{PREFIX}*.jsonl"):
                take(path, root / path.name, copy=True)
        except OSError as error:
            raise cannot_write(f"the shard {output}", error, place=root) from error
        store.write_lines("edits.jsonl", lambda: map(ledger_line, edits))
        store.write_lines("verdicts.jsonl", lambda: (ledger_line(run.verdicts[key]) for key in verdicts))
        store.write_wanted(share, whole)
        store.write_info(_info(run.info, shard, root))


def _is_there(run: RunReader, key: str) -> bool:
    """Whether an outcome can be taken over: an image that is not what was recorded is made again."""
    record = run.edits[key]
    return bool(record["status"] != "edited" or image_is_intact(run.path, key, record))


def _info(info: Mapping[str, Any], shard: Shard, output: Path) -> dict[str, Any]:
    """Return what the shard's run.json says: the same, but for the starts, which were the run's."""
    config = {**info["config"], "shard": str(shard), "output": str(output)}
    left_out = ("format", "starts", "shards")
    kept = {name: value for name, value in info.items() if name not in left_out}
    return {**kept, "name": output.name, "config": config, "starts": []}
