"""The files of the page: small ones that are asked for every time, and vendored ones that are kept."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from i2i_sdk.server.refusals import RefusedError, quote_value

STATIC_DIR = Path(__file__).parent / "static"
PATH_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # of a path: neither "..", nor hidden, nor a drive
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    "": "text/plain; charset=utf-8",  # licenses
}
# A day: vendored names do not change with their version.
CACHE_NEVER, CACHE_DAY = "no-cache", "public, max-age=86400"


@dataclass(frozen=True)
class Asset:
    """A file of the page. is_gzipped: it is stored so, under a name that ends in .gz."""

    path: Path
    media_type: str
    is_gzipped: bool
    is_vendored: bool


def find_asset(name: str) -> Asset:
    """The file that is asked for as "NAME", a path with slashes. Raises RefusedError."""
    parts = name.split("/")
    if all(PATH_PART.fullmatch(part) for part in parts):
        plain = STATIC_DIR.joinpath(*parts)
        for path in (plain, plain.with_name(f"{plain.name}.gz")):
            if path.is_file() and path.resolve().is_relative_to(STATIC_DIR.resolve()):
                media_type = MEDIA_TYPES.get(plain.suffix, "application/octet-stream")
                return Asset(path, media_type, path != plain, parts[0] == "vendor")
    raise RefusedError("not_found", f"the page has no file {quote_value(name)}")


def send_asset(asset: Asset, request: Request) -> Response:
    """The file, or 304 if the browser has this very one."""
    stat, cache = asset.path.stat(), CACHE_DAY if asset.is_vendored else CACHE_NEVER
    headers = {"ETag": f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"', "Cache-Control": cache}
    if asset.is_gzipped:
        headers["Vary"] = "Accept-Encoding"
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    content = asset.path.read_bytes()
    if asset.is_gzipped and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
    elif asset.is_gzipped:
        content = gzip.decompress(content)
    return Response(content, headers=headers, media_type=asset.media_type)
