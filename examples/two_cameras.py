"""Two cameras through one engine, a window for each: python examples/two_cameras.py [SOURCE SOURCE [BUNDLE]]

Frames that are there at the same time share one call of the engine, where the model takes several at once.
Two video files do as well, at their own speed. q in either window ends both.
"""

import sys

from i2i_sdk import I2IError, Translator
from i2i_sdk.live import WindowSink


def main(first: str = "0", second: str = "1", bundle: str = "sketch") -> None:
    """Show both until q is pressed, then say how each did."""
    with Translator(bundle) as translate:
        stream = translate.stream([first, second], sinks=[WindowSink()], overlay=True, realtime=True)
        for source in stream.run().sources:
            print(f"{source.name}: received {source.fps:.1f} frames/s, dropped {source.dropped}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except I2IError as error:
        sys.exit(f"error: {error}")
