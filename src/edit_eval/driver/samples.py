"""The samples of a run: loaded from their benchmark and checked before anything else is done with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edit_eval.core.errors import ConfigError, DataError
from edit_eval.core.types import Sample
from edit_eval.driver.abandoned import remove_abandoned
from edit_eval.driver.config import Checked
from edit_eval.driver.refusals import cannot_write

__all__ = ["check_images", "load_samples", "missing_images", "read_samples"]


def load_samples(checked: Checked, output: Path, workspace: Path | None = None) -> list[Sample]:
    """Return the benchmark's samples, checked: at least one, unique ids, every image there.

    Args:
        checked: the config.
        output: run directory.
        workspace: where a benchmark that makes its own images puts them; None: `inputs` in the run directory.

    Raises:
        DataError: one line.
        RunError: a benchmark that makes its own images cannot write them to the run directory.
    """
    if workspace is None:
        remove_abandoned(output / "inputs")
    samples = read_samples(checked, output, workspace)
    check_images(samples)
    return samples


def read_samples(checked: Checked, output: Path, workspace: Path | None = None) -> list[Sample]:
    """Do what `load_samples` does, but for looking whether the images are there."""
    config = checked.config.benchmark
    found = checked.benchmark
    path = Path(config.path).expanduser().absolute() if config.path else None
    if found.cls.needs_path and path is None:
        raise ConfigError(f"benchmark.path: {found.name} needs the path of its data")
    if path is not None and not path.exists():
        raise DataError(f"benchmark.path: there is nothing at {config.path}")
    try:
        samples = list(found.cls.load(path, checked.params["benchmark"], workspace or output / "inputs"))
    except OSError as error:
        place = Path(error.filename or output)
        if output in (place, *place.parents) or place in output.parents:
            raise cannot_write(f"the run directory {output}", error, place=output, kept=False) from error
        raise DataError(f"benchmark.path: cannot read {place}: {error.strerror}") from error
    if not samples:
        raise DataError(f"the benchmark {config.path or found.name} has no samples")
    _check_unique(samples)
    if checked.config.limit:
        samples = samples[: checked.config.limit]
    return samples


def _check_unique(samples: Sequence[Sample]) -> None:
    seen: set[str] = set()
    doubled = []
    for sample in samples:
        if sample.id in seen:
            doubled.append(sample.id)
        seen.add(sample.id)
    if doubled:
        more = f", and {len(doubled) - 1} more ids are used twice" if len(doubled) > 1 else ""
        raise DataError(f"two samples have the id {doubled[0]!r}{more}; give every sample its own id")


def check_images(samples: Sequence[Sample]) -> None:
    """Raise `DataError` naming the first image that is missing, and how many more are."""
    missing = missing_images(samples)
    if missing:
        sample_id, path = missing[0]
        more = f", and {len(missing) - 1} more are missing" if len(missing) > 1 else ""
        raise DataError(f"the image {path} of sample {sample_id!r} is missing{more}")


def missing_images(samples: Sequence[Sample]) -> list[tuple[str, str]]:
    """Return (sample id, path) of every image that a sample names and that is not there.

    Raises:
        DataError: a sample names no image at all.
    """
    missing = []
    for sample in samples:
        if not sample.images:
            raise DataError(f"sample {sample.id!r} has no source image")
        extra = [sample.target] if sample.target else []
        named = [*sample.images, *sample.references, *extra]
        missing += [(sample.id, path) for path in named if not os.path.isfile(path)]  # noqa: PTH113 - fast
    return missing
