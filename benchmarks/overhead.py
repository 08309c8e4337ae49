"""What `translate(frame)` costs beyond the bare engine call, at 1280x720 and 640x480."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from skimage import data

from benchmarks.report import show
from i2i_sdk import BackendError, Translator
from i2i_sdk.measure import interleaved

SIZES = ((720, 1280), (480, 640))
ENGINES = (("ort", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))


def main(argv: Sequence[str]) -> int:
    """Measure on the zoo's sketch model at 256x256; frames are photos, BGR uint8."""
    photo = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    for backend, precision in ENGINES:
        try:
            translate = Translator("sketch", backend=backend, precision=precision, size=256)
        except BackendError as error:
            print(f"overhead with {backend} {precision}: not measured: {error}")
            continue
        with translate:
            calls: dict[str, Callable[[], object]] = {"engine": lambda t=translate: _bare(t)}
            for height, width in SIZES:
                frame = cv2.resize(photo, (width, height))
                calls[f"frame {width}x{height}"] = lambda t=translate, f=frame: t(f)
            times = interleaved(calls, rounds=200, warmup=20)
        show(f"overhead {backend} {precision}: sketch 256x256", times, None)
        for height, width in SIZES:
            extra = np.asarray(times[f"frame {width}x{height}"]) - np.asarray(times["engine"])
            print(f"{width}x{height}: {np.median(extra):.2f} ms more than the engine (median of differences)")
    return 0


def _bare(translate: Translator) -> object:
    return translate.engine.run(FRAME)


FRAME = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), np.uint8)

if __name__ == "__main__":
    main([])
