"""An RTSP camera for tests: GStreamer's own server, run by the system's Python (its `gi` is not on PyPI).

    /usr/bin/python3 rtsp_server.py PORT

Serves rtsp://127.0.0.1:PORT/bars, the SMPTE color bars, and /clock, whose brightness tells the time: its
gray level is `level(time.monotonic())`, which every process of this machine can compute. Both have sound.
Prints the port once it listens.
"""

from __future__ import annotations

import sys
import time

LEVELS, DARKEST, TICKS_PER_S = 200, 25, 25  # the levels come round every 8 s
BLACK = 16  # in the limited range of video
PIPELINE = (
    "( videotestsrc is-live=true pattern={pattern} "
    "! video/x-raw,format=I420,width=640,height=480,framerate=30/1 ! videobalance name=clock "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 bitrate=2000 "
    "! rtph264pay name=pay0 pt=96 config-interval=1 "
    "audiotestsrc is-live=true volume=0.1 ! alawenc ! rtppcmapay name=pay1 pt=97 )"
)


def compute_level(seconds: float) -> int:
    """The gray level of /clock at this time of `time.monotonic`."""
    return DARKEST + int(seconds * TICKS_PER_S) % LEVELS


def compute_age(gray: float, seconds: float) -> float:
    """How many seconds old a picture of this gray level is now."""
    return (compute_level(seconds) - gray) % LEVELS / TICKS_PER_S


def serve(port: int) -> None:
    """Until killed."""
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    def draw_tick(clock: object) -> bool:
        luma = 16 + compute_level(time.monotonic()) * 219 / 255  # the limited range of video
        clock.set_property("brightness", (luma - BLACK) / 255)
        return True

    def on_configured(_: object, media: object) -> None:
        GLib.timeout_add(10, draw_tick, media.get_element().get_by_name("clock"))

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(port))
    for path, pattern in {"/bars": "smpte", "/clock": "black"}.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(PIPELINE.format(pattern=pattern))
        factory.set_shared(True)
        if path == "/clock":
            factory.connect("media-configure", on_configured)
        server.get_mount_points().add_factory(path, factory)
    if not server.attach(None):
        raise SystemExit(f"port {port} is taken")
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
