"""Every error that a client can meet: a code for programs, an HTTP status, a message for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from i2i_sdk.errors import I2IError

# code -> HTTP status. On the WebSocket the code travels alone.
STATUS = {
    "bad_request": 400,  # not a request of this protocol
    "unauthorized": 401,
    "forbidden_origin": 403,
    "forbidden_host": 403,
    "not_found": 404,
    "unknown_model": 404,
    "method_not_allowed": 405,
    "timeout": 408,
    "too_large": 413,  # bytes or pixels
    "unsupported_format": 415,
    "bad_image": 422,
    "bad_option": 422,
    "cannot_translate": 422,
    "internal": 500,
    "too_busy": 503,
    "too_many_clients": 503,
    "idle": 408,
}


MAX_SHOWN_CHARS = 80  # characters of what a client sent, in a message to it


def quote_value(value: object) -> str:
    """What a client sent, for a message: with quotes, printable, and not too long."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"


class RefusedError(I2IError):
    """A request or a frame that is answered with an error; nothing else is affected.

    Args:
        code: of `STATUS`.
        message: what was given, what is allowed, what to do.
        headers: of the HTTP answer, besides those of its status.
    """

    def __init__(self, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, STATUS[code]
        self.headers = dict(headers or {})

    def to_json(self) -> dict[str, dict[str, str]]:
        """The body of an HTTP error."""
        return {"error": {"code": self.code, "message": self.message}}


def refuse_option(wrong: Mapping[str, Any]) -> RefusedError:
    """The refusal of an option. wrong: one of the errors of pydantic."""
    name, value = wrong["loc"][-1], quote_value(wrong.get("input"))
    return RefusedError("bad_option", f"{name} is {value}: {wrong['msg']}")
