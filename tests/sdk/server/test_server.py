"""The live server over HTTP: one picture in, the translated one out, and what is no picture."""

from __future__ import annotations

import io
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from known_bundles import make_noise
from PIL import Image as PilImage
from running_server import (
    TIMEOUT_S,
    decode_image,
    encode_image,
    make_gradient,
    open_slow,
    open_with_ort,
    parse_error,
    run_server,
    wait_until,
)

from i2i_sdk import Translator
from i2i_sdk.media.images import read_image
from i2i_sdk.server.settings import Limits

FindBundle = Callable[[str], Path]


def test_a_png_comes_back_exactly(client: httpx.Client) -> None:
    image = make_noise(24, 40, 3)  # the engine's size: nothing is resized
    response = client.post("/v1/translate?format=png", content=encode_image(image))
    assert response.status_code == 200 and response.headers["content-type"] == "image/png"
    assert (decode_image(response.content) == 255 - image).all()
    swapped = client.post("/v1/translate?format=png&model=swap", content=encode_image(image))
    assert (decode_image(swapped.content) == image[:, :, ::-1]).all()


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".png"])
def test_every_format_is_read(client: httpx.Client, suffix: str) -> None:
    image = make_gradient()
    response = client.post("/v1/translate?quality=95", content=encode_image(image, suffix))
    assert response.headers["content-type"] == "image/jpeg"
    result = decode_image(response.content)
    assert result.shape == image.shape
    assert np.abs(result.astype(int) - (255 - image)).mean() < 3  # swapped colors would be far off


def test_the_answer_says_where_the_time_went(client: httpx.Client) -> None:
    timing = client.post("/v1/translate", content=encode_image(make_gradient())).headers["server-timing"]
    assert [part.split(";dur=")[0].strip() for part in timing.split(",")] == [
        *("wait", "decode", "engine", "encode")
    ]
    assert all(float(part.split("=")[1]) >= 0 for part in timing.split(","))


def test_pictures_are_read_as_files_are(client: httpx.Client, known: FindBundle, tmp_path: Path) -> None:
    """Orientation, alpha, gray, 16 bits: as `i2i run` does it."""
    turned = io.BytesIO()
    exif = PilImage.Exif()
    exif[0x0112] = 6
    PilImage.fromarray(make_gradient(30, 50)).save(turned, "JPEG", exif=exif, quality=95)
    (tmp_path / "turned.jpg").write_bytes(turned.getvalue())
    cv2.imwrite(str(tmp_path / "alpha.png"), make_noise(20, 30, 4))
    cv2.imwrite(str(tmp_path / "alpha16.png"), make_noise(20, 30, 4).astype(np.uint16) << 8)
    cv2.imwrite(str(tmp_path / "gray.png"), make_noise(20, 30))
    cv2.imwrite(str(tmp_path / "deep.png"), make_noise(20, 30, 3).astype(np.uint16) * 257)
    with Translator(known("invert"), backend="ort") as translate:
        for path in sorted(tmp_path.iterdir()):
            response = client.post("/v1/translate?format=png", content=path.read_bytes())
            assert (decode_image(response.content) == translate(read_image(path))).all(), path.name
    assert decode_image(client.post("/v1/translate?format=png", content=turned.getvalue()).content).shape == (
        50,
        30,
        3,
    )


def test_alpha_is_kept_where_the_format_has_it(client: httpx.Client) -> None:
    image = make_noise(24, 40, 4)
    for name, channels in (("png", 4), ("webp", 4), ("jpeg", 3)):
        response = client.post(f"/v1/translate?format={name}", content=encode_image(image))
        assert decode_image(response.content).shape == (24, 40, channels), name


def test_a_gray_network(client: httpx.Client) -> None:
    response = client.post(
        "/v1/translate?format=png&model=gray", content=encode_image(np.full((24, 40, 3), 90, np.uint8))
    )
    assert (decode_image(response.content) == 165).all()


@pytest.mark.parametrize("height, width", [(1, 1), (1, 200), (199, 200)])
def test_any_size_within_the_limits(client: httpx.Client, height: int, width: int) -> None:
    response = client.post(
        "/v1/translate?format=png", content=encode_image(np.full((height, width, 3), 5, np.uint8))
    )
    assert (decode_image(response.content) == np.full((height, width, 3), 250, np.uint8)).all()


@pytest.mark.parametrize(
    "query, expected",
    [
        ("model=nothing", (404, "unknown_model")),
        ("format=gif", (422, "bad_option")),
        ("quality=0", (422, "bad_option")),
        ("quality=101", (422, "bad_option")),
        ("quality=high", (422, "bad_option")),
    ],
)
def test_wrong_options_are_refused(client: httpx.Client, query: str, expected: tuple[int, str]) -> None:
    assert (
        parse_error(client.post(f"/v1/translate?{query}", content=encode_image(make_gradient()))) == expected
    )


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


WHOLE_PICTURES = {
    suffix: encode_image(make_gradient(), suffix) for suffix in (".jpg", ".png", ".webp", ".bmp")
}
BAD_PICTURES: dict[str, tuple[bytes, tuple[int, str]]] = {
    "nothing": (b"", (415, "unsupported_format")),
    "text": (b"hello", (415, "unsupported_format")),
    "gif": (b"GIF89a" + bytes(50), (415, "unsupported_format")),
    "tiff": (encode_image(make_gradient(), ".tiff"), (415, "unsupported_format")),
    **{
        f"half a {s[1:]}": (WHOLE_PICTURES[s][: len(WHOLE_PICTURES[s]) // 2], (422, "bad_image"))
        for s in WHOLE_PICTURES
    },
    **{f"20 bytes of {s[1:]}": (WHOLE_PICTURES[s][:20], (422, "bad_image")) for s in WHOLE_PICTURES},
    "jpeg without an end": (WHOLE_PICTURES[".jpg"][:-2], (422, "bad_image")),
    "jpeg of markers": (b"\xff\xd8\xff" + b"\xff\x01" * 100_000, (422, "bad_image")),
    "jpeg of scans": (make_many_scans(), (413, "too_large")),
    "huge png": (make_png_header(10_000, 10_000), (413, "too_large")),
    "endless png": (make_png_header(2**32 - 1, 2**32 - 1), (413, "too_large")),
    "huge jpeg": (make_jpeg_header(10_000, 10_000), (413, "too_large")),
    "huge bmp": (make_bmp_header(10_000, -10_000), (413, "too_large")),
    "huge webp": (make_webp_header(10_000, 10_000), (413, "too_large")),
    "flat png": (make_png_header(0, 100), (422, "bad_image")),
    "negative bmp": (make_bmp_header(-5, 100), (422, "bad_image")),
    "one pixel too many": (encode_image(np.zeros((200, 201, 3), np.uint8)), (413, "too_large")),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_pictures_are_refused(client: httpx.Client, name: str) -> None:
    data, expected = BAD_PICTURES[name]
    assert parse_error(client.post("/v1/translate", content=data)) == expected


def test_many_scans_would_otherwise_decode() -> None:
    """The picture that is refused for its scans is one that a decoder would work on."""
    assert decode_image(make_many_scans()).shape == make_gradient().shape


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(client: httpx.Client, chunked: bool) -> None:
    body = bytes(300_001)
    content: Any = iter([body[:200_000], body[200_000:]]) if chunked else body
    assert parse_error(client.post("/v1/translate", content=content)) == (413, "too_large")
    assert (
        client.post("/v1/translate", content=encode_image(make_noise(200, 200, 3)[:, :150])).status_code
        == 200
    )


UNFINISHED_REQUEST = b"POST /v1/translate HTTP/1.1\r\nHost: %s\r\nContent-Length: 9999\r\n\r\nx"


def test_a_client_that_leaves_within_its_body(known: FindBundle, caplog: pytest.LogCaptureFixture) -> None:
    with run_server([known("invert")], limits=Limits(max_pending=1)) as server:
        address, port = server.address.split(":")
        with socket.create_connection((address, int(port)), TIMEOUT_S) as raw:
            raw.sendall(UNFINISHED_REQUEST % server.address.encode())
            wait_until(lambda: httpx.post(f"{server.url}/v1/translate", content=b"x").status_code == 503)
        wait_until(
            lambda: httpx.post(f"{server.url}/v1/translate", content=b"x").status_code == 415
        )  # its place is free
        figures = httpx.get(f"{server.url}/metrics").text
    assert 'i2i_errors_total{code="bad_request"} 1.0' in figures and "internal" not in figures
    assert caplog.text == ""


def test_a_body_that_does_not_come(known: FindBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("i2i_sdk.server.app.BODY_SECONDS", 0.1)

    with run_server([known("invert")]) as server:
        address, port = server.address.split(":")
        with socket.create_connection((address, int(port)), TIMEOUT_S) as raw:
            raw.sendall(UNFINISHED_REQUEST % server.address.encode())
            assert raw.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_at_most_so_many_posts_wait(known: FindBundle) -> None:
    limits = Limits(max_pending=2)
    picture = encode_image(make_noise(24, 40, 3))
    with run_server([known("invert")], open_slow, limits=limits) as server, ThreadPoolExecutor(8) as threads:
        posts = [
            threads.submit(httpx.post, f"{server.url}/v1/translate?format=png", content=picture)
            for _ in range(8)
        ]
        responses = [post.result(TIMEOUT_S) for post in posts]
        served = [r for r in responses if r.status_code == 200]
        refused = [r for r in responses if r.status_code != 200]
        assert len(served) >= 2 and refused
        assert all((decode_image(r.content) == 255 - make_noise(24, 40, 3)).all() for r in served)
        assert {parse_error(r) for r in refused} == {(503, "too_busy")}
        assert {r.headers["retry-after"] for r in refused} == {"1"}
        assert (
            httpx.post(f"{server.url}/v1/translate", content=picture).status_code == 200
        )  # places are free again


class BrokenTranslator(Translator):
    def __call__(self, image: Any) -> Any:
        raise RuntimeError("secret: /home/someone")


def test_an_engine_that_fails_tells_clients_nothing(
    known: FindBundle, caplog: pytest.LogCaptureFixture
) -> None:
    with run_server([known("invert")], lambda source: BrokenTranslator(source, backend="ort")) as server:
        response = httpx.post(f"{server.url}/v1/translate", content=encode_image(make_gradient()))
        assert parse_error(response) == (500, "internal")
        assert "secret" not in response.text and "Traceback" not in response.text
        assert response.headers["x-content-type-options"] == "nosniff"
        assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert "secret: /home/someone" in caplog.text  # the one who runs it is told


def test_a_picture_that_does_not_suit_the_model(known: FindBundle) -> None:
    with run_server([known("invert")], lambda source: Translator(source, backend="ort", fit="pad")) as server:
        response = httpx.post(f"{server.url}/v1/translate", content=encode_image(make_gradient(100, 100)))
        assert parse_error(response) == (422, "cannot_translate") and "letterbox" in response.text


def test_no_thread_survives(known: FindBundle) -> None:
    before = set(threading.enumerate())
    with run_server([known("invert"), known("swap")], open_with_ort) as server:
        httpx.get(f"{server.url}/")
        assert (
            httpx.post(f"{server.url}/v1/translate", content=encode_image(make_gradient())).status_code == 200
        )
        assert set(threading.enumerate()) > before
    wait_until(lambda: set(threading.enumerate()) == before)  # a worker of AnyIO ends a moment after its loop
