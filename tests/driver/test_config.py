"""Configs: the user's shape and ours are one, precedence holds, and every fault is said at once, with its mend."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cpu_time import within
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.core.errors import ConfigError
from edit_eval.driver.config import Checked, check_config, load_config
from edit_eval.driver.registry import ALIASES

ROOT = Path(__file__).resolve().parents[2]
OURS = """
benchmark: {type: folder, path: data/samples.jsonl}
editor:
  type: qwen_image_edit
  model: Qwen/Qwen-Image-Edit-2509
  devices: [0, 1, 2, 3, 4, 5]
  python: envs/edit/bin/python
  params: {num_inference_steps: 30, true_cfg_scale: 4.0}
judge:
  type: qwen3_vl
  model: Qwen/Qwen3-VL-30B-A3B-Instruct
  devices: [0, 1]
  batch_size: 2
  params: {max_new_tokens: 256}
seed: 3
output: runs/x
"""
THEIRS = """
benchmark: {type: folder, path: data/samples.jsonl}
diffusion_model:
  type: multi_gpu_qwen_image_edit
  params:
    model: Qwen/Qwen-Image-Edit-2509
    device_ids: [0, 1, 2, 3, 4, 5]
    python: envs/edit/bin/python
    num_inference_steps: 30
    true_cfg_scale: 4.0
reward_model:
  type: qwen3_vl_multi_gpu_subprocess
  params: {device_ids: [0, 1], batch_size: 2, max_new_tokens: 256}
seed: 3
output: runs/x
"""
SMALL = "benchmark: {type: scenes}\neditor: {type: scripted}\n"


@pytest.fixture
def load(tmp_path):
    """Return `load(text, *overrides, base=None)`."""

    def loaded(text: str | bytes, *overrides: str, base: Any = None) -> Checked:
        path = tmp_path / "c.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path, overrides, base)

    return loaded


@pytest.fixture
def faults(load):
    """Return `faults(text, *overrides)`: the problems of a config that is refused, each one line."""

    def found(text: str | bytes, *overrides: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides)
        assert caught.value.problems
        return caught.value.problems

    return found


# Two shapes, one config


def test_the_users_shape_is_ours(load):
    theirs, ours = load(THEIRS), load(OURS)
    assert theirs == ours
    assert ours.config.editor.devices == [0, 1, 2, 3, 4, 5]
    assert ours.config.judge.batch_size == 2
    assert ours.params["editor"].num_inference_steps == 30


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            "reward_model: {type: qwen3_vl_subprocess, params: {device: auto, batch_size: 4}}",
            "judge: {type: qwen3_vl, model: Qwen/Qwen3-VL-30B-A3B-Instruct, devices: auto, batch_size: 4}",
        ),
        (
            "reward_model: {type: qwen3_vl_multi_gpu_subprocess, params: {device_ids: [2]}}",
            "judge: {type: qwen3_vl, model: Qwen/Qwen3-VL-30B-A3B-Instruct, devices: [2]}",
        ),
        (
            "reward_model: {type: qwen3_vl_subprocess, params: {model: Qwen/Qwen3-VL-8B-Instruct, conda: qwen, env: {A: 1}}}",
            "judge: {type: qwen3_vl, model: Qwen/Qwen3-VL-8B-Instruct, conda: qwen, env: {A: 1}}",
        ),
        (
            "reward_model: {type: qwen3_vl, params: {model: m/m, rubric: general-v1, devices: all}}",
            "judge: {type: qwen3_vl, model: m/m, rubric: general-v1, devices: all}",
        ),
        (
            "judge: {type: qwen3_vl, model: m/m, device_ids: [1]}",
            "judge: {type: qwen3_vl, model: m/m, devices: [1]}",
        ),
    ],
)
def test_every_lifted_setting(load, theirs, ours):
    assert load(SMALL + theirs) == load(SMALL + ours)


def test_the_alias_of_the_editor_carries_its_model(load):
    found = load(
        "benchmark: {type: scenes}\ndiffusion_model: {type: multi_gpu_qwen_image_edit}"
    ).config.editor
    assert (found.type, found.model) == ("qwen_image_edit", "Qwen/Qwen-Image-Edit")


def test_components_are_lifted_too(load):
    text = (
        "benchmark: {type: scenes}\n"
        "diffusion_model: {type: multi_gpu_qwen_image_edit, params: {components: {transformer: ckpt/500}}}"
    )
    assert load(text).config.editor.components == {"transformer": "ckpt/500"}


@pytest.mark.parametrize("name", ["config_full_multi_gpu.yaml", "config_multi_gpu_subprocess.yaml"])
def test_the_two_configs_at_the_root(name):
    checked = load_config(ROOT / name)
    assert checked.config.editor.devices == [0, 1, 2, 3, 4, 5]
    assert checked.config.judge.devices == ([0, 1, 2, 3, 4, 5] if "full" in name else "auto")
    assert (checked.editor.name, checked.judge.name) == ("qwen_image_edit", "qwen3_vl")
    assert checked.params["editor"].num_inference_steps == 30


def test_a_run_is_repeated_from_what_it_recorded(load):
    for text in (OURS, THEIRS, SMALL):
        first = load(text)
        recorded = json.loads(json.dumps(first.config.model_dump(mode="json")))
        assert load_config(None, (), recorded) == first


# Precedence


@pytest.mark.parametrize("text", [OURS, THEIRS])
@pytest.mark.parametrize(
    ("override", "where", "value"),
    [
        ("editor.devices=[cpu:0]", "editor.devices", ["cpu:0"]),
        ("editor.device_ids=[7]", "editor.devices", [7]),
        ("editor.params.device_ids=[7]", "editor.devices", [7]),
        ("diffusion_model.params.device_ids=[7]", "editor.devices", [7]),
        ("editor.device=auto", "editor.devices", "auto"),
        ("editor.model=/models/mine", "editor.model", "/models/mine"),
        ("diffusion_model.params.model=/models/mine", "editor.model", "/models/mine"),
        ("editor.type=multi_gpu_qwen_image_edit", "editor.model", "Qwen/Qwen-Image-Edit-2509"),
        ("judge.batch_size=1", "judge.batch_size", 1),
        ("reward_model.params.batch_size=1", "judge.batch_size", 1),
        ("seed=4", "seed", 4),
        ("output=elsewhere", "output", "elsewhere"),
        ("judge=null", "judge", None),
        (
            "editor.params.num_inference_steps=2",
            "editor.params",
            {"num_inference_steps": 2, "true_cfg_scale": 4.0},
        ),
        ("editor.params={}", "editor.params", {"num_inference_steps": 30, "true_cfg_scale": 4.0}),
        ("editor.env.A=b", "editor.env", {"A": "b"}),
    ],
)
def test_an_override_wins_over_the_file_in_either_shape(load, text, override, where, value):
    found: Any = load(text, override).config
    for name in where.split("."):
        found = getattr(found, name)
    assert found == value


def test_of_two_overrides_the_later_wins(load):
    assert load(SMALL, "seed=1", "seed=2").config.seed == 2
    assert load(SMALL, "editor.devices=[cpu:0]", "editor.params.device_ids=[1]").config.editor.devices == [1]


def test_base_is_below_file_is_below_override(load):
    base = {
        "seed": 1,
        "repeats": 2,
        "limit": 3,
        "diffusion_model": {"params": {"device_ids": [5], "error_rate": 0.5}},
    }
    text = SMALL + "seed: 10\nlimit: 30\n"
    config = load(text, "limit=300", base=base).config
    assert (config.seed, config.repeats, config.limit) == (10, 2, 300)
    assert (config.editor.devices, config.editor.params) == ([5], {"error_rate": 0.5})


def test_the_model_of_an_alias_is_below_every_model_that_was_given(load):
    base = {"editor": {"model": "/mine"}}
    text = "benchmark: {type: scenes}\ndiffusion_model: {type: multi_gpu_qwen_image_edit}"
    assert load(text, base=base).config.editor.model == "/mine"
    # and goes away with the alias: a quick test of the user's config with the scripted editor
    scripted = load(text, "editor.type=scripted").config.editor
    assert (scripted.type, scripted.model) == ("scripted", None)


def test_neither_base_nor_overrides_are_changed_by_reading(load):
    base = {"editor": {"params": {"device_ids": [0], "error_rate": 0.5}}}
    before = json.dumps(base)
    load(SMALL, "editor.params.error_rate=0.1", base=base)
    assert json.dumps(base) == before


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("seed", "--set seed: write it as a.b=value"),
        ("=3", "write it as a.b=value"),
        ("", "write it as a.b=value"),
        ("editor..type=x", "write it as a.b=value"),
        (".seed=1", "write it as a.b=value"),
        ("editor.=1", "write it as a.b=value"),
        ("seed=[1", "--set seed: line 1 is not YAML"),
        ("seed=*x", "aliases"),
        ("seed=x", "seed: input should be a valid integer"),
        ("seed=", "seed: input should be a valid integer"),
        ("sed=1", "sed: unknown key (did you mean 'seed'?)"),
        ("editor=scripted", "editor: input should be a valid dictionary"),
        ("seed.x=1", "seed: input should be a valid integer"),
    ],
)
def test_overrides_that_are_none(faults, override, says):
    [problem] = faults(SMALL, override)
    assert says in problem


def test_an_override_may_hold_equal_signs(load):
    assert load(SMALL, "output=a=b").config.output == "a=b"


# Faults


def test_every_fault_is_said_at_once(faults):
    text = """
benchmark: {type: folder, pth: data, params: {langage: en}}
editor:
  type: scripted
  devcies: [cpu:0]
  max_attempts: 0
  params: {eror_rate: 0.1, seconds: fast}
  deadlines: {load: 3}
judge: {type: qwen3_v, batch_size: two}
repeats: -1
sed: 4
stages: parallel
"""
    problems = faults(text)
    for says in (
        "benchmark.pth: unknown key (did you mean 'path'?)",
        "benchmark.params.langage: folder has no such parameter (did you mean 'language'?)",
        "editor.devcies: unknown key (did you mean 'devices'?)",
        "editor.max_attempts: input should be greater than or equal to 1",
        "editor.params.eror_rate: scripted has no such parameter (did you mean 'error_rate'?)",
        "editor.params.seconds: input should be a valid number",
        "editor.deadlines.load: unknown key (did you mean 'load_s'?)",
        "judge.type: no judge is called 'qwen3_v' (did you mean 'qwen3_vl'?)",
        "judge.batch_size: input should be a valid integer",
        "repeats: input should be greater than or equal to 1",
        "sed: unknown key (did you mean 'seed'?)",
        "stages: input should be 'overlapped' or 'sequential'",
    ):
        assert says in problems
    assert len(problems) == 12


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("diffusion_mode", "did you mean 'diffusion_model'?"),
        ("reward", "did you mean 'reward_model'?"),
        ("editr", "did you mean 'editor'?"),
        ("zzz", "there are backend, benchmark, busy_gpus, editor"),
    ],
)
def test_an_unknown_section_has_its_hint_in_either_shape(faults, key, hint):
    [problem] = faults(SMALL + f"{key}: {{}}")
    assert problem.startswith(f"{key}: unknown key")
    assert hint in problem


@settings(deadline=None, max_examples=60)
@given(st.sets(st.text("abcdefxyz_", min_size=3, max_size=9), min_size=1, max_size=6))
def test_any_unknown_keys_are_all_named(tmp_path_factory, unknown):
    known = {
        "benchmark",
        "editor",
        "judge",
        "seed",
        "repeats",
        "limit",
        "output",
        "stages",
        "min_coverage",
        "busy_gpus",
    }
    unknown -= known
    path = tmp_path_factory.mktemp("c") / "c.yaml"
    tree: dict[str, Any] = {"benchmark": {"type": "scenes"}, "editor": {"type": "scripted", "params": {}}}
    tree |= dict.fromkeys(unknown, 1)
    fields = {"error_rate", "seconds", "steps", "spread"}
    tree["editor"]["params"] = dict.fromkeys(unknown - fields, 1)
    path.write_text(yaml.safe_dump(tree))
    if not unknown:
        load_config(path)
        return
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    named = {problem.split(":")[0] for problem in caught.value.problems}
    assert named == unknown | {f"editor.params.{key}" for key in unknown - fields}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed: '3'", "seed: input should be a valid integer"),
        ("seed: 3.5", "seed: input should be a valid integer"),
        ("seed: true", "seed: input should be a valid integer"),
        ("limit: 0", "limit: input should be greater than or equal to 1"),
        ("output: 3", "output: input should be a valid string"),
        ("min_coverage: 1.1", "min_coverage: input should be less than or equal to 1"),
        ("min_coverage: .nan", "min_coverage: input should be a finite number"),
        (
            "judge: {type: reference, batch_size: 0}",
            "judge.batch_size: input should be greater than or equal to 1",
        ),
        (
            "judge: {type: reference, deadlines: {load_s: .inf}}",
            "judge.deadlines.load_s: input should be a finite number",
        ),
        (
            "judge: {type: reference, deadlines: {load_s: 0}}",
            "judge.deadlines.load_s: input should be greater than 0",
        ),
        ("judge: {type: reference, env: [a]}", "judge.env: input should be a valid dictionary"),
        ("judge: {type: reference, params: [1]}", "judge.params: input should be a valid dictionary"),
        ("judge: {type: 3}", "judge.type: input should be a valid string"),
        ("judge: {}", "judge.type: is missing"),
        ("judge: reference", "judge: input should be a valid dictionary"),
        ("judge: {type: reference, components: {a: b}}", "judge.components: unknown key"),
        ("1: 2", "the key '1' is no text; put it in quotes"),
    ],
)
def test_wrong_values(faults, text, says):
    problems = faults(SMALL + text)
    assert len(problems) == 1
    assert says in problems[0]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ("{error_rate: '0.5'}", "editor.params.error_rate: input should be a valid number"),
        ("{error_rate: true}", "editor.params.error_rate: input should be a valid number"),
        ("{steps: 3.5}", "editor.params.steps: input should be a valid integer"),
        ("{error_rate: .nan}", "editor.params.error_rate: must be made of texts, finite numbers"),
        ("{seconds: .inf}", "editor.params.seconds: must be made of texts, finite numbers"),
        ("{error_rate: [1]}", "editor.params.error_rate: input should be a valid number"),
        ("{error_rate: null}", "editor.params.error_rate: input should be a valid number"),
    ],
)
def test_wrong_parameters(faults, params, says):
    [problem] = faults(f"benchmark: {{type: scenes}}\neditor: {{type: scripted, params: {params}}}")
    assert problem.startswith(says)


def test_a_word_that_yaml_takes_for_true_or_false_is_meant_as_the_word(load, faults):
    judge = "benchmark: {type: scenes}\neditor: {type: scripted}\njudge: {type: vlm, model: m, params: {%s}}"
    assert load(judge % "constrained: off").params["judge"].constrained == "off"
    [problem] = faults(judge % "constrained: on")
    assert problem == "judge.params.constrained: input should be 'auto' or 'off'"
    [problem] = faults(judge % "mode: off")
    assert problem == "judge.params.mode: input should be 'generate' or 'expected'"
    [problem] = faults(judge % "constrained: 0")
    assert problem.startswith("judge.params.constrained: input should be")


def test_lists_may_stand_for_tuples_and_whole_numbers_for_floats():
    @dataclasses.dataclass(frozen=True)
    class Params:
        size: tuple[int, int] = (1, 2)
        scale: float = 1.5

    from edit_eval.driver.config import _check_params

    class Target:
        name = "target"
        cls = type("Cls", (), {"Params": Params})

    params, problems = _check_params("editor", Target, {"size": [3, 4], "scale": 2})
    assert (params, problems) == (Params((3, 4), 2.0), [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "editor: {type: scripted}\ndiffusion_model: {type: scripted}",
            "both editor and diffusion_model are given",
        ),
        ("editor: {type: scripted, devices: all, params: {devices: all}}", "editor.devices is given twice"),
        (
            "editor: {type: scripted, devices: all, device_ids: [0]}",
            "devices and device_ids are given; keep one",
        ),
        (
            "editor: {type: scripted, params: {device: auto, device_ids: [0]}}",
            "device_ids and device are given; keep one",
        ),
    ],
)
def test_things_said_twice(faults, text, says):
    assert says in faults("benchmark: {type: scenes}\n" + text)[0]


def test_what_is_missing(faults):
    assert set(faults("seed: 3")) == {"benchmark: is missing", "editor: is missing"}
    assert faults("benchmark: {path: x}\neditor: {type: scripted}") == ["benchmark.type: is missing"]


# Files


def test_no_config_suggests_its_neighbour(tmp_path):
    (tmp_path / "config_full.yaml").write_text(SMALL)
    with pytest.raises(
        ConfigError, match=r"no config at .*confg_full.yaml \(did you mean 'config_full.yaml'\?\)"
    ):
        load_config(tmp_path / "confg_full.yaml")
    with pytest.raises(ConfigError, match="no config at"):
        load_config(tmp_path / "none" / "c.yaml")


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the config .*[Ii]s a directory"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("benchmark: {type: scenes\neditor: {type: scripted}\n", 2),
        ("benchmark:\n  type: scenes\n editor: x\n", 3),
        ("a: b: c\n", 1),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 'open\n", 2),
    ],
)
def test_broken_yaml_names_its_line(faults, text, line):
    [problem] = faults(text)
    assert f"c.yaml: line {line} is not YAML: " in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("2026-13-45", "2026-13-45 is a date to YAML; put it in quotes"),
        ("2024-01-01", "2024-01-01 is a date to YAML; put it in quotes"),
        ("2024-01-01 10:00:00", "2024-01-01 10:00:00 is a date to YAML; put it in quotes"),
        ("!!timestamp now", "now is a date to YAML"),
        ("!!int x", "x cannot be read as a number"),
        ("!!float x", "x cannot be read as a number"),
        ("9" * 5000, f"{'9' * 80}... cannot be read as a number"),
        ("0x" + "f" * 5000, f"0x{'f' * 78}... cannot be read as a number"),
        ("!!bool maybe", "'maybe' is neither true nor false"),
        ("010", "010 is the number 8 to YAML; write 8, or put it in quotes"),
        ("12:30", "12:30 is the number 750 to YAML; write 750, or put it in quotes"),
        ("-1:30:00.5", "-1:30:00.5 is the number -5400.5 to YAML"),
        (
            "!!python/object/apply:os.system ['true']",
            "the tag !!python/object/apply:os.system is not allowed",
        ),
        ("!!python/none", "the tag !!python/none is not allowed"),
        ("!!binary aGVsbG8=", "the tag !!binary is not allowed"),
        ("!!set {a}", "the tag !!set is not allowed"),
        ("!!omap [a: 1]", "the tag !!omap is not allowed"),
        ("!mine x", "the tag !mine is not allowed"),
        ("{<<: {a: 1}}", "merge keys (<<) are not allowed"),
        ("{1: 2}", "the key '1' is no text"),
        ("{yes: 2}", "the key 'yes' is no text"),
        ("{null: 2}", "the key 'null' is no text"),
        ("{2024-01-01: 2}", "the key '2024-01-01' is no text"),
        ("{? [1] : 2}", "the key a list or mapping is no text"),
    ],
)
def test_what_yaml_reads_as_something_else_is_refused_with_its_key(faults, value, says):
    [problem] = faults(f"{SMALL}seed: {value}\n")
    assert f"c.yaml: line 3: seed: {says}" in problem
    assert len(problem) < 300


def test_a_bomb_of_aliases_is_refused_before_it_goes_off(faults):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    [problem] = faults("\n".join(lines))
    assert "aliases (*a0) are not allowed" in problem
    [problem] = faults("a: &a [*a]")
    assert "aliases" in problem
    [problem] = faults("x: &x {type: scripted}\neditor:\n  <<: *x\n")
    assert "aliases" in problem


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 50_000, "- " * 30_000])
def test_depth_is_no_crash(faults, text):
    with within(2):
        [problem] = faults(text)
        assert "nested too deeply" in problem


def test_reasonable_depth_is_allowed(load):
    deep = "[" * 30 + "]" * 30
    config = load(f"{SMALL}judge: {{type: reference, env: {{A: b}}, devices: {deep}}}").config
    assert config.judge.env == {"A": "b"}


def test_size_is_limited(faults, tmp_path):
    assert "larger than 1 MiB" in faults("# " + "x" * (1 << 20))[0]
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load_config("/dev/zero")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text", "3", "", "# only a comment\n", "null", "[]"])
def test_what_is_no_mapping(faults, text):
    [problem] = faults(text)
    assert "is no config: expected keys such as benchmark, editor and judge" in problem


@pytest.mark.parametrize("text", [b"\xff\xfe\x00seed", b"seed: \xe9\n", b"\x80\x04\x95"])
def test_what_is_no_text(faults, text):
    [problem] = faults(text)
    assert "cannot read the config" in problem
    assert problem.endswith("; save it as UTF-8")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings(faults, encoding):
    [problem] = faults(SMALL.encode(encoding))
    assert "UTF-16; save it as UTF-8" in problem or "U+0000" in problem or "UTF-8" in problem


def test_control_characters(faults):
    [problem] = faults("\nseed: \0")
    assert "c.yaml: line 2 is not YAML: the control character U+0000 is in it; take it out" in problem
    [problem] = faults(b"seed: \xc2\x9b31m")
    assert "U+009B" in problem


def test_halves_of_characters_are_joined_as_json_writes_them(load):
    assert load(SMALL + r'output: "runs/\ud83d\ude42"').config.output == "runs/🙂"


def test_texts_that_are_signs_to_yaml(load):
    assert load(SMALL + "output: =").config.output == "="
    assert load(SMALL + "output: <<").config.output == "<<"


@pytest.mark.parametrize(
    "text",
    [
        "x: [" + "1," * 500_000 + "1]",
        "- 1\n" * 200_000,
        "a: " + "x " * 500_000,
        'a: "' + "\\u0041" * 150_000 + '"',
        "# x\n" * 200_000,
        "a: |\n" + "  x\n" * 200_000,
        "".join(f"k{n}: 1\n" for n in range(100_000)),
        "---\n" * 200_000,
        "!a " * 300_000,
        "&a " * 300_000,
        "? " * 500_000,
        "{" * 1_000 + "[" * 500_000,
        "%TAG !a! b\n" * 80_000,
        "'" * 1_000_000,
        " " * 1_000_000,
        "a:\n" + " b:" * 300_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_large_file_is_read_or_refused_soon(load, text):
    with within(5):  # 2 s on a quiet machine
        with pytest.raises(ConfigError) as caught:
            load(text)
        assert len(str(caught.value)) < 500


def test_byte_order_mark_line_ends_and_chinese(load):
    assert load(b"\xef\xbb\xbf" + SMALL.encode()).config.seed == 0
    assert load((SMALL + "output: 运行/一\n").replace("\n", "\r\n")).config.output == "运行/一"


def test_every_alias_of_the_registry_is_read(load):
    for kind, section in (("editor", "diffusion_model"), ("judge", "reward_model")):
        for name, alias in ALIASES[kind].items():
            rest = "" if kind == "editor" else "editor: {type: scripted}\n"
            config = load(f"benchmark: {{type: scenes}}\n{rest}{section}: {{type: {name}}}").config
            assert getattr(config, kind).type == alias.type
            assert getattr(config, kind).model == alias.model


def test_what_is_checked_cannot_be_changed():
    checked = check_config({"benchmark": {"type": "scenes"}, "editor": {"type": "scripted"}})
    with pytest.raises(dataclasses.FrozenInstanceError):
        checked.config = None
    with pytest.raises(ValueError, match="frozen"):
        checked.config.seed = 3


def test_a_key_that_stands_twice_is_refused_not_dropped(faults):
    [problem] = faults("seed: 1\neditor: {type: scripted}\nseed: 2\n")
    assert "line 3: the key 'seed' stands twice" in problem


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "PYTHONSAFEPATH"])
def test_variables_that_we_set_ourselves_are_refused(name):
    tree = {
        "benchmark": {"type": "scenes"},
        "editor": {"type": "scripted", "env": {name: "1"}},
    }
    with pytest.raises(ConfigError, match=rf"editor\.env\.{name}: edit-eval sets it itself"):
        check_config(tree)


def test_overrides_are_above_what_a_command_replaces():
    base = {"benchmark": {"type": "scenes"}, "editor": {"type": "scripted", "params": {"steps": 3}}}
    editor = {"type": "precomputed", "params": {"folder": "x"}}
    checked = load_config(None, ["editor.params.names='{id}_out'"], base=base, replace={"editor": editor})
    assert checked.config.editor.params == {"folder": "x", "names": "{id}_out"}


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=9)
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["benchmark", "editor", "judge", "seed", "output", "stages", "x", "diffusion_model"]
            ),
            st.sampled_from(
                ["", "type", "params", "env", "devices", "deadlines", "model", "components", "y"]
            ),
            TREES,
        ),
        max_size=4,
    )
)
def test_any_tree_is_checked_or_refused_with_reasons(changes):
    tree: dict[str, Any] = {"benchmark": {"type": "scenes"}, "editor": {"type": "scripted"}}
    for section, key, value in changes:
        if key and isinstance(tree.get(section), dict):
            tree[section][key] = value
        else:
            tree[section] = value
    problems: list[str] | None = None
    try:
        check_config(tree)
    except ConfigError as error:
        problems = error.problems
    assert problems is None or (problems and not [one for one in problems if "\n" in one])
