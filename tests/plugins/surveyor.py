"""An editor that says where it stands: what its sample's instruction names is done, and written down.

`env:FILE` writes its environment as JSON; `get:URL` asks a server through urllib; `temp:FILE` leaves a temporary file
behind and writes its path; `user:FILE` writes what getpass and the home folder say. Parts are joined by ` + `.
"""

from __future__ import annotations

import getpass
import json
import os
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from edit_eval.core.types import EditRequest, StepCallback
from edit_eval.editors import Editor


@dataclass(frozen=True)
class Params:
    pass


class Surveyor(Editor):
    Params = Params

    def edit(self, request: EditRequest, step: StepCallback):
        for part in request.instruction.split(" + "):
            what, _, where = part.partition(":")
            if what == "get":
                with urllib.request.urlopen(where, timeout=10) as answer:
                    assert answer.read() == b"here"
            elif what == "env":
                Path(where).write_text(json.dumps(dict(os.environ)))
            elif what == "temp":
                descriptor, path = tempfile.mkstemp()
                os.close(descriptor)
                Path(where).write_text(path)
            elif what == "user":
                Path(where).write_text(json.dumps([getpass.getuser(), str(Path.home())]))
        return request.images[0]
