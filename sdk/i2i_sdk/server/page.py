"""The files of the page: small ones that are asked for every time, and vendored ones that are kept."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from i2i_sdk.server.refusals import RefusedError, quote_value

STATIC_DIR = Path(__file__).parent / "static"
PATH_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # of a path: neither "..", nor hidden, nor a drive
# Python's own table differs between its versions, and on Windows with what is installed.
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    "": "text/plain; charset=utf-8",  # licenses
}
# A day: vendored names do not change with their version.
CACHE_NEVER, CACHE_DAY = "no-cache", "public, max-age=86400"


def send_file(name: str, request: Request) -> Response:
    """The file that is asked for as "NAME", a path with slashes, or 304 if the browser has this very one.

    Raises RefusedError.
    """
    path = _find_file(name)
    stat, cache = path.stat(), CACHE_DAY if name.startswith("vendor/") else CACHE_NEVER
    headers = {"ETag": f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"', "Cache-Control": cache}
    is_packed = path != STATIC_DIR / name
    if is_packed:
        headers["Vary"] = "Accept-Encoding"
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    content = path.read_bytes()
    if is_packed and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    elif is_packed:
        content = gzip.decompress(content)
    media_type = MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream")
    return Response(content, headers=headers, media_type=media_type)


def _find_file(name: str) -> Path:
    """Where it is stored: as it is, or packed under a name that ends in .gz."""
    if all(PATH_PART.fullmatch(part) for part in name.split("/")):
        for path in (STATIC_DIR / name, STATIC_DIR / f"{name}.gz"):
            if path.is_file() and path.resolve().is_relative_to(STATIC_DIR.resolve()):
                return path
    raise RefusedError("not_found", f"the page has no file {quote_value(name)}")
