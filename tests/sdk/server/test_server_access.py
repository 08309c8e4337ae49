"""The live server over HTTP: who may ask, with which headers it answers, and its page."""

from __future__ import annotations

import gzip
import http.client
from pathlib import Path

import httpx
import pytest
from known_bundles import FindBundle
from running_server import TIMEOUT_S, RunningServer, encode_image, make_gradient, parse_error, run_server

from i2i_sdk.server import page
from i2i_sdk.server.settings import ServeOptions

# Who may ask


HEADERS = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def test_every_answer_has_the_strict_headers(client: httpx.Client, server: RunningServer) -> None:
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
    assert f"connect-src 'self' ws://{server.address} wss://{server.address};" in parse_policy(answers[0])
    assert answers[4].headers["allow"] == "GET"
    assert [parse_error(a)[1] for a in answers[8:]] == ["forbidden_origin", "forbidden_host"]


def parse_policy(response: httpx.Response) -> str:
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
    assert parse_error(response) == (403, "forbidden_host")
    assert "evil" not in parse_policy(response) and "script-src *" not in parse_policy(response)


def test_hosts_that_are_allowed_by_name(known: FindBundle) -> None:
    with run_server([known("invert")], options=ServeOptions(port=0, hosts=("Live.example",))) as server:
        for host, status in (("live.example", 200), ("live.example:443", 200), ("other.example", 403)):
            assert server.get("/healthz", headers={"Host": host}).status_code == status


def test_only_our_own_page_may_post(client: httpx.Client, server: RunningServer) -> None:
    def post(origin: str) -> int:
        content, headers = encode_image(make_gradient()), {"Origin": origin}
        return client.post("/v1/translate", content=content, headers=headers).status_code

    address = server.address
    assert post(f"http://{address}") == 200
    similar = (f"ftp://{address}", f"http://{address}.evil.example", f"http://evil@{address}")
    local = address.replace("127.0.0.1", "http://localhost")
    for origin in (
        "null",
        "file://",
        "http://[",
        "https://evil.example",
        "http://127.0.0.1",
        local,
        *similar,
    ):
        assert post(origin) == 403, origin


def test_a_token(known: FindBundle) -> None:
    wrong = (None, "Bearer", "Bearer wrong", "Basic sesame", "Bearer sesam\u00e9".encode("latin-1"))
    with run_server([known("invert")], options=ServeOptions(port=0, token="sesame")) as server:
        for path in ("/v1/models", "/metrics", "/openapi.json", "/nowhere"):
            for value in wrong:
                response = server.get(path, headers={"Authorization": value} if value else {})
                assert parse_error(response) == (401, "unauthorized")
                assert response.headers["www-authenticate"] == "Bearer"
                assert "sesame" not in response.text
            good = server.get(path, headers={"Authorization": "Bearer sesame"})
            assert good.status_code == (404 if path == "/nowhere" else 200)
        assert server.post(encode_image(make_gradient())).status_code == 401
        assert server.get("/healthz").status_code == 200
        assert server.get("/static/nothing.js").status_code == 404


# The page


@pytest.fixture
def page_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "static"
    (folder / "vendor" / "ort").mkdir(parents=True)
    monkeypatch.setattr(page, "STATIC_DIR", folder)
    return folder


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
        *("../secret.txt", "%2e%2e/secret.txt", "..%2fsecret.txt", "./index.html", "/etc/passwd"),
        *("%2fetc%2fpasswd", ".hidden", "link.txt", "", "vendor", "index.html%00.js"),
        *("C:%5csecret.txt", "..%5csecret.txt"),
    ],
)
def test_nothing_outside_the_page_is_given(server: RunningServer, page_folder: Path, path: str) -> None:
    (page_folder / "index.html").write_text("page")
    (page_folder / ".hidden").write_text("hidden")
    (page_folder.parent / "secret.txt").write_text("secret")
    (page_folder / "link.txt").symlink_to(page_folder.parent / "secret.txt")
    connection = http.client.HTTPConnection(server.address, timeout=TIMEOUT_S)  # it sends paths as they are
    connection.request("GET", f"/static/{path}")
    response = connection.getresponse()
    body = response.read().replace(path.encode(), b"").replace(b"secret.txt", b"")
    connection.close()
    assert response.status == 404 and b"secret" not in body
