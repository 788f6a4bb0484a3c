"""Templates, and the script that a page carries: the one that its policy allows, by its hash.

Knows the files in `templates/` and nothing of runs.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from markupsafe import Markup

__all__ = ["Script", "script", "template"]

_SCRIPTS = ("gallery.js", "viewer.js")


class Script(NamedTuple):
    """What stands between the tags of the page's only script, and how its policy names it.

    Attributes:
        text: our own files, one behind the other, to the last byte.
        source: `sha256-...`, as a Content-Security-Policy has it (CSP Level 3, section 2.3.1).
    """

    text: Markup
    source: str


def template(name: str) -> Template:
    """Return the template of this name; the script is in its hands."""
    return _environment().get_template(name)


@cache
def script() -> Script:
    """Return the script of every page. It holds nothing of a run, so it is the same text in all of them."""
    from markupsafe import Markup

    folder = importlib.resources.files("edit_eval.views") / "templates"
    text = "\n" + "".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return Script(Markup(text), f"sha256-{digest}")  # noqa: S704 - files of this package


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("edit_eval.views"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["script"] = script
    return environment
