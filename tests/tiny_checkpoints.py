"""Checkpoints of a few hundred kB for tests: the real classes at toy sizes, random weights, made offline.

Knows the configurations and the file layout of the models; knows nothing of edit-eval. Every checkpoint is written
by `save_pretrained` and loads through the library's own `from_pretrained`. The same name and seed always give the
same weights. Torch, diffusers and transformers are imported inside, so that this file can be imported without them.

    python tests/tiny_checkpoints.py OUT_DIR [NAME[@SEED] ...]
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["BUILDERS", "build", "main"]

QWEN_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

QWEN_CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else %}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>
{%- elif part.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>
{%- else -%}{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}"""


def build(name: str, folder: Path, seed: int = 0) -> Path:
    """Write checkpoint `name` (a key of `BUILDERS`) with weights of `seed` to `folder`, and return `folder`."""
    BUILDERS[name](seed).save_pretrained(folder)
    return folder


class _Parts:
    """Several things that are saved into one folder (a model and its processor)."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def save_pretrained(self, folder: Path) -> None:
        for part in self.parts:
            part.save_pretrained(folder)


# Weights ------------------------------------------------------------------------------------------------------


def _fill(module: Any, seed: int, *, sharpness: float = 1.0) -> Any:
    """Give `module` random weights that carry a signal, and return it.

    Matrices get variance 1 / fan-in, so that activations neither die nor explode at any depth, gains of norms get
    1, except those of queries and keys, which get `sharpness`: the larger, the fewer tokens each token looks at, and
    the more one changed patch of a source image or one changed word can change the output.
    """
    import torch

    generator = torch.Generator("cpu").manual_seed(seed)
    embeddings = {id(one.weight) for one in module.modules() if isinstance(one, torch.nn.Embedding)}
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name.endswith("bias"):
                weight.normal_(0, 0.1, generator=generator)
            elif weight.ndim == 1 or name.endswith("gamma"):
                weight.fill_(sharpness if "norm_" in name and ("_q" in name or "_k" in name) else 1.0)
            elif id(weight) in embeddings:
                weight.normal_(0, 1, generator=generator)
            else:
                fan_in = (
                    math.prod(weight.shape[1:]) if weight.ndim > 3 or weight.ndim == 2 else weight.shape[-1]
                )
                weight.normal_(0, fan_in**-0.5, generator=generator)
    return module.eval()


# Qwen: what its editors and its judges share --------------------------------------------------------------------


def _byte_vocabulary() -> dict[str, int]:
    from tokenizers import pre_tokenizers

    return {one: index for index, one in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}


def _before_5() -> bool:
    """Whether transformers is of the line before 5, which makes tokenizers from files and has no `rope_parameters`."""
    from transformers import __version__

    return int(__version__.partition(".")[0]) < 5


def _without_merges(kind: Any, vocabulary: dict[str, int], **options: Any) -> Any:
    if not _before_5():
        return kind(vocab=vocabulary, merges=[], **options)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        Path(folder, "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        return kind(f"{folder}/vocab.json", f"{folder}/merges.txt", **options)


def _rope(theta: float, **more: Any) -> dict[str, Any]:
    """Return a config's entries for rotary positions."""
    if _before_5():
        return {"rope_theta": theta, "rope_scaling": {"rope_type": "default", **more}}
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **more}}


def _qwen_tokenizer(**options: Any) -> Any:
    """A byte-level tokenizer without merges: one byte, one token."""
    from transformers import Qwen2Tokenizer

    return _without_merges(
        Qwen2Tokenizer,
        _byte_vocabulary(),
        eos_token="<|im_end|>",
        additional_special_tokens=list(QWEN_SPECIAL[1:]),
        model_max_length=32768,
        **options,
    )


def _qwen_token_ids(tokenizer: Any) -> dict[str, int]:
    return {
        "image_token_id": tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    }


def _text_ids(tokenizer: Any) -> dict[str, int]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
        "pad_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
    }


# Qwen-Image-Edit ------------------------------------------------------------------------------------------------


def _qwen_image_edit(pipeline_name: str, seed: int) -> Any:
    import diffusers
    from diffusers import FlowMatchEulerDiscreteScheduler, QwenImageTransformer2DModel

    tokenizer = _qwen_tokenizer()
    transformer = QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(4, 6, 6),
    )
    scheduler = FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000,
        shift=1.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=0.9,
        base_image_seq_len=256,
        max_image_seq_len=8192,
        shift_terminal=0.02,
        time_shift_type="exponential",
    )
    return getattr(diffusers, pipeline_name)(
        scheduler=scheduler,
        vae=_fill(_qwen_vae(), seed + 1),
        text_encoder=_fill(_qwen_text_encoder(tokenizer), seed + 2, sharpness=2.0),
        tokenizer=tokenizer,
        processor=_qwen2_vl_processor(tokenizer),
        transformer=_fill(transformer, seed + 3, sharpness=2.5),
    )


def _qwen_vae() -> Any:
    """The released 8x factor (three downsamplings; otherwise tokens explode), no residual blocks on the way."""
    from diffusers import AutoencoderKLQwenImage

    return AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=0,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )


def _qwen_text_encoder(tokenizer: Any) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 32768,
        **_rope(1e6, mrope_section=[1, 1, 2]),
        **_text_ids(tokenizer),
    }
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_heads": 2,
        "out_hidden_size": 16,
        "patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [0],
    }
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **_qwen_token_ids(tokenizer))
    return Qwen2_5_VLForConditionalGeneration(config)


def _qwen2_vl_processor(tokenizer: Any) -> Any:
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen2VLVideoProcessor

    patches = {"patch_size": 14, "temporal_patch_size": 2, "merge_size": 2}
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(**patches),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**patches),
        chat_template=QWEN_CHAT_TEMPLATE,
    )


def _edit(seed: int) -> Any:
    return _qwen_image_edit("QwenImageEditPipeline", seed)


def _edit_plus(seed: int) -> Any:
    return _qwen_image_edit("QwenImageEditPlusPipeline", seed)


# Qwen3-VL -------------------------------------------------------------------------------------------------------

_QWEN3_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 32768,
}


_QWEN3_VISION = {
    "depth": 2,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_heads": 2,
    "out_hidden_size": 32,
    "patch_size": 16,
    "num_position_embeddings": 64,
    "deepstack_visual_indexes": [0, 1],
}


def _qwen3_text(tokenizer: Any) -> dict[str, Any]:
    rope = _rope(5e6, mrope_section=[4, 2, 2], mrope_interleaved=True)
    return {**_QWEN3_TEXT, **rope, **_text_ids(tokenizer)}


def _qwen3_vl(seed: int) -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    processor = _qwen3_vl_processor()
    config = Qwen3VLConfig(
        text_config=_qwen3_text(processor.tokenizer),
        vision_config=_QWEN3_VISION,
        tie_word_embeddings=False,
        **_qwen_token_ids(processor.tokenizer),
    )
    return _Parts(_speaking(Qwen3VLForConditionalGeneration(config), processor.tokenizer, seed), processor)


def _qwen3_vl_moe(seed: int) -> Any:
    from transformers import Qwen3VLMoeConfig, Qwen3VLMoeForConditionalGeneration

    processor = _qwen3_vl_processor()
    text = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "norm_topk_prob": True}
    config = Qwen3VLMoeConfig(
        text_config={**_qwen3_text(processor.tokenizer), **text},
        vision_config=_QWEN3_VISION,
        tie_word_embeddings=False,
        **_qwen_token_ids(processor.tokenizer),
    )
    return _Parts(_speaking(Qwen3VLMoeForConditionalGeneration(config), processor.tokenizer, seed), processor)


def _speaking(model: Any, tokenizer: Any, seed: int) -> Any:
    """Random weights under which greedy decoding writes bytes for ever: no special token ever has the top logit."""
    import torch

    _fill(model, seed, sharpness=2.0)
    with torch.no_grad():
        model.lm_head.weight[tokenizer.convert_tokens_to_ids(list(QWEN_SPECIAL))] = 0
    ids = _text_ids(tokenizer)
    model.generation_config.update(
        **{key: ids[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    )
    return model


def _qwen3_vl_processor() -> Any:
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    patches = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
    pixels = {"shortest_edge": 65536, "longest_edge": 16777216}
    halves = [0.5, 0.5, 0.5]
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**patches, size=pixels, image_mean=halves, image_std=halves),
        tokenizer=_qwen_tokenizer(padding_side="left"),
        video_processor=Qwen3VLVideoProcessor(**patches),
        chat_template=QWEN_CHAT_TEMPLATE,
    )


# FLUX.1-Kontext -------------------------------------------------------------------------------------------------


def _flux_kontext(seed: int) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxKontextPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    )
    scheduler = FlowMatchEulerDiscreteScheduler(
        num_train_timesteps=1000,
        shift=3.0,
        use_dynamic_shifting=True,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
    )
    clip, t5 = _clip_tokenizer(), _t5_tokenizer()
    return FluxKontextPipeline(
        scheduler=scheduler,
        vae=_fill(_flux_vae(), seed + 1),
        text_encoder=_fill(_clip_text_model(clip), seed + 2),
        tokenizer=clip,
        text_encoder_2=_fill(_t5_encoder(t5), seed + 3),
        tokenizer_2=t5,
        transformer=_fill(transformer, seed + 4, sharpness=2.5),
    )


def _flux_vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=2,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def _clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    letters = _byte_vocabulary()
    vocabulary = {**letters, **{f"{one}</w>": len(letters) + index for one, index in letters.items()}}
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[token] = len(vocabulary)
    return _without_merges(CLIPTokenizer, vocabulary, model_max_length=77)


def _clip_text_model(tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            projection_dim=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _t5_tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(chr(code), -3.0) for code in range(33, 127)]
    if _before_5():
        return _old_t5_tokenizer(pieces)
    from transformers import T5Tokenizer

    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def _old_t5_tokenizer(pieces: list[tuple[str, float]]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import T5TokenizerFast

    whole = Tokenizer(models.Unigram(pieces, unk_id=2))
    whole.pre_tokenizer = pre_tokenizers.Metaspace()
    whole.decoder = decoders.Metaspace()
    whole.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5TokenizerFast(tokenizer_object=whole, extra_ids=0, model_max_length=512)


def _t5_encoder(tokenizer: Any) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_heads=2,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
        )
    )


# InstructPix2Pix --------------------------------------------------------------------------------------------------


def _instruct_pix2pix(seed: int) -> Any:
    from diffusers import DDIMScheduler, StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel

    unet = UNet2DConditionModel(
        in_channels=8,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=2,
    )
    clip = _clip_tokenizer()
    return StableDiffusionInstructPix2PixPipeline(
        vae=_fill(_flux_vae(), seed + 1),
        text_encoder=_fill(_clip_text_model(clip), seed + 2),
        tokenizer=clip,
        unet=_fill(unet, seed + 3),
        scheduler=DDIMScheduler(num_train_timesteps=1000, beta_schedule="scaled_linear", clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


BUILDERS: dict[str, Callable[[int], Any]] = {
    "qwen-image-edit": _edit,
    "qwen-image-edit-plus": _edit_plus,
    "flux-kontext": _flux_kontext,
    "instruct-pix2pix": _instruct_pix2pix,
    "qwen3-vl": _qwen3_vl,
    "qwen3-vl-moe": _qwen3_vl_moe,
}
"""Name of a checkpoint -> what makes an object with `save_pretrained` from a seed."""


def main(arguments: Sequence[str]) -> int:
    """Write the named checkpoints (all of them if none is named) under the first argument; `NAME@3` is of seed 3."""
    folder, wanted = arguments[:1], arguments[1:] or list(BUILDERS)
    if not folder or any(one.partition("@")[0] not in BUILDERS for one in wanted):
        print(
            f"usage: tiny_checkpoints.py OUT_DIR [NAME[@SEED] ...] of {', '.join(BUILDERS)}", file=sys.stderr
        )
        return 2
    for one in wanted:
        name, _, seed = one.partition("@")
        print(build(name, Path(folder[0]) / one, int(seed or 0)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
