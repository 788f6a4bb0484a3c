"""The overview of a run: what the page shows above its samples."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from edit_eval.core.headlines import Headline, HeadlineEstimate
from edit_eval.driver.distributions import distribution
from edit_eval.driver.provenance import Provenance
from edit_eval.driver.timeline import timelines
from edit_eval.driver.usage import usage_of
from edit_eval.views.deviations import standing_of
from edit_eval.views.overview import Background, overview
from edit_eval.views.report import html_report
from edit_eval.views.timeline_chart import timeline_of
from views.samples import EMPTY, HOSTILE, estimate, partial, row, summary


def telemetry(devices: int = 2):
    """Yield the records of a start in which every device loads, edits and judges."""
    labels = [f"GPU {one}" for one in range(devices)]

    def record(kind: str, at: float, **values: object) -> dict[str, object]:
        return {"v": 1, "type": kind, "start": 1, "n": int(at * 10), "at": at, "time": at, **values}

    known = [{"device": one, "kind": "cuda", "gpus": [one], "stages": ["edit", "judge"]} for one in labels]
    yield record("start", 0.0, devices=known, gpus={one: {"memory_bytes": 1 << 36} for one in labels})
    for one in labels:
        for at, stage, state in ((0, "edit", "loading"), (20, "edit", "working"), (80, "judge", "working")):
            yield record("state", float(at), device=one, stage=stage, state=state, detail="")
    for at in range(100):
        yield record(
            "sample", float(at), gpus={one: [90, 1 << 35, 500, at * 500, 1700, 0] for one in labels}, hosts={}
        )
    yield record("end", 100.0)


def page(tmp_path, *rows, background=None, usage=None, **changes) -> str:
    path = html_report(tmp_path, summary(**changes), rows, usage, background=background)
    return path.read_text(encoding="utf-8")


class Text(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self._skipped = "", False
        self.feed(page)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag, attrs):
        self._skipped = tag == "style"

    def handle_endtag(self, tag):
        self._skipped = False

    def handle_data(self, data):
        if not self._skipped:
            self.text += f" {data}"


def headline() -> HeadlineEstimate:
    return HeadlineEstimate(Headline("G_O", 0, 10), 10, 10, 10, 7.0, 0.1, 6.8, 7.2, None, {}, ())


def test_groups_are_sorted_by_their_mean_and_the_unknown_last(tmp_path):
    tags = {"category": {"a": estimate(5.0), "b": estimate(8.0), "c": EMPTY, "d": estimate(6.0, 1, None)}}
    [_, chart] = overview(summary(tags=tags), None, Background())["forests"]
    assert [one.name for one in chart.rows] == ["b", "d", "a", "c"]
    text = Text(page(tmp_path, tags=tags)).text
    assert "d 6.000 – 1" in text
    assert "overall 7.930" in text


def test_few_clusters_are_marked(tmp_path):
    assert "Under 20 clusters: read with care." in Text(page(tmp_path)).text
    many = replace(estimate(7.93, 40), clusters=20)
    assert "read with care" not in page(tmp_path, headline=many)
    assert "read with care" not in page(tmp_path, headline=EMPTY)


def test_what_is_not_official_is_said_by_name_and_why(tmp_path):
    text = Text(
        page(tmp_path, protocol="gedit/v1+own-prompts+judge-Qwen3-VL+limit-20+odd", headlines=[headline()])
    ).text
    assert "not official gedit/v1 with 4 deviations; not to be compared with published numbers" in text
    assert (
        "own-prompts : the judge is asked with our own prompts, not those of the benchmark's authors" in text
    )
    assert "judge-Qwen3-VL : the judge is Qwen3-VL, not the one of the benchmark's authors" in text
    assert "limit-20 : only 20 samples were taken" in text
    official = Text(page(tmp_path, protocol="gedit/v1+official", headlines=[headline()])).text
    assert "official Prompts, images, judge and aggregation of gedit/v1 are those of its authors." in official
    assert "not official" not in official


@pytest.mark.parametrize("protocol", ["", "+", "x+official+y", "a/v1+prompts-0123abcd+mean-of-3", HOSTILE])
def test_any_protocol_id_has_a_standing(protocol):
    one = standing_of(summary(protocol=protocol))
    assert one.official is None
    assert all(part.name for part in one.deviations)


def test_histograms_show_the_overall_score_and_each_of_several_dimensions(tmp_path):
    known = {"sc": distribution([1, 2], 0, 10), "pq": distribution([3, 4], 0, 10, 1)}
    changes = {"distribution": distribution([1.5, 2.5], 0, 10, 1), "distributions": known}
    text = page(tmp_path, **changes)
    assert text.count('<figure class="histogram">') == 3
    assert text.count("no score</text>") == 2
    alone = {**changes, "distributions": {"sc": known["sc"]}}
    assert page(tmp_path, **alone).count('<figure class="histogram">') == 1
    assert '<figure class="histogram">' not in page(tmp_path, distribution=distribution([], 0, 10, 3))


def test_failures_are_bars_the_most_frequent_first():
    one = replace(partial(), edit_failed={"crash": 1, "oom": 3}, unscored={"refused": 2}, wanted=20)
    rows = overview(one, None, Background())["failure_bars"].rows
    assert [(bar.kind, bar.count, bar.width) for bar in rows] == [
        ("oom", 3, 100.0),
        ("crash", 1, 33.33),
        ("refused", 2, 66.67),
        ("", 6, 0.0),
    ]
    assert overview(summary(), None, Background())["failure_bars"] is None


def test_time_energy_and_money_are_said_and_the_timeline_is_drawn(tmp_path):
    starts = timelines(telemetry())
    background = Background(timeline_of(starts))
    text = page(tmp_path, usage=usage_of(starts, 3.6), background=background)
    said = Text(text).text
    assert "Time 1:40 min" in said
    assert "GPU time 3:20 min on 2 devices" in said
    assert "Energy of the GPUs 27.5 Wh" in said
    assert "Cost 0.20 at 3.6 a GPU hour" in said
    assert "<title>GPU 0: load 20 s, edit 1 min, judge 20 s</title>" in text
    assert text.count('class="use"') == 3  # two devices and the legend
    assert page(tmp_path, usage=usage_of(starts, 3.6), background=background) == text


def test_how_to_repeat_it_is_folded_text(tmp_path):
    one = Provenance({"editor's revision": "d3968ef"}, "edit-eval run 'runs/a b'", "seed: 3\n")
    text = page(tmp_path, background=Background(None, one))
    assert '<details class="provenance">' in text
    said = Text(text).text
    assert "edit-eval run 'runs/a b'" in said
    assert "editor's revision d3968ef" in said
    assert "seed: 3" in said


def test_hostile_text_is_shown_as_text_in_every_part(tmp_path):
    long = HOSTILE + "x" * 20_000
    starts = timelines(telemetry())
    text = page(
        tmp_path,
        row(0),
        background=Background(timeline_of(starts), Provenance({long: long}, long, long)),
        usage=usage_of(starts),
        protocol=f"{long}+{long}",
        headlines=[headline()],
        tags={long: {long: estimate(5)}},
        dimensions={long: estimate(5)},
        distributions={long: distribution([1], 0, 10), "other": distribution([1], 0, 10)},
        edit_failed={long: 1},
        unscored={long: 1},
    )
    plain = page(tmp_path, row(0))
    assert text.count("<script") == plain.count("<script")
    assert text.count("</script") == plain.count("</script")
    assert "<b>x" not in text
    assert "{{ 7 * 7 }}" in text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", text)
    assert len(text) - len(plain) < 60_000


def test_a_large_scale_of_groups_stays_small(tmp_path):
    tags = {f"tag {n}": {f"group {k} 名字": estimate(5 + k / 10) for k in range(30)} for n in range(3)}
    assert len(page(tmp_path, tags=tags)) - len(page(tmp_path)) < 100_000
