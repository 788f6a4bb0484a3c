"""The run that another one is compared with: which of its edits there are, found at a start, kept for reports.

A report must know what a verdict was about when the other run has gone on, or is gone. So what was found is kept in the
run that was judged, in a file of its own, named after the other run's path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edit_eval.core.errors import ConfigError, DataError, RunError, shown
from edit_eval.core.identity import digest
from edit_eval.driver.hashes import FileHashes, UnreadHashes
from edit_eval.driver.ledger import json_bytes, json_value
from edit_eval.driver.plan import Against, Judging, Rival, WantedEdit
from edit_eval.driver.refusals import cannot_read
from edit_eval.driver.shapes import misfit_of
from edit_eval.driver.store import RunReader, image_is_intact, image_path, thumbnail_path

__all__ = ["PREFIX", "against_file", "against_lines", "find_against", "looked_up", "read_against"]

PREFIX = "against-"
"""How the names of these files begin."""

_misfit = misfit_of({"!sample": str, "!repeat": int, "!key": str, "!sha256": str})


def find_against(given: str, wanted: Sequence[WantedEdit], output: Path, hashes: FileHashes) -> Against:
    """Return the edits that another run has of these samples and repeats.

    Args:
        given: its directory, as the config has it.
        wanted: what this run is about.
        output: this run's directory.
        hashes: of files.

    Raises:
        UserError: it is this run, or none; it has no edit of any of these samples, or one that is not what was recorded; a
            sample is another one there.
    """
    path = Path(given).expanduser().absolute()
    if path.resolve() == output.resolve():
        raise ConfigError(f"judge.against: {given} is this run itself; name another one")
    try:
        other = RunReader(path)
        there = {(one.sample.id, one.repeat): one for one in other.wanted}
    except RunError as error:
        raise RunError(f"judge.against: {error}") from error
    edits: dict[tuple[str, int], Rival] = {}
    for one in wanted:
        theirs = there.get((one.sample.id, one.repeat))
        if theirs is None:
            continue
        if not isinstance(hashes, UnreadHashes):  # else nothing of this run was read yet
            _refuse_other_sample(one, theirs, given)
        record = other.edits.get(theirs.key)
        if record is None or record["status"] != "edited":
            continue
        if not image_is_intact(path, theirs.key, record, sha256=hashes.sha256):
            raise DataError(
                f"judge.against: the edit of sample {shown(one.sample.id)} in {given} is not what was recorded; "
                f"'edit-eval run {given}' makes it anew"
            )
        edits[one.sample.id, one.repeat] = _rival(path, theirs.key, record["image"]["sha256"])
    if wanted and not edits:
        raise DataError(f"judge.against: {given} has no edit of any sample of this run")
    return Against(str(path), edits)


def _refuse_other_sample(one: WantedEdit, theirs: WantedEdit, given: str) -> None:
    differs = [
        what
        for what, same in (
            ("another source image", one.source_sha256 == theirs.source_sha256),
            ("another instruction", one.sample.instruction == theirs.sample.instruction),
        )
        if not same
    ]
    if differs:
        raise DataError(
            f"judge.against: sample {shown(one.sample.id)} is another one in {given} ({' and '.join(differs)}); "
            "compare runs of the same samples"
        )


def _rival(run: Path, key: str, sha256: str) -> Rival:
    return Rival(key, sha256, str(run / image_path(key)), str(run / thumbnail_path(key)))


def against_file(against: Against) -> str:
    """Return the name of the file, in the run that was judged, that keeps what was found of another one."""
    return f"{PREFIX}{digest(against.run)[:16]}.jsonl"


def against_lines(against: Against) -> Iterator[bytes]:
    """Yield its lines."""
    for (sample, repeat), one in sorted((against.edits or {}).items()):
        yield json_bytes({"sample": sample, "repeat": repeat, "key": one.key, "sha256": one.sha256}) + b"\n"


def looked_up(judging: Judging, root: Path) -> Judging:
    """Return `judging` with what is kept in the run directory `root` of the run that it compares with.

    Raises:
        RunError: that cannot be read.
    """
    if judging.against is None or judging.against.edits is not None:
        return judging
    return replace(judging, against=read_against(root / against_file(judging.against), judging.against.run))


def read_against(path: Path, run: str) -> Against:
    """Return what `against_lines` wrote to a file about another run.

    Raises:
        RunError: it cannot be read.
    """
    try:
        return Against(run, dict(_read(path.read_bytes(), Path(run))))
    except OSError as error:
        raise cannot_read(path, error) from error
    except ValueError as error:
        raise RunError(
            f"{path} cannot be read ({error}); judge the run again with the same judge: it is written anew"
        ) from error


def _read(data: bytes, run: Path) -> Iterator[tuple[tuple[str, int], Rival]]:
    """Yield what `against_lines` wrote. Raises `ValueError`, which says what is wrong."""
    for number, line in enumerate(data.splitlines(), 1):
        try:
            entry = json_value(line)
        except ValueError as error:
            raise ValueError(f"line {number} is no JSON") from error
        if fault := _misfit(entry):
            raise ValueError(f"line {number}: {fault}")
        yield (entry["sample"], entry["repeat"]), _rival(run, entry["key"], entry["sha256"])
