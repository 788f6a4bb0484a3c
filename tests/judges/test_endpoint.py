"""The judge at an endpoint: what it sends, what it makes of every answer, and what it never does. Real HTTP on loopback."""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from fake_endpoint import FAULTS, KEY, MODEL, FakeEndpoint, images_in, scores
from PIL import Image

from edit_eval.core.errors import ModelError, UserError
from edit_eval.core.identity import identity_params
from edit_eval.core.types import HostContext, JudgeRequest, Sample, Verdict
from edit_eval.driver.rubrics import load_rubric
from edit_eval.judges.endpoint import EndpointJudge, EndpointParams
from edit_eval.judges.engines import Question, Reply
from edit_eval.judges.engines._answers import MalformedError, denial_in, read_reply, retry_after_s
from edit_eval.judges.prompts import render_prompts

RUBRIC = load_rubric("general-v1")
FAST = {"timeout_s": 0.7, "backoff_s": 0.02}


@contextmanager
def judging(url: str, model: str = MODEL, rubric=RUBRIC, **given) -> Iterator[EndpointJudge]:
    params = EndpointJudge.resolve(EndpointParams(base_url=url, **{**FAST, **given}), model)
    judge = EndpointJudge(params, HostContext(model=model), [EndpointJudge.adapted(params, rubric)])
    try:
        yield judge
    finally:
        judge.engine_in_use.close()


def request(rubric, seed: int = 7, size=(64, 48)) -> JudgeRequest:
    sample = Sample("s", f"add cat {seed}", ("a.png",))
    source, edited = Image.new("RGB", size, "red"), Image.new("RGB", size, "blue")
    return JudgeRequest(sample, rubric, render_prompts(rubric, sample), (source,), edited, (), seed)


def verdict_of(judge: EndpointJudge, seed: int = 7) -> Verdict:
    (rubric,) = judge.rubrics
    return judge.judge([request(rubric, seed)])[0]


def test_what_is_sent_and_what_comes_of_it():
    with FakeEndpoint() as fake, judging(fake.url) as judge:
        verdict = verdict_of(judge)
    assert verdict.scores == {"instruction": 7, "preservation": 7, "quality": 7}
    facts = dict(verdict.facts)
    assert 0 < facts.pop("seconds") < 5
    assert facts == {"replies": 1, "attempts": 1, "tokens_in": 1000, "tokens_out": 50}
    (sent,) = fake.requests
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == (MODEL, 0, 512)
    assert 0 <= sent["seed"] < 2**31
    assert sent["response_format"]["json_schema"]["strict"] is True
    assert [one.getpixel((5, 5)) for one in images_in(sent)] == [(255, 0, 0), (0, 0, 255)]
    assert [part["type"] for part in sent["messages"][0]["content"]].count("image_url") == 2
    assert fake.headers[0]["authorization"] == "Bearer none"


def test_images_are_sent_as_the_config_says():
    given = {"image_format": "jpeg", "jpeg_quality": 80, "max_pixels": 1000, "detail": "low"}
    with FakeEndpoint() as fake, judging(fake.url, **given, extra_body={"top_p": 0.5}) as judge:
        verdict_of(judge)
        policy = judge.size_policy(judge.params)
    (sent,) = fake.requests
    assert sent["top_p"] == 0.5
    assert all(one.format == "JPEG" and one.width * one.height <= 1000 for one in images_in(sent))
    assert {
        part["image_url"]["detail"] for part in sent["messages"][0]["content"] if "image_url" in part
    } == {"low"}
    assert "at most 1000 pixels" in policy
    assert "JPEG of quality 80, detail low" in policy


def test_the_key_goes_to_the_endpoint_and_nowhere_else(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv("FAKE_API_KEY", f" {KEY}\n")
    with FakeEndpoint(key=KEY) as fake, judging(fake.url, api_key_env="FAKE_API_KEY") as judge:
        verdict = verdict_of(judge)
        facts = judge.facts()
    assert fake.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "PLANTED" not in json.dumps([verdict.to_json(), facts])
    assert "PLANTED" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_costs_an_attempt_and_no_verdict(fault):
    with (
        FakeEndpoint(lambda _, attempt: fault if attempt <= 2 else None) as fake,
        judging(fake.url) as judge,
    ):
        began = time.monotonic()
        verdict = verdict_of(judge)
        took = time.monotonic() - began
    assert verdict.overall == 7
    assert verdict.facts["attempts"] == 3
    assert verdict.facts["replies"] == 1
    assert took < 5


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_stays_ends_after_bounded_attempts(fault):
    with FakeEndpoint(lambda *_: fault) as fake, judging(fake.url, attempts=3) as judge:
        verdict = verdict_of(judge)
    kind = "timeout" if fault in ("hang", "drip") else "error"
    assert (verdict.unscored, verdict.overall) == (kind, None)
    assert len(fake.requests) == verdict.facts["attempts"] == 3
    assert "(3 attempts)" in verdict.reply
    said = {
        "429": "HTTP 429: Rate limit reached",
        "500": "HTTP 500: <html>",
        "hang": "no reply within 0.7 s",
        "drip": "no reply within 0.7 s",
        "half": "no connection: RemoteProtocolError",
        "json": "that is no JSON",
        "empty": "an answer without choices",
        "reset": "no connection: ReadError",
        "error-200": "HTTP 503: No worker is free",
    }
    assert said.get(fault, "") in verdict.reply


def test_nobody_there_is_an_error_after_bounded_attempts():
    with FakeEndpoint() as fake:
        pass
    with judging(fake.url, attempts=2) as judge:
        verdict = verdict_of(judge)
    assert verdict.unscored == "error"
    assert "no connection: ConnectError" in verdict.reply


def test_retry_after_holds_everybody_up():
    first = threading.Event()

    def fault(_question, _attempt):
        if first.is_set():
            return None
        first.set()
        return "429-after"

    with FakeEndpoint(fault) as fake, judging(fake.url) as judge:
        began = time.monotonic()
        verdict_of(judge, 1)
        assert time.monotonic() - began >= 0.2
    assert len(fake.requests) == 2


def test_waits_are_the_same_each_time_and_differ_between_questions():
    with judging("http://127.0.0.1:9/v1", backoff_s=1.0) as judge:
        engine = judge.engine_in_use

        def waits(seed: int) -> list[float]:
            from edit_eval.judges.engines.openai import _AgainError

            question = Question((), 1, seed=seed)
            return [engine._wait_s(question, attempt, _AgainError("error", "")) for attempt in range(1, 12)]

        assert waits(1) == waits(1) != waits(2)
        assert all(
            0.5 * longest <= one <= longest
            for one, longest in zip(waits(3), [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60], strict=True)
        )


def test_no_more_requests_a_minute_than_asked_for():
    with FakeEndpoint() as fake, judging(fake.url, requests_per_minute=600) as judge:
        began = time.monotonic()
        (rubric,) = judge.rubrics
        judge.judge([request(rubric, seed) for seed in range(6)])
        assert time.monotonic() - began >= 0.5
    assert len(fake.requests) == 6


def test_many_threads_ask_at_once_and_each_gets_its_own_reply():
    def answer(sent):
        seed = int(sent["messages"][0]["content"][-1]["text"].split("add cat ")[1].split('"')[0])
        return json.dumps(
            {n: {"reason": "", "score": seed} for n in ("instruction", "preservation", "quality")}
        )

    got: dict[int, float | None] = {}
    with FakeEndpoint(answer=answer, delay_s=0.2) as fake, judging(fake.url, concurrency=8) as judge:
        assert (judge.threads, judge.window) == (8, 8)

        def one(seed: int) -> None:
            got[seed] = verdict_of(judge, seed).overall

        threads = [threading.Thread(target=one, args=(seed,)) for seed in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == {seed: pytest.approx(seed) for seed in range(10)}
    assert fake.most_at_once == 8


def test_a_slow_endpoint_is_no_silence(monkeypatch):
    from edit_eval.judges.engines import openai

    monkeypatch.setattr(openai, "_BEAT_S", 0.05)
    beats = []
    with FakeEndpoint(delay_s=0.4) as fake, judging(fake.url) as judge:
        judge.progress = lambda step, steps: beats.append((step, steps))
        verdict_of(judge)
    assert len(beats) >= 3
    assert set(beats) == {(0, 1)}


# What an endpoint does not take


@pytest.mark.parametrize("option", ["response_format", "seed"])
def test_an_option_that_is_refused_is_left_out_once_and_that_is_recorded(option):
    with FakeEndpoint(refuses=(option,)) as fake, judging(fake.url) as judge:
        first, second = verdict_of(judge, 1), verdict_of(judge, 2)
    assert first.overall == second.overall == 7
    assert first.facts["without"] == second.facts["without"] == [option]
    assert [option in one for one in fake.requests] == [True, False, False]
    assert first.facts["attempts"] == 1


@pytest.mark.parametrize("names", [("max_tokens",), ("seed", "response_format", "max_tokens")])
def test_newer_names_of_the_length_are_found(names):
    with FakeEndpoint(refuses=names) as fake, judging(fake.url) as judge:
        verdict = verdict_of(judge)
    assert verdict.overall == 7
    assert fake.requests[-1]["max_completion_tokens"] == 512
    assert sorted(verdict.facts.get("without", [])) == sorted(set(names) - {"max_tokens"})


def test_a_length_that_is_refused_under_both_names_is_an_error():
    with (
        FakeEndpoint(refuses=("max_tokens", "max_completion_tokens")) as fake,
        judging(fake.url) as judge,
    ):
        assert verdict_of(judge).unscored == "error"
        assert len(fake.requests) == 2


def test_a_temperature_that_is_refused_is_never_left_out():
    with (
        FakeEndpoint(refuses=("temperature",)) as fake,
        judging(fake.url) as judge,
        pytest.raises(
            UserError, match=r"judge\.params\.temperature: fake-vlm-1 at 127\.0\.0\.1 does not take 0"
        ),
    ):
        verdict_of(judge)


# Expected scores

FIVE = load_rubric("general-5-v1")


def with_probabilities(**weights: float):
    top = [{"token": name[1:], "logprob": math.log(one), "bytes": None} for name, one in weights.items()]
    top.append({"token": "The", "logprob": -9999.0, "bytes": None})
    return {
        "finish_reason": "length",
        "message": {"role": "assistant", "content": "4"},
        "logprobs": {"content": [{"token": "4", "logprob": -0.1, "top_logprobs": top}]},
    }


def test_expected_scores_by_the_probabilities_of_the_first_token():
    with (
        FakeEndpoint(answer=lambda _: with_probabilities(t3=0.2, t4=0.5, t5=0.1)) as fake,
        judging(fake.url, rubric=FIVE, mode="expected") as judge,
    ):
        verdict = verdict_of(judge)
    assert verdict.scores["quality"] == pytest.approx((0.6 + 2.0 + 0.5) / 0.8)
    assert verdict.facts["mass"]["quality"] == pytest.approx(0.8)
    assert {(one["max_tokens"], one["top_logprobs"], one["logprobs"]) for one in fake.requests} == {
        (1, 20, True)
    }
    assert len(fake.requests) == 3


@pytest.mark.parametrize("how", ["refused", "left out", "empty"])
def test_expected_scores_without_probabilities_are_refused_in_one_line(how):
    answer = {
        "refused": scores,
        "left out": lambda _: {"finish_reason": "stop", "message": {"content": "4"}},
        "empty": lambda _: {**with_probabilities(t4=1.0), "logprobs": {"content": []}},
    }[how]
    with (
        FakeEndpoint(answer=answer, refuses=("logprobs",) if how == "refused" else ()) as fake,
        judging(fake.url, rubric=FIVE, mode="expected") as judge,
        pytest.raises(
            UserError, match="expected needs the probabilities of tokens, and fake-vlm-1"
        ) as caught,
    ):
        verdict_of(judge)
    assert "\n" not in str(caught.value)


# Refusals, lengths, denials


@pytest.mark.parametrize(
    "choice",
    [
        {"finish_reason": "stop", "message": {"content": None, "refusal": "I cannot help with that."}},
        {"finish_reason": "content_filter", "message": {"content": ""}},
    ],
)
def test_a_refusal_is_refused(choice):
    with FakeEndpoint(answer=lambda _: choice) as fake, judging(fake.url, retries=0) as judge:
        verdict = verdict_of(judge)
    assert verdict.unscored == "refused"
    assert verdict.facts["tokens_in"] == 1000


def test_a_reply_that_is_cut_off_is_truncated():
    choice = {"finish_reason": "length", "message": {"content": '{"instruction": {"rea'}}
    with FakeEndpoint(answer=lambda _: choice) as fake, judging(fake.url, retries=0) as judge:
        assert verdict_of(judge).unscored == "truncated"


def test_a_reply_without_text_is_unparsable():
    choice = {"finish_reason": "stop", "message": {"content": None}}
    with FakeEndpoint(answer=lambda _: choice) as fake, judging(fake.url, retries=0) as judge:
        assert verdict_of(judge).unscored == "unparsable"


def test_another_model_that_answers_is_on_record():
    with FakeEndpoint() as fake, judging(fake.url) as judge:
        fake.model, judge.engine_in_use._model = "fake-vlm-1-0925", "fake-vlm-1-0925"
        assert "served" not in verdict_of(judge).facts
        judge.engine_in_use._model = MODEL
        question = Question((), 1)
        body = json.dumps(
            {"model": "fake-vlm-2", "choices": [{"finish_reason": "stop", "message": {"content": "x"}}]}
        )
        assert read_reply(body.encode(), question, MODEL).notes == {"served": "fake-vlm-2"}


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (400, {"error": {"code": "content_policy_violation", "message": "no"}}, "refused"),
        (400, {"error": {"code": "content_filter", "message": "The response was filtered"}}, "refused"),
        (400, {"code": "data_inspection_failed", "message": "Input data may contain ..."}, "refused"),
        (403, {"error": {"message": "Your input was flagged: requires moderation"}}, "refused"),
        (400, {"error": {"message": "Could not process image"}}, "request"),
        (413, "Payload too large", "request"),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "bad"}]}, "request"),
        (401, {"error": {"message": "Incorrect API key"}}, "key"),
        (403, {"error": {"message": "Country not supported"}}, "key"),
        (400, {"error": {"message": "API key not valid. Please pass a valid API key."}}, "key"),
        (402, {"error": {"message": "Insufficient Balance"}}, "credit"),
        (
            429,
            {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}},
            "credit",
        ),
        (429, {"error": {"code": "rate_limit_exceeded", "message": "Rate limit"}}, "busy"),
        (404, {"message": "The model `x` does not exist."}, "model"),
        (404, "<html>not found</html>", "model"),
        (400, {"error": {"message": "Model Not Exist"}}, "model"),
        (408, None, "busy"),
        (503, {"detail": "safety check is down"}, "busy"),
    ],
)
def test_what_a_denial_means(status, body, meaning):
    denial = denial_in(status, body)
    assert denial.meaning == meaning
    assert "\n" not in str(denial)
    assert len(str(denial)) < 350


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"model": "other"},
            r"judge\.model: 127\.0\.0\.1 has no model 'other' for this \(HTTP 404: The model `other`",
        ),
        ({"api_key_env": "WRONG_KEY"}, r"judge: 127\.0\.0\.1 does not take the key in WRONG_KEY \(HTTP 401"),
        (
            {},
            r"judge: 127\.0\.0\.1 wants a key, and none was sent .* name that in judge\.params\.api_key_env",
        ),
    ],
)
def test_what_no_sample_is_to_blame_for_ends_the_judging(given, says, monkeypatch):
    monkeypatch.setenv("WRONG_KEY", "sk-PLANTED-wrong")
    key = KEY if "model" not in given else ""
    with FakeEndpoint(key=key) as fake, judging(fake.url, **given) as judge:
        with pytest.raises(UserError, match=says) as caught:
            verdict_of(judge)
        assert len(fake.requests) == 1
    assert "PLANTED" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b'{"choices": {}}',
        b'{"choices": [7]}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": {"content": ["a"]}}]}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_body_that_is_no_reply_is_never_read_as_one(body):
    with pytest.raises(MalformedError):
        read_reply(body, Question((), 1), MODEL)


def test_odd_counts_of_tokens_are_none():
    body = {
        "choices": [{"message": {"content": "x"}}],
        "usage": {"prompt_tokens": -3, "completion_tokens": True},
    }
    assert read_reply(json.dumps(body).encode(), Question((), 1), MODEL) == Reply("x")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "86400"}, 120),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:30 GMT"}, 20),
    ],
)
def test_how_long_an_endpoint_asks_to_wait(headers, seconds):
    assert retry_after_s(headers, 10.0) == seconds


# Settings


def resolved(**given) -> EndpointParams:
    return EndpointJudge.resolve(EndpointParams(**given), MODEL)


def test_a_port_a_path_and_what_does_not_move_scores_are_no_identity(monkeypatch):
    monkeypatch.setenv("A_KEY", "x")
    one = resolved(base_url="http://server:8000/v1")
    other = resolved(
        base_url="https://server/api/v1",
        api_key_env="A_KEY",
        concurrency=2,
        timeout_s=9,
        attempts=2,
        backoff_s=2,
        requests_per_minute=60,
        price={"input": 1, "output": 2},
        jpeg_quality=30,
    )
    assert identity_params(one) == identity_params(other)
    assert identity_params(one)["provider"] == "server"
    for change in (
        {"provider": "b"},
        {"temperature": 1.0},
        {"image_format": "jpeg"},
        {"max_pixels": 10},
        {"extra_body": {"top_p": 0.1}},
    ):
        assert identity_params(resolved(base_url="http://server:8000/v1", **change)) != identity_params(one)


def test_where_and_with_which_key_by_default(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert (resolved().base_url, resolved().api_key_env) == ("https://api.openai.com/v1", "OPENAI_API_KEY")
    assert (
        resolved(base_url="http://localhost:8000/v1").api_key_env is None
    )  # no key goes where none was meant
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:9/v1")
    assert (resolved().base_url, resolved().provider) == ("http://localhost:9/v1", "localhost")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"base_url": "localhost:8000"}, "must be like http://127"),
        ({"base_url": "http://h/v1?key=PLANTED-x"}, "without anything after the path"),
        ({"base_url": "http://u:PLANTED@h/v1"}, "holds a user or password"),
        ({"base_url": "http://h:99999/v1"}, "is no address"),
        ({"api_key_env": "sk-PLANTED-in-the-wrong-place"}, "must be the name of a variable that says"),
        ({"api_key_env": "MY_THING"}, "says that it holds a secret"),
        ({"concurrency": 0}, "concurrency: must be at least 1 and at most 1024, is 0"),
        ({"attempts": 0}, "attempts: must be at least 1"),
        ({"timeout_s": 0}, "timeout_s: must be"),
        ({"jpeg_quality": 96}, "jpeg_quality: must be"),
        ({"retries": -1}, "retries: must be"),
        ({"price": {"input": 1}}, r"price: write what a million tokens cost"),
        ({"price": {"input": -1, "output": 1}}, r"price: write what"),
        ({"extra_body": {"seed": 1}}, "extra_body: seed is set by other parameters"),
    ],
)
def test_senseless_settings_are_refused_in_one_line(given, says):
    with pytest.raises(UserError, match=says) as caught:
        resolved(**given)
    assert "\n" not in str(caught.value)
    if "base_url" in given or "api_key_env" in given:
        assert "PLANTED" not in str(caught.value)


@pytest.mark.parametrize("value", [None, "", "sk-PLANTED-\x00", "sk-PLANTED-键"])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(value, monkeypatch):
    if value is not None and "\0" not in value:
        monkeypatch.setenv("MY_API_KEY", value)
    elif value:
        monkeypatch.setattr("os.environ", {"MY_API_KEY": value})
    with (
        pytest.raises(UserError, match="MY_API_KEY") as caught,
        judging("http://127.0.0.1:9/v1", api_key_env="MY_API_KEY"),
    ):
        pass
    assert "PLANTED" not in str(caught.value)


@pytest.mark.parametrize(
    ("lacking", "says"), [("openai", "has no openai"), ("anyio", r"cannot import openai \(.*anyio")]
)
def test_an_interpreter_without_the_client_is_named(monkeypatch, lacking, says):
    for name in [name for name in sys.modules if name.partition(".")[0] == "openai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, lacking, None)
    with (
        pytest.raises(ModelError, match=f"{says}.*; pip install openai into it"),
        judging("http://127.0.0.1:9/v1"),
    ):
        pass


def test_a_rubric_that_asks_nothing_is_refused():
    with (
        pytest.raises(UserError, match="asks nothing"),
        judging("http://127.0.0.1:9/v1", rubric=replace(RUBRIC, calls=())),
    ):
        pass
