"""A real browser, where there is one: Debian's Chromium by Playwright. Without either these tests are skipped, and say so."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: no test in a browser"
    )
    if CHROMIUM is None:
        pytest.skip("there is no chromium: no test in a browser ('apt-get install chromium')")
    with playwright.sync_playwright() as library:
        browser = library.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a page of a folder; afterwards nothing may have gone wrong or have left the machine."""
    contexts, wrong = [], []

    def open_page(
        path: Path,
        fragment: str = "",
        width: int = 1200,
        height: int = 900,
        *,
        refusals: bool = False,
        script: str = "",
        **options: Any,
    ) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)

        def only_files(route: Any) -> None:
            if route.request.url.startswith("file:"):
                route.continue_()
            else:
                wrong.append(f"asked for {route.request.url}")
                route.abort()

        context.route("**/*", only_files)
        page = context.new_page()
        page.set_default_timeout(5000)
        if script:
            page.add_init_script(script)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        if not refusals:  # of what the policy forbids
            page.on("console", lambda message: wrong.append(message.text) if is_wrong(message) else None)
        page.on("dialog", lambda dialog: wrong.append(f"a dialog: {dialog.message}") or dialog.dismiss())
        page.on("popup", lambda other: wrong.append(f"a window: {other.url}"))
        page.goto(path.as_uri() + fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def is_wrong(message: Any) -> bool:
    """Whether the console says that something is wrong, other than that a picture is not there."""
    return message.type in ("error", "warning") and "ERR_FILE_NOT_FOUND" not in message.text
