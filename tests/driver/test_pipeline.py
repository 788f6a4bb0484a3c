"""One start of a run, with real processes: what is recorded, what is done again, what is only said."""

from __future__ import annotations

import json
import os

import pytest
from harness import Ran, config_tree, make_benchmark

from edit_eval.core.errors import ConfigError, RunError
from edit_eval.driver import hashes
from edit_eval.driver.changes import changes
from edit_eval.driver.config import load_config
from edit_eval.driver.events import Note
from edit_eval.driver.store import RunReader


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def warnings(ran: Ran) -> list[str]:
    return [note.text for note in ran.of(Note) if note.level == "warning"]


@pytest.mark.parametrize("verify", [False, True])
def test_an_edit_altered_on_the_disk_is_not_judged_and_made_again(tmp_path, verify):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["-", "-"]))
    first = Ran(tree, stages=("edit",))
    image = first.run.path / first.rows[0].image
    stat, data = image.stat(), bytearray(image.read_bytes())
    data[-20] ^= 1
    image.write_bytes(data)
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    noticed = Ran(tree)
    assert [row.verdict is None for row in noticed.rows] == [True, False]
    assert len(noticed.run.verdicts) == 1
    assert any("'s0000' is not judged" in text and "was altered" in text for text in warnings(noticed))

    again = Ran(tree, verify=verify)
    assert again.worked
    assert [row.verdict.overall is not None for row in again.rows] == [True, True]
    assert not Ran(tree).worked


@pytest.mark.parametrize("stage", ["edit", "judge"])
def test_a_source_that_changes_while_the_run_goes_on_is_left_undone(tmp_path, stage):
    """The first while it is worked on, the third before its turn; the next start takes both for what they are now."""
    data = tmp_path / "data"
    ways = [f"once:alter:{data / '0000.png'}", f"once:alter:{data / '0002.png'}", "-"]
    if stage == "edit":
        table = make_benchmark(data, ways)
    else:
        table = make_benchmark(data, ["-"] * 3, [{"judge": way} for way in ways])
    tree = config_tree(tmp_path, table, editor__devices=["cpu:0"], judge__devices=["cpu:0"])
    tree["judge"]["batch_size"] = 3
    first = Ran(tree)
    assert [row.verdict is None for row in first.rows] == [True, False, True]
    if stage == "edit":
        assert [row.edited for row in first.rows] == [None, True, None]
    said = [text for text in warnings(first) if "while the run went on; give the same command again" in text]
    what = {"edit": "edited", "judge": "judged"}[stage]
    assert sorted(text.split(":")[0] for text in said) == [
        f"sample 's0000' is not {what}",
        f"sample 's0002' is not {what}",
    ]
    assert not [record for record in first.run.edits.values() if record["status"] == "failed"]

    again = Ran(tree)
    assert [row.verdict.overall is not None for row in again.rows] == [True] * 3
    assert [row.edit_key == old.edit_key for row, old in zip(again.rows, first.rows, strict=True)] == [
        False,
        True,
        False,
    ]
    assert not Ran(tree).worked


def test_a_stage_that_was_not_there_before_is_no_change(tmp_path):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["-"]), judge__params={"load": ""})
    Ran(tree, stages=("edit",))
    assert warnings(Ran(tree, stages=("judge",))) == []
    assert warnings(Ran(tree)) == []
    changed = warnings(Ran({**tree, "seed": 1}))
    assert len(changed) == 1
    assert "changed since this run began: seed: 0 -> 1" in changed[0]


def test_numbers_and_lists_are_compared_as_json_has_them():
    before = {"editor": {"size": [1, 2], "scale": 4}, "judge": None}
    assert changes(before, {"editor": {"size": (1, 2), "scale": 4.0}, "judge": {"name": "x"}}) == []
    assert changes(before, {"editor": {"size": (1, 3), "scale": 4.0}}) == ["editor.size: [1, 2] -> [1, 3]"]


def test_a_start_without_work_leaves_the_run_as_it_is(tmp_path):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["-"]))
    first = Ran(tree)
    before = (first.run.path / "run.json").read_bytes(), (first.run.path / "samples.jsonl").stat().st_ino
    again = Ran(tree)
    assert not again.worked
    assert len(again.run.info["starts"]) == 1
    assert (
        (first.run.path / "run.json").read_bytes(),
        (first.run.path / "samples.jsonl").stat().st_ino,
    ) == before


def test_a_run_without_links_goes_on_and_says_so_once(tmp_path):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["-"] * 3))
    (tmp_path / "run" / "by-id").mkdir(parents=True)
    (tmp_path / "run" / "by-id" / "all").write_text("in the way")
    ran = Ran(tree)
    assert len([text for text in warnings(ran) if "no links under" in text]) == 1
    assert all(row.verdict.overall is not None for row in ran.rows)


@pytest.mark.parametrize(("ledger", "key"), [("edits", "edit_key"), ("verdicts", "verdict_key")])
def test_a_mutilated_record_is_done_again_or_the_one_before_stands(tmp_path, ledger, key):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["-"] * 2))
    first = Ran(tree)
    path = first.run.path / f"{ledger}.jsonl"
    whole = path.read_bytes()
    mutilated = json.dumps({"v": 1, "key": getattr(first.rows[0], key)}).encode() + b"\n"
    path.write_bytes(whole + mutilated)
    assert not Ran(tree).worked
    path.write_bytes(mutilated)
    again = Ran(tree)
    assert again.worked
    assert again.canonical() == first.canonical()


def test_secrets_are_not_kept_in_the_run_directory(tmp_path, monkeypatch):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["-"]))
    env = {"HF_TOKEN": "hf_abc", "OPENAI_API_KEYS": "sk_abc", "TOKENIZERS_PARALLELISM": "true"}
    ran = Ran({**tree, "judge": {**tree["judge"], "env": env}})
    assert "_abc" not in (ran.run.path / "run.json").read_text()
    assert ran.run.info["config"]["judge"]["env"] == {
        "HF_TOKEN": "***",
        "OPENAI_API_KEYS": "***",
        "TOKENIZERS_PARALLELISM": "true",
    }
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    monkeypatch.delenv("OPENAI_API_KEYS", raising=False)
    with pytest.raises(ConfigError, match=r"judge\.env\.OPENAI_API_KEYS: .* set the variable") as caught:
        load_config(None, base=ran.run.info["config"])
    assert len(caught.value.problems) == 1
    found = load_config(None, ["judge.env.OPENAI_API_KEYS=sk"], base=ran.run.info["config"])
    assert found.config.judge.env["HF_TOKEN"] == "hf_other"


def test_what_was_being_written_when_a_process_was_killed_is_removed(tmp_path):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["-"]))
    run = Ran(tree).run.path
    left = [".run.json.71.tmp", ".samples.jsonl.71.tmp", "by-id/all/.s0000.png.71", "report/.index-x1.html"]
    left += ["images/ab/.x.png.71.tmp", "thumbs/ab/.x.webp.71.tmp"]
    kept = [".mine", "by-id/all/mine.png", "report/.index-x2.html"]
    for name in (*left, *kept):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("x")
        os.utime(run / name, (1, 1))
    os.utime(run / "report/.index-x2.html")  # another command may be writing it
    Ran(tree)
    assert [name for name in left if (run / name).exists()] == []
    assert [name for name in kept if not (run / name).exists()] == []


# What cannot be written


@pytest.mark.parametrize("where", ["edit", "judge", "editor load", "judge load"])
def test_a_disk_that_a_model_fills_is_no_samples_fault(tmp_path, where):
    instructions, tags = ["-", "full" if where == "edit" else "-", "-"], [{"judge": "-"}] * 3
    if where == "judge":
        tags[1] = {"judge": "full"}
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", instructions, tags))
    if "load" in where:
        tree[where.split()[0]]["params"] = {"load": "full"}
    with pytest.raises(
        RunError, match=r"^cannot write /scratch/compiled\.so: No space left on device; make room"
    ):
        Ran(tree)
    run = RunReader(tmp_path / "run")
    assert [record for record in run.edits.values() if record["status"] == "failed"] == []
    assert [record for record in run.verdicts.values() if record["verdict"]["unscored"]] == []


def test_what_people_look_at_is_made_again_and_said(tmp_path):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["-"] * 3))
    run = Ran(tree).run.path
    links, thumbs = sorted(run.glob("by-id/*/*")), sorted(run.glob("thumbs/*/*"))
    for path in (links[1], *thumbs[:2]):
        path.unlink()
    again = Ran(tree)
    assert not again.worked
    assert [note.text for note in again.of(Note)] == ["making 2 missing thumbnails again"]
    assert sorted(run.glob("by-id/*/*")) == links
    assert sorted(run.glob("thumbs/*/*")) == thumbs
    assert Ran(tree).events == []


def test_a_run_that_was_copied_is_hashed_once(tmp_path, monkeypatch):
    tree = config_tree(tmp_path, make_benchmark(tmp_path / "data", ["-"] * 3))
    run = Ran(tree).run.path
    for path in run.glob("images/*/*"):
        os.utime(path, (1, 1))  # as a copy that keeps no times, a while ago
    hashed = []
    real = hashes.file_sha256
    monkeypatch.setattr(hashes, "file_sha256", lambda path: hashed.append(path) or real(path))
    assert not Ran(tree).worked
    assert len([path for path in hashed if "/images/" in str(path)]) == 3
    hashed.clear()
    assert not Ran(tree).worked
    assert [path for path in hashed if "/images/" in str(path)] == []
