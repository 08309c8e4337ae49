"""The canonical form of a network: a module, then an FP32 ONNX graph, uint8 images in and out."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from i2i_export.passes.batch_norm import prepare_for_export
from i2i_sdk.bundle.manifest import MAX_BATCH
from i2i_sdk.errors import ExportError
from i2i_training.networks import GeneratorSpec

OPSET = 18


class Uint8Translator(nn.Module):
    """uint8 [N, H, W, C_in] RGB -> uint8 [N, H, W, C_out] RGB around a -1..1 generator.

    x/127.5 - 1 before, clip(round(y*127.5 + 127.5)) after, halves rounded to even.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 [N, H, W, C] -> float32 [N, C, H, W] in -1..1."""
        return images.permute(0, 3, 1, 2).float() / 127.5 - 1.0

    def forward(self, images: Tensor) -> Tensor:
        y = self.generator(self.normalize(images))
        return (y * 127.5 + 127.5).permute(0, 2, 3, 1).round().clamp(0, 255).byte()


def wrap_for_export(generator: nn.Module, spec: GeneratorSpec) -> Uint8Translator:
    """The exportable form of a loaded generator, which itself stays as it is."""
    return Uint8Translator(prepare_for_export(generator, spec.norm_mode)).eval()


def make_example_input(spec: GeneratorSpec, height: int, width: int, batch: int) -> Tensor:
    """Zeros that the exportable form takes.

    Args:
        spec: of the network.
        height, width: in pixels.
        batch: number of images.

    Returns:
        uint8 [batch, height, width, C].
    """
    return torch.zeros(batch, height, width, spec.config.in_channels, dtype=torch.uint8)


def write_onnx(module: nn.Module, example: Tensor, path: Path) -> None:
    """Export a module as one self-contained file, checked by onnx's own checker.

    Its input "image" is uint8 [batch, height, width, channels] RGB, its output "translated" likewise.

    Args:
        module: the exportable form of a network.
        example: a batch of two inputs.
        path: of the file.

    Raises:
        ExportError: it names what PyTorch's exporter stumbled over.
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
                input_names=["image"],
                output_names=["translated"],
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
