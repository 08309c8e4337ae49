"""A client of `i2i serve`; it needs OpenCV and websockets, nothing of i2i-sdk. A token comes from $I2I_TOKEN.

python examples/client.py http://127.0.0.1:8000 photo.jpg drawing.png    a picture, over HTTP
python examples/client.py http://127.0.0.1:8000 ride.mp4 drawing.mp4     a video, over the WebSocket
python examples/client.py http://127.0.0.1:8000 0                        a camera, in a window; q ends
"""

import json
import os
import struct
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

TOKEN = os.environ.get("I2I_TOKEN")
# Before each picture: see docs/live.md.
FRAME_HEADER, RESULT_HEADER = struct.Struct("<IId"), struct.Struct("<IIdffff")


def translate_picture(server: str, source: Path, out: Path) -> None:
    """POST a file, write the answer."""
    address = f"{server}/v1/translate?format={out.suffix[1:].replace('jpg', 'jpeg')}"
    headers = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(address, source.read_bytes(), headers))
    except urllib.error.HTTPError as refused:
        sys.exit("error: " + json.load(refused)["error"]["message"])
    out.write_bytes(answer.read())


def translate_video(server: str, video: cv2.VideoCapture, max_in_flight: int) -> Iterator[np.ndarray]:
    """The frames of a video or camera, uint8 BGR, translated; `max_in_flight` are under way at once."""
    with connect(f"ws{server.removeprefix('http')}/v1/stream", compression=None, max_size=None) as socket:
        socket.send(json.dumps({"type": "hello", "token": TOKEN, "quality": 90}))
        if (hello := json.loads(socket.recv()))["type"] == "error":
            sys.exit("error: " + hello["message"])
        under_way, (more, frame) = 0, video.read()
        if not more:
            sys.exit("error: the video or camera gives no frame")
        while more or under_way:
            if more:  # an id and a time may be sent along; here they are 0
                jpeg = cv2.imencode(".jpg", np.asarray(frame))[1].tobytes()
                socket.send(FRAME_HEADER.pack(0, 0, 0.0) + jpeg)
                under_way, (more, frame) = under_way + 1, video.read()
            if under_way == max_in_flight or (under_way and not more):
                under_way -= 1
                if isinstance(answer := socket.recv(), bytes):  # a text says: dropped, or bad
                    picture = np.frombuffer(answer, np.uint8, offset=RESULT_HEADER.size)
                    yield np.asarray(cv2.imdecode(picture, cv2.IMREAD_COLOR))


def main(server: str, source: str, out: str = "") -> None:
    """Translate a picture, a video or a camera."""
    if cv2.haveImageReader(source):
        sys.exit(translate_picture(server, Path(source), Path(out)) if out else __doc__)
    video, writer = cv2.VideoCapture(int(source) if source.isdigit() else source), None
    if not video.isOpened():
        sys.exit(f"error: {source} is no camera, picture or video that OpenCV can open")
    max_in_flight = 1 if out else 2  # 1: others' frames never replace ours
    for image in translate_video(server, video, max_in_flight):
        if out and writer is None:
            size, fps = image.shape[1::-1], video.get(cv2.CAP_PROP_FPS)
            writer = cv2.VideoWriter(out, cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
            if not writer.isOpened():
                sys.exit(f"error: {out} cannot be written: a name such as drawing.mp4 is needed")
        writer.write(image) if writer else cv2.imshow("translated", image)
        if not writer and cv2.waitKey(1) == ord("q"):
            break


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    try:
        main(sys.argv[1].rstrip("/"), *sys.argv[2:])
    except (OSError, ValueError, WebSocketException) as error:  # the server is down, or is not one of ours
        sys.exit(f"error: {sys.argv[1]}: {error}")
