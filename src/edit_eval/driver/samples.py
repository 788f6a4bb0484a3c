"""The samples of a run: loaded from their benchmark and checked before anything else is done with them."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edit_eval.core.errors import ConfigError, DataError, shown
from edit_eval.core.types import Sample, is_blank
from edit_eval.driver.abandoned import remove_abandoned
from edit_eval.driver.config import Checked
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.hubdata import find_data
from edit_eval.driver.plugins import sample_fault
from edit_eval.driver.refusals import FULL, cannot_write
from edit_eval.driver.registry import Found
from edit_eval.worker.formats import shown_path

__all__ = [
    "ImageFault",
    "check_images",
    "image_faults",
    "limited",
    "load_samples",
    "outside_images",
    "read_samples",
]


def load_samples(
    checked: Checked, output: Path, workspace: Path | None = None, hashes: FileHashes | None = None
) -> list[Sample]:
    """Return the benchmark's samples, checked: at least one, unique ids, every image a file that can be read.

    Args:
        checked: the config.
        output: run directory.
        workspace: where a benchmark that makes its own images puts them; None: `inputs` in the run directory.
        hashes: an image whose hash is remembered there needs no second look.

    Raises:
        DataError: one line.
        RunError: a benchmark that makes its own images cannot write them to the run directory.
    """
    if workspace is None:
        remove_abandoned(output / "inputs")
    samples = read_samples(checked, output, workspace)
    facts = checked.benchmark.cls.facts
    check_images(samples, hashes, f"; the data is at {facts.data}" if facts else "")
    return samples


def read_samples(checked: Checked, output: Path, workspace: Path | None = None) -> list[Sample]:
    """Do what `load_samples` does, but for looking whether the images are there."""
    config = checked.config.benchmark
    found = checked.benchmark
    data = find_data(checked)
    path = data.path
    if found.cls.needs_path and path is None:
        raise ConfigError(f"benchmark.path: {found.name} needs the path of its data")
    if path is not None and not path.exists():
        raise DataError(f"benchmark.path: there is nothing at {config.path}")
    try:
        samples = found.load(path, data.params, workspace or output / "inputs")
    except OSError as error:
        if error.errno in FULL:
            raise cannot_write(f"the run directory {output}", error, place=output) from error
        if error.filename is None:
            raise DataError(f"benchmark {found.name}: cannot load its samples: {error}") from error
        place = Path(error.filename or output)
        if output in (place, *place.parents) or place in output.parents:
            raise cannot_write(f"the run directory {output}", error, place=output, kept=False) from error
        raise DataError(f"benchmark.path: cannot read {place}: {error.strerror or error}") from error
    if not samples:
        raise DataError(f"the benchmark {config.path or found.name} has no samples")
    _check_each(samples, found)
    _check_unique(samples)
    if checked.config.limit:
        return limited(samples, checked.config.limit, found.cls.stratum)
    return samples


def limited(samples: Sequence[Sample], limit: int, stratum: str) -> list[Sample]:
    """Return `limit` samples in their order: the first ones, or as many of each value of the tag `stratum` as can be."""
    groups: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault(sample.tags.get(stratum, ""), []).append(index)
    rounds = itertools.zip_longest(*groups.values())
    turns = (index for turn in rounds for index in turn if index is not None)
    return [samples[index] for index in sorted(itertools.islice(turns, limit))]


def _check_each(samples: Sequence[Sample], found: Found) -> None:
    """Refuse what a plugin made that is no sample, and a sample without an instruction."""
    for number, sample in enumerate(samples, start=1):
        if fault := sample_fault(sample):
            raise DataError(f"benchmark {found.name}: sample {number} {fault}")
        if is_blank(sample.instruction):
            raise DataError(
                f"the instruction of sample {shown(sample.id)} is blank; say what is to be done, such as 'Keep the image as "
                "it is.' for a benchmark of reconstruction"
            )


def _check_unique(samples: Sequence[Sample]) -> None:
    seen: set[str] = set()
    doubled = []
    for sample in samples:
        if sample.id in seen:
            doubled.append(sample.id)
        seen.add(sample.id)
    if doubled:
        more = f", and {len(doubled) - 1} more ids are used twice" if len(doubled) > 1 else ""
        raise DataError(f"two samples have the id {shown(doubled[0])}{more}; give every sample its own id")


def outside_images(checked: Checked, samples: Sequence[Sample], output: Path) -> str | None:
    """Return a line about the images that lie outside of the benchmark's folders, or None where there are none.

    Judged by the paths as they are written: links inside may lead anywhere.
    """
    config = checked.config.benchmark
    path = Path(config.path).expanduser().absolute() if config.path else None
    places = checked.benchmark.cls.places(path, checked.params["benchmark"])
    if places is None:
        return None
    folders = {os.path.normpath(one) for one in (*places, output / "inputs")}
    inside = tuple(
        one.rstrip(os.sep) + os.sep for one in folders | {os.path.realpath(one) for one in folders}
    )
    named = (
        path
        for one in samples
        for path in (*one.images, *one.references, *([one.target] if one.target else ()))
    )
    found = dict.fromkeys(path for path in map(os.path.normpath, named) if not path.startswith(inside))
    if not found:
        return None
    count = f"{len(found)} image{' lies' if len(found) == 1 else 's lie'}"
    return (
        f"{count} outside of {places[0]}, such as {shown_path(next(iter(found)))}; the run directory and the report will show "
        "what such files hold"
    )


@dataclass(frozen=True)
class ImageFault:
    """An image that cannot be used, as far as it can be known without opening it.

    Attributes:
        sample_id: of the first sample that names it.
        path: as the sample names it.
        kind: `missing`, `not a file`, `empty`, `unreadable`.
        text: what is wrong, to stand after the image's name.
    """

    sample_id: str
    path: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"the image {shown_path(self.path)} of sample {shown(self.sample_id)} {self.text}"


def check_images(samples: Sequence[Sample], hashes: FileHashes | None = None, more: str = "") -> None:
    """Raise `DataError` naming the first image that cannot be used, and how many more cannot; `more` stands at its end."""
    faults = image_faults(samples, hashes)
    if faults:
        raise DataError(f"{faults[0]}{_and_more(faults)}{more}")


def _and_more(faults: Sequence[ImageFault]) -> str:
    """Return how many more faults there are, by kind where they are not all like the first."""
    more = Counter(one.kind for one in faults[1:])
    count = more.total()
    if not count:
        return ""
    if set(more) == {faults[0].kind}:
        return f", and {count} more are {faults[0].kind}"
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(more.items()))
    return f", and {count} more cannot be used ({kinds})"


def image_faults(samples: Sequence[Sample], hashes: FileHashes | None = None) -> list[ImageFault]:
    """Return every image that a sample names and that cannot be used; each path once.

    Looks at what the paths lead to, and opens nothing: a link to a file is as good as the file, wherever it leads. A
    file that was read and hashed, and did not change since (nor its permissions), can be used: looked at once only.

    Raises:
        DataError: a sample names no image at all.
    """
    seen: set[str] = set()
    faults = []
    for sample in samples:
        if not sample.images:
            raise DataError(f"sample {shown(sample.id)} has no source image")
        paths: Sequence[str] = sample.images
        if sample.judged or sample.references or sample.target:
            extra = [sample.target] if sample.target else []
            paths = [*sample.images, *sample.judged, *sample.references, *extra]
        for path in paths:
            if path in seen:
                continue
            seen.add(path)
            if hashes and hashes.recall(path):
                continue
            found = _fault(path)
            if found:
                faults.append(ImageFault(sample.id, path, *found))
    return faults


def _fault(path: str) -> tuple[str, str] | None:
    """Return kind and text of what is wrong with a path, or None."""
    try:
        found = os.stat(path)  # noqa: PTH116 - called 100,000 times and more
    except OSError as error:
        return _not_found(path, error)
    except ValueError:  # a null byte, or characters that no file name can have
        return "missing", "is missing: no file can have this name"
    if not stat.S_ISREG(found.st_mode):
        return "not a file", f"is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no file')}, not an image file"
    if found.st_size == 0 and _holds_nothing(path):
        return "empty", "is empty (0 bytes)"
    if not os.access(path, os.R_OK):
        return "unreadable", "cannot be read: you have no permission"
    return None


def _holds_nothing(path: str) -> bool:
    """Whether a file of size 0 is empty: some file systems do not say the size. What cannot be read is told elsewhere."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a path of bytes that are no UTF-8, too
            return not file.read(1)
    except OSError:
        return False


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _not_found(path: str, error: OSError) -> tuple[str, str]:
    if error.errno == errno.ELOOP:
        return "missing", "is missing: its links lead in a circle"
    if error.errno == errno.ENAMETOOLONG:
        return "missing", "is missing: the name is too long for a file"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if os.path.islink(path):  # noqa: PTH114 - as above
            led = shown_path(os.readlink(path))  # noqa: PTH115
            return "missing", f"is missing: it is a link to {led}, which is not there"
        return "missing", "is missing"
    return "unreadable", f"cannot be read: {error.strerror}"
