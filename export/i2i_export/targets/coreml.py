"""Core ML: an mlprogram with an image in and an image out, converted from the traced module.

coremltools converts on any system; running needs a Mac, so `verify` evaluates the saved package's program
with PyTorch (`mil/interpreter.py`) where there is none.
"""

from __future__ import annotations

import contextlib
import io
import json
import uuid
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from i2i_export.job import Job
from i2i_export.mil.interpreter import MilEngine
from i2i_export.options import ExportOptions
from i2i_export.verify_variant import VerifiedVariant, verify_on_device, verify_with
from i2i_sdk import __version__
from i2i_sdk.backends.coreml import CoreMlEngine, read_layers, silence_coremltools
from i2i_sdk.bundle.manifest import Requirements, Variant
from i2i_sdk.errors import ExportError

PRECISIONS = ("fp16", "w8", "palette6")
PALETTE_SIZE = 64  # entries, so 6 bits a weight
MIN_WEIGHTS = 2048  # numbers in a layer's weights, to be stored in fewer bits; coremltools' own default


def list_default_precisions(options: ExportOptions) -> tuple[str, ...]:
    """All of them: the interpreter checks each on any machine."""
    return PRECISIONS


def export(job: Job, precision: str) -> Variant:
    """Write `coreml-PRECISION-HxW.mlpackage` into the bundle. Raises ExportError.

    FP16 is converted once a job. The other two are made of it by storing its weights in fewer bits: 8 with a
    scale per channel, or 6 as places in a palette of 64 for each layer. Activations and sums stay FP16.
    """
    package = _get_fp16_package(job)
    model = _import_coremltools().models.MLModel(str(package), skip_model_load=True)
    if precision != "fp16":
        model = _compress(model, precision)
    package = job.folder / f"{job.format_name('coreml', precision)}.mlpackage"
    write_package(model, package)
    files = sorted(path for path in package.rglob("*") if path.is_file())
    files.sort(key=lambda path: path.name != "Manifest.json")  # the first names the rest
    layers = read_layers(model.get_spec())
    inside = sum(layer.macs for layer in layers if layer.precision == precision)
    return job.make_variant(
        "coreml",
        precision,
        files,
        Requirements("coremltools>=9.0", os=("macos", "ios")),
        max_batch=1,
        precision_kept={layer.name: layer.precision for layer in layers if layer.precision != precision},
        macs_in_precision=round(inside / max(1, sum(layer.macs for layer in layers)), 4),
    )


def verify(variant: Variant, job: Job) -> VerifiedVariant:
    """Parity of the saved package: by Core ML on a Mac (never executed yet), elsewhere from its program.

    Raises ParityError below the floor, ExportError when the package is not what was asked for.
    """
    if CoreMlEngine.explain_unsupported(variant.precision) is None:
        return verify_on_device(variant, job)
    with MilEngine(job.folder / f"{variant.name}.mlpackage") as engine:
        if engine.precision != variant.precision:
            raise ExportError(f"{variant.name}: coremltools stored the weights as {engine.precision}")
        return verify_with(engine, variant, job, verified_by=engine.provider)


class ImageTranslator(nn.Module):
    """float32 [1, C_in, H, W] 0..255 -> float32 [1, C_out, H, W], whole numbers 0..255.

    The function of `Uint8Translator`, in the order that FP16 bears best. Subtracting first is exact. Rounding
    around zero and then moving whole numbers is worth 4 dB: FP16 numbers are 1/16 apart below 128 and 1/8
    above. How Core ML makes pixels of fractions is not documented, so none are left to it.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, image: Tensor) -> Tensor:
        values = self.generator((image - 127.5) * (1 / 127.5))
        return ((values * 127.5 - 0.5).round() + 128).clamp(0, 255)


def _get_fp16_package(job: Job) -> Path:
    """The FP16 package in the job's scratch folder, made when first asked for."""
    package = job.scratch / f"coreml-fp16-{job.size}.mlpackage"
    if package.exists():
        return package
    job.check_image_channels("coreml")
    channels = job.spec.config.in_channels, job.spec.config.out_channels
    example = torch.zeros(1, channels[0], job.height, job.width)
    model = _convert(ImageTranslator(job.module.generator).eval(), example, channels)
    _describe(model, job)
    model.save(str(package))
    return package


def _convert(module: nn.Module, example: Tensor, channels: tuple[int, int]) -> Any:
    ct = _import_coremltools()
    colors = [ct.colorlayout.RGB if count == 3 else ct.colorlayout.GRAYSCALE for count in channels]
    with _suppress_progress():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.trace, which coremltools asks for
        warnings.filterwarnings("ignore", "Converting a tensor to a Python boolean")  # sizes, which are fixed
        traced = torch.jit.trace(module, example)
        try:
            return ct.convert(
                traced,
                inputs=[ct.ImageType(name="image", shape=example.shape, color_layout=colors[0])],
                outputs=[ct.ImageType(name="translated", color_layout=colors[1])],
                convert_to="mlprogram",
                minimum_deployment_target=ct.target.iOS16,
                compute_precision=ct.precision.FLOAT16,
                skip_model_load=True,
            )
        except Exception as error:  # coremltools' errors share no base class
            reason = str(error).strip().splitlines()[0]
            raise ExportError(f"coremltools cannot convert this network: {reason}") from error


def _describe(model: Any, job: Job) -> None:
    """What Xcode shows of the package, and what it was made of."""
    spec, options = job.spec, job.options
    model.author = "i2i-sdk"
    model.license = options.license or spec.license
    model.version = __version__
    model.short_description = f"{spec.config.architecture} image translator at {job.size}"
    model.input_description["image"] = f"{job.width} x {job.height} pixels, 8 bits a channel"
    model.output_description["translated"] = "The translated image, of the same size"
    model.user_defined_metadata.update(
        {
            "i2i.contract": "image in, image out; normalization and rounding are inside",
            "i2i.source_sha256": spec.source_sha256,
            "i2i.trained_on": options.trained_on or spec.trained_on,
            "i2i.norm_mode": spec.norm_mode,
        }
    )


def _compress(model: Any, precision: str) -> Any:
    _import_coremltools()
    import coremltools.optimize.coreml as optimize

    with _suppress_progress():
        if precision == "w8":
            how = optimize.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=MIN_WEIGHTS)
            return optimize.linear_quantize_weights(model, optimize.OptimizationConfig(global_config=how))
        how = optimize.OpPalettizerConfig(
            mode="custom", lut_function=compute_palette, weight_threshold=MIN_WEIGHTS
        )
        return optimize.palettize_weights(model, optimize.OptimizationConfig(global_config=how))


def compute_palette(weights: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """(palette, flat indices) of `weights` with the least squared error nearby: k-means on a line.

    Lloyd's algorithm (1982) on sorted numbers, where a cluster is a range and its mean a difference of
    running sums. It starts at quantiles of the density's cube root, which is where many clusters end up
    (Panter and Dite 1951), so it is fast, and the same every time.
    """
    numbers = np.sort(weights.astype(np.float64), axis=None)
    sums = np.concatenate(([0.0], np.cumsum(numbers)))
    heights, edges = np.histogram(numbers, bins=PALETTE_SIZE)
    density = np.cumsum(np.cbrt(heights))
    palette = np.interp((np.arange(PALETTE_SIZE) + 0.5) / PALETTE_SIZE, density / density[-1], edges[1:])
    for _ in range(300):
        ends = np.searchsorted(numbers, (palette[1:] + palette[:-1]) / 2)
        starts, ends = np.concatenate(([0], ends)), np.concatenate((ends, [len(numbers)]))
        counts = ends - starts
        means = np.where(counts, (sums[ends] - sums[starts]) / np.maximum(counts, 1), palette)
        if np.array_equal(means, palette):
            break
        palette = means
    palette = palette.astype(weights.dtype)
    middles = (palette[1:].astype(np.float64) + palette[:-1]) / 2
    return palette, np.searchsorted(middles, weights.ravel()).astype(np.uint8)


def write_package(model: Any, package: Path) -> None:
    """Save without what differs from run to run: the date, random identifiers, the order of maps."""
    model.save(str(package))
    spec, path = model.get_spec(), package / "Data" / "com.apple.CoreML" / "model.mlmodel"
    spec.description.metadata.userDefined.pop("com.github.apple.coremltools.conversion_date", None)
    path.write_bytes(spec.SerializeToString(deterministic=True))
    listing = package / "Manifest.json"
    text = listing.read_text(encoding="utf-8")
    for identifier, item in json.loads(text)["itemInfoEntries"].items():
        text = text.replace(identifier, str(uuid.uuid5(uuid.NAMESPACE_URL, item["path"])))
    # Laid out as coremltools does: it writes this file anew whenever it opens a package to read it.
    listing.write_text(json.dumps(json.loads(text), indent=4, sort_keys=True) + "\n", encoding="utf-8")


def _import_coremltools() -> Any:
    with silence_coremltools():
        try:
            import coremltools
        except ImportError as error:
            raise ExportError(f"coreml needs coremltools ({error}): pip install 'i2i-sdk[coreml]'") from error
    return coremltools


@contextlib.contextmanager
def _suppress_progress() -> Generator[None]:
    """Without coremltools' bars and warnings, in which the export's own line of progress would drown."""
    with silence_coremltools(), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of coremltools' temporary folders
        yield
