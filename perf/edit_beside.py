"""What an edit takes beside its denoising steps: a plain loop of diffusers, ours, and each part by itself."""

from __future__ import annotations

import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from edit_bench import INSTRUCTION, STEPS, Bench
from edit_ways import PARTS, Switch

from edit_eval.core.identity import file_sha256
from edit_eval.core.types import Sample
from edit_eval.editors._reuse import reuse_qwen_parts
from edit_eval.worker.flags import flags_of
from edit_eval.worker.host import Host
from edit_eval.worker.images import open_image, open_rgb, png_bytes, save_thumbnail
from edit_eval.worker.protocol import FROM_HOST, Channel
from edit_eval.worker.roles import EditRole

__all__ = ["compare_beside", "other_parts", "our_beside", "parts"]


def plain_beside(bench: Bench) -> list[float]:
    """Return seconds beside the steps of each edit of a plain loop: open, edit, save."""
    beside = []
    for number in range(bench.arguments.repeats):
        began = time.monotonic()
        call = bench.call(bench.arguments.steps, bench.sources[number % len(bench.sources)])
        call.image.save(bench.folder / f"plain-{number}.png")
        whole = time.monotonic() - began
        beside.append(whole - bench.arguments.steps * statistics.median(call.steps_s))
    return beside


def our_beside(bench: Bench, step_s: float, edits: int) -> list[float]:
    """Return seconds beside the steps of each edit but the first, through the real host and role."""
    ours, theirs = socket.socketpair()
    done: list[float] = []

    def hear() -> None:
        channel = Channel(theirs, FROM_HOST)
        while len(done) < edits and not channel.closed:
            for message in channel.receive_blocking():
                if message["type"] == "failed":
                    print(f"failed: {message['reason']}", file=sys.stderr)
                if message["type"] in ("done", "failed"):
                    done.append(time.monotonic())

    ears = threading.Thread(target=hear, daemon=True)
    ears.start()
    host, role = Host(ours), EditRole.around(bench.editor)
    host._role = role
    tasks = [{"id": str(n), "payload": payload(bench, n)} for n in range(edits)]
    back = reuse_qwen_parts(bench.pipeline)
    host._hear({"type": "task", "tasks": tasks[:2]})
    for number in range(edits):
        host._work(role, host._take(1))
        if tasks[number + 2 : number + 3]:
            host._hear({"type": "task", "tasks": tasks[number + 2 : number + 3]})
    ears.join(60)
    back()
    steps = bench.arguments.steps
    return [after - before - steps * step_s for before, after in pairwise(done)]


def payload(bench: Bench, number: int) -> dict[str, Any]:
    """Return a task as the driver makes it."""
    source = str(bench.sources[number % len(bench.sources)])
    names = ("image", "thumbnail", "source_thumbnail")
    return {
        "sample": Sample(f"s{number}", INSTRUCTION, (source,)).to_json(),
        "inputs": [[source, file_sha256(source)]],
        "seed": number,
        "repeat": 0,
        **{name: str(bench.folder / "run" / f"{name}-{number}") for name in names},
    }


def compare_beside(bench: Bench, switch: Switch) -> None:
    """Measure what edits take beside their steps, the plain loop and ours."""
    switch.off()
    plain = statistics.median(plain_beside(bench))
    switch.on()
    step_s, plain_step_s = bench.found["our_step_s"], bench.found["plain_step_s"]
    ours = statistics.median(our_beside(bench, step_s, bench.arguments.repeats + 1))
    for name, seconds, step in (("plain", plain, plain_step_s), ("ours", ours, step_s)):
        share = seconds / (STEPS * step + seconds)
        text = f"beside the steps, {name}: {seconds:.3f} s an edit, {share:.2%} of one of {STEPS} steps"
        bench.say(f"{name}_beside", {"seconds": seconds, "share": share}, text)


def parts(bench: Bench) -> None:
    """Measure each part beside the steps, one after the other, with the GPU waited for."""
    seconds: dict[str, list[float]] = {}
    pipeline, vae = bench.pipeline, bench.pipeline.vae
    targets = {
        "prompts (both) and images encoded": (pipeline, "encode_prompt"),
        "VAE encode": (vae, "encode"),
        "VAE decode": (vae, "decode"),
        "image processor, preprocess": (pipeline.image_processor, "preprocess"),
        "image processor, postprocess": (pipeline.image_processor, "postprocess"),
    }
    with _timed(bench, targets, seconds):
        image = bench.call(2).image
    source = bench.sources[0]
    data = png_bytes(image)
    works: dict[str, Callable[[], Any]] = {
        "open a source": lambda: open_image(source),
        "encode the PNG": lambda: png_bytes(image),
        "flags": lambda: flags_of(image, [open_rgb(source)], image.size, nan=False),
        "thumbnail": lambda: save_thumbnail(image, bench.folder / "thumb.webp"),
        "write and sync the PNG": lambda: (bench.folder / "x.png").write_bytes(data),
    }
    for name, work in works.items():
        began = time.monotonic()
        work()
        seconds[name] = [time.monotonic() - began]
    table = {name: round(sum(values), 4) for name, values in seconds.items()}
    bench.say(
        "parts_s",
        table,
        "an edit's parts, one after the other: " + ", ".join(f"{n} {s:.3f} s" for n, s in table.items()),
    )


@contextmanager
def _timed(
    bench: Bench, targets: dict[str, tuple[Any, str]], seconds: dict[str, list[float]]
) -> Iterator[None]:
    """Note how long these methods take, while within."""

    def timed(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            bench.sync()
            began = time.monotonic()
            try:
                return plain(*arguments, **options)
            finally:
                bench.sync()
                seconds.setdefault(name, []).append(time.monotonic() - began)

        return call

    for name, (owner, method) in targets.items():
        setattr(owner, method, timed(name, getattr(owner, method)))
    try:
        yield
    finally:
        for owner, method in targets.values():
            delattr(owner, method)


def other_parts(bench: Bench) -> None:
    """Measure VAE and encoder in other ways."""
    targets = {
        "prompts": (bench.pipeline, "encode_prompt"),
        "VAE encode": (bench.pipeline.vae, "encode"),
        "VAE decode": (bench.pipeline.vae, "decode"),
    }
    for name in ["plain", *PARTS]:
        if bench.left_s() < (90 if name.endswith("compiled") else 20) or (
            bench.arguments.tiny and name != "plain"
        ):
            bench.say(f"parts_{name}", None, f"parts {name}: left out")
            continue
        seconds: dict[str, list[float]] = {}
        try:
            with PARTS[name](bench.pipeline) if name in PARTS else _nothing():
                bench.call(2)
                with _timed(bench, targets, seconds):
                    bench.call(2)
        except (RuntimeError, TypeError, AttributeError, ValueError) as error:
            bench.say(
                f"parts_{name}",
                None,
                f"parts {name}: does not run here: {' '.join(str(error).split())[:200]}",
            )
            continue
        table = {part: round(sum(values), 4) for part, values in seconds.items()}
        bench.say(
            f"parts_{name}",
            table,
            f"parts {name}: " + ", ".join(f"{part} {s:.3f} s" for part, s in table.items()),
        )


@contextmanager
def _nothing() -> Iterator[None]:
    yield
