"""Judges: sample + edited image -> verdict. One module per kind; this file holds what they have in common.

To add one, subclass `Judge` in a module of its own and name it in `driver.registry` (or in an entry point of the
group `edit_eval.judges`). Heavy libraries are imported inside methods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

from edit_eval.core.types import HostContext, JudgeRequest, Rubric, Verdict
from edit_eval.editors import NoParams

__all__ = ["Judge", "Remark"]

Remark = tuple[Literal["ok", "warn", "bad"], str, str]
"""What was found when a judge was tried out: how grave it is, what it is, and what to do about it (may be empty)."""


def _no_progress(_step: int, _steps: int) -> None:
    """Tell nobody."""


class Judge:
    """One loaded judge: constructed in its own process, once, then asked for verdicts in batches.

    Class attributes:
        Params, version, model_file, hub_files, accelerated, needs, engine, remote_model: as for `edit_eval.editors.Editor`.
        label: the name people know it by, in the terminal's `[... Scoring]` lines.
        default_rubric: the rubric used where the config names none; None takes the benchmark's.
        reads: which images of a sample are part of the verdict's key beside source and edit:
            `reference` and `target`.
        model_files: what the folder of a model must hold beside `model_file` and weights, each a choice of names.
        prepares: whether `prepare` saves time: its process is then started while an editor still has the device.
    """

    Params: ClassVar[type[Any]] = NoParams
    version: ClassVar[int] = 1
    model_file: ClassVar[str] = ""
    hub_files: ClassVar[tuple[str, ...]] = ()
    accelerated: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("PIL",)
    engine: ClassVar[bool] = False
    remote_model: ClassVar[bool] = False
    label: ClassVar[str] = "Judge"
    default_rubric: ClassVar[str | None] = None
    reads: ClassVar[tuple[str, ...]] = ("reference",)
    model_files: ClassVar[tuple[tuple[str, ...], ...]] = ()
    prepares: ClassVar[bool] = False

    def __init__(self, params: Any, context: HostContext, rubrics: Sequence[Rubric]) -> None:
        """Load the model. Raises `UserError` if what the user asked for cannot be loaded.

        Args:
            params: an instance of `Params`.
            context: where to load.
            rubrics: those that requests will come with; often one.
        """
        self.params = params
        self.context = context
        self.rubrics = rubrics
        self.progress: Callable[[int, int], None] = _no_progress
        """`progress(k, n)`: tell that token (or request) k of at most n of this batch is done; set by the host."""

    @classmethod
    def resolve(cls, params: Any, model: str | None) -> Any:
        """Return `params` with defaults that depend on the checkpoint filled in; runs in the driver."""
        del model
        return params

    @classmethod
    def prepare(cls, params: Any, context: HostContext) -> None:
        """Import what loading will need. Runs in the judge's process before it is loaded, or never.

        The device belongs to an editor meanwhile: no memory of an accelerator may be taken, nor `torch.cuda` asked.
        """
        del params, context

    @classmethod
    def adapted(cls, params: Any, rubric: Rubric) -> Rubric:
        """Return the rubric as this judge follows it with these parameters; runs in the driver.

        One that differs has another name, which begins with the rubric's own and a hyphen (`general-v1-mean-of-3`): it is
        part of the protocol's id. Raises `ConfigError` if the rubric cannot be followed.
        """
        del params
        return rubric

    @classmethod
    def size_policy(cls, params: Any) -> str:
        """Say in words what sizes of images the judge sees; recorded in the run."""
        del params
        return "every image as it is"

    @classmethod
    def most_cost(cls, params: Any, rubric: Rubric, tokens_in: int) -> float | None:
        """Return the most money that a verdict may cost; None if that is not known. Runs in the driver.

        Args:
            params: resolved.
            rubric: adapted.
            tokens_in: of a question with its images.
        """
        del params, rubric, tokens_in
        return None

    @property
    def window(self) -> int:
        """How many requests `judge` wants at once; read after every batch, so it may shrink."""
        return 1

    @property
    def threads(self) -> int:
        """How many threads call `judge` at once, each with one request; above 1, the judge must bear that.

        `window` is then how many requests are kept at hand; read once, after loading.
        """
        return 1

    def facts(self) -> dict[str, Any]:
        """Return what run.json records of this judge's host beside library versions: plain JSON values."""
        return {}

    def try_out(self, request: JudgeRequest) -> Sequence[Remark]:
        """Ask one question before anything is edited, and say what was found; for judges whose model is remote.

        Runs in the judge's interpreter, in a process of its own, and must end within seconds if nobody answers.

        Args:
            request: about a pair of built-in images; its first question will do.

        Raises:
            UserError: the judge would answer nothing.
        """
        del request
        return ()

    def judge(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """Return one verdict per request, in order.

        A reply that cannot be read is a verdict too (*unscored*), never an exception and never a number. An
        exception makes the host ask again one request at a time, and only the one that raises is recorded as
        unscored (`error`).

        Raises:
            UserError: no request would fare better, for a reason that the user can mend (a wrong key): the run ends with
                this line, and nothing is recorded of these requests.
        """
        raise NotImplementedError
