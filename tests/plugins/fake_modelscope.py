"""ModelScope's hub over real HTTP on loopback: its listings and files, as its own library asks for them."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fake_hub import FakeHub, Fault, _Handler


class FakeModelScope(FakeHub):
    """As `FakeHub`, with branches called master; `url` is what `MODELSCOPE_ENDPOINT` gets."""

    def __init__(self) -> None:
        super().__init__()
        self._servers[0].RequestHandlerClass = _ModelScope

    def add(self, name: str, files: Any, *, branch: str = "master", **more: Any) -> str:
        return super().add(name, files, branch=branch, **more)


class _ModelScope(_Handler):
    def serve(self, fault: Fault | None) -> None:
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        parts = address.path.strip("/").split("/")
        if parts[:3] != ["api", "v1", "models"] or "repo" not in parts:
            self._json(404, {"Code": 404, "Message": "not found"})
            return
        repository = self.hub.repositories.get(("model", "/".join(parts[3:5])))
        commit = repository and repository.refs.get(query.get("Revision", "master"))
        if not repository or not commit:
            self._json(404, {"Code": 10010205001, "Message": "record not found", "Success": False})
            return
        files = repository.commits[commit]
        if parts[5:] == ["repo", "files"]:
            entries = [
                {
                    "Path": path,
                    "Name": path.rpartition("/")[2],
                    "Size": len(data),
                    "Sha256": hashlib.sha256(data).hexdigest(),
                    "Type": "blob",
                }
                for path, data in files.items()
            ]
            self._json(200, {"Code": 200, "Success": True, "Data": {"Files": entries}})
        elif (data := files.get(query.get("FilePath", ""))) is not None:
            self.send(200, fault.body if fault and fault.body is not None else data, fault=fault)
        else:
            self._json(404, {"Code": 404, "Message": "no such file"})

    def _json(self, status: int, value: Any) -> None:
        self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})
