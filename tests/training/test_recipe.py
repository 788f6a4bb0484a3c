"""The trainings that the shipped weights come from, by one command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training.recipe import commands, main


def test_each_training_goes_on_from_the_one_before() -> None:
    first, last = commands(Path("weights"))
    assert first[:2] == ["--output", "weights/without-failed"]
    assert "--start" not in first
    assert last[:4] == ["--output", "weights", "--start", "weights/without-failed"]
    assert last[last.index("--capacity") + 1] == "400000"
    assert {"--minutes", "--batch"} <= {*first}


def test_to_try_it_all_is_small() -> None:
    for words in commands(Path("w"), smoke=True):
        assert "--smoke" in words
        assert not {"--minutes", "--batch", "--capacity"} & {*words}
    assert commands(Path("w"), smoke=True)[1][-2:] == ["--failed", "0.15"]


@pytest.mark.models
def test_a_training_that_fails_ends_it(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "taken").write_text("")
    with pytest.raises(SystemExit, match="1"):
        main(["--output", str(tmp_path / "taken"), "--smoke"])


@pytest.mark.models
@pytest.mark.long
def test_the_whole_recipe_on_a_small_network(tmp_path: Path) -> None:
    main(["--output", str(tmp_path), "--smoke"])
    plans = [
        json.loads((folder / "log.json").read_text())["plan"]
        for folder in (tmp_path / "without-failed", tmp_path)
    ]
    assert [plan["start"] for plan in plans] == ["", str(tmp_path / "without-failed")]
    assert [plan.get("failed") for plan in plans] == [0.0, 0.15]
    assert (tmp_path / "tiny.safetensors").stat().st_size > 0
