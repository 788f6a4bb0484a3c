"""Drawn pairs for training, made in processes of their own, which leave them in files of a fixed length.

A process is `python -m training.drawing`; it imports neither torch nor the network. No pair comes twice, and no series
is one that a benchmark's seed names by habit: see `SERIES`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edit_eval.benchmarks._scene_edits import CATEGORIES
from edit_eval.benchmarks.scenes import render
from edit_eval.editors._tiny_tokens import Vocabulary

__all__ = ["CHUNK", "SERIES", "Chunk", "Drawing", "drawn_chunk"]

SERIES = 1 << 40
"""Training draws the series SERIES + seed * 1000 + worker, validation SERIES - 1; seeds of benchmarks are small."""

CHUNK = 50
"""Pairs in a file."""

_WAITING = 1000
"""Files that may lie about before the processes wait."""

_WHOLE = ".pairs"


@dataclass(frozen=True)
class Chunk:
    """Some pairs.

    Attributes:
        pictures: (pairs, 2, size, size, 3) bytes, source and target.
        tokens: (pairs, 2, length), English and Chinese.
        kinds: (pairs,) places in CATEGORIES.
    """

    pictures: NDArray[np.uint8]
    tokens: NDArray[np.int16]
    kinds: NDArray[np.uint8]

    def as_bytes(self) -> bytes:
        """Return what a file holds."""
        return b"".join(part.tobytes() for part in (self.pictures, self.tokens, self.kinds))

    @classmethod
    def from_bytes(cls, data: bytes, size: int, length: int) -> Chunk:
        """Undo `as_bytes`."""
        ends = np.cumsum([CHUNK * 2 * size * size * 3, CHUNK * 2 * length * 2])
        return cls(
            np.frombuffer(data[: ends[0]], np.uint8).reshape(CHUNK, 2, size, size, 3),
            np.frombuffer(data[ends[0] : ends[1]], np.int16).reshape(CHUNK, 2, length),
            np.frombuffer(data[ends[1] :], np.uint8),
        )


def drawn_chunk(series: int, begin: int, size: int, words: Vocabulary) -> Chunk:
    """Draw the CHUNK scenes of a series that begin with this index."""
    pictures = np.empty((CHUNK, 2, size, size, 3), np.uint8)
    tokens = np.empty((CHUNK, 2, words.length), np.int16)
    kinds = np.empty(CHUNK, np.uint8)
    for number in range(CHUNK):
        source, target, english, chinese, category = render(series, begin + number, size)
        pictures[number] = np.asarray(source), np.asarray(target)
        tokens[number] = words.tokens(english), words.tokens(chinese)
        kinds[number] = CATEGORIES.index(category)
    return Chunk(pictures, tokens, kinds)


class Drawing:
    """Processes that draw one series each, into files of a folder, which are taken away as they come.

    Args:
        series: one for each process.
        limit: pairs after which a process ends.
        size: pixels across a picture.
        words: file with the words that instructions are read with.
        length: tokens of an instruction.
    """

    def __init__(self, series: list[int], limit: int, size: int, words: Path, length: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tiny-pairs-"))
        self._size, self._length = size, length
        options = ["--limit", str(limit), "--size", str(size), "--words", str(words.absolute())]
        options += ["--length", str(length), "--folder", str(self._folder)]
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "training.drawing", "--series", str(one), *options],
                cwd=Path(__file__).parents[1],
            )
            for one in series
        ]

    def ready(self, at_most: int) -> list[Chunk]:
        """Return chunks that have come, at most so many, without waiting.

        Raises:
            RuntimeError: every process has failed.
        """
        if self.failed() == len(self._processes):
            raise RuntimeError("every drawing process has failed")
        paths = sorted(self._folder.glob(f"*{_WHOLE}"))[:at_most]
        chunks = [Chunk.from_bytes(path.read_bytes(), self._size, self._length) for path in paths]
        for path in paths:
            path.unlink()
        return chunks

    def everything(self) -> list[Chunk]:
        """Wait for the end, and return all chunks in the order of series and index.

        Raises:
            RuntimeError: a process has failed.
        """
        while any(process.poll() is None for process in self._processes):
            time.sleep(0.05)
        if self.failed():
            raise RuntimeError("a drawing process has failed")
        return self.ready(1_000_000)

    def failed(self) -> int:
        """Return how many processes have ended otherwise than well."""
        return sum(process.poll() not in (None, 0) for process in self._processes)

    def stop(self) -> None:
        """End the processes and remove what they have left."""
        for process in self._processes:
            process.kill()
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _draw(given: argparse.Namespace, words: Vocabulary, parent: int) -> None:
    for begin in range(0, given.limit, CHUNK):
        chunk = drawn_chunk(given.series, begin, given.size, words)
        path = given.folder / f"{given.series}-{begin:08}"
        while os.getppid() == parent and sum(1 for _ in given.folder.iterdir()) > _WAITING:
            time.sleep(0.2)
        if os.getppid() != parent:
            return
        path.write_bytes(chunk.as_bytes())
        path.rename(path.with_suffix(_WHOLE))


def main() -> None:
    """Draw one series into files, until the limit or until the process that wants them is gone."""
    parent = os.getppid()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("--series", "--limit", "--size", "--length"):
        parser.add_argument(name, type=int, required=True)
    for name in ("--words", "--folder"):
        parser.add_argument(name, type=Path, required=True)
    given = parser.parse_args()
    os.nice(5)
    words = Vocabulary(json.loads(given.words.read_text(encoding="utf-8")), given.length)
    with contextlib.suppress(KeyboardInterrupt, FileNotFoundError):
        _draw(given, words, parent)


if __name__ == "__main__":
    main()
