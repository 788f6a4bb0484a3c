"""Files of weights: safetensors in half precision, and ONNX graphs that read the same file, so that it is there once.

`python -m training.export FOLDER` writes the graphs beside weights that are there already.
"""

from __future__ import annotations

import argparse
import json
import struct
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.model import Shape, TinyEditor

__all__ = ["GRAPHS", "about", "load", "save", "write_graphs"]

WEIGHTS, ABOUT = "tiny.safetensors", "tiny.json"
GRAPHS = ("encoder", "denoiser")
_OPSET = 18


def save(model: TinyEditor, folder: Path, told: dict[str, Any]) -> None:
    """Write the weights in half precision, and what there is to tell of them.

    Args:
        model: the network.
        folder: it is made where it is not there.
        told: `words`, and whatever else the editor or a reader wants to know.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: one.detach().half().cpu().contiguous() for name, one in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)
    text = json.dumps({"shape": model.shape.as_dict(), **told}, ensure_ascii=False, indent=1)
    (folder / ABOUT).write_text(text + "\n", encoding="utf-8")


def about(folder: Path) -> dict[str, Any]:
    """Return what is told of the weights in a folder."""
    told: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    return told


def load(folder: Path) -> TinyEditor:
    """Return the network with the weights of a folder, in single precision on the CPU."""
    from safetensors.torch import load_file

    model = TinyEditor(Shape(**about(folder)["shape"]))
    model.load_state_dict({name: one.float() for name, one in load_file(folder / WEIGHTS).items()})
    return model.eval()


def write_graphs(folder: Path) -> None:
    """Write `encoder.onnx` and `denoiser.onnx` for the weights of a folder."""
    model = load(folder)
    shape = model.shape
    for weight in model.parameters():  # the values are in the file; equal ones would become one in the graph
        nn.init.normal_(weight)
    picture, time = torch.zeros(1, 3, shape.size, shape.size), torch.zeros(1)
    words = torch.zeros(1, shape.length, dtype=torch.int64)
    with torch.no_grad():
        encoded = model.encoder(picture, words)
    outputs = ["fine", "coarse", "whole"]
    _write_graph(model.encoder, (picture, words), folder, "encoder", ["source", "words"], outputs)
    inputs = ["noisy", "time", "source", *outputs]
    _write_graph(model.denoiser, (picture, time, picture, *encoded), folder, "denoiser", inputs, ["estimate"])


def _write_graph(
    module: nn.Module,
    example: tuple[Any, ...],
    folder: Path,
    name: str,
    inputs: list[str],
    outputs: list[str],
) -> None:
    import onnx

    path = folder / f"{name}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the exporter's own: of its deprecation, and of shapes that are fixed here
        torch.onnx.export(
            module,
            example,
            str(path),
            dynamo=False,
            opset_version=_OPSET,
            do_constant_folding=False,
            input_names=inputs,
            output_names=outputs,
        )
    graph = onnx.load(str(path))
    _point_to_weights(graph, folder / WEIGHTS, f"{name}.")
    onnx.save(graph, str(path))


def _point_to_weights(model: Any, weights: Path, prefix: str) -> None:
    """Replace the values of a graph's weights by places in the file of weights, and widen them as they are read."""
    from onnx import TensorProto, helper

    places = _places(weights)
    graph = model.graph
    kept, casts = [], []
    for one in graph.initializer:
        if prefix + one.name not in places:
            kept.append(one)
            continue
        begin, count = places[prefix + one.name]
        half = TensorProto(name=f"{one.name}.half", data_type=TensorProto.FLOAT16, dims=one.dims)
        half.data_location = TensorProto.EXTERNAL
        for key, value in (("location", weights.name), ("offset", begin), ("length", count)):
            half.external_data.add(key=key, value=str(value))
        kept.append(half)
        casts.append(
            helper.make_node("Cast", [half.name], [one.name], f"{one.name}.cast", to=TensorProto.FLOAT)
        )
    missing = {name for name in places if name.startswith(prefix)} - {prefix + one.output[0] for one in casts}
    if missing:
        raise RuntimeError(f"the graph does not use {', '.join(sorted(missing))}")
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend([*casts, *nodes])


def _places(weights: Path) -> dict[str, tuple[int, int]]:
    """Return where each tensor begins in a safetensors file, and its length, both in bytes."""
    with weights.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return {
        name: (8 + length + one["data_offsets"][0], one["data_offsets"][1] - one["data_offsets"][0])
        for name, one in header.items()
        if name != "__metadata__"
    }


def main() -> None:
    """Write the graphs beside the weights of a folder."""
    parser = argparse.ArgumentParser(
        prog="python -m training.export", description="Write graphs beside weights."
    )
    parser.add_argument("folder", type=Path, help="folder of tiny.safetensors and tiny.json")
    folder = parser.parse_args().folder
    for name in (WEIGHTS, ABOUT):
        if not (folder / name).is_file():
            parser.error(f"{folder} has no {name}; give the output folder of a training")
    write_graphs(folder)


if __name__ == "__main__":
    main()
