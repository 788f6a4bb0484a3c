"""How the things of a landscape are drawn, each in its own units.

A thing that stands is about 200 units wide, with its foot at (0, 0); a thing that flies lies within 100 units
around (0, 0). Each function takes a pen, the thing's colour, and the text on it, which most do not bear.
"""

from __future__ import annotations

import math

from edit_eval.benchmarks._drawing import RGB, Pen, dark, light
from edit_eval.benchmarks._thing_parts import CREAM, GLASS, GOLD, IRON, LEAF, WOOD, shadow, write

__all__ = [
    "airplane",
    "balloon",
    "bench",
    "bird",
    "car",
    "cat",
    "flower",
    "house",
    "kite",
    "mailbox",
    "parasol",
    "sign",
    "tent",
    "tree",
]


# --- on the ground ---


def house(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 112, 6)
    roof = (112, 84, 92)
    pen.rect(40, -216, 64, -150, dark(CREAM, 0.35))
    pen.rect(36, -222, 68, -208, roof)
    pen.rect(-88, -128, 88, 0, colour)
    pen.rect(44, -128, 88, 0, dark(colour, 0.12))
    pen.rect(-88, -128, 88, -118, dark(colour, 0.22))
    pen.polygon([(-108, -122), (0, -214), (108, -122)], roof)
    pen.polygon([(0, -214), (108, -122), (50, -122)], dark(roof, 0.2))
    pen.disc(0, -156, 17, CREAM)
    pen.disc(0, -156, 12, GLASS)
    pen.rect(-22, -74, 22, 0, CREAM)
    pen.rect(-17, -69, 17, 0, (122, 82, 66))
    pen.disc(10, -32, 4, GOLD)
    for x in (-74, 36):
        pen.rect(x, -94, x + 38, -52, CREAM, radius=2)
        pen.rect(x + 4, -90, x + 34, -56, GLASS)
        pen.rect(x + 17, -90, x + 21, -56, CREAM)
        pen.rect(x + 4, -75, x + 34, -71, CREAM)


def tree(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 70, 4)
    trunk = (134, 94, 72)
    pen.polygon([(-14, 0), (-9, -110), (9, -110), (16, 0)], trunk)
    pen.line([(0, -80), (36, -124)], 9, trunk)
    crown = ((0, -176, 68), (-50, -138, 46), (52, -140, 48), (-6, -118, 48))
    for x, y, radius in crown:
        pen.disc(x, y, radius, dark(colour, 0.16))
    for x, y, radius in crown:
        pen.disc(x - 7, y - 7, radius * 0.86, colour)
    for x, y, radius in ((-24, -196, 17), (-58, -150, 12), (20, -160, 13)):
        pen.disc(x, y, radius, light(colour, 0.28))


def car(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 112)
    pen.polygon([(-66, -62), (-44, -104), (34, -104), (64, -62)], colour)
    pen.polygon([(-54, -64), (-38, -96), (-8, -96), (-8, -64)], GLASS)
    pen.polygon([(0, -64), (0, -96), (30, -96), (52, -64)], GLASS)
    pen.polygon([(-44, -70), (-30, -94), (-18, -94), (-32, -70)], light(GLASS, 0.5))
    pen.rect(-106, -68, 106, -16, colour, radius=18)
    pen.rect(-106, -36, 106, -16, dark(colour, 0.2), radius=9)
    pen.rect(-7, -58, 9, -53, dark(colour, 0.4), radius=2)
    pen.ellipse(98, -50, 8, 9, (255, 238, 170))
    pen.rect(-106, -56, -98, -42, (200, 62, 62), radius=3)
    for x in (-60, 60):
        pen.disc(x, -20, 25, dark(colour, 0.5))
        pen.disc(x, -18, 21, (52, 52, 68))
        pen.disc(x, -18, 10, (206, 212, 222))
        pen.disc(x, -18, 4, (120, 126, 140))


def tent(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 116)
    pen.polygon([(-108, 0), (-18, -140), (10, -140), (108, 0)], colour)
    pen.polygon([(10, -140), (108, 0), (56, 0)], dark(colour, 0.16))
    pen.polygon([(-60, 0), (-10, -128), (36, 0)], dark(colour, 0.55))
    pen.polygon([(-60, 0), (-10, -128), (-36, 0)], light(colour, 0.3))
    pen.polygon([(36, 0), (-10, -128), (14, 0)], light(colour, 0.3))
    pen.line([(-4, -140), (-4, -166)], 4, IRON)
    pen.polygon([(-4, -166), (30, -156), (-4, -146)], CREAM)


def mailbox(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 52)
    pen.rect(-8, -110, 8, 0, WOOD)
    pen.rect(2, -110, 8, 0, dark(WOOD))
    pen.rect(-64, -168, 64, -104, colour, radius=8)
    pen.slice(0, -156, 64, 46, colour, angles=(180, 360))
    pen.rect(30, -158, 64, -104, dark(colour, 0.16), radius=6)
    pen.slice(30, -156, 34, 46, dark(colour, 0.16), angles=(270, 360))
    pen.rect(-42, -150, 14, -142, dark(colour, 0.5), radius=4)
    pen.rect(-40, -130, 8, -116, CREAM, radius=2)
    pen.rect(70, -196, 76, -134, IRON)
    pen.rect(70, -198, 98, -176, GOLD)
    pen.rect(58, -146, 76, -140, IRON)


def bench(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 112)
    for x in (-84, 76):
        pen.rect(x, -122, x + 9, 0, IRON)
        pen.rect(x - 8, -6, x + 18, 0, IRON, radius=3)
    for y in (-122, -98, -74):
        pen.rect(-104, y, 104, y + 17, colour, radius=5)
    pen.rect(-108, -52, 108, -34, colour, radius=5)
    pen.rect(-108, -40, 108, -34, dark(colour, 0.25), radius=3)
    for x in (-94, 86):
        pen.rect(x, -78, x + 9, -46, IRON)


def parasol(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 60)
    pen.rect(-4, -190, 4, 0, (238, 228, 206))
    pen.rect(1, -190, 4, 0, (206, 190, 160))
    pen.slice(0, -118, 112, 88, colour, angles=(180, 360))
    for left, right in ((-0.62, -0.22), (0.22, 0.62)):
        curve = [(112 * t * math.cos(a), -118 - 88 * math.sin(a)) for t, a in _panel(left, right)]
        pen.polygon(curve, CREAM)
    for x in (-90, -45, 0, 45, 90):
        pen.slice(x, -118, 23, 10, colour if x in (-90, 0, 90) else CREAM, angles=(0, 180))
    pen.disc(0, -208, 6, CREAM)


def _panel(left: float, right: float) -> list[tuple[float, float]]:
    """Points of a stripe of a dome: share of the rim's width, and the angle up the dome."""
    angles = [k * math.pi / 32 for k in range(17)]
    return [(left, a) for a in angles] + [(right, a) for a in reversed(angles)]


def cat(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 66)
    pen.line([(44, -14), (78, -22), (88, -54), (76, -82)], 15, dark(colour, 0.1))
    pen.disc(76, -82, 7.5, light(colour, 0.4))
    pen.ellipse(0, -54, 54, 56, colour)
    pen.ellipse(0, -40, 28, 38, light(colour, 0.45))
    for x in (-24, 24):
        pen.ellipse(x, -7, 21, 10, light(colour, 0.2))
    for x in (-1, 1):
        pen.polygon([(x * 50, -128), (x * 46, -180), (x * 10, -158)], colour)
        pen.polygon([(x * 43, -136), (x * 42, -166), (x * 20, -154)], (244, 170, 176))
    pen.ellipse(0, -124, 56, 45, colour)
    for x in (-22, 22):
        pen.ellipse(x, -128, 9, 11, (250, 250, 240))
        pen.ellipse(x, -127, 5.5, 9, (44, 46, 62))
        pen.disc(x + 2, -131, 2.4, (255, 255, 255))
        for y in (-112, -106):
            pen.line([(x * 1.4, y), (x * 3.1, y - 4 + (y + 112))], 1.6, light(colour, 0.7))
    pen.polygon([(-7, -114), (7, -114), (0, -106)], (230, 120, 130))
    pen.line([(-9, -98), (0, -102), (9, -98)], 2.4, dark(colour, 0.6))


def flower(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 34)
    pen.rect(-4, -130, 4, 0, LEAF)
    for x in (-1, 1):
        pen.polygon([(0, -30), (x * 34, -72), (x * 58, -70), (x * 40, -40)], LEAF)
        pen.line([(0, -30), (x * 50, -66)], 2, dark(LEAF))
    for k in range(10):
        angle = k * math.pi / 5
        pen.disc(44 * math.cos(angle), -152 + 44 * math.sin(angle), 20, dark(colour, 0.1 if k % 2 else 0.0))
    pen.disc(0, -152, 36, colour)
    pen.disc(0, -152, 27, (120, 78, 56))
    for k in range(9):
        angle = k * 2.4
        pen.disc(6.2 * k**0.5 * math.cos(angle), -152 + 6.2 * k**0.5 * math.sin(angle), 2.6, (214, 160, 90))


def sign(pen: Pen, colour: RGB, text: str) -> None:
    """Draw one."""
    shadow(pen, 96)
    for x in (-70, 56):
        pen.rect(x, -110, x + 14, 0, WOOD)
        pen.rect(x + 8, -110, x + 14, 0, dark(WOOD))
    pen.rect(-108, -184, 108, -78, dark(colour, 0.3), radius=12)
    pen.rect(-108, -188, 108, -86, colour, radius=12)
    pen.rect(-99, -179, 99, -95, CREAM, radius=7)
    write(pen, -137, 176, 52, text)


# --- in the sky ---


def balloon(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    pen.line([(-26, 34), (-14, 70)], 2.4, WOOD)
    pen.line([(26, 34), (14, 70)], 2.4, WOOD)
    pen.polygon([(-56, 6), (56, 6), (22, 46), (-22, 46)], colour)
    pen.ellipse(0, -24, 66, 68, colour)
    pen.ellipse(0, -24, 42, 68, CREAM)
    pen.polygon([(-36, 8), (36, 8), (14, 46), (-14, 46)], CREAM)
    pen.ellipse(0, -24, 18, 68, colour)
    pen.polygon([(-15, 8), (15, 8), (6, 46), (-6, 46)], colour)
    pen.ellipse(-38, -50, 9, 18, (*light(colour, 0.7), 130))
    pen.rect(-22, 42, 22, 50, dark(colour, 0.3), radius=3)
    pen.rect(-17, 68, 17, 94, WOOD, radius=5)
    pen.rect(-19, 66, 19, 74, dark(WOOD), radius=3)


def kite(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    tail = [(0, 40), (-12, 54), (6, 66), (-10, 80), (4, 94)]
    pen.line(tail, 3, IRON)
    for x, y in tail[1:]:
        pen.polygon([(x - 13, y - 6), (x, y), (x - 13, y + 6)], CREAM)
        pen.polygon([(x + 13, y - 6), (x, y), (x + 13, y + 6)], CREAM)
    pen.polygon([(0, -96), (62, -34), (0, 44), (-62, -34)], colour)
    pen.polygon([(0, -96), (62, -34), (0, -34)], light(colour, 0.4))
    pen.polygon([(0, -34), (0, 44), (-62, -34)], dark(colour, 0.2))
    pen.line([(0, -94), (0, 42)], 3, CREAM)
    pen.line([(-60, -34), (60, -34)], 3, CREAM)


def airplane(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    pen.polygon([(-84, -10), (-98, -58), (-74, -58), (-46, -14)], dark(colour, 0.15))
    pen.polygon([(-6, -16), (-30, -52), (-10, -52), (30, -16)], dark(colour, 0.3))
    pen.rect(-90, -26, 92, 22, colour, radius=24)
    pen.polygon([(-90, 0), (-60, -26), (40, -26), (40, 10), (-60, 12)], colour)
    pen.rect(-70, 4, 86, 20, CREAM, radius=10)
    pen.polygon([(-92, -4), (-96, -10), (-60, -2), (-58, 6)], dark(colour, 0.25))
    for x in range(-46, 50, 22):
        pen.disc(x, -9, 6, GLASS)
    pen.polygon([(62, -18), (74, -18), (86, -4), (62, -4)], GLASS)
    pen.polygon([(-20, 6), (28, 6), (-16, 58), (-42, 58)], dark(colour, 0.3))
    pen.rect(-6, 24, 26, 38, IRON, radius=7)


def bird(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    pen.polygon([(-58, 2), (-98, -12), (-92, 6), (-98, 22)], dark(colour, 0.25))
    pen.polygon([(-12, -8), (-50, -88), (2, -70), (34, -10)], dark(colour, 0.35))
    pen.ellipse(-4, 6, 64, 32, colour)
    pen.ellipse(4, 20, 44, 17, light(colour, 0.55))
    pen.disc(52, -14, 28, colour)
    pen.polygon([(76, -22), (100, -10), (76, -4)], (246, 176, 70))
    pen.disc(60, -20, 7.5, (255, 255, 255))
    pen.disc(62, -20, 4, (40, 42, 58))
    pen.polygon([(-26, -4), (-36, -78), (18, -52), (30, 0)], dark(colour, 0.16))
    pen.polygon([(-20, -12), (-30, -64), (-2, -52)], light(colour, 0.2))
