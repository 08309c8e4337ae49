"""Only what moves becomes a drawing: python examples/mask.py [SOURCE [BUNDLE]]

OpenCV's background model learns what stands still; the mask is what differs from it, grown and softened so
that edges do not flicker. Hold still in front of the camera, and you slowly become a photo again.
"""

import sys

import cv2
import numpy as np

from i2i_sdk import I2IError, Translator
from i2i_sdk.live import WindowSink


class MotionMask:
    """From a frame to its mask, uint8 [H, W]: 255 where something moves."""

    def __init__(self) -> None:
        self._model = cv2.createBackgroundSubtractorMOG2(history=150, detectShadows=False)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Find movement in a small picture: faster, and noise of the camera is averaged out."""
        small = cv2.resize(frame, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        moving = cv2.morphologyEx(self._model.apply(small), cv2.MORPH_OPEN, np.ones((3, 3)))
        grown = cv2.GaussianBlur(cv2.dilate(moving, np.ones((9, 9))), (0, 0), 3)
        return cv2.resize(grown, frame.shape[1::-1])


def main(source: str = "0", bundle: str = "sketch") -> None:
    """Show it until q is pressed."""
    with Translator(bundle) as translate:
        stream = translate.stream(
            source, sinks=[WindowSink()], mask=MotionMask(), mirror=source.isdecimal(), realtime=True
        )
        print(stream.run().format_line())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except I2IError as error:
        sys.exit(f"error: {error}")
