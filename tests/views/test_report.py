from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from edit_eval.core.errors import RunError
from edit_eval.core.types import Sample, Verdict
from edit_eval.views import report
from edit_eval.views.page import visible
from edit_eval.views.report import html_report, json_report, missing_block, text_report
from edit_eval.views.templating import script
from views.samples import EMPTY, HOSTILE, estimate, failed_row, partial, row, scored, summary, unscored

OWN_TAGS = (
    {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "main",
        "section",
        "figure",
        "figcaption",
        "a",
        "img",
        "details",
        "summary",
    }
    | {"h1", "h2", "p", "span", "bdi", "strong", "small", "i", "ol", "li", "dl", "div", "dt", "dd"}
    | {"table", "thead", "tbody", "tfoot", "tr", "th", "td", "b", "ul", "pre", "code"}
    | {"svg", "desc", "g", "line", "path", "polyline", "rect", "text"}
    | {"script", "dialog", "h3", "kbd", "button", "label", "input", "select", "option", "output"}
    | {"fieldset", "legend"}
)


class Page(HTMLParser):
    """Collects tags with their attributes, and the text outside of styles and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.code = ""
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.code += data
        elif self._in != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def build(folder: Path, *rows: Any, **changes: Any) -> Page:
    path = html_report(folder, summary(**changes), rows)
    assert path == folder / "report" / "index.html"
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_shows_each_sample_with_its_pictures_scores_and_reasons(tmp_path: Path) -> None:
    page = build(tmp_path, row(0), row(1, scored(6.25, "The roof is blue too.")))
    assert page.tags[0] == ("html", {"lang": "en"})
    images = page.all("img")
    assert len(images) == 4
    assert all(one["alt"] and one["loading"] == "lazy" for one in images)
    assert images[1]["src"] == f"thumbs/00/{'00' * 32}.webp"
    links = [one["href"] for one in page.all("a")]
    assert f"../images/00/{'00' * 32}.png" in links
    assert "file:///data/a%20b%231.png" in links
    for text in (
        "7.930",
        "7.430 to 8.430",
        "scenes/v1+reference-v1",
        "6.25",
        "The roof is blue too.",
        "Paint the house blue",
    ):
        assert text in page.text


def test_the_page_asks_for_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = build(tmp_path, row(0))
    text = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert page.all("script") == [{}]
    assert page.code == script().text
    assert not page.all("link")
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text


def test_a_partial_run_is_labelled_with_its_bounds_and_its_failures(tmp_path: Path) -> None:
    path = html_report(
        tmp_path, partial(), [row(0), row(3, unscored("I will not")), failed_row(5, "signal 9 of the host")]
    )
    page = Page(path.read_text(encoding="utf-8"))
    for text in (
        "partial",
        "6.344 to 8.344",
        "unscored (unparsable)",
        "I will not",
        "edit-failed (crash)",
        "signal 9 of the host",
    ):
        assert text in page.text
    classes = [one.get("class") for one in page.all("li")]
    assert classes == ["row", "row bad", "row bad"]
    assert "no image" in page.text


def test_hostile_text_is_shown_as_text(tmp_path: Path) -> None:
    sample = Sample(HOSTILE, HOSTILE, ("/data/x\n\"'<>.png",), HOSTILE, {HOSTILE: HOSTILE})
    hostile = Verdict({HOSTILE: 5.0}, 5.0, None, {HOSTILE: HOSTILE}, HOSTILE)
    page = build(
        tmp_path,
        row(0, hostile, sample=sample, image=f"images/{HOSTILE}.png", thumbnail='thumbs/a#?%22".webp'),
        row(1, unscored(HOSTILE), sample=sample),
        failed_row(2, HOSTILE),
        run=HOSTILE,
        protocol=HOSTILE,
        editor=HOSTILE,
        judge=HOSTILE,
        facts={HOSTILE: HOSTILE},
        tags={HOSTILE: {HOSTILE: estimate(5)}},
        dimensions={HOSTILE: estimate(5)},
        edit_failed={HOSTILE: 1},
    )
    text = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert page.all("script") == [{}]
    assert page.code == script().text
    assert "{{ 7 * 7 }}" in page.text
    assert "</script><b>x</b>" in page.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", text)
    assert "thumbs/thumbs/a%23%3F%2522%22.webp" in text
    assert {tag for tag, _ in page.tags} <= OWN_TAGS
    assert page.text.count("loud") > 10


def test_undefined_numbers_are_dashes_never_zero(tmp_path: Path) -> None:
    page = build(
        tmp_path,
        headline=EMPTY,
        scored=0,
        coverage=0.0,
        bounds=(0.0, 10.0),
        dimensions={"quality": EMPTY},
        tags={"category": {"color": estimate(7.5, 1, None)}},
    )
    cells = re.sub(r"\s+", " ", page.text)
    assert "–partial mean overall score" in cells
    assert "quality––0" in cells.replace(" ", "")
    assert "color7.500–1" in cells.replace(" ", "")


def test_a_run_without_a_judge_has_a_page_too(tmp_path: Path) -> None:
    page = build(
        tmp_path, row(0, verdict=None), judge=None, headline=EMPTY, dimensions={}, tags={}, bounds=None
    )
    assert "nothing was judged" in page.text


def test_rows_without_thumbnails_show_the_images_themselves(tmp_path: Path) -> None:
    page = build(tmp_path, row(0, thumbnail=None, source_thumbnail=None))
    assert [one["src"] for one in page.all("img")] == [
        "file:///data/a%20b%231.png",
        f"../images/00/{'00' * 32}.png",
    ]


def test_repeats_are_told_apart(tmp_path: Path) -> None:
    page = build(tmp_path, row(0), row(1, repeat=1))
    assert "repeat 0" in page.text
    assert "repeat 1" in page.text


def test_building_twice_gives_the_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    rows = [row(0), row(1, unscored()), failed_row(2)]
    first = html_report(tmp_path / "a", partial(), rows).read_bytes()
    assert html_report(tmp_path / "a", partial(), rows).read_bytes() == first
    assert html_report(tmp_path / "b", partial(), rows[::-1]).read_bytes() == first
    assert names(tmp_path / "a" / "report") == ["index.html", "thumbs"]


def test_a_page_that_fails_leaves_the_old_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = html_report(tmp_path, summary(), [row(0)]).read_bytes()

    def broken(*_: object, **__: object) -> list[str]:
        raise RuntimeError("no page")

    monkeypatch.setattr("edit_eval.views.page.page", broken)
    with pytest.raises(RuntimeError, match="no page"):
        html_report(tmp_path, summary(), [row(1)])
    assert names(tmp_path / "report") == ["index.html", "thumbs"]
    assert (tmp_path / "report" / "index.html").read_bytes() == old


def test_control_characters_become_visible() -> None:
    assert visible("a\x1bb\x00c\u202ed\ud800\x7f\r\ne\tf") == "a␛b␀c\ufffdd\ufffd␡\ne\tf"
    assert visible("红色 ok") == "红色 ok"
    assert len(visible("x" * 100_000)) < 5000


def test_json_has_the_documented_keys_and_null_for_what_is_undefined() -> None:
    data = json_report(partial(), [failed_row(2), row(0), row(1, unscored("I will not"))])
    again = json.loads(json.dumps(data, allow_nan=False))
    documented = report.__doc__ or ""
    assert again["format"] == 1
    for key in [*again, *again["headline"], *again["rows"][0]]:
        assert f"`{key}`" in documented
    assert [one["status"] for one in again["rows"]] == ["scored", "unscored", "edit-failed"]
    assert [one["kind"] for one in again["rows"]] == [None, "unparsable", "crash"]
    assert [one["overall"] for one in again["rows"]] == [8.5, None, None]
    assert again["bounds"] == [6.344, 8.344]
    assert json_report(summary(headline=EMPTY), [])["headline"]["mean"] is None


def test_text_lists_what_has_no_score_and_the_lowest_scores() -> None:
    rows = [row(0), row(1, unscored("I will\nnot")), failed_row(2), row(3, scored(2.0, "Nothing changed."))]
    said = text_report(partial(), rows).splitlines()
    start = said.index("Without a score (2):")
    assert said[start + 1 :] == [
        "  [Sample   1] unscored (unparsable) scene-0001 | I will not",
        "  [Sample   2] edit-failed (crash) scene-0002 | the host died",
        "",
        "Lowest scores:",
        "  [Sample   3] 2.00 scene-0003 | Nothing changed.",
        "  [Sample   0] 8.50 scene-0000 | The image successfully shows what was asked for.",
    ]


def test_a_report_that_cannot_be_written_is_said_in_one_line(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")
        yield

    monkeypatch.setattr("edit_eval.views.page.page", full)
    with pytest.raises(RunError, match=r"cannot write the report .*: No space left on device"):
        html_report(tmp_path, summary(), [row(1)])
    assert names(tmp_path / "report") == ["thumbs"]
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write the report"):
        html_report(tmp_path / "file", summary(), [row(1)])


def test_flags_are_marked_on_their_cards_and_counted_above(tmp_path: Path) -> None:
    page = build(
        tmp_path,
        row(0),
        row(1, flags=("blank", "nan")),
        row(2, flags=("later flag",), edit={"first_frames": [0]}),
        flagged=2,
        flags={"blank": 1, "nan": 1, "later flag": 1},
        first_frames=1,
    )
    assert "2 edits are flagged: 1 blank, 1 later flag, 1 nan." in page.text
    assert "1 edit is of the first frame or page of several." in page.text
    assert "first frame of several" in page.text
    chips = [one for one in page.all("p") if one.get("class") == "chip warn"]
    assert [one["title"] for one in chips] == ["one colour all over", "held NaN or infinity", ""]
    assert {"#sample-1", "#sample-2"} <= {one["href"] for one in page.all("a")}
    quiet = build(tmp_path, row(0))
    assert "lagged" not in quiet.text


def test_a_tag_without_a_score_has_a_line_with_its_coverage(tmp_path: Path) -> None:
    page = build(
        tmp_path,
        coverage=0.8,
        bounds=(1.0, 9.0),
        tags={"category": {"color": estimate(7.5, 1, None), "removal": EMPTY}},
        tag_coverage={"category": {"color": 1.0, "removal": 0.0}},
    )
    cells = re.sub(r"\s+", "", page.text)
    assert "color7.500–1100%" in cells
    assert "removal––00%" in cells


@pytest.mark.parametrize("text", ["word " * 4000, "x" * 20_000, "a line\n" * 300, "字" * 3000])
def test_long_texts_open_on_demand(tmp_path: Path, text: str) -> None:
    sample = Sample(text[:3000], text, ("/data/a.png",), text, {"tag": text})
    page = build(tmp_path, row(0, scored(8.0, text), sample=sample))
    assert len(page.all("details")) == len(page.all("summary")) == 3  # instruction, given, reason
    starts = page.text.split("…")
    assert len(starts) > 3
    assert all(len(part) < 6000 for part in starts)
    assert build(tmp_path, row(0)).all("details") == []
    nearly = Sample("s", "word " * 70, ("/data/a.png",))
    assert build(tmp_path, row(0, sample=nearly)).all("details") == []


def test_a_source_that_could_not_be_read_is_not_shown_but_linked(tmp_path: Path) -> None:
    unreadable = row(
        0, edited=False, edit_failure=("unreadable", "it is a text file"), edit={}, image=None, thumbnail=None,
        source_thumbnail=None, verdict=None,
    )  # fmt: skip
    page = build(tmp_path, unreadable)
    assert page.all("img") == []
    assert "file:///data/a%20b%231.png" in [one["href"] for one in page.all("a")]
    assert "it is a text file" in page.text


def test_text_and_json_name_the_flagged() -> None:
    rows = [row(0), row(1, flags=("blank", "nan")), row(2, unscored(), flags=("no_op",))]
    said = text_report(summary(flagged=2), rows).splitlines()
    start = said.index("Flagged (2):")
    assert said[start + 1 : start + 3] == [
        "  [Sample   1] blank, nan scene-0001 | 8.50",
        "  [Sample   2] no_op scene-0002 | unscored (unparsable)",
    ]
    assert [one["flags"] for one in json_report(summary(), rows)["rows"]] == [[], ["blank", "nan"], ["no_op"]]
    assert "Flagged" not in text_report(summary(), [row(0)])


def test_the_first_few_without_a_score_are_named_at_the_end_of_a_run() -> None:
    assert missing_block([row(0), row(1, verdict=None)]) is None
    said = (missing_block([failed_row(n, "no " * 200) for n in (7, 6, 5, 4, 3, 2, 1)]) or "").splitlines()
    assert said[0] == "Without a score (7):"
    assert [line.split("]")[0] for line in said[1:6]] == [f"  [Sample   {n}" for n in (1, 2, 3, 4, 5)]
    assert said[6:] == ["  and 2 more; 'edit-eval report' lists them all"]
    assert max(map(len, said)) < 400
