"""docs/statistics.md names functions and fields that there are, and gives a source for each section with a formula."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

from edit_eval.core import headlines, stats

PAGE = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
NAMED = re.sub(r"^## Agreement.*?(?=^## )", "", PAGE, flags=re.MULTILINE | re.DOTALL)  # has tests of its own
FIELDS = {
    field.name
    for module in (stats, headlines)
    for kind in vars(module).values()
    if dataclasses.is_dataclass(kind)
    for field in dataclasses.fields(kind)
} | {"few", "needed"}


def test_functions_take_what_the_page_gives_them():
    called = re.findall(r"`(?:headlines\.)?(\w+)\(([^`]*)\)`", NAMED)
    assert len(called) > 8
    for name, arguments in called:
        if name == "needed":
            function = stats.Power.needed
        else:
            function = getattr(headlines if name in ("estimate", "difference") else stats, name)
        parameters = inspect.signature(function).parameters
        for argument in re.findall(r"\w+", re.sub(r'=("\w+"|\.\.\.)', "", arguments)):
            assert argument in parameters, f"{name}({argument})"


def test_names_are_fields_or_functions():
    for name in re.findall(r"`([a-z_]+)`", NAMED):
        assert name in FIELDS or name == "null" or hasattr(stats, name), name


def test_every_section_of_formulas_has_its_source():
    for section in re.split(r"^##+ ", PAGE, flags=re.MULTILINE):
        if re.search(r"^    \w.*=", section, flags=re.MULTILINE):
            assert re.search(r"\b(1[89]|20)\d\d\b", section), section.splitlines()[0]
