"""The protocol in use: the benchmark's own, with what the config changes, under an id that names every deviation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edit_eval.benchmarks import Protocol
from edit_eval.core.errors import ConfigError
from edit_eval.core.headlines import Headline
from edit_eval.core.types import Rubric, Sample
from edit_eval.driver.config import Checked
from edit_eval.driver.rubrics import load_rubric

__all__ = ["OFFICIAL", "PARTIAL", "ProtocolInUse", "approximations_of", "counted", "protocol_in_use"]

OFFICIAL = "+official"
"""End of the id of a run in which everything is as the benchmark's authors have it, and nothing is missing."""

PARTIAL = "+partial"
"""What takes its place where something is missing."""


_PAIRWISE = "pairwise-v1"


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
    limit += approximations_of(checked.params["editor"])
    config, judge = checked.config.judge, checked.judge
    if not judging or config is None or judge is None:
        return ProtocolInUse("+".join([name, *limit]), {}, ())
    chosen = config.rubric or judge.cls.default_rubric
    if chosen:
        rubric = judge.adapted(checked.params["judge"], load_rubric(chosen))
        parts = [name, *limit, rubric.name, *_compared(rubric, config.against)]
        return ProtocolInUse("+".join(parts), {"": rubric}, ())
    if config.against:
        raise ConfigError(
            f"judge.against: the rubrics of {benchmark.name} compare nothing; set judge.rubric to {_PAIRWISE}"
        )
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


def approximations_of(params: Any) -> list[str]:
    """Return the approximations that an editor's parameters ask for, each with its options, as parts of an id.

    `first_block_cache-threshold-0.08`: an edit that was approximated is not what the benchmark's authors measured.
    """
    wanted: Mapping[str, Mapping[str, Any]] = getattr(params, "approximations", None) or {}
    named = []
    for name, options in sorted(wanted.items()):
        texts = {
            key: "x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            for key, value in sorted(options.items())
        }
        parts = [name, *(f"{key}-{text}" for key, text in texts.items())]
        named.append(re.sub(r"[^\w.-]+", "-", "-".join(parts)))
    return named


def counted(protocol: ProtocolInUse, samples: Iterable[Sample]) -> ProtocolInUse:
    """Return the same with `samples-N-of-M` in its id, where the benchmark of M samples is met by N of them, or by others.

    N are those of the groups that the benchmark knows; where N is M, some groups have too many samples and others too few.
    Where that is the limit's doing, the id says so already.
    """
    tags = {one.id: one.tags for one in samples}
    for headline in protocol.headlines:
        whole = sum(headline.groups.values())
        if headline.dimension or not whole or not all(headline.groups.values()):
            continue
        among = [one for one in tags.values() if headline.where.items() <= one.items()]
        sizes = {**headline.expects, headline.group: headline.groups}
        known = [one for one in among if all(one.get(tag, "") in sizes[tag] for tag in sizes)]
        as_expected = len(known) == len(among) and all(
            Counter(one.get(tag, "") for one in among)[value] == size or not size
            for tag, counts in sizes.items()
            for value, size in counts.items()
        )
        if not as_expected and f"+limit-{len(tags)}+" not in f"{protocol.id}+":
            name = f"+samples-{len(known)}-of-{whole}"
            return replace(protocol, id=protocol.id.removesuffix(OFFICIAL) + name)
    return protocol


def _compared(rubric: Rubric, against: str | None) -> list[str]:
    """Return what the id says of a comparison: that it is one, and with which run. Raises `ConfigError`."""
    if rubric.compares and not against:
        raise ConfigError(
            f"judge.against: is missing; rubric {rubric.name!r} compares with the edits of another run"
        )
    if against and not rubric.compares:
        raise ConfigError(
            f"judge.against: rubric {rubric.name!r} compares nothing; set judge.rubric to {_PAIRWISE}"
        )
    if not against:
        return []
    return [*([] if "pairwise" in rubric.name else ["pairwise"]), f"against-{_short(against)}"]


def _short(model: str) -> str:
    """Return the last part of a model's name or path, as a part of an id."""
    return re.sub(r"[^\w.-]+", "-", model.rstrip("/").split("/")[-1]) or "unnamed"
