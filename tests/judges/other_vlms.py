"""Tiny checkpoints of vision-language models of other families than Qwen3-VL: real classes, random weights, no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tiny_checkpoints as tiny

__all__ = ["OTHERS"]

_HALVES = [0.5, 0.5, 0.5]
_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32768,
}
_SIGHT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
_TEMPLATE = tiny.QWEN_CHAT_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "<image>")


def _tokenizer(*more: str) -> Any:
    tokenizer = tiny._qwen_tokenizer(padding_side="left")
    tokenizer.add_special_tokens({"additional_special_tokens": [*tiny.QWEN_SPECIAL[1:], *more]})
    return tokenizer


def _saved(model: Any, processor: Any, folder: Path) -> Path:
    tiny._Parts(tiny._speaking(model, processor.tokenizer, 0), processor).save_pretrained(folder)
    return folder


def _qwen2_5_vl(folder: Path) -> Path:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = _tokenizer()
    patches = {"patch_size": 14, "temporal_patch_size": 2, "merge_size": 2}
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 4,
        "out_hidden_size": 32,
        "patch_size": 14,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    }
    text = {**_TEXT, **tiny._rope(1e6, mrope_section=[1, 1, 2]), **tiny._text_ids(tokenizer)}
    config = Qwen2_5_VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=False, **tiny._qwen_token_ids(tokenizer)
    )
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**patches),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**patches),
        chat_template=tiny.QWEN_CHAT_TEMPLATE,
    )
    return _saved(Qwen2_5_VLForConditionalGeneration(config), processor, folder)


def _llava_onevision(folder: Path, **text: Any) -> Path:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
    )

    tokenizer = _tokenizer("<image>", "<video>")
    pins = [[28, 28], [28, 56], [56, 28], [56, 56]]
    config = LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **_TEXT, **tiny._rope(1e6), **tiny._text_ids(tokenizer), **text},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **_SIGHT},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=pins,
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )
    sizes = {"size": {"height": 28, "width": 28}, "image_mean": _HALVES, "image_std": _HALVES}
    processor = LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(image_grid_pinpoints=pins, **sizes),
        tokenizer=tokenizer,
        video_processor=LlavaOnevisionVideoProcessor(**sizes),
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
        chat_template=_TEMPLATE,
    )
    return _saved(LlavaOnevisionForConditionalGeneration(config), processor, folder)


def _llava_onevision_sliding(folder: Path) -> Path:
    """One whose text layers look back 64 tokens only, so that its cache forgets."""
    return _llava_onevision(
        folder,
        use_sliding_window=True,
        sliding_window=64,
        max_window_layers=0,
        layer_types=["sliding_attention"] * 2,
    )


def _idefics3(folder: Path) -> Path:
    """One whose image processor cuts large images into tiles; `longest_edge` is a length in pixels there."""
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessor,
        Idefics3Processor,
    )

    rows = [f"<row_{row}_col_{column}>" for row in range(1, 3) for column in range(1, 3)]
    tokenizer = _tokenizer(
        "<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *rows
    )
    config = Idefics3Config(
        text_config={"model_type": "llama", **_TEXT, **tiny._rope(1e4), **tiny._text_ids(tokenizer)},
        vision_config={**_SIGHT, "patch_size": 7},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        tie_word_embeddings=False,
    )
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessor(
            size={"longest_edge": 56},
            max_image_size={"longest_edge": 28},
            image_mean=_HALVES,
            image_std=_HALVES,
        ),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=_TEMPLATE,
    )
    return _saved(Idefics3ForConditionalGeneration(config), processor, folder)


def _llava(folder: Path) -> Path:
    """One whose image processor makes a square of every image by cutting off its ends."""
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    tokenizer = _tokenizer("<image>")
    config = LlavaConfig(
        text_config={"model_type": "llama", **_TEXT, **tiny._rope(1e4), **tiny._text_ids(tokenizer)},
        vision_config={"model_type": "clip_vision_model", "projection_dim": 32, **_SIGHT},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_TEMPLATE,
    )
    return _saved(LlavaForConditionalGeneration(config), processor, folder)


OTHERS: Mapping[str, Callable[[Path], Path]] = {
    "qwen2.5-vl": _qwen2_5_vl,
    "llava-onevision": _llava_onevision,
    "llava-onevision-sliding": _llava_onevision_sliding,
    "idefics3": _idefics3,
    "llava": _llava,
}
"""Name -> writes a checkpoint into a folder."""
