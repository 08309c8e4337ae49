"""HTTP addresses: asking a server, as who, and what may be shown of an address."""

from __future__ import annotations

import base64
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, InvalidURL
from urllib import request
from urllib.error import URLError
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from i2i_sdk.errors import MediaError, redact_credentials

CONNECT_TIMEOUT_S = 5.0  # for a connection, and for each piece of an answer
ANSWER_TIMEOUT_S = 10.0  # for the head of an answer, however slowly it drips
MAX_REDIRECTS = 5

NOT_IN_CREDENTIALS = re.compile(r"(?a)%(?![0-9a-fA-F]{2})|[^%\w.~!$&'()*+,;=:-]")
HOST = r"(?:\[[^\s/?#@\[\]]+\]|[^\s/?#@:\[\]]+)(?::\d{1,5})?"
ENCODING_ADVICE = (
    "in a name or password write % @ : / ? # percent-encoded, as %25 %40 %3A %2F %3F %23: p@ss becomes p%40ss"
)


def encode_credentials(url: str) -> str:
    """`url` with what is not allowed in its name and password percent-encoded: then libraries find the host.

    A valid address stays as it is. In others the host stands after the only "@" that a host can follow.
    Raises MediaError where there are several of these.
    """
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if re.fullmatch(f"(?s)(?:.*@)?{HOST}", authority):
        end = authority.rfind("@")
    else:
        ends = [at.start() for at in re.finditer(rf"@(?={HOST}(?:[/?#]|\Z))", rest)]
        if len(ends) > 1:
            problem = "has several places where its host may begin"
            raise MediaError(f"{redact_credentials(url)} {problem}: {ENCODING_ADVICE}")
        end = ends[0] if ends else -1
    if end < 0:
        return url
    encoded = NOT_IN_CREDENTIALS.sub(lambda found: quote(found[0], safe="", errors="replace"), rest[:end])
    return f"{scheme}://{encoded}{rest[end:]}"


def advise_encoding(url: str) -> str:
    """What to do if an address leads nowhere: "" for one without a name and password."""
    return f"; {ENCODING_ADVICE}" if "@" in url else ""


def open_url(url: str, on_connect: Callable[[socket.socket], None] = lambda connected: None) -> HTTPResponse:
    """GET `url` -> the response, its body unread. Raises MediaError.

    on_connect: gets every socket as soon as it is connected; shutting it ends the wait for an answer.
    """
    url = encode_credentials(url)
    response = _send_get(url, on_connect)
    for _ in range(MAX_REDIRECTS):
        if response.status not in (301, 302, 303, 307, 308):
            break
        response.close()
        url = _resolve_redirect(url, response.headers.get("Location", ""))
        response = _send_get(url, on_connect)
    if response.status == 401 and (answer := _make_authorization(url, _parse_challenges(response))):
        response.close()
        response = _send_get(url, on_connect, answer)
    if response.status != 200:
        response.close()
        hint = _explain_unauthorized(url, response) if response.status == 401 else ""
        raise MediaError(f"{redact_credentials(url)} answers {response.status} {response.reason}{hint}")
    return response


def _send_get(url: str, on_connect: Callable[[socket.socket], None], authorization: str = "") -> HTTPResponse:
    name = redact_credentials(url)
    try:
        parts = urlsplit(url)
        kind = {"http": HTTPConnection, "https": HTTPSConnection}[parts.scheme]
        if not parts.hostname:
            raise ValueError
        connection = kind(parts.hostname, parts.port, timeout=CONNECT_TIMEOUT_S)
    except (ValueError, KeyError, HTTPException):
        raise MediaError(f"{name} is not an http address{advise_encoding(url)}") from None
    headers = {"Accept": "multipart/x-mixed-replace, */*", "Connection": "close"}
    if authorization:
        headers["Authorization"] = authorization
    try:
        connection.connect()
        on_connect(connection.sock)
        connection.request("GET", _format_path(url), headers=headers)
        response = _await_answer(connection)
        if connection.sock is not None:  # left open by a server that wants to go on; now the response's alone
            connection.sock.close()
        return response
    except InvalidURL:
        raise MediaError(f"{name} is not an http address: spaces are written %20") from None
    except (OSError, HTTPException, ValueError) as error:
        connection.close()
        # Where the address is misread, a text can name a piece of the password as the host.
        cause = None if "…@" in name else error
        kind = "there is no such host" if isinstance(error, socket.gaierror) else type(error).__name__
        reason = f"{cause or kind}{advise_encoding(url)}"
        raise MediaError(f"cannot reach {name}: {reason}") from cause


def _await_answer(connection: HTTPConnection) -> HTTPResponse:
    """The head of the answer. A socket's own timeout is for each piece of it only."""
    waiting, is_late = connection.sock, threading.Event()

    def end_wait() -> None:
        is_late.set()
        with suppress(OSError):
            waiting.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(ANSWER_TIMEOUT_S, end_wait)
    timer.daemon = True
    timer.start()
    try:
        response = connection.getresponse()
    finally:
        timer.cancel()
    if is_late.is_set():  # for http.client, what came until then is all of it
        response.close()
        raise TimeoutError(f"its answer takes longer than {ANSWER_TIMEOUT_S:.0f} s")
    return response


def _resolve_redirect(url: str, location: str) -> str:
    """The new address; name and password go along to the same server, and to no other."""
    try:
        old, new = urlsplit(url), urlsplit(urljoin(url, location))
    except ValueError:
        problem = f"sends us to {redact_credentials(location)!r}, which is not an address"
        raise MediaError(f"{redact_credentials(url)} {problem}") from None
    same = (old.scheme, old.netloc.rpartition("@")[2]) == (new.scheme, new.netloc)
    return urlunsplit(new._replace(netloc=old.netloc) if same else new)


def _format_path(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _parse_challenges(response: HTTPResponse) -> dict[str, str]:
    """What kinds of authentication a server offers, in lower case, with their parameters."""
    offers = response.headers.get_all("WWW-Authenticate") or []
    return {kind.lower(): parameters for kind, _, parameters in (offer.partition(" ") for offer in offers)}


def _make_authorization(url: str, challenges: dict[str, str]) -> str:
    """The name and password of `url` as the server wants them; "" if that cannot be.

    They are sent on request only: a server that asks for Digest never gets the password in clear.
    """
    parts = urlsplit(url)
    if parts.username is None:
        return ""
    name, password = unquote(parts.username), unquote(parts.password or "")
    if "digest" in challenges:
        address = f"{parts.scheme}://{parts.netloc}{_format_path(url)}"
        return _make_digest(address, name, password, challenges["digest"])
    if "basic" in challenges:
        return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
    return ""


def _make_digest(url: str, name: str, password: str, challenge: str) -> str:
    passwords = request.HTTPPasswordMgrWithDefaultRealm()
    passwords.add_password(None, url, name, password)  # pyright: ignore[reportArgumentType]
    try:
        fields = request.parse_keqv_list([field for field in request.parse_http_list(challenge) if field])
        answer = request.HTTPDigestAuthHandler(passwords).get_authorization(request.Request(url), fields)
    except (ValueError, URLError):  # an algorithm that Python does not have, or nonsense
        return ""
    return f"Digest {answer}" if answer else ""


def _explain_unauthorized(url: str, response: HTTPResponse) -> str:
    """What to do about a 401."""
    kinds = _parse_challenges(response)
    if kinds and not kinds.keys() & {"basic", "digest"}:
        schemes = " or ".join(kind.capitalize() for kind in kinds)
        return f"; it wants {schemes} authentication, supported are Basic and Digest: change it in the camera"
    if urlsplit(url).username is not None:
        return f"; name or password is wrong{advise_encoding(url)}"
    return "; put the name and password into the address: http://NAME:PASSWORD@HOST/"
