"""What verdicts cost, added up; and a budget that no order of replies makes anyone exceed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.driver.rubrics import load_rubric
from edit_eval.driver.spending import Budget, Spent, earlier_than, spent_on
from edit_eval.judges.endpoint import EndpointJudge, EndpointParams

PRICE = {"input": 2.0, "output": 8.0}


def record(tokens_in=0, tokens_out=0, replies=1, attempts=1, cost=None, **more) -> dict:
    facts = {"tokens_in": tokens_in, "tokens_out": tokens_out, "replies": replies, "attempts": attempts}
    return {"verdict": {"facts": facts if cost is None else {**facts, "cost": cost}}, **more}


def test_sums():
    every = [record(100, 10, 1, 3, 0.5), record(50, 5), {"verdict": {"unscored": "error"}}]
    assert spent_on(every) == Spent(2, 4, 150, 15, 0.5)
    assert spent_on([]) == Spent()


def test_what_was_replaced_stays_spent():
    first = record(100, 10, cost=0.5)
    second = {**record(200, 20, cost=1.0), **earlier_than(first)}
    third = {**record(1, 1, cost=0.25), **earlier_than(second)}
    assert spent_on([third]) == Spent(3, 3, 301, 31, 1.75)
    assert earlier_than(None) == earlier_than({"verdict": {}}) == {}


@pytest.mark.parametrize(
    "facts",
    [
        None,
        [],
        "x",
        {"tokens_in": -1, "cost": -2.0},
        {"tokens_in": True, "cost": float("nan")},
        {"replies": 1.5},
    ],
)
def test_what_is_no_number_counts_as_nothing(facts):
    assert spent_on([{"verdict": {"facts": facts}, "earlier": facts}]) == Spent()


def test_the_most_that_a_verdict_may_cost():
    rubric = load_rubric("general-5-v1")
    assert EndpointJudge.most_cost(EndpointParams(), rubric, 1000) is None
    params = EndpointParams(price=PRICE, retries=2, max_new_tokens=100)
    assert EndpointJudge.most_cost(params, rubric, 1000) == pytest.approx(3 * (1000 * 2 + 100 * 8) / 1e6)
    several = EndpointParams(price=PRICE, retries=0, samples=4, temperature=1.0, max_new_tokens=100)
    assert EndpointJudge.most_cost(several, rubric, 1000) == pytest.approx(4 * (1000 * 2 + 100 * 8) / 1e6)
    expected = EndpointParams(price=PRICE, mode="expected")
    asked = EndpointJudge.adapted(expected, rubric)
    assert EndpointJudge.most_cost(expected, asked, 1000) == pytest.approx(3 * (1000 * 2 + 8) / 1e6)


def most_cost(tokens_in: int) -> float:
    return (tokens_in * 2.0 + 500 * 8.0) / 1e6


def test_one_is_asked_alone_until_it_is_known_what_one_costs():
    budget = Budget(1.0, most_cost, [])
    assert (budget.room(0), budget.room(1), budget.is_closed) == (1, 0, False)
    budget.add(record(1000, 100, cost=0.0028))
    assert budget.reserve == most_cost(1000) == 0.006
    assert budget.room(0) == int((1.0 - 0.0028) / 0.006)
    assert budget.room(10) == budget.room(0) - 10


def test_what_earlier_starts_spent_counts():
    kept = [record(1000, 100, cost=0.4, earlier={"cost": 0.3, "replies": 1}), record(10, 1)]
    assert Budget(0.7, most_cost, kept).is_closed
    assert not Budget(0.71, most_cost, kept).is_closed
    line = Budget(0.7, most_cost, kept).closing_line(1)
    assert line.startswith("judge.budget: 0.7 of 0.7 is spent; 1 edit is left unjudged: raise judge.budget")
    line = Budget(0.703, most_cost, kept).closing_line(7)
    assert "0.7 of 0.703 is spent, and one more verdict may cost 0.006; 7 edits are left unjudged" in line


def test_a_price_of_nothing_holds_nobody_back():
    budget = Budget(1e-9, lambda _tokens: 0.0, [record(1000, 100, cost=0.0)])
    assert budget.room(1000) > 1_000_000


@given(
    st.floats(0.01, 1.0),
    st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 500), st.integers(0, 3)), max_size=300),
)
def test_no_budget_is_exceeded_whatever_comes_in_whatever_order(limit, replies):
    """Each reply has at most as many tokens as the first; `behind`: how many others are answered before it."""
    first = record(1000, 500, cost=most_cost(1000))
    budget, flying, spent = Budget(limit, most_cost, [first]), [], most_cost(1000)
    for tokens_in, tokens_out, behind in replies:
        if budget.room(len(flying)):
            flying.append((tokens_in, tokens_out))
        while len(flying) > behind * 5:
            one_in, one_out = flying.pop()
            cost = (one_in * 2.0 + one_out * 8.0) / 1e6
            budget.add(record(one_in, one_out, cost=cost))
            spent += cost
    spent += sum((one_in * 2.0 + one_out * 8.0) / 1e6 for one_in, one_out in flying)
    assert spent <= max(limit, most_cost(1000)) + 1e-9
