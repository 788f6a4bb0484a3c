"""What several things of a scene share: shadows, stars, letters that fit, and the colours of glass, wood and iron."""

from __future__ import annotations

import math

from edit_eval.benchmarks._drawing import RGB, Pen, text_width

__all__ = ["CREAM", "GLASS", "GOLD", "IRON", "LEAF", "RED", "SHADE", "WOOD", "shadow", "star", "write"]

SHADE = (40, 40, 80, 55)
GLASS: RGB = (190, 226, 240)
CREAM: RGB = (252, 246, 232)
WOOD: RGB = (166, 116, 78)
IRON: RGB = (70, 74, 96)
LEAF: RGB = (86, 158, 96)
GOLD: RGB = (246, 200, 90)
RED: RGB = (226, 84, 78)


def shadow(pen: Pen, half: float, x: float = 0) -> None:
    """Draw the shadow under a thing that stands, `half` units to either side of `x`."""
    pen.ellipse(x, 0, half, half * 0.1 + 3, SHADE)


def star(x: float, y: float, radius: float, turn: float = 0.0) -> list[tuple[float, float]]:
    """Return the ten corners of a five-pointed star, the first one on top unless turned (radians)."""
    return [
        (
            x + radius * (1 if k % 2 == 0 else 0.48) * math.sin(turn + k * math.pi / 5),
            y - radius * (1 if k % 2 == 0 else 0.48) * math.cos(turn + k * math.pi / 5),
        )
        for k in range(10)
    ]


def write(pen: Pen, y: float, width: float, height: float, text: str) -> None:
    """Write text centred on (0, y), as large as fits into width and height."""
    pen.text(0, y, min(height, height * width / text_width(text, height)), text, (52, 56, 84))
