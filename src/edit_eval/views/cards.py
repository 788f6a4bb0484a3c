"""One sample as a page shows it: text visible and harmless, links quoted, numbers written, and what the script sorts by.

Knows the templates' names (`cards.html`) and nothing of where pages are written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edit_eval.driver.opinions import Opinions
from edit_eval.driver.summary import Row
from edit_eval.views.links import Links
from edit_eval.views.status import FLAG_MEANINGS, status_of

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["DASH", "card_data", "cards", "edit_of", "score", "short", "source_of", "visible", "words"]

DASH = "–"
_LONGEST_TEXT = 4000
_LONGEST_NAME = 160
_FIRST_TEXT = 320
_FIRST_LINES = 6
_NOT_WORTH_HIDING = 80


def cards(
    rows: Sequence[Row],
    scale: tuple[float, float],
    links: Links,
    opinions: Mapping[int, Opinions],
    *,
    repeats: bool,
) -> Iterator[dict[str, Any]]:
    """Yield the cards of a run's rows.

    Args:
        rows: in the order in which they are shown.
        scale: smallest and largest possible overall score.
        links: of the page.
        opinions: what else was said of an edit, by the rows' index.
        repeats: whether to say which repeat of its sample a row is.
    """
    for row in rows:
        edit = edit_of(row, scale, links, opinions.get(row.index))
        yield {
            "index": row.index,
            "id": short(row.sample.id),
            "repeat": row.repeat if repeats else None,
            "instruction": words(row.sample.instruction),
            "given": words(row.sample.edit_instruction) if row.sample.edit_instruction is not None else None,
            "tags": [(short(tag), short(value)) for tag, value in row.sample.tags.items()],
            "source": source_of(row, links),
            "more": [link for link in map(links.file, row.sample.images[1:]) if link],
            "edit": edit,
            "data": card_data(row.index, row.sample.tags, [edit]),
        }


def edit_of(row: Row, scale: tuple[float, float], links: Links, opinions: Opinions | None) -> dict[str, Any]:
    """Return one run's edit of a sample: its picture, how far it got, scores and reasons."""
    status = status_of(row)
    verdict = row.verdict if status.name == "scored" else None
    overall = verdict.overall if verdict is not None else None
    return {
        "picture": _picture(links.edit_thumbnail(row.thumbnail), links.image(row.image)),
        "rival": _rival(row, links),
        "flags": [(visible(flag), FLAG_MEANINGS.get(flag, "")) for flag in row.flags],
        "first_frame": bool(row.edit.get("first_frames")),
        "status": status.name,
        "label": visible(status.label),
        "value": overall,
        "overall": DASH if overall is None else f"{overall:.2f}".replace("-", "\u2212"),
        "share": None if overall is None else _share(overall, scale),
        "scores": [(short(name), score(value)) for name, value in verdict.scores.items()] if verdict else [],
        "reasons": _reasons(row),
        "opinions": [(short(one.judge), score(one.overall)) for one in opinions.others] if opinions else [],
        "doubt": opinions.disagreement if opinions else None,
    }


def card_data(
    index: int,
    tags: Mapping[str, str],
    edits: Sequence[Mapping[str, Any]],
    apart: Sequence[float | None] = (),
) -> Markup:
    """Return what the script filters and sorts a card by, for an attribute in single quotes.

    Args:
        index: of the card.
        tags: of its sample.
        edits: from `edit_of`, one a run.
        apart: for each run, how far its score is from the base's; None where undefined.
    """
    from jinja2.utils import htmlsafe_json_dumps

    doubts = [edit["doubt"] for edit in edits if edit["doubt"] is not None]
    data: dict[str, Any] = {
        "index": index,
        "tags": {short(tag): short(value) for tag, value in tags.items()},
        "scores": [_rounded(edit["value"]) for edit in edits],
        "statuses": [edit["label"] for edit in edits],
    }
    flags = sorted({flag for edit in edits for flag, _ in edit["flags"]})
    if flags:
        data["flags"] = flags
    if doubts:
        data["doubt"] = _rounded(max(doubts))
    if apart:
        data["apart"] = [_rounded(one) for one in apart]
    return htmlsafe_json_dumps(data, dumps=_compact)


def _compact(data: Any, **_: Any) -> str:
    return json.dumps(data, separators=(",", ":"))


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)


def _share(overall: float, scale: tuple[float, float]) -> float | None:
    """Return where a score lies on the scale, in per cent."""
    low, high = scale
    return round(min(1.0, max(0.0, (overall - low) / (high - low))) * 100, 1) if high > low else None


def _picture(thumbnail: str | None, full: str | None) -> dict[str, str | None]:
    """Return what to show and where a click leads; without a thumbnail the image itself is shown."""
    return {"shown": thumbnail or full, "full": full}


def _rival(row: Row, links: Links) -> dict[str, str | None] | None:
    """Return the picture of the other run's edit, where edits are compared."""
    if row.rival is None:
        return None
    full, thumbnail = row.rival
    return _picture(links.rival_thumbnail(thumbnail), links.file(full))


def source_of(row: Row, links: Links) -> dict[str, str | None]:
    """Return the source's picture; of one that could not be read the link alone, or a browser would try in its turn."""
    full = links.file(row.sample.images[0]) if row.sample.images else None
    if row.source_thumbnail is None and row.edit_failure and row.edit_failure[0] == "unreadable":
        return {"shown": None, "full": full}
    return _picture(links.source_thumbnail(row.source_thumbnail), full)


def _reasons(row: Row) -> list[tuple[str, dict[str, str | None]]]:
    """Return the judge's reasons by dimension, or the one text that says why there is no score."""
    status = status_of(row)
    if status.name == "scored" and row.verdict is not None and row.verdict.reasons:
        many = len(row.verdict.reasons) > 1
        return [
            (short(name) if many else "", words(text)) for name, text in row.verdict.reasons.items() if text
        ]
    return [("", words(status.reason))] if status.reason.strip() else []


def score(value: float) -> str:
    """Return a score as short as it is exact to two decimals: `8`, `7.5`, `7.07`."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text.replace("-", "\u2212")


def short(text: str, longest: int = _LONGEST_NAME) -> str:
    """Return a name as it may stand in a line or a table: visible, and not longer than one can take in."""
    return visible(text if len(text) <= longest else text[: longest - 1] + "…")


def words(text: str) -> dict[str, str | None]:
    """Return a text as the page shows it: its beginning, and, where that is not all of it, the whole on demand."""
    whole = visible(text)
    lines = whole.split("\n")
    start = "\n".join(lines[:_FIRST_LINES])
    if len(start) > _FIRST_TEXT:
        start = start[:_FIRST_TEXT].rsplit(" ", 1)[0] if " " in start[:_FIRST_TEXT] else start[:_FIRST_TEXT]
    if len(whole) - len(start) <= _NOT_WORTH_HIDING and len(lines) <= _FIRST_LINES + 1:
        return {"start": whole, "whole": None}
    return {"start": start.rstrip(), "whole": whole}


def visible(text: str) -> str:
    """Return `text` with control characters as pictures (U+2400 ff.) and lone surrogates as U+FFFD; line ends stay.

    HTML has no way to write most control characters, and a direction override would reach over what follows it: the
    template isolates each text, and here the overrides themselves become visible.
    """
    cut = text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " …"
    if cut.isprintable():
        return cut
    return "".join(map(_visible, cut.replace("\r\n", "\n")))


def _visible(character: str) -> str:
    code = ord(character)
    if character in "\n\t":
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if 0x80 <= code < 0xA0 or 0xD800 <= code < 0xE000 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069:
        return "\ufffd"
    return "\ufffd" if code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF else character
