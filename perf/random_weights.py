"""Full-size models with random weights, made on the device: for speed, which does not depend on the weights' values.

Tokenizers, processors and schedulers come from a tiny checkpoint (`tests/tiny_checkpoints.py`), so a character is
about one token. Sizes are those of the released configurations of Qwen-Image-Edit-2509 (28.9 B parameters) and
Qwen3-VL-30B-A3B-Instruct (31.1 B).
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from edit_eval.editors.qwen_image_edit import QwenImageEdit
from edit_eval.judges.engines.transformers import TransformersEngine
from edit_eval.judges.qwen3_vl import Qwen3VL

__all__ = ["FullSizeEditor", "FullSizeJudge", "judge_folder", "tiny_checkpoint"]

_ROPE = {"rope_type": "default"}
ENCODER_TEXT = {
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "max_position_embeddings": 128000,
    "rope_parameters": {**_ROPE, "mrope_section": [16, 24, 24], "rope_theta": 1e6},
}
ENCODER_VISION = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "out_hidden_size": 3584,
    "patch_size": 14,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
TRANSFORMER = {
    "patch_size": 2,
    "in_channels": 64,
    "out_channels": 16,
    "num_layers": 60,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 3584,
}
JUDGE_TEXT = {
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
    "norm_topk_prob": True,
    "vocab_size": 151936,
    "max_position_embeddings": 262144,
    "tie_word_embeddings": False,
    "rope_parameters": {**_ROPE, "mrope_section": [24, 20, 20], "mrope_interleaved": True, "rope_theta": 5e6},
}
JUDGE_VISION = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_heads": 16,
    "out_hidden_size": 2048,
    "patch_size": 16,
    "deepstack_visual_indexes": [8, 16, 24],
}
_TOKEN_IDS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


@contextmanager
def _defaults(device: str, dtype: Any) -> Iterator[None]:
    """Construct modules directly on `device` in `dtype`, without the library's own initialisation."""
    import torch
    from transformers.initialization import no_init_weights

    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device), no_init_weights():
            yield
    finally:
        torch.set_default_dtype(before)


def _make(build: Callable[[], Any], device: str, dtype_name: str) -> Any:
    """Return `build()` on `device`, matrices N(0, 0.02), vectors (gains of norms among them) 1 or 0 for biases."""
    import torch

    with _defaults(device, getattr(torch, dtype_name)):
        module = build()
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.02)
            else:
                weight.fill_(0.0 if name.endswith("bias") else 1.0)
    return module.eval()


class FullSizeEditor(QwenImageEdit):
    """Qwen-Image-Edit-2509 at full size; `model` is a tiny checkpoint that lends tokenizer and scheduler."""

    def build(self) -> Any:
        """Return the pipeline, its weights made on the device."""
        from diffusers import AutoencoderKLQwenImage, QwenImageEditPlusPipeline, QwenImageTransformer2DModel
        from transformers import AutoConfig, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

        device, dtype, lender = self.context.device, self.params.dtype, str(self.context.model)
        small = AutoConfig.from_pretrained(f"{lender}/text_encoder")
        ids = {name: getattr(small, name) for name in _TOKEN_IDS}
        config = Qwen2_5_VLConfig(text_config=ENCODER_TEXT, vision_config=ENCODER_VISION, **ids)
        return QwenImageEditPlusPipeline.from_pretrained(
            lender,
            text_encoder=_make(lambda: Qwen2_5_VLForConditionalGeneration(config), device, dtype),
            transformer=_make(lambda: QwenImageTransformer2DModel(**TRANSFORMER), device, dtype),
            vae=_make(AutoencoderKLQwenImage, device, dtype),
        )


def _judge_config(lender: str) -> Any:
    """Return the configuration of Qwen3-VL-30B-A3B, with the token ids of the tiny checkpoint."""
    from transformers import AutoConfig, Qwen3VLMoeConfig

    small = AutoConfig.from_pretrained(lender)
    ids = {name: getattr(small, name) for name in _TOKEN_IDS}
    return Qwen3VLMoeConfig(text_config=JUDGE_TEXT, vision_config=JUDGE_VISION, **ids)


def tiny_checkpoint(name: str, folder: Path) -> Path:
    """Build a tiny checkpoint of a real class (`tests/tiny_checkpoints.py`) below `folder`, once."""
    source = Path(__file__).resolve().parent.parent / "tests" / "tiny_checkpoints.py"
    spec = importlib.util.spec_from_file_location("tiny_checkpoints", source)
    if spec is None or spec.loader is None:
        raise RuntimeError("tests/tiny_checkpoints.py is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path = folder / name
    return path if path.exists() else Path(module.build(name, path))


def judge_folder(folder: Path, *, full: bool) -> Path:
    """Return a tiny judge's checkpoint; `full`: with the configuration of the full size, which its weights do not fit.

    The latter is for an engine that makes random weights itself and reads none (`load_format: dummy`).
    """
    tiny = tiny_checkpoint("qwen3-vl-moe", folder)
    path = folder / "full-size"
    if not full or path.exists():
        return path if full else tiny
    shutil.copytree(tiny, path)
    config = _judge_config(str(tiny))
    config.architectures = ["Qwen3VLMoeForConditionalGeneration"]
    config.dtype = "bfloat16"
    config.save_pretrained(path)
    return path


class FullSizeEngine(TransformersEngine):
    """Qwen3-VL-30B-A3B at full size; `model` is a tiny checkpoint that lends the processor.

    Engines of one process that compute alike share their weights.
    """

    _made: ClassVar[dict[str, Any]] = {}

    def build(self) -> tuple[Any, Any]:
        """Return the model, its weights made on the device, and the processor."""
        from transformers import AutoProcessor, Qwen3VLMoeForConditionalGeneration

        lender = str(self._context.model)
        config = _judge_config(lender)
        # What `from_pretrained` chooses by itself; a model made by hand would be left with the slow loop.
        chosen = self._params.experts_implementation or "grouped_mm"
        config._experts_implementation = config.text_config._experts_implementation = chosen
        place = f"{self._context.device} {self._params.dtype} {chosen}"
        if place not in self._made:
            self._made[place] = _make(
                lambda: Qwen3VLMoeForConditionalGeneration(config), self._context.device, self._params.dtype
            )
        return self._made[place], AutoProcessor.from_pretrained(lender)


class FullSizeJudge(Qwen3VL):
    """The judge that asks `FullSizeEngine`."""

    def open_engine(self) -> FullSizeEngine:
        """Return the engine, its weights made on the device."""
        return FullSizeEngine(self.params, self.context)
