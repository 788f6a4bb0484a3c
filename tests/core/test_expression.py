"""Overall scores: arithmetic and nothing else; a value or a reason, never a number that is none."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.expression import evaluate, names_in

numbers = st.floats(0, 10, allow_nan=False)


@given(numbers, numbers, numbers)
def test_general_formula(instruction, preservation, quality):
    values = {"instruction": instruction, "preservation": preservation, "quality": quality}
    expected = math.sqrt(min(instruction, preservation) * quality)
    assert evaluate("sqrt(min(instruction, preservation) * quality)", values) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", 8.0),
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("a - b - 1", 5.0),
        ("a / b / 2", 2.0),
        ("-a + 10", 2.0),
        ("mean(a, b, 5)", 5.0),
        ("max(a, b, 3.5)", 8.0),
        ("min(a)", 8.0),
        ("sqrt(a * b)", 4.0),
        ("质量 + 1", 4.0),
    ],
)
def test_values(text, expected):
    assert evaluate(text, {"a": 8, "b": 2, "质量": 3}) == expected


def test_names():
    assert names_in("sqrt(min(instruction, preservation) * quality) + 0 * quality") == {
        "instruction",
        "preservation",
        "quality",
    }
    assert names_in("min(min, 1)") == {"min"}
    assert names_in("1 + 2") == set()


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "a.real",
        "a[0]",
        "[a]",
        "a if a else a",
        "a and b",
        "a < b",
        "lambda: 1",
        "'text'",
        "True",
        "None",
        "1j",
        "a ** 2",
        "a // 2",
        "a % 2",
        "+a",
        "~a",
        "min(*a)",
        "min(a, key=a)",
        "(x := 1)",
        "f'{a}'",
        "sum(a, b)",
        "exec(a)",
        "min()",
        "mean()",
        "sqrt()",
        "sqrt(a, b)",
        "unknown + 1",
        "",
        "  ",
        "a b",
        "1; 2",
        "a = 1",
        "a\n+",
        "\0",
        "9" * 5000,
    ],
)
def test_nothing_else_exists(text):
    with pytest.raises(ValueError):
        evaluate(text, {"a": 4.0, "b": 2.0})


@pytest.mark.parametrize(
    "text",
    ["a / 0", "a / (b - b)", "1e308 * 1e308", "1e308 * 10 - 1e308 * 10", "1" + "0" * 400],
)
def test_no_finite_value(text):
    with pytest.raises(ValueError, match="finite"):
        evaluate(text, {"a": 4.0, "b": 2.0})


def test_root_of_a_negative_number():
    with pytest.raises(ValueError, match=r"negative|finite"):
        evaluate("sqrt(0 - a)", {"a": 4.0})


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("text", ["min(b, a)", "max(a, b)", "b", "b + 0 * a"])
def test_a_score_that_is_no_number_does_not_slip_through(bad, text):
    # min(2, nan) is 2 in Python: the order of the arguments would decide what a sample scores.
    with pytest.raises(ValueError, match="finite"):
        evaluate(text, {"a": bad, "b": 2.0})


@pytest.mark.parametrize(
    "text", ["1" + "+1" * 20_000, "-" * 20_000 + "1", "(" * 2_000 + "1" + ")" * 2_000, "1" + "+1" * 985]
)
def test_depth_is_no_crash(text):
    with contextlib.suppress(ValueError):
        assert evaluate(text, {}) in (1.0, float(text.count("1")))


@given(st.text(alphabet="ab()+-*/,.0123456789 minsqrtea", max_size=30))
def test_any_text_is_a_finite_number_or_a_value_error(text):
    try:
        value = evaluate(text, {"a": 4.0, "b": 2.0})
    except ValueError:
        return
    assert isinstance(value, float)
    assert math.isfinite(value)
