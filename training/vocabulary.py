"""The words of the scenes' instructions, in English and Chinese: what the editor `tiny` can read."""

from __future__ import annotations

import re

from edit_eval.benchmarks._backdrops import BACKDROPS
from edit_eval.benchmarks._scene_edits import composed
from edit_eval.benchmarks._scene_styles import STYLES
from edit_eval.benchmarks._things import COLOURS, THINGS
from edit_eval.editors._tiny_tokens import Vocabulary

__all__ = ["LENGTH", "vocabulary_words"]

LENGTH = 40
"""Tokens of an instruction, at most; no instruction of the scenes has more."""

_SEEN = 4000
"""Instructions that are looked through for words."""

_PHRASES = (
    "在地面上", "在桌子上", "在天空中", "在墙上", "画面", "左边", "右边", "中间", "之间", "添加", "移除", "换成", "改成",
    "颜色", "文字", "背景", "保持不变", "整张图片", "变成", "移到", "桌子",
)  # fmt: skip


def vocabulary_words(seed: int) -> list[str]:
    """Return every word, in an order that depends on nothing but the drawings' catalogue.

    Args:
        seed: of the series of scenes whose instructions are looked through.
    """
    words = set(_PHRASES)
    for thing in THINGS.values():
        words |= {thing.chinese, thing.counted, *((thing.part[1],) if thing.part else ())}
    words |= {colour.chinese for colour in COLOURS.values()}
    words |= {style.chinese for style in STYLES.values()}
    words |= {one.chinese for backdrops in BACKDROPS.values() for one in backdrops.values()}
    edits = [composed(seed, index) for index in range(_SEEN)]
    for edit in edits:
        words |= set(re.findall(r"[A-Za-z0-9-]+|[^\sA-Za-z0-9-]", edit.english))
        words |= set(re.findall(r"[A-Za-z0-9-]+", edit.chinese))
    reader = Vocabulary(sorted(words), LENGTH)
    for edit in edits:
        words |= set(reader.unknown(edit.chinese))
    return sorted(words)
