"""What verdicts cost: replies, tokens and money, added up over a run directory; and the budget that ends the judging.

Reads what the ledger's records of verdicts say (`verdict.facts`, and `earlier`: the same of records that this one
replaced, for what was spent stays spent). Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Budget", "Spent", "cost_in", "earlier_than", "spent_on"]


@dataclass(frozen=True)
class Spent:
    """What was spent on verdicts.

    Attributes:
        replies: of the judge, those that gave no score included.
        attempts: how often it was asked for them; an endpoint may be busy.
        tokens_in: of the questions, with their images.
        tokens_out: of the replies.
        cost: in the currency of the price; None where no verdict was given at a price.
    """

    replies: int = 0
    attempts: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float | None = None


_COUNTS = ("replies", "attempts", "tokens_in", "tokens_out")


def spent_on(records: Iterable[Mapping[str, Any]]) -> Spent:
    """Return what the verdicts of a ledger's records cost, those that they replaced included.

    A ledger may hold anything: what is no number in it counts as nothing.
    """
    counts, costs = dict.fromkeys(_COUNTS, 0), []
    for facts in _facts(records):
        for name in _COUNTS:
            value = facts.get(name)
            if type(value) is int and value > 0:  # no bool
                counts[name] += value
        cost = cost_in(facts)
        if cost is not None:
            costs.append(cost)
    return Spent(**counts, cost=math.fsum(costs) if costs else None)


def _facts(records: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for record in records:
        for facts in (record["verdict"].get("facts"), record.get("earlier")):
            if facts and isinstance(facts, Mapping):
                yield facts


def cost_in(facts: Any) -> float | None:
    """Return the cost that a verdict's facts say; None if they say none, or no amount of money."""
    cost = facts.get("cost") if isinstance(facts, Mapping) else None
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < _MOST:
        return None
    return float(cost)


_MOST = 1e12


def earlier_than(record: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a record that replaces this one says of it: `earlier`, or nothing if it cost nothing."""
    before = spent_on([record] if record else [])
    return {} if before == Spent() else {"earlier": asdict(before)}


class Budget:
    """How many verdicts may still be asked for, so that not more than `limit` is spent in a run directory.

    A verdict that is under way counts with the most that it may cost: every question asked as often as may be, with as
    many tokens as any question has had, and every reply of full length. As long as no question is known, one verdict is
    asked for alone, to learn how large they are; that one alone is not foreseen.

    Args:
        limit: money.
        most_cost: tokens of a question -> the most that a verdict may cost.
        records: of the verdicts that the directory holds.
    """

    def __init__(
        self, limit: float, most_cost: Callable[[int], float], records: Iterable[Mapping[str, Any]]
    ) -> None:
        every = list(records)
        self.limit = limit
        self._most_cost = most_cost
        self._tokens_in = max((_tokens_of_a_question(record) for record in every), default=0)
        self.spent = spent_on(every).cost or 0.0

    def add(self, record: Mapping[str, Any]) -> None:
        """Count a verdict that was just given; what it replaced is counted already."""
        self._tokens_in = max(self._tokens_in, _tokens_of_a_question(record))
        self.spent += cost_in(record["verdict"].get("facts")) or 0.0

    @property
    def reserve(self) -> float:
        """The most that one more verdict may cost; 0 as long as that is not known."""
        return self._most_cost(self._tokens_in) if self._tokens_in else 0.0

    def room(self, in_flight: int) -> int:
        """Return how many more may be asked for beside those under way; never negative."""
        left = self.limit - self.spent
        if not self._tokens_in:
            return max(0, 1 - in_flight) if left > 0 else 0
        if not self.reserve:
            return 1 << 30  # a price of nothing
        return max(0, int(left / self.reserve + 1e-9) - in_flight)

    @property
    def is_closed(self) -> bool:
        """Whether not even one more verdict may be asked for."""
        return self.room(0) == 0

    def closing_line(self, left: int) -> str:
        """Return what is to be said of the `left` edits that stay unjudged."""
        most = f", and one more verdict may cost {self.reserve:.4g}" if self.spent < self.limit else ""
        return (
            f"judge.budget: {self.spent:.4g} of {self.limit:g} is spent{most}; {left} edit{'s are' if left != 1 else ' is'} "
            "left unjudged: raise judge.budget and give the same command again"
        )


def _tokens_of_a_question(record: Mapping[str, Any]) -> int:
    """Return how many tokens a question of this verdict had, on average and rounded up; 0 if it does not say."""
    said = spent_on([{"verdict": record["verdict"]}])
    return -(-said.tokens_in // said.replies) if said.replies else 0
