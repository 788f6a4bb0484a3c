"""Small files of GitHub over real HTTP: at the pinned commit, with the pinned hash, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import socket

import pytest
from fake_github import FakeGitHub

from edit_eval.benchmarks import GitHubFiles
from edit_eval.core.errors import ModelError
from edit_eval.driver.github import GitHub, github_folder, missing_files
from edit_eval.driver.hubs import Stopped, Watch
from edit_eval.driver.registry import BENCHMARKS, find

COMMIT = "a" * 40
TEXT = b"prompt = 'x'\n"
FILES = GitHubFiles("me/bench", COMMIT, {"eval/utils.py": hashlib.sha256(TEXT).hexdigest()})
NAME = f"me/bench/{COMMIT}/eval/utils.py"


@pytest.fixture
def github(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with FakeGitHub() as running:
        monkeypatch.setenv("GITHUB_RAW_ENDPOINT", running.url)
        running.files[NAME] = TEXT
        yield running


def bring(tmp_path, files=FILES, watch=None):
    folder = github_folder(str(tmp_path), files)
    return folder, GitHub(watch or Watch(pause_s=0.01)).bring("benchmark.params.prompts", files, folder)


def refused(tmp_path, files=FILES):
    with pytest.raises(ModelError) as caught:
        bring(tmp_path, files)
    assert str(caught.value).startswith("benchmark.params.prompts: ")
    assert "\n" not in str(caught.value)
    folder = github_folder(str(tmp_path), files)
    assert missing_files(folder, files)
    assert not (folder / "eval" / "utils.py").exists()
    return str(caught.value)


def test_a_file_lies_by_repository_and_commit_and_its_hash_is_recorded(github, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    folder, count = bring(tmp_path)
    assert folder == tmp_path / "github" / "me--bench" / COMMIT
    assert ((folder / "eval" / "utils.py").read_bytes(), count) == (TEXT, len(TEXT))
    record = json.loads((folder / ".edit-eval-record").read_text())
    assert record["files"]["eval/utils.py"] == {"size": len(TEXT), "sha256": FILES.files["eval/utils.py"]}
    assert missing_files(folder, FILES) == []
    [(_, headers)] = github.asked
    assert "authorization" not in headers


def test_what_is_there_is_not_asked_for_again_but_what_is_gone_is(github, tmp_path):
    folder, _ = bring(tmp_path)
    assert bring(tmp_path)[1] == 0
    assert len(github.asked) == 1
    (folder / "eval" / "utils.py").write_bytes(b"cut")
    assert missing_files(folder, FILES) == ["eval/utils.py has 3 bytes instead of 13"]
    assert bring(tmp_path)[1] == len(TEXT)


def test_a_branch_is_asked_for_each_time(github, tmp_path):
    files = GitHubFiles("me/bench", "main", {"eval/utils.py": ""})
    github.files["me/bench/main/eval/utils.py"] = b"old"
    folder, _ = bring(tmp_path, files)
    github.files["me/bench/main/eval/utils.py"] = b"newer"
    bring(tmp_path, files)
    assert (folder / "eval" / "utils.py").read_bytes() == b"newer"
    assert missing_files(folder, files) == []


def test_two_benchmarks_may_read_one_repository(github, tmp_path):
    other = GitHubFiles("me/bench", COMMIT, {"list.json": ""})
    github.files[f"me/bench/{COMMIT}/list.json"] = b"[]"
    folder, _ = bring(tmp_path)
    assert missing_files(folder, other) == ["list.json is missing"]
    assert bring(tmp_path, other)[0] == folder
    assert missing_files(folder, FILES) == missing_files(folder, other) == []


def test_another_hash_is_not_kept(github, tmp_path):
    github.files[NAME] = b"other"
    text = refused(tmp_path)
    assert "eval/utils.py of me/bench came from http://127.0.0.1:" in text
    assert f"with another hash than it has at {COMMIT[:12]}" in text


def test_no_such_file(github, tmp_path):
    github.files.clear()
    text = refused(tmp_path)
    assert (
        f"has no eval/utils.py of me/bench at {COMMIT[:12]}; look for it at https://github.com/me/bench"
        in text
    )


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_fails_once_is_asked_again(github, tmp_path, status):
    github.faults[NAME] = [(status, b"no")]
    assert bring(tmp_path)[1] == len(TEXT)


def test_a_server_that_always_fails(github, tmp_path):
    github.faults[NAME] = [(500, b"no")] * 20
    assert "answers 500 for me/bench, eval/utils.py" in refused(tmp_path)
    assert len(github.asked) == 5


def test_a_file_that_does_not_end(github, tmp_path, monkeypatch):
    monkeypatch.setattr("edit_eval.driver.github._MOST_BYTES", 10)
    assert "it does not end" in refused(tmp_path)


def test_no_network_is_one_line(tmp_path, monkeypatch):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    monkeypatch.setenv("GITHUB_RAW_ENDPOINT", f"http://127.0.0.1:{port}")
    text = refused(tmp_path)
    assert f"cannot reach http://127.0.0.1:{port} (connection refused)" in text
    assert "A mirror is set with GITHUB_RAW_ENDPOINT" in text


def test_an_address_that_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_RAW_ENDPOINT", "mirror.example")
    with pytest.raises(ModelError, match="write it with https:// before the name"):
        bring(tmp_path)


def test_stopped(github, tmp_path):
    watch = Watch(pause_s=0.01)
    watch.stop.set()
    with pytest.raises(Stopped):
        bring(tmp_path, watch=watch)


def test_a_folder_that_cannot_be_written(github, tmp_path):
    (tmp_path / "github").write_text("a file")
    with pytest.raises(ModelError, match="set hub_cache to a folder of yours"):
        bring(tmp_path)


def test_every_public_benchmark_says_where_its_prompts_are():
    public = {name: find("benchmark", name).cls for name in BENCHMARKS}
    public = {name: cls for name, cls in public.items() if cls.facts}
    assert len(public) == 8
    for name, cls in public.items():
        files = cls.prompt_files
        assert f"github.com/{files.repository}" in cls.facts.prompts, name
        assert all(sha256 or not files.pinned for sha256 in files.files.values())
        assert files.pinned or name == "krisbench"  # no commit of it is known
