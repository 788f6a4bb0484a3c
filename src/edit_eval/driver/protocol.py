"""The protocol in use: the benchmark's own, with what the config changes, under an id that names every deviation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from edit_eval.benchmarks import Protocol
from edit_eval.core.headlines import Headline
from edit_eval.core.types import Rubric
from edit_eval.driver.config import Checked
from edit_eval.driver.rubrics import load_rubric

__all__ = ["OFFICIAL", "PARTIAL", "ProtocolInUse", "protocol_in_use"]

OFFICIAL = "+official"
"""End of the id of a run in which everything is as the benchmark's authors have it, and nothing is missing."""

PARTIAL = "+partial"
"""What takes its place where something is missing."""


@dataclass(frozen=True)
class ProtocolInUse:
    """How a run is scored.

    Attributes:
        id: `NAME/vVERSION`, then `+official` or every deviation (`+own-prompts+judge-Qwen3-VL-30B-A3B-Instruct`);
            for a benchmark without headlines of its own, the rubric's name.
        rubrics: as in `benchmarks.Protocol`.
        headlines: likewise.
    """

    id: str
    rubrics: Mapping[str, Rubric]
    headlines: tuple[Headline, ...]


def protocol_in_use(checked: Checked, *, judging: bool) -> ProtocolInUse:
    """Return how this config is scored.

    Args:
        checked: the config.
        judging: whether verdicts will be given; without them the id says nothing of rubric and judge.

    Raises:
        ConfigError: no such rubric.
        DataError: official prompts cannot be read.
    """
    benchmark = checked.benchmark.cls
    name = f"{benchmark.name}/v{benchmark.version}"
    limit = [f"limit-{checked.config.limit}"] if checked.config.limit else []
    config, judge = checked.config.judge, checked.judge
    if not judging or config is None or judge is None:
        return ProtocolInUse("+".join([name, *limit]), {}, ())
    chosen = config.rubric or judge.cls.default_rubric
    if chosen:
        rubric = judge.adapted(checked.params["judge"], load_rubric(chosen))
        return ProtocolInUse("+".join([name, *limit, rubric.name]), {"": rubric}, ())
    protocol: Protocol = benchmark.protocol(checked.params["benchmark"], load_rubric)
    rubrics = {kind: judge.adapted(checked.params["judge"], one) for kind, one in protocol.rubrics.items()}
    if not protocol.headlines:
        names = sorted({rubric.name for rubric in rubrics.values()})
        return ProtocolInUse("+".join([name, *limit, *names]), rubrics, ())
    marks = {rubrics[kind].name.removeprefix(one.name).strip("-") for kind, one in protocol.rubrics.items()}
    deviations = [*protocol.deviations, *sorted(marks - {""}), *limit]
    model = config.model or judge.name
    if model not in protocol.official_judges:
        deviations.append(f"judge-{_short(model)}")
    whole = "+".join([name, *deviations]) if deviations else name + OFFICIAL
    return ProtocolInUse(whole, rubrics, protocol.headlines)


def _short(model: str) -> str:
    """Return the last part of a model's name or path, as a part of an id."""
    return re.sub(r"[^\w.-]+", "-", model.rstrip("/").split("/")[-1]) or "unnamed"
