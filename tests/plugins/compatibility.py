"""docs/compatibility.md: which versions were tested, written from the tests' own results and read back by another test.

`python -m pytest tests/long/test_versions.py --write-compatibility` writes it.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

__all__ = ["PAGE", "SETS", "PythonRow", "SetRow", "parse", "render", "written"]

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"

SETS = {
    "oldest": {
        "diffusers": "0.35.1",
        "transformers": "4.57.1",
        "huggingface_hub": "0.36.2",
        "tokenizers": "0.22.2",
    },
    "oldest with QwenImageEditPlusPipeline": {
        "diffusers": "0.36.0",
        "transformers": "4.57.1",
        "huggingface_hub": "0.36.2",
        "tokenizers": "0.22.2",
        "httpx": "0.28.1",
    },
    "newest": {},
}
"""Sets of libraries that are put over those of the tests' own environment; the newest is that environment itself."""


@dataclass(frozen=True)
class PythonRow:
    """A Python in which hosts ran.

    Attributes:
        python: its version.
        pillow: the version of the only library that these hosts need.
        result: in words.
    """

    python: str
    pillow: str
    result: str


@dataclass(frozen=True)
class SetRow:
    """A set of libraries with which the tests of real model classes ran.

    Attributes:
        name: a key of `SETS`.
        diffusers, transformers, torch, python: versions.
        result: in words.
    """

    name: str
    diffusers: str
    transformers: str
    torch: str
    python: str
    result: str


_HEAD = """\
# What was tested

What runs in a host (editors, judges, the protocol) is meant for Python 3.10 to 3.14, diffusers from 0.35.1 and transformers from 4.57. The tables below hold what ran, and nothing else; the tests write this page:

    python -m pytest tests/long/test_versions.py --write-compatibility

Written on {date}, on {machine}.
"""

_PYTHONS = """
## Pythons

The driver's Python starts hosts in another one, where only Pillow is installed: the scripted editor and the reference judge, 8 samples. Images and scores must be the same, to the byte, as those of hosts in the driver's own Python.

| Python | Pillow | result |
|---|---|---|
"""

_SETS = """
## diffusers and transformers

The tests of real model classes (tiny random checkpoints of Qwen-Image-Edit, FLUX.1-Kontext, InstructPix2Pix and Qwen3-VL, dense and mixture of experts) on the CPU. What is skipped asks for `QwenImageEditPlusPipeline`, which diffusers has from 0.36; before, the editor says so in one line.

| set | diffusers | transformers | torch | Python | result |
|---|---|---|---|---|---|
"""


def render(pythons: Sequence[PythonRow], sets: Sequence[SetRow], date: str, machine: str) -> str:
    """Return the page."""
    return "".join(
        [
            _HEAD.format(date=date, machine=machine),
            _PYTHONS,
            *(f"| {' | '.join(astuple(row))} |\n" for row in pythons),
            _SETS,
            *(f"| {' | '.join(astuple(row))} |\n" for row in sets),
        ]
    )


def parse(text: str) -> tuple[list[PythonRow], list[SetRow], str, str]:
    """Return what `render` was given; raises `ValueError` if the text is no page of its."""
    found = re.search(r"^Written on (.+?), on (.+)\.$", text, re.MULTILINE)
    if found is None:
        raise ValueError("no line 'Written on ...'")
    rows = [
        line.strip("|").split("|")
        for line in text.splitlines()
        if re.match(r"\|(?! *(---|Python \||set \|))", line)
    ]
    cells = [[cell.strip() for cell in row] for row in rows if not row[0].startswith("---")]
    pythons = [PythonRow(*row) for row in cells if len(row) == 3]
    return pythons, [SetRow(*row) for row in cells if len(row) == 6], found[1], found[2]


def written(pythons: Sequence[PythonRow], sets: Sequence[SetRow]) -> str:
    """Return the page of today and of this machine, rows in order of version and of `SETS`."""
    today = dt.datetime.now(tz=dt.UTC).date()
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    machine = f"a machine with {os.cpu_count()} CPU cores and no GPU ({system}, {platform.machine()})"
    by_version = sorted(pythons, key=lambda row: [int(part) for part in re.findall(r"\d+", row.python)])
    by_name = sorted(sets, key=lambda row: [*SETS].index(row.name))
    return render(by_version, by_name, f"{today.day} {today:%B %Y}", machine)
