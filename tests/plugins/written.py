"""Run directories written by hand: the scores that a test names, in milliseconds, without a process or an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edit_eval.core.headlines import Headline
from edit_eval.core.types import Call, Dimension, Rubric, Sample, Verdict
from edit_eval.driver.plan import Judging, WantedEdit
from edit_eval.driver.store import RunReader, RunStore

DIMENSIONS = ("instruction", "quality")


def rubric(name: str = "two-v1", high: float = 10.0) -> Rubric:
    dimensions = tuple(Dimension(one, 0.0, high) for one in DIMENSIONS)
    calls = (Call("all", "Look at {instruction}. {output_format}", DIMENSIONS),)
    return Rubric(name, dimensions, calls, "mean(instruction, quality)", 0.0, high)


def judging(tag: str = "a", name: str = "two-v1", high: float = 10.0) -> Judging:
    return Judging({"name": "tagged", "params": {"tag": tag}}, {"": rubric(name, high)}, ())


JUDGING = judging()

Outcome = float | str | None
"""Of a sample and repeat: its score; a kind of unscored verdict; `failed:KIND`; `edited` (not judged); None (not edited)."""


@dataclass(frozen=True)
class Item:
    """One sample: its outcomes, one a repeat, and what it is."""

    outcomes: Sequence[Outcome]
    cluster: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    instruction: str = "do it"
    source: str = "f"
    quality: float | None = None  # added to the second dimension, taken from the first
    edit_instruction: str | None = None


def write_run(
    path: Path,
    items: Mapping[str, Item | Outcome],
    own: Judging | None = JUDGING,
    *,
    beside: Sequence[tuple[Judging, Mapping[str, Outcome]]] = (),
    headlines: Sequence[Headline] = (),
    **changes: Any,
) -> RunReader:
    """Write a run; an outcome alone is a sample with one repeat. `beside`: other judges and what they say of samples."""
    wanted: list[WantedEdit] = []
    with RunStore(path) as store:
        store.write_info(_info(path, own, [one for one, _ in beside], headlines) | changes)
        for name, given in items.items():
            item = given if isinstance(given, Item) else Item([given])
            sample = Sample(
                name,
                item.instruction,
                (f"/{item.source}.png",),
                edit_instruction=item.edit_instruction,
                tags=item.tags,
                cluster=item.cluster or name,
            )
            for repeat, outcome in enumerate(item.outcomes):
                key = f"{len(wanted):064x}"
                one = WantedEdit(len(wanted), sample, repeat, len(wanted), key, (item.source * 64,))
                wanted.append(one)
                if outcome is None:
                    continue
                if isinstance(outcome, str) and outcome.startswith("failed:"):
                    kind = outcome.removeprefix("failed:")
                    store.edits.append(
                        {"key": key, "status": "failed", "kind": kind, "reason": f"it is {kind}"}
                    )
                    continue
                image = {"sha256": "5" * 64, "bytes": 1, "mtime_ns": 1, "width": 8, "height": 6}
                made = {"seconds": 1.5, "steps": 1, "device": "CPU 0", "attempts": 0, "flags": []}
                store.edits.append(
                    {"key": key, "status": "edited", "image": image, "source_size": [8, 6], **made}
                )
                if own is not None and outcome != "edited":
                    store.verdicts.append(_verdict(own, one, outcome, item.quality or 0.0))
                for judge, said in beside:
                    if name in said:
                        store.verdicts.append(_verdict(judge, one, said[name]))
        store.write_wanted(wanted)
    return RunReader(path)


def _verdict(judge: Judging, one: WantedEdit, outcome: Outcome, quality: float = 0.0) -> dict[str, Any]:
    if isinstance(outcome, str):
        verdict = Verdict(unscored=outcome, reply=f"it is {outcome}")
    else:
        score = float(outcome or 0.0)
        scores = {"instruction": score - quality, "quality": score + quality}
        verdict = Verdict(scores, score, reasons={"quality": "seen"}, reply="fine")
    return {
        "key": judge.key(one, "5" * 64),
        "edit_key": one.key,
        "edited_sha256": "5" * 64,
        "judge": judge.judge_id,
        "seconds": 0.5,
        "device": "CPU 1",
        "verdict": verdict.to_json(),
    }


def _info(
    path: Path, own: Judging | None, beside: Sequence[Judging], headlines: Sequence[Headline]
) -> dict[str, Any]:
    def said(judge: Judging) -> dict[str, Any]:
        return {
            "protocol": f"folder/v1+{next(iter(judge.rubrics.values())).name}",
            "judge": f"tagged {judge.identity['params']['tag']}",
            "judge_size_policy": "as is",
            "judging": judge.to_json(),
            "headlines": [one.to_json() for one in headlines],
        }

    return {
        "name": path.name,
        "config": {"seed": 0, "repeats": 1, "benchmark": {"type": "folder"}},
        "identity": {"editor": {"name": "scripted", "params": {"steps": 4}}, "seed": 0},
        "editor": "scripted",
        "size_policy": {"editor": "as is"},
        "min_coverage": 0.98,
        "starts": [{"edit_eval": "0.1.0", "hosts": {"edit CPU 0": {"python": "3.11.7", "load_s": 1.0}}}],
        **(said(own) if own else {}),
        "other_judges": [said(one) for one in beside],
    }
