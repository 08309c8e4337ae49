"""The live server over HTTP: pictures, models, limits, who may ask. A real server, real requests."""

from __future__ import annotations

import gzip
import http.client
import io
import socket
import struct
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from known_bundles import noise, write_known
from PIL import Image as PilImage
from running_server import HANG, Running, decoded, encoded, running, slow, smooth, until, with_ort

from i2i_sdk import Translator
from i2i_sdk.files import file_sha256
from i2i_sdk.server import page
from i2i_sdk.server.options import Limits, ServeOptions
from i2i_sdk.sources import read_image

Known = Callable[[str], Path]

LIMITS = Limits(max_body_bytes=300_000, max_frame_bytes=100_000, max_pixels=40_000)


@pytest.fixture(scope="module")
def server(known: Known) -> Generator[Running]:
    with running([known("invert"), known("swap"), known("gray")], limits=LIMITS) as found:
        yield found


@pytest.fixture
def client(server: Running) -> Generator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=HANG) as found:
        yield found


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, whose message says something."""
    error = response.json()["error"]
    assert set(error) == {"code", "message"} and len(error["message"]) > 15
    return response.status_code, error["code"]


# POST /v1/translate


def test_a_png_comes_back_exactly(client: httpx.Client) -> None:
    image = noise(24, 40, 3)  # the engine's size: nothing is resized
    response = client.post("/v1/translate?format=png", content=encoded(image))
    assert response.status_code == 200 and response.headers["content-type"] == "image/png"
    assert (decoded(response.content) == 255 - image).all()
    swapped = client.post("/v1/translate?format=png&model=swap", content=encoded(image))
    assert (decoded(swapped.content) == image[:, :, ::-1]).all()


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".png"])
def test_every_format_is_read(client: httpx.Client, suffix: str) -> None:
    image = smooth()
    response = client.post("/v1/translate?quality=95", content=encoded(image, suffix))
    assert response.headers["content-type"] == "image/jpeg"
    result = decoded(response.content)
    assert result.shape == image.shape
    assert np.abs(result.astype(int) - (255 - image)).mean() < 3  # swapped colours would be far off


def test_the_answer_says_where_the_time_went(client: httpx.Client) -> None:
    timing = client.post("/v1/translate", content=encoded(smooth())).headers["server-timing"]
    assert [part.split(";dur=")[0].strip() for part in timing.split(",")] == [
        *("wait", "decode", "engine", "encode")
    ]
    assert all(float(part.split("=")[1]) >= 0 for part in timing.split(","))


def test_pictures_are_read_as_files_are(client: httpx.Client, known: Known, tmp_path: Path) -> None:
    """Orientation, alpha, gray, 16 bits: as `i2i run` does it."""
    turned = io.BytesIO()
    exif = PilImage.Exif()
    exif[0x0112] = 6
    PilImage.fromarray(smooth(30, 50)).save(turned, "JPEG", exif=exif, quality=95)
    (tmp_path / "turned.jpg").write_bytes(turned.getvalue())
    cv2.imwrite(str(tmp_path / "alpha.png"), noise(20, 30, 4))
    cv2.imwrite(str(tmp_path / "alpha16.png"), noise(20, 30, 4).astype(np.uint16) << 8)
    cv2.imwrite(str(tmp_path / "gray.png"), noise(20, 30))
    cv2.imwrite(str(tmp_path / "deep.png"), noise(20, 30, 3).astype(np.uint16) * 257)
    with Translator(known("invert"), backend="ort") as translate:
        for path in sorted(tmp_path.iterdir()):
            response = client.post("/v1/translate?format=png", content=path.read_bytes())
            assert (decoded(response.content) == translate(read_image(path))).all(), path.name
    assert decoded(client.post("/v1/translate?format=png", content=turned.getvalue()).content).shape == (
        50,
        30,
        3,
    )


def test_alpha_is_kept_where_the_format_has_it(client: httpx.Client) -> None:
    image = noise(24, 40, 4)
    for name, channels in (("png", 4), ("webp", 4), ("jpeg", 3)):
        response = client.post(f"/v1/translate?format={name}", content=encoded(image))
        assert decoded(response.content).shape == (24, 40, channels), name


def test_a_gray_network(client: httpx.Client) -> None:
    response = client.post(
        "/v1/translate?format=png&model=gray", content=encoded(np.full((24, 40, 3), 90, np.uint8))
    )
    assert (decoded(response.content) == 165).all()


@pytest.mark.parametrize("height, width", [(1, 1), (1, 200), (199, 200)])
def test_any_size_within_the_limits(client: httpx.Client, height: int, width: int) -> None:
    response = client.post(
        "/v1/translate?format=png", content=encoded(np.full((height, width, 3), 5, np.uint8))
    )
    assert (decoded(response.content) == np.full((height, width, 3), 250, np.uint8)).all()


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
    assert refusal(client.post(f"/v1/translate?{query}", content=encoded(smooth()))) == expected


def png_of(width: int, height: int) -> bytes:
    """A PNG's beginning: all that says how large it is."""
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(9)


def jpeg_of(width: int, height: int) -> bytes:
    data = bytearray(encoded(smooth(), ".jpg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def bmp_of(width: int, height: int) -> bytes:
    data = bytearray(encoded(smooth(), ".bmp"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def webp_of(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + sides
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def many_scans() -> bytes:
    data = encoded(smooth(), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * 100 + data[-2:]


WHOLE = {suffix: encoded(smooth(), suffix) for suffix in (".jpg", ".png", ".webp", ".bmp")}
BAD_PICTURES: dict[str, tuple[bytes, tuple[int, str]]] = {
    "nothing": (b"", (415, "unsupported_format")),
    "text": (b"hello", (415, "unsupported_format")),
    "gif": (b"GIF89a" + bytes(50), (415, "unsupported_format")),
    "tiff": (encoded(smooth(), ".tiff"), (415, "unsupported_format")),
    **{f"half a {s[1:]}": (WHOLE[s][: len(WHOLE[s]) // 2], (422, "bad_image")) for s in WHOLE},
    **{f"20 bytes of {s[1:]}": (WHOLE[s][:20], (422, "bad_image")) for s in WHOLE},
    "jpeg without an end": (WHOLE[".jpg"][:-2], (422, "bad_image")),
    "jpeg of markers": (b"\xff\xd8\xff" + b"\xff\x01" * 100_000, (422, "bad_image")),
    "jpeg of scans": (many_scans(), (413, "too_large")),
    "huge png": (png_of(10_000, 10_000), (413, "too_large")),
    "endless png": (png_of(2**32 - 1, 2**32 - 1), (413, "too_large")),
    "huge jpeg": (jpeg_of(10_000, 10_000), (413, "too_large")),
    "huge bmp": (bmp_of(10_000, -10_000), (413, "too_large")),
    "huge webp": (webp_of(10_000, 10_000), (413, "too_large")),
    "flat png": (png_of(0, 100), (422, "bad_image")),
    "negative bmp": (bmp_of(-5, 100), (422, "bad_image")),
    "one pixel too many": (encoded(np.zeros((200, 201, 3), np.uint8)), (413, "too_large")),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_pictures_are_refused(client: httpx.Client, name: str) -> None:
    data, expected = BAD_PICTURES[name]
    assert refusal(client.post("/v1/translate", content=data)) == expected


def test_many_scans_would_otherwise_decode() -> None:
    """The picture that is refused for its scans is one that a decoder would work on."""
    assert decoded(many_scans()).shape == smooth().shape


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(client: httpx.Client, chunked: bool) -> None:
    body = bytes(300_001)
    content: Any = iter([body[:200_000], body[200_000:]]) if chunked else body
    assert refusal(client.post("/v1/translate", content=content)) == (413, "too_large")
    assert client.post("/v1/translate", content=encoded(noise(200, 200, 3)[:, :150])).status_code == 200


UNFINISHED = b"POST /v1/translate HTTP/1.1\r\nHost: %s\r\nContent-Length: 9999\r\n\r\nx"


def test_a_client_that_leaves_within_its_body(known: Known, caplog: pytest.LogCaptureFixture) -> None:
    with running([known("invert")], limits=Limits(max_pending=1)) as server:
        address, port = server.address.split(":")
        with socket.create_connection((address, int(port)), HANG) as raw:
            raw.sendall(UNFINISHED % server.address.encode())
            until(lambda: httpx.post(f"{server.url}/v1/translate", content=b"x").status_code == 503)
        until(
            lambda: httpx.post(f"{server.url}/v1/translate", content=b"x").status_code == 415
        )  # its place is free
        figures = httpx.get(f"{server.url}/metrics").text
    assert 'i2i_errors_total{code="bad_request"} 1.0' in figures and "internal" not in figures
    assert caplog.text == ""


def test_a_body_that_does_not_come(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("i2i_sdk.server.app.BODY_SECONDS", 0.1)

    with running([known("invert")]) as server:
        address, port = server.address.split(":")
        with socket.create_connection((address, int(port)), HANG) as raw:
            raw.sendall(UNFINISHED % server.address.encode())
            assert raw.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_at_most_so_many_posts_wait(known: Known) -> None:
    limits = Limits(max_pending=2)
    picture = encoded(noise(24, 40, 3))
    with running([known("invert")], slow, limits=limits) as server, ThreadPoolExecutor(8) as threads:
        posts = [
            threads.submit(httpx.post, f"{server.url}/v1/translate?format=png", content=picture)
            for _ in range(8)
        ]
        responses = [post.result(HANG) for post in posts]
        served = [r for r in responses if r.status_code == 200]
        refused = [r for r in responses if r.status_code != 200]
        assert len(served) >= 2 and refused
        assert all((decoded(r.content) == 255 - noise(24, 40, 3)).all() for r in served)
        assert {refusal(r) for r in refused} == {(503, "too_busy")}
        assert {r.headers["retry-after"] for r in refused} == {"1"}
        assert (
            httpx.post(f"{server.url}/v1/translate", content=picture).status_code == 200
        )  # places are free again


class Broken(Translator):
    def __call__(self, image: Any) -> Any:
        raise RuntimeError("secret: /home/someone")


def test_an_engine_that_fails_tells_clients_nothing(known: Known, caplog: pytest.LogCaptureFixture) -> None:
    with running([known("invert")], lambda source: Broken(source, backend="ort")) as server:
        response = httpx.post(f"{server.url}/v1/translate", content=encoded(smooth()))
        assert refusal(response) == (500, "internal")
        assert "secret" not in response.text and "Traceback" not in response.text
        assert response.headers["x-content-type-options"] == "nosniff"
        assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert "secret: /home/someone" in caplog.text  # the one who runs it is told


def test_a_picture_that_does_not_suit_the_model(known: Known) -> None:
    with running([known("invert")], lambda source: Translator(source, backend="ort", fit="pad")) as server:
        response = httpx.post(f"{server.url}/v1/translate", content=encoded(smooth(100, 100)))
        assert refusal(response) == (422, "cannot_translate") and "letterbox" in response.text


# What is served


def test_models_are_described(client: httpx.Client, known: Known) -> None:
    listed = client.get("/v1/models").json()
    assert listed["default"] == "invert"
    assert listed["limits"] == {"max_frame_bytes": 100_000, "max_pixels": 40_000}
    assert [model["name"] for model in listed["models"]] == ["invert", "swap", "gray"]
    reference = known("invert") / "reference.onnx"
    digest = file_sha256(reference)
    assert listed["models"][0] == {
        "name": "invert",
        "title": "invert",
        "licence": "Apache-2.0",
        "trained_on": "nothing",
        "fit": "resize",
        "channels": 3,
        "server": {
            "backend": "ort",
            "precision": "fp32",
            "provider": "CPUExecutionProvider",
            "height": 24,
            "width": 40,
        },
        "on_device": [
            {
                "url": f"/v1/models/invert/files/{digest}.onnx",
                "precision": "fp32",
                "height": 24,
                "width": 40,
                "channels": 3,
                "bytes": reference.stat().st_size,
                "sha256": digest,
                "macs": 123_456,
            }
        ],
    }
    assert listed["models"][2]["channels"] == 1


def test_variants_for_browsers_come_before_references_smallest_first(known: Known, tmp_path: Path) -> None:
    for size in ((48, 80), (24, 40)):
        name = f"{size[0]}.onnx"
        write_known(
            tmp_path / "my model.i2i",
            "invert",
            size=size,
            file=name,
            engines=(("web", "fp32"), ("ort", "fp32")),
        )
    with running([tmp_path / "my model.i2i"]) as server:
        model = httpx.get(f"{server.url}/v1/models").json()["models"][0]
        assert [(o["height"], o["width"]) for o in model["on_device"]] == [(24, 40), (48, 80)]
        for described in model["on_device"]:
            assert described["url"].startswith("/v1/models/my%20model/files/")
            response = httpx.get(server.url + described["url"])
            assert response.status_code == 200 and len(response.content) == described["bytes"]
            assert (
                response.content == (tmp_path / "my model.i2i" / f"{described['height']}.onnx").read_bytes()
            )
            assert "immutable" in response.headers["cache-control"]


def test_large_references_stay_on_the_server(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("i2i_sdk.server.models.LARGEST_ON_DEVICE", 10)
    with running([known("invert")]) as server:
        assert httpx.get(f"{server.url}/v1/models").json()["models"][0]["on_device"] == []
        digest = file_sha256(known("invert") / "reference.onnx")
        assert httpx.get(f"{server.url}/v1/models/invert/files/{digest}.onnx").status_code == 404


def test_an_onnx_file_is_served_too(known: Known) -> None:
    with running([known("swap") / "reference.onnx"]) as server:
        model = httpx.get(f"{server.url}/v1/models").json()["models"][0]
        assert (model["name"], model["licence"], model["on_device"]) == ("reference", "", [])
        image = noise(24, 40, 3)
        response = httpx.post(f"{server.url}/v1/translate?format=png", content=encoded(image))
        assert (decoded(response.content) == image[:, :, ::-1]).all()


def test_files_are_given_by_exact_hash_of_what_is_listed(client: httpx.Client, known: Known) -> None:
    digest = file_sha256(known("invert") / "reference.onnx")
    assert client.get(f"/v1/models/invert/files/{digest}.onnx").status_code == 200
    manifest = file_sha256(known("invert") / "manifest.json")
    for path in (
        f"/v1/models/swap/files/{digest}.onnx",  # another model's
        f"/v1/models/invert/files/{digest.upper()}.onnx",
        f"/v1/models/invert/files/{digest[:-1]}.onnx",
        f"/v1/models/invert/files/{manifest}.onnx",
        "/v1/models/invert/files/reference.onnx",
        "/v1/models/invert/files/..%2Freference.onnx",
        f"/v1/models/nothing/files/{digest}.onnx",
    ):
        assert client.get(path).status_code == 404, path


def test_openapi_describes_everything(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    paths = described["paths"]
    assert set(paths) == {
        *("/healthz", "/metrics", "/v1/models", "/v1/models/{name}/files/{sha256}.onnx", "/v1/translate")
    }
    for path, operations in paths.items():
        for operation in operations.values():
            assert operation["summary"]
            assert all(parameter["description"] for parameter in operation.get("parameters", []))
            assert path == "/healthz" or operation["security"]
    translate = paths["/v1/translate"]["post"]
    assert {*translate["requestBody"]["content"]} == {"image/jpeg", "image/png", "image/webp", "image/bmp"}
    assert {*translate["responses"]["200"]["content"]} == {"image/jpeg", "image/png", "image/webp"}
    assert {"401", "404", "413", "415", "422", "503"} <= set(translate["responses"])
    assert "HTTPValidationError" not in str(described)  # errors have one form
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_metrics_count(known: Known) -> None:
    with running([known("invert")]) as server, httpx.Client(base_url=server.url) as client:
        for _ in range(3):
            assert client.post("/v1/translate", content=encoded(smooth())).status_code == 200
        assert client.post("/v1/translate", content=b"x").status_code == 415
        assert client.get("/nowhere").status_code == 404
        assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 403
        response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = response.text.splitlines()
    for line in (
        'i2i_frames_total{model="invert",transport="post"} 3.0',
        'i2i_errors_total{code="unsupported_format"} 1.0',
        'i2i_errors_total{code="not_found"} 1.0',
        'i2i_errors_total{code="forbidden_host"} 1.0',
        "i2i_frames_dropped_total 0.0",
        "i2i_clients 0.0",
        *(
            f'i2i_stage_seconds_count{{model="invert",stage="{stage}"}} 3.0'
            for stage in ("wait", "decode", "engine", "encode")
        ),
    ):
        assert line in lines, line


# Who may ask


HEADERS = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def test_every_answer_has_the_strict_headers(client: httpx.Client, server: Running) -> None:
    answers = [
        client.get("/healthz"),
        client.get("/v1/models"),
        client.get("/nowhere"),
        client.get("/static/nothing.js"),
        client.put("/healthz"),
        client.post("/v1/translate", content=b"x"),
        client.post("/v1/translate", content=bytes(300_001)),
        client.post("/v1/translate?quality=x", content=b"x"),
        client.post("/v1/translate", content=b"x", headers={"Origin": "https://evil.example"}),
        client.get("/healthz", headers={"Host": "evil.example"}),
    ]
    assert [a.status_code for a in answers] == [200, 200, 404, 404, 405, 415, 413, 422, 403, 403]
    for response in answers:
        assert {name: response.headers[name] for name in HEADERS} == HEADERS
        assert response.headers["permissions-policy"].startswith("camera=(self)")
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; ")
        assert "unsafe-inline" not in policy and "*" not in policy
        assert "server" not in response.headers
    assert f"connect-src 'self' ws://{server.address} wss://{server.address};" in policy_of(answers[0])
    assert answers[4].headers["allow"] == "GET"
    assert [refusal(a)[1] for a in answers[8:]] == ["forbidden_origin", "forbidden_host"]


def policy_of(response: httpx.Response) -> str:
    return response.headers["content-security-policy"]


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1", "LOCALHOST", "127.0.0.1:8000", "[::1]:8000", "192.168.1.7:8000"]
)
def test_hosts_that_are_ours(client: httpx.Client, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200
    assert client.head("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "", "a b"),
        *("127.0.0.1@evil.example", "localhost; script-src *", "[::1", "127.0.0.1:port"),
    ],
)
def test_hosts_that_are_not(client: httpx.Client, host: str) -> None:
    """A page whose name resolves to 127.0.0.1 must not count as ours."""
    response = client.get("/v1/models", headers={"Host": host})
    assert refusal(response) == (403, "forbidden_host")
    assert "evil" not in policy_of(response) and "script-src *" not in policy_of(response)


def test_hosts_that_are_allowed_by_name(known: Known) -> None:
    with running([known("invert")], options=ServeOptions(port=0, hosts=("Live.example",))) as server:
        for host, status in (("live.example", 200), ("live.example:443", 200), ("other.example", 403)):
            assert httpx.get(f"{server.url}/healthz", headers={"Host": host}).status_code == status


def test_only_our_own_page_may_post(client: httpx.Client, server: Running) -> None:
    def post(origin: str) -> int:
        headers = {"Origin": origin}
        return client.post("/v1/translate", content=encoded(smooth()), headers=headers).status_code

    assert post(server.url) == 200
    port = server.address.rpartition(":")[2]
    for origin in (
        *("null", "https://evil.example", "http://127.0.0.1", f"http://localhost:{port}", "file://"),
        *(
            f"ftp://{server.address}",
            f"{server.url}.evil.example",
            f"http://evil@{server.address}",
            "http://[",
        ),
    ):
        assert post(origin) == 403, origin


def test_a_token(known: Known) -> None:
    with running([known("invert")], options=ServeOptions(port=0, token="sesame")) as server:
        for path in ("/v1/models", "/metrics", "/openapi.json", "/nowhere"):
            for headers in (
                *({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer wrong"}),
                *(
                    {"Authorization": "Basic sesame"},
                    {"Authorization": "Bearer sesam\u00e9".encode("latin-1")},
                ),
            ):
                response = httpx.get(server.url + path, headers=headers)
                assert refusal(response) == (401, "unauthorized")
                assert response.headers["www-authenticate"] == "Bearer"
                assert "sesame" not in response.text
            good = httpx.get(server.url + path, headers={"Authorization": "Bearer sesame"})
            assert good.status_code == (404 if path == "/nowhere" else 200)
        assert httpx.post(f"{server.url}/v1/translate", content=encoded(smooth())).status_code == 401
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        assert httpx.get(f"{server.url}/static/nothing.js").status_code == 404


# The page


@pytest.fixture
def page_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "static"
    (folder / "vendor" / "ort").mkdir(parents=True)
    monkeypatch.setattr(page, "FOLDER", folder)
    return folder


def test_without_a_page_the_rest_works(client: httpx.Client, page_folder: Path) -> None:
    assert refusal(client.get("/")) == (404, "not_found")
    assert client.get("/v1/models").status_code == 200


def test_the_page_is_served_and_revalidated(client: httpx.Client, page_folder: Path) -> None:
    (page_folder / "index.html").write_text("<!doctype html>")
    (page_folder / "app.js").write_text("1")
    first = client.get("/")
    assert first.text == "<!doctype html>" and first.headers["content-type"] == "text/html; charset=utf-8"
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304 and again.content == b""
    (page_folder / "index.html").write_text("<!doctype html><p>new")
    assert client.get("/", headers={"If-None-Match": first.headers["etag"]}).text.endswith("new")
    assert client.get("/static/app.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert client.head("/static/app.js").status_code == 200


def test_vendored_files_are_stored_with_gzip(client: httpx.Client, page_folder: Path) -> None:
    content = b"\0asm" + bytes(1000)
    (page_folder / "vendor" / "ort" / "x.wasm.gz").write_bytes(gzip.compress(content))
    response = client.get("/static/vendor/ort/x.wasm")
    assert response.headers["content-encoding"] == "gzip" and response.content == content
    assert response.headers["content-type"] == "application/wasm"
    assert "max-age" in response.headers["cache-control"] and response.headers["vary"] == "Accept-Encoding"
    plain = client.get("/static/vendor/ort/x.wasm", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.content == content


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/static/../secret.txt",
            "/static/%2e%2e/secret.txt",
            "/static/..%2fsecret.txt",
            "/static/./index.html",
        ),
        *(
            "/static//etc/passwd",
            "/static/%2fetc%2fpasswd",
            "/static/.hidden",
            "/static/link.txt",
            "/static/",
        ),
        *("/static/vendor", "/static/index.html%00.js", "/static/C:%5csecret.txt", "/static/..%5csecret.txt"),
    ],
)
def test_nothing_outside_the_page_is_given(server: Running, page_folder: Path, path: str) -> None:
    (page_folder / "index.html").write_text("page")
    (page_folder / ".hidden").write_text("hidden")
    (page_folder.parent / "secret.txt").write_text("secret")
    (page_folder / "link.txt").symlink_to(page_folder.parent / "secret.txt")
    connection = http.client.HTTPConnection(server.address, timeout=HANG)  # it sends paths as they are
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == 404 and b"secret" not in body.replace(path.encode(), b"").replace(
        b"secret.txt", b""
    )


def test_no_thread_survives(known: Known) -> None:
    before = set(threading.enumerate())
    with running([known("invert"), known("swap")], with_ort) as server:
        httpx.get(f"{server.url}/")
        assert httpx.post(f"{server.url}/v1/translate", content=encoded(smooth())).status_code == 200
        assert set(threading.enumerate()) > before
    until(lambda: set(threading.enumerate()) == before)  # a worker of AnyIO ends a moment after its loop
