"""Teachers: whatever makes a picture of a picture, with what is known of it."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from i2i_sdk import Translator
from i2i_sdk.backends import explain_unsupported_variant
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.errors import I2IError, InputError, TrainingError
from i2i_sdk.files import hash_file
from i2i_sdk.zoo import ZOO, find_zoo_bundle
from i2i_training.checkpoint import LATEST, load_generator
from i2i_training.data import normalize_images, to_images, to_tensor
from i2i_training.data.image_tensors import Image
from i2i_training.networks import GeneratorSpec

# Gray levels up to which mirroring before or after is the same: on the whole, and at a place of 16x16 pixels,
# such as a letter.
MAX_MIRROR_DIFFERENCE, MAX_PLACE_DIFFERENCE = 2.0, 48.0
MIRROR_WINDOW = 16


@dataclass(frozen=True)
class Teacher:
    """A picture function, and what is known of it.

    translate: uint8 [H, W, 3] RGB, 0..255 -> the same. multiple_of: of the sides that it takes. size: the
    only (height, width) that it takes, None for any. checkpoint: its file, where its feature maps can be had.
    """

    name: str
    translate: Callable[[Image], Image]
    multiple_of: int = 1
    size: tuple[int, int] | None = None
    checkpoint: Path | None = None
    license: str = "unknown"
    fingerprint: str = ""  # SHA-256 of its file
    contract: str = ""  # what was said of an ONNX file


def open_teacher(text: str, side: int = 512, **contract: Any) -> Teacher:
    """Find out what a teacher is, and open it.

    Args:
        text: a checkpoint (`.safetensors`, `.pth`) or the folder of a run, a bundle (`.i2i`) or its name in
            the zoo, an ONNX file, or FILE.py:FUNCTION, a function of uint8 [H, W, 3] RGB -> the same. The
            code of such a file is run, with all rights of whoever calls. A bundle runs in float where it can.
        side: pixels at which a bundle of several sizes, or an ONNX file of any, is run, or the next smaller.
        contract: of an ONNX file: input_range, output_range, layout, channel_order; as `Translator`.

    Returns:
        The teacher.

    Raises:
        TrainingError: for something else, and what is no picture function.
        I2IError: as the reader of its kind of file.
    """
    path, _, function = text.rpartition(":")
    file = Path(text)
    if contract and file.suffix != ".onnx":
        options = ", ".join(f"--{name.replace('_', '-')}" for name in contract)
        raise TrainingError(f"teacher {text}: is no ONNX file; {options} are for these")
    if path.endswith(".py") and function:
        return _open_function(Path(path), function)
    if file.is_dir() and (file / f"{LATEST}.safetensors").is_file():
        file = file / f"{LATEST}.safetensors"
    if file.suffix in (".safetensors", ".pth", ".pt"):
        return _open_checkpoint(file)
    if file.suffix == ".onnx":
        said = ", ".join(f"{name} {value}" for name, value in sorted(contract.items()))
        translator = _open_onnx(file, side, contract)
        return _use_translator(file.name, translator, fingerprint=hash_file(file), contract=said)
    if bundle := find_zoo_bundle(text) or (file if file.suffix == ".i2i" else None):
        return _open_bundle(bundle, side)
    raise TrainingError(
        f"teacher {text}: give a checkpoint (.safetensors, .pth, or a run's folder), a bundle (.i2i), an "
        f"ONNX file, FILE.py:FUNCTION, or a name of the zoo ({', '.join(ZOO)})"
    )


def is_mirror_safe(teacher: Teacher, image: Image) -> bool:
    """Whether the teacher's picture of a mirrored image is its picture, mirrored.

    Args:
        teacher: any.
        image: uint8 [H, W, 3] RGB that it takes.
    """
    mirrored = teacher.translate(np.ascontiguousarray(image[:, ::-1]))[:, ::-1]
    difference = np.abs(mirrored.astype(np.float32) - teacher.translate(image))
    places = cv2.blur(difference, (MIRROR_WINDOW, MIRROR_WINDOW))
    return float(difference.mean()) <= MAX_MIRROR_DIFFERENCE and float(places.max()) <= MAX_PLACE_DIFFERENCE


def _open_checkpoint(file: Path) -> Teacher:
    module, spec = load_generator(file)
    _check_channels(file, spec)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    module = module.to(device or "cpu")

    def translate(image: Image) -> Image:
        with torch.no_grad():
            return to_images(module(normalize_images(to_tensor([image])).to(device or "cpu")))[0]

    known: dict[str, Any] = {"license": spec.license, "fingerprint": spec.source_sha256}
    return Teacher(file.name, translate, spec.config.multiple_of, checkpoint=file, **known)


def _check_channels(file: Path, spec: GeneratorSpec) -> None:
    channels = spec.config.in_channels, spec.config.out_channels
    if channels != (3, 3):
        raise TrainingError(
            f"teacher {file}: maps {channels[0]} to {channels[1]} channels; students map RGB to RGB, 3 to 3"
        )


def _open_onnx(file: Path, side: int, contract: dict[str, Any]) -> Translator:
    """At the size of the graph, or at `side` where it takes any."""
    try:
        return Translator(file, **contract)
    except InputError as error:
        try:
            return Translator(file, size=side, **contract)
        except InputError:
            raise TrainingError(f"teacher {error}") from error


def _open_bundle(folder: Path, side: int) -> Teacher:
    """At its best size up to `side`, in float where it can: what INT8 gets wrong is not to be learned."""
    manifest = Bundle.read(folder).manifest
    runnable = [each for each in manifest.variants if explain_unsupported_variant(each) is None]
    floats = [each for each in runnable if each.precision == "fp32"]
    # Where none runs, Translator says why.
    sizes = sorted({(v.height, v.width) for v in floats or runnable or manifest.variants}, key=min)
    fitting = [size for size in sizes if min(size) <= side] or sizes[:1]
    translator = Translator(folder, precision="fp32" if floats else None, size=fitting[-1])
    model = manifest.model
    return _use_translator(folder.name, translator, license=model.license, fingerprint=model.source_sha256)


def _use_translator(name: str, translator: Translator, **known: Any) -> Teacher:
    def translate(image: Image) -> Image:
        return translator(image, color="rgb")

    return Teacher(name, translate, size=(translator.height, translator.width), **known)


def _open_function(file: Path, name: str) -> Teacher:
    if not file.is_file():
        raise TrainingError(f"teacher {file}:{name}: there is no file {file}")
    spec = importlib.util.spec_from_file_location(f"teacher_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as for an import: dataclasses look there
    folder = str(file.parent.resolve())
    if folder not in sys.path:  # as when it is run, so that it finds its own modules, now and later
        sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise TrainingError(f"teacher {file}: it fails when it is read: {_describe_error(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        found = ", ".join(key for key, value in vars(module).items() if callable(value) and key[0] != "_")
        raise TrainingError(f"teacher {file}:{name}: no such function; in the file: {found or 'none'}")

    def translate(image: Image) -> Image:
        picture = function(image.copy())
        found = getattr(picture, "dtype", type(picture).__name__), getattr(picture, "shape", "")
        if not isinstance(picture, np.ndarray) or found != (np.uint8, image.shape):
            raise TrainingError(
                f"teacher {file}:{name} gave {found[0]} {found[1]} for uint8 {image.shape}; a teacher gives "
                f"uint8 RGB of the picture's own size"
            )
        return picture

    return Teacher(f"{file.name}:{name}", translate, fingerprint=hash_file(file))


def _describe_error(error: Exception) -> str:
    """Kind, message, and the line of the code that raised it."""
    line = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(line.filename).name}, line {line.lineno})"


def ask_teacher(teacher: Teacher, image: Image, name: str) -> Image:
    """The teacher's picture of a photo.

    Args:
        teacher: any.
        image: uint8 [H, W, 3] RGB that it takes.
        name: of the photo, for errors.

    Returns:
        uint8 [H, W, 3] RGB.

    Raises:
        TrainingError: where the teacher fails.
    """
    try:
        return teacher.translate(image)
    except I2IError:
        raise
    except Exception as error:
        raise TrainingError(f"teacher {teacher.name} fails on {name}: {_describe_error(error)}") from error


def fit_to_teacher(image: Image, teacher: Teacher, side: int, multiple_of: int) -> Image | None:
    """Bring a photo to the size at which the teacher and, later, the student see it.

    It is never enlarged: that would teach the student a softness which real frames do not have.

    Args:
        image: uint8 [H, W, 3].
        teacher: decides the shape where it takes one size only.
        side: pixels that the shorter side has at most.
        multiple_of: what the sides are multiples of, besides the teacher's.

    Returns:
        uint8 [h, w, 3], of the image's aspect, or cut to the teacher's; None where it is too small.
    """
    height, width = image.shape[:2]
    if teacher.size is not None:
        high, wide = teacher.size
        scale = max(high / height, wide / width)
        if scale > 1:
            return None
        image = _shrink(image, scale, (high, wide))
        top, left = (image.shape[0] - high) // 2, (image.shape[1] - wide) // 2
        return np.ascontiguousarray(image[top : top + high, left : left + wide])
    image = _shrink(image, min(1.0, side / min(height, width)), (1, 1))
    multiple = int(np.lcm(teacher.multiple_of, multiple_of))
    height, width = (length - length % multiple for length in image.shape[:2])
    return np.ascontiguousarray(image[:height, :width]) if min(height, width) else None


def _shrink(image: Image, scale: float, at_least: tuple[int, int]) -> Image:
    if scale == 1:
        return image
    sides = [max(low, round(length * scale)) for low, length in zip(at_least, image.shape[:2], strict=True)]
    return np.asarray(cv2.resize(image, (sides[1], sides[0]), interpolation=cv2.INTER_AREA), np.uint8)
