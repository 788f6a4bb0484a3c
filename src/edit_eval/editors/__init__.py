"""Editors: sample -> edited image. One module per kind; this file holds what they have in common.

To add one, subclass `Editor` in a module of its own and name it in `driver.registry` (or in an entry point of the
group `edit_eval.editors`). Heavy libraries are imported inside methods: the driver imports this module to validate
`Params` without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from edit_eval.core.types import EditRequest, HostContext, Sample, StepCallback

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Editor", "NoParams"]


@dataclass(frozen=True)
class NoParams:
    """For kinds without parameters."""


class Editor:
    """One loaded editor: constructed in its own process, once, then asked for edits one at a time.

    Class attributes:
        Params: a frozen standard-library dataclass; its fields are the config's `params`. A field with
            `metadata={"identity": False}` does not change pixels and is not part of the edit's key.
        version: raise it by hand whenever the same parameters give other pixels.
        model_file: file that a model folder must hold (`model_index.json`); empty if the kind takes no model.
        accelerated: whether it wants GPUs by default (`devices` left out).
        needs: what its interpreter must be able to import, such as `torch` or `transformers>=4.57`; `edit-eval
            doctor` looks for it.
    """

    Params: ClassVar[type[Any]] = NoParams
    version: ClassVar[int] = 1
    model_file: ClassVar[str] = ""
    accelerated: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("PIL",)

    def __init__(self, params: Any, context: HostContext) -> None:
        """Load the model.

        Raises:
            UserError: what the user asked for cannot be loaded; the message says what to change.
        """
        self.params = params
        self.context = context

    @classmethod
    def resolve(cls, params: Any, model: str | None) -> Any:
        """Return `params` with defaults that depend on the checkpoint filled in (read from its small json files).

        Runs in the driver, before any process starts. Raises `UserError` if params and checkpoint do not fit.
        """
        del model
        return params

    @classmethod
    def check(cls, model: str, components: Mapping[str, str]) -> None:
        """Raise `UserError` if the model is not of this kind, or has no such component to replace.

        Runs in the driver, before any process starts; reads small json files only.

        Args:
            model: local folder.
            components: component name -> local path.
        """
        del model, components

    @classmethod
    def conditioning(cls, params: Any, sample: Sample) -> Sequence[str]:
        """Return paths of further files whose bytes decide this sample's edit; they become part of its key."""
        del params, sample
        return ()

    @classmethod
    def for_layout(cls, params: Any, layout: str) -> Any:
        """Return `params` for a benchmark whose own tools name edits by the pattern `layout`; runs in the driver."""
        del layout
        return params

    @classmethod
    def origin(cls, params: Any, path: str, sha256: str) -> str:
        """Return the hash that counts for a file of `conditioning` whose bytes have the hash `sha256`."""
        del params, path
        return sha256

    @classmethod
    def size_policy(cls, params: Any) -> str:
        """Say in words what size goes in and what size comes out; recorded in the run."""
        del params
        return "in: the source's size; out: as the editor returns it"

    def edit(self, request: EditRequest, step: StepCallback) -> Image:
        """Return the edited image, RGB.

        Raises:
            FileNotFoundError: there is no edit for this sample (recorded as `missing`).
            Exception: anything else fails this sample alone (recorded as `error` or `out_of_memory`).
        """
        raise NotImplementedError
