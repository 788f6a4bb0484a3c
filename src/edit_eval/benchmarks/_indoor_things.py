"""How the things of a room are drawn, each in its own units.

A thing that stands is about 200 units wide, with its foot at (0, 0); a thing that hangs lies within 100 units
around (0, 0). Each function takes a pen, the thing's colour, and the text on it, which most do not bear.
"""

from __future__ import annotations

import math

from edit_eval.benchmarks._drawing import RGB, Pen, dark, light
from edit_eval.benchmarks._thing_parts import CREAM, GOLD, IRON, LEAF, RED, SHADE, shadow, star, write

__all__ = [
    "apple",
    "book",
    "candle",
    "clock",
    "cupcake",
    "gift",
    "lamp",
    "mirror",
    "mug",
    "paper_star",
    "pear",
    "picture",
    "plant",
    "poster",
    "robot",
    "teapot",
    "vase",
    "wall_clock",
]


# --- on the table ---


def mug(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 76)
    pen.ring(66, -66, 34, 34, dark(colour, 0.12), width=14)
    pen.rect(-62, -124, 62, 0, colour, radius=16)
    pen.rect(-62, -124, 62, -60, colour)
    pen.rect(32, -112, 62, -4, dark(colour, 0.14), radius=12)
    pen.rect(-48, -100, -36, -26, (*light(colour, 0.6), 170), radius=6)
    pen.ellipse(0, -124, 62, 15, light(colour, 0.3))
    pen.ellipse(0, -122, 52, 10, (96, 62, 48))


def vase(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 58)
    for x, top in ((-44, -196), (0, -222), (44, -196)):
        pen.line([(x * 0.2, -100), (x * 0.7, top + 40), (x, top)], 5, LEAF)
        for k in range(6):
            angle = k * math.pi / 3
            pen.disc(x + 16 * math.cos(angle), top + 16 * math.sin(angle), 12, CREAM)
        pen.disc(x, top, 10, GOLD)
    pen.ellipse(-26, -146, 20, 9, LEAF)
    pen.ellipse(28, -140, 20, 9, dark(LEAF, 0.1))
    pen.polygon([(-22, -118), (22, -118), (22, -84), (-22, -84)], colour)
    pen.ellipse(0, -48, 54, 50, colour)
    pen.rect(-34, -14, 34, 0, colour, radius=5)
    pen.slice(0, -48, 54, 50, dark(colour, 0.12), angles=(-75, 75))
    pen.ellipse(0, -48, 26, 49, colour)
    pen.rect(-30, -126, 30, -112, dark(colour, 0.15), radius=7)
    pen.ellipse(-28, -62, 8, 18, (*light(colour, 0.7), 170))


def apple(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 70)
    for shade, shift, size in ((dark(colour, 0.16), 0, 1.0), (colour, -6, 0.9)):
        for x in (-27, 27):
            pen.ellipse(x * size + shift, -66, 50 * size, 62 * size, shade)
        pen.ellipse(shift, -52, 58 * size, 52 * size, shade)
    pen.ellipse(-44, -92, 11, 19, light(colour, 0.6))
    pen.ellipse(0, -120, 24, 8, dark(colour, 0.3))
    pen.line([(0, -116), (4, -138), (12, -154)], 8, (110, 76, 56))
    pen.polygon([(8, -136), (30, -160), (64, -156), (44, -134)], LEAF)


def pear(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 66)
    for shade, shift, size in ((dark(colour, 0.16), 0, 1.0), (colour, -6, 0.9)):
        pen.ellipse(shift, -58, 66 * size, 60 * size, shade)
        pen.ellipse(shift, -128, 38 * size, 46 * size, shade)
        pen.polygon(
            [
                (shift - 37 * size, -124),
                (shift + 37 * size, -124),
                (shift + 60 * size, -76),
                (shift - 60 * size, -76),
            ],
            shade,
        )
    pen.ellipse(-36, -74, 9, 22, light(colour, 0.6))
    pen.line([(0, -168), (4, -188), (14, -198)], 8, (110, 76, 56))
    pen.polygon([(6, -180), (34, -206), (60, -194), (38, -176)], LEAF)


def lamp(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 54)
    pen.disc(0, -158, 96, (255, 240, 180, 50))
    pen.ellipse(0, -7, 48, 10, dark(GOLD, 0.3))
    pen.ellipse(0, -11, 48, 9, GOLD)
    pen.rect(-6, -124, 6, -10, GOLD)
    pen.rect(1, -124, 6, -10, dark(GOLD))
    pen.polygon([(-46, -218), (46, -218), (86, -116), (-86, -116)], colour)
    pen.polygon([(14, -218), (46, -218), (86, -116), (32, -116)], dark(colour, 0.13))
    pen.polygon([(-86, -116), (86, -116), (82, -126), (-82, -126)], light(colour, 0.5))


def teapot(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 86)
    pen.ring(-72, -70, 36, 42, dark(colour, 0.12), width=13)
    pen.polygon([(48, -42), (84, -104), (108, -116), (104, -98), (66, -22)], dark(colour, 0.12))
    pen.ellipse(0, -64, 72, 62, colour)
    pen.slice(0, -64, 72, 62, dark(colour, 0.12), angles=(-70, 70))
    pen.ellipse(0, -64, 38, 61, colour)
    pen.rect(-36, -10, 36, 0, dark(colour, 0.25), radius=5)
    pen.slice(0, -116, 40, 18, light(colour, 0.25), angles=(180, 360))
    pen.rect(-42, -120, 42, -112, dark(colour, 0.25), radius=4)
    pen.disc(0, -140, 10, dark(colour, 0.2))
    pen.ellipse(-38, -82, 9, 20, (*light(colour, 0.7), 170))


def candle(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 62)
    pen.disc(0, -190, 46, (255, 226, 140, 70))
    pen.ellipse(0, -8, 62, 12, dark(GOLD, 0.25))
    pen.ellipse(0, -13, 62, 11, GOLD)
    pen.rect(-27, -150, 27, -14, colour, radius=5)
    pen.rect(8, -150, 27, -14, dark(colour, 0.15), radius=5)
    pen.ellipse(0, -150, 27, 8, light(colour, 0.4))
    pen.rect(-2, -168, 2, -148, (60, 54, 60))
    for scale, flame in ((1.0, (250, 160, 70)), (0.58, (255, 232, 150))):
        pen.disc(0, -176, 15 * scale, flame)
        pen.polygon([(-14 * scale, -180), (0, -176 - 40 * scale), (14 * scale, -180)], flame)


def gift(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 84)
    ribbon = CREAM
    for x in (-1, 1):
        pen.polygon([(0, -128), (x * 26, -166), (x * 58, -160), (x * 50, -132)], ribbon)
        pen.polygon([(x * 8, -134), (x * 28, -154), (x * 44, -150), (x * 40, -136)], dark(ribbon, 0.2))
    pen.disc(0, -134, 12, dark(ribbon, 0.08))
    pen.rect(-72, -100, 72, 0, colour, radius=4)
    pen.rect(40, -100, 72, 0, dark(colour, 0.12), radius=4)
    pen.rect(-80, -128, 80, -94, colour, radius=5)
    pen.rect(-72, -94, 72, -88, dark(colour, 0.28))
    pen.rect(-14, -128, 14, 0, ribbon)


def clock(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 66)
    for x in (-1, 1):
        pen.line([(x * 34, -30), (x * 50, -2)], 11, dark(colour, 0.4))
        pen.disc(x * 46, -142, 24, dark(colour, 0.18))
    pen.line([(-24, -164), (0, -176), (24, -164)], 7, IRON)
    pen.disc(0, -80, 74, colour)
    pen.disc(0, -80, 58, CREAM)
    for k in range(12):
        angle = k * math.pi / 6
        pen.disc(48 * math.cos(angle), -80 + 48 * math.sin(angle), 4.5 if k % 3 == 0 else 2.6, IRON)
    pen.line([(0, -80), (-22, -104)], 7, IRON)
    pen.line([(0, -80), (26, -110)], 5, IRON)
    pen.disc(0, -80, 6, RED)


def cupcake(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 62)
    pen.polygon([(-64, -78), (64, -78), (48, 0), (-48, 0)], (240, 210, 164))
    for x in (-42, -14, 14, 42):
        pen.polygon([(x - 7, -78), (x + 7, -78), (x * 0.78 + 5, 0), (x * 0.78 - 5, 0)], (222, 184, 134))
    for x, y, wide, tall in ((0, -84, 80, 30), (0, -116, 60, 28), (0, -144, 38, 25)):
        pen.ellipse(x, y + 5, wide, tall, dark(colour, 0.16))
        pen.ellipse(x - 3, y, wide - 4, tall - 2, colour)
    for x, y, sprinkle in (
        (-46, -92, GOLD),
        (-10, -86, CREAM),
        (34, -92, GOLD),
        (-28, -122, CREAM),
        (16, -120, GOLD),
    ):
        pen.rect(x - 6, y - 2.5, x + 6, y + 2.5, sprinkle, radius=2)
    pen.disc(0, -178, 17, (214, 58, 76))
    pen.disc(-5, -184, 5, (250, 160, 170))


def plant(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 58)
    leaves = ((-70, -150), (70, -150), (-44, -200), (44, -200), (0, -222))
    for number, (x, y) in enumerate(leaves):
        side_x, side_y = (y + 80) * 0.2, -x * 0.2
        shade = LEAF if number % 2 == 0 else dark(LEAF, 0.16)
        pen.polygon(
            [
                (0, -74),
                (x * 0.5 + side_x, (y - 80) * 0.5 + side_y),
                (x, y),
                (x * 0.5 - side_x, (y - 80) * 0.5 - side_y),
            ],
            shade,
        )
        pen.line([(0, -76), (x * 0.9, -80 + (y + 80) * 0.9)], 2.6, light(LEAF, 0.3))
    pen.polygon([(-56, -82), (56, -82), (40, 0), (-40, 0)], colour)
    pen.polygon([(18, -82), (56, -82), (40, 0), (14, 0)], dark(colour, 0.13))
    pen.rect(-64, -96, 64, -74, light(colour, 0.18), radius=6)


def robot(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 66)
    for x in (-1, 1):
        pen.line([(x * 52, -92), (x * 78, -66), (x * 74, -42)], 13, dark(colour, 0.35))
        pen.disc(x * 74, -38, 12, IRON)
    for x in (-28, 28):
        pen.rect(x - 14, -30, x + 14, 0, dark(colour, 0.35), radius=5)
        pen.rect(x - 20, -10, x + 20, 0, IRON, radius=5)
    pen.rect(-54, -112, 54, -22, colour, radius=12)
    pen.rect(-34, -92, 34, -46, CREAM, radius=7)
    for x, lamp in ((-18, RED), (0, GOLD), (18, (86, 170, 110))):
        pen.disc(x, -78, 6, lamp)
    pen.rect(-24, -64, 24, -56, (170, 180, 196), radius=3)
    pen.line([(0, -186), (0, -214)], 5, IRON)
    pen.disc(0, -216, 9, RED)
    pen.rect(-14, -124, 14, -108, IRON)
    pen.rect(-48, -190, 48, -118, colour, radius=16)
    pen.rect(-48, -134, 48, -118, dark(colour, 0.14), radius=8)
    for x in (-20, 20):
        pen.disc(x, -160, 14, CREAM)
        pen.disc(x + 2, -159, 7, IRON)
    pen.rect(-20, -138, 20, -131, IRON, radius=3)


def book(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    shadow(pen, 60, 4)
    pen.rect(-50, -150, 62, -4, dark(colour, 0.35), radius=5)
    pen.rect(-44, -146, 58, -8, CREAM)
    pen.rect(-58, -154, 50, 0, colour, radius=5)
    pen.rect(-58, -154, -38, 0, dark(colour, 0.22), radius=5)
    pen.rect(-22, -130, 36, -84, CREAM, radius=4)
    pen.polygon(star(7, -107, 18), GOLD)
    pen.rect(-22, -40, 36, -32, light(colour, 0.45), radius=4)
    pen.rect(-12, -24, 26, -17, light(colour, 0.45), radius=3)


# --- on the wall ---


def picture(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    pen.rect(-92, -66, 100, 82, SHADE)
    pen.rect(-96, -74, 96, 74, colour, radius=4)
    pen.rect(-96, 66, 96, 74, dark(colour, 0.22), radius=3)
    pen.rect(-80, -58, 80, 58, CREAM)
    pen.rect(-70, -48, 70, 48, (176, 216, 236))
    pen.disc(40, -24, 14, (255, 214, 110))
    pen.polygon([(-70, 48), (-70, 20), (-30, -22), (16, 30), (16, 48)], (116, 146, 164))
    pen.polygon([(-16, 48), (30, 2), (70, 36), (70, 48)], (120, 176, 128))
    pen.rect(-70, 38, 70, 48, (96, 156, 108))


def wall_clock(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    pen.disc(5, 8, 86, SHADE)
    pen.disc(0, 0, 86, colour)
    pen.disc(0, 0, 68, CREAM)
    for k in range(12):
        x, y = math.cos(k * math.pi / 6), math.sin(k * math.pi / 6)
        pen.line(
            [(60 * x, 60 * y), ((46 if k % 3 == 0 else 53) * x, (46 if k % 3 == 0 else 53) * y)], 4, IRON
        )
    pen.line([(0, 0), (-26, -20)], 7, IRON)
    pen.line([(0, 0), (14, -46)], 5, IRON)
    pen.disc(0, 0, 6, RED)


def paper_star(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    pen.polygon(star(5, 8, 92), SHADE)
    points = star(0, 0, 92)
    for number in range(10):
        shade = light(colour, 0.18) if number % 2 else dark(colour, 0.1)
        pen.polygon([(0, 0), points[number], points[(number + 1) % 10]], shade)


def mirror(pen: Pen, colour: RGB, _: str) -> None:
    """Draw one."""
    pen.ellipse(5, 8, 70, 92, SHADE)
    pen.ellipse(0, 0, 70, 92, colour)
    pen.ellipse(0, 0, 56, 78, (204, 226, 236))
    pen.polygon([(-40, 20), (16, -58), (34, -48), (-30, 44)], (234, 244, 248))
    pen.polygon([(-16, 54), (44, -30), (48, -16), (-6, 62)], (234, 244, 248))


def poster(pen: Pen, colour: RGB, text: str) -> None:
    """Draw one."""
    pen.rect(-94, -60, 102, 80, SHADE)
    pen.rect(-98, -70, 98, 70, colour)
    pen.rect(-88, -60, 88, 60, CREAM)
    pen.rect(-88, 40, 88, 60, light(colour, 0.45))
    pen.rect(-88, -60, 88, -40, light(colour, 0.45))
    write(pen, 0, 156, 46, text)
    for x in (-90, 90):
        pen.disc(x, -62, 5, RED)
