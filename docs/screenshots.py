"""Takes the pictures of the README from a run of the demo: the terminal while it works, its report, its comparison.

    python docs/screenshots.py [--scored 48]

Needs what tests need (`pip install -e '.[test]'`), and Chromium in the PATH. Fonts are the machine's own.
"""

from __future__ import annotations

import argparse
import io
import itertools
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image  # noqa: TID253 - this is no part of the package
from playwright.sync_api import FloatRect, Page, sync_playwright
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "views"))

from emulator import Glass, OnTerminal, edit_eval  # noqa: E402

IMAGES = ROOT / "docs" / "images"
COLUMNS, ROWS = 100, 22
COMMAND = ("demo", "--set", "judge.devices=[cpu:2]")
"""The judge has a device of its own, so that one picture shows both at work."""
FONT = "'DejaVu Sans Mono', Menlo, Consolas, monospace"
MARGIN = 10
HEIGHT = 4000
"""Of the window: what lies below it a browser may leave undrawn."""


def main() -> None:
    """Run the demo in a terminal, and look at what it leaves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scored", type=int, default=48, help="verdicts after which the terminal is taken")
    arguments = parser.parse_args()
    if (chromium := shutil.which("chromium")) is None:
        raise SystemExit("there is no chromium in the PATH")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = edit_eval(*COMMAND, "--output", "demo")
        with OnTerminal(command, cwd=folder, columns=COLUMNS, rows=ROWS) as terminal:
            terminal.wait_for(
                lambda glass: scored(glass) >= arguments.scored and in_the_middle(glass),
                "so many verdicts, and edits in the middle of their steps",
                300,
            )
            (IMAGES / "terminal.svg").write_text(as_svg(terminal.glass), encoding="utf-8")
            if code := terminal.finish(300):
                raise SystemExit(f"the demo ended with {code}:\n" + "\n".join(terminal.glass.everything))
        with sync_playwright() as library:
            browser = library.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            report(opened(browser, folder / "demo" / "20-steps" / "report" / "index.html", 1280))
            comparison(opened(browser, folder / "demo" / "compare" / "index.html", 1200))
            browser.close()


def scored(glass: Glass) -> int:
    """Return how many verdicts the bar over all devices says."""
    found = re.search(r"Scoring: .* (\d+)/\d+ ", "\n".join(glass.rows))
    return int(found[1]) if found else 0


def in_the_middle(glass: Glass) -> bool:
    """Return whether every bar of an edit shows some of its steps."""
    steps = re.findall(r"Denoising: .* (\d+)/\d+ ", "\n".join(glass.rows))
    return bool(steps) and all(int(one) > 0 for one in steps)


def as_svg(glass: Glass) -> str:
    """Return the screen as a picture with its colours."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for y in range(len(glass.rows)):
        line = Text(no_wrap=True, overflow="crop")
        cells = (glass.buffer[y][x] for x in range(COLUMNS))
        for (colour, bold), run in itertools.groupby(cells, key=lambda cell: (cell.fg, cell.bold)):
            line.append("".join(cell.data for cell in run), Style(color=_colour(colour), bold=bold))
        console.print(line)
    svg = console.export_svg(
        title=f"edit-eval {' '.join(COMMAND)}", theme=MONOKAI, unique_id="terminal", font_aspect_ratio=0.61
    )
    lines = svg.splitlines()
    begin = next(number for number, line in enumerate(lines) if "@font-face" in line)
    end = next(number for number, line in enumerate(lines) if ".terminal-matrix" in line)
    text = "\n".join(line.rstrip() for line in lines[:begin] + lines[end:])
    return text.replace("Fira Code, monospace", FONT) + "\n"


def _colour(name: str) -> str | None:
    """Return a colour of the emulator as rich calls it: `brown` is the terminal's yellow; hexadecimal for the other 240."""
    if name == "default":
        return None
    bright, plain = name.startswith("bright"), name.removeprefix("bright").replace("brown", "yellow")
    if all(one in "0123456789abcdef" for one in name) and len(name) == 6:
        return f"#{name}"
    return f"bright_{plain}" if bright else plain


def opened(browser: Any, path: Path, width: int) -> Page:
    """Open a page of a file."""
    page: Page = browser.new_page(viewport={"width": width, "height": HEIGHT})
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    return page


def report(page: Page) -> None:
    """Take the top of a report and its first sample, the middle left out."""
    top = picture(page, 0, _top(page, "section:has(> #devices)"))
    below = picture(page, _top(page, "section:has(> #samples)"), _bottom(page, "#cards > li"))
    both = Image.new("RGB", (top.width, top.height + below.height))
    both.paste(top, (0, 0))
    both.paste(below, (0, top.height))
    both.save(IMAGES / "report.png", optimize=True)


def comparison(page: Page) -> None:
    """Take the top of a comparison as far as the first samples that lost most."""
    picture(page, 0, _bottom(page, "a.change")).save(IMAGES / "compare.png", optimize=True)


def picture(page: Page, top: float, bottom: float) -> Image.Image:
    """Take a page's whole width between two heights."""
    taken = page.screenshot()
    with Image.open(io.BytesIO(taken)) as whole:
        return whole.convert("RGB").crop((0, round(top), whole.width, round(bottom)))


def _top(page: Page, selector: str) -> float:
    return _box(page, selector)["y"] - MARGIN


def _bottom(page: Page, selector: str) -> float:
    box = _box(page, selector)
    return box["y"] + box["height"] + MARGIN


def _box(page: Page, selector: str) -> FloatRect:
    """Return where the first such element is in the window."""
    box = page.locator(selector).first.bounding_box()
    if box is None or box["y"] > HEIGHT:
        raise SystemExit(f"the page shows no {selector} in its first {HEIGHT} pixels")
    return box


if __name__ == "__main__":
    main()
