"""`i2i serve` from the command line to the exit code: addresses, TLS, signals, what is refused."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from known_bundles import FindBundle, make_noise
from running_server import TIMEOUT_S, connect_stream, decode_image, encode_image, run_server

from i2i_sdk.cli.main import main
from i2i_sdk.errors import InputError
from i2i_sdk.live.sinks.mjpeg_server import is_loopback, open_socket
from i2i_sdk.server import tls
from i2i_sdk.server.run import format_addresses, list_warnings
from i2i_sdk.server.settings import ServeOptions

Capture = pytest.CaptureFixture[str]


@contextmanager
def start_server(*arguments: object, **environment: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """`i2i serve …` in a process of its own, and the lines that it printed until it was ready."""
    words = [sys.executable, "-m", "i2i_sdk", "serve", *map(str, arguments), "--backend", "ort"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(words, env={**os.environ, **environment}, **pipes) as process:
        try:
            lines: list[str] = []
            while not lines or not lines[-1].startswith("stop it with"):
                line = process.stdout.readline()
                assert line, f"it ended: {lines}"
                lines.append(line)
            yield process, "".join(lines)
        finally:
            process.kill()


def assert_quiet_end(process: subprocess.Popen[str]) -> None:
    assert process.wait(TIMEOUT_S) == 0
    assert process.stdout is not None and process.stdout.read() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(known: FindBundle, number: signal.Signals) -> None:
    """Clients are told, the exit code is 0, nothing is printed."""
    with start_server(known("invert"), "--port", 0) as (process, printed):
        assert printed.startswith("invert: ort fp32 24x40 on CPUExecutionProvider\n")
        address = re.search(r"open http://(127\.0\.0\.1:\d+)/\n", printed)
        assert address and "warning" not in printed
        with connect_stream(f"ws://{address[1]}/v1/stream") as client:
            client.send_hello(format="png")
            image = make_noise(24, 40, 3)
            assert (client.translate_frame(encode_image(image)).image == 255 - image).all()
            process.send_signal(number)
            assert client.read_until_closed() == (1001, "")
        assert_quiet_end(process)


def test_a_second_signal_is_as_quiet(known: FindBundle) -> None:
    """As `timeout` sends them, both at once, and impatient people."""
    with start_server(known("invert"), "--port", 0) as (process, _):
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert_quiet_end(process)


def test_the_token_comes_from_the_environment_and_goes_into_the_address(known: FindBundle) -> None:
    with start_server(known("invert"), "--port", 0, I2I_TOKEN="sesame") as (_, printed):
        address = re.search(r"open (http://127\.0\.0\.1:\d+/)#token=sesame\n", printed)
        assert address
        for headers, status in (({}, 401), ({"Authorization": "Bearer sesame"}, 200)):
            assert httpx.get(f"{address[1]}v1/models", headers=headers).status_code == status


# Where it listens


def test_a_taken_port_is_named_before_anything_is_loaded(capsys: Capture) -> None:
    with open_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert main(["serve", "no-such-bundle.i2i", "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert error == (
        f"error: cannot listen on 127.0.0.1 port {port}: the port is taken, perhaps by another i2i; "
        "choose another\n"
    )


@pytest.mark.parametrize(
    "host, message",
    [("192.0.2.1", "no address of this machine; 0.0.0.0"), ("no.invalid", "no address of this")],
)
def test_a_host_that_is_not_ours(host: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_socket(host, 0)


def test_the_body_of_an_answer_does_not_wait_for_its_head_to_be_acknowledged() -> None:
    with open_socket("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_ipv6(known: FindBundle) -> None:
    try:
        open_socket("::1", 0).close()
    except InputError:
        pytest.skip("this machine has no IPv6")
    with open_socket("::1", 0) as listening:
        socket.create_connection(listening.getsockname()[:2], TIMEOUT_S).close()
    assert format_addresses(ServeOptions("::1"), 8000) == ["open http://[::1]:8000/"]


@pytest.mark.parametrize(
    "options, words",
    [
        (ServeOptions(), []),
        (ServeOptions("localhost"), []),
        (ServeOptions("127.3.2.1"), []),
        (ServeOptions("0.0.0.0"), ["--token", "--tls-self-signed"]),
        (ServeOptions("192.168.1.7", token="t"), ["--tls-self-signed"]),
        (ServeOptions("::", tls_cert=Path("c"), tls_key=Path("k")), ["--token"]),
        (ServeOptions("::", token="t", tls_cert=Path("c"), tls_key=Path("k")), []),
    ],
)
def test_it_warns_when_others_can_reach_it(options: ServeOptions, words: list[str]) -> None:
    lines = list_warnings(options)
    assert len(lines) == len(words)
    assert all(line.startswith("warning: ") and word in line for line, word in zip(lines, words, strict=True))


def test_addresses_for_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ["127.0.0.1", "::1", "192.168.1.7", "2001:db8::7"]
    monkeypatch.setattr("i2i_sdk.server.run.list_own_addresses", lambda: found)
    secure = ServeOptions("0.0.0.0", tls_cert=Path("c"), tls_key=Path("k"), token="t")
    assert format_addresses(secure, 8443) == [
        "open https://localhost:8443/#token=t",
        "from other devices: https://192.168.1.7:8443/#token=t",
        "from other devices: https://[2001:db8::7]:8443/#token=t",
    ]
    (odd,) = format_addresses(ServeOptions(token="a b#c&d"), 1)
    assert odd == "open http://127.0.0.1:1/#token=a%20b%23c%26d"
    assert format_addresses(replace(secure, host="192.168.1.7"), 1) == ["open https://192.168.1.7:1/#token=t"]


def test_own_addresses_are_addresses() -> None:
    found = tls.list_own_addresses()
    assert found[:2] == ["127.0.0.1", "::1"] and len(found) == len(set(found))
    assert is_loopback("::1") and not is_loopback("0.0.0.0") and not is_loopback("example.org")


# TLS


def test_self_signed_tls_is_verified_by_its_certificate(known: FindBundle, tmp_path: Path) -> None:
    certificate, key = tls.ensure_self_signed(tmp_path)
    image = make_noise(24, 40, 3)
    context = ssl.create_default_context(cafile=str(certificate))
    options = ServeOptions(port=0, tls_cert=certificate, tls_key=key)
    with run_server([known("invert")], options=options) as server:
        port = server.address.rpartition(":")[2]
        for host in ("127.0.0.1", "localhost"):
            origin, picture = f"https://{host}:{port}", encode_image(image)
            response = httpx.post(f"{origin}/v1/translate?format=png", content=picture, verify=context)
            assert (decode_image(response.content) == 255 - image).all()
            with connect_stream(f"wss://{host}:{port}/v1/stream", ssl=context, origin=origin) as client:
                client.send_hello(format="png")
                assert (client.translate_frame(picture).image == 255 - image).all()
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"https://127.0.0.1:{port}/healthz")


def test_a_certificate_is_kept_while_it_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tls.ensure_self_signed(tmp_path)
    first = certificate.read_bytes()
    if os.name == "posix":
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    tls.ensure_self_signed(tmp_path)
    assert certificate.read_bytes() == first  # accepted once is enough

    monkeypatch.setattr(tls, "list_own_addresses", lambda: ["127.0.0.1", "192.168.1.7"])
    tls.ensure_self_signed(tmp_path)
    second = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert certificate.read_bytes() != first
    names = second.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "192.168.1.7" in map(str, names.get_values_for_type(x509.IPAddress))
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert second.not_valid_after_utc - second.not_valid_before_utc < timedelta(days=825)

    monkeypatch.setattr(tls, "list_own_addresses", lambda: ["127.0.0.1"])
    before = certificate.read_bytes()
    tls.ensure_self_signed(tmp_path)
    assert certificate.read_bytes() == before  # what it names besides does no harm

    monkeypatch.setattr(tls, "RENEWAL_MARGIN", timedelta(days=900))  # as if it ran out soon
    before = certificate.read_bytes()
    tls.ensure_self_signed(tmp_path)
    assert certificate.read_bytes() != before
    monkeypatch.undo()

    for path in (key, certificate):  # damaged, or not of one another
        path.write_text("x")
        tls.ensure_self_signed(tmp_path)
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)


def test_by_default_certificates_are_in_the_users_cache(known: FindBundle) -> None:
    with start_server(known("invert"), "--port", 0, "--tls-self-signed") as (_, printed):
        address = re.search(r"open (https://127\.0\.0\.1:\d+/)\n", printed)
        assert address
        cafile = Path(os.environ["I2I_CACHE_DIR"]) / "tls" / "certificate.pem"
        context = ssl.create_default_context(cafile=str(cafile))
        assert httpx.get(f"{address[1]}healthz", verify=context).json()["status"] == "ok"


# What is refused


@pytest.mark.parametrize(
    "options, message",
    [
        (["--port", "70000"], "--port is 70000; allowed: 0"),
        (["--tls-cert", "x.pem"], "give --tls-cert and --tls-key together"),
        (["--tls-key", "x.pem"], "give --tls-cert and --tls-key together"),
        (["--tls-cert", "x", "--tls-key", "y", "--tls-self-signed"], "or --tls-self-signed alone"),
        (
            ["--tls-cert", "x.pem", "--tls-key", "y.pem"],
            "x.pem and y.pem are not a PEM certificate and its key",
        ),
        (["--token", ""], "the token is empty"),
        (["--token", "schlüssel"], "use plain ASCII"),
        (["--max-clients", "0"], "--max-clients is 0; a number above 0 is needed"),
        (["--idle-seconds", "nan"], "--idle-seconds is nan; a number above 0 is needed"),
        (["--backend", "cuda"], "the bundle has: ort-fp32-24x40"),
        (["{same}"], "two models are called 'invert'"),
        (["nowhere.i2i"], "nowhere.i2i: no such bundle"),
    ],
)
def test_what_cannot_be_served(known: FindBundle, capsys: Capture, options: list[str], message: str) -> None:
    bundle = str(known("invert"))
    assert main(["serve", "--port", "0", bundle, *(bundle if o == "{same}" else o for o in options)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and message in captured.err and captured.err.count("\n") == 1


def test_a_missing_package_names_the_extra() -> None:
    """As where the extra is not installed: each of its packages in turn."""
    script = """
import sys
from i2i_sdk.cli.main import main
for name in ("fastapi", "uvicorn", "websockets", "prometheus_client", "cryptography"):
    kept = dict(sys.modules)
    for loaded in kept:
        if loaded.startswith((name, "uvicorn", "i2i_sdk.server", "i2i_sdk.cli.serve")):
            del sys.modules[loaded]
    sys.modules[name] = None
    assert main(["serve", "sketch"]) == 2, name
    sys.modules.pop(name)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    line = r"error: this command needs [\w.]+: pip install 'i2i-sdk\[web\]'\n"
    assert re.fullmatch(rf"({line}){{5}}", done.stderr)
