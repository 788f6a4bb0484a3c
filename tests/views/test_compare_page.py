"""The page of a comparison: the terminal's words, every run's pictures in its folder, the same bytes twice."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

import pytest
from written import Item, write_run

from edit_eval.core.errors import RunError
from edit_eval.driver.compare import compare_runs
from edit_eval.views import compare_page as pages
from edit_eval.views.compare import comparison_text
from edit_eval.views.compare_page import letter_of
from edit_eval.views.report import compare_report
from edit_eval.views.verdicts import head_said, lost_said, partial_said, spread_said, tags_said, verdict

BASE = {f"s{number}": Item([number % 5 + 3], tags={"category": "ab"[number % 2]}) for number in range(12)}
OTHER = {name: Item([one.outcomes[0] + (2 if int(name[1:]) % 3 else -1)]) for name, one in BASE.items()}
LACKING = {**OTHER, "s1": Item(["refused"]), "new": Item([5]), "s2": Item([4, 6]), "s3": Item([6, 9])}


@pytest.fixture
def comparison(tmp_path):
    found = [write_run(tmp_path / f"run-{number}", one) for number, one in enumerate((BASE, OTHER, LACKING))]
    for run in found:
        for one in run.wanted:
            place = run.path / "thumbs" / one.key[:2] / f"{one.key}.webp"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(run.path.name.encode())
    return compare_runs(found)


def text_of(path: Path) -> str:
    """Return a page's text, its minus signs as the terminal writes them."""
    whole = re.sub(r"<(style|script)>.*?</\1>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", whole)).replace("\u2212", "-").split())


def test_its_words_are_those_of_the_terminal(comparison, tmp_path):
    said = text_of(compare_report(comparison, tmp_path / "page"))
    terminal = " ".join(comparison_text(comparison, 120).split())
    sentences = [*head_said(comparison), partial_said(comparison.runs[2])]
    for pair in comparison.pairs:
        lost = lost_said(pair.lost, comparison.runs[pair.base], comparison.runs[pair.other])
        sentences += [verdict(comparison, pair), tags_said(pair), *lost]
    sentences += [spread_said(run.label, run.variance) for run in comparison.runs if run.variance]
    assert any(run.variance for run in comparison.runs)
    assert len(sentences) > 8
    for one in sentences:
        assert " ".join(one.split()) in terminal
        assert " ".join(one.split()) in said
    assert "Not compared: 2 samples" in said
    assert "What else differs" in said


def test_building_twice_gives_the_same_bytes_and_each_run_its_own_pictures(comparison, tmp_path):
    folder = tmp_path / "page"
    first = compare_report(comparison, folder).read_bytes()
    inodes = {path: path.stat().st_ino for path in folder.rglob("*.webp")}
    assert compare_report(comparison, folder).read_bytes() == first
    assert {path: path.stat().st_ino for path in folder.rglob("*.webp")} == inodes
    assert (folder / "thumbs/b/00" / f"{1:064x}.webp").read_text() == "run-1"
    assert (folder / "thumbs/c/00" / f"{1:064x}.webp").read_text() == "run-2"
    assert os.sep + "home" not in first.decode()
    assert str(tmp_path) not in first.decode()
    assert f'href="../run-1/images/00/{1:064x}.png"' in first.decode()


def test_a_large_comparison_shows_first_where_runs_are_far_apart_and_leads_to_all(
    comparison, tmp_path, monkeypatch
):
    monkeypatch.setattr(pages, "MOST_CELLS", 12)
    monkeypatch.setattr(pages, "PART_CELLS", 15)
    path = compare_report(comparison, tmp_path / "page")
    text = path.read_text(encoding="utf-8")
    shown = re.findall(r'<li id="sample-(\d+)"', text)
    assert shown == ["1", "2", "4", "5"]
    parts = sorted(one.name for one in path.parent.glob("samples-*.html"))
    assert parts == ["samples-1.html", "samples-2.html", "samples-3.html"]
    found = [re.findall(r'<li id="sample-(\d+)"', (path.parent / name).read_text()) for name in parts]
    assert [int(one) for part in found for one in part] == list(range(13))
    for page, sample in re.findall(r'class="change" href="([^"#]*)#sample-(\d+)"', text):
        assert sample in (
            re.findall(r'<li id="sample-(\d+)"', (path.parent / page).read_text()) if page else shown
        )
    monkeypatch.undo()
    compare_report(comparison, tmp_path / "page")
    assert list(path.parent.glob("samples-*.html")) == []


def test_a_folder_that_holds_something_else_is_refused(comparison, tmp_path):
    run = comparison.runs[0].path
    with pytest.raises(RunError, match="is a run directory"):
        compare_report(comparison, run)
    assert list((run / "thumbs").rglob("*.webp"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<title>mine</title>")
    with pytest.raises(RunError, match=r"index\.html that edit-eval did not write"):
        compare_report(comparison, tmp_path / "site")


def test_letters():
    assert [letter_of(place) for place in (0, 1, 25, 26, 27, 701, 702)] == [
        "A",
        "B",
        "Z",
        "AA",
        "AB",
        "ZZ",
        "AAA",
    ]
