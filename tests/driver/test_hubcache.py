"""Hub ids, and what a cache holds of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edit_eval.core.errors import ModelError
from edit_eval.driver.hubcache import (
    HubCache,
    HubName,
    Record,
    faults_of_record,
    hub_name,
    open_cache,
    read_record,
    write_record,
)

COMMIT = "ac7f9318f633fc4b5778c59367c8128225f1e3de"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Qwen/Qwen-Image-Edit-2509", ("Qwen/Qwen-Image-Edit-2509", "", None)),
        ("a/b@v1.0", ("a/b", "", "v1.0")),
        ("a/b@refs/pr/3", ("a/b", "", "refs/pr/3")),
        ("a/b/step-500/transformer", ("a/b", "step-500/transformer", None)),
        ("a/b.c/x.safetensors@main", ("a/b.c", "x.safetensors", "main")),
    ],
)
def test_ids(text, name):
    assert hub_name("editor.model", text) == HubName(text, *name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a/",
        "/a",
        "a//b",
        "a/b@",
        "a/b@../x",
        "a/b/../c",
        "a/./b",
        "a/b@/etc/passwd",
        "a--b/c",
        "-/..",
        "a/b\n",
        "a b/c",
    ],
)
def test_what_is_no_id(text):
    with pytest.raises(ModelError, match=r"^editor.model: .* is neither a folder here nor a hub id"):
        hub_name("editor.model", text)


@pytest.mark.parametrize(
    "text",
    ["https://huggingface.co/Qwen/Edit", "hf://Qwen/Edit", "https://hf-mirror.com/Qwen/Edit/tree/main"],
)
def test_an_address_is_answered_with_the_id(text):
    with pytest.raises(ModelError, match=r"write it as Qwen/Edit$"):
        hub_name("editor.model", text)


@given(st.text(max_size=40))
def test_an_id_never_leads_out_of_the_cache(text):
    try:
        name = hub_name("editor.model", text)
    except ModelError:
        return
    for part in (*name.repository.split("/"), *name.inside.split("/"), *(name.revision or "").split("/")):
        assert part not in ("..", ".")
    assert not name.inside.startswith("/")
    assert not (name.revision or "").startswith("/")


def with_snapshot(cache: HubCache, repository: str, commit: str = COMMIT, ref: str = "main"):
    folder = cache.repository(repository)
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / ref).write_text(commit + "\n")
    return folder / "snapshots" / commit


@pytest.fixture
def cache(tmp_path) -> HubCache:
    return HubCache("huggingface", tmp_path / "hub")


def refused(cache: HubCache, text: str) -> str:
    with pytest.raises(ModelError) as caught:
        cache.find("editor.model", hub_name("editor.model", text))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("; run 'edit-eval fetch CONFIG' on a node with internet")
    return str(caught.value)


def test_wrong_letters_and_wrong_case(cache):
    with_snapshot(cache, "Qwen/Qwen-Image-Edit")
    assert "(did you mean 'Qwen/Qwen-Image-Edit'?)" in refused(cache, "qwen/qwen-image-edit")
    assert "(did you mean 'Qwen/Qwen-Image-Edit'?)" in refused(cache, "Qwen/Qwen-Image-Edti")
    assert "did you mean" not in refused(cache, "black-forest-labs/FLUX.1-Kontext-dev")


def test_a_revision_that_is_not_here_and_those_that_are(cache):
    snapshot = with_snapshot(cache, "a/b", ref="v1.0")
    assert "has no revision v1.1 (did you mean 'v1.0'?)" in refused(cache, "a/b@v1.1")
    assert "has no revision main; there are v1.0, ac7f9318f633" in refused(cache, "a/b")
    assert cache.find("x", hub_name("x", "a/b@v1.0")).path == snapshot
    assert cache.find("x", hub_name("x", f"a/b@{COMMIT}")).commit == COMMIT
    assert cache.find("x", hub_name("x", "a/b@ac7f931")).commit == COMMIT
    refused(cache, "a/b@ac7f93")  # too short to be meant


def test_a_short_commit_that_fits_two(cache):
    with_snapshot(cache, "a/b")
    with_snapshot(cache, "a/b", commit=COMMIT[:-1] + "0")
    refused(cache, f"a/b@{COMMIT[:12]}")


def test_a_ref_whose_snapshot_is_gone(cache):
    with_snapshot(cache, "a/b").rmdir()
    assert "is not on this machine" in refused(cache, "a/b")


def test_where_caches_are(tmp_path, monkeypatch):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "MODELSCOPE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_cache().folder == tmp_path / ".cache" / "huggingface" / "hub"
    assert open_cache("modelscope").folder == tmp_path / ".cache" / "modelscope"
    monkeypatch.setenv("HUGGINGFACE_HUB_CACHE", "$HOME/old")
    assert open_cache().folder == tmp_path / "old"
    monkeypatch.setenv("HF_HUB_CACHE", "~/new")
    assert open_cache().folder == tmp_path / "new"
    assert open_cache("huggingface", "~/own").folder == tmp_path / "own"
    monkeypatch.setenv("HF_HUB_CACHE", "")
    monkeypatch.setenv("HUGGINGFACE_HUB_CACHE", "")
    monkeypatch.setenv("HF_HOME", "rel")
    assert open_cache().folder.is_absolute()


def test_a_record(cache):
    snapshot = with_snapshot(cache, "a/b")
    assert read_record(snapshot) is None
    (snapshot / "x").write_text("123")
    write_record(snapshot, Record({"x": {"size": 3}, "y": {"size": 1}}))
    assert list(faults_of_record(snapshot, read_record(snapshot))) == ["y is missing"]
    (snapshot / "y").write_text("12")
    assert list(faults_of_record(snapshot, read_record(snapshot))) == ["y has 2 bytes instead of 1"]
    write_record(snapshot, Record({}, complete=False))
    assert list(faults_of_record(snapshot, read_record(snapshot))) == ["its last fetch has not ended"]


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"files": 3, "complete": true}', '{"files": {"x": 1}, "complete": true}']
)
def test_a_record_that_is_none(cache, text):
    snapshot = with_snapshot(cache, "a/b")
    write_record(snapshot, Record({}))
    [path] = (cache.repository("a/b") / "edit-eval").iterdir()
    path.write_text(text)
    assert read_record(snapshot) is None
