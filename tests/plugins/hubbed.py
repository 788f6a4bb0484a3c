"""A benchmark whose data and prompts are on a hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edit_eval.benchmarks import Benchmark, HubData
from edit_eval.core.types import Sample


@dataclass(frozen=True)
class Params:
    prompts: str = ""


class Hubbed(Benchmark):
    """Reads `data/NAME.png` of one repository, and instructions of another."""

    Params = Params
    name = "hubbed"

    @classmethod
    def hub_data(cls, params: Any) -> Sequence[HubData]:
        return (
            HubData("bench/data", files=("data/*.parquet", "data/*.png")),
            HubData("bench/prompts@v2", files=("*.json",), kind="model", into="prompts"),
        )

    @classmethod
    def load(cls, path: Path | None, params: Any, workspace: Path) -> Sequence[Sample]:
        text = (Path(params.prompts) / "p.json").read_text()
        return [
            Sample(id=one.stem, instruction=text, images=(str(one),))
            for one in sorted(path.glob("data/*.png"))
        ]
