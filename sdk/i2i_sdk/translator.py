"""The public face: a path becomes a function from frame to frame."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
from numpy.typing import NDArray

from i2i_sdk.backends.base import Stopwatch, Timings
from i2i_sdk.backends.preference_table import AUTO_DEVICE
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.files import Closing
from i2i_sdk.imaging import geometry, tiles
from i2i_sdk.imaging.pil import from_pil, is_pil, prepare_pil, to_pil
from i2i_sdk.loading import find_source, open_source
from i2i_sdk.quality.floors import DEFAULT_MIN_PSNR
from i2i_sdk.selection import Size, VariantRequest

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

    from i2i_sdk.live.processor import Mask
    from i2i_sdk.live.sources.cameras import CameraOptions
    from i2i_sdk.live.sources.source import Event
    from i2i_sdk.live.stream import Sink, Stream
    from i2i_sdk.media.translate_path import FileSummary
    from i2i_sdk.quality.verify_bundle import VerifyOutcome

Image = NDArray[np.uint8]
Range = tuple[float, float]


class Translator(Closing):
    """Translates images with one variant of a bundle.

    Args:
        source: a zoo name ("sketch"), a bundle ("x.i2i"), or an ONNX file ("x.onnx").
        device: take only what runs there; where nothing does, the error says why.
            "auto": the fastest that runs here, by `i2i tune` or by preference.
            "cpu": OpenVINO, ONNX Runtime (provider cpu, xnnpack) or ncnn.
            "cuda": TensorRT, torch-tensorrt or ONNX Runtime (cuda, tensorrt-rtx).
            "gpu": TensorRT, torch-tensorrt, Core ML (on the GPU) or ONNX Runtime (cuda, tensorrt-rtx,
            directml, coreml), whichever runs here.
            "npu": Core ML (on the Neural Engine) or ONNX Runtime (qnn).
            "coreml": Core ML or ONNX Runtime (coreml). Core ML itself may give layers to the CPU.
            "directml": ONNX Runtime (directml).
        backend: take this engine ("ort", "openvino" …) instead of the fastest that runs here.
        precision: take this precision ("fp32", "bf16", "int8" …), likewise.
        size: of the engine, where a bundle has several: 256, (height, width) or "HxW".
        fit: how an image of another size meets the engine's: "resize" (stretch), "letterbox" (keep the
            aspect, gray borders), "crop" (keep the aspect, translate the center, leave the border as it
            is), "pad" (1:1 pixels, reflected borders), "tile" (1:1 pixels of any frame, in overlapping
            tiles: one engine call for each few of them). Default: as the bundle says.
        threads: of the engine; None takes the engine's default.
        min_psnr: floor in dB for the automatic choice, as measured by `i2i tune`, else at export. If no
            variant reaches it the best is taken, with a warning.
        max_ms: take the best variant whose median latency on this device is at most so many milliseconds,
            as `i2i tune` measured it; InputError where nothing was measured. If none is so fast, the fastest
            that keeps min_psnr is taken, with a warning. It is the engine's time alone.
        provider: run in ONNX Runtime on this execution provider: "cpu", "cuda", "tensorrt-rtx", "coreml",
            "directml", "qnn" or "xnnpack", beyond what `device` says. One that is not here or does not run
            the whole graph is a BackendError.
        allow_fallback: let the CPU run what the provider cannot, with a warning; `engine.provider` says how
            many nodes run where.
        input_range: what a foreign ONNX file expects, for example (0, 255). This and the next three are not
            for bundles.
        output_range: what it gives, for example (-1, 1).
        layout: "nchw" or "nhwc".
        channel_order: "rgb" or "bgr".

    Attributes:
        engine: that is loaded: `engine.run(uint8 [N, height, width, C] RGB)` is the bare call.
        max_batch: how many images one engine call takes at most.
        bundle, variant: None for an ONNX file.
        height, width: of the engine, in pixels.

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
        device: str = AUTO_DEVICE,
        backend: str | None = None,
        precision: str | None = None,
        size: Size | None = None,
        fit: str | None = None,
        threads: int | None = None,
        min_psnr: float = DEFAULT_MIN_PSNR,
        max_ms: float | None = None,
        provider: str | None = None,
        allow_fallback: bool = False,
        input_range: Range | None = None,
        output_range: Range | None = None,
        layout: str | None = None,
        channel_order: str | None = None,
    ) -> None:
        contract = {"input_range": input_range, "output_range": output_range}
        contract |= {"layout": layout, "channel_order": channel_order}
        choice = (min_psnr, max_ms, provider, allow_fallback, device)
        asked = VariantRequest(backend, precision, size, fit, threads, *choice)
        opened = open_source(source, asked, contract)
        self.bundle, self.variant, self.fit = opened.bundle, opened.variant, opened.fit
        self.height, self.width = opened.height, opened.width
        self.engine, self._channels = opened.engine, opened.channels
        self.max_batch = opened.max_batch
        self._corrects_tiles = tiles.needs_correction(opened.bundle and opened.bundle.manifest.model)
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The model's name; of an ONNX file that says none, what it is."""
        return self.bundle.manifest.model.name if self.bundle else repr(self)

    @overload
    def __call__(self, image: NDArray[Any], color: str = "bgr") -> Image: ...
    @overload
    def __call__(self, image: PilImage) -> PilImage: ...
    def __call__(self, image: Any, color: str = "bgr") -> Any:
        """Translate one image; the result has its kind and size, and its alpha untouched.

        Whether it has colors is up to the network: one that gives colors makes [H, W, 3] of a gray array and
        RGB of L, RGBA of LA. One that gives gray makes three equal channels of an image with colors.

        Args:
            image: uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], contiguous or not; or a PIL image of mode
                L, LA, RGB, RGBA or P (a palette gives RGB or RGBA), which is turned upright as its EXIF data
                say, and converted to sRGB from its color profile.
            color: channel order of an array, in and out: "bgr" (OpenCV's) or "rgb". PIL images need none.

        Raises InputError for anything else, saying what is accepted.
        """
        return self.batch([image], color)[0]

    @overload
    def batch(self, images: Sequence[NDArray[Any]], color: str = "bgr") -> list[Image]: ...
    @overload
    def batch(self, images: Sequence[PilImage]) -> list[PilImage]: ...
    def batch(self, images: Sequence[Any], color: str = "bgr") -> list[Any]:
        """Translate several images, of any sizes, in as few engine calls as it allows. See `__call__`."""
        if isinstance(images, np.ndarray) and images.ndim < 4:
            shape = cast("NDArray[Any]", images).shape
            raise InputError(f"batch takes a list of images; got one array of shape {shape}")
        images = [prepare_pil(i) if is_pil(i) else i for i in images]
        arrays = [geometry.check_image(from_pil(i) if is_pil(i) else i) for i in images]
        orders = ["rgb" if is_pil(i) else color for i in images]
        results = self._translate_batches(arrays, orders, Stopwatch())
        return [to_pil(r, i) if is_pil(i) else r for r, i in zip(results, images, strict=True)]

    def timed(self, images: Sequence[NDArray[Any]], color: str = "bgr") -> tuple[list[Image], Timings]:
        """As `batch`, for arrays, and how many milliseconds (ms) passed before, in and after the engine.

        Example:
            >>> import numpy as np
            >>> with Translator("sketch", backend="ort") as translate:
            ...     outputs, timings = translate.timed([np.zeros((480, 640, 3), np.uint8)])
            >>> len(outputs), timings.engine_ms > 0
            (1, True)
        """
        stopwatch = Stopwatch()
        arrays = [geometry.check_image(image) for image in images]
        results = self._translate_batches(arrays, [color] * len(arrays), stopwatch)
        return results, stopwatch.stop()

    def translate_file(
        self,
        source: str | os.PathLike[str],
        out: str | os.PathLike[str],
        *,
        progress: bool = True,
        side_by_side: bool = False,
    ) -> FileSummary:
        """Translate an image, a folder of images, or a video; see `i2i_sdk.media.translate_path`.

        A video keeps its size, frame rate, every frame that decodes, and its sound.

        Args:
            source: an image, a folder of images, or a video.
            out: a file of the same kind, or a folder.
            progress: show a progress bar.
            side_by_side: put input and output side by side.

        Returns:
            What was written, how many frames, in how many seconds, and notes for the user.

        Raises:
            InputError: a path does not work.
            MediaError: a file cannot be read or written.
        """
        from i2i_sdk.media.translate_path import translate_path

        return translate_path(self, Path(source), Path(out), progress=progress, side_by_side=side_by_side)

    def stream(
        self,
        source: Any,
        *,
        sinks: Sequence[Sink] = (),
        stabilize: bool | float = False,
        blend: float = 1.0,
        mask: Mask | None = None,
        mirror: bool = False,
        reuse: float | None = None,
        max_reuse: int = 30,
        view: str = "output",
        overlay: bool = False,
        camera: CameraOptions | None = None,
        realtime: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> Stream:
        """Translate a camera, a video or a network stream: iterate over the results, or `run()` into sinks.

        Frames and results are BGR.

        Args:
            source: a camera number, a video file, a folder of images, an http:// (MJPEG) or rtsp:// address,
                a GStreamer pipeline, an iterable of frames, a `Source`; or a list of these, translated
                together. Of cameras and network streams the newest frame wins; of files every frame counts.
            sinks: of `i2i_sdk.live`, for `run()`.
            stabilize: steady the flicker of frame-by-frame translation; True, or a strength below 1 (True:
                0.7).
            blend: 0 shows the input, 1 the translation.
            mask: a function from a frame to its mask [H, W], bool, uint8 or float 0..1: translates only
                there.
            mirror: flip the input left to right, as people expect of their own picture.
            reuse: show the last picture again, and spare the engine, while no part of the frame differs by
                more than so many gray levels (0: while it is identical), for at most `max_reuse` frames in a
                row.
            view: what sinks show: "output", "split", "side" or "input".
            overlay: write rate and latency on it.
            camera: size, rate and format that a camera is asked for.
            realtime: play a video file at its own speed, dropping what comes too late.
            on_event: called, in another thread, when a source is lost, is back, or has ended.

        Returns:
            A Stream, which starts when it is iterated over or run.

        Raises:
            InputError: a source or option cannot be used.
            MediaError: when it starts, a source cannot be opened.

        Example:
            >>> import numpy as np
            >>> with Translator("sketch", backend="ort") as translate:
            ...     for result in translate.stream([np.zeros((480, 640, 3), np.uint8)] * 2):
            ...         print(result.index, result.output.shape)
            0 (480, 640, 3)
            1 (480, 640, 3)
        """
        from i2i_sdk.live.processor import StreamOptions
        from i2i_sdk.live.sources.opening import as_sources
        from i2i_sdk.live.stream import Stream

        options = StreamOptions(stabilize, blend, mask, mirror, reuse, max_reuse, view, overlay, on_event)
        return Stream(self, as_sources(source, camera=camera, realtime=realtime), sinks, options)

    def warmup(self, runs: int = 2) -> None:
        """Run on zeros until the engine's lazy initialization is done."""
        with self._lock:
            self.engine.warmup(runs)

    def close(self) -> None:
        """Free the engine. Calling it twice is allowed; translating afterwards raises BackendError."""
        with self._lock:
            self.engine.close()

    def __repr__(self) -> str:
        name = self.variant.name if self.variant else f"ONNX file {self.height}x{self.width}"
        return f"<Translator {name}, {self.engine.precision} on {self.engine.provider}, fit={self.fit}>"

    def _translate_batches(self, arrays: list[Image], orders: list[str], stopwatch: Stopwatch) -> list[Image]:
        for order in set(orders).difference(geometry.COLORS):
            raise InputError(f"color is {order!r}; allowed: {', '.join(geometry.COLORS)}")
        results: list[Image] = []
        for start in range(0, len(arrays), self.max_batch):
            end = start + self.max_batch
            results += self._translate_batch(arrays[start:end], orders[start:end], stopwatch)
        return results

    def _translate_batch(self, images: list[Image], orders: list[str], stopwatch: Stopwatch) -> list[Image]:
        colors = [geometry.extract_color(image) for image in images]
        translate = self._translate_tiles if self.fit == "tile" else self._translate_canvases
        outputs, channels = translate(colors, orders, stopwatch)
        results = zip(outputs, images, orders, strict=True)
        return [geometry.match_original(*result, channels) for result in results]

    def _translate_canvases(
        self, colors: list[Image], orders: list[str], watch: Stopwatch
    ) -> tuple[list[Image], int]:
        """[H, W, 3] of any size -> the same, by way of one canvas each; and the network's output channels."""
        height, width = self.height, self.width
        places = [geometry.compute_placement(c.shape[0], c.shape[1], height, width, self.fit) for c in colors]
        canvases = [
            geometry.to_engine(geometry.to_canvas(color, place, height, width), order, self._channels)
            for color, place, order in zip(colors, places, orders, strict=True)
        ]
        outputs = self._run_engine(canvases, watch)
        frames = map(geometry.from_engine, outputs, orders)
        return [*map(geometry.from_canvas, frames, places, colors)], outputs.shape[3]

    def _translate_tiles(
        self, colors: list[Image], orders: list[str], watch: Stopwatch
    ) -> tuple[list[Image], int]:
        """[H, W, 3] of any size -> the same, made of tiles; and the network's output channels."""
        outputs = tiles.translate_tiled(
            [geometry.to_engine(c, order, self._channels) for c, order in zip(colors, orders, strict=True)],
            lambda pictures: self._run_engine(pictures, watch),
            self.height,
            self.width,
            batch=self.max_batch,
            correct=self._corrects_tiles,
        )
        return [*map(geometry.from_engine, outputs, orders)], outputs[0].shape[2]

    def _run_engine(self, canvases: list[Image], stopwatch: Stopwatch) -> NDArray[np.uint8]:
        """One engine call for [H, W, C] canvases; an engine of fixed batch gets the last one repeated."""
        count = len(canvases)
        spare = (self.engine.input_shape[0] or count) - count
        batch = np.stack([*canvases, *canvases[-1:] * spare]) if count + spare > 1 else canvases[0][None]
        with self._lock, stopwatch.time_engine():
            outputs = self.engine.run(np.ascontiguousarray(batch))[:count]
        if outputs.shape[:3] != (count, self.height, self.width) or outputs.shape[3:] not in ((1,), (3,)):
            raise BackendError(
                f"the engine gave {outputs.shape} for {batch.shape}; a translator gives pictures of the size "
                f"it takes, with 1 or 3 channels"
            )
        return outputs


def verify(
    source: str | os.PathLike[str],
    frames: str | os.PathLike[str] | None = None,
    *,
    threads: int | None = None,
) -> dict[str, VerifyOutcome]:
    """Compare every variant of a bundle with its FP32 reference, on this device, as `i2i verify` does.

    Args:
        source: a bundle (x.i2i) or a zoo name.
        frames: an image, a folder of images or a video; None takes the photos that scikit-image ships.
        threads: of the engines; None takes each one's default.

    Returns:
        By variant: its parity (PSNR in dB, SSIM 0..1), or the reason why there is none.

    Raises:
        InputError, MediaError: the source or the frames cannot be had.
        BundleError: the bundle or its reference is invalid or was changed.
        BackendError: the reference does not run.

    Example:
        >>> verify("sketch")["ort-fp32-256x256"].parity.psnr > 50
        True
    """
    from i2i_sdk.quality.verify_bundle import verify_bundle

    return verify_bundle(Bundle.read(find_source(source)), None if frames is None else Path(frames), threads)
