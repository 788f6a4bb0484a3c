"""Overall scores as small arithmetic expressions: `sqrt(min(instruction, preservation) * quality)`.

Only numbers, names, `+ - * /` and these functions exist; nothing is ever executed as Python:

min, max, mean, sqrt
geomean(a, b, ...)   geometric mean of numbers that are not negative
equal(a, b, ...)     1 if all are the same number, else 0
choose(c, a, b)      a if c is not 0, else b
digits(a, n)         a rounded to n decimal places, halves to even, as Python's round
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence

__all__ = ["evaluate", "names_in"]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _geomean(values: Sequence[float]) -> float:
    if any(value < 0 for value in values):
        raise ValueError("geometric mean of a negative number")
    return math.prod(values) ** (1.0 / len(values))


def _equal(values: Sequence[float]) -> float:
    return float(all(value == values[0] for value in values))


def _choose(values: Sequence[float]) -> float:
    return values[1] if values[0] else values[2]


def _digits(values: Sequence[float]) -> float:
    return round(values[0], int(values[1]))


_FUNCTIONS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "max": max,
    "mean": _mean,
    "sqrt": lambda values: math.sqrt(values[0]),
    "geomean": _geomean,
    "equal": _equal,
    "choose": _choose,
    "digits": _digits,
}
_ARGUMENTS: Mapping[str, int] = {"sqrt": 1, "choose": 3, "digits": 2}
"""How many arguments a function takes; the others take one or more."""

_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
}


def _parse(expression: str) -> ast.expr:
    try:
        return ast.parse(expression, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"not an expression: {expression!r}") from error


def names_in(expression: str) -> set[str]:
    """Return the dimension names that `expression` uses. Raises `ValueError` if it is no expression."""
    tree = _parse(expression)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}


def evaluate(expression: str, values: Mapping[str, float]) -> float:
    """Return the finite value of `expression`.

    Args:
        expression: the text.
        values: a number for each name used.

    Raises:
        ValueError: unknown name, function or syntax, or a value that is not finite, given or resulting (division
            by zero, root of a negative).
    """
    if not all(map(math.isfinite, values.values())):
        raise ValueError(f"{dict(values)} holds a value that is not finite")
    try:
        result = _value(_parse(expression), values)
    except RecursionError as error:
        raise ValueError(f"nested too deeply: {expression!r}") from error
    except (ZeroDivisionError, OverflowError) as error:
        raise ValueError(f"{expression!r} has no finite value for {dict(values)}") from error
    if not math.isfinite(result):
        raise ValueError(f"{expression!r} has no finite value for {dict(values)}")
    return result


def _value(node: ast.expr, values: Mapping[str, float]) -> float:
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, (int, float))
        and not isinstance(node.value, bool)
    ):
        return float(node.value)
    if isinstance(node, ast.Name):
        if node.id not in values:
            raise ValueError(f"unknown dimension {node.id!r}")
        return float(values[node.id])
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, values)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _call(node.func.id, [_value(argument, values) for argument in node.args])
    raise ValueError(f"not allowed in an expression: {ast.unparse(node)!r}")


def _call(name: str, arguments: Sequence[float]) -> float:
    if name not in _FUNCTIONS:
        raise ValueError(f"unknown function {name!r}; there are {', '.join(sorted(_FUNCTIONS))}")
    if not arguments or len(arguments) != _ARGUMENTS.get(name, len(arguments)):
        raise ValueError(f"{name}() has a wrong number of arguments")
    if name == "sqrt" and arguments[0] < 0:
        raise ValueError(f"root of a negative number: sqrt({arguments[0]:g})")
    return _FUNCTIONS[name](arguments)
