"""The public face: a path becomes a function from frame to frame."""

from __future__ import annotations

import operator
import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from i2i_sdk import frames
from i2i_sdk.backends import backend_class, check_threads, open_variant, why_not
from i2i_sdk.backends.base import Engine
from i2i_sdk.backends.foreign import ForeignContract, ForeignEngine
from i2i_sdk.bundle import Bundle
from i2i_sdk.choose import choose_variant
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.manifest import Variant
from i2i_sdk.tuning import load_latencies
from i2i_sdk.zoo import ZOO, zoo_path

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

    from i2i_sdk.translate import FileSummary

Image = NDArray[np.uint8]
Size = int | tuple[int, int] | str
Range = tuple[float, float]
T = TypeVar("T", bound="Translator")


class Translator:
    """Translates images with one variant of a bundle.

    Args:
        source: a zoo name ("sketch"), a bundle ("x.i2i"), or an ONNX file ("x.onnx").
        backend, precision: take this engine ("ort", "openvino") and precision ("fp32", "bf16") instead of
            the fastest that runs here.
        size: of the engine, where a bundle has several: 256, (height, width) or "HxW".
        color: channel order of NumPy images, in and out: "bgr" (OpenCV's) or "rgb".
        fit: how an image of another size meets the engine's: "resize" (stretch), "letterbox" (keep the
            aspect, gray borders), "crop" (keep the aspect, translate the centre, leave the border as it
            is), "pad" (1:1 pixels, reflected borders). Default: as the bundle says.
        threads: of the engine; None takes the engine's default.
        min_psnr: floor in dB against PyTorch for the automatic choice.
        input_range, output_range, layout, channel_order: what a foreign ONNX file expects and gives, for
            example (0, 255), (-1, 1), "nchw", "rgb". Not for bundles.

    Thread safety: one Translator may be called from several threads; calls run one after another.

    Raises:
        InputError: an option is wrong, or the source is not there.
        BundleError: the bundle is invalid, tampered with or too new.
        BackendError: no variant can run here, or the engine is not what was asked for.

    Example:
        >>> import numpy as np
        >>> with Translator("sketch", backend="ort") as translate:
        ...     translate(np.zeros((480, 640, 3), np.uint8)).shape
        (480, 640, 3)
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        backend: str | None = None,
        precision: str | None = None,
        size: Size | None = None,
        color: str = "bgr",
        fit: str | None = None,
        threads: int | None = None,
        min_psnr: float = 35.0,
        input_range: Range | None = None,
        output_range: Range | None = None,
        layout: str | None = None,
        channel_order: str | None = None,
    ) -> None:
        if color not in frames.COLORS:
            raise InputError(f"color is {color!r}; allowed: {', '.join(frames.COLORS)}")
        if fit is not None and fit not in frames.FITS:
            raise InputError(f"fit is {fit!r}; allowed: {', '.join(frames.FITS)}")
        check_threads(threads)
        path, wanted = _find(source), None if size is None else parse_size(size)
        foreign = {
            "input_range": input_range,
            "output_range": output_range,
            "layout": layout,
            "channel_order": channel_order,
        }
        self.color = color
        self.bundle: Bundle | None = None
        self.variant: Variant | None = None
        self._lock = threading.Lock()
        if path.suffix == ".onnx":
            self._engine = _open_onnx(path, backend, precision, wanted, threads, foreign)
            self.fit, self._max_batch = fit or "resize", 8
        else:
            if given := [name for name, value in foreign.items() if value is not None]:
                raise InputError(
                    f"{', '.join(given)}: only for foreign ONNX files; a bundle says this itself"
                )
            self.bundle = Bundle.read(path)
            if self.bundle.manifest.model.kind != "translator":
                kind = self.bundle.manifest.model.kind
                raise InputError(f"{path} is a {kind}, not a translator: it takes noise, not images")
            self.variant = choose_variant(
                self.bundle.manifest.variants,
                why_not=why_not,
                latencies=load_latencies(self.bundle),
                backend=backend,
                precision=precision,
                size=wanted,
                min_psnr=min_psnr,
            )
            self._engine = open_variant(self.variant, self.bundle.files_of(self.variant), threads)
            self.fit = fit or self.bundle.manifest.input.fit
            self._max_batch = self.variant.max_batch
            wanted = self.variant.height, self.variant.width
        try:
            self.height, self.width, self._channels = _checked_shape(self._engine, path, wanted)
        except InputError:
            self._engine.close()
            raise
        self._fixed_batch = self._engine.input_shape[0]
        self._max_batch = self._fixed_batch or self._max_batch

    @property
    def engine(self) -> Engine:
        """The loaded engine: `engine.run(uint8 [N, height, width, C] RGB)` is the bare call."""
        return self._engine

    @overload
    def __call__(self, image: NDArray[Any]) -> Image: ...
    @overload
    def __call__(self, image: PilImage) -> PilImage: ...
    def __call__(self, image: Any) -> Any:
        """Translate one image; the result has its kind, size and channels, and its alpha untouched.

        Args:
            image: uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] in the colour order `color`, contiguous
                or not; or a PIL image of mode L, LA, RGB, RGBA or P (a palette gives RGB or RGBA).

        Raises InputError for anything else, saying what is accepted.
        """
        return self.batch([image])[0]

    @overload
    def batch(self, images: Sequence[NDArray[Any]]) -> list[Image]: ...
    @overload
    def batch(self, images: Sequence[PilImage]) -> list[PilImage]: ...
    def batch(self, images: Sequence[Any]) -> list[Any]:
        """Translate several images, of any sizes, in as few engine calls as it allows. See `__call__`."""
        if isinstance(images, np.ndarray) and images.ndim < 4:
            shape = cast("NDArray[Any]", images).shape
            raise InputError(f"batch takes a list of images; got one array of shape {shape}")
        images = list(images)
        arrays: list[Image] = []
        orders: list[str] = []
        for image in images:
            array = _from_pil(image) if _is_pil(image) else image
            arrays.append(frames.check_image(array))
            orders.append("rgb" if _is_pil(image) else self.color)
        results: list[Any] = []
        for start in range(0, len(arrays), self._max_batch):
            end = start + self._max_batch
            results += self._translated(arrays[start:end], orders[start:end])
        return [_to_pil(r, i.mode) if _is_pil(i) else r for r, i in zip(results, images, strict=True)]

    def translate_file(
        self,
        source: str | os.PathLike[str],
        out: str | os.PathLike[str],
        *,
        progress: bool = True,
        compare: bool = False,
    ) -> FileSummary:
        """Translate an image, a folder of images, or a video; see `i2i_sdk.translate.translate_path`.

        A video keeps its size, frame rate, every frame that decodes, and its sound. `compare` puts input
        and output side by side.

        Raises InputError for paths that do not work, MediaError for files that cannot be read.
        """
        from i2i_sdk.translate import translate_path

        if self.color != "bgr":
            raise InputError(
                "translate_file reads files in OpenCV's order: use a Translator with color='bgr'"
            )
        return translate_path(self, Path(source), Path(out), progress=progress, compare=compare)

    def warmup(self, runs: int = 2) -> None:
        """Run on zeros until the engine's lazy initialisation is done."""
        with self._lock:
            self._engine.warmup(runs)

    def close(self) -> None:
        """Free the engine. Calling it twice is allowed; translating afterwards raises BackendError."""
        with self._lock:
            self._engine.close()

    def __enter__(self: T) -> T:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        name = self.variant.name if self.variant else f"foreign {self.height}x{self.width}"
        return f"<Translator {name}, {self._engine.precision} on {self._engine.provider}, fit={self.fit}>"

    def _translated(self, images: list[Image], orders: list[str]) -> list[Image]:
        colors = [frames.color_of(image) for image in images]
        places = [frames.place(c.shape[0], c.shape[1], self.height, self.width, self.fit) for c in colors]
        canvases = [
            frames.to_engine(frames.onto_canvas(color, place, self.height, self.width), order, self._channels)
            for color, place, order in zip(colors, places, orders, strict=True)
        ]
        outputs = self._run(canvases)
        return [
            frames.like_original(
                frames.from_canvas(frames.from_engine(output, order), place, color), image, order
            )
            for output, order, place, color, image in zip(
                outputs, orders, places, colors, images, strict=True
            )
        ]

    def _run(self, canvases: list[Image]) -> NDArray[np.uint8]:
        """One engine call for [H, W, C] canvases; an engine of fixed batch gets the last one repeated."""
        count = len(canvases)
        spare = 0 if self._fixed_batch is None else self._fixed_batch - count
        batch = np.stack([*canvases, *canvases[-1:] * spare]) if count + spare > 1 else canvases[0][None]
        with self._lock:
            outputs = self._engine.run(np.ascontiguousarray(batch))[:count]
        if outputs.shape[:3] != (count, self.height, self.width) or outputs.shape[3:] not in ((1,), (3,)):
            raise BackendError(
                f"the engine gave {outputs.shape} for {batch.shape}; a translator gives pictures of the size "
                f"it takes, with 1 or 3 channels"
            )
        return outputs


def parse_size(size: Size) -> tuple[int, int]:
    """256, (height, width), "256" or "HxW" -> (height, width). Raises InputError."""
    given: Any = size
    if isinstance(given, str):
        match = re.fullmatch(r"([0-9]{1,9})(?:x([0-9]{1,9}))?", given)
        sides = [int(match[1]), int(match[2] or match[1])] if match else []
    else:
        sides = cast("Sequence[Any]", given) if isinstance(given, tuple | list) else [given, given]
    try:
        height, width = (operator.index(side) for side in sides)  # NumPy's integers too, but no fractions
    except (TypeError, ValueError):
        raise InputError(f"size is {given!r}; allowed: 256, (height, width), or a text as 480x640") from None
    if not (0 < height <= 16384 and 0 < width <= 16384):
        raise InputError(f"size is {height}x{width}; sides from 1 to 16384 are possible")
    return height, width


def _find(source: str | os.PathLike[str]) -> Path:
    path = Path(source)
    if path.exists():
        if path.suffix == ".onnx" or path.is_dir():
            return path
        if path.suffix in (".pth", ".pt", ".safetensors"):
            raise InputError(f"{path} is a checkpoint; make a bundle of it first: i2i export {path}")
        raise InputError(f"{path}: a bundle (.i2i), an .onnx file or a zoo name is needed")
    zoo = zoo_path(str(source))
    if zoo is None:
        raise InputError(f"{source}: no such bundle, and not in the zoo ({', '.join(ZOO)})")
    return zoo


def _open_onnx(
    path: Path,
    backend: str | None,
    precision: str | None,
    size: tuple[int, int] | None,
    threads: int | None,
    foreign: dict[str, Any],
) -> Engine:
    """Load an ONNX file: ours by its uint8 input, another's by what the caller says of it."""
    kind, precision = backend_class(backend or "ort"), precision or "fp32"
    if reason := kind.missing(precision):
        raise BackendError(f"{path}: {backend or 'ort'} cannot run it here: {reason}")
    engine = kind(path, precision, threads)
    try:
        if engine.input_dtype == "uint8" and len(engine.input_shape) == 4:
            if given := [name for name, value in foreign.items() if value is not None]:
                raise InputError(
                    f"{path}: takes uint8 pictures, so {', '.join(given)} cannot be chosen; leave them out"
                )
            return engine
        if len(engine.input_shape) != 4:
            raise InputError(f"{path}: takes {engine.input_shape}; images have 4 dimensions")
        missing = [name for name, value in foreign.items() if value is None]
        if missing:
            raise InputError(
                f"{path}: takes {engine.input_dtype} {engine.input_shape} in a convention of its own; "
                f"give {', '.join(missing)}. For example: input_range=(0, 255), output_range=(-1, 1), "
                f"layout='nchw', channel_order='rgb'"
            )
        return ForeignEngine(engine, ForeignContract(**foreign), size)
    except BaseException:
        engine.close()
        raise


def _checked_shape(engine: Engine, path: Path, wanted: tuple[int, int] | None) -> tuple[int, int, int]:
    """The engine's height, width and input channels. Raises InputError unless it keeps the engine contract.

    Files come from strangers: what a manifest or a caller says of one need not be true.
    """
    taken, given = engine.input_shape, engine.output_shape
    height, width, channels = taken[1:] if len(taken) == 4 else (None, None, None)
    if height is None or width is None or channels not in (1, 3):
        raise InputError(f"{path}: the engine takes {taken}; a fixed size with 1 or 3 channels is needed")
    if wanted not in (None, (height, width)):
        raise InputError(f"{path}: the engine works at {height}x{width} only, not at {wanted[0]}x{wanted[1]}")
    if (engine.input_dtype, engine.output_dtype) != ("uint8", "uint8"):
        types = f"takes {engine.input_dtype} and gives {engine.output_dtype}"
        raise InputError(f"{path}: the engine {types}; pictures are uint8 on both sides")
    possible = ((None, height), (None, width), (None, 1, 3))
    if given and (len(given) != 4 or any(g not in p for g, p in zip(given[1:], possible, strict=True))):
        raise InputError(
            f"{path}: the engine gives {given} for {taken}; a translator gives pictures of the size it "
            f"takes, with 1 or 3 channels"
        )
    return height, width, channels


def _is_pil(image: object) -> bool:
    return type(image).__module__.startswith("PIL.")


def _from_pil(image: Any) -> Image:
    """A PIL image as an RGB, RGBA or gray array; LA becomes RGBA and is turned back by `_to_pil`."""
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode == "LA":
        image = image.convert("RGBA")
    if image.mode not in ("L", "RGB", "RGBA"):
        raise InputError(f"got a PIL image of mode {image.mode}; accepted: {frames.ACCEPTED}")
    return np.asarray(image)


def _to_pil(array: Image, mode: str) -> Any:
    from PIL import Image as PilModule

    image = PilModule.fromarray(array)
    return image.convert("LA") if mode == "LA" else image
