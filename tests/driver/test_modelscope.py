"""ModelScope through its own library and a server on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_modelscope import FakeModelScope
from harness import make_benchmark
from repositories import SPARE, pipeline

from edit_eval.core.errors import ModelError, UserError
from edit_eval.driver.config import check_config, read_tree
from edit_eval.driver.fetch import Fetcher
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.hubcache import open_cache
from edit_eval.driver.hubs import Watch
from edit_eval.driver.models import find_model, resolve_model

EDITOR = "Qwen/Edit"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    config = pytest.importorskip("modelscope_hub.config")
    monkeypatch.chdir(tmp_path)
    for name in ("MODELSCOPE_DOMAIN", "MODELSCOPE_API_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "home"))
    config.set_default_config(None)
    with FakeModelScope() as running:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", running.url)
        yield running
    config.set_default_config(None)


def checked(tmp_path: Path, **changes):
    benchmark = tmp_path / "data" / "samples.jsonl"
    if not benchmark.exists():
        make_benchmark(tmp_path / "data", ["x"])
    editor = {"type": "qwen_image_edit", "model": EDITOR, "hub": "modelscope", **changes}
    tree = {"benchmark": {"type": "folder", "path": str(benchmark)}, "editor": editor}
    return check_config(read_tree(None, base=tree))


def fetch(tmp_path: Path, **changes) -> None:
    with FileHashes(tmp_path / "hashes.tsv") as hashes:
        counts: list[int] = []
        fetcher = Fetcher(checked(tmp_path, **changes), hashes, Watch(advance=counts.append, pause_s=0.01))
        plan = fetcher.plan()
        fetcher.fetch(plan)
        assert sum(counts) == plan.bytes_left


def found(name: str = EDITOR) -> Path:
    return find_model("editor.model", name, "model_index.json", open_cache("modelscope"))


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(one.relative_to(folder)): one.read_bytes()
        for one in folder.rglob("*")
        if one.is_file() and not one.name.startswith(".")
    }


def test_only_what_is_needed_is_brought_and_a_run_finds_it(hub, tmp_path):
    hub.add(EDITOR, {**pipeline(), **SPARE})
    fetch(tmp_path)
    assert files_below(found()) == pipeline()
    assert found() == tmp_path / "cache" / "models" / "Qwen--Edit" / "snapshots" / "master"
    with FileHashes(tmp_path / "hashes.tsv") as hashes:
        model = resolve_model(
            "editor.model", EDITOR, "model_index.json", hashes, cache=open_cache("modelscope")
        )
        copy = tmp_path / "copy"
        found().rename(copy)
        (copy / ".edit-eval-record").unlink()
        assert resolve_model("editor.model", str(copy), "model_index.json", hashes).identity == model.identity


def test_a_connection_that_breaks_is_gone_on_with(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    hub.fault("00001-of-00002", cut=5000)
    fetch(tmp_path)
    assert files_below(found()) == pipeline()
    assert "bytes=5000-" in [headers.get("range") for _, _, headers in hub.asked]


def test_wrong_bytes_leave_no_model_and_an_older_one_is_not_taken_for_whole(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("modelscope_hub._download.DOWNLOAD_INTEGRITY_RETRY_BACKOFF", 0.0)
    hub.add(EDITOR, pipeline(1))
    fetch(tmp_path)
    hub.add(EDITOR, pipeline(2))
    size = len(pipeline()["vae/diffusion_pytorch_model.safetensors"])
    hub.fault("vae%2Fdiffusion", 99, body=b"?" * size)
    hub.fault("vae/diffusion", 99, body=b"?" * size)
    with pytest.raises(UserError, match="came with another size or hash than the hub says"):
        fetch(tmp_path)
    with pytest.raises(ModelError, match="is incomplete: its last fetch has not ended"):
        found()
    hub.faults.clear()
    fetch(tmp_path)
    assert files_below(found()) == pipeline(2)


def test_what_is_not_there(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    with pytest.raises(UserError, match=r"editor.model: there is no Qwen/None at http://127.0.0.1:"):
        fetch(tmp_path, model="Qwen/None")
    with pytest.raises(
        ModelError, match=r"Qwen/Edit is not on this machine \(looked in .*cache\); run 'edit-eval"
    ):
        found()


def test_what_older_releases_of_the_library_left_is_found(hub, tmp_path):
    folder = tmp_path / "cache" / "models" / "Qwen" / "Edit-2___5"
    for path, data in pipeline().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    assert found("Qwen/Edit-2.5") == folder
    (folder / "vae" / "x.safetensors.incomplete").touch()
    with pytest.raises(ModelError, match=r"a download of Qwen/Edit-2\.5 has not ended"):
        found("Qwen/Edit-2.5")


def test_without_its_library(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=r"hub: modelscope needs its library; pip install 'edit-eval\[modelscope\]'"
    ):
        fetch(tmp_path)
