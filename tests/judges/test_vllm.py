"""The vLLM engine's own part, on a stand-in for vLLM that keeps to the parts of its interface that are used.

vLLM itself needs a GPU; `perf/judge.py` and `perf/scaling.py` run it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType, SimpleNamespace

import pytest
from PIL import Image

from edit_eval.core.errors import ModelError
from edit_eval.core.types import HostContext
from edit_eval.judges.engines import Question
from edit_eval.judges.vision import VisionParams
from edit_eval.worker.host import _is_beyond_repair


class EngineDeadError(Exception):
    """As vLLM's: its process has ended."""


class Renderer:
    """Prepares a message in threads of its own, `workers` at a time, 20 ms each."""

    def __init__(self, workers):
        self._workers = ThreadPoolExecutor(workers)
        self.busy, self.most_busy, self._lock = 0, 0, threading.Lock()

    def get_tokenizer(self):
        return SimpleNamespace(
            encode=lambda text, add_special_tokens: [ord(one) for one in text] if text.isdigit() else []
        )

    async def render_chat_async(self, conversations, chat_params):
        assert chat_params.chat_template_kwargs["add_generation_prompt"] is True
        made = await asyncio.gather(
            *(
                asyncio.get_running_loop().run_in_executor(self._workers, self._render, one)
                for one in conversations
            )
        )
        return conversations, made

    def _render(self, messages):
        with self._lock:
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
        time.sleep(0.02)
        with self._lock:
            self.busy -= 1
        (message,) = messages
        return {"parts": message["content"]}


class AsyncLLM:
    """Replies with what it was shown; a text "long" is refused, "dead" ends the engine."""

    last = None

    def __init__(self, arguments):
        self.arguments = arguments
        self.renderer = Renderer(arguments["renderer_num_workers"])
        self.asked = []
        self.under_way, self.most_under_way = set(), 0
        AsyncLLM.last = self

    @classmethod
    def from_engine_args(cls, engine_args, usage_context):
        if engine_args["model"] == "broken":
            raise ValueError("no such architecture")
        assert usage_context == "llm"
        return cls(engine_args)

    async def generate(self, prompt, sampling_params, request_id):
        assert request_id not in self.under_way
        self.under_way.add(request_id)
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        self.asked.append((prompt, sampling_params))
        await asyncio.sleep(0.01)
        self.under_way.remove(request_id)
        text = " ".join(
            part["text"] if part["type"] == "text" else f"{part['image_pil'].width} wide"
            for part in prompt["parts"]
        )
        if "long" in text:
            raise ValueError("the prompt is too long")
        if "dead" in text:
            raise EngineDeadError("the engine has ended")
        given = sampling_params
        wanted = given.get("logprob_token_ids")
        logprobs = [{wanted[0]: SimpleNamespace(logprob=-0.5)}] if wanted else None
        written = SimpleNamespace(
            text=text,
            finish_reason="length" if "cut" in text else "stop",
            token_ids=[1, 2, 3],
            logprobs=logprobs,
        )
        yield SimpleNamespace(outputs=[written], prompt_token_ids=[0] * 7)


@pytest.fixture
def vllm(monkeypatch):
    """A module `vllm` of which the parts that are used are there."""
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setenv("VLLM_RPC_BASE_PATH", "here")  # so that what the engine sets is taken back
    monkeypatch.delenv("VLLM_RPC_BASE_PATH")
    parts = {
        "vllm": {},
        "vllm.engine": {},
        "vllm.engine.arg_utils": {"AsyncEngineArgs": dict},
        "vllm.renderers": {"ChatParams": SimpleNamespace},
        "vllm.usage": {},
        "vllm.usage.usage_lib": {"UsageContext": SimpleNamespace(LLM_CLASS="llm")},
        "vllm.v1": {},
        "vllm.v1.engine": {},
        "vllm.v1.engine.async_llm": {"AsyncLLM": AsyncLLM},
        "vllm.sampling_params": {
            "RequestOutputKind": SimpleNamespace(FINAL_ONLY="once"),
            "StructuredOutputsParams": lambda json: {"held to": json},
        },
    }
    for name, content in parts.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["vllm"].SamplingParams = dict


def engine(model="model", **params):
    from edit_eval.judges.engines.vllm import VLLMEngine

    return VLLMEngine(
        VisionParams(**{"engine": "vllm", "window": 8, **params}), HostContext(("cuda:0",), model)
    )


def question(text, width=64, **more):
    return Question((("image", Image.new("RGB", (width, 32))), ("text", text)), 16, **more)


def test_replies_come_in_the_order_of_the_questions(vllm):
    replies = engine().ask([question(f"question {k}", 32 + k) for k in range(40)])
    assert [one.text for one in replies] == [f"{32 + k} wide question {k}" for k in range(40)]
    assert {(one.tokens_in, one.tokens_out, one.truncated) for one in replies} == {(7, 3, False)}
    (cut,) = engine().ask([question("cut")])
    assert cut.truncated


def test_images_are_prepared_by_many_threads_while_others_are_read(vllm):
    made = engine()
    assert os.environ["OMP_NUM_THREADS"] == "1"  # each thread has one core
    made.ask([question(f"question {k}") for k in range(40)])
    assert 2 <= made.llm.renderer.most_busy <= 8
    assert made.llm.most_under_way <= 8
    # A cache of prepared images is for a single thread: vLLM refuses it with more.
    assert made.llm.arguments["mm_processor_cache_gb"] == 0


def test_no_more_than_the_window_is_under_way_from_many_threads(vllm):
    made = engine()
    assert made.threads == made.window == 8
    with ThreadPoolExecutor(30) as threads:
        replies = list(threads.map(lambda k: made.ask([question(f"question {k}")])[0].text, range(60)))
    assert replies == [f"64 wide question {k}" for k in range(60)]
    assert made.llm.most_under_way <= 8
    assert len(made.llm.asked) == 60


def test_a_question_that_is_refused_leaves_the_others_under_way_alone(vllm):
    made = engine()
    with ThreadPoolExecutor(8) as threads:
        asked = [
            threads.submit(made.ask, [question("long" if k == 3 else f"question {k}")]) for k in range(8)
        ]
    with pytest.raises(ValueError, match="too long"):
        asked[3].result()
    assert [one.result()[0].text for k, one in enumerate(asked) if k != 3] == [
        f"64 wide question {k}" for k in range(8) if k != 3
    ]
    with pytest.raises(ValueError, match="too long"):
        made.ask([question("fine"), question("long"), question("fine")])
    assert not made.llm.under_way  # none is left behind that a later one could be taken for


def test_an_engine_that_has_ended_ends_its_host(vllm):
    with pytest.raises(EngineDeadError) as caught:
        engine().ask([question("dead")])
    assert _is_beyond_repair(caught.value)  # the host's tasks are tried again on a fresh one
    assert _is_beyond_repair(EngineDeadError("CUDA out of memory"))  # no smaller question would find it alive
    assert not _is_beyond_repair(ValueError("too long"))


def test_choices_schemas_and_seeds_are_asked_for(vllm):
    made = engine()
    schema = {"type": "object"}
    made.ask(
        [
            question("choose", choices=("1", "2")),
            question("held", schema=schema),
            question("sampled", temperature=0.7, seed=5),
        ]
    )
    by_text = {prompt["parts"][-1]["text"]: params for prompt, params in made.llm.asked}  # in any order
    chosen, held, sampled = by_text["choose"], by_text["held"], by_text["sampled"]
    assert chosen == {
        "temperature": 0.0,
        "max_tokens": 1,
        "logprob_token_ids": [49, 50],
        "output_kind": "once",
    }
    assert held["structured_outputs"] == {"held to": schema}
    assert held["seed"] is None
    assert (sampled["temperature"], sampled["seed"]) == (0.7, 5)
    (reply,) = made.ask([question("choose", choices=("1", "2"))])
    assert reply.probabilities == {"1": pytest.approx(0.6065, abs=1e-4), "2": 0.0}
    assert reply.text == ""


def test_a_level_of_several_tokens_is_refused(vllm):
    with pytest.raises(ModelError, match="writes the level 10 as 2 tokens"):
        engine().ask([question("choose", choices=("10",))])


def test_what_vllm_refuses_to_load_is_one_line(vllm):
    with pytest.raises(ModelError, match="broken does not load in vLLM: ValueError: no such architecture"):
        engine("broken")


@pytest.mark.parametrize("window", [1, 8, 64, 100, 128])
def test_few_graphs_are_captured_and_none_is_missing(vllm, window):
    sizes = engine(window=window).llm.arguments["cudagraph_capture_sizes"]
    most = max(window, 8)
    assert sizes == sorted(set(sizes))
    assert len(sizes) <= 14
    assert most <= sizes[-1] <= 2 * most
    for requests in range(1, most + 1):
        filled = min(one for one in sizes if one >= requests)
        assert filled <= max(requests + 1, 2 * requests - 1 if requests <= 16 else requests * 3 / 2)


def test_the_model_is_started_for_images_alone(vllm):
    """vLLM reserves memory for, and starts with, the largest input that it may get: a film, where none is ruled out."""
    assert engine().llm.arguments["limit_mm_per_prompt"] == {"image": 8, "video": 0, "audio": 0}


@pytest.mark.parametrize("length", [20, 90, 240])
def test_sockets_can_be_had_in_a_folder_with_a_long_name(vllm, tmp_path, monkeypatch, length):
    folder = tmp_path / ("f" * length)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    engine()
    name = f"{os.environ['VLLM_RPC_BASE_PATH']}/{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(name)
        ours.listen()
        child = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        subprocess.run([sys.executable, "-c", child, name], check=True)
    assert [one.name for one in folder.iterdir()] == [name.rpartition("/")[2]]
