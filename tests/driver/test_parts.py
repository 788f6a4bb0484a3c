"""Parts over a base, LoRAs and data of a hub, from config to job: found, part of the key, refused when they are not whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from harness import Ran, config_tree, make_benchmark
from PIL import Image
from repositories import pipeline, tensor_file

from edit_eval.core.errors import ConfigError, DataError, ModelError, UserError
from edit_eval.driver import job as job_module
from edit_eval.driver.config import check_config
from edit_eval.driver.hubcache import Record, write_record
from edit_eval.driver.job import Job, prepare

COMMIT = "c" * 40


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(job_module, "visible_gpus", list)
    monkeypatch.chdir(tmp_path)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def cached(
    tmp_path: Path, repository: str, files: dict[str, bytes], kind: str = "model", ref: str = "main"
) -> Path:
    folder = tmp_path / "hub" / f"{kind}s--{repository.replace('/', '--')}"
    write(folder / "refs", {ref: COMMIT.encode()})
    return write(folder / "snapshots" / COMMIT, files)


@pytest.fixture
def job(tmp_path):
    """Return `job(**editor)`: the job of a pipeline in `base`, with these keys."""
    benchmark = make_benchmark(tmp_path / "data", ["x"])
    write(tmp_path / "base", pipeline())

    def prepared(**editor: Any) -> Job:
        tree = config_tree(tmp_path, benchmark, judge=None)
        tree["editor"] = {"type": "qwen_image_edit", "model": "base", "devices": ["cpu:0"], **editor}
        return prepare(check_config(tree), stages=("edit",))

    return prepared


def key(made: Job) -> str:
    return made.wanted[0].key


def test_a_part_from_the_hub_from_a_folder_and_from_one_file(tmp_path, job):
    part = {"config.json": b"{}", "model.safetensors": tensor_file(fill=9)}
    snapshot = cached(tmp_path, "me/tuned", {f"step-500/vae/{path}": data for path, data in part.items()})
    write(tmp_path / "own", part)
    write(tmp_path, {"own.safetensors": tensor_file(fill=9)})
    base = job()
    made = [job(components={"vae": name}) for name in ("me/tuned/step-500/vae", "own", "own.safetensors")]
    paths = [one.editor.spec.message["components"]["vae"] for one in made]
    assert paths == [str(snapshot / "step-500/vae"), str(tmp_path / "own"), str(tmp_path / "own.safetensors")]
    identities = [one.editor.identity["components"]["vae"] for one in made]
    assert identities[0] == {"repository": "me/tuned", "commit": COMMIT, "inside": "step-500/vae"}
    assert set(identities[1]) == {"files"}
    assert set(identities[2]) == {"sha256"}
    assert len({key(one) for one in (base, *made)}) == 4


def test_a_lora_is_part_of_the_key_with_its_scale_and_without_one_keys_are_as_before(tmp_path, job):
    write(tmp_path, {"a.safetensors": tensor_file(fill=1), "b.safetensors": tensor_file(fill=2)})
    write(tmp_path / "copy", {"c.safetensors": tensor_file(fill=1)})
    plain = job()
    assert "lora" not in plain.editor.identity
    assert "lora" not in plain.editor.spec.message
    one = job(lora="a.safetensors")
    assert one.editor.title == "qwen_image_edit base + a.safetensors x 1"
    assert one.editor.spec.message["lora"] == [str(tmp_path / "a.safetensors"), 1.0]
    assert set(one.editor.identity["lora"]) == {"sha256", "scale"}
    same = [{"model": "a.safetensors", "scale": 1}, "copy", "copy/c.safetensors"]
    assert {key(job(lora=given)) for given in same} == {key(one)}
    others = [{"model": "a.safetensors", "scale": 0.5}, "b.safetensors"]
    assert len({key(plain), key(one), *(key(job(lora=given)) for given in others)}) == 4


@pytest.mark.parametrize(
    ("editor", "says"),
    [
        (
            {"lora": "nowhere.safetensors"},
            "editor.lora: 'nowhere.safetensors' is neither a folder here nor a hub id",
        ),
        ({"lora": "some/lora"}, "editor.lora: some/lora is not on this machine"),
        ({"lora": {"model": "x", "scael": 2}}, r"editor.lora.scael: unknown key \(did you mean 'scale'\?\)"),
        ({"lora": {"scale": 2}}, "editor.lora.model: is missing"),
        ({"lora": 3}, "editor.lora: "),
        ({"lora": {"model": "x", "scale": "much"}}, "editor.lora.scale: "),
        ({"hub": "modelscoop"}, "editor.hub: "),
        ({"components": {"vea": "base/vae"}}, r"the model has no 'vea' \(did you mean 'vae'\?\)"),
        ({"components": {"vae": "me/tuned"}}, "editor.components.vae: me/tuned is not on this machine"),
        ({"components": {"vae": "base"}}, "base is a whole pipeline; give base/vae"),
        ({"type": "scripted", "model": None, "lora": "base"}, "editor.lora: scripted takes no LoRA"),
    ],
)
def test_refusals_are_one_line(job, editor, says):
    with pytest.raises(UserError, match=says) as caught:
        job(**editor)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda folder: (folder / "vae/diffusion_pytorch_model.safetensors").unlink(),
            "vae/ holds no weights",
        ),
        (
            lambda folder: (
                folder / "transformer/diffusion_pytorch_model-00002-of-00002.safetensors"
            ).unlink(),
            "transformer/diffusion_pytorch_model-00002-of-00002.safetensors is missing",
        ),
        (
            lambda folder: os.truncate(folder / "vae/diffusion_pytorch_model.safetensors", 9000),
            "vae/diffusion_pytorch_model.safetensors is cut off",
        ),
        (lambda folder: (folder / "scheduler/scheduler_config.json").unlink(), "scheduler/ is missing"),
    ],
)
@pytest.mark.parametrize("of_hub", [False, True])
def test_half_a_model_is_refused_before_anything_is_hashed(tmp_path, job, monkeypatch, spoil, says, of_hub):
    folder = cached(tmp_path, "me/model", pipeline()) if of_hub else tmp_path / "base"
    spoil(folder)
    monkeypatch.setattr("edit_eval.driver.hashes.file_sha256", lambda path: pytest.fail(f"hashed {path}"))
    with pytest.raises(
        ModelError, match=rf"editor.model: .* is incomplete: {says}.*run 'edit-eval fetch CONFIG'"
    ):
        job(model="me/model" if of_hub else "base")


def test_what_a_part_replaces_need_not_be_there(tmp_path, job):
    (tmp_path / "base/vae/diffusion_pytorch_model.safetensors").unlink()
    write(tmp_path, {"own.safetensors": tensor_file(fill=9)})
    assert job(components={"vae": "own.safetensors"})
    (tmp_path / "base/vae/config.json").unlink()
    with pytest.raises(ModelError, match=r"vae/config.json is missing, which says what .*own.safetensors is"):
        job(components={"vae": "own.safetensors"})


def test_a_part_that_is_cut_off(tmp_path, job):
    write(tmp_path, {"own.safetensors": tensor_file()[:-1]})
    with pytest.raises(
        ModelError, match=r"editor.lora: own.safetensors is cut off: .*; run 'edit-eval fetch CONFIG'"
    ):
        job(lora="own.safetensors")
    with pytest.raises(ModelError, match=r"is incomplete: vae: .*own.safetensors is cut off"):
        job(components={"vae": "own.safetensors"})


# Data of a hub


def data_of_a_hub(tmp_path: Path) -> tuple[Path, Path]:
    data = cached(tmp_path, "bench/data", {}, "dataset")
    (data / "data").mkdir(parents=True)
    Image.new("RGB", (32, 24), (9, 90, 200)).save(data / "data" / "one.png")
    return data, cached(tmp_path, "bench/prompts", {"p.json": b"ok"}, ref="v2")


def hubbed(tmp_path: Path, **benchmark: Any) -> dict[str, Any]:
    return {**config_tree(tmp_path, Path("x")), "benchmark": {"type": "hubbed:Hubbed", **benchmark}}


def test_data_of_a_hub_is_found_in_the_cache_and_its_commits_are_recorded(tmp_path):
    data_of_a_hub(tmp_path)
    ran = Ran(hubbed(tmp_path))
    assert [row.sample.id for row in ran.rows] == ["one"]
    assert ran.run.info["data"] == {
        "benchmark.path": {"repository": "bench/data", "commit": COMMIT},
        "benchmark.params.prompts": {"repository": "bench/prompts", "commit": COMMIT},
    }
    again = Ran(hubbed(tmp_path))
    assert not again.worked
    assert again.run.info["data"] == ran.run.info["data"]


def test_data_that_the_user_has_goes_before_that_of_a_hub(tmp_path):
    data, prompts = data_of_a_hub(tmp_path)
    own, texts = tmp_path / "own", tmp_path / "texts"
    data.rename(own)
    prompts.rename(texts)
    ran = Ran(hubbed(tmp_path, path=str(own), params={"prompts": str(texts)}))
    assert ran.run.info["data"] == {}


def test_data_that_is_not_here_or_not_whole(tmp_path):
    says = r"^benchmark.path: bench/data is not on this machine .*; run 'edit-eval fetch CONFIG'"
    with pytest.raises(DataError, match=says):
        prepare(check_config(hubbed(tmp_path)))
    data, _ = data_of_a_hub(tmp_path)
    write_record(data, Record({"data/two.png": {"size": 3}}))
    with pytest.raises(DataError, match=r"bench/data is incomplete: data/two.png is missing"):
        prepare(check_config(hubbed(tmp_path)))


def test_components_of_a_kind_without_a_model(tmp_path):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["x"]), editor__components={"vae": "x"})
    with pytest.raises(ConfigError, match="has no components"):
        prepare(check_config(tree))
