"""An editor that floods its standard output, also with sequences that would wreck a terminal."""

from __future__ import annotations

import os
from dataclasses import dataclass

from edit_eval.core.types import EditRequest, StepCallback
from edit_eval.editors import Editor

LINE = b"FLOOD \x1b[2J\x1b[?25h\x1b]0;title\x07 100%|####| \r\n"


@dataclass(frozen=True)
class Params:
    megabytes: int = 1


class FloodingEditor(Editor):
    """Writes `megabytes` of lines to each of standard output and error, in ten steps."""

    Params = Params

    def edit(self, request: EditRequest, step: StepCallback):
        part = LINE * (self.params.megabytes * 100_000 // len(LINE))
        for number in range(1, 11):
            for descriptor in (1, 2):
                view = memoryview(part)
                while view:
                    view = view[os.write(descriptor, view) :]
            step(number, 10)
        return request.images[0].transpose(0)
