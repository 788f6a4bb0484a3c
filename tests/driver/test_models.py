"""Models: where they are, what they are, and what is said where there is none."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edit_eval.core.errors import ModelError
from edit_eval.driver.hashes import FileHashes
from edit_eval.driver.models import resolve_lora, resolve_model

COMMIT = "ac7f9318f633fc4b5778c59367c8128225f1e3de"


@pytest.fixture
def hashes(tmp_path):
    with FileHashes(tmp_path / "hashes.tsv") as known:
        yield known


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """Return an empty hub cache."""
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "hub").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


def local_model(folder: Path) -> Path:
    (folder / "transformer").mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "QwenImageEditPipeline"}')
    (folder / "transformer" / "config.json").write_text("{}")
    (folder / "transformer" / "weights.safetensors").write_bytes(b"0123456789")
    (folder / "README.md").write_text("about")
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - 100,) * 2)
    return folder


def cached_model(
    hub: Path, repository: str = "Qwen/Qwen-Image-Edit", commit: str = COMMIT, ref: str = "main"
) -> Path:
    folder = hub / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True, exist_ok=True)
    (snapshot / "model_index.json").write_text("{}")
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / ref).write_text(commit)
    return snapshot


def identity(path, hashes) -> dict:
    return resolve_model("editor.model", str(path), "model_index.json", hashes).identity


def refused(name, hashes) -> str:
    with pytest.raises(ModelError) as caught:
        resolve_model("editor.model", str(name), "model_index.json", hashes)
    assert str(caught.value).startswith("editor.model: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Local folders


def test_a_local_model_is_its_files_wherever_it_lies(tmp_path, hashes):
    one, two = local_model(tmp_path / "one"), local_model(tmp_path / "elsewhere" / "two")
    assert identity(one, hashes) == identity(two, hashes)
    assert identity(f"{one}/", hashes) == identity(one, hashes)
    found = resolve_model("editor.model", str(one), "model_index.json", hashes)
    assert (found.path, found.name) == (one, str(one))


def test_relative_and_home_paths(tmp_path, hashes, monkeypatch):
    folder = local_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("model", "./model", "~/model"):
        found = resolve_model("editor.model", name, "model_index.json", hashes)
        assert found.path == folder
        assert found.path.is_absolute()


@pytest.mark.parametrize(
    "file", ["model_index.json", "transformer/config.json", "transformer/weights.safetensors"]
)
def test_one_changed_byte_is_another_model(tmp_path, hashes, file):
    folder = local_model(tmp_path / "model")
    before = identity(folder, hashes)
    data = bytearray((folder / file).read_bytes())
    data[1] ^= 1
    (folder / file).write_bytes(data)  # the same size
    assert identity(folder, hashes) != before


def test_names_and_number_of_files_count_but_not_what_is_only_about_it(tmp_path, hashes):
    folder = local_model(tmp_path / "model")
    before = identity(folder, hashes)
    (folder / "README.md").write_text("rewritten")
    assert identity(folder, hashes) == before
    (folder / "transformer" / "weights.safetensors").rename(folder / "transformer" / "w.safetensors")
    renamed = identity(folder, hashes)
    (folder / "added.safetensors").write_bytes(b"1")
    assert len({before["files"], renamed["files"], identity(folder, hashes)["files"]}) == 3


def test_swapping_two_files_is_another_model(tmp_path, hashes):
    folder = local_model(tmp_path / "model")
    (folder / "a.safetensors").write_bytes(b"a")
    (folder / "b.safetensors").write_bytes(b"b")
    before = identity(folder, hashes)
    (folder / "a.safetensors").write_bytes(b"b")
    (folder / "b.safetensors").write_bytes(b"a")
    assert identity(folder, hashes) != before


def test_weights_behind_a_link_are_part_of_the_identity(tmp_path, hashes):
    model = local_model(tmp_path / "m")
    (model / "transformer").rename(tmp_path / "shared")
    (model / "transformer").symlink_to(tmp_path / "shared")
    before = identity(model, hashes)
    assert before == identity(local_model(tmp_path / "copy"), hashes)
    (tmp_path / "shared" / "weights.safetensors").write_bytes(b"other weights")
    assert identity(model, hashes) != before


def test_folders_linked_in_a_circle_end(tmp_path, hashes):
    model = local_model(tmp_path / "m")
    before = identity(model, hashes)
    (model / "transformer" / "again").symlink_to(model)
    assert identity(model, hashes) == before


def test_a_weight_file_that_is_a_link_to_nothing(tmp_path, hashes):
    model = local_model(tmp_path / "m")
    (model / "transformer" / "more.safetensors").symlink_to("nowhere")
    assert "cannot read" in refused(model, hashes)


def test_config_files_alone_are_no_model_but_may_be_a_part_of_one(tmp_path, hashes):
    model = local_model(tmp_path / "m")
    (model / "transformer" / "weights.safetensors").unlink()
    assert "holds no weights" in refused(model, hashes)
    assert resolve_model("editor.components.scheduler", str(model / "transformer"), "", hashes).identity


def test_long_hashing_is_announced_once(tmp_path, hashes, monkeypatch):
    said = []
    model = local_model(tmp_path / "m")
    resolve_model("editor.model", str(model), "model_index.json", hashes, said.append)
    assert said == []
    monkeypatch.setattr("edit_eval.driver.models._LONG_BYTES", 10)
    other = local_model(tmp_path / "n")
    for _ in range(2):
        resolve_model("editor.model", str(other), "model_index.json", hashes, said.append)
    assert len(said) == 1
    assert said[0].startswith("editor.model: hashing 0.0 GiB of ")


def test_no_folder(tmp_path, hashes, hub):
    assert "no model folder at" in refused(tmp_path / "none", hashes)
    assert "no model folder at ./none" in refused("./none", hashes)
    (tmp_path / "file").touch()
    assert "no model folder at" in refused(tmp_path / "file", hashes)


def test_a_folder_without_a_model(tmp_path, hashes):
    (tmp_path / "empty").mkdir()
    assert "holds no model: model_index.json is missing" in refused(tmp_path / "empty", hashes)
    with pytest.raises(ModelError, match="no weight or config file"):
        resolve_model("editor.components.vae", str(tmp_path / "empty"), "", hashes)


# The hub's cache


def test_a_hub_id_is_its_commit(hub, hashes):
    snapshot = cached_model(hub)
    found = resolve_model("editor.model", "Qwen/Qwen-Image-Edit", "model_index.json", hashes)
    assert found.path == snapshot
    assert found.identity == {"repository": "Qwen/Qwen-Image-Edit", "commit": COMMIT}


def test_a_moved_branch_is_another_model_and_a_pinned_commit_stays(hub, hashes):
    cached_model(hub)
    newer = "b" * 40
    cached_model(hub, commit=newer)
    name = "Qwen/Qwen-Image-Edit"
    assert identity(name, hashes)["commit"] == newer
    assert identity(f"{name}@{COMMIT}", hashes)["commit"] == COMMIT
    cached_model(hub, commit=COMMIT, ref="v1.0")
    assert identity(f"{name}@v1.0", hashes)["commit"] == COMMIT


def test_a_folder_of_that_name_goes_before_the_hub(hub, hashes, tmp_path):
    cached_model(hub)
    local_model(tmp_path / "Qwen" / "Qwen-Image-Edit")
    assert "files" in identity("Qwen/Qwen-Image-Edit", hashes)


def test_what_is_not_in_the_cache_is_said_with_the_command_that_brings_it(hub, hashes):
    message = refused("Qwen/Qwen-Image-Edit-2509", hashes)
    assert "is not on this machine" in message
    assert str(hub) in message
    assert message.endswith("; run 'edit-eval fetch CONFIG' on a node with internet")
    cached_model(hub)
    assert "is not on this machine" in refused("Qwen/Qwen-Image-Edit@0000000", hashes)


def test_a_download_that_was_cut_off(hub, hashes):
    (cached_model(hub) / "model_index.json").unlink()
    assert "only a part of it: model_index.json is missing" in refused("Qwen/Qwen-Image-Edit", hashes)


@pytest.mark.parametrize("name", ["qwen", "a/b/c", "/", "a/", "owner//name", "../up", "hf.co/a/b"])
def test_names_that_are_neither(name, hashes, hub):
    refused(name, hashes)


@pytest.mark.parametrize(
    ("variable", "below"),
    [
        ("HF_HUB_CACHE", ""),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
        ("HOME", ".cache/huggingface/hub"),
    ],
)
def test_where_the_cache_is(tmp_path, monkeypatch, hashes, variable, below):
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "place"))
    cached_model(tmp_path / "place" / below)
    assert identity("Qwen/Qwen-Image-Edit", hashes)["commit"] == COMMIT


# Parts


def part_file(path: Path) -> Path:
    header = b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"01")
    os.utime(path, (time.time() - 100,) * 2)
    return path


def test_a_part_may_be_one_file_wherever_it_lies(tmp_path, hashes):
    one = part_file(tmp_path / "one.safetensors")
    (tmp_path / "copies").mkdir()
    two = part_file(tmp_path / "copies" / "two.safetensors")
    found = [resolve_model("editor.components.vae", str(path), "", hashes) for path in (one, two)]
    assert found[0].identity == found[1].identity == {"sha256": hashes.sha256(one)}
    assert found[0].path == one


@pytest.mark.parametrize("name", ["part.ckpt", "part.bin", "part.pt", "part.txt"])
def test_a_part_that_would_have_to_be_unpickled(tmp_path, hashes, name):
    (tmp_path / name).touch()
    with pytest.raises(
        ModelError, match=r"is no \.safetensors file, and others are not unpickled; save its tensors"
    ):
        resolve_model("editor.components.vae", str(tmp_path / name), "", hashes)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("step/__0_0.distcp", "dcp_to_torch"),
        ("step/pytorch_model_fsdp_0/__0_0.distcp", "accelerate merge-weights"),
        ("step/mp_rank_00_model_states.pt", "zero_to_fp32.py"),
        ("step/iter_0000500/mp_rank_00/model_optim_rng.pt", "tools/checkpoint/convert.py"),
    ],
)
def test_states_of_training_are_refused_with_the_way_to_a_model(tmp_path, hashes, name, hint):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).touch()
    (tmp_path / "step" / "config.json").write_text("{}")
    for where, model_file in (("editor.components.transformer", ""), ("judge.model", "config.json")):
        with pytest.raises(ModelError, match=rf"^{where}: .*training state.*; .*{hint}") as caught:
            resolve_model(where, str(tmp_path / "step"), model_file, hashes)
        assert "\n" not in str(caught.value)


def test_a_shard_of_a_training_named_as_a_part(tmp_path, hashes):
    (tmp_path / "mp_rank_00_model_states.pt").touch()
    with pytest.raises(ModelError, match="is a DeepSpeed training state; gather it"):
        resolve_model("editor.components.vae", str(tmp_path / "mp_rank_00_model_states.pt"), "", hashes)


def test_a_model_beside_its_training_state_is_a_model(tmp_path, hashes):
    folder = local_model(tmp_path / "m")
    (folder / "pytorch_model_fsdp_0").mkdir()
    (folder / "pytorch_model_fsdp_0" / "__0_0.distcp").touch()
    (folder / "transformer" / "optimizer_0").mkdir()
    assert identity(folder, hashes)
    assert resolve_model("editor.components.transformer", str(folder / "transformer"), "", hashes).identity


def test_a_lora_is_its_bytes_wherever_it_comes_from(tmp_path, hashes, hub):
    path = part_file(tmp_path / "my.safetensors")
    snapshot = cached_model(hub, "fast/lora")
    (snapshot / "pytorch_lora_weights.safetensors").write_bytes(path.read_bytes())
    found = [resolve_lora("editor.lora", name, hashes) for name in (str(path), str(snapshot), "fast/lora")]
    assert {one.identity["sha256"] for one in found} == {hashes.sha256(path)}
    assert found[2].path == snapshot / "pytorch_lora_weights.safetensors"
    (tmp_path / "two").mkdir()
    for name in ("a", "b"):
        part_file(tmp_path / "two" / f"{name}.safetensors")
    with pytest.raises(ModelError, match=r"holds several LoRAs; name one, such as .*two/a\.safetensors"):
        resolve_lora("editor.lora", str(tmp_path / "two"), hashes)
    (tmp_path / "none").mkdir()
    with pytest.raises(ModelError, match=r"holds no \.safetensors file"):
        resolve_lora("editor.lora", str(tmp_path / "none"), hashes)


def test_a_part_of_a_repository(hub, hashes):
    snapshot = cached_model(hub, "me/tuned")
    (snapshot / "step" / "vae").mkdir(parents=True)
    part = part_file(snapshot / "step" / "vae" / "model.safetensors")
    found = resolve_model("editor.components.vae", "me/tuned/step/vae", "", hashes)
    assert found.path == part.parent
    assert found.identity == {"repository": "me/tuned", "commit": COMMIT, "inside": "step/vae"}
    with pytest.raises(
        ModelError, match="its repository is here, without step/vea; run 'edit-eval fetch CONFIG'"
    ):
        resolve_model("editor.components.vae", "me/tuned/step/vea", "", hashes)
    with pytest.raises(ModelError, match="is a file; give the folder of a model"):
        resolve_model("judge.model", "me/tuned/step/vae/model.safetensors", "config.json", hashes)


def test_a_path_that_is_misspelt_is_not_taken_for_a_hub_id(hub, hashes, tmp_path):
    (tmp_path / "ckpt" / "step-500").mkdir(parents=True)
    with pytest.raises(ModelError, match="no model folder at ckpt/step-50/vae, though ckpt is one"):
        resolve_model("editor.components.vae", "ckpt/step-50/vae", "", hashes)


def test_downloads_that_have_not_ended(hub, hashes, tmp_path):
    snapshot = cached_model(hub)
    (snapshot.parent.parent / "blobs").mkdir()
    (snapshot.parent.parent / "blobs" / "abc.incomplete").touch()
    assert "a download of Qwen/Qwen-Image-Edit has not ended" in refused("Qwen/Qwen-Image-Edit", hashes)
    folder = local_model(tmp_path / "m")
    (folder / ".cache" / "huggingface" / "download").mkdir(parents=True)
    (folder / ".cache" / "huggingface" / "download" / "x.incomplete").touch()
    assert "has not ended; run it again" in refused(folder, hashes)
