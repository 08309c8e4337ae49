"""Addresses of HTTP cameras: passwords, redirects, answers that are no stream, and what is shown of them."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import socketserver
import ssl
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
from i2i_sdk.errors import redact_credentials
from i2i_sdk.live import MjpegStream, NetworkVideo
from i2i_sdk.live.sources import addresses
from i2i_sdk.live.sources.addresses import encode_credentials
from i2i_sdk.live.sources.opening import as_source
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
        ("http://me:p@ss@h/", "http://h/"),
        ("http://me@h/", "http://h/"),
        # What stands before an "@" that may belong to a path can be a password.
        ("rtsp://me:secret@h:554/x@2", "rtsp://…@2"),
        ("http://me:p/ss@h/", "http://…@h/"),
        ("http://h:8080/a@b", "http://…@b"),
        ("rtsps://me:12?3#4@h/", "rtsps://…@h/"),
        ("//me:p ss@h/", "…@h/"),
        ("rtsp:/me:secret@h/", "…@h/"),
        ("me:secret://x@h/", "…@h/"),
        ("rtspsrc location=rtsp://me:secret@h/x ! appsink", "rtspsrc location=rtsp://h/x ! appsink"),
        ("rtspsrc location=rtsp://h/ user-pw='my secret' ! x", "rtspsrc location=rtsp://h/ user-pw=… ! x"),
        ("http://h/v.cgi?user=me&pwd=secret&size=1", "http://h/v.cgi?user=me&pwd=…&size=1"),
        ("rtsp://h/user=me_password=secret_channel=1", "rtsp://h/user=me_password=…"),
        ("srt://h:9000?passphrase=secret&mode=caller", "srt://h:9000?passphrase=…&mode=caller"),
        ("clip@2x.mp4", "clip@2x.mp4"),
    ],
)
def test_what_is_shown_of_an_address(url: str, shown: str) -> None:
    assert redact_credentials(url) == shown


names = st.text("ab", min_size=1)
passwords = st.text(":/?#[]@!$&'()*+,;=%-._~ \\\"`|^<>{}0129xyzß", min_size=1)
hosts = st.sampled_from(["cam", "cam.local:8080", "10.0.0.7", "10.0.0.7:554", "[::1]:80"])
schemes = st.sampled_from(["rtsp", "rtsps", "http", "https", "rtmp", "srt", "HTTP"])
paths = st.sampled_from(["", "/", "/live/ch1", "/v.mjpg?size=1&n=2"])


@settings(settings.get_profile("strangers"))
@given(names, passwords, hosts, schemes, paths)
def test_no_piece_of_a_password_is_shown(name: str, password: str, host: str, scheme: str, path: str) -> None:
    bare = f"{name}:{password}@{host}{path}"
    for text in (f"{scheme}://{bare}", bare, f"{scheme}:/{bare}", f"x location={scheme}://{bare} ! appsink"):
        shown = redact_credentials(text)
        pieces = {password[start : start + 3] for start in range(len(password) - 2)}
        harmless = f"x location={scheme}://…@{host}{path} ! appsink"
        assert not [piece for piece in pieces if piece in shown and piece not in harmless]
        assert shown.endswith((f"{host}{path}", f"{host}{path} ! appsink"))


@settings(settings.get_profile("strangers"))
@given(names, passwords, hosts, schemes, paths)
def test_an_address_leads_to_its_host_or_is_refused(
    name: str, password: str, host: str, scheme: str, path: str
) -> None:
    quoted = f"{scheme}://{name}:{quote(password, safe='')}@{host}{path}"
    assert encode_credentials(quoted) == quoted  # valid: it stays
    try:
        read = urlsplit(encode_credentials(f"{scheme}://{name}:{password}@{host}{path}"))
    except MediaError as error:
        assert "percent-encoded" in str(error) and "@" in password
        return
    if read.netloc.endswith(f"@{host}"):
        assert (read.username, unquote(read.password or "")) == (name, unquote(password))
        assert read.path + (f"?{read.query}" if read.query else "") == path
    else:  # a valid address, too: NAME:1/…, or NAME:PASS@WORD/…
        assert re.match(r"\d{1,5}[/?#]|.*@.*[/?#]", password, re.DOTALL)


def test_unencoded_passwords_reach_an_http_camera() -> None:
    def answer(request: str) -> Iterator[bytes]:
        right = base64.b64encode(b"me:p@s/s:w?o#r%d").decode()
        if f"Authorization: Basic {right}\r\n" in request and request.startswith("GET /cam "):
            yield from (format_multipart_head(), format_part(JPEG), format_part(JPEG))
        else:
            yield format_response("401 Unauthorized", ["WWW-Authenticate: Basic realm=x"])

    with RawServer(answer) as server:
        source = MjpegStream(f"http://me:p@s/s:w?o#r%d@127.0.0.1:{server.port}/cam")
        with pytest.raises(MediaError, match=r"^cannot reach http://…@127\S*/cam: .* percent-encoded, as"):
            source.open()  # it begins as a valid address of the host "s"
        for password in ("p%40s/s:w?o#r%d", "p@s%2Fs:w%3Fo%23r%d"):
            source = MjpegStream(f"http://me:{password}@127.0.0.1:{server.port}/cam")
            assert read_first_numbers(source) == [5]
        wrong = MjpegStream(f"http://me:sec/ret@127.0.0.1:{server.port}/cam")
        with pytest.raises(MediaError, match=r"answers 401 .*password is wrong; .*percent-enc") as raised:
            wrong.open()
        assert "sec" not in str(raised.value) + wrong.name


class RtspGuard(socketserver.StreamRequestHandler):
    """Lets nobody in; keeps what it was sent in the server's `heard`."""

    timeout = 5.0

    def handle(self) -> None:
        number = b""
        for line in self.rfile:
            self.server.heard += line.decode()  # type: ignore[attr-defined]
            number = line if line.startswith(b"CSeq") else number
            if line == b"\r\n":
                challenge = b'WWW-Authenticate: Basic realm="x"\r\n\r\n'
                self.wfile.write(b"RTSP/1.0 401 Unauthorized\r\n" + number + challenge)


@pytest.mark.parametrize("password", ["sec/ret", "sec@ret", "sec?ret#:%5", "sec%2Fret", "se:cret"])
def test_an_rtsp_camera_gets_the_whole_password_and_nobody_else_does(password: str) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), RtspGuard) as server:
        server.heard = ""  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        source = NetworkVideo(f"rtsp://me:{password}@127.0.0.1:{server.server_address[1]}/x")
        with pytest.raises(MediaError, match=r"401 .*percent-encoded, as %25 %40") as raised:
            source.open()
        server.shutdown()
    sent = base64.b64encode(f"me:{unquote(password)}".encode()).decode()
    assert f"Authorization: Basic {sent}" in server.heard  # type: ignore[attr-defined]
    shown = "".join(traceback.format_exception(raised.value)) + source.name
    assert "sec" not in shown and "ret@" not in shown


def test_an_answer_that_drips_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nX: "
        while True:
            yield b"x"
            time.sleep(0.05)

    monkeypatch.setattr(addresses, "ANSWER_TIMEOUT_S", 0.3)
    with RawServer(answer) as server, pytest.raises(MediaError, match="takes longer than"):
        as_source(server.url)
