"""Files of repositories as hubs have them: small pipelines and judges whose weights are zeros, with every duplicate."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

from fake_hub import LARGE_BYTES

WEIGHTS_BYTES = 3 * LARGE_BYTES


def tensor_file(size: int = WEIGHTS_BYTES, fill: int = 0, name: str = "a") -> bytes:
    """Return a whole .safetensors file with one tensor of `size` bytes."""
    header = json.dumps({name: {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes([fill]) * size


def pipeline(fill: int = 1, class_name: str = "QwenImageEditPlusPipeline") -> dict[str, bytes]:
    """Return what a run needs of a pipeline: a sharded transformer, a VAE, a scheduler."""
    index = {
        "_class_name": class_name,
        "transformer": ["diffusers", "QwenImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLQwenImage"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "safety_checker": [None, None],
    }
    shards = {f"diffusion_pytorch_model-0000{k}-of-00002.safetensors": k for k in (1, 2)}
    weight_map = {"weight_map": {f"t{k}": name for name, k in shards.items()}}
    return {
        "model_index.json": json.dumps(index).encode(),
        "scheduler/scheduler_config.json": b'{"_class_name": "FlowMatchEulerDiscreteScheduler"}',
        "transformer/config.json": b"{}",
        "transformer/diffusion_pytorch_model.safetensors.index.json": json.dumps(weight_map).encode(),
        **{
            f"transformer/{name}": tensor_file(fill=10 * fill + k, name=f"t{k}") for name, k in shards.items()
        },
        "vae/config.json": b'{"z_dim": 16}',
        "vae/diffusion_pytorch_model.safetensors": tensor_file(fill=10 * fill),
    }


SPARE: Mapping[str, bytes] = dict.fromkeys(
    (
        "README.md",
        ".gitattributes",
        "all-in-one.safetensors",
        "v1.ckpt",
        "transformer/diffusion_pytorch_model.bin",
        "transformer/diffusion_pytorch_model.fp16.safetensors",
        "transformer/diffusion_flax_model.msgpack",
        "transformer/pipeline.py",
        "vae/model.onnx",
        "vae/diffusion_pytorch_model.fp16.safetensors",
        "vae/optimizer.bin",
        "images/example.png",
        "text_encoder_of_old/model.safetensors",
    ),
    b"spare" * LARGE_BYTES,
)
"""What lies beside a pipeline and is not needed."""


def judge(fill: int = 7) -> dict[str, bytes]:
    """Return what a run needs of a vision-language model."""
    return {
        "config.json": b'{"model_type": "qwen3_vl", "vision_config": {}}',
        "tokenizer.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "model.safetensors": tensor_file(fill=fill),
    }
