"""The live server over HTTP: its models, their files for browsers, OpenAPI, metrics."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from known_bundles import FindBundle, edit_manifest, make_noise, write_known_bundle
from running_server import encode_image, make_gradient, run_server

from i2i_sdk.files import hash_file
from i2i_sdk.server.settings import ServeOptions


def test_models_are_described(client: httpx.Client, known: FindBundle) -> None:
    listed = client.get("/v1/models").json()
    assert listed["default"] == "invert"
    assert listed["limits"] == {"max_frame_bytes": 100_000, "max_pixels": 40_000}
    assert [model["name"] for model in listed["models"]] == ["invert", "swap", "gray", "darken"]
    reference = known("invert") / "reference.onnx"
    digest, variant = hash_file(reference), {"precision": "fp32", "height": 24, "width": 40}
    assert listed["models"][0] == {
        "name": "invert",
        "title": "invert",
        "license": "Apache-2.0",
        "trained_on": "nothing",
        "fit": "resize",
        "channels": 3,
        "server": {"backend": "ort", "provider": "CPUExecutionProvider"} | variant,
        "on_device": [
            {
                "url": f"/v1/models/invert/files/{digest}.onnx",
                "channels": 3,
                "bytes": reference.stat().st_size,
                "sha256": digest,
                "macs": 123_456,
            }
            | variant
        ],
    }
    assert listed["models"][2]["channels"] == 1


def test_variants_for_browsers_come_before_references_smallest_first(tmp_path: Path) -> None:
    out, engines = tmp_path / "my model.i2i", (("web", "fp32"), ("ort", "fp32"))
    for size in ((48, 80), (24, 40)):
        write_known_bundle(out, "invert", size=size, file=f"{size[0]}.onnx", engines=engines)
    with run_server([out]) as server:
        model = server.get("/v1/models").json()["models"][0]
        assert [(o["height"], o["width"]) for o in model["on_device"]] == [(24, 40), (48, 80)]
        for described in model["on_device"]:
            assert described["url"].startswith("/v1/models/my%20model/files/")
            response = server.get(described["url"])
            assert response.status_code == 200 and len(response.content) == described["bytes"]
            assert response.content == (out / f"{described['height']}.onnx").read_bytes()
            assert "immutable" in response.headers["cache-control"]


def test_large_references_stay_on_the_server(known: FindBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("i2i_sdk.server.models.MAX_PAGE_BYTES", 10)
    with run_server([known("invert")]) as server:
        assert server.get("/v1/models").json()["models"][0]["on_device"] == []
        digest = hash_file(known("invert") / "reference.onnx")
        assert server.get(f"/v1/models/invert/files/{digest}.onnx").status_code == 404


def test_an_onnx_file_is_served_too(known: FindBundle) -> None:
    with run_server([known("swap") / "reference.onnx"]) as server:
        model = server.get("/v1/models").json()["models"][0]
        assert (model["name"], model["license"], model["on_device"]) == ("reference", "", [])
        image = make_noise(24, 40, 3)
        assert (server.translate(image) == image[:, :, ::-1]).all()


def test_files_are_given_by_exact_hash_of_what_is_listed(client: httpx.Client, known: FindBundle) -> None:
    digest = hash_file(known("invert") / "reference.onnx")
    assert client.get(f"/v1/models/invert/files/{digest}.onnx").status_code == 200
    manifest = hash_file(known("invert") / "manifest.json")
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
    files = "/v1/models/{name}/files/{sha256}.onnx"
    assert set(paths) == {"/healthz", "/metrics", "/v1/models", files, "/v1/translate"}
    for operations in paths.values():
        for operation in operations.values():
            assert operation["summary"]
            assert all(parameter["description"] for parameter in operation.get("parameters", []))
            assert "security" not in operation  # no token was set
    translate = paths["/v1/translate"]["post"]
    assert {*translate["requestBody"]["content"]} == {"image/jpeg", "image/png", "image/webp", "image/bmp"}
    assert {*translate["responses"]["200"]["content"]} == {"image/jpeg", "image/png", "image/webp"}
    assert "413 too_large; 415 unsupported_format" in translate["responses"]["default"]["description"]
    assert "HTTPValidationError" not in str(described)  # errors have one form
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


def test_openapi_asks_for_a_token_where_there_is_one(known: FindBundle) -> None:
    with run_server([known("invert")], options=ServeOptions(port=0, token="sesame")) as server:
        described = server.get("/openapi.json", headers={"Authorization": "Bearer sesame"}).json()
    operation = described["paths"]["/v1/translate"]["post"]
    assert operation["security"]
    assert "security" not in described["paths"]["/healthz"]["get"]


def test_what_is_unknown_is_not_shown(folder: Path) -> None:
    edit_manifest(folder, lambda data: data["model"].update(trained_on="unknown", license="unknown"))
    with run_server([folder]) as server:
        model = server.get("/v1/models").json()["models"][0]
    assert model["trained_on"] == model["license"] == ""


def test_metrics_count(known: FindBundle) -> None:
    with run_server([known("invert")]) as server, httpx.Client(base_url=server.url) as client:
        for _ in range(3):
            assert client.post("/v1/translate", content=encode_image(make_gradient())).status_code == 200
        assert client.post("/v1/translate", content=b"x").status_code == 415
        assert client.get("/nowhere").status_code == 404
        assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 403
        response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = response.text.splitlines()
    stages = ("wait", "decode", "engine", "encode")
    for line in (
        *(f'i2i_stage_seconds_count{{model="invert",stage="{stage}"}} 3.0' for stage in stages),
        'i2i_frames_total{model="invert",transport="post"} 3.0',
        'i2i_errors_total{code="unsupported_format"} 1.0',
        'i2i_errors_total{code="not_found"} 1.0',
        'i2i_errors_total{code="forbidden_host"} 1.0',
        "i2i_frames_dropped_total 0.0",
        "i2i_clients 0.0",
    ):
        assert line in lines, line
