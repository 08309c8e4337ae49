"""Addresses of HTTP cameras: passwords, redirects, answers that are no stream, and what is shown of them."""

from __future__ import annotations

import hashlib
import logging
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_camera import (
    JPEG,
    RawServer,
    format_multipart_head,
    format_part,
    format_response,
    read_first_numbers,
)
from streams import assert_no_threads_left

from benchmarks.support.loopback import CameraServer, read_number
from i2i_sdk import MediaError, Translator
from i2i_sdk.live import MjpegStream
from i2i_sdk.live.sources.addresses import redact_credentials
from i2i_sdk.server.tls import ensure_self_signed


def test_redirects_are_followed(camera: CameraServer) -> None:
    places = iter(["/there", camera.url])
    with RawServer(lambda _: iter([format_response("302 Found", [f"Location: {next(places)}"])])) as server:
        assert len(read_first_numbers(MjpegStream(f"{server.url}here"))) == 1
    assert [request.split()[1] for request in server.requests] == ["/here", "/there"]


@pytest.mark.parametrize(
    ("location", "message", "requests"),
    [("/", "answers 302 Found", 6), ("http://[::", "which is not an address", 1)],
    ids=["in a circle", "to nowhere"],
)
def test_redirects_that_lead_nowhere_are_errors(location: str, message: str, requests: int) -> None:
    answer = format_response("302 Found", [f"Location: {location}"])
    with RawServer(lambda _: iter([answer])) as server, pytest.raises(MediaError, match=message):
        MjpegStream(server.url).open()
    assert len(server.requests) == requests


def answer_authorized(request: str) -> Iterator[bytes]:
    # "me:p@ss" in Base64
    if "Authorization: Basic bWU6cEBzcw==" in request:
        yield from (format_multipart_head(), format_part(JPEG), format_part(JPEG))
    else:
        yield format_response("401 Unauthorized", ['WWW-Authenticate: Basic realm="camera"'])


def test_name_and_password_of_the_address_are_sent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), RawServer(answer_authorized) as server:
        there = server.url.removeprefix("http://")
        source = MjpegStream(f"http://me:p%40ss@{there}")
        assert read_first_numbers(source) == [5]
        assert "ss" not in source.name
        with pytest.raises(MediaError, match=r"put the name and password into the address"):
            MjpegStream(server.url).open()
        with pytest.raises(MediaError, match=r"name or password is wrong") as wrong:
            MjpegStream(f"http://me:secret@{there}").open()
    assert "secret" not in str(wrong.value) + caplog.text


@pytest.mark.parametrize("elsewhere", [False, True], ids=["the same server", "another server"])
def test_a_password_follows_a_redirect_to_the_same_server_only(elsewhere: bool) -> None:
    with RawServer(answer_authorized) as other:

        def answer(request: str) -> Iterator[bytes]:
            if "/start" in request:
                to = other.url if elsewhere else f"http://127.0.0.1:{server.port}/there"
                yield format_response("302 Found", [f"Location: {to}"])
            else:
                yield from answer_authorized(request)

        with RawServer(answer) as server:
            source = MjpegStream(f"http://me:p%40ss@127.0.0.1:{server.port}/start")
            if elsewhere:
                with pytest.raises(MediaError, match="401"):
                    source.open()
                assert "Authorization" not in other.requests[0]
            else:
                assert read_first_numbers(source) == [5]


def hash_md5(*parts: str) -> str:
    return hashlib.md5(":".join(parts).encode()).hexdigest()


@pytest.mark.parametrize("qop", ['qop="auth", ', ""], ids=["RFC 2617", "RFC 2069"])
def test_digest_authentication_as_most_network_cameras_want_it(qop: str) -> None:
    path = "/video.mjpg?size=1"

    def answer(request: str) -> Iterator[bytes]:
        found = re.search(r"Authorization: Digest (.*)\r\n", request)
        if found is None:
            challenge = f'WWW-Authenticate: Digest realm="a, camera", {qop}nonce="n0nce", opaque="o"'
            yield format_response("401 Unauthorized", ["WWW-Authenticate: Basic realm=x", challenge])
            return
        assert "Basic" not in request
        fields = {name: value.strip('"') for name, value in re.findall(r'(\w+)=("[^"]*"|[^,]+)', found[1])}
        between = [fields["nc"], fields["cnonce"], fields["qop"]] if qop else []
        right = hash_md5(hash_md5("me", "a, camera", "p@ss"), "n0nce", *between, hash_md5("GET", path))
        assert (fields["username"], fields["uri"], fields["opaque"]) == ("me", path, "o")
        if fields["response"] == right:
            yield from (format_multipart_head(), format_part(JPEG), format_part(JPEG))
        else:
            again = 'WWW-Authenticate: Digest realm="a, camera", nonce="1"'
            yield format_response("401 Unauthorized", [again])

    with RawServer(answer) as server:
        there = f"127.0.0.1:{server.port}{path}"
        assert read_first_numbers(MjpegStream(f"http://me:p%40ss@{there}")) == [5]
        with pytest.raises(MediaError, match="name or password is wrong"):
            MjpegStream(f"http://me:secret@{there}").open()
        with pytest.raises(MediaError, match="put the name and password into the address"):
            MjpegStream(f"http://{there}").open()


@pytest.mark.parametrize(
    ("challenge", "message"),
    [
        ("Negotiate", "wants Negotiate authentication, supported are Basic and Digest"),
        ('Digest realm="x", nonce="1", algorithm=none', "401 Unauthorized"),
        ("Digest nonsense", "401 Unauthorized"),
        ("Digest", "401 Unauthorized"),
    ],
)
def test_authentication_that_is_not_understood_is_an_error(challenge: str, message: str) -> None:
    refusal = format_response("401 Unauthorized", [f"WWW-Authenticate: {challenge}"])
    with RawServer(lambda _: iter([refusal])) as server, pytest.raises(MediaError, match=message):
        MjpegStream(f"http://me:secret@127.0.0.1:{server.port}/").open()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (format_response("404 Not Found"), "answers 404 Not Found"),
        (format_response("503 Busy", ["Content-Length: 4"], b"busy"), "answers 503 Busy"),
        (
            format_response("200 OK", ["Content-Type: text/html"], b"<p>"),
            "gives text/html, not a stream of JP",
        ),
        (
            format_response("200 OK", ["Content-Type: multipart/x-mixed-replace"]),
            r"names no boundary .*Content-Type: multipart/x-mixed-replace\); give another address",
        ),
        (b"nonsense\r\n\r\n", "cannot reach"),
        (b"", "cannot reach"),
    ],
    ids=["404", "503", "page", "no boundary", "nonsense", "hung up"],
)
def test_an_answer_that_is_no_stream_is_an_error_at_once(answer: bytes, message: str) -> None:
    with RawServer(lambda _: iter([answer])) as server:
        with pytest.raises(MediaError, match=message) as raised:
            MjpegStream(f"http://me:secret@127.0.0.1:{server.port}/cam").open()
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:secret@127.0.0.1:1/",
        "http://me:secret@[::1/",
        "http://me:secret@h:port/",
        "ftp://me:secret@h/",
        "http://",
        "http://me:sec/ret@127.0.0.1/",
        "http://me:secret@no such host/",
        "http://127.0.0.1:1/a b?pwd=secret",
    ],
)
def test_addresses_that_lead_nowhere_are_errors_without_the_password(url: str) -> None:
    with pytest.raises(MediaError, match=r"cannot reach|not an http address") as raised:
        MjpegStream(url).open()
    assert "secret" not in str(raised.value)
    assert "ret@" not in str(raised.value)


def test_https_is_read_and_ended_as_http_is(
    identity: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = ensure_self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def answer(_: str) -> Iterator[bytes]:
        yield format_multipart_head()
        yield format_part(JPEG)
        server.wait()

    with RawServer(answer, context) as server:
        with pytest.raises(MediaError, match=r"cannot reach .*certificate"):
            MjpegStream(server.url).open()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with assert_no_threads_left():
            stream = identity.stream(MjpegStream(server.url))
            results = iter(stream)
            assert read_number(next(results).frame) == 5
            stream.close()  # while a read waits


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h/x", "http://h/x"),
        ("rtsp://me:secret@h:554/x@2", "rtsp://h:554/x@2"),
        ("http://me:p@ss@h/", "http://h/"),
        ("http://me:p/ss@h/", "http://h/"),
        ("http://me@h/", "http://h/"),
        ("http://h:8080/a@b", "http://h:8080/a@b"),
        ("http://h/v.cgi?user=me&pwd=secret&size=1", "http://h/v.cgi?user=me&pwd=…&size=1"),
        ("rtsp://h/user=me_password=secret_channel=1", "rtsp://h/user=me_password=…"),
    ],
)
def test_what_is_shown_of_an_address(url: str, shown: str) -> None:
    assert redact_credentials(url) == shown
