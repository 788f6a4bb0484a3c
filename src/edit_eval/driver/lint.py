"""What is odd about a folder of edits that were made elsewhere, before a judge is paid to look at them.

One finding a kind, with the number and the first of its kind. Knows samples and files, no run and no judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from edit_eval.core.errors import shown
from edit_eval.core.types import Sample
from edit_eval.driver.findings import Finding, bad, ok, warn
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.machine import cpu_count
from edit_eval.editors import Editor
from edit_eval.worker.flags import is_blank, is_no_op
from edit_eval.worker.formats import shown_path
from edit_eval.worker.images import UnreadableImageError, open_rgb

__all__ = ["FolderOfEdits", "lint", "summary_line"]

_NAMED = 3
"""How many of a kind are named."""


@dataclass(frozen=True)
class FolderOfEdits:
    """Which file is which sample's edit.

    Attributes:
        taken: (sample, repeat, path) of each edit that is there.
        missing: ids of samples without an edit, with the repeat where it is not the first.
        doubled: (path taken, path left) of each further file for an edit that is there.
        extra: files that are nobody's edit.
    """

    taken: Sequence[tuple[Sample, int, str]]
    missing: Sequence[str]
    doubled: Sequence[tuple[str, str]]
    extra: Sequence[str]

    @classmethod
    def of(
        cls, samples: Iterable[Sample], repeats: int, editor: type[Editor], params: Any
    ) -> FolderOfEdits | None:
        """Return what is there for these samples; None where the editor makes its edits itself. Opens no file."""
        everything = editor.all_finished(params)
        if everything is None:
            return None
        taken, missing, doubled = [], [], []
        for sample in samples:
            for repeat in range(repeats):
                first, *more = editor.finished(params, sample, repeat) or ("",)
                doubled += [(first, path) for path in more]
                if first:
                    taken.append((sample, repeat, first))
                else:
                    missing.append(f"{sample.id} (repeat {repeat})" if repeat else sample.id)
        known = {path for *_, path in taken} | {path for _, path in doubled}
        return cls(taken, missing, doubled, [path for path in everything if path not in known])


def summary_line(found: FolderOfEdits) -> str:
    """Return one line of what can be known without opening a file; empty if all is as it should be."""
    counts = {"missing": found.missing, "doubled": found.doubled, "extra": found.extra}
    said = ", ".join(f"{len(those)} {kind}" for kind, those in counts.items() if those)
    return f"edits made elsewhere: {len(found.taken)} found, {said}" if said else ""


def lint(found: FolderOfEdits, hashes: FileHashes) -> Iterator[Finding]:
    """Yield what is to be said about every kind of fault; opens and decodes each edit and its source."""
    wanted = len(found.taken) + len(found.missing)
    if not found.taken:
        yield bad(
            "edits",
            f"none of {wanted} is there",
            "set editor.params.folder, or names, see docs/benchmarks.md",
        )
        return
    yield ok("edits", f"{len(found.taken)} of {wanted} are there")
    yield from _about(
        bad, "missing", found.missing, shown, "make them; without them a result is partial and has bounds"
    )
    doubled = [f"{shown_path(left)} beside {shown_path(first)}" for first, left in found.doubled]
    yield from _about(bad, "doubled", doubled, str, "remove one of each; the one named last would be judged")
    with ThreadPoolExecutor(cpu_count()) as threads:
        looks = list(threads.map(_look, [(sample, path) for sample, _, path in found.taken]))
    for kind, level, mend in _LOOKS:
        yield from _about(level, kind, [look.text for look in looks if kind in look.kinds], str, mend)
    yield from _about(
        warn, "same bytes", _same_bytes(found, hashes), str, "see that no edit was saved under two names"
    )
    yield from _about(
        warn, "extra", found.extra, shown_path, "nobody's edit: a name that does not fit, or a rest"
    )


def _about(
    level: Callable[[str, str, str], Finding],
    kind: str,
    those: Sequence[str],
    name: Callable[[str], str],
    mend: str,
) -> Iterator[Finding]:
    if those:
        more = f" and {len(those) - _NAMED} more" if len(those) > _NAMED else ""
        yield level(kind, f"{len(those)}: {', '.join(map(name, those[:_NAMED]))}{more}", mend)


_LOOKS: Sequence[tuple[str, Callable[[str, str, str], Finding], str]] = (
    ("unreadable", bad, "make these edits again; they would count as failed"),
    ("blank", warn, "all pixels are of one colour: most likely a failure or a safety filter of the model"),
    ("unchanged", warn, "the edit is its source: was the source saved in place of the edit?"),
    ("other shape", warn, "width to height is not the source's: was the edit cropped, stretched or padded?"),
    ("other size", warn, "smaller or larger than the source; a benchmark may resize it before it is judged"),
)

_MOST_STRETCH = 0.02
"""Largest relative difference of two aspect ratios that are alike: sizes are rounded to multiples of 16 or 32."""


@dataclass(frozen=True)
class _Look:
    kinds: frozenset[str]
    text: str


def _look(edit: tuple[Sample, str]) -> _Look:
    """Return what is odd about the pixels of one edit. A source that cannot be read is the benchmark's fault, not its."""
    sample, path = edit
    name = shown_path(path)
    try:
        edited = open_rgb(path)
    except UnreadableImageError:
        return _Look(frozenset({"unreadable"}), name)
    try:
        sources = [open_rgb(one) for one in sample.images]
    except UnreadableImageError:
        sources = []
    kinds = {"blank"} if is_blank(edited) else set()
    if any(is_no_op(edited, source) for source in sources):
        kinds.add("unchanged")
    if sources and edited.size != sources[0].size:
        (width, height), (source_width, source_height) = edited.size, sources[0].size
        stretch = (width * source_height) / (height * source_width)
        kinds.add("other shape" if max(stretch, 1 / stretch) > 1 + _MOST_STRETCH else "other size")
        name += f" ({width} x {height}, source {source_width} x {source_height})"
    return _Look(frozenset(kinds), name)


def _same_bytes(found: FolderOfEdits, hashes: FileHashes) -> list[str]:
    """Return pairs of edits of different samples that are the same file, or copies of one."""
    first: dict[str, str] = {}
    pairs = []
    for sample, _, path in found.taken:
        try:
            sha = hashes.sha256(path)
        except OSError:
            continue  # unreadable, and said so
        if sha in first and first[sha] != sample.id:
            pairs.append(f"{shown(sample.id)} as {shown(first[sha])}")
        first.setdefault(sha, sample.id)
    return pairs
