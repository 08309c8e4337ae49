"""HTTP addresses: asking a server, as who, and what may be shown of an address."""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, InvalidURL
from urllib import request
from urllib.error import URLError
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from i2i_sdk.errors import MediaError

CONNECT_TIMEOUT_S = 5.0  # for a connection, and for an answer
MAX_REDIRECTS = 5


def open_url(url: str, on_connect: Callable[[socket.socket], None] = lambda connected: None) -> HTTPResponse:
    """GET `url` -> the response, its body unread. Raises MediaError.

    on_connect: gets every socket as soon as it is connected; shutting it ends the wait for an answer.
    """
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
        raise MediaError(f"{name} is not an http address") from None
    headers = {"Accept": "multipart/x-mixed-replace, */*", "Connection": "close"}
    if authorization:
        headers["Authorization"] = authorization
    try:
        connection.connect()
        on_connect(connection.sock)
        connection.request("GET", _format_path(url), headers=headers)
        response = connection.getresponse()
        if connection.sock is not None:  # left open by a server that wants to go on; now the response's alone
            connection.sock.close()
        return response
    except InvalidURL:
        raise MediaError(f"{name} is not an http address: spaces are written %20") from None
    except (OSError, HTTPException, ValueError) as error:
        connection.close()
        raise MediaError(f"cannot reach {name}: {error or type(error).__name__}") from error


def _resolve_redirect(url: str, location: str) -> str:
    """The new address; name and password go along to the same server, and to no other."""
    try:
        old, new = urlsplit(url), urlsplit(urljoin(url, location))
    except ValueError:
        problem = f"sends us to {location!r}, which is not an address"
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
        return "; name or password is wrong"
    return "; put the name and password into the address: http://NAME:PASSWORD@HOST/"


def redact_credentials(url: str) -> str:
    """`url` as it may be shown: without a name and password before the host or a password in the query."""
    # The second form is a password that has a "/" and ought to be quoted.
    named = r"(?<=://)(?:[^/?#\s]*@|[^/?#\s@]*:(?!\d*(?:[/?#]|$))\S*@)"
    return re.sub(r"(?i)((?:pwd|pass|passwd|password|token)=)[^&\s]+", r"\1…", re.sub(named, "", url))
