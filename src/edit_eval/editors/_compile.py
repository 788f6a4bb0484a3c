"""Regional compilation of a pipeline's denoiser: the same edits up to rounding, in less time.

Knows torch.compile and diffusers' repeated blocks: one block is compiled, and serves all of its kind. Whether it pays
is decided by the run's size, once: what a host of this run took before is taken again. Does not know any one model.
What is compiled lies in a cache that all hosts and later runs share; of several hosts that find it empty one fills it,
while the others wait for a bounded time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from edit_eval.core.errors import UserError
from edit_eval.core.identity import digest
from edit_eval.editors._gelu import fused_gelu
from edit_eval.editors._rotary import real_rotary
from edit_eval.worker.compiler import compiler_lacks
from edit_eval.worker.freeing import free_memory

__all__ = [
    "LEAST_STEPS",
    "CompiledBlocks",
    "compile_blocks",
    "compile_if_it_pays",
    "denoiser_of",
    "first_alone",
    "is_wanted",
    "lacks",
]

LEAST_STEPS = 400
"""Denoising steps of one device from which compiling pays: it takes 20 to 60 s, and saves about 0.15 s a step of the
largest model."""

_RECOMPILES = 64
"""Graphs kept of one block. torch's own limit of 8 is met by a benchmark of many sizes, and then nothing is compiled."""

_TRIAL_FAULTS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError, OSError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip
"""What the compiler, the programs that it calls and the pipeline raise; torch's want of memory is a RuntimeError."""

_WAIT_S = 600.0
_POLL_S = 0.5


def denoiser_of(pipeline: Any) -> Any:
    """Return what a pipeline calls in every step: its transformer or its UNet; None: it has neither."""
    return getattr(pipeline, "transformer", None) or getattr(pipeline, "unet", None)


def is_wanted(choice: str, options: Mapping[str, Any], steps: int, device: str) -> bool:
    """Whether the denoiser is to be compiled.

    Args:
        choice: `auto`, `on` or `off`.
        options: of `HostContext`: `compile`: `on` or `off`, as a host of this run had it before; `edits`: how many each
            device will make, about.
        steps: denoising steps of an edit.
        device: torch's name.
    """
    if choice != "auto":
        return choice == "on"
    if options.get("compile") in ("on", "off"):
        return bool(options["compile"] == "on")
    return device.startswith("cuda") and int(options.get("edits", 0)) * steps >= LEAST_STEPS


def lacks(denoiser: Any, device: str) -> str:
    """Return why a denoiser cannot be compiled here, in words that follow "compiling needs"; empty if it can."""
    if not getattr(denoiser, "_repeated_blocks", None) or not hasattr(denoiser, "compile_repeated_blocks"):
        return "a denoiser of which diffusers knows the repeated blocks, and this pipeline has none"
    return compiler_lacks(device)


def compile_if_it_pays(
    denoiser: Any,
    choice: str,
    options: Mapping[str, Any],
    steps: int,
    device: str,
    try_out: Callable[[], None],
    *,
    fullgraph: bool = True,
) -> dict[str, Any]:
    """Compile a pipeline's denoiser, and run it once, if that is wanted.

    Args:
        denoiser: see `denoiser_of`.
        choice: see `is_wanted`.
        options: likewise.
        steps: likewise.
        device: likewise.
        try_out: makes an edit with it, so that all is compiled before the first task.
        fullgraph: see `compile_blocks`.

    Returns:
        Facts of the host: `compile`: `on` or `off`; `compile_s`: seconds that it took.

    Raises:
        UserError: `choice` is `on`, and it is not possible. By `auto` it is left out then, with a line in the log.
    """
    if not is_wanted(choice, options, steps, device) or (choice == "auto" and not fullgraph):
        return {"compile": "off"}  # each block with a hook of its own would be compiled by itself
    started = time.monotonic()
    lacking = lacks(denoiser, device)
    why = f"compiling needs {lacking}" if lacking else _compiled(denoiser, try_out, fullgraph=fullgraph)
    if not why:
        return {"compile": "on", "compile_s": round(time.monotonic() - started, 2)}
    if choice == "on":
        raise UserError(f"editor.params.compile: {why}; set it to auto or off")
    print(f"edits are made without compiling: {why}", file=sys.stderr)
    return {"compile": "off"}


def _compiled(denoiser: Any, try_out: Callable[[], None], *, fullgraph: bool) -> str:
    """Compile and try it; return why that cannot be, with the denoiser as it was; empty if it can."""
    blocks = None
    try:
        blocks = compile_blocks(denoiser, fullgraph=fullgraph)
        with first_alone(denoiser):
            try_out()
    except _TRIAL_FAULTS as error:
        said = " ".join(str(error).split())[:300]
        why = f"a trial with the denoiser compiled failed: {type(error).__name__}: {said}"
    else:
        blocks.bear_more_sizes()
        return ""
    # Outside of the handler: while it runs, the traceback keeps the trial's tensors alive.
    if blocks is not None:
        blocks.take_back()
    free_memory()
    return why


class CompiledBlocks:
    """A denoiser whose repeated blocks are compiled when they are first called, for sizes that vary."""

    def __init__(
        self, denoiser: Any, backs: Sequence[Callable[[], None]], options: Mapping[str, Any]
    ) -> None:
        self._denoiser = denoiser
        self._backs = backs
        self._options = options

    def bear_more_sizes(self) -> None:
        """Have a block run plain for sizes beyond the graphs that are kept of it, where `fullgraph` would raise.

        What was compiled is used again.
        """
        self._denoiser.compile_repeated_blocks(fullgraph=False, **self._options)

    def take_back(self) -> None:
        """Have the denoiser run as it was made."""
        for module in self._denoiser.modules():
            if getattr(module, "_compiled_call_impl", None) is not None:
                module._compiled_call_impl = None  # noqa: SLF001 - torch has no public way back
        for one in self._backs:
            one()


def compile_blocks(denoiser: Any, *, fullgraph: bool = True, **options: Any) -> CompiledBlocks:
    """Have the denoiser's repeated blocks compiled; where that raises, the denoiser is as it was.

    Args:
        denoiser: a diffusers model for which `lacks` returned nothing.
        fullgraph: refuse a block that is not one graph. Hooks on blocks (caches, offloading) break it.
        options: further ones of `torch.compile`, such as `mode` or `backend`.
    """
    import torch

    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder()))
    settings = torch._dynamo.config  # noqa: SLF001 - its documented place
    for name in ("recompile_limit", "cache_size_limit"):  # the second is its name in older releases
        if hasattr(settings, name):
            setattr(settings, name, max(_RECOMPILES, getattr(settings, name)))
            break
    options = {"dynamic": True, **options}
    blocks = CompiledBlocks(denoiser, [real_rotary(denoiser), fused_gelu(denoiser)], options)
    try:
        denoiser.compile_repeated_blocks(fullgraph=fullgraph, **options)
    except BaseException:
        blocks.take_back()
        raise
    return blocks


def cache_folder() -> Path:
    """Return where compiled code is kept.

    torch's own place is a folder in `/tmp` whose name anybody can foresee, and code is loaded from it.
    """
    if named := os.environ.get("TORCHINDUCTOR_CACHE_DIR"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edit-eval" / "inductor"


@contextlib.contextmanager
def first_alone(denoiser: Any, wait_s: float = _WAIT_S) -> Iterator[None]:
    """Let one host at a time compile, until one has filled the cache; then any number at once.

    Compiling takes a process on every core; eight hosts that compile the same at once take eight times as long.

    Args:
        denoiser: what is compiled; hosts that compile other ones do not wait.
        wait_s: the longest that a host waits for another one; then it compiles too.
    """
    mark = cache_folder() / f"edit-eval-{_kind_of(denoiser)}"
    lock = _lock_file(mark)
    if lock is None:
        yield
        return
    with lock:
        until = time.monotonic() + wait_s
        while not _locked(lock) and not mark.exists() and time.monotonic() < until:
            time.sleep(_POLL_S)
        yield
        with contextlib.suppress(OSError):
            mark.touch()


def _lock_file(mark: Path) -> BinaryIO | None:
    """Open the lock beside a mark; None where the cache is filled, or cannot be shared."""
    try:
        mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return None if mark.exists() else mark.with_suffix(".lock").open("ab")
    except OSError as error:
        print(f"compiled code is not shared: {error}", file=sys.stderr)
        return None


def _locked(file: Any) -> bool:
    """Take a file's lock, if nobody has it. A file system that knows none lets everybody in."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _kind_of(denoiser: Any) -> str:
    """Return what tells denoisers apart whose compiled code is not the same."""
    import diffusers
    import torch

    weight = next(denoiser.parameters())
    gpu = torch.cuda.get_device_name(weight.device) if weight.is_cuda else "cpu"
    config = {name: str(value) for name, value in dict(denoiser.config).items()}
    facts = [
        type(denoiser).__name__,
        config,
        str(weight.dtype),
        gpu,
        torch.__version__,
        diffusers.__version__,
    ]
    return digest(facts)[:16]
