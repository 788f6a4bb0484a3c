"""An editor with a model and no library: its edit is the source, once it has seen that it could ask no hub."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

from edit_eval.core.types import HostContext
from edit_eval.editors import Editor

OFFLINE = (
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_DATASETS_OFFLINE",
    "HF_HUB_DISABLE_TELEMETRY",
    "DO_NOT_TRACK",
)


class Weighty(Editor):
    """Needs `config.json` and all weights that its index names."""

    model_file: ClassVar[str] = "config.json"

    def __init__(self, params: Any, context: HostContext) -> None:
        super().__init__(params, context)
        folder = Path(str(context.model))
        json.loads((folder / "config.json").read_text())
        assert all(os.environ[name] == "1" for name in OFFLINE)
        assert urllib.request.proxy_bypass_environment("127.0.0.1")
        assert (folder / "model.safetensors").stat().st_size > 1000

    def edit(self, request, step):
        step(1, 1)
        return request.images[0]


class Odd(Weighty):
    """A model of a layout of its own."""

    hub_files: ClassVar[tuple[str, ...]] = ("ema/weights.pt",)
