"""What scenes are drawn with: a pen in scene units, colours, letters, and choices made by hashing.

Knows no scene and no edit. A picture is 1000 units wide and high whatever its size in pixels; it is drawn several
times too large and reduced by averaging, which smooths edges and changes no pixel beside what was drawn. Letters
are our own, so that the bytes of a picture do not depend on a font file or a font library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

__all__ = ["RGB", "Chooser", "Pen", "blank", "dark", "finished", "light", "mix", "pen_on", "text_width"]

RGB = tuple[int, int, int]
Point = tuple[float, float]
T = TypeVar("T")

UNITS = 1000
"""Width and height of a picture."""

_INK: RGB = (38, 36, 66)
_WHITE: RGB = (255, 255, 255)


class Chooser:
    """Makes choices that depend on a key and on what is chosen, and on nothing else: not on order, not on n."""

    def __init__(self, *key: object) -> None:
        self._key = "/".join(str(part) for part in key)

    def share(self, what: str) -> float:
        """Return a number in [0, 1)."""
        hashed = hashlib.sha256(f"{self._key}/{what}".encode()).digest()
        return int.from_bytes(hashed[:6], "big") / 2**48

    def number(self, what: str, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * self.share(what)

    def pick(self, what: str, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[int(self.share(what) * len(options))]

    def shuffled(self, what: str, options: Sequence[T]) -> list[T]:
        """Return all options in another order."""
        return [options[i] for i in sorted(range(len(options)), key=lambda i: (self.share(f"{what} {i}"), i))]


def mix(first: RGB, second: RGB, share: float) -> RGB:
    """Return the colour that lies `share` of the way from `first` to `second`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def dark(colour: RGB, share: float = 0.22) -> RGB:
    """Return the colour in shade."""
    return mix(colour, _INK, share)


def light(colour: RGB, share: float = 0.35) -> RGB:
    """Return the colour in light."""
    return mix(colour, _WHITE, share)


def _oversampling(size: int) -> int:
    return 4 if size <= 256 else 3 if size <= 768 else 2


def blank(size: int) -> Image:
    """Return an empty picture to draw on, several times `size` pixels wide and high."""
    from PIL import Image

    side = size * _oversampling(size)
    return Image.new("RGB", (side, side))


def finished(drawn: Image, size: int) -> Image:
    """Return what was drawn on `blank(size)` at `size` x `size` pixels."""
    return drawn.reduce(drawn.width // size)


def pen_on(drawn: Image) -> Pen:
    """Return a pen for a picture made by `blank`, in scene units."""
    from PIL import ImageDraw

    return Pen(drawn, ImageDraw.Draw(drawn, "RGBA"), 0.0, 0.0, drawn.width / UNITS)


@dataclass(frozen=True)
class Pen:
    """Draws in units of its own: `at` gives a pen whose origin and unit are a thing's instead of the picture's.

    Colours may have an opacity as fourth number, 0..255. Positive x is right, positive y is down.
    """

    picture: Image
    draw: ImageDraw
    x: float
    y: float
    unit: float

    def at(self, x: float, y: float, scale: float = 1.0) -> Pen:
        """Return a pen with its origin at (x, y) and units `scale` times as large."""
        left, top = self._to_pixels(x, y)
        return Pen(self.picture, self.draw, left, top, self.unit * scale)

    def polygon(self, points: Sequence[Point], colour: Sequence[int]) -> None:
        """Fill a polygon."""
        self.draw.polygon([self._to_pixels(*point) for point in points], fill=tuple(colour))

    def rect(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        colour: Sequence[int],
        *,
        radius: float = 0,
    ) -> None:
        """Fill a rectangle, with round corners of `radius` units."""
        box = self._box(left, top, right, bottom)
        if radius:
            self.draw.rounded_rectangle(box, radius * self.unit, fill=tuple(colour))
        else:
            self.draw.rectangle(box, fill=tuple(colour))

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float, colour: Sequence[int]) -> None:
        """Fill an ellipse around (x, y)."""
        self.draw.ellipse(
            self._box(x - radius_x, y - radius_y, x + radius_x, y + radius_y), fill=tuple(colour)
        )

    def disc(self, x: float, y: float, radius: float, colour: Sequence[int]) -> None:
        """Fill a disc around (x, y)."""
        self.ellipse(x, y, radius, radius, colour)

    def slice(
        self, x: float, y: float, radius_x: float, radius_y: float, colour: Sequence[int], *, angles: Point
    ) -> None:
        """Fill a slice of an ellipse between two angles, in degrees clockwise from the right."""
        box = self._box(x - radius_x, y - radius_y, x + radius_x, y + radius_y)
        self.draw.pieslice(box, *angles, fill=tuple(colour))

    def ring(
        self, x: float, y: float, radius_x: float, radius_y: float, colour: Sequence[int], *, width: float
    ) -> None:
        """Draw an ellipse's outline, `width` units wide, inside its radii."""
        box = self._box(x - radius_x, y - radius_y, x + radius_x, y + radius_y)
        self.draw.ellipse(box, outline=tuple(colour), width=max(1, round(width * self.unit)))

    def line(self, points: Sequence[Point], width: float, colour: Sequence[int]) -> None:
        """Draw a line of `width` units with round joints."""
        pixels = max(1, round(width * self.unit))
        self.draw.line(
            [self._to_pixels(*point) for point in points], fill=tuple(colour), width=pixels, joint="curve"
        )

    def gradient(self, top: float, bottom: float, colours: Sequence[RGB]) -> None:
        """Fill the picture's whole width between two heights with a vertical gradient through `colours`."""
        from PIL import Image

        strip = Image.new("RGB", (1, len(colours)))
        strip.putdata(list(colours))
        width = round(UNITS * self.unit)
        first, last = round(top * self.unit), round(bottom * self.unit)
        inner = (0, 0.5, 1, len(colours) - 0.5)
        tall = strip.resize((1, last - first), Image.Resampling.BILINEAR, box=inner)
        self.picture.paste(tall.resize((width, last - first)), (0, first))

    def text(self, x: float, y: float, height: float, text: str, colour: Sequence[int]) -> None:
        """Write text centred on (x, y), `height` units high, in letters of 5 x 7 squares."""
        square = height / 7
        left, top = x - text_width(text, height) / 2, y - height / 2
        for letter in text:
            for row, bits in enumerate(_LETTERS[letter]):
                for begin, end in _runs(bits):
                    upper = top + row * square
                    self.rect(left + begin * square, upper, left + end * square, upper + square, colour)
            left += 6 * square

    def _to_pixels(self, x: float, y: float) -> Point:
        return self.x + x * self.unit, self.y + y * self.unit

    def _box(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        (x0, y0), (x1, y1) = self._to_pixels(left, top), self._to_pixels(right, bottom)
        return x0, y0, x1, y1


def text_width(text: str, height: float) -> float:
    """Return the width in units of text that is `height` units high."""
    return (6 * len(text) - 1) * height / 7


def _runs(bits: str) -> list[tuple[int, int]]:
    """Return begin and end of every run of set squares in a row of a letter."""
    runs: list[tuple[int, int]] = []
    for column, bit in enumerate(bits):
        if bit == " ":
            continue
        if runs and runs[-1][1] == column:
            runs[-1] = (runs[-1][0], column + 1)
        else:
            runs.append((column, column + 1))
    return runs


def _letters(drawn: str) -> dict[str, tuple[str, ...]]:
    """Read letters drawn side by side, six columns each, under a line that names them."""
    letters: dict[str, tuple[str, ...]] = {}
    lines = drawn.strip("\n").split("\n")
    for first in range(0, len(lines), 8):
        names, rows = lines[first].split(), lines[first + 1 : first + 8]
        for number, name in enumerate(names):
            letters[name] = tuple(row.ljust(len(names) * 6)[number * 6 : number * 6 + 5] for row in rows)
    return letters


_LETTERS = {" ": ("",) * 7} | _letters(
    """
A     B     C     D     E     F     G     H     I
 ###  ####   ###  ####  ##### #####  ###  #   #  ###
#   # #   # #   # #   # #     #     #   # #   #   #
#   # #   # #     #   # #     #     #     #   #   #
##### ####  #     #   # ####  ####  # ### #####   #
#   # #   # #     #   # #     #     #   # #   #   #
#   # #   # #   # #   # #     #     #   # #   #   #
#   # ####   ###  ####  ##### #      ###  #   #  ###
J     K     L     M     N     O     P     Q     R
  ### #   # #     #   # #   #  ###  ####   ###  ####
   #  #  #  #     ## ## ##  # #   # #   # #   # #   #
   #  # #   #     # # # # # # #   # #   # #   # #   #
   #  ##    #     # # # #  ## #   # ####  #   # ####
   #  # #   #     #   # #   # #   # #     # # # # #
#  #  #  #  #     #   # #   # #   # #     #  #  #  #
 ##   #   # ##### #   # #   #  ###  #      ## # #   #
S     T     U     V     W     X     Y     Z     &
 #### ##### #   # #   # #   # #   # #   # #####  ##
#       #   #   # #   # #   # #   # #   #     # #  #
#       #   #   # #   # #   #  # #   # #     #  # #
 ###    #   #   # #   # # # #   #     #     #    #
    #   #   #   # #   # # # #  # #    #    #    # # #
    #   #   #   #  # #  # # # #   #   #   #     #  #
####    #    ###    #    # #  #   #   #   #####  ## #
0     1     2     3     4     5     6     7     8
 ###    #    ###  #####    #  #####   ##  #####  ###
#   #  ##   #   #    #    ##  #      #        # #   #
#  ##   #       #   #    # #  ####  #        #  #   #
# # #   #      #     #  #  #      # ####    #    ###
##  #   #     #       # #####     # #   #  #    #   #
#   #   #    #    #   #    #  #   # #   #  #    #   #
 ###   ###  #####  ###     #   ###   ###   #     ###
9     !     ?     .     -     '     :     +     /
 ###    #    ###                #
#   #   #   #   #               #     #     #       #
#   #   #       #               #     #     #      #
 ####   #      #         #####            #####   #
    #   #     #                       #     #    #
   #                                  #     #   #
 ##     #     #     #
"""
)
