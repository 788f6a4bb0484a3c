"""What the editors that run a diffusers pipeline have in common: loading, parts replaced, step progress, sizes.

Knows diffusers' folder layout (`model_index.json` and one folder per component) and its call conventions. Does not
know any one model: which arguments a pipeline is called with is the editors' business. torch, diffusers and
transformers are imported inside functions, from the host's own environment.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edit_eval.core.errors import ConfigError, DeviceError, ModelError, UserError, did_you_mean
from edit_eval.core.types import EditRequest, HostContext, Sample, StepCallback
from edit_eval.editors import Editor
from edit_eval.editors._approximate import approximate, breaks_graphs
from edit_eval.editors._calling import reporter, watched
from edit_eval.editors._compile import compile_if_it_pays, denoiser_of
from edit_eval.editors._memory import breaks_blocks, offload, stays
from edit_eval.editors._overlays import as_folder, from_original, put_lora
from edit_eval.editors._spread import Place, connect, index_of, is_split, places, room, weights_bytes
from edit_eval.worker.images import resize_to
from edit_eval.worker.returned import mark_nan

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "DTYPES",
    "MODEL_INDEX",
    "SIZES",
    "PipelineEditor",
    "choice_problems",
    "first_release",
    "load_pipeline",
    "pipeline_class",
    "pipeline_class_name",
    "read_index",
    "signature_names",
]

MODEL_INDEX = "model_index.json"
DTYPES = ("bfloat16", "float16", "float32")
SIZES = ("model", "source")

_LIBRARIES = ("torch", "diffusers", "transformers")
_OLDEST = {"diffusers": (0, 35), "transformers": (4, 57)}
_SINCE = {
    "QwenImageEditPlusPipeline": "0.36",
    "QwenImageEditInpaintPipeline": "0.36",
    "Flux2Pipeline": "0.36",
    "ChronoEditPipeline": "0.36",
    "Flux2KleinPipeline": "0.37",
    "LongCatImageEditPipeline": "0.37",
    "BriaFiboEditPipeline": "0.37",
}
"""The first diffusers that has a pipeline, where the oldest that we run has not."""

_TRIAL = "Make it brighter."
_TRIAL_STEPS = 2

_DTYPE_KEYWORD_SINCE = (0, 40)
"""diffusers from 0.40 calls it `dtype`; older ones call it `torch_dtype` and ignore the new word silently."""


class PipelineEditor(Editor):
    """An editor around one diffusers pipeline, on one device or spread over several.

    A subclass says how the pipeline is made (`build`) and what it is called with (`edit`, through `run`). To get the
    pipeline from elsewhere than a checkpoint, override `build` alone.
    """

    model_file: ClassVar[str] = MODEL_INDEX
    takes_lora: ClassVar[bool] = True
    accelerated: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("torch", "diffusers>=0.35", "transformers>=4.57", "PIL")

    def __init__(self, params: Any, context: HostContext) -> None:
        """Build the pipeline on the context's device.

        Raises:
            DeviceError: the replica is to span several devices, and to offload too.
            ModelError: a library is missing, or the checkpoint does not load.
        """
        super().__init__(params, context)
        if len(context.devices) > 1 and params.memory != "full":
            raise DeviceError(
                f"editor.params.memory: {params.memory} is for one device, and this editor has "
                f"{len(context.devices)} ({', '.join(context.devices)}); leave it out, or give the editor one device"
            )
        self.pipeline = self.build()
        if params.memory != "full":
            offload(self.pipeline, params.memory, context.device)
        self.pipeline.set_progress_bar_config(disable=True)
        self._trying = False
        self._facts: dict[str, Any] = {}

    @classmethod
    def check(cls, model: str, components: Mapping[str, str]) -> None:
        """Raise `UserError` if `components` do not fit the model's `model_index.json`."""
        _check_components(model, components)

    def build(self) -> Any:
        """Return the pipeline, its models on `self.context.device`, ready to be called."""
        raise NotImplementedError

    def edit_size(self, request: EditRequest) -> tuple[int, int] | None:
        """Return the source's size where edits are brought back to it; else None: the pipeline's own."""
        return request.images[0].size if getattr(self.params, "size", "model") == "source" else None

    def run(self, arguments: Mapping[str, Any], request: EditRequest, step: StepCallback, size: str) -> Image:
        """Call the pipeline with `arguments` and the request's seed; return its first image, RGB, marked if it held NaN.

        Args:
            arguments: everything but generator, output type and step callback.
            request: gives the seed and, for `size="source"`, the size.
            step: called after every denoising step, if the pipeline can.
            size: one of `SIZES`.
        """
        import torch

        extra: dict[str, Any] = {"generator": torch.Generator("cpu").manual_seed(request.seed)}
        known = signature_names(type(self.pipeline))
        if "output_type" in known:
            extra["output_type"] = "pil"
        if "callback_on_step_end" in known:
            extra["callback_on_step_end"] = reporter(step)
        if self._trying and "num_inference_steps" in known and "strength" not in known:
            extra["num_inference_steps"] = _TRIAL_STEPS
        if reset := getattr(denoiser_of(self.pipeline), "_reset_stateful_cache", None):
            reset()  # diffusers does so after an edit, but not after one that failed
        with watched(getattr(self.pipeline, "image_processor", None)) as odd:
            edited: Image = self.pipeline(**{**arguments, **extra})[0][0]
        edited = edited.convert("RGB")
        if size == "source":
            edited = resize_to(edited, request.images[0].size)
        return mark_nan(edited) if odd else edited

    def facts(self) -> dict[str, Any]:
        """Return whether the denoiser is compiled, and how many seconds that took."""
        return self._facts

    def steps(self) -> int:
        """Return the denoising steps of an edit, as far as the pipeline declares them."""
        declared = inspect.signature(type(self.pipeline).__call__).parameters.get("num_inference_steps")
        return declared.default if declared and isinstance(declared.default, int) else 0

    def set_up(self) -> None:
        """Do what `params` say of attention_backend, approximations and compile, in this order.

        Raises:
            UserError: the installed libraries, the denoiser or this machine cannot do what was asked for.
        """
        params, denoiser = self.params, denoiser_of(self.pipeline)
        if params.attention_backend is not None:
            self.set_attention_backend(params.attention_backend)
        approximate(self.pipeline, denoiser, params.approximations, params.dtype, self._try_out)
        self._facts = compile_if_it_pays(
            denoiser,
            params.compile,
            self.context.options,
            self.steps(),
            self.context.device,
            self._try_out,
            fullgraph=not (
                breaks_graphs(params.approximations)
                or breaks_blocks(params.memory)
                or is_split(self.pipeline, denoiser)
            ),
        )

    def _try_out(self) -> None:
        """Make an edit of two steps, of nothing."""
        from PIL import Image

        blank = Image.new("RGB", (1024, 1024), "grey")
        self._trying = True
        try:
            self.edit(EditRequest(Sample("trial", _TRIAL, ("",)), _TRIAL, (blank,), 0), _no_step)
        finally:
            self._trying = False

    def set_attention_backend(self, name: str) -> None:
        """Choose diffusers' attention kernel for the denoiser.

        Raises:
            UserError: the installed diffusers, the denoiser or this machine does not have it.
        """
        choose = getattr(denoiser_of(self.pipeline), "set_attention_backend", None)
        if choose is None:
            raise UserError("editor.params.attention_backend: this pipeline has none to choose; leave it out")
        try:
            choose(name)
        except (ImportError, RuntimeError, ValueError) as error:
            raise UserError(
                f"editor.params.attention_backend: {name!r} is not usable: {_reason(error)}"
            ) from error


def _no_step(_step: int, _steps: int) -> None:
    """Tell nobody."""


def choice_problems(params: Any, **known: Sequence[str]) -> list[str]:
    """Return one line for each field of `params` whose value is not among those given for it."""
    problems = []
    for name, choices in known.items():
        value = getattr(params, name)
        if value not in choices:
            hint = did_you_mean(str(value), choices)
            problems.append(f"editor.params.{name} is {value!r}{hint}; give one of {', '.join(choices)}")
    return problems


# What a checkpoint says of itself: small json files, read without any library ------------------------------------


def read_index(model: str | None) -> dict[str, Any]:
    """Return the content of the model's `model_index.json`.

    Raises:
        ModelError: no model given, or no such file, or not a json object.
    """
    if model is None:
        raise ModelError("editor.model is missing; give a local folder or a hub id such as owner/name")
    path = Path(model) / MODEL_INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"editor.model: {model} holds no pipeline: {MODEL_INDEX} is missing") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"editor.model: {path} cannot be read: {_reason(error)}") from error
    if not isinstance(index, dict):
        raise ModelError(f"editor.model: {path} is not a json object")
    return index


def pipeline_class_name(index: Mapping[str, Any]) -> str:
    """Return the name of the pipeline class that a `model_index.json` asks for.

    Raises:
        ModelError: none is named, or it is code that the checkpoint brings along, which is never run.
    """
    name = index.get("_class_name")
    if isinstance(name, str) and name:
        return name
    if isinstance(name, list):
        raise ModelError(
            f"editor.model: the pipeline {name[-1]} is code of the checkpoint itself, which is not run"
        )
    raise ModelError(f"editor.model: {MODEL_INDEX} names no _class_name, so this is no diffusers pipeline")


def _slots(index: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return component name -> (library, class name), without the slots that the checkpoint leaves empty."""
    return {
        name: (value[0], value[1])
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and all(isinstance(one, str) for one in value)
    }


def _check_components(model: str | None, components: Mapping[str, str]) -> None:
    if not components:
        return
    known = sorted(name for name in _slots(read_index(model)) if not name.startswith("_"))
    problems = []
    for name, path in components.items():
        if name not in known:
            hint = did_you_mean(name, known)
            problems.append(f"editor.components: the model has no {name!r}{hint}; it has {', '.join(known)}")
        elif path.startswith(("/", "./", "../")) and not Path(path).exists():
            problems.append(f"editor.components.{name}: no folder or file at {path}")
        elif (Path(path) / MODEL_INDEX).is_file() and (Path(path) / name).is_dir():
            problems.append(f"editor.components.{name}: {path} is a whole pipeline; give {Path(path) / name}")
    if problems:
        raise ConfigError(problems)


# Loading ---------------------------------------------------------------------------------------------------------


def load_pipeline(context: HostContext, dtype: str, class_name: str, memory: str = "full") -> Any:
    """Return the pipeline of `context.model`, every model of it read straight to its device.

    Args:
        context: model folder, devices, the components that are taken from elsewhere, and a LoRA over it all.
        dtype: one of `DTYPES`.
        class_name: a pipeline class of diffusers.
        memory: one of `MEMORY`; models that do not stay on the device are read to main memory.

    Raises:
        ModelError: a library or class is missing, a file is missing or damaged, or a checkpoint lacks weights (the
            libraries would go on with random ones).
        ConfigError: `context.components` do not fit the model.
    """
    index = read_index(context.model)
    folder = Path(str(context.model))
    _check_components(context.model, context.components)
    cls = pipeline_class(class_name)
    _hide_progress_bars()
    taken = signature_names(cls, "__init__")
    found: dict[str, tuple[Any, Path]] = {}
    for name, (library, part_class_name) in _slots(index).items():
        path = context.components.get(name)
        if (folder / name / f"{library}.py").is_file() or (path and (Path(path) / f"{library}.py").is_file()):
            raise ModelError(
                f"editor.model: the {name} of {folder} is code of the checkpoint itself, which is not run"
            )
        with _typed_failures(_named(context, name)):
            part_class = _part_class(library, part_class_name)
            if name in taken and part_class is not None and (path is not None or _is_model(part_class)):
                found[name] = (part_class, Path(path) if path else folder / name)
    where = _places(context, found, dtype, memory)
    parts = {}
    for name, (part_class, place) in found.items():
        with _typed_failures(_named(context, name)):
            parts[name] = _load_part(part_class, place, folder / name, dtype, where.get(name, context.device))
    if lost := sorted(set(context.components) - set(parts)):
        raise ModelError(
            f"editor.components.{lost[0]}: {class_name} has no use for it, or its class is not installed"
        )
    with _typed_failures(f"editor.model: {folder}"):
        pipeline = cls.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False, **parts)
    if len(context.devices) > 1:
        connect(pipeline, where)
    if context.lora:
        with _typed_failures(f"editor.lora: {context.lora[0]}"):
            put_lora(pipeline, *context.lora)
    return pipeline


def _named(context: HostContext, component: str) -> str:
    """Return what a user calls a component of the pipeline."""
    path = context.components.get(component)
    return (
        f"editor.components.{component}: {path}"
        if path
        else f"editor.model: {Path(str(context.model)) / component}"
    )


def _places(
    context: HostContext, found: Mapping[str, tuple[Any, Path]], dtype: str, memory: str
) -> Mapping[str, Place]:
    """Return where each model is read to; `found`: component -> its class, and its folder or file."""
    models = {name: place for name, (cls, place) in found.items() if _is_model(cls)}
    if len(context.devices) == 1:
        return {name: context.device if stays(name, memory) else "cpu" for name in models}
    with _typed_failures(f"editor.model: {context.model}"):
        sizes = {name: weights_bytes(place, dtype) for name, place in models.items()}
        return places(sizes, room(context.devices))


def pipeline_class(name: str) -> Any:
    """Return diffusers' pipeline class `name`.

    Raises:
        ModelError: torch, diffusers or transformers is missing, or the installed diffusers has no such pipeline.
    """
    diffusers = _import_libraries()
    try:
        cls = getattr(diffusers, name, None)
    except (ImportError, RuntimeError) as error:  # imported only now, with all it needs
        raise ModelError(_mend(error)) from error
    if inspect.isclass(cls) and issubclass(cls, diffusers.DiffusionPipeline):
        return cls
    near = did_you_mean(name, [one for one in dir(diffusers) if one.endswith("Pipeline")])
    mend = (
        f"it needs diffusers {since} or newer: {_upgrade('diffusers')}"
        if (since := first_release(name))
        else "newer releases may"
    )
    raise ModelError(
        f"diffusers {diffusers.__version__} of {sys.executable} has no pipeline {name}{near}; {mend}"
    )


def first_release(pipeline: str) -> str:
    """Return the first version of diffusers that has a pipeline; empty if it is not known here."""
    return _SINCE.get(pipeline, "")


def _upgrade(library: str) -> str:
    return f"{sys.executable} -m pip install -U {library}"


def _numbers(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def signature_names(cls: Any, method: str = "__call__") -> tuple[str, ...]:
    """Return the names of the arguments that `method` of `cls` declares, without `self` and `**kwargs`."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(getattr(cls, method)).parameters.values()
    return tuple(one.name for one in parameters if one.kind in named and one.name != "self")


def _import_libraries() -> Any:
    """Import torch, diffusers and transformers, and return diffusers."""
    try:
        for name in _LIBRARIES:
            importlib.import_module(name)
    except ImportError as error:
        raise ModelError(_mend(error)) from error
    for name, least in _OLDEST.items():
        version = sys.modules[name].__version__
        if _numbers(version) < least:
            raise ModelError(
                f"{sys.executable} has {name} {version}, and {'.'.join(map(str, least))} or newer is needed: {_upgrade(name)}"
            )
    return sys.modules["diffusers"]


def _mend(error: Exception) -> str:
    lacks = (
        f"has no {error.name}"
        if isinstance(error, ModuleNotFoundError)
        else f"cannot import all it needs: {_reason(error)}"
    )
    return (
        f"{sys.executable} {lacks}; pip install 'edit-eval[diffusers]' into it, "
        "or set editor.python to an interpreter that has torch, diffusers and transformers"
    )


def _hide_progress_bars() -> None:
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _part_class(library: str, name: str) -> Any:
    """Return a component's class, or None where only diffusers itself knows how to make it."""
    import diffusers

    owners = {"diffusers": diffusers, "transformers": sys.modules["transformers"]}
    owner = owners.get(library) or getattr(diffusers.pipelines, library, None)
    return getattr(owner, name, None)


def _is_model(cls: Any) -> bool:
    import torch

    return inspect.isclass(cls) and issubclass(cls, torch.nn.Module)


def _load_part(cls: Any, place: Path, base: Path, dtype: str, device: Place) -> Any:
    """Load one component: models to `device` in `dtype`, with all weights; tokenizers, schedulers ... as they are.

    Args:
        cls: its class.
        place: its folder, or one .safetensors file.
        base: folder of that component in the base model; its config says what a single file is.
        dtype: one of `DTYPES`.
        device: where models go.

    Raises:
        ModelError: weights are missing, or one file is to be split.
    """
    import diffusers
    import torch

    if not _is_model(cls):
        return cls.from_pretrained(str(place), local_files_only=True)
    old_word = (
        issubclass(cls, diffusers.ModelMixin) and _numbers(diffusers.__version__) < _DTYPE_KEYWORD_SINCE
    )
    options: dict[str, Any] = {"torch_dtype" if old_word else "dtype": getattr(torch, dtype)}
    if any(place.glob("*.safetensors")):
        options["use_safetensors"] = True  # else the libraries read a .bin, as weights only
    where: dict[str, Any] = {}
    if not isinstance(device, str):
        if place.is_file():
            raise ModelError(
                f"{place} is one file, which can't be split over {', '.join(device)}; give it as a folder, as "
                "save_pretrained writes it"
            )
        where = {"device_map": "auto", "max_memory": {index_of(one): most for one, most in device.items()}}
    elif not device.startswith("cpu") and importlib.util.find_spec("accelerate") is not None:
        where = {"device_map": {"": device}}
    with contextlib.ExitStack() as kept:
        folder = place
        if place.is_file():
            of_diffusers = issubclass(cls, diffusers.ModelMixin)
            folder = kept.enter_context(as_folder(place, base, of_diffusers=of_diffusers))
        model, info = cls.from_pretrained(
            str(folder), local_files_only=True, output_loading_info=True, **options, **where
        )
    if missing := sorted(info["missing_keys"]):
        if place.is_file():
            return from_original(cls, place, base, missing, **options).to(device)
        raise ModelError(
            f"{len(missing)} weights of {cls.__name__} are missing, such as {missing[0]}, in {place}"
        )
    return model if where else model.to(device)


@contextlib.contextmanager
def _typed_failures(what: str) -> Iterator[None]:
    """Turn what goes wrong inside into a `ModelError` about `what`, save for want of memory."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except ImportError as error:
        raise ModelError(_mend(error)) from error
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        raise ModelError(f"{what} does not load: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
