"""At what size a model sees an image, and where it is made so: by the device itself if that gives the same values.

Limits are in pixels where an image processor has them, else sizes are its own way. Knows transformers' image processors by
what they do, not by name: limits and devices are tried on an image before they are trusted. Pillow is imported inside.
"""

from __future__ import annotations

import math
from typing import Any

from edit_eval.core.errors import ModelError

__all__ = ["cuts_off", "has_pixel_limits", "limit_pixels", "on_device"]

_ONE_LEVEL = 2.0 / 255.0
"""Between two levels of a channel, where values go from -1 to 1; rounding may take either."""


def has_pixel_limits(settings: Any) -> bool:
    """Whether an image processor with these settings (a mapping, or the object itself) keeps to numbers of pixels.

    Processors of the Qwen2-VL kind do: they make patches and merge them. Others take `shortest_edge` and `longest_edge` for
    lengths of sides.
    """
    return all(_setting(settings, name) is not None for name in ("patch_size", "merge_size"))


def cuts_off(settings: Any) -> bool:
    """Whether an image processor with these settings cuts off the ends of an image."""
    return bool(_setting(settings, "do_center_crop"))


def limit_pixels(image_processor: Any, least: int, most: int) -> None:
    """Have `image_processor` give every image between `least` and `most` pixels.

    Some count the pixels of an image once for each frame that a patch has: limits are then so many times larger.

    Raises:
        ModelError: it has no such limits, or does not keep to them.
    """
    name = type(image_processor).__name__
    if not has_pixel_limits(image_processor):
        raise ModelError(
            f"judge.params: min_pixels and max_pixels have no meaning for {name}, which sizes images in its own way; "
            "set both to null"
        )
    pixels = 0
    for frames in (1, _setting(image_processor, "temporal_patch_size") or 1):
        limits = {"shortest_edge": frames * least, "longest_edge": frames * most}
        image_processor.size = type(image_processor.size)(**limits)
        for key, value in (("min_pixels", frames * least), ("max_pixels", frames * most)):
            if (
                getattr(image_processor, key, None) is not None
            ):  # transformers 4 keeps them beside `size`, and prefers them
                setattr(image_processor, key, value)
        pixels = _pixels_of_a_small_image(image_processor)
        token = image_processor.patch_size * image_processor.merge_size
        if least <= pixels <= max(most, (math.sqrt(least) + token) ** 2):
            return
    raise ModelError(
        f"judge.params: {name} does not keep to min_pixels {least} and max_pixels {most}: an image of 32 x 32 pixels was "
        f"given {pixels}"
    )


def on_device(processor: Any, device: str) -> dict[str, Any]:
    """Return what `processor` is to be called with so that `device` resizes and cuts images, not the host's cores.

    Empty where that cannot be, or gives other values: tried on an image that has to be resized.
    """
    if device == "cpu":
        return {}
    from PIL import Image

    image = Image.linear_gradient("L").resize((300, 200)).convert("RGB")
    plain = processor.image_processor(images=[image], return_tensors="pt")
    try:
        found = processor.image_processor(images=[image], return_tensors="pt", device=device)
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        return {}
    name = "pixel_values"
    if name not in found or str(found[name].device) != device or found[name].shape != plain[name].shape:
        return {}
    apart = float((found[name].float().cpu() - plain[name].float()).abs().max())
    return {"images_kwargs": {"device": device}} if apart <= _ONE_LEVEL else {}


def _pixels_of_a_small_image(image_processor: Any) -> int:
    from PIL import Image

    found = image_processor(images=[Image.new("RGB", (32, 32))], return_tensors="pt")
    if "image_grid_thw" not in found:
        return 0
    _, rows, columns = found["image_grid_thw"][0].tolist()
    return int(rows * columns * image_processor.patch_size**2)


def _setting(settings: Any, name: str) -> Any:
    return settings.get(name) if isinstance(settings, dict) else getattr(settings, name, None)
