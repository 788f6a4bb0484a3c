"""Whole runs of `edit-eval` with a judge at an endpoint that is not well: killed, misconfigured, hindered; nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_endpoint import KEY, MODEL, FakeEndpoint, some
from harness import PYTHONPATH, cli, config_tree, make_benchmark, ours

PARAMS = {
    "concurrency": 32,
    "timeout_s": 2.0,
    "backoff_s": 0.05,
    "attempts": 12,
    "api_key_env": "FAKE_API_KEY",
}


def write(folder: Path, fake: FakeEndpoint, count: int, judge: dict | None = None, **more) -> Path:
    """Write a config with `count` samples and the judge at `fake`."""
    table = make_benchmark(folder / "data", ["-"] * count)
    section = {"type": "openai", "model": MODEL, "rubric": "general-v1", "max_attempts": 3, **(judge or {})}
    section["params"] = {"base_url": fake.url, **PARAMS, **section.get("params", {})}
    tree = {**config_tree(folder, table), "judge": section, "output": "run", **more}
    (folder / "c.yaml").write_text(json.dumps(tree))
    return folder / "c.yaml"


def run(folder: Path, *arguments: str, key: str = KEY, **options):
    return cli(
        "run", "c.yaml", "--display", "plain", *arguments, cwd=folder, env={"FAKE_API_KEY": key}, **options
    )


def told(done) -> str:
    """Return the one line of a command that failed for a reason that the user can mend."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert "PLANTED" not in done.stdout + done.stderr
    return lines[0]


def verdicts(folder: Path) -> list[dict]:
    path = folder / "run" / "verdicts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def holders(folder: Path, secret: str) -> list[str]:
    """Return the files below `folder` that hold `secret`."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]


def test_two_hundred_samples_with_thirty_per_cent_of_faults(tmp_path):
    with FakeEndpoint(some(0.3), key=KEY) as fake:
        write(tmp_path, fake, 200, {"params": {"timeout_s": 5.0}})  # slower than a busy machine answers
        done = run(tmp_path, timeout=280)
        assert done.returncode == 0, done.stdout + done.stderr
        records = verdicts(tmp_path)
        assert len({one["key"] for one in records}) == len(records) == 200
        assert {one["verdict"]["overall"] for one in records} == {7}
        assert all(one["verdict"]["facts"]["attempts"] <= 12 for one in records)
        spent = sum(one["verdict"]["facts"]["attempts"] for one in records)
        seen = len(fake.requests)
        assert (
            200 * 1.2 < seen <= spent < 200 * 2
        )  # a connection that is just being closed swallows an attempt
        assert max(fake.replies.values()) == 1  # no question was answered twice
        assert 1 < fake.most_at_once <= 32
        again = run(tmp_path)
        assert again.returncode == 0
        assert "Nothing to do" in again.stdout
        assert seen == len(fake.requests)
    assert "PLANTED" not in done.stdout + done.stderr
    assert holders(tmp_path / "run", KEY) == []
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["identity"]["judge"]["model"] == {"name": MODEL}
    assert info["identity"]["judge"]["params"]["provider"] == "127.0.0.1"
    assert "concurrency" not in info["identity"]["judge"]["params"]
    (facts,) = [facts for name, facts in info["starts"][0]["hosts"].items() if name.startswith("judge ")]
    assert facts["client"].startswith("openai ")
    assert facts["endpoint"] == fake.url


@pytest.mark.long
def test_another_port_and_other_haste_give_no_verdict_anew(tmp_path):
    with FakeEndpoint() as fake:
        write(tmp_path, fake, 2)
        assert run(tmp_path).returncode == 0
    with FakeEndpoint() as other:
        settings = (f"judge.params.base_url={other.url}", "judge.params.concurrency=2")
        done = run(tmp_path, "--set", settings[0], "--set", settings[1])
        assert "Nothing to do" in done.stdout
        assert other.requests == []
        named = run(tmp_path, "--set", settings[0], "--set", "judge.params.provider=lab")
        assert named.returncode == 0, named.stderr
        assert len(other.requests) >= 2
        assert len(verdicts(tmp_path)) == 4


def test_killed_half_way_and_gone_on_with(tmp_path):
    with FakeEndpoint(some(0.2, ("429", "500", "reset")), delay_s=0.3) as fake:
        write(tmp_path, fake, 60, {"params": {"concurrency": 8}})
        process = subprocess.Popen(
            [sys.executable, "-m", "edit_eval", "run", "c.yaml", "--display", "plain"],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": PYTHONPATH,
                "XDG_CACHE_HOME": str(tmp_path),
                "FAKE_API_KEY": KEY,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 100
        while len(verdicts(tmp_path)) < 16 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = {one["key"] for one in verdicts(tmp_path)}
        assert 16 <= len(kept) < 60
        while ours(str(tmp_path)) and time.monotonic() < deadline:
            time.sleep(0.05)
        fake.delay_s = 0.0
        done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    records = verdicts(tmp_path)
    assert len({one["key"] for one in records}) == len(records) == 60
    assert kept < {one["key"] for one in records}
    assert {one["verdict"]["overall"] for one in records} == {7}


def test_a_key_that_is_no_longer_taken_ends_the_run_at_once_and_loses_nothing(tmp_path):
    with FakeEndpoint(key=KEY, delay_s=0.1) as fake:
        write(tmp_path, fake, 60, {"params": {"concurrency": 4}})

        def fault(_question, _attempt):
            if len(fake.requests) > 30:
                fake.key = "another"

        fake.fault = fault
        done = run(tmp_path)
        assert done.returncode == 2, done.stdout + done.stderr
        lines = done.stderr.strip().splitlines()
        assert "does not take the key in FAKE_API_KEY (HTTP 401" in lines[-1]
        assert "Traceback" not in done.stderr
        assert "PLANTED" not in done.stdout + done.stderr
        kept = verdicts(tmp_path)
        assert len(kept) >= 25
        assert {one["verdict"]["overall"] for one in kept} == {7}
        fake.key, fake.fault = KEY, lambda *_: None
        again = run(tmp_path)
        assert again.returncode == 0, again.stderr
    assert len({one["key"] for one in verdicts(tmp_path)}) == len(verdicts(tmp_path)) == 60
    assert holders(tmp_path, KEY) == []


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("judge.model=null", "judge.model: is missing; give the model's name at the endpoint"),
        ("judge.params.api_key_env=sk-PLANTED", "must be the name of a variable"),
        ("judge.params.base_url=nowhere", "must be like http://127.0.0.1:8000/v1"),
        ("judge.params.attempts=0", "judge.params.attempts: must be at least 1"),
        ("judge.params.mode=expected", "expected cannot follow rubric 'general-v1'"),
    ],
)
def test_senseless_settings_are_found_before_anything_starts(tmp_path, setting, says):
    with FakeEndpoint() as fake:
        write(tmp_path, fake, 1)
        assert says in told(run(tmp_path, "--set", setting))
        assert (fake.tried, fake.requests) == (0, [])
    assert not (tmp_path / "run" / "edits.jsonl").exists()


def test_a_dry_run_asks_nobody_and_foresees_no_weights(tmp_path):
    with FakeEndpoint() as fake:
        write(tmp_path, fake, 3)
        done = run(tmp_path, "--dry-run")
        assert done.returncode == 0, done.stderr
        assert (fake.tried, fake.requests) == (0, [])
    assert "3 left of 3; 3 questions" in done.stdout
    assert "weights" not in done.stdout


def test_a_key_of_the_stage_alone_reaches_the_endpoint_and_no_file(tmp_path):
    with FakeEndpoint(key=KEY) as fake:
        write(tmp_path, fake, 2, {"env": {"STAGE_API_KEY": KEY}, "params": {"api_key_env": "STAGE_API_KEY"}})
        done = run(tmp_path, key="")
        assert done.returncode == 0, done.stdout + done.stderr
        assert {one["authorization"] for one in fake.headers} == {f"Bearer {KEY}"}
        assert fake.tried == 1
    assert "PLANTED" not in done.stdout + done.stderr
    assert holders(tmp_path, KEY) == ["c.yaml"]


# Preflight


def edited(folder: Path) -> int:
    path = folder / "run" / "edits.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


SICK = {
    "wrong key": ({"key": "another"}, {}, "judge: 127.0.0.1 does not take the key in FAKE_API_KEY (HTTP 401"),
    "no key": ({"key": KEY}, {"judge.params.api_key_env": None}, "wants a key, and none was sent"),
    "wrong model": (
        {},
        {"judge.model": "gpt-9"},
        "judge.model: 127.0.0.1 has no model 'gpt-9' for this (HTTP 404",
    ),
    "blind model": ({"sees": False}, {}, "does not answer: HTTP 400: fake-vlm-1 is not a multimodal model"),
    "broken": ({"fault": lambda *_: "500"}, {}, "does not answer: HTTP 500"),
    "silent": ({"fault": lambda *_: "hang"}, {}, "does not answer: no reply within 2 s (2 attempts)"),
    "too warm": (
        {"refuses": ("temperature",)},
        {},
        "judge.params.temperature: fake-vlm-1 at 127.0.0.1 does not take 0",
    ),
    "no address": ({}, {"judge.params.base_url": "http://127.0.0.1:1/v1"}, "no connection: ConnectError"),
    "no client": ({}, {"judge.python": "BARE"}, "has no openai; pip install openai into it"),
}


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> str:
    """An interpreter with Pillow and nothing else."""
    import PIL

    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    for path in Path(PIL.__file__).parents[1].glob("*illow*"):
        (site / path.name).symlink_to(path)
    (site / "PIL").symlink_to(Path(PIL.__file__).parent)
    return str(folder / "bin" / "python")


@pytest.mark.parametrize("name", SICK)
def test_what_would_judge_nothing_is_said_within_seconds_before_any_edit(tmp_path, name, bare_python):
    server, settings, says = SICK[name]
    with FakeEndpoint(**server) as fake:
        write(tmp_path, fake, 3)
        pairs = [
            f"{key}={json.dumps(value if value != 'BARE' else bare_python)}"
            for key, value in settings.items()
        ]
        began = time.monotonic()
        line = told(run(tmp_path, *[part for pair in pairs for part in ("--set", pair)]))
        assert time.monotonic() - began < 40  # most of it is starting Python on a busy machine
        assert says in line
        assert "nothing was edited; preflight=warn goes on all the same" in line
        assert fake.requests == []
    assert edited(tmp_path) == 0
    assert holders(tmp_path, KEY) == []


def test_preflight_warn_says_it_and_goes_on(tmp_path):
    with FakeEndpoint(fault=lambda question, _: "500" if question == "preflight" else None) as fake:
        write(tmp_path, fake, 2, preflight="warn")
        done = run(tmp_path)
        assert done.returncode == 0, done.stderr
        assert fake.tried == 2
    assert "fake-vlm-1 at 127.0.0.1 does not answer: HTTP 500" in done.stdout
    assert {one["verdict"]["overall"] for one in verdicts(tmp_path)} == {7}


@pytest.mark.parametrize("spelt", ["off", "'off'"])
def test_preflight_off_asks_nothing(tmp_path, spelt):
    with FakeEndpoint() as fake:
        write(tmp_path, fake, 2)
        assert run(tmp_path, "--set", f"preflight={spelt}").returncode == 0
        assert (fake.tried, len(fake.requests)) == (0, 2)


def test_preflight_asks_once_and_not_where_nothing_is_left(tmp_path):
    with FakeEndpoint() as fake:
        write(tmp_path, fake, 2)
        assert run(tmp_path).returncode == 0
        assert fake.tried == 1
        assert "Nothing to do" in run(tmp_path).stdout
        assert fake.tried == 1


def test_a_busy_endpoint_is_no_fault_and_an_announced_end_is_said(tmp_path):
    with FakeEndpoint(fault=lambda question, _: "429" if question == "preflight" else None) as fake:
        fake.shutdown_date = "2031-05-06"
        write(tmp_path, fake, 1)
        done = run(tmp_path)
        assert done.returncode == 0, done.stderr
    assert "is busy: HTTP 429: Rate limit reached" in done.stdout
    assert "fake-vlm-1 at 127.0.0.1 ends on 2031-05-06, as is announced" in done.stdout


def test_the_doctor_asks_too(tmp_path):
    with FakeEndpoint(key=KEY) as fake:
        write(tmp_path, fake, 1)
        done = cli("doctor", "c.yaml", cwd=tmp_path, env={"FAKE_API_KEY": KEY})
        assert done.returncode == 0, done.stdout + done.stderr
        text = " ".join(done.stdout.split())
        assert "fake-vlm-1 at 127.0.0.1 answers in" in text
        assert "1000 tokens in, 50 out" in text
        assert fake.tried == 1
        wrong = cli("doctor", "c.yaml", cwd=tmp_path, env={"FAKE_API_KEY": "sk-PLANTED-wrong"})
        assert wrong.returncode == 2
        assert "does not take the key in FAKE_API_KEY" in " ".join(wrong.stdout.split())
        quiet = cli("doctor", "c.yaml", "--set", "preflight=off", cwd=tmp_path, env={"FAKE_API_KEY": KEY})
        assert "not asked anything" in quiet.stdout
        assert "PLANTED" not in done.stdout + wrong.stdout + quiet.stdout
    assert not (tmp_path / "run").exists()


# Money

PRICE = {"price": {"input": 2.0, "output": 8.0}, "max_new_tokens": 100, "retries": 0, "concurrency": 8}
EACH = (1000 * 2.0 + 50 * 8.0) / 1e6
MOST = (1000 * 2.0 + 100 * 8.0) / 1e6


def test_the_end_and_the_report_say_what_it_cost(tmp_path):
    with FakeEndpoint(some(0.3, ("429", "500"))) as fake:
        write(tmp_path, fake, 20, {"params": PRICE})
        done = run(tmp_path)
        assert done.returncode == 0, done.stderr
        more = len(fake.requests) - 20
    assert more > 0
    assert f"20,000 in, 1,000 out; 20 replies, {more} more attempt" in done.stdout
    assert "0.048, at the price given" in done.stdout
    text = cli("report", "run", "--format", "text", cwd=tmp_path).stdout
    assert "0.048, at the price given" in text
    spent = json.loads(cli("report", "run", "--format", "json", cwd=tmp_path).stdout)["spent"]
    assert spent == {
        "replies": 20,
        "attempts": 20 + more,
        "tokens_in": 20_000,
        "tokens_out": 1000,
        "cost": pytest.approx(20 * EACH),
    }
    assert "0.048, at the price given" in (tmp_path / "run" / "report" / "index.html").read_text()
    assert all(one["verdict"]["facts"]["seconds"] > 0 for one in verdicts(tmp_path))


@pytest.mark.long
def test_a_budget_ends_the_judging_before_it_is_exceeded_and_a_higher_one_goes_on(tmp_path):
    budget = 9.5 * EACH
    with FakeEndpoint(delay_s=0.05) as fake:
        write(tmp_path, fake, 30, {"params": PRICE, "budget": budget})
        done = run(tmp_path)
        assert done.returncode == 3, done.stdout + done.stderr
        first = len(verdicts(tmp_path))
        assert len(fake.requests) == first
        assert budget - MOST < first * EACH <= budget
        assert edited(tmp_path) == 30
        assert f"{30 - first} edits are left unjudged: raise judge.budget" in " ".join(done.stdout.split())
        assert "partial" in done.stdout

        again = run(tmp_path)
        assert again.returncode == 3, again.stdout + again.stderr
        assert "Nothing to do" not in again.stdout
        assert f"{30 - first} edits are left unjudged" in " ".join(again.stdout.split())
        assert (len(fake.requests), fake.tried) == (first, 1)

        more = run(tmp_path, "--set", f"judge.budget={15.5 * EACH}")
        assert more.returncode == 3
        assert 15.5 * EACH - MOST < len(verdicts(tmp_path)) * EACH <= 15.5 * EACH

        whole = run(tmp_path, "--set", "judge.budget=1")
        assert whole.returncode == 0, whole.stdout + whole.stderr
    records = verdicts(tmp_path)
    assert len({one["key"] for one in records}) == len(records) == len(fake.requests) == 30


@pytest.mark.long
def test_what_was_judged_anew_stays_spent(tmp_path):
    garbled = {"finish_reason": "stop", "message": {"content": "a fine edit"}}
    with FakeEndpoint(answer=lambda _: garbled) as fake:
        write(tmp_path, fake, 3, {"params": PRICE})
        assert run(tmp_path).returncode == 3
        tight = run(tmp_path, "--retry-failed", "--set", f"judge.budget={3 * EACH + 0.9 * MOST}")
        assert tight.returncode == 3
        assert "3 edits are left unjudged" in " ".join(tight.stdout.split())
        assert len(fake.requests) == 3
        roomy = run(tmp_path, "--retry-failed", "--set", f"judge.budget={3 * EACH + 1.1 * MOST}")
        assert roomy.returncode == 3
        report = json.loads(cli("report", "run", "--format", "json", cwd=tmp_path).stdout)
    assert report["spent"]["replies"] == len(fake.requests) == 4
    assert report["spent"]["cost"] == pytest.approx(4 * EACH)


@pytest.mark.parametrize(
    ("judge", "says"),
    [
        ({"budget": 1.0}, "judge.budget: needs to know what verdicts cost"),
        ({"budget": 0}, "judge.budget: "),
        ({"params": {"price": {"input": 1}}}, "judge.params.price: write what a million tokens cost"),
    ],
)
def test_a_budget_without_a_price_is_refused(tmp_path, judge, says):
    with FakeEndpoint() as fake:
        write(tmp_path, fake, 1, judge)
        assert says in told(run(tmp_path))


def test_tokens_that_nobody_counts_have_no_price(tmp_path):
    with FakeEndpoint(usage=None) as fake:
        write(tmp_path, fake, 1, {"params": PRICE})
        assert "does not say how many tokens it used" in told(run(tmp_path))
        late = run(tmp_path, "--set", "preflight=off")
        assert late.returncode == 2
        assert "judge.params.price: 127.0.0.1 does not say how many tokens it used" in late.stderr
        assert run(tmp_path, "--set", "judge.params.price=null").returncode == 0
