"""Drawn scenes with exact answers: a benchmark that needs no download, no judge model and no network.

Knows how to number, name and store scenes; what is on them is composed in `_scene_edits`. The same seed, size and
index give the same bytes with the same Pillow, whatever `n` is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edit_eval.benchmarks import Benchmark
from edit_eval.benchmarks._scene_edits import CATEGORIES, composed, drawn
from edit_eval.core.errors import DataError, did_you_mean
from edit_eval.core.identity import digest
from edit_eval.core.types import Sample

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CATEGORIES", "Scenes", "ScenesParams", "render"]

_LANGUAGES = ("en", "zh", "both")
_MIN_PX, _MAX_PX = 32, 4096
_PNG_LEVEL = 4
_THREADS = 8
"""That draw and write; Pillow lets others work while it enlarges, fills and compresses."""


@dataclass(frozen=True)
class ScenesParams:
    """Which scenes.

    Attributes:
        n: number of samples; the first ones do not depend on it.
        size: width and height in pixels, 32..4096.
        seed: another seed gives other scenes.
        language: of the instructions: `en`, `zh`, or `both`, which takes turns so that every category has both.
    """

    n: int = 16
    size: int = 512
    seed: int = 0
    language: str = "en"


class Scenes(Benchmark):
    """Seeded drawings, one exact edit each, in eight categories that take turns.

    Each sample has its exact result as `target` and the tags `category` and `language`. Outside what the instruction
    names, source and target are equal to the pixel; `background` and `style` change the whole picture. Source and
    instruction decide the target, but for what a thing that goes away had hidden.
    """

    Params = ScenesParams
    name: ClassVar[str] = "scenes"
    version: ClassVar[int] = 2
    needs_path: ClassVar[bool] = False
    default_rubric: ClassVar[str] = "reference-v1"

    @classmethod
    def load(cls, path: Path | None, params: ScenesParams, workspace: Path) -> Sequence[Sample]:
        """Return `n` samples; draws those whose pictures are not yet in the workspace.

        Raises:
            DataError: a parameter out of its range.
        """
        del path
        _check(params)
        name = f"scenes-{digest([cls.version, params.seed, params.size])[:12]}"
        folder = workspace.absolute() / name
        folder.mkdir(parents=True, exist_ok=True)
        present = set(os.listdir(folder))  # noqa: PTH208  # names are all that is needed
        missing = [index for index in range(params.n) if not present.issuperset(_names(index))]
        if missing:
            with ThreadPoolExecutor(_THREADS) as threads:
                list(threads.map(lambda index: _draw(params, index, folder, present), missing))
        return [_sample(params, index, folder) for index in range(params.n)]


def render(seed: int, index: int, size: int) -> tuple[Image, Image, str, str, str]:
    """Return source, target, English instruction, Chinese instruction and category of one scene.

    Args:
        seed: of the series.
        index: from 0, in the series.
        size: width and height in pixels.
    """
    edit = composed(seed, index)
    source, target = drawn(edit, seed, index, size)
    return source, target, edit.english, edit.chinese, edit.category


def _check(params: ScenesParams) -> None:
    if params.n < 1:
        raise DataError(f"benchmark.params.n is {params.n}; give 1 or more")
    if not _MIN_PX <= params.size <= _MAX_PX:
        raise DataError(f"benchmark.params.size is {params.size}; give {_MIN_PX} to {_MAX_PX} pixels")
    if params.language not in _LANGUAGES:
        raise DataError(
            f"benchmark.params.language is {params.language!r}{did_you_mean(params.language, _LANGUAGES)}; "
            f"give one of {', '.join(_LANGUAGES)}"
        )


def _draw(params: ScenesParams, index: int, folder: Path, present: set[str]) -> None:
    edit = composed(params.seed, index)
    for picture, name in zip(drawn(edit, params.seed, index, params.size), _names(index), strict=True):
        if name not in present:
            _write(picture, folder / name)


def _sample(params: ScenesParams, index: int, folder: Path) -> Sample:
    edit = composed(params.seed, index)
    language = _language(params.language, index)
    source, target = _names(index)
    return Sample(
        id=_id(index),
        instruction=edit.chinese if language == "zh" else edit.english,
        images=(str(folder / source),),
        tags={"category": edit.category, "language": language},
        cluster=_id(index),
        target=str(folder / target),
    )


def _id(index: int) -> str:
    return f"scene-{index:04d}"


def _names(index: int) -> tuple[str, str]:
    """Return the names of source and target."""
    return f"{_id(index)}-source.png", f"{_id(index)}-target.png"


def _language(asked: str, index: int) -> str:
    """Take turns within a round of the categories, and between rounds, so that every category gets both."""
    return asked if asked != "both" else ("en", "zh")[(index + index // len(CATEGORIES)) % 2]


def _write(picture: Image, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        picture.save(temporary, "PNG", compress_level=_PNG_LEVEL)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
