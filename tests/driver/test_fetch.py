"""What fetch brings, from a hub over real HTTP: only what is needed, resumed, verified, visible when it is whole."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import threading
import time
import types
import zipfile
from pathlib import Path

import pytest
import yaml
from fake_github import FakeGitHub
from fake_hub import FakeHub, git_sha1
from harness import make_benchmark
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from public import table
from repositories import SPARE, judge, pipeline, tensor_file

from edit_eval.benchmarks import Benchmark, GitHubFiles
from edit_eval.benchmarks.imgedit import ImgEdit
from edit_eval.benchmarks.unicbench import UnicBench
from edit_eval.benchmarks.unireditbench import UniREditBench
from edit_eval.core.errors import DataError, ModelError, UserError
from edit_eval.core.types import Sample
from edit_eval.driver.config import check_config, read_tree
from edit_eval.driver.fetch import Fetcher, FetchPlan
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.hubcache import open_cache
from edit_eval.driver.hubdata import find_data
from edit_eval.driver.hubs import Stopped, Watch
from edit_eval.driver.huggingface import settle_environment
from edit_eval.driver.models import find_lora, find_model, resolve_model
from edit_eval.views.fetch import config_text, fetch_text

EDITOR, JUDGE = "Qwen/Edit", "Qwen/Judge"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    from huggingface_hub import constants

    monkeypatch.setattr(
        constants, "HF_HUB_DISABLE_TELEMETRY", True
    )  # as the command sets it before the import
    with FakeHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", "")
        yield running


class Told(Watch):
    """A watch that remembers, and does not wait long."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0
        super().__init__(advance=self._count, say=self.lines.append, pause_s=0.01)

    def _count(self, count: int) -> None:
        self.count += count


def checked(tmp_path: Path, **changes):
    """Return a config of an editor and, with `judge=...`, a judge."""
    benchmark = tmp_path / "data" / "samples.jsonl"
    if not benchmark.exists():
        make_benchmark(tmp_path / "data", ["x"])
    tree = {
        "benchmark": {"type": "folder", "path": str(benchmark)},
        "editor": {"type": "qwen_image_edit", "model": EDITOR, **changes.pop("editor", {})},
        **changes,
    }
    return check_config(read_tree(None, base=tree))


def fetch(tmp_path: Path, watch: Watch | None = None, **changes) -> FetchPlan:
    with FileHashes(tmp_path / "hashes.tsv") as hashes:
        fetcher = Fetcher(checked(tmp_path, **changes), hashes, watch or Told())
        plan = fetcher.plan()
        fetcher.refuse_too_large(plan)
        fetcher.fetch(plan)
        return plan


def refused(tmp_path: Path, watch: Watch | None = None, **changes) -> str:
    with pytest.raises(UserError) as caught:
        fetch(tmp_path, watch, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def folder_of(cache: Path, repository: str = EDITOR, kind: str = "models") -> Path:
    return cache / f"{kind}--{repository.replace('/', '--')}"


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def found(name: str = EDITOR, model_file: str = "model_index.json") -> Path:
    return find_model("editor.model", name, model_file)


def nothing_is_visible(name: str = EDITOR) -> bool:
    with pytest.raises(ModelError, match="is not on this machine"):
        found(name)
    return True


# What is brought


def test_only_what_is_needed_is_brought_and_a_run_finds_it(hub, tmp_path):
    commit = hub.add(EDITOR, {**pipeline(), **SPARE})
    told = Told()
    plan = fetch(tmp_path, told)
    assert files_below(found()) == pipeline()
    assert found() == folder_of(tmp_path / "cache") / "snapshots" / commit
    assert (folder_of(tmp_path / "cache") / "refs" / "main").read_text() == commit
    assert all(one.is_symlink() for one in found().rglob("*") if not one.is_dir())
    assert not list((tmp_path / "cache").rglob("*.incomplete"))
    assert plan.items[0].bytes == sum(map(len, pipeline().values()))
    with FileHashes(tmp_path / "hashes.tsv") as hashes:
        model = resolve_model("editor.model", EDITOR, "model_index.json", hashes)
    assert model.identity == {"repository": EDITOR, "commit": commit}


def test_blobs_are_where_the_hubs_own_library_looks_for_them(hub, tmp_path):
    from huggingface_hub import try_to_load_from_cache

    commit = hub.add(EDITOR, pipeline())
    fetch(tmp_path)
    blobs = folder_of(tmp_path / "cache") / "blobs"
    for path, data in pipeline().items():
        name = hashlib.sha256(data).hexdigest() if len(data) >= 4096 else git_sha1(data)
        assert (blobs / name).read_bytes() == data
        there = try_to_load_from_cache(EDITOR, path, cache_dir=tmp_path / "cache")
        assert there == str(found() / path)
    assert commit in there


def test_a_second_fetch_asks_for_listings_only(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    fetch(tmp_path)
    hub.asked.clear()
    told = Told()
    assert fetch(tmp_path, told).bytes_left == 0
    assert [path.partition("?")[0] for path in hub.paths()] == [f"/api/models/{EDITOR}"]
    assert told.count == 0


def test_a_judge_and_what_transformers_reads(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    spare = {
        "onnx/model.onnx": b"x" * 9000,
        "pytorch_model.bin": b"x" * 9000,
        "model.fp16.safetensors": b"x" * 9000,
    }
    more = {"consolidated.00.pth": b"y" * 9000, "additional_chat_templates/tool.jinja": b"t"}
    hub.add(JUDGE, {**judge(), **spare, **more})
    fetch(tmp_path, judge={"type": "qwen3_vl", "model": JUDGE})
    there = files_below(found(JUDGE, "config.json"))
    assert there == {**judge(), "additional_chat_templates/tool.jinja": b"t"}


def test_sizes_come_before_anything_large(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    with FileHashes(tmp_path / "hashes.tsv") as hashes:
        plan = Fetcher(checked(tmp_path), hashes, Told()).plan()
    weights = sum(len(data) for data in pipeline().values() if len(data) >= 4096)
    assert plan.bytes_left == weights
    assert all("safetensors?" not in path for path in hub.paths())
    assert nothing_is_visible()


def test_a_kind_that_names_its_files(hub, tmp_path):
    files = {"config.json": b"{}", "ema/weights.pt": SHARD, "ema/other.pt": SHARD[::-1], "notes.txt": b"x"}
    hub.add("me/odd", files)
    fetch(tmp_path, editor={"type": "weighty_offline:Odd", "model": "me/odd"})
    assert set(files_below(found("me/odd", "config.json"))) == {"config.json", "ema/weights.pt"}


def test_a_layout_that_no_library_prescribes(hub, tmp_path):
    files = {"config.json": b"{}", "unet/a.safetensors": SHARD, "unet/a.ckpt": b"x", "x/y/b.pt": SHARD[::-1]}
    hub.add("me/odd", files)
    fetch(tmp_path, editor={"type": "weighty_offline:Weighty", "model": "me/odd"})
    assert set(files_below(found("me/odd", "config.json"))) == {
        "config.json",
        "unet/a.safetensors",
        "x/y/b.pt",
    }


def test_a_folder_of_the_users(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    fetch(tmp_path, hub_cache=str(tmp_path / "disk"))
    assert nothing_is_visible()
    cache = open_cache("huggingface", str(tmp_path / "disk"))
    assert find_model("editor.model", EDITOR, "model_index.json", cache).is_dir()


def test_the_same_blob_twice_is_fetched_once(hub, tmp_path):
    files = pipeline()
    files["vae/diffusion_pytorch_model.safetensors"] = files[
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors"
    ]
    hub.add(EDITOR, files)
    plan = fetch(tmp_path)
    assert plan.items[0].bytes < sum(map(len, files.values()))
    assert files_below(found()) == files


def test_models_on_this_machine_are_not_asked_for(hub, tmp_path):
    (tmp_path / "own").mkdir()
    plan = fetch(tmp_path, editor={"model": str(tmp_path / "own")})
    assert plan.local == [("editor.model", str(tmp_path / "own"))]
    assert hub.asked == []


# Revisions


def test_a_branch_a_tag_a_commit_and_its_beginning(hub, tmp_path):
    old = hub.add(EDITOR, pipeline(1), branch="v1.0")
    new = hub.add(EDITOR, pipeline(2))
    branch = hub.add(EDITOR, pipeline(3), branch="refs/pr/3")
    fetch(tmp_path)
    assert found().name == new
    for name, commit in (("v1.0", old), (old, old), ("refs/pr/3", branch)):
        fetch(tmp_path, editor={"model": f"{EDITOR}@{name}"})
        assert found(f"{EDITOR}@{name}").name == commit
    assert found(f"{EDITOR}@{old[:8]}").name == old
    assert found().name == new


def test_a_branch_that_moves_is_followed_by_fetch_and_by_nothing_else(hub, tmp_path):
    old = hub.add(EDITOR, pipeline(1))
    fetch(tmp_path)
    new = hub.add(EDITOR, pipeline(2))
    assert found().name == old
    fetch(tmp_path)
    assert found().name == new
    assert found(f"{EDITOR}@{old}").name == old


def test_an_unknown_revision(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    text = refused(tmp_path, editor={"model": f"{EDITOR}@v9"})
    assert text == f"editor.model: {EDITOR} has no branch, tag or commit 'v9'"


# Broken connections


def large(hub: FakeHub) -> str:
    """Return a word that the addresses of one large file hold."""
    return "transformer/diffusion_pytorch_model-00001"


def ranges(hub: FakeHub) -> list[str]:
    return [headers["range"] for _, path, headers in hub.asked if "range" in headers and "signature" in path]


@pytest.mark.parametrize("times", [1, 5])
def test_a_connection_that_breaks_is_gone_on_with(hub, tmp_path, times):
    hub.add(EDITOR, pipeline())
    hub.fault(large(hub), times, cut=1000, method="GET")
    hub.faults[-1].match = "diffusion_pytorch_model-00001-of-00002.safetensors?signature"
    told = Told()
    fetch(tmp_path, told)
    assert files_below(found()) == pipeline()
    assert ranges(hub) == [f"bytes={1000 * (k + 1)}-" for k in range(times)]
    assert told.count == sum(len(one) for one in pipeline().values() if len(one) >= 4096)


def test_a_server_that_knows_no_ranges(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    match = "00001-of-00002.safetensors?signature"
    hub.fault(match, 1, cut=1000)
    hub.fault(match, 1, ignore_range=True)
    told = Told()
    fetch(tmp_path, told)
    assert files_below(found()) == pipeline()
    assert told.count == sum(len(one) for one in pipeline().values() if len(one) >= 4096)


def test_a_connection_that_never_brings_anything(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    hub.fault("00001-of-00002.safetensors?signature", 100, cut=0)
    text = refused(tmp_path)
    assert text.startswith("editor.model: the connection to http://127.0.0.1:")
    assert text.endswith("; try again: what was fetched stays")
    assert nothing_is_visible()
    assert len([path for path in hub.paths() if "00001-of-00002.safetensors?sig" in path]) == 8


def growing(tmp_path: Path, data: bytes) -> Path:
    """Return the path at which an earlier fetch would have left a part of `data`."""
    blobs = folder_of(tmp_path / "cache") / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    return blobs / f"{hashlib.sha256(data).hexdigest()}.incomplete"


SHARD = pipeline()["transformer/diffusion_pytorch_model-00001-of-00002.safetensors"]


@pytest.mark.parametrize(
    ("left", "asks"),
    [
        (SHARD[:5000], ["bytes=5000-"]),
        (SHARD, []),
        (b"", []),
        (b"?" * 5000, ["bytes=5000-"]),  # of another file: the hash tells, and all of it is fetched
        (b"?" * len(SHARD), []),
        (SHARD + b"more", []),
    ],
)
def test_what_an_earlier_fetch_left(hub, tmp_path, left, asks):
    hub.add(EDITOR, pipeline())
    growing(tmp_path, SHARD).write_bytes(left)
    told = Told()
    plan = fetch(tmp_path, told)
    assert files_below(found()) == pipeline()
    assert ranges(hub) == asks
    assert told.count == plan.bytes_left
    assert not list((tmp_path / "cache").rglob("*.incomplete"))


def test_stopped_in_the_middle_and_gone_on_with(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    hub.fault("00001-of-00002.safetensors?signature", slow_s=0.05)
    told = Told()

    def stop_in_the_middle(_count: int) -> None:
        path = growing(tmp_path, SHARD)
        if path.exists() and path.stat().st_size:
            told.stop.set()

    told.advance = stop_in_the_middle
    with pytest.raises(Stopped):
        fetch(tmp_path, told)
    assert nothing_is_visible()
    left = growing(tmp_path, SHARD).stat().st_size
    assert 0 < left < len(SHARD)
    fetch(tmp_path)
    assert files_below(found()) == pipeline()
    assert f"bytes={left}-" in ranges(hub)


# Wrong bytes


def test_wrong_bytes_are_deleted_and_named_and_nothing_is_visible(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    hub.fault("00002-of-00002.safetensors?signature", 9, body=b"?" * len(SHARD))
    text = refused(tmp_path)
    assert (
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors of Qwen/Edit came with another hash"
        in text
    )
    assert nothing_is_visible()
    assert not [
        one for one in (tmp_path / "cache").rglob("*") if one.is_file() and b"?" * 100 in one.read_bytes()
    ]
    hub.faults.clear()
    fetch(tmp_path)
    assert files_below(found()) == pipeline()


def test_a_small_file_with_wrong_bytes(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    hub.fault("vae/config.json", 9, method="GET", body=b"[]")
    assert "vae/config.json of Qwen/Edit came with another hash" in refused(tmp_path)
    assert nothing_is_visible()


def test_more_bytes_than_there_should_be(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    hub.fault("00002-of-00002.safetensors?signature", 9, body=SHARD + b"more")
    assert "is longer than the hub says" in refused(tmp_path)
    assert nothing_is_visible()


def test_a_listing_that_the_files_do_not_fit(hub, tmp_path):
    commit = hub.add(EDITOR, pipeline())
    real = hub.repositories["model", EDITOR].commits[commit]
    told = Told()
    told.say = lambda _text: None

    class Grown(dict):
        def items(self):
            return [(path, data + b"x" if "00002" in path else data) for path, data in super().items()]

    hub.repositories["model", EDITOR].commits[commit] = Grown(real)
    text = refused(tmp_path, told)
    assert f"has {len(SHARD):,} bytes at http://127.0.0.1:" in text
    assert f"instead of {len(SHARD) + 1:,}" in text


def test_a_damaged_blob_is_fetched_again(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    fetch(tmp_path)
    blob = (found() / "vae/diffusion_pytorch_model.safetensors").resolve()
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    told = Told()
    fetch(tmp_path, told)
    assert told.lines == [
        "vae/diffusion_pytorch_model.safetensors of Qwen/Edit was damaged; fetching it again"
    ]
    assert files_below(found()) == pipeline()


@pytest.mark.parametrize("path", ["../../../evil", "/etc/evil", "a//b", "transformer/../../evil", "."])
def test_a_mirror_that_lists_paths_outside(hub, tmp_path, path):
    hub.add(EDITOR, {**pipeline(), path: b"evil"})
    assert "is no file of a repository" in refused(tmp_path)
    assert not list(tmp_path.rglob("evil"))


# Never half a model


def test_a_newer_commit_that_does_not_arrive_leaves_the_older_one(hub, tmp_path):
    old = hub.add(EDITOR, pipeline(1))
    fetch(tmp_path)
    hub.add(EDITOR, pipeline(2))
    hub.fault("vae/diffusion_pytorch_model.safetensors?signature", 100, status=404)
    assert "answers 404" in refused(tmp_path)
    assert found().name == old
    assert files_below(found()) == pipeline(1)


def test_a_file_that_vanishes_later_is_noticed(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    fetch(tmp_path)
    (found() / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(
        ModelError, match=r"is incomplete: scheduler/scheduler_config.json is missing; run 'edit-eval"
    ):
        found()
    fetch(tmp_path)
    assert files_below(found()) == pipeline()


def test_a_download_of_others_that_goes_on_beside_it_is_no_fault(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    fetch(tmp_path)
    (folder_of(tmp_path / "cache") / "blobs" / "abc.incomplete").touch()
    assert found()


# Refusals


def test_a_repository_that_is_not_there(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    text = refused(tmp_path, editor={"model": "Qwen/Edti"})
    assert text.startswith(
        f"editor.model: there is no Qwen/Edti at {hub.url}; or it is private: then set HF_TOKEN"
    )
    assert text.endswith("(did you mean 'Qwen/Edit'?)")


def test_a_private_one(hub, tmp_path, monkeypatch):
    hub.add(EDITOR, pipeline(), private=True)
    assert "or it is private: then set HF_TOKEN" in refused(tmp_path)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    fetch(tmp_path)
    assert found()


def test_a_gated_one(hub, tmp_path, monkeypatch):
    hub.add(EDITOR, pipeline(), gated=True)
    gated = f"editor.model: {EDITOR} is gated; accept its licence at https://huggingface.co/{EDITOR}, "
    assert refused(tmp_path) == f"{gated}then set HF_TOKEN to a token of yours"
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert refused(tmp_path) == f"{gated}with the account of your token"
    hub.add(EDITOR, pipeline(), gated="accepted")
    fetch(tmp_path)
    assert found()


def test_a_token_that_is_not_valid(hub, tmp_path, monkeypatch):
    hub.add(EDITOR, pipeline())
    monkeypatch.setenv("HF_TOKEN", "hf_secret_and_wrong")
    text = refused(tmp_path)
    assert "does not know the token in HF_TOKEN (or in the token file); make a new one" in text
    assert "secret" not in text


@pytest.mark.parametrize("token", ["hf_a\u4e2d", "hf_a\x01b"])
def test_a_token_that_cannot_be_one(hub, tmp_path, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token)
    text = refused(tmp_path)
    assert "holds characters that no token has" in text
    assert "hf_a" not in text


def test_the_token_goes_to_the_hub_and_nowhere_else(hub, tmp_path, monkeypatch):
    hub.add(EDITOR, pipeline())
    hub.relative_redirects = True
    monkeypatch.setenv("HF_TOKEN", hub.token)
    fetch(tmp_path)
    for _, path, headers in hub.asked:
        assert ("authorization" in headers) == ("signature" not in path), path
    assert any("signature" in path for path in hub.paths())
    assert any(path.startswith("/moved/") for path in hub.paths())
    for one in (tmp_path / "cache").rglob("*"):
        assert not one.is_file() or hub.token.encode() not in one.read_bytes()


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (500, {}),
        (503, {}),
        (429, {}),
        (429, {"Retry-After": "0"}),
        (429, {"RateLimit": '"api";r=0;t=0'}),
        (408, {}),
    ],
)
def test_an_answer_that_may_be_better_next_time(hub, tmp_path, status, headers):
    hub.add(EDITOR, pipeline())
    hub.fault("/api/models", 2, status=status, headers=headers)
    hub.fault("vae/diffusion_pytorch_model", 2, status=status, headers=headers)
    hub.fault("scheduler_config.json", 2, method="GET", status=status, headers=headers)
    fetch(tmp_path)
    assert files_below(found()) == pipeline()


def test_too_many_requests_are_waited_for_as_told(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    hub.fault("/api/models", status=429, headers={"Retry-After": "1"})
    told, began = Told(), time.monotonic()
    fetch(tmp_path, told)
    assert time.monotonic() - began >= 1
    assert told.lines == [f"editor.model: too many requests to {hub.url} (429); trying again in 1 s"]


def test_a_wait_that_is_too_long_is_left_to_the_user(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    hub.fault("/api/models", 99, status=429, headers={"Retry-After": "900"})
    text = refused(tmp_path)
    assert text.endswith("(429); try again in 900 s; with HF_TOKEN set it allows more")
    assert len(hub.asked) == 1


def test_a_hub_that_is_down(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    hub.fault("/api/models", 99, status=502)
    text = refused(tmp_path)
    assert "answers 502 for Qwen/Edit; try again later: what was fetched stays" in text
    assert len(hub.asked) == 5


def test_what_is_no_hub(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    hub.fault("/api/models", 99, body=b"<html>Please log in to the guest network</html>")
    text = refused(tmp_path)
    assert text == f"editor.model: {hub.url} does not answer as a hub does; correct HF_ENDPOINT"
    hub.faults[0].body = b'{"hello": "world"}'
    assert "HF_ENDPOINT" in refused(tmp_path)


def test_no_connection(hub, tmp_path, monkeypatch):
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://user:secret@127.0.0.1:{one.getsockname()[1]}")
    text = refused(tmp_path)
    assert "(connection refused); is this a node with internet? A mirror is set with HF_ENDPOINT" in text
    assert "secret" not in text
    monkeypatch.setenv("HF_ENDPOINT", "http://no-such-host.invalid")
    assert "its name is not known here" in refused(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "hf-mirror.example")
    assert "write it with https:// before the name" in refused(tmp_path)


def test_an_answer_that_does_not_come(hub, tmp_path, monkeypatch):
    hub.add(EDITOR, pipeline())
    monkeypatch.setattr("edit_eval.driver.huggingface._ASK_TIMEOUT_S", 0.2)
    hub.fault("/api/models", 99, hang_s=20)
    assert "does not answer in time; try again: what was fetched stays" in refused(tmp_path)


def test_an_answer_that_stalls_is_gone_on_with(hub, tmp_path, monkeypatch):
    from huggingface_hub import constants

    hub.add(EDITOR, pipeline())
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hub.fault("00001-of-00002.safetensors?signature", hang_s=20)
    fetch(tmp_path)
    assert files_below(found()) == pipeline()


@pytest.mark.parametrize(
    ("endpoint", "named"),
    [
        ("http://10.1.2.3:8080/x", "10.1.2.3"),
        ("192.168.0.9:8000", "192.168.0.9"),
        ("http://mirror:8000", "mirror"),
        ("https://hf-mirror.com", None),
        ("http://8.8.8.8", None),
        ("", None),
    ],
)
def test_what_is_set_before_the_hubs_library_is_imported(endpoint, named):
    environ = {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_TELEMETRY": "0", "NO_PROXY": "x", "HTTPS_PROXY": "p"}
    settle_environment(environ)
    assert environ["HF_HUB_DISABLE_TELEMETRY"] == environ["DO_NOT_TRACK"] == "1"
    excepted = environ["NO_PROXY"].split(",")
    assert environ["no_proxy"] == environ["NO_PROXY"]
    assert {"x", "localhost", "127.0.0.1", "::1"} <= set(excepted)
    assert (named in excepted) == (named is not None)
    assert not {"hf-mirror.com", "8.8.8.8"} & set(excepted)
    assert environ["HTTPS_PROXY"] == "p"


# Other kinds


def test_models_of_another_kind_are_refused_before_anything_large(hub, tmp_path):
    hub.add("Qwen/Text", {**judge(), "config.json": b'{"model_type": "qwen3"}'})
    hub.add(EDITOR, pipeline())
    hub.add("Black/Flux", pipeline(class_name="FluxKontextPipeline"))
    hub.add("some/lora", {"pytorch_lora_weights.safetensors": tensor_file()})
    text = refused(tmp_path, editor={"model": "Qwen/Text"})
    assert (
        "Qwen/Text holds no model_index.json, so qwen_image_edit cannot use it; it is a single model" in text
    )
    text = refused(tmp_path, judge={"type": "qwen3_vl", "model": "Qwen/Text"})
    assert text.startswith("judge.model: Qwen/Text: model type 'qwen3' has no vision_config")
    assert "it is a diffusers pipeline" in refused(tmp_path, judge={"type": "qwen3_vl", "model": EDITOR})
    assert "Black/Flux is a FluxKontextPipeline" in refused(tmp_path, editor={"model": "Black/Flux"})
    assert "it holds a LoRA: name that as editor.lora" in refused(tmp_path, editor={"model": "some/lora"})
    assert all("signature" not in path for path in hub.paths())


def test_weights_that_cannot_be_loaded(hub, tmp_path):
    files = pipeline()
    files["vae/diffusion_pytorch_model.fp16.safetensors"] = files.pop(
        "vae/diffusion_pytorch_model.safetensors"
    )
    hub.add(EDITOR, files)
    assert "holds no weights of vae that can be loaded (variants such as fp16 are not)" in refused(tmp_path)


# Parts


def test_replaced_parts_are_not_fetched_with_the_base(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    hub.add(
        "me/tuned",
        {"step-500/transformer/config.json": b"{}", "step-500/transformer/model.safetensors": SHARD},
    )
    fetch(tmp_path, editor={"components": {"transformer": "me/tuned/step-500/transformer"}})
    there = files_below(found())
    assert set(pipeline()) - set(there) == {
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
        "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
    }
    part = find_model("editor.components.transformer", "me/tuned/step-500/transformer", "")
    assert set(files_below(part)) == {"config.json", "model.safetensors"}
    fetch(tmp_path)  # now all of it
    assert files_below(found()) == pipeline()


def test_a_part_that_is_a_file_and_one_that_is_a_whole_pipeline(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    hub.add("me/tuned", {**pipeline(2), "vae-only.safetensors": SHARD, "old.ckpt": b"x"})
    fetch(tmp_path, editor={"components": {"vae": "me/tuned/vae-only.safetensors@main"}})
    assert find_model("editor.components.vae", "me/tuned/vae-only.safetensors@main", "").read_bytes() == SHARD
    text = refused(tmp_path, editor={"components": {"vae": "me/tuned"}})
    assert text == "editor.components.vae: me/tuned is a whole pipeline; give me/tuned/vae"
    text = refused(tmp_path, editor={"components": {"vae": "me/tuned/vea"}})
    assert text == "editor.components.vae: me/tuned has no vea (did you mean 'vae'?)"
    assert "others are not unpickled" in refused(
        tmp_path, editor={"components": {"vae": "me/tuned/old.ckpt"}}
    )


def test_a_lora(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    hub.add("fast/lora", {"pytorch_lora_weights.safetensors": SHARD, "README.md": b"x"})
    hub.add("many/loras", {"4-steps.safetensors": SHARD, "8-steps.safetensors": SHARD[::-1]})
    fetch(tmp_path, editor={"lora": "fast/lora"})
    assert find_lora("editor.lora", "fast/lora").read_bytes() == SHARD
    fetch(tmp_path, editor={"lora": {"model": "many/loras/8-steps.safetensors", "scale": 0.5}})
    assert find_lora("editor.lora", "many/loras/8-steps.safetensors").read_bytes() == SHARD[::-1]
    text = refused(tmp_path, editor={"lora": "many/loras"})
    assert (
        text
        == "editor.lora: name the one file that is meant, such as many/loras/4-steps.safetensors; there are 2"
    )


def test_data_of_a_benchmark(hub, tmp_path):
    commit = hub.add("bench/data", {"data/a.parquet": SHARD, "data/b.txt": b"x"}, kind="dataset")
    prompts = hub.add("bench/prompts", {"p.json": b"{}"}, kind="model", branch="v2")
    hub.add(EDITOR, pipeline())
    fetch(tmp_path, benchmark={"type": "hubbed:Hubbed"})
    data = folder_of(tmp_path / "cache", "bench/data", "datasets") / "snapshots" / commit
    assert set(files_below(data)) == {"data/a.parquet"}
    assert (folder_of(tmp_path / "cache", "bench/prompts") / "snapshots" / prompts / "p.json").is_file()
    hub.asked.clear()
    own = {"type": "hubbed:Hubbed", "path": str(tmp_path), "params": {"prompts": str(tmp_path)}}
    fetch(tmp_path, benchmark=own)
    assert not any("bench" in path for path in hub.paths())


# Disks and other processes


def test_what_does_not_fit_is_refused_before_it_is_begun(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    with FileHashes(tmp_path / "hashes.tsv") as hashes:
        fetcher = Fetcher(
            checked(tmp_path), hashes, Told(), disk_usage=lambda _path: types.SimpleNamespace(free=20_000)
        )
        plan = fetcher.plan()
        with pytest.raises(
            ModelError, match=r"hub_cache: 0\.0 MiB are to be fetched to .*; make room, or set hub_cache"
        ):
            fetcher.refuse_too_large(plan)


def test_a_disk_that_fills_up(hub, tmp_path, monkeypatch):
    hub.add(EDITOR, pipeline())

    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("edit_eval.driver.huggingface.os.fsync", full)
    assert "no space left for" in refused(tmp_path)
    monkeypatch.undo()


def test_a_cache_that_cannot_be_written(hub, tmp_path, monkeypatch):
    hub.add(EDITOR, pipeline())
    (tmp_path / "file").touch()
    assert "hub_cache" in refused(tmp_path, hub_cache=str(tmp_path / "file" / "cache"))


def test_a_file_that_another_process_fetches_is_waited_for(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    fetch(tmp_path)
    blob = (found() / "vae/diffusion_pytorch_model.safetensors").resolve()
    lock = tmp_path / "cache" / ".locks" / folder_of(tmp_path).name / f"{blob.name}.lock"
    shutil.rmtree(folder_of(tmp_path / "cache"))
    told = Told()
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        other = threading.Thread(target=fetch, args=(tmp_path, told))
        other.start()
        deadline = time.monotonic() + 30
        while not any("another process fetches vae/" in line for line in told.lines):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert nothing_is_visible()
    other.join(30)
    assert files_below(found()) == pipeline()


def test_two_at_once_bring_one_model(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    hub.fault("signature", 4, slow_s=0.005)
    threads = [threading.Thread(target=fetch, args=(tmp_path,)) for _ in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert files_below(found()) == pipeline()


def test_a_file_system_without_links_or_locks(hub, tmp_path, monkeypatch):
    files = pipeline()
    files["vae/config.json"] = files["transformer/config.json"]  # one blob, two places
    hub.add(EDITOR, files)

    def no_link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def no_lock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    real = Path.symlink_to
    monkeypatch.setattr(
        Path,
        "symlink_to",
        lambda self, *given, **named: no_link() if "cache" in str(self) else real(self, *given, **named),
    )
    monkeypatch.setattr("edit_eval.driver.locking.fcntl.flock", no_lock)
    fetch(tmp_path)
    assert files_below(found()) == files
    assert not any(one.is_symlink() for one in found().rglob("*"))
    hub.asked.clear()
    assert fetch(tmp_path).bytes_left == 0
    assert not [path for path in hub.paths() if "resolve" in path]


def test_a_cache_that_cannot_be_written_may_hold_it_all(hub, tmp_path, monkeypatch):
    hub.add(EDITOR, pipeline())
    fetch(tmp_path)
    before = {one: one.lstat().st_mtime_ns for one in (tmp_path / "cache").rglob("*")}

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    for name in ("mkdir", "replace", "symlink_to", "unlink"):
        monkeypatch.setattr(Path, name, refuse, raising=True)
    with FileHashes(tmp_path / "hashes.tsv") as hashes:
        plan_and_settle(tmp_path, hashes)
    monkeypatch.undo()
    assert {one: one.lstat().st_mtime_ns for one in (tmp_path / "cache").rglob("*")} == before


def plan_and_settle(tmp_path: Path, hashes: FileHashes) -> None:
    """Bring and settle what is here already, without the temporary folder of a plan."""
    from edit_eval.driver.hubcache import hub_name
    from edit_eval.driver.huggingface import HuggingFace

    there = HuggingFace(open_cache(), hashes)
    listing = there.listing("x", hub_name("x", EDITOR), "model", Told())
    files = [listing.files[path] for path in pipeline()]
    there.bring("x", listing, files, Told())
    there.settle("x", listing, files)


MISHAPS = st.one_of(
    st.builds(lambda cut: {"cut": cut}, st.integers(0, len(SHARD))),
    st.builds(lambda cut: {"cut": cut, "ignore_range": True}, st.integers(0, len(SHARD))),
    st.sampled_from(
        [{"status": 500}, {"status": 429}, {"status": 404}, {"status": 416}, {"ignore_range": True}]
    ),
    st.builds(lambda size: {"body": b"?" * size}, st.integers(0, len(SHARD) + 10)),
)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(st.lists(MISHAPS, max_size=6), st.binary(max_size=40), st.booleans())
def test_whatever_happens_a_run_sees_all_of_it_or_nothing(hub, tmp_path, mishaps, left, begun):
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    hub.faults.clear()
    hub.add(EDITOR, pipeline())
    if begun:
        growing(tmp_path, SHARD).write_bytes(SHARD[: 3 * len(left)] + left)
    for one in mishaps:
        hub.fault("00001-of-00002.safetensors?signature", **one)
    try:
        fetch(tmp_path)
    except ModelError:
        assert nothing_is_visible()
    else:
        assert files_below(found()) == pipeline()
    hub.faults.clear()
    fetch(tmp_path)
    assert files_below(found()) == pipeline()


def test_files_have_the_modes_that_the_umask_gives(hub, tmp_path):
    hub.add(EDITOR, pipeline())
    before = os.umask(0o002)
    try:
        fetch(tmp_path)
    finally:
        os.umask(before)
    for one in folder_of(tmp_path / "cache").rglob("*"):
        assert stat.S_IMODE(one.stat().st_mode) & 0o060 == 0o060, one


# Public benchmarks: archives, and small files of GitHub


@pytest.fixture
def github(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    with FakeGitHub() as running:
        monkeypatch.setenv("GITHUB_RAW_ENDPOINT", running.url)
        yield running


def small(github: FakeGitHub, monkeypatch, cls: type[Benchmark], name: str, data: bytes) -> GitHubFiles:
    """Let the fake serve a file in place of an official one, with a hash of its own."""
    declared: GitHubFiles = getattr(cls, name)
    made = GitHubFiles(declared.repository, declared.revision, dict.fromkeys(declared.files, ""))
    for path in declared.files:
        made.files[path] = hashlib.sha256(data).hexdigest()  # type: ignore[index]
        github.files[f"{declared.repository}/{declared.revision}/{path}"] = data
    monkeypatch.setattr(cls, name, made)
    return made


def archive(files: dict[str, bytes], *, tar: bool = False) -> bytes:
    buffer = io.BytesIO()
    if tar:
        with tarfile.open(fileobj=buffer, mode="w") as packed:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                packed.addfile(info, io.BytesIO(data))
    else:
        with zipfile.ZipFile(buffer, "w") as packed_zip:
            for name, data in files.items():
                packed_zip.writestr(name, data)
    return buffer.getvalue()


OWN = {"type": "scripted", "model": None}


def samples_of(tmp_path: Path, **changes) -> list[Sample]:
    found_data = find_data(checked(tmp_path, editor=OWN, **changes))
    cls = checked(tmp_path, editor=OWN, **changes).benchmark.cls
    return list(cls.load(found_data.path, found_data.params, tmp_path / "workspace"))


def test_a_benchmark_whose_pictures_are_in_archives(hub, github, tmp_path, monkeypatch):
    item = {
        "original_image_path": "original_image/a/1.png",
        "reference_image_path": "reference_image/a/1.png",
        "instruction": "go", "name": "a", "idx": 1,
    }  # fmt: skip
    commit = hub.add(
        "maplebb/UniREditBench",
        {
            "data.json": json.dumps([item]),
            "original_image.zip": archive({"original_image/a/1.png": b"o" * 5000}),
            "reference_image.zip": archive({"reference_image/a/1.png": b"r" * 5000}),
            "README.md": b"x",
        },
        kind="dataset",
    )
    prompts = small(github, monkeypatch, UniREditBench, "prompt_files", b"prompt_consist = 'x'\n")
    benchmark = {"type": "unireditbench"}
    with pytest.raises(
        DataError, match=r"maplebb/UniREditBench is not on this machine .*; run 'edit-eval fetch"
    ):
        samples_of(tmp_path, benchmark=benchmark)
    plan = fetch(tmp_path, benchmark=benchmark, editor=OWN)
    (sample,) = samples_of(tmp_path, benchmark=benchmark)
    assert Path(sample.images[0]).read_bytes() == b"o" * 5000
    assert Path(sample.references[0]).read_bytes() == b"r" * 5000
    assert find_data(checked(tmp_path, editor=OWN, benchmark=benchmark)).commits == {
        "benchmark.path": {"repository": "maplebb/UniREditBench", "commit": commit}
    }
    [one] = plan.small
    assert (one.folder / "eval" / "utils.py").read_bytes() == b"prompt_consist = 'x'\n"
    assert (
        one.folder == tmp_path / "own" / "edit-eval" / "github" / "Maplebb--UniREditBench" / prompts.revision
    )
    text = config_text("unireditbench", plan)
    assert yaml.safe_load(text.partition("\n")[2]) == {
        "benchmark": {"type": "unireditbench", "params": {"prompts": str(one.folder)}}
    }
    assert "runs find the data by themselves" in text
    # a second fetch: nothing comes, nothing is unpacked
    told = Told()
    asked = len(github.asked)
    assert fetch(tmp_path, told, benchmark=benchmark, editor=OWN).bytes_left == 0
    assert (told.lines, told.count, len(github.asked)) == ([], 0, asked)
    shown = fetch_text(fetch(tmp_path, benchmark=benchmark, editor=OWN))
    assert "github.com/Maplebb/UniREditBench" in shown
    assert all(line.endswith("all here") for line in shown.splitlines()[:-1])


def test_an_archive_that_was_not_unpacked_is_said_and_unpacked_by_the_next_fetch(hub, github, tmp_path):
    hub.add(
        "PhoenixZ/RISEBench",
        {"data.zip": archive({"data/datav2_total_w_subtask.json": b"[]"})},
        kind="dataset",
    )
    benchmark = {"type": "risebench", "params": {"prompts": str(tmp_path)}}
    fetch(tmp_path, benchmark=benchmark, editor=OWN)
    assert github.asked == []  # the user has prompts
    assert samples_of(tmp_path, benchmark=benchmark) == []
    shutil.rmtree(folder_of(tmp_path / "cache", "PhoenixZ/RISEBench", "datasets") / "edit-eval")
    hub.asked.clear()
    with pytest.raises(DataError, match="the archives of PhoenixZ/RISEBench are not unpacked"):
        samples_of(tmp_path, benchmark=benchmark)
    told = Told()
    fetch(tmp_path, told, benchmark=benchmark, editor=OWN)
    assert [line.partition(" (")[0] for line in told.lines] == ["unpacking data.zip"]
    assert not [path for path in hub.paths() if "resolve" in path]
    assert samples_of(tmp_path, benchmark=benchmark) == []


def test_an_archive_that_is_not_safe_is_refused_and_nothing_is_visible(hub, github, tmp_path):
    hub.add("PhoenixZ/RISEBench", {"data.zip": archive({"../x": b"x"})}, kind="dataset")
    benchmark = {"type": "risebench", "params": {"prompts": str(tmp_path)}}
    assert "which leads out of its folder" in refused(tmp_path, benchmark=benchmark, editor=OWN)
    with pytest.raises(DataError, match="are not unpacked"):
        samples_of(tmp_path, benchmark=benchmark)


def test_a_benchmark_whose_list_is_on_github_and_whose_pictures_are_in_a_tar(
    hub, github, tmp_path, monkeypatch
):
    items = {"1": {"id": "animal/1.jpg", "prompt": "go", "edit_type": "add"}}
    small(github, monkeypatch, ImgEdit, "_items", json.dumps(items).encode())
    small(github, monkeypatch, ImgEdit, "prompt_files", b"{}")
    pictures = {"Benchmark/singleturn/animal/1.jpg": b"p" * 5000}
    hub.add(
        "sysuyy/ImgEdit", {"Benchmark.tar": archive(pictures, tar=True), "x.tar": b"x" * 9000}, kind="dataset"
    )
    benchmark = {"type": "imgedit"}
    plan = fetch(tmp_path, benchmark=benchmark, editor=OWN)
    assert [(one.where, one.needed) for one in plan.small] == [
        ("benchmark.path", True),
        ("benchmark.params.prompts", False),
    ]
    (sample,) = samples_of(tmp_path, benchmark=benchmark)
    assert Path(sample.images[0]).read_bytes() == b"p" * 5000
    commits = find_data(checked(tmp_path, editor=OWN, benchmark=benchmark)).commits
    assert commits["benchmark.path"]["repository"] == "github.com/PKU-YuanGroup/ImgEdit"
    assert commits["benchmark.params.images"]["repository"] == "sysuyy/ImgEdit"
    # who has an item list has the pictures too, wherever they are
    own = table(tmp_path / "mine" / "basic_edit.json", items)
    hub.asked.clear()
    fetch(tmp_path, benchmark={**benchmark, "path": str(own)}, editor=OWN)
    assert hub.asked == []


def test_prompts_that_cannot_be_had_do_not_keep_the_data_away(hub, github, tmp_path, monkeypatch):
    small(github, monkeypatch, UnicBench, "prompt_files", b"x")
    github.files.clear()
    hub.add("xiaotanhua/UnicBench", {"data/train.parquet": SHARD}, kind="dataset")
    settings = checked(tmp_path, benchmark={"type": "unicbench"}, editor=OWN)
    with FileHashes(tmp_path / "hashes.tsv") as hashes:
        fetcher = Fetcher(settings, hashes, Told())
        plan = fetcher.plan()
        [line] = fetcher.fetch(plan)
    assert "has no data/prompts.py of WeChatCV/UnicBench" in line
    assert find_data(settings).path is not None
    assert "prompts" not in config_text("unicbench", plan)


def test_a_list_that_cannot_be_had_is_refused(hub, github, tmp_path):
    hub.add("sysuyy/ImgEdit", {"Benchmark.tar": archive({"a": b"x"}, tar=True)}, kind="dataset")
    text = refused(tmp_path, benchmark={"type": "imgedit"}, editor=OWN)
    assert text.startswith("benchmark.path: ")
    assert "has no Benchmark/Basic/basic_edit.json of PKU-YuanGroup/ImgEdit" in text


def test_small_files_lie_in_the_hub_cache_that_the_config_names(hub, github, tmp_path, monkeypatch):
    small(github, monkeypatch, UnicBench, "prompt_files", b"x")
    hub.add("xiaotanhua/UnicBench", {"data/train.parquet": SHARD}, kind="dataset")
    plan = fetch(tmp_path, benchmark={"type": "unicbench"}, editor=OWN, hub_cache=str(tmp_path / "disk"))
    assert plan.small[0].folder.is_relative_to(tmp_path / "disk")


def test_a_repository_without_the_archive_is_refused(hub, github, tmp_path):
    hub.add("maplebb/UniREditBench", {"data.json": "[]"}, kind="dataset")
    text = refused(tmp_path, benchmark={"type": "unireditbench"}, editor=OWN)
    assert text == "benchmark.path: maplebb/UniREditBench has no files such as *.zip"


def test_room_for_what_archives_hold_is_asked_for_before_they_are_fetched(hub, github, tmp_path):
    packed = archive({"data/data_total.json": b"[]", "data/x.png": b"x" * 5000})
    hub.add("PhoenixZ/RISEBench", {"data.zip": packed}, kind="dataset")
    settings = checked(
        tmp_path, benchmark={"type": "risebench", "params": {"prompts": str(tmp_path)}}, editor=OWN
    )

    def planned(free: int) -> tuple[Fetcher, FetchPlan]:
        usage = types.SimpleNamespace(free=free)
        fetcher = Fetcher(settings, hashes, Told(), disk_usage=lambda _path: usage)
        plan = fetcher.plan()
        fetcher.refuse_too_large(plan)
        return fetcher, plan

    with FileHashes(tmp_path / "hashes.tsv") as hashes:
        with pytest.raises(ModelError, match="make room, or set hub_cache"):
            planned(len(packed) + 100)
        fetcher, plan = planned(2 * len(packed))
        fetcher.fetch(plan)
        planned(0)
