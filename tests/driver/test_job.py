"""From config to job: what is missing is found before any process starts, and keys hold intent, not circumstance."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from harness import config_tree, make_benchmark
from PIL import Image

import edit_eval
from edit_eval.core.errors import ConfigError, DataError, DeviceError, ModelError, RunError, UserError
from edit_eval.driver import job as job_module
from edit_eval.driver.config import check_config
from edit_eval.driver.devices import Gpu
from edit_eval.driver.job import Job, output_folder, prepare
from edit_eval.driver.pipeline import run_job


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(job_module, "visible_gpus", list)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def benchmark(tmp_path) -> Path:
    return make_benchmark(tmp_path / "data", ["make it red", "make it blue", "remove it"])


@pytest.fixture
def job(tmp_path, benchmark):
    """Return `job(run=stages, **changes)` of a small scripted run."""

    def prepared(run=("edit", "judge"), **changes: Any) -> Job:
        fixed = {"editor__type": "scripted", "judge__type": "reference"}
        return prepare(check_config(config_tree(tmp_path, benchmark, **{**fixed, **changes})), stages=run)

    return prepared


def edit_keys(made: Job) -> list[str]:
    return [one.key for one in made.wanted]


def verdict_keys(made: Job) -> list[str]:
    return [made.judge.judging.key(one, "e" * 64) for one in made.wanted]


def rewrite(benchmark: Path, change) -> None:
    """Apply `change` to the list of samples in the table."""
    lines = [json.loads(line) for line in benchmark.read_text().splitlines()]
    benchmark.write_text("".join(json.dumps(line) + "\n" for line in change(lines) or lines))


# Keys


@pytest.mark.parametrize(
    "changes",
    [
        {"editor__devices": ["cpu:0"]},
        {"editor__params": {"seconds": 2.0, "steps": 5, "spread": 1.0}},
        {"editor__max_attempts": 5},
        {"editor__deadlines": {"task_s": 3}},
        {"editor__env": {"A": "b"}},
        {"judge__batch_size": 7},
        {"judge__devices": ["cpu:1"]},
        {"judge__params": {"seconds": 1.0}},
        {"output": "elsewhere"},
        {"stages": "sequential"},
        {"min_coverage": 0.5},
        {"editor__params": {"error_rate": 0}},
    ],
)
def test_circumstances_change_no_key(job, changes):
    before, after = job(), job(**changes)
    assert edit_keys(after) == edit_keys(before)
    assert verdict_keys(after) == verdict_keys(before)
    assert after.identity() == before.identity()


@pytest.mark.parametrize(
    "changes", [{"editor__params": {"error_rate": 0.1}}, {"seed": 1}, {"editor__type": "faulty:FaultyEditor"}]
)
def test_what_changes_pixels_changes_every_edits_key(job, changes):
    before, after = job(), job(**changes)
    assert not set(edit_keys(before)) & set(edit_keys(after))
    assert after.identity() != before.identity()


def test_a_raised_version_is_another_editor_or_judge(job, monkeypatch):
    from edit_eval.editors.scripted import Scripted
    from edit_eval.judges.reference import Reference

    before = job()
    monkeypatch.setattr(Reference, "version", 2)
    assert edit_keys(job()) == edit_keys(before)
    assert not set(verdict_keys(job())) & set(verdict_keys(before))
    monkeypatch.setattr(Scripted, "version", 2)
    assert not set(edit_keys(job())) & set(edit_keys(before))


def test_another_judge_changes_verdicts_only(job):
    before, after = job(), job(judge__type="faulty:FaultyJudge")
    assert edit_keys(before) == edit_keys(after)
    assert not set(verdict_keys(before)) & set(verdict_keys(after))


def test_a_changed_image_changes_its_own_keys_only(job, tmp_path):
    before = job()
    Image.new("RGB", (32, 24), "red").save(tmp_path / "data" / "0001.png")
    after = job()
    same = [old == new for old, new in zip(edit_keys(before), edit_keys(after), strict=True)]
    assert same == [True, False, True]
    same = [old == new for old, new in zip(verdict_keys(before), verdict_keys(after), strict=True)]
    assert same == [True, False, True]


def test_a_moved_benchmark_has_the_same_keys(job, tmp_path):
    before = job()
    shutil.move(tmp_path / "data", tmp_path / "moved")
    after = job(benchmark__path=str(tmp_path / "moved"))
    assert edit_keys(after) == edit_keys(before)
    assert verdict_keys(after) == verdict_keys(before)


def test_order_and_number_of_samples_change_no_key(job, benchmark):
    before = dict(zip(("s0000", "s0001", "s0002"), edit_keys(job()), strict=True))
    rewrite(benchmark, lambda lines: lines[::-1])
    assert {one.sample.id: one.key for one in job().wanted} == before
    limited = job(limit=2)
    assert [one.sample.id for one in limited.wanted] == ["s0002", "s0001"]
    assert {one.sample.id: one.key for one in limited.wanted}.items() <= before.items()


def test_an_exact_target_decides_the_scripted_edit_and_its_verdict(job, benchmark, tmp_path):
    def target(colour: str) -> Job:
        Image.new("RGB", (32, 24), colour).save(tmp_path / "data" / "target.png")
        rewrite(benchmark, lambda lines: [{**lines[0], "target": "target.png"}, *lines[1:]])
        return job()

    red, blue = target("red"), target("blue")
    assert edit_keys(red)[0] != edit_keys(blue)[0]
    assert verdict_keys(red)[0] != verdict_keys(blue)[0]
    assert edit_keys(red)[1:] == edit_keys(blue)[1:]


def test_a_reference_image_is_in_the_key_of_a_judge_that_sees_it(job, benchmark, tmp_path):
    def keys(colour: str, judge: str) -> tuple[str, str]:
        Image.new("RGB", (32, 24), colour).save(tmp_path / "data" / "seen.png")
        rewrite(benchmark, lambda lines: [{**lines[0], "reference": "seen.png"}, *lines[1:]])
        made = job(judge__type=judge)
        return edit_keys(made)[0], verdict_keys(made)[0]

    seen = [keys(colour, "faulty:FaultyJudge") for colour in ("red", "blue")]
    unseen = [keys(colour, "reference") for colour in ("red", "blue")]  # it reads the target only
    assert seen[0][0] == seen[1][0] == unseen[0][0]
    assert seen[0][1] != seen[1][1]
    assert unseen[0][1] == unseen[1][1]


def test_repeats_stand_side_by_side_with_seeds_of_their_own(job):
    once, thrice = job(), job(repeats=3)
    assert [(one.index, one.sample.id, one.repeat) for one in thrice.wanted] == [
        (3 * number + repeat, f"s{number:04}", repeat) for number in range(3) for repeat in range(3)
    ]
    assert len({one.seed for one in thrice.wanted}) == len({one.key for one in thrice.wanted}) == 9
    assert edit_keys(thrice)[::3] == edit_keys(once)


def test_samples_of_one_source_image_are_one_cluster(job, benchmark, tmp_path):
    shutil.copy(tmp_path / "data" / "0000.png", tmp_path / "data" / "copy.png")
    rewrite(
        benchmark, lambda lines: [lines[0], {**lines[1], "image": "copy.png"}, {**lines[2], "cluster": "own"}]
    )
    clusters = [one.sample.cluster for one in job().wanted]
    assert clusters[0] == clusters[1] != ""
    assert clusters[2] == "own"


def test_the_protocol_says_what_was_run(job):
    assert job().protocol == "folder/v1+reference-v1"
    assert job(limit=2).protocol == "folder/v1+limit-2+reference-v1"
    assert job(judge=None).protocol == "folder/v1"


# What may be missing


def test_samples_of_one_id(job, benchmark):
    rewrite(benchmark, lambda lines: [{**line, "id": "same"} for line in lines])
    with pytest.raises(DataError, match=r"two samples have the id 'same', and 1 more ids are used twice"):
        job()


def test_missing_images_are_counted_and_the_first_is_named(job, tmp_path):
    for number in (0, 2):
        (tmp_path / "data" / f"{number:04}.png").unlink()
    with pytest.raises(
        DataError, match=r"the image .*/0000.png of sample 's0000' is missing, and 1 more are missing"
    ):
        job()
    assert len(job(benchmark__path=str(make_benchmark(tmp_path / "whole", ["x"]))).wanted) == 1


@pytest.mark.parametrize("field", ["reference", "target", "image"])
def test_any_image_of_a_sample_may_be_the_missing_one(job, benchmark, field):
    rewrite(benchmark, lambda lines: [{**lines[0], field: "nowhere.png"}])
    with pytest.raises(DataError, match=r"the image .*/nowhere.png of sample 's0000' is missing$"):
        job()


def test_images_beyond_the_limit_are_not_looked_for(job, tmp_path):
    (tmp_path / "data" / "0002.png").unlink()
    assert len(job(limit=2).wanted) == 2


def test_an_empty_benchmark(job, benchmark):
    benchmark.write_text("")
    with pytest.raises(DataError, match=r"the benchmark .*samples.jsonl has no samples"):
        job()


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        ({"benchmark__path": None}, ConfigError, "benchmark.path: folder needs the path"),
        ({"benchmark__path": "none.jsonl"}, DataError, "benchmark.path: there is nothing at none.jsonl"),
        ({"editor__model": "owner/name"}, ConfigError, "editor.model: scripted takes no model"),
        ({"editor__components": {"vae": "x"}}, ConfigError, "editor.components: scripted has no components"),
        ({"editor__params": {"error_rate": 2.0}}, ConfigError, "editor.params.error_rate"),
        (
            {"editor__python": "none/bin/python"},
            ConfigError,
            "editor.python: no interpreter at none/bin/python",
        ),
        ({"judge__python": "none/bin/python"}, ConfigError, "judge.python: no interpreter"),
        ({"judge__rubric": "generl-v1"}, ConfigError, "did you mean 'general-v1'?"),
        (
            {"editor__devices": ["cuda:0"]},
            DeviceError,
            "editor.devices: cuda:0 asked for, but there is no GPU here",
        ),
        (
            {"judge__devices": "gpu:0"},
            DeviceError,
            "judge.devices: unknown device 'gpu:0' (did you mean 'cuda:0'?)",
        ),
        ({"editor__devices": []}, DeviceError, "editor.devices: an empty list"),
        (
            {"editor__type": "qwen_image_edit", "editor__devices": "cpu:0"},
            ConfigError,
            "editor.model: is missing",
        ),
        (
            {"editor__type": "qwen_image_edit", "editor__devices": "cpu:0", "editor__model": "data"},
            ModelError,
            "editor.model: data holds no model: model_index.json is missing",
        ),
        (
            {
                "judge__type": "qwen3_vl",
                "judge__devices": "cpu:0",
                "judge__model": "Qwen/Qwen3-VL-8B-Instruct",
            },
            ModelError,
            "judge.model: Qwen/Qwen3-VL-8B-Instruct is not on this machine",
        ),
        (
            {"editor__type": "qwen_image_edit", "editor__model": "a/b", "editor__devices": None},
            DeviceError,
            "no GPU",
        ),
        (
            {"judge__type": "qwen3_vl", "judge__model": "a/b", "judge__devices": "auto"},
            DeviceError,
            "no GPU here",
        ),
        ({"editor__type": "precomputed"}, ConfigError, "editor.params.folder is missing"),
    ],
)
def test_what_the_user_can_mend(job, changes, kind, says):
    with pytest.raises(kind) as caught:
        job(**changes)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UserError)


def test_an_image_that_cannot_be_read(job, benchmark):
    rewrite(benchmark, lambda lines: [{**lines[0], "image": "/proc/self/mem"}])
    with pytest.raises(DataError, match=r"sample 's0000': cannot read /proc/self/mem: Input/output error"):
        job()


def test_a_stage_that_does_not_run_is_not_looked_for(job, tmp_path):
    assert job(("edit",), judge__python="none", judge__devices=["cuda:7"]).judge is None
    with pytest.raises(RunError, match=r"holds no edits yet; make them with 'edit-eval edit'"):
        job(("judge",))
    with pytest.raises(ConfigError, match="judge: is missing"):
        job(("judge",), judge=None)
    assert not (tmp_path / "run").exists()


def test_nothing_is_written_into_a_folder_of_something_else(job, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.docx").write_text("x")
    with pytest.raises(RunError, match=r"holds other files \('thesis\.docx' ...\) and is no run"):
        job(benchmark__type="scenes", benchmark__path=None, benchmark__params={"n": 2})
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.docx"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"judge__rubric": "nope"}, "no rubric 'nope'"),
        ({"judge__type": "qwen3_vl", "judge__model": "/nowhere"}, "judge.model: no model folder"),
        (
            {"editor__components": {"transformer": "/nowhere"}},
            "editor.components: the model has no 'transformer'",
        ),
    ],
)
def test_cheap_faults_come_before_weights_are_read(job, tmp_path, monkeypatch, changes, says):
    model = tmp_path / "model"
    model.mkdir()
    (model / "model_index.json").write_text('{"_class_name": "QwenImageEditPipeline"}')
    (model / "weights.safetensors").write_bytes(b"0123456789")
    monkeypatch.setattr("edit_eval.driver.hashes.file_sha256", lambda path: pytest.fail(f"hashed {path}"))
    with pytest.raises(UserError, match=says):
        job(**{"editor__type": "qwen_image_edit", "editor__model": str(model), **changes})


# Devices and outputs


def test_auto_is_one_device(job, monkeypatch):
    made = job(editor__devices="auto", judge__devices="auto")
    assert [device.name for device in made.editor.spec.devices] == ["cpu-0"]
    monkeypatch.setattr(job_module, "visible_gpus", lambda: [Gpu(0, "3"), Gpu(1, "4")])
    made = job(editor__devices="auto", judge__devices="all")
    assert [device.tokens for device in made.editor.spec.devices] == [("3",)]
    assert [device.tokens for device in made.judge.stage.spec.devices] == [("3",), ("4",)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"output": "somewhere/else"}, "somewhere/else"),
        ({"output": None}, "runs/scripted-folder"),
        ({"output": None, "editor__model": "Qwen/Qwen-Image-Edit-2509"}, "runs/Qwen-Image-Edit-2509-folder"),
        ({"output": None, "editor__model": "/ckpt/mine/"}, "runs/mine-folder"),
    ],
)
def test_where_a_run_goes(tmp_path, benchmark, changes, expected):
    checked = check_config(config_tree(tmp_path, benchmark, editor__type="scripted", **changes))
    assert output_folder(checked) == tmp_path / expected


# What a host is told


def test_a_host_sees_edit_eval_and_the_plugin_and_is_told_everything(job, tmp_path):
    made = job(editor__type="faulty:FaultyEditor", editor__env={"MINE": 1, "OMP_NUM_THREADS": "4"})
    spec = made.editor.spec
    host = spec.host_spec(spec.devices[0], tmp_path / "a.log", 2)
    plugin = Path(__file__).resolve().parents[1] / "plugins" / "faulty.py"
    assert host["links"] == {
        "edit_eval": str(Path(edit_eval.__file__).resolve().parent),
        "faulty.py": str(plugin),
    }
    assert host["env"]["MINE"] == "1"
    assert host["env"]["OMP_NUM_THREADS"] == "4"  # what the user says wins
    assert host["env"]["CUDA_VISIBLE_DEVICES"] == ""
    assert host["env"]["TOKENIZERS_PARALLELISM"] == "false"
    assert host["env"]["VLLM_USE_FLASHINFER_MOE_FP16"] == "0"
    assert host["env"]["VLLM_USE_FLASHINFER_SAMPLER"] == "0"
    load = spec.load(spec.devices[0])
    assert json.loads(json.dumps(load)) == load
    assert (load["target"], load["devices"]) == ("faulty:FaultyEditor", ["cpu"])
    assert made.judge.stage.spec.load(spec.devices[0])["options"] == {"batch_size": 2}


def test_local_weights_changed_in_place_are_another_identity(tmp_path, benchmark, monkeypatch):
    from faulty import FaultyEditor

    monkeypatch.setattr(FaultyEditor, "model_file", "config.json", raising=False)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    header = b'{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
    (model / "weights.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"01")

    def keys() -> list[str]:
        return edit_keys(prepare(check_config(config_tree(tmp_path, benchmark, editor__model=str(model)))))

    before = keys()
    assert keys() == before
    with (model / "weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"X")
    assert not set(keys()) & set(before)
    shutil.copytree(model, tmp_path / "copy")
    assert (
        edit_keys(
            prepare(check_config(config_tree(tmp_path, benchmark, editor__model=str(tmp_path / "copy"))))
        )
        == keys()
    )


@pytest.mark.parametrize("file", ["0000.png", "target.png", "reference.png"])
def test_scoring_refuses_images_that_changed_since_they_were_edited(job, benchmark, tmp_path, file):
    for name in ("target.png", "reference.png"):
        shutil.copy(tmp_path / "data" / "0001.png", tmp_path / "data" / name)
    rewrite(
        benchmark, lambda lines: lines[0].update(target="target.png", references=["reference.png"]) or lines
    )
    made = job(run=("edit",))
    run_job(made, lambda event: None, stages=("edit",))
    assert len(job(run=("judge",)).wanted) == 3
    Image.new("RGB", (32, 24), (1, 2, 3)).save(tmp_path / "data" / file)
    with pytest.raises(DataError, match="'s0000' changed since it was edited; use 'edit-eval run'"):
        job(run=("judge",))
    assert job(run=("edit", "judge")).wanted
