"""Tries a judge out in its own interpreter: constructed as in a host, asked one question about two drawings, ended.

The driver starts it before anything is edited, with the host's environment, and hands it the host's `load` message on
standard input. It prints one JSON object as its last line: `remarks`, or `refused` with the reason.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from edit_eval.core.errors import UserError
from edit_eval.worker.roles import JudgeRole

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["drawings", "main", "tried"]

_LEVELS = ("ok", "warn", "bad")


def tried(load: dict[str, Any]) -> dict[str, Any]:
    """Return what was found of the judge of this `load` message. Raises what a plugin's judge raises."""
    try:
        role = JudgeRole(load)
        found = [[str(part) for part in remark] for remark in role.try_out(drawings())]
    except UserError as error:
        return {"refused": str(error)}
    if not all(len(remark) == 3 and remark[0] in _LEVELS for remark in found):
        raise TypeError(f"try_out() must return (level, what, what to do), and returned {found!r:.200}")
    return {"remarks": found}


def drawings() -> dict[str, Image]:
    """Return `source` and `edited`, RGB, 256 x 256 pixels: a red square on a meadow, and the same in yellow."""
    from PIL import Image, ImageDraw

    made = {}
    for name, colour in (("source", (200, 30, 30)), ("edited", (240, 210, 40))):
        image = Image.new("RGB", (256, 256), (120, 170, 230))
        pen = ImageDraw.Draw(image)
        pen.rectangle((0, 160, 255, 255), fill=(70, 140, 60))
        pen.rectangle((80, 100, 175, 195), fill=colour)
        made[name] = image
    return made


def main() -> None:
    """Try the judge of the message on standard input."""
    print(json.dumps(tried(json.loads(sys.stdin.buffer.read()))), flush=True)


if __name__ == "__main__":
    main()
