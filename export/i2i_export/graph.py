"""Module -> canonical ONNX: FP32, uint8 in and out (a sampler: noise in), static size, batch 1 to 8."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from i2i_sdk.errors import ExportError

MAX_BATCH = 8
OPSET = 18


def write_onnx(module: nn.Module, example: Tensor, path: Path) -> None:
    """Export `module` to `path` as one self-contained file, checked by onnx's own checker.

    `example`: a batch of two inputs. Input "image": uint8 [batch, height, width, channels] RGB, and output
    "translated" likewise; a sampler's input is "latent", float32 [batch, z].
    Raises ExportError naming what PyTorch's exporter stumbled over.
    """
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter's own making; the result is checked below
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=["image" if example.dtype == torch.uint8 else "latent"],
                output_names=["translated" if example.dtype == torch.uint8 else "image"],
                dynamic_shapes=({0: batch},),
                verbose=False,
            )
    except Exception as error:  # the exporter raises many unrelated kinds
        raise ExportError(
            f"PyTorch cannot export this network to ONNX: {str(error).splitlines()[0]}"
        ) from error
    finally:
        quiet.setLevel(level)
    assert program is not None
    program.save(str(path), external_data=False)
    model = onnx.load(str(path))
    model.doc_string = ""
    del model.metadata_props[:]
    for node in model.graph.node:  # stack traces of this machine, of no use elsewhere
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
