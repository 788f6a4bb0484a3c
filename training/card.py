"""Writes docs/tiny-editor.md and its figure from the logs of trainings, so that every number there is one that was logged or measured.

    python -m training.card training/logs docs/tiny-editor.md

The folder holds the log of the training whose weights are shipped, `tiny.json`, and logs of others that it is compared
with; `measured.json` beside the folder is what `training.measure` found. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["card", "figure", "read_logs", "shipped_sampling"]

SHIPPED = "tiny"
FIGURE = "images/tiny-loss.svg"
MEASURED = "measured.json"
_WEIGHTS = Path(__file__).parents[1] / "src" / "edit_eval" / "editors" / "tiny_weights"
_AIM, _AIM_EACH = 8.0, 6.5
"""Scores of 10 that the training was to reach: over all, and in each kind of edit."""

_HEAD = """\
# The editor `tiny`

A diffusion editor of {parameters:.1f} million parameters that comes with edit-eval: source and instruction in (English or Chinese), edited picture out, {size} x {size} pixels, under a second on one core of a CPU. It is there so that everybody can see the real thing within a minute and without a GPU (denoising steps, seeds, edits that are nearly right and, without guidance, some that come to nothing), and so that our own tests have an editor whose quality depends on steps, guidance and training. It knows the drawn scenes of the benchmark `scenes` and nothing else: it is no model to edit photographs with.

```yaml
benchmark: {{type: scenes, params: {{n: 64, size: {size}, language: both}}}}
editor: {{type: tiny, devices: [cpu:0, cpu:1], params: {{steps: 20}}}}
judge: {{type: reference}}
```

It needs onnxruntime: `pip install 'edit-eval[tiny]'`; `make demo` installs it.

All tables of this page and its figure are written from the training's log and from measurements (`python -m training.card training/logs docs/tiny-editor.md`), and a test holds the page to them.
"""

_PARAMETERS = """\
## Parameters

| parameter | default | meaning |
|---|---|---|
| `steps` | {steps} | denoising steps, 1 to 1000 |
| `guidance` | {guidance} | classifier-free guidance on the instruction; 1: none, 0: the instruction is not looked at |
| `guided_until` | {guided_until} | time (0 is noise, 1 the picture) from which on there is no guidance; the steps after it cost half |
| `shift` | {shift} | above 1, more of the steps lie near the noise; below 1, near the picture |
| `weights` | those shipped | folder of weights of your own training |

Words that are not in its vocabulary are left out, and the log of the model's process names them. A source of another size is edited at {size} x {size}; then only what changed is taken from there, enlarged, and the rest stays the source's own pixels.

An edit with the defaults took 0.47 to 0.52 s of one core, and the process at most 121 MiB (six times `python -m pytest tests/editors/test_tiny.py -k little_time -s`, which holds it to 1.5 s and 300 MB; Intel Xeon, onnxruntime 1.32.0, 2026-12-01).

The same seed and parameters give the same bytes on any number of devices of one kind of CPU with one version of onnxruntime. Another kind of CPU may sum in another order.
"""

_DATA = """\
## Data

Pairs of drawn scenes with an English and a Chinese instruction, drawn while the training runs by what the benchmark `scenes` is made of (`edit_eval.benchmarks.scenes.render`): eight kinds of edit that take turns. {pairs:,} pairs were drawn and each was seen {times:.0f} times on average. No picture was downloaded. Series of training begin at seed 2^40, validation has a series of its own, and the scores below are on the first {scenes} scenes of seed 0, the benchmark's own default, which no training draws.
"""

_NETWORK = """\
## Network and training

Flow matching in pixel space (Lipman et al. 2023; Liu et al. 2023) with a network that estimates the picture itself (Li and He 2025). An encoder reads source and instruction once an edit: convolutions on cells of 3 x 3 pixels, attention over 256 picture tokens and the words; each token also names an anchor, beside which things are drawn by their place, so that the same thing a fraction of a pixel further on is the same function of a shifted place. A denoiser runs each step: convolutions on the same cells, two layers of attention, and a gate that decides for each pixel between the source's and a new one, so that what an edit leaves alone needs no drawing. Times to learn at are cubes of evenly spread numbers, for it is near the noise that the instruction decides{own}. {failed}Kinds of edit that score low on validation scenes are drawn more often, at most {often:g} times as often as one that scores 10. One pair in ten is trained without its instruction, for guidance. The weights are kept in half precision, once: `tiny.safetensors`, which both ONNX graphs point into.

```sh
pip install -e '.[test-models]'
{command}
```

| | |
|---|---|
| parameters | {parameters:,} |
| machine | {machine} |
| time from the start to the last step | {minutes:.1f} minutes |
| steps | {steps:,} of {batch} pairs, each with {draws} |
| pairs drawn | {pairs:,} |
| optimizer | {optimizer}, highest rate {rate:g}, {warm_up} steps of warm-up, cosine down to a hundredth |
| weights shipped | average of the last 1,000 steps or so (exponential, 0.999) |
| last loss in the log | {loss:.4f} at step {step:,} |
| last validation score in the log | {validation} |

![Loss, and score on validation scenes, by step of the training]({figure})

On a CPU `python -m training.train --smoke --output FOLDER` does all of it on a small network in about a minute, to see that it works.
"""

_SCORES = """\
## Scores

Mean score of the judge `reference` (0 to 10: 10 is the exact result, 0 the untouched source or worse) on {scenes} scenes that were not trained on, in both languages, with guidance {guidance:g} and shift {shift:g}. *Source* is an editor that returns its source, *noise* one that returns random pixels.
"""


def shipped_sampling() -> dict[str, Any]:
    """Return the defaults that are shipped with the weights."""
    told: dict[str, Any] = json.loads((_WEIGHTS / "tiny.json").read_text(encoding="utf-8"))
    return dict(told["sampling"])


def read_logs(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the logs of a folder by name, the shipped one first."""
    paths = sorted(folder.glob("*.json"), key=lambda path: (path.stem != SHIPPED, path.stem))
    logs = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    if SHIPPED not in logs:
        raise SystemExit(f"{folder} has no {SHIPPED}.json, the log of the training whose weights are shipped")
    return logs


def card(
    logs: Mapping[str, Mapping[str, Any]],
    measured: Mapping[str, Any] | None = None,
    sampling: Mapping[str, Any] | None = None,
) -> str:
    """Return the page, Markdown.

    Args:
        logs: as `read_logs` gives them.
        measured: what `training.measure` found; None: nothing is said of it.
        sampling: the defaults that are shipped; None: those that the training chose.
    """
    log = logs[SHIPPED]
    chosen, test = log["chosen"], log["test"]
    sampling = sampling or chosen
    plan, last = log["plan"], log["steps"][-1]
    size = {"size": 96, **plan["shape"]}["size"]
    validation = log["scores"][-1] if log["scores"] else None
    pairs, seen = last["pairs_drawn"], last["step"] * plan["batch"]
    parts = [
        _HEAD.format(parameters=log["parameters"] / 1e6, size=size),
        _PARAMETERS.format(**sampling, size=size),
        _DATA.format(pairs=pairs, times=seen / pairs, scenes=test["scenes"]),
        _NETWORK.format(
            **{name: plan[name] for name in ("batch", "rate", "warm_up")},
            draws="a noise and a time" if plan["draws"] == 1 else f"{plan['draws']} noises and times",
            optimizer=_optimizer(plan),
            often=1.0 + plan.get("hard", 0.0),
            own=_OWN.format(share=_share(plan["own"])) if plan.get("own") else "",
            failed=_FAILED.format(share=_share(plan["failed"])) if plan.get("failed") else "",
            command=_command(plan),
            parameters=log["parameters"],
            machine=_machine(log["machine"]),
            minutes=last["seconds"] / 60,
            steps=last["step"],
            pairs=pairs,
            loss=last["loss"],
            step=last["step"],
            validation=f"{validation['all']:.2f} at step {validation['step']:,}" if validation else "none",
            figure=FIGURE,
        ),
        _SCORES.format(**test, **chosen) + "\n" + _scores(test) + "\n\n" + _plainly(test),
        _settings(log, sampling),
        *([_through_edit_eval(measured)] if measured else []),
        *_ablations(logs),
        _LIMITS.format(size=size),
    ]
    return "\n".join(parts)


_LIMITS = """\
## Limits

- It knows drawn scenes. Of photographs, other drawings, other things and other words it knows nothing; what it makes of them means nothing.
- {size} x {size} pixels. In a larger source what it changes is coarse.
- The judge measures distance from one exact result. An edit that a person would accept, but that is not that result, scores low.
- A score of an edit here says nothing about the same kind of edit with another model.
"""


_OWN = "; for {share} of them x_t leads to the network's own estimate, as it does when a picture is sampled"

_FAILED = (
    "For {share} of the noises the edit counts as failed, as in real data where it was not carried out: the path leads to the "
    "source. Which end to expect at a noisy picture follows from Bayes' rule, and that expectation is what the network learns; "
    "so its noise decides whether an edit comes to nothing, and guidance, away from what would be there without the "
    "instruction, mostly prevents it. "
)


def _share(share: float) -> str:
    """Return a share in words where there is one."""
    return "half" if share == 0.5 else f"{100 * share:g} %"


def _command(plan: Mapping[str, Any]) -> str:
    parts = ["python -m training.train --output weights", f"--minutes {plan['minutes']:g}"]
    given = {name: plan.get(name) for name in ("seed", "batch", "own", "hard", "failed")} | {
        "placed": plan["shape"].get("placed")
    }
    parts += [f"--{name} {value:g}" for name, value in given.items() if value is not None]
    return " ".join(parts)


def _optimizer(plan: Mapping[str, Any]) -> str:
    if plan.get("muon"):
        return "Muon for the matrices between first and last layers (Jordan et al. 2024), AdamW for the rest"
    return "AdamW"


def _machine(machine: Mapping[str, Any]) -> str:
    return f"one {machine['device']}, {machine['cores']} cores, torch {machine['torch']}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _kinds(test: Mapping[str, Any]) -> list[str]:
    """Return the kinds of edit, in the order in which samples take turns."""
    return [name for name in test["20 steps"] if name not in ("all", "en", "zh") and " " not in name]


def _scores(test: Mapping[str, Any]) -> str:
    ours, fixed = test["20 steps"], test["baselines"]
    others = (test["2 steps"], test["no guidance"], fixed["identity"], fixed["random"])
    head = ("kind of edit", "20 steps", "English", "Chinese", "2 steps", "no guidance", "source", "noise")
    rows = [("all", "en", "zh"), *((kind, f"{kind} en", f"{kind} zh") for kind in _kinds(test))]
    return _table(
        head,
        (
            [
                group,
                *(f"{ours[one]:.2f}" for one in (group, *by)),
                *(f"{other[group]:.2f}" for other in others),
            ]
            for group, *by in rows
        ),
    )


def _plainly(test: Mapping[str, Any]) -> str:
    """Say whether it is as good as it was meant to be, and what it does badly."""
    ours, fewer = test["20 steps"], test["2 steps"]
    low = sorted(
        (kind for kind in _kinds(test) if _lowest(ours, kind) < _AIM_EACH), key=lambda kind: ours[kind]
    )
    aim = (
        f"It was meant to reach {_AIM:g} over all and {_AIM_EACH:g} in each kind of edit, in both languages."
    )
    if low or _lowest(ours, "all") < _AIM:
        said = f"**It does not: {ours['all']:.2f} over all"
        said += f", and it does badly: {_named(ours, low)}.**" if low else ".**"
    else:
        said = "It does."
    unmoved = [kind for kind in _kinds(test) if fewer[kind] >= ours[kind]]
    if unmoved:
        said += f" More steps do not make these better: {_named(ours, unmoved)}; with 2 steps {_named(fewer, unmoved)}."
    return (
        f"{aim} {said} The figure shows how each kind was learnt. When the time was over the learning rate was near zero; "
        "whether a longer training or a larger network does better was not tried.\n"
    )


def _lowest(means: Mapping[str, float], group: str) -> float:
    return min(
        means[one]
        for one in (("all", "en", "zh") if group == "all" else (group, f"{group} en", f"{group} zh"))
    )


def _named(means: Mapping[str, float], kinds: Iterable[str]) -> str:
    return ", ".join(f"{kind} {means[kind]:.2f}" for kind in kinds)


def _settings(log: Mapping[str, Any], sampling: Mapping[str, Any]) -> str:
    tried = sorted(log["settings"], key=lambda one: -one["score"])
    names = ("steps", "guidance", "guided_until", "shift")
    seen: dict[tuple[float, ...], float] = {tuple(one[name] for name in names): one["score"] for one in tried}
    shipped = tuple(sampling[name] for name in names)
    rows = []
    for one, score in seen.items():
        mark = "**" if one == shipped else ""
        rows.append([*(f"{value:g}" for value in one), f"{mark}{score:.2f}{mark}"])
    head = ("`steps`", "`guidance`", "`guided_until`", "`shift`", "score")
    return (
        "## Steps and guidance\n\n"
        f"Every way to sample that was tried, on {log['plan']['validation']} validation scenes in both languages; the best "
        "of those with 20 steps and guidance, in bold, became the default.\n\n"
        f"{_table(head, rows)}\n\n{_worth(log)}"
    )


_SURE = (
    ": **next to nothing**. Source and instruction decide every pixel here, and the network has learnt them so well that its "
    "first estimate is nearly its last; guidance only lengthens the way there, and a few steps end before it is mended. What "
    "steps and guidance do to an editor that is less sure cannot be seen on this one."
)
"""What there is to say of guidance that is worth less than 0.01."""


def _worth(log: Mapping[str, Any]) -> str:
    """Say what steps and guidance are worth."""
    best: dict[int, Mapping[str, Any]] = {}
    for one in log["settings"]:
        if one["score"] > best.get(one["steps"], {"score": -1.0})["score"]:
            best[one["steps"]] = one
    each = "; ".join(
        f"{steps}: {one['score']:.2f} (`shift` {one['shift']:g})" for steps, one in sorted(best.items())
    )
    ours, without = log["test"]["20 steps"]["all"], log["test"]["no guidance"]["all"]
    return (
        f"The best that was found, by number of steps: {each}. The demo and the tests change `steps` alone and keep the other "
        "defaults, which were chosen for 20 steps: they show what happens to such an editor when it is given fewer steps, not "
        "the best that so few steps can do. "
        f"Guidance is worth {ours - without:.2f} on the test scenes ({ours:.2f} against {without:.2f} without)"
        f"{'.' if ours - without > 0.01 else _SURE}\n"
    )


def _through_edit_eval(measured: Mapping[str, Any]) -> str:
    ways = measured["ways"]
    rows = [
        [
            name,
            f"{one['mean']:.2f}",
            f"{one['difference']:+.3f}",
            f"{one['low']:+.3f} to {one['high']:+.3f}",
            "< 0.001" if one["p"] < 0.001 else f"{one['p']:.3f}",
            f"{one['better']} / {one['same']} / {one['worse']}",
        ]
        for name, one in ways.items()
    ]
    head = ("what is different", "score", "difference", "95 % interval", "p", "better / same / worse")
    base = next(iter(ways.values()))["base"]
    return (
        "## Through edit-eval itself\n\n"
        f"The shipped files in runs of {measured['scenes']} scenes (both languages in turns), compared with the defaults as "
        f"`edit-eval compare` does (`python -m training.measure training/measured.json --runs runs/measured`). The defaults "
        f"score {base:.2f}.\n\n"
        f"{_table(head, rows)}\n"
    )


_UNTOLD = frozenset({"seed", "workers", "capacity", "every", "ending", "settings", "noted", "first"})
"""Of a plan, what is about the machine and the log."""


def _ablations(logs: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    others = [log for name, log in logs.items() if name != SHIPPED]
    if not others:
        return
    shipped = logs[SHIPPED]["plan"]
    rows = [
        [
            _difference(shipped, log["plan"]) or "as shipped",
            f"{log['plan']['minutes']:g}",
            f"{log['steps'][-1]['step']:,}",
            *(f"{log['test'][name]['all']:.2f}" for name in ("20 steps", "2 steps", "no guidance")),
        ]
        for log in (logs[SHIPPED], *others)
    ]
    head = ("what is different", "minutes", "steps", "score, 20 steps", "2 steps", "no guidance")
    yield f"## Ablations\n\nOther trainings, by what was different, on the same test scenes, each sampled as it chose.\n\n{_table(head, rows)}\n"


def _difference(shipped: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    names = sorted({*shipped, *plan} - _UNTOLD - {"minutes", "shape"})
    found = [
        f"`{name}` {json.dumps(plan.get(name))}" for name in names if shipped.get(name) != plan.get(name)
    ]
    ours, theirs = shipped["shape"], plan["shape"]
    found += [
        f"`{name}` {theirs.get(name)}"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]
    return ", ".join(found)


# The figure

_WIDE, _HIGH, _LEFT, _TOP, _PLOT_WIDE, _PLOT_HIGH = 960, 320, 60, 40, 330, 220
_BETWEEN = 80
_MOST_POINTS = 160
_STYLE = (
    "text{font:13px sans-serif;fill:#333}.axis{stroke:#ddd;fill:none}.line{stroke:#0b6e4f;fill:none;stroke-width:2.5}"
    ".kind{stroke:#8a8a8a;fill:none}.lead{stroke:#c4c4c4;fill:none}.name{font-size:12px}"
)

Points = Sequence[tuple[int, float]]


def figure(log: Mapping[str, Any]) -> str:
    """Return loss and validation score, over all and by kind of edit, by step of the training, SVG."""
    losses = [(one["step"], one["loss"]) for one in log["steps"]]
    last = losses[-1][0]
    kinds = {kind: [(one["step"], one[kind]) for one in log["scores"]] for kind in _kinds(log["test"])}
    scores = {"all": [(one["step"], one["all"]) for one in log["scores"]], **kinds}
    even = {float(mark): str(mark) for mark in (0, 2, 4, 6, 8, 10)}
    left = _plot(_LEFT, "loss (logarithmic)", {"": _thinned(losses)}, last, _decades(losses), math.log10)
    right = _plot(
        _LEFT + _PLOT_WIDE + _BETWEEN, "score on validation scenes, 0 to 10", scores, last, even, float
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" width="{_WIDE}" height="{_HIGH}">\n'
        f"<style>{_STYLE}</style>\n"
        f'<rect width="{_WIDE}" height="{_HIGH}" fill="#fff"/>\n{left}\n{right}\n</svg>\n'
    )


def _thinned(points: Points) -> list[tuple[int, float]]:
    """Return at most so many points, each the mean of its neighbours."""
    size = -(-len(points) // _MOST_POINTS)
    groups = [points[begin : begin + size] for begin in range(0, len(points), size)]
    return [(group[-1][0], sum(loss for _, loss in group) / len(group)) for group in groups]


def _decades(points: Points) -> dict[float, str]:
    """Return marks 1, 2, 5 of each decade that enclose the values."""
    low, high = min(value for _, value in points), max(value for _, value in points)
    marks = [digit * 10.0**power for power in range(-6, 4) for digit in (1, 2, 5)]
    below = max((mark for mark in marks if mark <= low), default=marks[0])
    above = min((mark for mark in marks if mark >= high), default=marks[-1])
    return {mark: f"{mark:g}" for mark in marks if below <= mark <= above}


def _plot(
    left: int,
    title: str,
    lines: Mapping[str, Points],
    last: int,
    marks: Mapping[float, str],
    scale: Callable[[float], float],
) -> str:
    low, high = scale(min(marks)), scale(max(marks))
    bottom = _TOP + _PLOT_HIGH

    def at(step: float, value: float) -> tuple[float, float]:
        across, up = step / last, (scale(value) - low) / (high - low)
        return round(left + across * _PLOT_WIDE, 1), round(bottom - up * _PLOT_HIGH, 1)

    parts = [f'<text x="{left}" y="{_TOP - 16}">{title}</text>']
    for mark, text in marks.items():
        _, y = at(0, mark)
        parts.append(f'<path class="axis" d="M{left} {y}h{_PLOT_WIDE}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{text}</text>')
    for share in (0.0, 0.5, 1.0):
        x, _ = at(share * last, max(marks))
        parts.append(f'<text x="{x}" y="{bottom + 22}" text-anchor="middle">{round(share * last):,}</text>')
    parts.append(f'<text x="{left + _PLOT_WIDE / 2}" y="{bottom + 44}" text-anchor="middle">step</text>')
    for name, points in lines.items():
        line = " ".join(f"{x},{y}" for x, y in (at(*point) for point in points))
        parts.append(f'<polyline class="{"line" if name in ("", "all") else "kind"}" points="{line}"/>')
    ends = {name: at(*points[-1])[1] for name, points in lines.items() if name and points}
    beside = left + _PLOT_WIDE
    names = [
        f'<path class="lead" d="M{at(*lines[name][-1])[0]} {ends[name]}L{beside + 14} {y:g}"/>'
        f'<text class="name" x="{beside + 18}" y="{y + 4:g}">{name}</text>'
        for name, y in _apart(ends).items()
    ]
    return "\n".join([*parts, *names])


def _apart(places: Mapping[str, float], least: float = 13.0) -> dict[str, float]:
    """Move texts up and down until none covers another: those that do stand in a row, around their middle."""
    rows: list[list[tuple[str, float]]] = []
    for one in sorted(places.items(), key=lambda place: place[1]):
        rows.append([one])
        while len(rows) > 1 and _first(rows[-1], least) < _first(rows[-2], least) + least * len(rows[-2]):
            rows[-2:] = [rows[-2] + rows[-1]]
    return {
        name: round(_first(row, least) + least * number, 1)
        for row in rows
        for number, (name, _) in enumerate(row)
    }


def _first(row: Sequence[tuple[str, float]], least: float) -> float:
    """Return where a row of texts begins that stands around the middle of their places."""
    return sum(y for _, y in row) / len(row) - least * (len(row) - 1) / 2


def main() -> None:
    """Write page and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("logs", type=Path, help="folder of logs")
    parser.add_argument("page", type=Path, help="the page; its figure goes to images/ beside it")
    given = parser.parse_args()
    logs = read_logs(given.logs)
    measured = json.loads((given.logs.parent / MEASURED).read_text(encoding="utf-8"))
    given.page.write_text(card(logs, measured, shipped_sampling()), encoding="utf-8")
    (given.page.parent / FIGURE).write_text(figure(logs[SHIPPED]), encoding="utf-8")


if __name__ == "__main__":
    main()
