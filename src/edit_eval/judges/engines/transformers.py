"""transformers as an engine: a vision-language model on one device, asked in batches.

Knows how such a model is loaded, asked and kept within its memory. torch, transformers and Pillow are imported inside,
from the host's own environment.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edit_eval.core.errors import ModelError, UserError
from edit_eval.core.types import HostContext
from edit_eval.judges.engines import Engine, Part, Question, Reply
from edit_eval.judges.engines.decoding import StaticDecoding, find_static_decoding
from edit_eval.judges.engines.grammar import Grammars, find_grammars
from edit_eval.judges.engines.images import cuts_off, limit_pixels, on_device
from edit_eval.judges.engines.prefix import Shared, SharedPrefix
from edit_eval.worker.freeing import free_memory

__all__ = ["TransformersEngine", "import_libraries", "library_error"]

_BATCH_SIZE = 4
_HALF_PRECISION = 0.05
"""How far a probability may be apart where a model computes in 16 bits."""

_LIBRARIES = ("torch", "torchvision", "PIL", "transformers")
_INSTALL = "torch torchvision transformers accelerate pillow"


def import_libraries(model: str | None) -> None:
    """Import torch, transformers and the code of this checkpoint's model; no device is touched.

    Raises:
        ImportError: a library is missing, or cannot be imported.
        OSError, ValueError: of the checkpoint, where it has no configuration, or one that transformers does not know.
    """
    for name in _LIBRARIES:
        importlib.import_module(name)
    from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoConfig, AutoProcessor

    del AutoProcessor
    if model is not None:
        config = AutoConfig.from_pretrained(model, local_files_only=True, trust_remote_code=False)
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING.get(type(config), None)


class TransformersEngine(Engine):
    """A model that transformers loads with `AutoModelForImageTextToText`, dense or mixture of experts.

    Questions form batches of at most `options["batch_size"]` (4 by default), padded on the left. A batch that does not
    fit into memory is halved, and the smaller size is kept; what was answered stays. Replies that are sampled are written
    one at a time, so that each depends on its own seed alone. Questions that ask for choices and begin alike (those about
    one edit) are one row of a batch: what they share is read once, if the model can be asked so.
    """

    def __init__(self, params: Any, context: HostContext) -> None:
        """Load the model. `params` is a `VisionParams`; raises `ModelError` as `build` does."""
        super().__init__()
        self._params = params
        self._context = context
        self._batch_size = max(1, int(context.options.get("batch_size", _BATCH_SIZE)))
        self.model, self.processor = self.build()
        self._eos = self._prepare()
        self._how_images = on_device(self.processor, context.device)
        self._shared_prefix = self._find_sharing() if params.mode == "expected" else None
        self._grammars = self._find_grammars()
        self._static = self._find_static_decoding()

    @property
    def window(self) -> int:
        """One batch of edits."""
        return self._batch_size

    def facts(self) -> dict[str, Any]:
        """Return the engine's name, and how many questions it asks at once by now."""
        seen = self.processor.image_processor
        facts: dict[str, Any] = {
            "engine": "transformers",
            "batch_size": self._batch_size,
            "image_processor": type(seen).__name__,
            "images_on_device": bool(self._how_images),
            "image_size": ", ".join(
                f"{name} {value}" for name, value in sorted(dict(seen.size or {}).items()) if value
            ),
        }
        if self._params.mode == "expected":
            facts["shared_prefix"] = self._shared_prefix is not None
        else:
            facts["constrained"] = self._grammars is not None
            facts["compile"] = "off" if self._static is None else "on"
        return facts

    def ask(self, questions: Sequence[Question]) -> list[Reply]:
        """Return one reply per question, in order; what one batch has answered is kept when a later one has to shrink."""
        replies: list[Reply] = []
        while len(replies) < len(questions):
            rows = self._next_rows(questions[len(replies) :])
            answered = self._answer_if_it_fits(rows)
            if answered is None:
                self._shrink(rows)
            else:
                replies.extend(answered)
        return replies

    def _shrink(self, rows: Sequence[Sequence[Question]]) -> None:
        """Ask half as many at once from now on as did not fit into memory."""
        computed = self._computed(rows)
        self._batch_size = computed // 2
        if self._static is not None:
            self._static.shrink(self._batch_size)
        what = "questions" if all(len(row) == 1 for row in rows) else "edits"
        print(
            f"out of memory with {computed} {what} at once; going on with {self._batch_size}",
            file=sys.stderr,
            flush=True,
        )

    def _computed(self, rows: Sequence[Sequence[Question]]) -> int:
        """Return how many rows the device computes for these: a batch that is filled up has more than were asked for."""
        static = self._static_for(rows[0][0])
        return len(static.filled(rows)) if static else len(rows)

    def _static_for(self, question: Question) -> StaticDecoding | None:
        return None if question.choices or question.temperature > 0 else self._static

    def _next_rows(self, left: Sequence[Question]) -> list[list[Question]]:
        """Return the first questions that can be answered together: all for a text of one length, or all for choices.

        All texts are held to a schema, or none is.

        A row is one question; or several that begin alike, where what they share is read once.
        """
        first = left[0]
        if first.temperature > 0:
            return [[first]]
        alike = itertools.takewhile(
            lambda one: (
                one.temperature == 0
                and bool(one.choices) == bool(first.choices)
                and one.max_tokens == first.max_tokens
                and (one.schema is None) == (first.schema is None)
            ),
            left,
        )
        rows: list[list[Question]] = []
        for one in alike:
            if rows and self._shared_prefix and one.choices and _begin_alike(rows[-1][0].parts, one.parts):
                rows[-1].append(one)
            elif len(rows) == self._batch_size:
                break
            else:
                rows.append([one])
        return rows

    def _answer_if_it_fits(self, rows: Sequence[Sequence[Question]]) -> list[Reply] | None:
        """Return replies to the questions of all rows, or to the first ones; None if they do not fit into memory.

        None are returned if the step does not compile: it is not compiled from then on.
        """
        static = self._static_for(rows[0][0])
        try:
            replies = self._weigh(rows) if rows[0][0].choices else self._generate([row[0] for row in rows])
        except RuntimeError as error:
            if _is_out_of_memory(error):
                if self._computed(rows) == 1:
                    raise
            elif static is None or static.works or self._params.compile == "on":
                raise
            else:
                self._static = None
                reason = " ".join(str(error).split())[:300]
                print(f"the decoding step is not compiled: {reason}", file=sys.stderr, flush=True)
                return []
        else:
            if static is not None:
                static.works = True
            return replies
        # Outside of the handler: while it runs, the traceback keeps the batch's tensors alive.
        free_memory()
        return None

    def _inputs(self, batch: Sequence[Question]) -> Any:
        texts = [self._chat(one) for one in batch]
        images = [part[1] for one in batch for part in one.parts if part[0] == "image"]
        inputs = self.processor(
            text=texts, images=images or None, padding=True, return_tensors="pt", **self._how_images
        )
        return inputs.to(self._context.device)

    def _chat(self, question: Question) -> str:
        content = [
            {"type": "image"} if kind == "image" else {"type": "text", "text": value}
            for kind, value in question.parts
        ]
        message = {"role": "user", "content": content}
        return str(self.processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True))

    def _generate(self, batch: Sequence[Question]) -> list[Reply]:
        """Return the text of each reply, cut off at `max_tokens` or not."""
        import torch

        most, sampled = batch[0].max_tokens, batch[0].temperature > 0
        static = self._static_for(batch[0])
        asked_for = static.filled(batch) if static else list(batch)
        inputs = self._inputs(asked_for)
        asked = inputs["attention_mask"].sum(dim=1).tolist()
        how: dict[str, Any] = {"max_new_tokens": most}
        if static:
            how |= static.options(inputs["input_ids"].shape[1] + most)
        if sampled:
            how |= {"do_sample": True, "temperature": batch[0].temperature, "top_k": 0, "top_p": 1.0}
            torch.manual_seed(batch[0].seed)  # of every device; this process writes one reply at a time now
        if self._grammars is not None and batch[0].schema is not None:
            how["logits_processor"] = [self._grammars.processor([one.schema or {} for one in asked_for])]
        with torch.inference_mode():
            output = self.model.generate(
                **inputs, **how, stopping_criteria=[self._token_counter(inputs, most)]
            )
        answers = output[: len(batch), inputs["input_ids"].shape[1] :].tolist()
        texts = self.processor.tokenizer.batch_decode(
            answers, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [
            Reply(text, self._cut_off(tokens, most), tokens_in=count, tokens_out=self._written(tokens))
            for text, tokens, count in zip(texts, answers, asked[: len(batch)], strict=True)
        ]

    def _weigh(self, rows: Sequence[Sequence[Question]]) -> list[Reply]:
        """Return the probability of each choice to be the first token of the reply; nothing is written."""
        questions = [one for row in rows for one in row]
        found = None
        if self._shared_prefix is not None and any(len(row) > 1 for row in rows):
            shared = self._shared_prefix.logits([self._as_shared(row) for row in rows])
            if shared is None:
                _say_not_shared("the texts of these questions do not end as they should")
                self._shared_prefix = None
            else:
                found = [one for row in shared for one in row]
        if found is None:
            questions = questions[: self._batch_size]
            found = self._plain_logits(questions)
        replies = []
        for one, (logits, count) in zip(questions, found, strict=True):
            row = logits.float().softmax(-1).cpu()
            chosen = {choice: float(row[self._token_of(choice)]) for choice in one.choices}
            replies.append(Reply("", probabilities=chosen, tokens_in=count))
        return replies

    def _plain_logits(self, questions: Sequence[Question]) -> list[tuple[Any, int]]:
        """Return the logits (vocabulary size) after each question, and its number of tokens: one forward over all of it."""
        import torch

        inputs = self._inputs(questions)
        asked = inputs["attention_mask"].sum(dim=1).tolist()
        with torch.inference_mode():
            logits = self.model(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1]
        return list(zip(logits, asked, strict=True))

    def _find_grammars(self) -> Grammars | None:
        if self._params.mode == "expected" or self._params.constrained == "off":
            return None
        vocabulary = self.model.config.get_text_config().vocab_size
        found = find_grammars(self.processor.tokenizer, vocabulary, sorted(self._eos))
        if isinstance(found, str):
            print(f"replies are held to no schema: {found}", file=sys.stderr, flush=True)
            return None
        return found

    def _find_static_decoding(self) -> StaticDecoding | None:
        if self._params.mode == "expected":
            return None
        if len(self._context.devices) > 1:
            if self._params.compile == "on":
                raise UserError(
                    "judge.params.compile: the step of a judge over several devices is not compiled; set it to auto or off"
                )
            return None
        options = self._context.options
        choice = self._params.compile if self._params.compile != "auto" else options.get("compile", "auto")
        return find_static_decoding(self.model, choice, self._batch_size, int(options.get("questions", 0)))

    def _as_shared(self, row: Sequence[Question]) -> Shared:
        images = tuple(part[1] for part in row[0].parts if part[0] == "image")
        return Shared(tuple(self._chat(one) for one in row), images)

    def _find_sharing(self) -> SharedPrefix | None:
        """Return what reads a shared beginning once, if probabilities are the same as when each question is read alone.

        Tried once, on questions about two images of different sizes.
        """
        from PIL import Image

        wide, high = (
            Image.linear_gradient("L").resize(size).convert("RGB") for size in ((96, 64), (64, 128))
        )
        heads: tuple[tuple[Part, ...], ...] = (
            (("text", "Two images. "), ("image", wide), ("image", high)),
            (("image", high), ("text", "And one: ")),
        )
        rows = [
            [
                Question((*head, ("text", f"Is it {word}?")), 1, choices=("1",))
                for word in ("good", "sharp enough")
            ]
            for head in heads
        ]
        shared = SharedPrefix(self.model, self.processor, self._context.device, self._how_images)
        plain = [[self._plain_logits([one])[0][0].float().softmax(-1) for one in row] for row in rows]
        tolerance = 1e-4 if self._params.dtype == "float32" else _HALF_PRECISION
        obstacle = shared.obstacle([self._as_shared(row) for row in rows], plain, tolerance)
        if obstacle:
            _say_not_shared(obstacle)
            return None
        return shared

    def _token_of(self, choice: str) -> int:
        tokens = self.processor.tokenizer.encode(choice, add_special_tokens=False)
        if len(tokens) != 1:
            raise ModelError(
                f"judge.params.mode: {self._context.model} writes the level {choice} as {len(tokens)} tokens, so "
                "expected scores cannot be had from it; use mode generate"
            )
        return int(tokens[0])

    def _token_counter(self, inputs: Any, most: int) -> Callable[..., Any]:
        """Return a stopping criterion that never stops, and tells how many tokens have been written."""
        import torch

        before = inputs["input_ids"].shape[1]

        def count(input_ids: Any, _scores: Any, **_: Any) -> Any:
            self.progress(input_ids.shape[1] - before, most)
            return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)

        return count

    def _cut_off(self, tokens: Sequence[int], most: int) -> bool:
        return len(tokens) >= most and self._eos.isdisjoint(tokens)

    def _written(self, tokens: Sequence[int]) -> int:
        """Return how many tokens a reply has; what follows its end is padding."""
        ends = [place for place, token in enumerate(tokens) if token in self._eos]
        return ends[0] + 1 if ends else len(tokens)

    def build(self) -> tuple[Any, Any]:
        """Return the model, on its device, and its processor. All else of the engine is set up from these two.

        Raises:
            ModelError: a library or a weight is missing, or the checkpoint does not load.
        """
        model_path = str(self._context.model)
        _require_libraries()
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        chosen = {
            name: value
            for name in ("experts_implementation", "attn_implementation")
            if (value := getattr(self._params, name)) is not None
        }
        if "experts_implementation" in chosen and _transformers_version() < (5, 0):
            raise ModelError(
                "judge.params.experts_implementation: only transformers 5 and newer can choose it; leave it out, or "
                f"{sys.executable} -m pip install -U transformers"
            )
        devices = self._context.devices
        if len(devices) > 1:
            if importlib.util.find_spec("accelerate") is None:
                raise library_error("one judge over several devices needs accelerate", "accelerate")
            chosen["device_map"] = "auto"  # layers over all devices of this process
        elif devices[0] != "cpu" and importlib.util.find_spec("accelerate"):
            chosen["device_map"] = {"": devices[0]}  # no copy of all weights in host memory
        if any(Path(model_path).glob("*.safetensors")):
            chosen["use_safetensors"] = True  # else transformers reads a .bin, as weights only
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            processor = AutoProcessor.from_pretrained(model_path, **local)
            model, report = AutoModelForImageTextToText.from_pretrained(
                model_path,
                dtype=getattr(torch, self._params.dtype),
                output_loading_info=True,
                **local,
                **chosen,
            )
            if len(devices) == 1:
                model = model.to(devices[0])
        except Exception as error:
            raise ModelError(
                f"{model_path} does not load as a judge: {type(error).__name__}: {_first_line(error)}"
            ) from error
        if missing := sorted(report["missing_keys"]):
            raise ModelError(
                f"{model_path} lacks {len(missing)} weights ({missing[0]} ...); is the download complete?"
            )
        return model, processor

    def _prepare(self) -> frozenset[int]:
        """Fix how images are resized, texts padded and replies decoded; return the tokens that end a reply."""
        from transformers import GenerationConfig

        image_processor, tokenizer = self.processor.image_processor, self.processor.tokenizer
        if cuts_off(image_processor):
            raise ModelError(
                f"{self._context.model}: its image processor cuts off the ends of images that are no squares, and a judge "
                "must see all of an edit; use another model"
            )
        if self._params.min_pixels is not None:
            limit_pixels(image_processor, self._params.min_pixels, self._params.max_pixels)
        tokenizer.padding_side = "left"
        ends = _token_ids(self.model.generation_config.eos_token_id) | _token_ids(tokenizer.eos_token_id)
        # A fresh one: the released file asks for sampling with a temperature.
        self.model.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=sorted(ends), pad_token_id=tokenizer.pad_token_id
        )
        return frozenset(ends)


def _begin_alike(first: Sequence[Part], second: Sequence[Part]) -> bool:
    """Whether two questions show the same images and differ in nothing but their last text."""
    return (
        len(first) == len(second)
        and first[-1][0] == second[-1][0] == "text"
        and all(
            one[0] == other[0] and (one[1] is other[1] if one[0] == "image" else one[1] == other[1])
            for one, other in zip(first[:-1], second[:-1], strict=True)
        )
    )


def _say_not_shared(reason: str) -> None:
    print(f"what questions share is read for each of them: {reason}", file=sys.stderr, flush=True)


def _token_ids(value: int | Sequence[int] | None) -> set[int]:
    if value is None:
        return set()
    return {value} if isinstance(value, int) else set(value)


def _require_libraries() -> None:
    name = ""
    try:
        for name in _LIBRARIES:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise library_error(f"has no {error.name}", _INSTALL) from error
    except (ImportError, OSError, RuntimeError) as error:  # builds that do not match fail in many ways
        raise library_error(f"cannot import {name} ({_first_line(error)})", _INSTALL) from error
    if _transformers_version() < (4, 57):
        version = importlib.import_module("transformers").__version__
        raise library_error(f"has transformers {version}, which is older than 4.57", _INSTALL)


def _transformers_version() -> tuple[int, ...]:
    version: str = importlib.import_module("transformers").__version__
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def library_error(what: str, packages: str) -> ModelError:
    """Return the error of an interpreter that lacks something, with both mends: another one, or these packages."""
    return ModelError(
        f"{sys.executable} {what}: run setup_qwen3_vl_env.sh and set judge.python to the interpreter that it makes, "
        f"or run {sys.executable} -m pip install -U {packages}"
    )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def _is_out_of_memory(error: RuntimeError) -> bool:
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error).lower()
