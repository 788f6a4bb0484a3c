"""How the weights of the editor `tiny` are made: drawn scenes, a flow-matching network, its training and export.

Not part of the package: it needs torch, onnx and the benchmark's drawings. `python -m training.train --help`.
"""
