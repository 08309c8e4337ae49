"""Every image of a folder beside its translation: python examples/image_folder.py FOLDER OUT [BUNDLE]

OUT gets one PNG for each image that can be read, of the same name: left the image, right the translation.
The same in one line, without the names: translate.stream(FOLDER, sinks=[FolderSink(OUT)], view="side").run()
"""

import sys
from pathlib import Path

import cv2

from i2i_sdk import Translator
from i2i_sdk.live import ImageFolder


def main(folder: str, out: str, bundle: str = "sketch") -> None:
    """Translate and write, one image after the other."""
    Path(out).mkdir(parents=True, exist_ok=True)
    with Translator(bundle) as translate:
        for result in translate.stream(ImageFolder(Path(folder)), view="side"):
            path = Path(out) / f"{Path(result.name).stem}.png"
            cv2.imwrite(str(path), result.picture)
            print(f"{path}: {result.latency.engine_ms:.0f} ms in the engine")


if __name__ == "__main__":
    main(*sys.argv[1:])
