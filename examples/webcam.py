"""See yourself as a drawing: python examples/webcam.py [BUNDLE] [SOURCE]

A window shows the camera's picture, mirrored and translated by the zoo's model "sketch", with a line to drag
between before and after; the keys stand at the bottom of it. SOURCE: another camera number, a video file, an
address; BUNDLE: a model of your own.
"""

import sys

from i2i_sdk import I2IError, Translator
from i2i_sdk.live import WindowSink


def main(bundle: str = "sketch", source: str = "0") -> None:
    """Show it until q is pressed."""
    with Translator(bundle) as translate:
        window = WindowSink("i2i: before and after")
        stream = translate.stream(
            source, sinks=[window], view="split", mirror=source.isdecimal(), overlay=True, realtime=True
        )
        print(stream.run().format_line())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except I2IError as error:
        sys.exit(f"error: {error}")
