"""The live server over HTTP: one picture in, the translated one out, and what is no picture."""

from __future__ import annotations

import io
import json
import struct
import threading
import time
import urllib.error
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from icc_profiles import make_p3_profile
from known_bundles import FindBundle, make_noise
from PIL import Image as PilImage
from running_server import (
    TIMEOUT_S,
    RunningServer,
    decode_image,
    encode_image,
    make_gradient,
    open_slow,
    parse_error,
    run_server,
)
from streams import wait_until

from i2i_sdk import Translator
from i2i_sdk.media.image_headers import may_hold_metadata
from i2i_sdk.media.images import read_image
from i2i_sdk.server.settings import Limits


def test_a_png_comes_back_exactly(server: RunningServer) -> None:
    image = make_noise(24, 40, 3)  # the engine's size: nothing is resized
    assert (server.translate(image) == 255 - image).all()
    assert (server.translate(image, model="swap") == image[:, :, ::-1]).all()


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".png"])
def test_every_format_is_read(server: RunningServer, suffix: str) -> None:
    image = make_gradient()
    response = server.post(encode_image(image, suffix), quality=95)
    assert response.headers["content-type"] == "image/jpeg"
    result = decode_image(response.content)
    assert result.shape == image.shape
    assert np.abs(result.astype(int) - (255 - image)).mean() < 3  # swapped colors would be far off


def test_the_answer_says_where_the_time_went(server: RunningServer) -> None:
    parts = server.post(encode_image(make_gradient())).headers["server-timing"].split(",")
    assert [part.split(";dur=")[0].strip() for part in parts] == ["wait", "decode", "engine", "encode"]
    assert all(float(part.split("=")[1]) >= 0 for part in parts)


def test_pictures_are_read_as_files_are(server: RunningServer, known: FindBundle, tmp_path: Path) -> None:
    """Orientation, alpha, gray, 16 bits: as `i2i run` does it."""
    exif = PilImage.Exif()
    exif[0x0112] = 6
    PilImage.fromarray(make_gradient(30, 50)).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    cv2.imwrite(str(tmp_path / "alpha.png"), make_noise(20, 30, 4))
    cv2.imwrite(str(tmp_path / "alpha16.png"), make_noise(20, 30, 4).astype(np.uint16) << 8)
    cv2.imwrite(str(tmp_path / "gray.png"), make_noise(20, 30))
    cv2.imwrite(str(tmp_path / "deep.png"), make_noise(20, 30, 3).astype(np.uint16) * 257)
    rgba = PilImage.fromarray(make_noise(30, 50, 4))
    rgba.save(tmp_path / "turned_alpha.png", exif=exif)
    rgba.save(tmp_path / "turned.webp", exif=exif, icc_profile=make_p3_profile(), lossless=True)
    wide = PilImage.fromarray(make_gradient(20, 30))
    wide.save(tmp_path / "wide.jpg", icc_profile=make_p3_profile())
    with Translator(known("invert"), backend="ort") as translate:
        for path in sorted(tmp_path.iterdir()):
            answer = decode_image(server.post(path.read_bytes(), format="png").content)
            assert (answer == translate(read_image(path))).all(), path.name
            assert answer.shape[:2] == ((50, 30) if path.stem.startswith("turned") else (20, 30))


def test_alpha_is_kept_where_the_format_has_it(server: RunningServer) -> None:
    image = make_noise(24, 40, 4)
    for name, channels in (("png", 4), ("webp", 4), ("jpeg", 3)):
        response = server.post(encode_image(image), format=name)
        assert decode_image(response.content).shape == (24, 40, channels), name


def test_a_gray_network(server: RunningServer) -> None:
    assert (server.translate(np.full((24, 40, 3), 90, np.uint8), model="gray") == 165).all()


@pytest.mark.parametrize("height, width", [(1, 1), (1, 200), (199, 200)])
def test_any_size_within_the_limits(server: RunningServer, height: int, width: int) -> None:
    image = np.full((height, width, 3), 5, np.uint8)
    np.testing.assert_array_equal(server.translate(image), image + 245)


@pytest.mark.parametrize(
    "query", [{"model": "nothing"}, {"format": "gif"}, {"quality": 0}, {"quality": 101}, {"quality": "high"}]
)
def test_wrong_options_are_refused(server: RunningServer, query: dict[str, object]) -> None:
    expected = (404, "unknown_model") if "model" in query else (422, "bad_option")
    assert parse_error(server.post(encode_image(make_gradient()), **query)) == expected


def test_options_that_there_are_not_are_refused(server: RunningServer) -> None:
    response = server.post(encode_image(make_gradient()), size=256)
    assert parse_error(response) == (422, "bad_option")
    assert "there is no option 'size'; allowed: format, quality, model" in response.text


def test_a_form_is_told_from_a_picture(server: RunningServer) -> None:
    files = {"file": ("a.png", encode_image(make_gradient()), "image/png")}
    response = httpx.post(f"{server.url}/v1/translate", files=files)
    assert parse_error(response) == UNSUPPORTED
    assert "send the raw picture as the body" in response.text


def make_png_header(width: int, height: int) -> bytes:
    """A PNG's beginning: all that says how large it is."""
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(9)


def make_jpeg_header(width: int, height: int) -> bytes:
    data = bytearray(encode_image(make_gradient(), ".jpg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def make_bmp_header(width: int, height: int) -> bytes:
    data = bytearray(encode_image(make_gradient(), ".bmp"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def make_webp_header(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + sides
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def make_many_scans() -> bytes:
    data = encode_image(make_gradient(), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * 100 + data[-2:]


WHOLE_PICTURES = {s: encode_image(make_gradient(), f".{s}") for s in ("jpg", "png", "webp", "bmp")}
UNSUPPORTED, BAD, TOO_LARGE = (415, "unsupported_format"), (422, "bad_image"), (413, "too_large")
BAD_PICTURES: dict[str, tuple[bytes, tuple[int, str]]] = {
    "nothing": (b"", UNSUPPORTED),
    "text": (b"hello", UNSUPPORTED),
    "gif": (b"GIF89a" + bytes(50), UNSUPPORTED),
    "tiff": (encode_image(make_gradient(), ".tiff"), UNSUPPORTED),
    **{f"half a {kind}": (whole[: len(whole) // 2], BAD) for kind, whole in WHOLE_PICTURES.items()},
    **{f"20 bytes of {kind}": (whole[:20], BAD) for kind, whole in WHOLE_PICTURES.items()},
    "jpeg without an end": (WHOLE_PICTURES["jpg"][:-2], BAD),
    "jpeg of markers": (b"\xff\xd8\xff" + b"\xff\x01" * 100_000, BAD),
    "jpeg of scans": (make_many_scans(), TOO_LARGE),
    "huge png": (make_png_header(10_000, 10_000), TOO_LARGE),
    "endless png": (make_png_header(2**32 - 1, 2**32 - 1), TOO_LARGE),
    "huge jpeg": (make_jpeg_header(10_000, 10_000), TOO_LARGE),
    "huge bmp": (make_bmp_header(10_000, -10_000), TOO_LARGE),
    "huge webp": (make_webp_header(10_000, 10_000), TOO_LARGE),
    "flat png": (make_png_header(0, 100), BAD),
    "negative bmp": (make_bmp_header(-5, 100), BAD),
    "one pixel too many": (encode_image(np.zeros((200, 201, 3), np.uint8)), TOO_LARGE),
}


@pytest.mark.parametrize(("data", "expected"), BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_bad_pictures_are_refused(server: RunningServer, data: bytes, expected: tuple[int, str]) -> None:
    assert parse_error(server.post(data)) == expected


def test_many_scans_would_otherwise_decode() -> None:
    """The picture that is refused for its scans is one that a decoder would work on."""
    assert decode_image(make_many_scans()).shape == make_gradient().shape


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_floods_of_segments_cost_nothing(kind: str) -> None:
    """Pillow, which reads profiles, takes more than a second for these, and holds Python's lock meanwhile."""
    file = io.BytesIO()
    PilImage.fromarray(make_gradient()).save(file, kind, icc_profile=make_p3_profile())
    data = file.getvalue()
    at, flood = (33, b"\0\0\0\0teST\xaa\xaa\xaa\xaa") if kind == "png" else (2, b"\xff\xe5\0\2")
    chunk = flood[:8] + struct.pack(">I", zlib.crc32(flood[4:8])) if kind == "png" else flood
    assert may_hold_metadata(data) and may_hold_metadata(data[:at] + 900 * chunk + data[at:])
    start = time.perf_counter()
    assert not may_hold_metadata(data[:at] + 300_000 * chunk + data[at:])
    assert time.perf_counter() - start < 0.1


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(server: RunningServer, chunked: bool) -> None:
    body = bytes(300_001)
    content: Any = iter([body[:200_000], body[200_000:]]) if chunked else body
    assert parse_error(server.post(content)) == TOO_LARGE
    assert server.post(encode_image(make_noise(200, 200, 3)[:, :150])).status_code == 200


@pytest.mark.parametrize("host", ["", "evil.example"])
def test_who_sends_a_body_that_is_not_read_sees_why(server: RunningServer, host: str) -> None:
    """urllib asks to close the connection, and reads no answer before it has sent everything."""
    request = urllib.request.Request(f"{server.url}/v1/translate", bytes(20_000_000))
    if host:
        request.add_header("Host", host)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=TIMEOUT_S)
    with caught.value as answer:
        assert json.load(answer)["error"]["code"] == ("forbidden_host" if host else "too_large")


UNFINISHED_REQUEST = b"POST /v1/translate HTTP/1.1\r\nHost: %s\r\nContent-Length: 9999\r\n\r\nx"


def test_a_client_that_leaves_within_its_body(known: FindBundle, caplog: pytest.LogCaptureFixture) -> None:
    with run_server([known("invert")], limits=Limits(max_pending=1)) as server:
        with server.connect_raw() as raw:
            raw.sendall(UNFINISHED_REQUEST % server.address.encode())
            wait_until(lambda: server.post(b"x").status_code == 503)
        wait_until(lambda: server.post(b"x").status_code == 415)  # its place is free
        figures = server.get("/metrics").text
    assert 'i2i_errors_total{code="bad_request"} 1.0' in figures and "internal" not in figures
    assert caplog.text == ""


def test_a_body_that_does_not_come(known: FindBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("i2i_sdk.server.app.BODY_SECONDS", 0.1)

    with run_server([known("invert")]) as server, server.connect_raw() as raw:
        raw.sendall(UNFINISHED_REQUEST % server.address.encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_at_most_so_many_posts_wait(known: FindBundle) -> None:
    limits = Limits(max_pending=2)
    picture = encode_image(make_noise(24, 40, 3))
    with run_server([known("invert")], open_slow, limits=limits) as server, ThreadPoolExecutor(8) as threads:
        posts = [threads.submit(server.post, picture, format="png") for _ in range(8)]
        responses = [post.result(TIMEOUT_S) for post in posts]
        served = [r for r in responses if r.status_code == 200]
        refused = [r for r in responses if r.status_code != 200]
        assert len(served) >= 2 and refused
        assert all((decode_image(r.content) == 255 - make_noise(24, 40, 3)).all() for r in served)
        assert {parse_error(r) for r in refused} == {(503, "too_busy")}
        assert {r.headers["retry-after"] for r in refused} == {"1"}
        assert server.post(picture).status_code == 200  # places are free again


class BrokenTranslator(Translator):
    def __call__(self, image: Any) -> Any:
        raise RuntimeError("secret: /home/someone")


def test_an_engine_that_fails_tells_clients_nothing(
    known: FindBundle, caplog: pytest.LogCaptureFixture
) -> None:
    with run_server([known("invert")], lambda source: BrokenTranslator(source, backend="ort")) as server:
        response = server.post(encode_image(make_gradient()))
        assert parse_error(response) == (500, "internal")
        assert "secret" not in response.text and "Traceback" not in response.text
        assert response.headers["x-content-type-options"] == "nosniff"
        assert server.get("/healthz").status_code == 200
    assert "secret: /home/someone" in caplog.text  # the one who runs it is told


def test_a_picture_that_does_not_suit_the_model(known: FindBundle) -> None:
    with run_server([known("invert")], lambda source: Translator(source, backend="ort", fit="pad")) as server:
        response = server.post(encode_image(make_gradient(100, 100)))
        assert parse_error(response) == (422, "cannot_translate") and "letterbox" in response.text


def test_no_thread_survives(known: FindBundle) -> None:
    before = set(threading.enumerate())
    with run_server([known("invert"), known("swap")]) as server:
        server.get("/")
        assert server.post(encode_image(make_gradient())).status_code == 200
        assert set(threading.enumerate()) > before
    wait_until(lambda: set(threading.enumerate()) == before)  # a worker of AnyIO ends a moment after its loop
