"""The tree of errors, and the hints in them."""

from __future__ import annotations

import re

import pytest

from edit_eval.core import errors
from edit_eval.core.errors import ConfigError, EditEvalError, RunFailed, UserError, did_you_mean


def test_the_tree_is_the_one_drawn_in_the_docstring():
    drawn = re.findall(r"── (\w+)", errors.__doc__)
    raised = [name for name in errors.__all__ if name not in ("EditEvalError", "did_you_mean", "shown")]
    assert sorted(drawn) == sorted(raised)
    for name in raised:
        assert issubclass(getattr(errors, name), EditEvalError)


def test_what_the_user_can_mend_is_apart_from_what_we_did():
    assert not issubclass(RunFailed, UserError)
    for name in ("ConfigError", "DataError", "ModelError", "DeviceError", "RunError"):
        assert issubclass(getattr(errors, name), UserError)


def test_a_config_error_keeps_every_problem():
    both = ConfigError(["a: is missing", "b: unknown key"])
    assert both.problems == ["a: is missing", "b: unknown key"]
    assert str(both) == "a: is missing; b: unknown key"
    assert ConfigError("one").problems == ["one"]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("bech", " (did you mean 'batch'?)"),
        ("batch", " (did you mean 'batch'?)"),
        ("zzzz", ""),
        ("", ""),
    ],
)
def test_did_you_mean(word, hint):
    assert did_you_mean(word, ["batch", "device"]) == hint
    assert did_you_mean(word, []) == ""
