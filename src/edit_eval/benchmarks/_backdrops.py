"""What lies behind the things of a scene: six landscapes, six walls and the table before them.

Knows no thing and no edit. The ground of a landscape begins above y = 660 units, a table at y = 690.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edit_eval.benchmarks._drawing import RGB, Chooser, Pen, dark, light, mix
from edit_eval.benchmarks._thing_parts import star

__all__ = ["BACKDROPS", "Backdrop", "draw_table"]


@dataclass(frozen=True)
class Backdrop:
    """One background.

    Attributes:
        english: what to call it, with its article.
        chinese: the same.
        avoid: colours that things before it had better not have.
        draw: draws it.
    """

    english: str
    chinese: str
    avoid: tuple[str, ...]
    draw: Callable[[Pen, Chooser], None]


def _cloud(pen: Pen, x: float, y: float, scale: float, colour: RGB = (255, 255, 255)) -> None:
    puff = pen.at(x, y, scale)
    puff.rect(-90, -26, 90, 26, colour, radius=26)
    puff.disc(-34, -24, 40, colour)
    puff.disc(24, -34, 50, colour)
    puff.disc(62, -14, 30, colour)


def _clouds(pen: Pen, chooser: Chooser, colour: RGB = (255, 255, 255)) -> None:
    for number in range(3):
        x = 130 + number * 340 + chooser.number(f"cloud {number} x", -90, 90)
        y = chooser.number(f"cloud {number} y", 80, 400)
        _cloud(pen, x, y, chooser.number(f"cloud {number} size", 0.55, 0.95), colour)


def _sun(pen: Pen, x: float, y: float, radius: float, colour: RGB) -> None:
    for ring, opacity in ((1.9, 40), (1.45, 70)):
        pen.disc(x, y, radius * ring, (*light(colour, 0.5), opacity))
    pen.disc(x, y, radius, colour)


def _hills(pen: Pen, chooser: Chooser, what: str, lie: tuple[float, float], colour: RGB) -> None:
    """Fill everything below a gentle wavy line; `lie` is its height and how far it swings."""
    top, swing = lie
    phase, waves = chooser.number(f"{what} phase", 0, 6.28), chooser.number(f"{what} waves", 1.1, 1.9)
    crest = [
        (
            x,
            top
            + swing * math.sin(phase + waves * 6.28 * x / 1000)
            + swing * 0.35 * math.sin(phase * 2 + x / 90),
        )
        for x in range(-10, 1031, 20)
    ]
    pen.polygon([*crest, (1020, 1010), (-10, 1010)], colour)


def _meadow(pen: Pen, chooser: Chooser) -> None:
    pen.gradient(0, 700, [(150, 208, 240), (196, 230, 246), (236, 247, 248)])
    _sun(pen, chooser.pick("sun", (120, 880)), 120, 58, (255, 214, 102))
    _clouds(pen, chooser)
    _hills(pen, chooser, "far", (560, 34), (168, 214, 170))
    _hills(pen, chooser, "near", (620, 26), (134, 196, 132))
    _hills(pen, chooser, "ground", (668, 8), (116, 184, 108))
    _tufts(pen, chooser, (88, 158, 88), ((255, 255, 255), (255, 224, 130), (250, 170, 190)))


def _tufts(pen: Pen, chooser: Chooser, blade: RGB, blossoms: tuple[RGB, ...]) -> None:
    for number in range(26):
        x, y = chooser.number(f"tuft {number} x", 10, 990), chooser.number(f"tuft {number} y", 700, 985)
        scale = 0.5 + (y - 680) / 400
        tuft = pen.at(x, y, scale)
        for lean in (-9, 0, 9):
            tuft.polygon([(-5 + lean / 3, 0), (5 + lean / 3, 0), (lean, -20 + abs(lean) / 2)], blade)
        if number % 3 == 0 and blossoms:
            tuft.disc(16, -10, 6, chooser.pick(f"blossom {number}", blossoms))
            tuft.disc(16, -10, 2.4, (250, 190, 80))


def _beach(pen: Pen, chooser: Chooser) -> None:
    pen.gradient(0, 500, [(122, 200, 238), (184, 228, 246), (232, 246, 250)])
    _sun(pen, chooser.pick("sun", (130, 870)), 130, 56, (255, 220, 120))
    _clouds(pen, chooser)
    pen.gradient(490, 700, [(42, 142, 190), (78, 182, 206), (132, 214, 216)])
    for number in range(16):
        x, y = chooser.number(f"glint {number} x", 0, 960), chooser.number(f"glint {number} y", 505, 620)
        long = chooser.number(f"glint {number} long", 24, 80)
        pen.rect(x, y, x + long, y + 4, (255, 255, 255, 110))
    _hills(pen, chooser, "foam", (648, 8), (240, 250, 248))
    _hills(pen, chooser, "wet", (664, 8), (226, 200, 150))
    _hills(pen, chooser, "sand", (682, 8), (244, 222, 174))
    for number in range(30):
        x, y = chooser.number(f"grain {number} x", 0, 1000), chooser.number(f"grain {number} y", 715, 990)
        pen.ellipse(x, y, 9, 2.6, (224, 196, 142))
    for number in range(3):
        x, y = chooser.number(f"star {number} x", 60, 940), chooser.number(f"star {number} y", 900, 980)
        pen.polygon(star(x, y, 17, chooser.number(f"star {number} turn", 0, 6)), (240, 150, 120))


def _desert(pen: Pen, chooser: Chooser) -> None:
    pen.gradient(0, 680, [(244, 150, 112), (250, 190, 130), (254, 226, 176)])
    _sun(pen, chooser.number("sun", 300, 700), 500, 110, (255, 236, 170))
    for number, x in enumerate((120.0, 760.0)):
        wide, tall = chooser.number(f"mesa {number} w", 110, 170), chooser.number(f"mesa {number} h", 90, 150)
        mesa = [(x - wide, 640), (x - wide * 0.7, 620 - tall), (x + wide * 0.6, 620 - tall), (x + wide, 640)]
        pen.polygon(mesa, (206, 112, 84))
        pen.polygon([(x + wide * 0.2, 640), (x + wide * 0.3, 620 - tall), *mesa[2:]], (184, 94, 78))
    _hills(pen, chooser, "far", (600, 26), (238, 176, 112))
    _hills(pen, chooser, "near", (640, 20), (228, 160, 98))
    _hills(pen, chooser, "ground", (680, 10), (240, 188, 124))
    for number in range(12):
        x, y = chooser.number(f"ripple {number} x", 0, 900), chooser.number(f"ripple {number} y", 725, 980)
        long = chooser.number(f"ripple {number} long", 50, 130)
        pen.rect(x, y, x + long, y + 5, (222, 164, 104), radius=2.5)


def _snow(pen: Pen, chooser: Chooser) -> None:
    pen.gradient(0, 700, [(138, 178, 220), (186, 212, 236), (228, 238, 246)])
    for number, middle in enumerate((60, 420, 800)):
        x = middle + chooser.number(f"peak {number} x", -60, 60)
        top = chooser.number(f"peak {number} y", 260, 400)
        _peak(pen, x, top, 250 + (400 - top) * 0.5)
    _hills(pen, chooser, "far", (610, 20), (214, 228, 242))
    for number in range(14):
        x = 20 + number * 74 + chooser.number(f"fir {number} x", -22, 22)
        y = 652 + chooser.number(f"fir {number} y", -14, 6)
        _fir(pen.at(x, y, chooser.number(f"fir {number}", 0.5, 0.9)))
    _hills(pen, chooser, "ground", (660, 12), (242, 247, 252))
    for number in range(10):
        x, y = chooser.number(f"drift {number} x", 0, 1000), chooser.number(f"drift {number} y", 730, 980)
        pen.ellipse(x, y, chooser.number(f"drift {number} w", 40, 90), 6, (222, 233, 245))


def _peak(pen: Pen, x: float, top: float, half: float) -> None:
    foot = 680
    pen.polygon([(x - half, foot), (x, top), (x + half, foot)], (122, 142, 178))
    pen.polygon([(x, top), (x + half, foot), (x + half * 0.15, foot)], (100, 120, 160))
    cap = 0.34
    edge = top + (foot - top) * cap
    pen.polygon(
        [(x, top), (x - half * cap, edge), (x - half * 0.16, edge - 22), (x - half * 0.02, edge + 16),
         (x + half * 0.14, edge - 20), (x + half * cap, edge)],
        (250, 252, 255),
    )  # fmt: skip
    pen.polygon(
        [(x, top), (x + half * 0.05, edge - 10), (x + half * 0.14, edge - 20), (x + half * cap, edge)],
        (216, 228, 244),
    )


def _fir(pen: Pen) -> None:
    for top, half in ((-120, 22), (-92, 30), (-62, 38)):
        pen.polygon([(-half, top + 58), (0, top), (half, top + 58)], (84, 124, 138))


def _night(pen: Pen, chooser: Chooser) -> None:
    pen.gradient(0, 700, [(22, 26, 66), (44, 50, 104), (86, 88, 148)])
    for number in range(70):
        x, y = chooser.number(f"star {number} x", 0, 1000), chooser.number(f"star {number} y", 0, 540)
        pen.disc(x, y, chooser.number(f"star {number}", 1.4, 3.6), (255, 246, 214))
    moon = chooser.pick("moon", (130, 870))
    _sun(pen, moon, 130, 54, (252, 240, 200))
    for x, y, radius in ((-18, -14, 11), (14, 10, 8), (-6, 24, 6)):
        pen.disc(moon + x, 130 + y, radius, (236, 220, 176))
    _hills(pen, chooser, "far", (570, 34), (52, 66, 112))
    _hills(pen, chooser, "near", (622, 24), (44, 78, 100))
    _hills(pen, chooser, "ground", (668, 8), (50, 96, 96))
    _tufts(pen, chooser, (38, 78, 84), ((220, 220, 250),))


def _city(pen: Pen, chooser: Chooser) -> None:
    pen.gradient(0, 660, [(160, 200, 232), (214, 226, 236), (252, 232, 214)])
    _clouds(pen, chooser, (250, 250, 252))
    for layer, (colour, low) in enumerate((((188, 200, 218), 300), ((150, 166, 194), 400))):
        x = -20.0 - layer * 40
        number = 0
        while x < 1000:
            wide = chooser.number(f"tower {layer} {number} w", 80, 140)
            top = chooser.number(f"tower {layer} {number} h", low, low + 170)
            pen.rect(x, top, x + wide, 700, colour)
            if layer:
                _windows(pen, chooser, x, top, wide)
            x, number = x + wide + layer * 8, number + 1
    pen.rect(0, 652, 1000, 690, (206, 204, 206))
    pen.rect(0, 684, 1000, 694, (170, 170, 178))
    pen.gradient(690, 1000, [(132, 136, 150), (112, 116, 132)])
    for x in range(-40, 1000, 180):
        pen.polygon([(x + 10, 905), (x + 110, 905), (x + 100, 921), (x, 921)], (244, 236, 214))


def _windows(pen: Pen, chooser: Chooser, left: float, top: float, wide: float) -> None:
    columns = int((wide - 16) // 26)
    inset = (wide - columns * 26 + 10) / 2
    for row in range(int((640 - top) // 34)):
        for column in range(columns):
            lit = chooser.share(f"window {left:.3f} {row} {column}") < 0.3
            x, y = left + inset + column * 26, top + 16 + row * 34
            pen.rect(x, y, x + 16, y + 20, (255, 230, 160) if lit else (128, 144, 176))


_WALL_FOOT = 720


def _plain_wall(pen: Pen, chooser: Chooser) -> None:
    pen.gradient(0, _WALL_FOOT, [(168, 206, 222), (190, 220, 230)])
    pen.rect(0, 560, 1000, _WALL_FOOT, (232, 240, 240))
    pen.rect(0, 552, 1000, 566, (248, 250, 248))
    for x in range(-60 + int(chooser.number("panel", 0, 60)), 1000, 200):
        pen.rect(x, 590, x + 160, 680, (214, 228, 230), radius=6)
        pen.rect(x + 8, 598, x + 152, 672, (226, 236, 236), radius=4)


def _striped_wall(pen: Pen, chooser: Chooser) -> None:
    pen.rect(0, 0, 1000, _WALL_FOOT, (252, 228, 222))
    shift = int(chooser.number("shift", 0, 80))
    for x in range(-80 + shift, 1000, 80):
        pen.rect(x, 0, x + 40, _WALL_FOOT, (246, 206, 202))
        pen.rect(x + 57, 0, x + 61, _WALL_FOOT, (244, 190, 190))


def _brick_wall(pen: Pen, chooser: Chooser) -> None:
    pen.rect(0, 0, 1000, _WALL_FOOT, (226, 200, 182))
    for row in range(16):
        for column in range(-1, 9):
            left, top = column * 125 + (row % 2) * 62, row * 46
            shade = mix((196, 108, 88), (176, 88, 74), chooser.share(f"brick {row} {column}"))
            pen.rect(left + 4, top + 4, left + 121, top + 42, shade)
            pen.rect(left + 4, top + 36, left + 121, top + 42, dark(shade, 0.14))


def _dotted_wall(pen: Pen, chooser: Chooser) -> None:
    pen.rect(0, 0, 1000, _WALL_FOOT, (196, 224, 200))
    shift = chooser.number("shift", 0, 50)
    for row in range(12):
        for column in range(-1, 17):
            pen.disc(column * 66 + shift + (row % 2) * 33, 30 + row * 62, 9, (236, 246, 232))


def _wooden_wall(pen: Pen, chooser: Chooser) -> None:
    for number in range(10):
        shade = mix((222, 186, 142), (206, 166, 120), chooser.share(f"board {number}"))
        pen.rect(number * 100, 0, number * 100 + 100, _WALL_FOOT, shade)
        pen.rect(number * 100 + 95, 0, number * 100 + 100, _WALL_FOOT, dark(shade, 0.25))
        y = chooser.number(f"knot {number}", 40, 640)
        pen.ellipse(number * 100 + 46, y, 11, 19, dark(shade, 0.14))
        pen.ellipse(number * 100 + 46, y, 5, 10, dark(shade, 0.26))


def _tiled_wall(pen: Pen, chooser: Chooser) -> None:
    pen.rect(0, 0, 1000, _WALL_FOOT, (238, 242, 244))
    for row in range(8):
        for column in range(11):
            chosen = chooser.share(f"tile {row} {column}")
            shade = (98, 160, 170) if chosen < 0.14 else mix((150, 200, 204), (172, 214, 216), chosen)
            pen.rect(column * 94 + 4, row * 94 + 4, column * 94 + 90, row * 94 + 90, shade, radius=6)
            pen.polygon(
                [
                    (column * 94 + 14, row * 94 + 44),
                    (column * 94 + 14, row * 94 + 14),
                    (column * 94 + 44, row * 94 + 14),
                ],
                light(shade, 0.22),
            )


def draw_table(pen: Pen) -> None:
    """Draw the table that stands before every wall."""
    pen.rect(0, 690, 1000, 706, (208, 150, 100))
    pen.gradient(704, 900, [(222, 166, 114), (232, 180, 128)])
    for y, left, right in ((742, 60, 420), (770, 560, 930), (826, 120, 330), (852, 480, 860), (876, 40, 240)):
        pen.rect(left, y, right, y + 4, (210, 152, 102), radius=2)
    pen.rect(0, 900, 1000, 926, (244, 200, 150))
    pen.gradient(926, 1000, [(176, 118, 78), (160, 104, 70)])


BACKDROPS: Mapping[str, Mapping[str, Backdrop]] = {
    "outdoors": {
        "meadow": Backdrop(
            "a green meadow with hills on a sunny day", "晴天下有山丘的绿色草地", ("green",), _meadow
        ),
        "beach": Backdrop("a sandy beach by the sea", "海边的沙滩", ("yellow", "white"), _beach),
        "desert": Backdrop(
            "a desert with dunes at sunset", "日落时有沙丘的沙漠", ("orange", "yellow", "brown"), _desert
        ),
        "snow": Backdrop("a snowy landscape with mountains", "有雪山的雪景", ("white", "grey"), _snow),
        "night": Backdrop(
            "a meadow at night with the moon and stars", "有月亮和星星的夜晚草地", ("black",), _night
        ),
        "city": Backdrop("a city street with tall buildings", "有高楼的城市街道", ("grey", "black"), _city),
    },
    "indoors": {
        "plain": Backdrop("a pale blue wall with white panels", "带白色护墙板的浅蓝色墙", (), _plain_wall),
        "striped": Backdrop("pink striped wallpaper", "粉色条纹墙纸", ("pink",), _striped_wall),
        "brick": Backdrop("a red brick wall", "红砖墙", ("red", "brown"), _brick_wall),
        "dotted": Backdrop(
            "light green wallpaper with white dots", "带白色圆点的浅绿色墙纸", (), _dotted_wall
        ),
        "wooden": Backdrop("a wall of wooden boards", "木板墙", ("brown", "orange"), _wooden_wall),
        "tiled": Backdrop("a wall of turquoise tiles", "青绿色瓷砖墙", (), _tiled_wall),
    },
}
"""By family, then by name."""
