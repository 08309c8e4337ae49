"""ncnn's two files, read without ncnn: the layers of a .param, and what the weights of a .bin are stored as.

ncnn believes its files, and says on stderr what it cannot read; so they are looked through before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from i2i_sdk.bundle.manifest import MAX_SIDE
from i2i_sdk.errors import BackendError

# How weights are stored, by the mark that stands before them: its value, and bytes of one number.
WEIGHT_FORMATS = {"fp32": (0, 4), "fp16": (0x01306B47, 2)}


@dataclass(frozen=True)
class NcnnLayer:
    """One line of a .param."""

    kind: str  # "Convolution"
    name: str
    options: dict[str, str]  # by the numbers that ncnn has for them

    def read_int(self, option: int, default: int = 0) -> int:
        """An option that is a whole number. Raises BackendError where it is something else."""
        text = self.options.get(str(option), str(default))
        if not text.isdecimal():
            raise BackendError(f"layer {self.name}: its option {option} is {text!r}, no whole number")
        return int(text)


# All that our networks become.
CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise", "Deconvolution")
WEIGHTLESS_LAYERS = (
    *("BinaryOp", "Clip", "Concat", "Input", "Interp", "Padding", "PixelShuffle", "Pooling", "ReLU"),
    *("Reduction", "Reshape", "Split", "TanH", "UnaryOp"),
)
KNOWN_LAYERS = (*CONVOLUTIONS, *WEIGHTLESS_LAYERS, "InnerProduct", "InstanceNorm", "MemoryData")


def _count_weights(layer: NcnnLayer) -> tuple[int, int]:
    """How many numbers of a layer stand in the .bin: weights behind a mark, then plain FP32.

    The latter are a bias, a normalization's gain and offset, or a constant.
    """
    if layer.kind in CONVOLUTIONS:
        return layer.read_int(6), layer.read_int(0) * layer.read_int(5)
    if layer.kind == "InnerProduct":
        return layer.read_int(2), layer.read_int(0) * layer.read_int(1)
    if layer.kind == "MemoryData":
        return 0, layer.read_int(0, 1) * max(1, layer.read_int(1, 1)) * max(1, layer.read_int(2, 1))
    if layer.kind == "InstanceNorm":
        return 0, 2 * layer.read_int(0) * layer.read_int(2, 1)
    return 0, 0


def read_layers(param: Path) -> list[NcnnLayer]:
    """The layers of a .param, in the order they run.

    Raises BackendError for a file that is none, and for layers that no network of ours has, naming them.
    """
    try:
        magic, counts, *lines = param.read_text(encoding="utf-8").splitlines()
        layers = [_parse_layer(line.split()) for line in lines]
        if magic.strip() != "7767517" or int(counts.split()[0]) != len(layers):
            raise ValueError("its head does not fit its lines")
    except (OSError, ValueError, IndexError) as error:
        raise BackendError(f"{param}: ncnn cannot load it: not a whole .param file ({error})") from error
    if unknown := [f"{layer.kind} ({layer.name})" for layer in layers if layer.kind not in KNOWN_LAYERS]:
        raise BackendError(f"{param}: has layers that are not known to this version: {', '.join(unknown)}")
    return layers


def find_input_shape(layers: list[NcnnLayer]) -> tuple[int, int, int, int]:
    """The shape that the only Input says it takes: (1, H, W, 1 or 3).

    Raises BackendError. The export writes this shape; ncnn itself does not need it.
    """
    inputs = [[layer.read_int(option) for option in (1, 0, 2)] for layer in layers if layer.kind == "Input"]
    match inputs:
        case [[height, width, 1 | 3 as channels]] if {height, width} <= set(range(1, MAX_SIDE + 1)):
            return (1, height, width, channels)
        case _:
            raise BackendError(f"one input of a known size with 1 or 3 channels is needed; it has {inputs}")


def find_weight_precision(layers: list[NcnnLayer], weights: Path) -> str:
    """What the weights of a .bin are stored as: "fp32", "fp16", or both where they differ.

    Raises BackendError when the file is not as long as its layers need, or has other marks.
    """
    try:
        data = weights.read_bytes()
    except OSError as error:
        raise BackendError(f"{weights}: ncnn cannot load it: {error}") from error
    names = {mark: (name, size) for name, (mark, size) in WEIGHT_FORMATS.items()}
    found: set[str] = set()
    position = 0
    for layer in layers:
        marked, plain = _count_weights(layer)
        if marked:
            mark = int.from_bytes(data[position : position + 4], "little")
            if mark not in names:
                raise BackendError(f"{weights}: weights of {layer.name} are stored in a way not known here")
            name, size = names[mark]
            found.add(name)
            position += 4 + -(-marked * size // 4) * 4  # whole words
        position += plain * 4
    if position != len(data):
        raise BackendError(f"{weights}: ncnn cannot load it: {len(data)} bytes, its .param needs {position}")
    return " and ".join(sorted(found)) or "none"


def _parse_layer(words: list[str]) -> NcnnLayer:
    """`kind name inputs outputs, the names of those, option=value …`"""
    first = 4 + int(words[2]) + int(words[3])
    return NcnnLayer(words[0], words[1], dict(word.split("=", 1) for word in words[first:]))
