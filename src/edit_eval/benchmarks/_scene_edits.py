"""Composes a scene, edits it exactly, and says in English and Chinese what was edited.

A scene is data: a backdrop and things in places. An edit is a change of that data, so that what it does not name
stays as it is to the pixel (style and background excepted, which are about the whole picture). Everything is chosen
by hashing seed and index, save what an instruction leaves open: source and instruction decide the target, so that an
editor can get it exactly right. What is added stands in the middle of its place at its usual size, what replaces a
thing takes that one's place and size, and a backdrop that is asked for always looks the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edit_eval.benchmarks._backdrops import BACKDROPS, draw_table
from edit_eval.benchmarks._drawing import Chooser, blank, finished, pen_on
from edit_eval.benchmarks._scene_styles import STYLES
from edit_eval.benchmarks._things import COLOURS, THINGS, things_at

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CATEGORIES", "Edit", "Item", "Scene", "composed", "drawn"]

CATEGORIES = ("recolour", "add", "replace", "remove", "background", "text", "move", "style")
"""In the order in which samples take turns."""

_LOW = {"outdoors": "ground", "indoors": "table"}
_HIGH = {"outdoors": "sky", "indoors": "wall"}
_LEFT, _MIDDLE, _RIGHT = 0, 1, 2
_SLOT_X = (190.0, 500.0, 810.0)
_SLOT_Y = {"ground": 840.0, "table": 838.0, "sky": 215.0, "wall": 265.0}
_SLOT_SCALE = {"ground": 1.24, "table": 1.26, "sky": 1.05, "wall": 1.3}

_WORDS = (
    "OPEN", "SALE", "HELLO", "CAFE", "TEA", "BOOKS", "PARK", "EXIT", "STOP", "TAXI", "ZOO", "PIZZA", "FRESH", "MUSIC",
    "BEACH", "SUMMER", "WINTER", "MARKET", "GARDEN", "WELCOME", "HOTEL", "BANANA", "COFFEE", "TODAY", "2026", "DREAM",
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One thing in a scene: its kind, its colour's name, its place and slot, where exactly, and the text on it."""

    kind: str
    colour: str
    place: str
    slot: int
    shift_x: float
    shift_y: float
    scale: float
    text: str = ""


@dataclass(frozen=True)
class Scene:
    """A picture as data: backdrop, things, and the style that the whole is shown in."""

    family: str
    backdrop: str
    items: tuple[Item, ...]
    style: str = ""

    def item(self, kind: str) -> Item:
        """Return the one thing of a kind."""
        return next(one for one in self.items if one.kind == kind)

    def with_item(self, old: Item, new: Item | None) -> Scene:
        """Return the scene with `new` in the stead of `old`, or without `old`."""
        items = (new if one == old else one for one in self.items)
        return replace(self, items=tuple(one for one in items if one is not None))

    def free_slots(self, place: str) -> list[int]:
        """Return the slots of a place where nothing is."""
        taken = {one.slot for one in self.items if one.place == place}
        return [slot for slot in (_LEFT, _MIDDLE, _RIGHT) if slot not in taken]


@dataclass(frozen=True)
class Edit:
    """A scene before and after, and the instruction that leads from one to the other."""

    category: str
    source: Scene
    target: Scene
    english: str
    chinese: str


def composed(seed: int, index: int) -> Edit:
    """Return the edit with this number; it depends on both numbers and on nothing else."""
    category = CATEGORIES[index % len(CATEGORIES)]
    chooser = Chooser("scene", seed, index)
    scene = _scene(chooser, category, *_turn(seed, index))
    target, english, chinese = _EDITS[category](scene, chooser)
    return Edit(category, scene, target, english, chinese)


def drawn(edit: Edit, seed: int, index: int, size: int) -> tuple[Image, Image]:
    """Return source and target at `size` x `size` pixels."""
    source = _backdrop(edit.source, Chooser("backdrop", seed, index), size)
    same = (edit.source.backdrop, edit.source.family) == (edit.target.backdrop, edit.target.family)
    target = source.copy() if same else _backdrop(edit.target, Chooser("backdrop", "asked for"), size)
    return _with_items(source, edit.source, size), _with_items(target, edit.target, size)


def _backdrop(scene: Scene, chooser: Chooser, size: int) -> Image:
    picture = blank(size)
    BACKDROPS[scene.family][scene.backdrop].draw(pen_on(picture), chooser)
    if scene.family == "indoors":
        draw_table(pen_on(picture))
    return picture


def _with_items(picture: Image, scene: Scene, size: int) -> Image:
    pen = pen_on(picture)
    for item in sorted(scene.items, key=lambda one: (one.place == _LOW[scene.family], one.shift_y)):
        x, y = _SLOT_X[item.slot] + item.shift_x, _SLOT_Y[item.place] + item.shift_y
        thing = THINGS[item.kind]
        thing.draw(pen.at(x, y, _SLOT_SCALE[item.place] * item.scale), COLOURS[item.colour].rgb, item.text)
    plain = finished(picture, size)
    return STYLES[scene.style].apply(plain) if scene.style else plain


# --- composing ---


def _turn(seed: int, index: int) -> tuple[str, str]:
    """Return family and backdrop: each backdrop comes once in every round, in another order each time."""
    everything = [(family, name) for family, backdrops in BACKDROPS.items() for name in backdrops]
    round_number, place = divmod(index, len(everything))
    return Chooser("round", seed, round_number).shuffled("backdrops", everything)[place]


def _scene(chooser: Chooser, category: str, family: str, backdrop: str) -> Scene:
    avoid = BACKDROPS[family][backdrop].avoid
    items: list[Item] = []
    crowded = category in ("recolour", "remove", "replace", "style") and chooser.share("crowded") < 0.4
    numbers = {_LOW[family]: 3 if crowded else 2, _HIGH[family]: 1 if chooser.share("airy") < 0.5 else 2}
    for place, number in numbers.items():
        kinds = chooser.shuffled(f"{place} kinds", things_at(place))
        slots = chooser.shuffled(f"{place} slots", (_LEFT, _MIDDLE, _RIGHT))
        if category == "text":
            kinds.sort(key=lambda kind: not THINGS[kind].bears_text)
        items += [
            _item(chooser, kind, slot, avoid) for kind, slot in zip(kinds[:number], slots, strict=False)
        ]
    return Scene(family, backdrop, tuple(items))


def _item(chooser: Chooser, kind: str, slot: int, avoid: tuple[str, ...], *, not_colour: str = "") -> Item:
    thing = THINGS[kind]
    colours = [one for one in thing.colours if one not in avoid and one != not_colour] or list(thing.colours)
    return Item(
        kind=kind,
        colour=chooser.pick(f"{kind} colour", colours),
        place=thing.place,
        slot=slot,
        shift_x=chooser.number(f"{kind} x", -22, 22),
        shift_y=chooser.number(f"{kind} y", -26, 26),
        scale=chooser.number(f"{kind} scale", 0.94, 1.06),
        text=chooser.pick(f"{kind} text", _WORDS) if thing.bears_text else "",
    )


# --- the eight edits ---


def _recolour(scene: Scene, chooser: Chooser) -> tuple[Scene, str, str]:
    item = chooser.pick("edited", scene.items)
    thing, avoid = THINGS[item.kind], BACKDROPS[scene.family][scene.backdrop].avoid
    colours = [one for one in thing.colours if one != item.colour and one not in avoid]
    old, new = COLOURS[item.colour], COLOURS[chooser.pick("new colour", colours)]
    english, chinese = thing.coloured_part()
    return (
        scene.with_item(item, replace(item, colour=new.english)),
        f"Change the colour of {english} from {old.english} to {new.english}.",
        f"把{chinese}的颜色从{old.chinese}改成{new.chinese}。",
    )


def _add(scene: Scene, chooser: Chooser) -> tuple[Scene, str, str]:
    place = _LOW[scene.family] if chooser.share("where") < 0.75 else _HIGH[scene.family]
    item = _new_item(scene, chooser, place, chooser.pick("slot", scene.free_slots(place)))
    item = replace(item, shift_x=0.0, shift_y=0.0, scale=1.0)
    english, chinese = THINGS[item.kind].described(COLOURS[item.colour])
    where_english, where_chinese = _where(scene, item)
    return (
        replace(scene, items=(*scene.items, item)),
        f"Add {english} {where_english}.",
        f"{where_chinese}添加{chinese}。",
    )


def _new_item(scene: Scene, chooser: Chooser, place: str, slot: int) -> Item:
    """Return a thing of a kind that the scene does not have, and on which nothing is written."""
    present = {one.kind for one in scene.items}
    kinds = [kind for kind in things_at(place) if kind not in present and not THINGS[kind].bears_text]
    return _item(
        chooser, chooser.pick("new kind", kinds), slot, BACKDROPS[scene.family][scene.backdrop].avoid
    )


def _where(scene: Scene, item: Item) -> tuple[str, str]:
    """Say where a new thing is, by its neighbours or, in the sky and on the wall, by the side."""
    surface = {"ground": ("on the ground", "地面上"), "table": ("on the table", "桌子上"),
               "sky": ("in the sky", "天空中"), "wall": ("on the wall", "墙上")}[item.place]  # fmt: skip
    others = sorted((one for one in scene.items if one.place == item.place), key=lambda one: one.slot)
    left = [one for one in others if one.slot < item.slot]
    right = [one for one in others if one.slot > item.slot]
    if item.place in ("ground", "table") and left and right:
        return (
            f"{surface[0]}, between the {left[-1].kind} and the {right[0].kind}",
            f"在{surface[1]}，{THINGS[left[-1].kind].chinese}和{THINGS[right[0].kind].chinese}之间，",
        )
    if item.place in ("ground", "table"):
        side, beside = ("left", right[0]) if right else ("right", left[-1])
        return (
            f"{surface[0]}, to the {side} of the {beside.kind}",
            f"在{surface[1]}，{THINGS[beside.kind].chinese}的{'左' if right else '右'}边，",
        )
    english, chinese = _SIDES[item.slot]
    return f"{surface[0]}, {english} of the picture", f"在{surface[1]}，画面的{chinese}，"


_SIDES = (("on the left", "左边"), ("in the middle", "中间"), ("on the right", "右边"))


def _replace(scene: Scene, chooser: Chooser) -> tuple[Scene, str, str]:
    old = chooser.pick("edited", scene.items)
    new = _new_item(scene, chooser, old.place, old.slot)
    new = replace(new, shift_x=old.shift_x, shift_y=old.shift_y, scale=old.scale)
    english, chinese = THINGS[new.kind].described(COLOURS[new.colour])
    return (
        scene.with_item(old, new),
        f"Replace the {old.kind} with {english}.",
        f"把{THINGS[old.kind].chinese}换成{chinese}。",
    )


def _remove(scene: Scene, chooser: Chooser) -> tuple[Scene, str, str]:
    item = chooser.pick("edited", scene.items)
    return scene.with_item(item, None), f"Remove the {item.kind}.", f"移除{THINGS[item.kind].chinese}。"


def _background(scene: Scene, chooser: Chooser) -> tuple[Scene, str, str]:
    worn = {one.colour for one in scene.items}
    others = [one for one in BACKDROPS[scene.family] if one != scene.backdrop]
    fitting = [one for one in others if not worn & set(BACKDROPS[scene.family][one].avoid)]
    name = chooser.pick("new backdrop", fitting or others)
    new = BACKDROPS[scene.family][name]
    kept = [one.kind for one in scene.items]
    kept_english = f"{', '.join('the ' + one for one in kept[:-1])} and the {kept[-1]}"
    kept_chinese = f"{'、'.join(THINGS[one].chinese for one in kept[:-1])}和{THINGS[kept[-1]].chinese}"
    target = replace(scene, backdrop=name)
    if scene.family == "outdoors":
        return (
            target,
            f"Change the background to {new.english}; keep {kept_english} as they are.",
            f"把背景换成{new.chinese}，{kept_chinese}保持不变。",
        )
    return (
        target,
        f"Change the wall to {new.english}; keep the table, {kept_english} as they are.",
        f"把墙换成{new.chinese}，桌子、{kept_chinese}保持不变。",
    )


def _text(scene: Scene, chooser: Chooser) -> tuple[Scene, str, str]:
    item = next(one for one in scene.items if one.text)
    words = [one for one in _WORDS if one != item.text and abs(len(one) - len(item.text)) <= 1]
    word = chooser.pick("new text", words)
    return (
        scene.with_item(item, replace(item, text=word)),
        f'Change the text on the {item.kind} from "{item.text}" to "{word}".',
        f"把{THINGS[item.kind].chinese}上的文字从“{item.text}”改成“{word}”。",
    )


def _move(scene: Scene, chooser: Chooser) -> tuple[Scene, str, str]:
    item = chooser.pick("edited", scene.items)
    slot = chooser.pick("slot", scene.free_slots(item.place))
    (_, begins), (_, ends) = _SIDES[item.slot], _SIDES[slot]
    names = ("left", "middle", "right")
    return (
        scene.with_item(item, replace(item, slot=slot)),
        f"Move the {item.kind} from the {names[item.slot]} to the {names[slot]} of the picture.",
        f"把{THINGS[item.kind].chinese}从画面的{begins}移到{ends}。",
    )


def _style(scene: Scene, chooser: Chooser) -> tuple[Scene, str, str]:
    name = chooser.pick("style", tuple(STYLES))
    style = STYLES[name]
    return (
        replace(scene, style=name),
        f"Turn the whole picture into {style.english}.",
        f"把整张图片变成{style.chinese}。",
    )


_EDITS: Mapping[str, Callable[[Scene, Chooser], tuple[Scene, str, str]]] = {
    "recolour": _recolour,
    "add": _add,
    "replace": _replace,
    "remove": _remove,
    "background": _background,
    "text": _text,
    "move": _move,
    "style": _style,
}
