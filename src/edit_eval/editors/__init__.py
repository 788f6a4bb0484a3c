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
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = ["Editor", "NoParams"]


@dataclass(frozen=True)
class NoParams:
    """For kinds without parameters."""


class Editor:
    """One loaded editor: constructed in its own process, once, then asked for edits one at a time.

    Class attributes:
        Params: a frozen standard-library dataclass; its fields are the config's `params`. A field with
            `metadata={"identity": False}` does not change pixels and is not part of the edit's key; one with
            `metadata={"identity": "given"}` is part of it where it is not empty.
        version: raise it by hand whenever the same parameters give other pixels.
        model_file: file that a model folder must hold (`model_index.json`); empty if the kind takes no model.
        hub_files: patterns of the files that `edit-eval fetch` brings of a model; empty: those that a diffusers
            pipeline, or a model of transformers, is loaded from.
        takes_lora: whether it loads the config's `editor.lora` (`HostContext.lora`).
        accelerated: whether it wants GPUs by default (`devices` left out).
        needs: what its interpreter must be able to import, such as `torch` or `transformers>=4.57`; `edit-eval
            doctor` looks for it.
        engine: whether it holds an engine that takes GPUs by number and memory as a share of the whole, as vLLM does.
            Its process then sees plain integers in `CUDA_VISIBLE_DEVICES`, and `context.options["memory_share"]`
            is the part (0..1) of the memory that is free for it now; None where that is not known.
        remote_model: whether `model` is a name at somebody else's endpoint and no folder: it is needed, never looked for
            on this machine, and part of the identity as it is written. By default such a stage has one device, a CPU slot.
    """

    Params: ClassVar[type[Any]] = NoParams
    version: ClassVar[int] = 1
    model_file: ClassVar[str] = ""
    hub_files: ClassVar[tuple[str, ...]] = ()
    takes_lora: ClassVar[bool] = False
    accelerated: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ("PIL",)
    engine: ClassVar[bool] = False
    remote_model: ClassVar[bool] = False

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
    def finished(cls, params: Any, sample: Sample, repeat: int) -> Sequence[str]:
        """Return the files that hold this edit already, the one that is taken first; for an editor that makes none."""
        del params, sample, repeat
        return ()

    @classmethod
    def all_finished(cls, params: Any) -> Sequence[str] | None:
        """Return every file that may hold an edit, whatever sample it is of; None: this editor makes its edits."""
        del params
        return None

    @classmethod
    def size_policy(cls, params: Any) -> str:
        """Say in words what size goes in and what size comes out; recorded in the run."""
        del params
        return "in: the source's size; out: the source's size, or as the editor returns it"

    def facts(self) -> dict[str, Any]:
        """Return provenance of this host beyond its libraries: text, numbers, booleans; recorded in run.json."""
        return {}

    def edit_size(self, request: EditRequest) -> tuple[int, int] | None:
        """Return the (width, height) in pixels that the edit of this request has by `size_policy`; None: any.

        An edit of another size is flagged `resized`. The default is the size of the (first) source image.
        """
        return request.images[0].size

    def edit(self, request: EditRequest, step: StepCallback) -> Image | NDArray[np.floating[Any]]:
        """Return the edited image: a Pillow image that can become RGB, or a float array (height, width, 3) in 0..1.

        NaN and infinity in an array are written as black, and the edit is flagged `nan`.

        Raises:
            UnreadableImageError: a file that the edit is made of cannot be read (`unreadable`).
            FileNotFoundError: there is no edit for this sample (recorded as `missing`).
            Exception: anything else fails this sample alone (recorded as `error` or `out_of_memory`).
        """
        raise NotImplementedError
