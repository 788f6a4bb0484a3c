"""The catalogue of things that a scene may hold, their colours, and what both are called.

Knows no scene and no edit; how things look is in `_outdoor_things` and `_indoor_things`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edit_eval.benchmarks import _indoor_things as indoors
from edit_eval.benchmarks import _outdoor_things as outdoors
from edit_eval.benchmarks._drawing import RGB, Pen

__all__ = ["COLOURS", "THINGS", "Colour", "Thing", "things_at"]


@dataclass(frozen=True)
class Colour:
    """A colour and its names."""

    rgb: RGB
    english: str
    chinese: str


COLOURS: Mapping[str, Colour] = {
    one.english: one
    for one in (
        Colour((226, 84, 78), "red", "红色"),
        Colour((242, 146, 64), "orange", "橙色"),
        Colour((246, 204, 84), "yellow", "黄色"),
        Colour((78, 160, 104), "green", "绿色"),
        Colour((70, 130, 204), "blue", "蓝色"),
        Colour((140, 104, 190), "purple", "紫色"),
        Colour((242, 142, 176), "pink", "粉色"),
        Colour((250, 247, 240), "white", "白色"),
        Colour((150, 104, 74), "brown", "棕色"),
        Colour((142, 150, 164), "grey", "灰色"),
        Colour((62, 62, 80), "black", "黑色"),
    )
}

_BRIGHT = ("red", "orange", "yellow", "green", "blue", "purple", "pink")


@dataclass(frozen=True)
class Thing:
    """One kind of thing.

    Attributes:
        english: its name, without article.
        chinese: its name.
        counted: `一` and the measure word that Chinese puts before it.
        place: `ground`, `sky`, `table`, `wall`.
        colours: the colours it may have.
        draw: draws it in a colour, with the text on it where it bears one.
        bears_text: whether it does.
        part: the part that has the colour (`a shade`, `leaves`) in English and Chinese, where it is not the whole.
    """

    english: str
    chinese: str
    counted: str
    place: str
    colours: tuple[str, ...]
    draw: Callable[[Pen, RGB, str], None]
    bears_text: bool = False
    part: tuple[str, str] | None = None

    def coloured_part(self) -> tuple[str, str]:
        """Return what changes when its colour changes: `the car`, `the shade of the table lamp`."""
        if self.part is None:
            return f"the {self.english}", self.chinese
        return (
            f"the {self.part[0].removeprefix('a ')} of the {self.english}",
            f"{self.chinese}的{self.part[1]}",
        )

    def described(self, colour: Colour) -> tuple[str, str]:
        """Return what one of that colour is called: `a red car`, `a table lamp with a red shade`."""
        if self.part is None:
            return _an(f"{colour.english} {self.english}"), f"{self.counted}{colour.chinese}的{self.chinese}"
        part = f"{colour.english} {self.part[0].removeprefix('a ')}"
        part = _an(part) if self.part[0].startswith("a ") else part
        return (
            f"{_an(self.english)} with {part}",
            f"{self.counted}{colour.chinese}{self.part[1]}的{self.chinese}",
        )


def _an(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


THINGS: Mapping[str, Thing] = {
    one.english: one
    for one in (
        Thing(
            "house",
            "房子",
            "一座",
            "ground",
            ("red", "orange", "yellow", "blue", "purple", "pink", "white"),
            outdoors.house,
            part=("walls", "墙壁"),
        ),
        Thing(
            "tree",
            "树",
            "一棵",
            "ground",
            ("green", "orange", "yellow", "pink", "red", "purple"),
            outdoors.tree,
            part=("leaves", "树叶"),
        ),
        Thing("car", "汽车", "一辆", "ground", (*_BRIGHT, "white", "black"), outdoors.car),
        Thing("tent", "帐篷", "一顶", "ground", _BRIGHT, outdoors.tent),
        Thing("mailbox", "邮箱", "一个", "ground", _BRIGHT, outdoors.mailbox),
        Thing(
            "bench",
            "长椅",
            "一张",
            "ground",
            ("red", "yellow", "green", "blue", "brown", "white"),
            outdoors.bench,
        ),
        Thing("parasol", "遮阳伞", "一把", "ground", _BRIGHT, outdoors.parasol),
        Thing("cat", "猫", "一只", "ground", ("orange", "grey", "black", "brown", "white"), outdoors.cat),
        Thing(
            "flower",
            "花",
            "一朵",
            "ground",
            ("red", "orange", "yellow", "purple", "pink", "white", "blue"),
            outdoors.flower,
            part=("petals", "花瓣"),
        ),
        Thing(
            "sign",
            "牌子",
            "一块",
            "ground",
            _BRIGHT,
            outdoors.sign,
            part=("a border", "边框"),
            bears_text=True,
        ),
        Thing("hot-air balloon", "热气球", "一个", "sky", _BRIGHT, outdoors.balloon),
        Thing("kite", "风筝", "一只", "sky", _BRIGHT, outdoors.kite),
        Thing("airplane", "飞机", "一架", "sky", _BRIGHT, outdoors.airplane),
        Thing("bird", "鸟", "一只", "sky", (*_BRIGHT, "grey", "black"), outdoors.bird),
        Thing("mug", "马克杯", "一个", "table", (*_BRIGHT, "white", "black"), indoors.mug),
        Thing("vase", "花瓶", "一个", "table", (*_BRIGHT, "white"), indoors.vase),
        Thing("apple", "苹果", "一个", "table", ("red", "green", "yellow"), indoors.apple),
        Thing("pear", "梨", "一个", "table", ("green", "yellow", "red"), indoors.pear),
        Thing(
            "table lamp", "台灯", "一盏", "table", (*_BRIGHT, "white"), indoors.lamp, part=("a shade", "灯罩")
        ),
        Thing("teapot", "茶壶", "一把", "table", (*_BRIGHT, "white", "black"), indoors.teapot),
        Thing("candle", "蜡烛", "一支", "table", (*_BRIGHT, "white"), indoors.candle),
        Thing("gift box", "礼物盒", "一个", "table", _BRIGHT, indoors.gift),
        Thing("alarm clock", "闹钟", "一个", "table", _BRIGHT, indoors.clock),
        Thing(
            "cupcake",
            "纸杯蛋糕",
            "一个",
            "table",
            ("pink", "yellow", "blue", "purple", "white", "green"),
            indoors.cupcake,
            part=("icing", "糖霜"),
        ),
        Thing(
            "potted plant",
            "盆栽",
            "一盆",
            "table",
            ("red", "orange", "yellow", "blue", "purple", "white"),
            indoors.plant,
            part=("a pot", "花盆"),
        ),
        Thing("toy robot", "玩具机器人", "一个", "table", (*_BRIGHT, "grey"), indoors.robot),
        Thing("book", "书", "一本", "table", _BRIGHT, indoors.book),
        Thing(
            "painting",
            "挂画",
            "一幅",
            "wall",
            (*_BRIGHT, "black", "brown"),
            indoors.picture,
            part=("a frame", "画框"),
        ),
        Thing("wall clock", "挂钟", "一个", "wall", (*_BRIGHT, "black"), indoors.wall_clock),
        Thing("paper star", "纸星星", "一颗", "wall", _BRIGHT, indoors.paper_star),
        Thing(
            "mirror",
            "镜子",
            "一面",
            "wall",
            (*_BRIGHT, "black", "brown"),
            indoors.mirror,
            part=("a frame", "镜框"),
        ),
        Thing(
            "poster",
            "海报",
            "一张",
            "wall",
            _BRIGHT,
            indoors.poster,
            part=("a border", "边框"),
            bears_text=True,
        ),
    )
}
"""By English name."""


def things_at(place: str) -> list[str]:
    """Return the names of the things that belong at a place."""
    return [one.english for one in THINGS.values() if one.place == place]
