"""`make demo`: a checkpoint becomes a bundle, the bundle translates a video, in two commands.

Leaves in out/: sketch.i2i, demo_input.mp4, demo.mp4 (side by side) and demo.png. The clip is a camera
moving over the photos that scikit-image ships, so nothing is downloaded.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from i2i_sdk import Translator

Image = NDArray[np.uint8]

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out"
CHECKPOINT = ROOT / "models" / "sketch" / "latest_net_G.safetensors"
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
FPS, SECONDS_EACH, HEIGHT, WIDTH = 30, 2, 480, 640


def main() -> None:
    """Export, film, translate, show."""
    OUT.mkdir(exist_ok=True)
    bundle, clip = OUT / "sketch.i2i", OUT / "demo_input.mp4"
    run_i2i("export", CHECKPOINT, "--size", "512", "-o", bundle, "--force", "--name", "sketch")
    write_clip(clip)
    run_i2i("run", bundle, clip, "-o", OUT / "demo.mp4", "--side-by-side")
    write_sheet(bundle, OUT / "demo.png")
    print(f"look at {OUT / 'demo.mp4'} and {OUT / 'demo.png'}")


def run_i2i(*arguments: object) -> None:
    """Run a command as a user would, and show it."""
    words = [str(a) for a in arguments]
    print("$ i2i", *words, flush=True)
    subprocess.run([sys.executable, "-m", "i2i_sdk", *words], check=True)


def write_clip(path: Path) -> None:
    """H.264 with PyAV: OpenCV from pip cannot write it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        photos = [getattr(data, name)() for name in PHOTOS]
        for photo, time in itertools.product(photos, np.linspace(0, 1, FPS * SECONDS_EACH)):
            view = render_view(photo, time)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode(None))


def render_view(photo: Image, time: float) -> Image:
    """The camera's view of a photo at `time` 0..1: it glides from left to right and comes nearer."""
    height, width = photo.shape[:2]
    scale = max(WIDTH / width, HEIGHT / height) * (1.05 + 0.25 * time)
    left = (width - WIDTH / scale) * (0.3 + 0.4 * time)
    top = (height - HEIGHT / scale) * 0.3
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    return np.asarray(cv2.warpAffine(photo, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC), np.uint8)


def write_sheet(bundle: Path, path: Path) -> None:
    """Input over output for every photo of the clip."""
    with Translator(bundle) as translate:
        views = [render_view(getattr(data, name)(), 0.5) for name in PHOTOS]
        sheet = np.vstack([np.hstack(views), np.hstack([translate(v, "rgb") for v in views])])
    small = cv2.resize(sheet, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), cv2.cvtColor(small, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
