"""A large run's report: what says most first, all the rest on further pages; and the numbers that a page holds."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from edit_eval.core.types import Sample
from edit_eval.views import page as pages
from edit_eval.views.closing import closing_block
from edit_eval.views.numbers import made_from, numbers_of, read_numbers, written
from edit_eval.views.report import html_report, missing_block, page_path, standing
from views.samples import estimate, failed_row, partial, row, scored, summary, unscored


def shown(path: Path) -> list[int]:
    """Return the samples that a page has, in its order."""
    return [int(number) for number in re.findall(r'<li id="sample-(\d+)"', path.read_text(encoding="utf-8"))]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(pages, "MOST_CARDS", 4)
    monkeypatch.setattr(pages, "PART_CARDS", 3)


ROWS = [
    row(0, scored(9.0)),
    row(1, scored(2.0)),
    row(2, None),
    row(3, unscored()),
    row(4, scored(5.0)),
    failed_row(5),
    row(6, scored(1.0)),
]


@pytest.mark.usefixtures("small")
def test_a_large_run_shows_first_what_failed_and_the_lowest_scores_and_leads_to_all(tmp_path):
    first = html_report(tmp_path, partial(), ROWS)
    assert shown(first) == [5, 3, 6, 1]
    parts = [first.with_name(f"samples-{number}.html") for number in (1, 2, 3)]
    assert [shown(part) for part in parts] == [[0, 1, 2], [3, 4, 5], [6]]
    text = first.read_text(encoding="utf-8")
    assert "The 4 of 10 that say most" in text
    for number, span in ((1, "0 to 2"), (2, "3 to 5"), (3, "6 to 6")):
        assert f'<a href="samples-{number}.html">{span}</a>' in text
    assert 'href="#sample-5"' in text  # it is here
    assert 'href="samples-1.html#sample-2"' in text  # not judged, and only there
    assert 'href="samples-3.html"' in parts[1].read_text(encoding="utf-8")


@pytest.mark.usefixtures("small")
def test_a_run_that_fits_on_one_page_has_no_others_left(tmp_path):
    html_report(tmp_path, summary(), ROWS)
    first = html_report(tmp_path, summary(), ROWS[:4])
    assert shown(first) == [0, 1, 2, 3]
    assert sorted(path.name for path in first.parent.iterdir()) == ["index.html", "thumbs"]


def test_the_numbers_of_a_page_are_read_back_as_they_were(tmp_path):
    rows = [*(failed_row(index, f'<b>no & "no" {index}') for index in range(7)), unscored_row(7), row(8)]
    whole = partial()
    path = html_report(tmp_path, whole, rows, None, "ab" * 32)
    numbers = read_numbers(path, "ab" * 32)
    assert numbers is not None
    assert written(numbers, "") == written(numbers_of(whole, rows, None), "")
    assert closing_block(numbers.summary) == closing_block(whole)
    assert missing_block(numbers.first_missing, numbers.missing) == missing_block(rows)
    assert (numbers.missing, [one.index for one in numbers.first_missing]) == (8, [0, 1, 2, 3, 4])
    assert read_numbers(path, "cd" * 32) is None


def unscored_row(index: int):
    return row(index, unscored())


def test_a_page_changed_by_hand_or_cut_off_says_no_numbers(tmp_path):
    path = html_report(tmp_path, summary(headline=estimate(7.93)), [row()], None, "ab" * 32)
    text = path.read_text(encoding="utf-8")
    assert read_numbers(path, "ab" * 32) is not None
    path.write_text(text.replace("7.93", "9.93"), encoding="utf-8")
    assert read_numbers(path, "ab" * 32) is None
    path.write_text(text[:900], encoding="utf-8")
    assert read_numbers(path, "ab" * 32) is None
    path.write_bytes(b"\xff\xfe")
    assert read_numbers(path, "ab" * 32) is None
    path.unlink()
    assert read_numbers(path, "ab" * 32) is None


def test_what_cannot_be_read_back_just_as_it_was_is_never_current(tmp_path):
    lacking = html_report(tmp_path / "a", summary(), [row(thumbnail=None)], None, "ab" * 32)
    assert read_numbers(lacking, "ab" * 32) is None
    odd = failed_row(0)
    numbers = numbers_of(summary(), [odd], None)
    assert written(numbers, "ab" * 32)[0].startswith("ab" * 32)
    object.__setattr__(odd, "edit", {"seconds": float("nan")})
    assert written(numbers_of(summary(), [odd], None), "ab" * 32) == ("", "")
    sample = Sample("\ud800", "go", ("/a.png",))
    path = html_report(tmp_path / "b", summary(), [failed_row(0), row(1, sample=sample)], None, "ab" * 32)
    assert read_numbers(path, "ab" * 32) is not None  # of the odd one nothing is said at the end
    path = html_report(tmp_path / "c", summary(), [failed_row(0, "\ud800")], None, "ab" * 32)
    assert read_numbers(path, "ab" * 32) is None


@pytest.mark.usefixtures("small")
def test_a_page_stands_as_long_as_all_its_parts_are_there(tmp_path):
    stamp = made_from(tmp_path)
    html_report(tmp_path, summary(), ROWS, None, stamp)
    assert standing(tmp_path, stamp, len(ROWS)) is not None
    page_path(tmp_path).with_name("samples-2.html").unlink()
    assert standing(tmp_path, stamp, len(ROWS)) is None


@pytest.mark.parametrize(
    "name", ["run.json", "samples.jsonl", "edits.jsonl", "verdicts.jsonl", "telemetry.jsonl"]
)
def test_what_a_page_was_made_from_is_another_once_a_file_changed(tmp_path, name):
    path = tmp_path / name
    stamps = [made_from(tmp_path)]
    path.write_text("one\n")
    stamps.append(made_from(tmp_path))
    assert made_from(tmp_path) == stamps[-1]
    path.write_text("one\ntwo\n")
    stamps.append(made_from(tmp_path))
    before = path.stat()
    path.write_text("one\nTWO\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # its ctime tells
    stamps.append(made_from(tmp_path))
    assert len(set(stamps)) == 4
    moved = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}-moved"))  # its links lead elsewhere now
    assert made_from(moved) != stamps[-1]
    moved.rename(tmp_path)
    assert made_from(tmp_path, 2.5) != stamps[-1]
