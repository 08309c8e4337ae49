"""The routes. What they do is elsewhere: `client_session.py`, `service.py`, `page.py`, `models.py`.

OpenAPI shows the docstrings of those that it lists.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any, NoReturn

import anyio
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, PlainTextResponse, Response
from fastapi.security import HTTPBearer
from prometheus_client import generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from i2i_sdk import __version__
from i2i_sdk.server import schema
from i2i_sdk.server.client_session import Streams
from i2i_sdk.server.encoded_images import MEDIA_TYPES
from i2i_sdk.server.models import Models
from i2i_sdk.server.page import send_file
from i2i_sdk.server.refusals import STATUS, RefusedError, quote_value, refuse_option
from i2i_sdk.server.security import Guard
from i2i_sdk.server.service import Service
from i2i_sdk.server.settings import BODY_SECONDS, ServeOptions

DESCRIPTION = """Image-to-image translation, picture by picture.

Live video goes over the WebSocket `/v1/stream`, which OpenAPI cannot describe: see docs/live.md."""

# Checked in `security.py`; here it tells OpenAPI, where the server asks for a token.
TOKEN = Depends(HTTPBearer(auto_error=False, description="What the server was started with: --token."))
CODES = "; ".join(f"{status} {code}" for code, status in STATUS.items())
REFUSED = {"model": schema.Error, "description": f"It was refused: {CODES}."}
PICTURE = {"schema": {"type": "string", "format": "binary"}}


def create_app(models: Models, options: ServeOptions | None = None) -> FastAPI:
    """The server as an ASGI application. `app.state.streams.close_all()` closes its WebSockets.

    The caller keeps `models` open meanwhile and closes them afterwards.
    """
    options = options or ServeOptions()
    service = Service(models, options.limits)
    streams = Streams(service, options.token)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        service.close()

    app = FastAPI(
        title="i2i-sdk live server",
        description=DESCRIPTION,
        version=__version__,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses={"default": REFUSED},
    )
    app.state.service, app.state.streams = service, streams
    _add_open_routes(app)
    api = APIRouter(dependencies=[TOKEN] if options.token else [])
    _add_models(api, service)
    _add_translate(api, service)
    app.include_router(api)
    app.add_api_websocket_route("/v1/stream", streams.serve)
    app.add_middleware(Guard, options=options, metrics=service.metrics)
    app.add_exception_handler(HTTPException, _refuse_address)
    app.add_exception_handler(RequestValidationError, _refuse_query)
    return app


def _add_open_routes(app: FastAPI) -> None:
    """Those that ask for no token."""
    page: dict[str, Any] = {"methods": ["GET", "HEAD"], "include_in_schema": False}

    @app.api_route("/", **page)
    def index(request: Request) -> Response:
        return send_file("index.html", request)

    @app.api_route("/static/{name:path}", **page)
    def static(name: str, request: Request) -> Response:
        return send_file(name, request)

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", summary="Does the server run?")
    async def health() -> dict[str, str]:
        """Status "ok", and the version of i2i-sdk."""
        return {"status": "ok", "version": __version__}


def _add_models(api: APIRouter, service: Service) -> None:
    """What is served, and how it does."""
    models, limits = service.models, service.limits

    @api.get("/metrics", summary="Figures for Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Frames, time per stage, clients, dropped frames, errors per code."""
        figures = generate_latest(service.metrics.registry)
        return Response(figures, media_type="text/plain; version=0.0.4; charset=utf-8")

    @api.get("/v1/models", summary="What is served")
    async def list_models() -> schema.ModelList:
        """Every model: its license, its engine on the server, its files for the browser."""
        frame = schema.FrameLimits(max_frame_bytes=limits.max_frame_bytes, max_pixels=limits.max_pixels)
        return schema.ModelList(default=models.default, models=[m.description for m in models], limits=frame)

    @api.get(
        "/v1/models/{name}/files/{sha256}.onnx",
        summary="A graph for the browser",
        response_class=FileResponse,
        responses={200: {"content": {"application/octet-stream": PICTURE}}},
    )
    async def model_file(
        name: Annotated[str, Path(description="The model.")],
        sha256: Annotated[str, Path(description="64 hex digits, as listed.")],
    ) -> Response:
        """One of the files that `on_device` lists, by its SHA-256. It never changes."""
        if (path := models.find(name).files.get(sha256)) is None:
            message = f"{name} has no file of this SHA-256 for browsers: see /v1/models"
            raise RefusedError("not_found", message)
        headers = {"Cache-Control": "private, max-age=31536000, immutable", "ETag": f'"{sha256}"'}
        return FileResponse(path, media_type="application/octet-stream", headers=headers)


def _add_translate(api: APIRouter, service: Service) -> None:
    models, limits = service.models, service.limits
    picture = {
        "description": "The translated picture.",
        "content": {kind: PICTURE for name, kind in MEDIA_TYPES.items() if name != "bmp"},
    }
    body = {
        "required": True,
        "description": f"At most {limits.max_body_bytes} bytes and {limits.max_pixels} pixels.",
        "content": dict.fromkeys(MEDIA_TYPES.values(), PICTURE),
    }

    @api.post(
        "/v1/translate",
        summary="Translate one picture",
        response_class=Response,
        responses={200: picture},
        openapi_extra={"requestBody": body},
    )
    async def translate(request: Request, options: Annotated[schema.TranslateOptions, Query()]) -> Response:
        """The body is one encoded picture: JPEG, PNG, WebP or BMP.

        The answer has its size, after the orientation that its EXIF data asks for; alpha is kept in PNG and
        WebP. `Server-Timing` says where the time went.
        """
        served = models.find(options.model)
        if service.pending.locked():
            message = f"{limits.max_pending} pictures are waiting already: send it again in a second"
            raise RefusedError("too_busy", message)
        async with service.pending:
            data = await _read_body(request, limits.max_body_bytes)
            encoded, timings = await service.translate_post(served, data, options)
        timing = ", ".join(f"{stage};dur={milliseconds:.2f}" for stage, milliseconds in vars(timings).items())
        return Response(encoded, media_type=MEDIA_TYPES[options.format], headers={"Server-Timing": timing})


async def _read_body(request: Request, max_bytes: int) -> bytes:
    """The body, no more than `max_bytes` bytes of it. Raises RefusedError."""
    if (kind := request.headers.get("content-type", "")).startswith("multipart/"):
        advice = "send the raw picture as the body, for example: curl --data-binary @photo.jpg ADDRESS"
        raise RefusedError("unsupported_format", f"the body is a form ({quote_value(kind)}); {advice}")
    message = f"the body has more than the {max_bytes} bytes that are allowed: shrink the picture"
    too_large = RefusedError("too_large", message)
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > max_bytes:
        raise too_large

    body = bytearray()
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except ClientDisconnect:
        raise RefusedError("bad_request", "the client left before its picture was here") from None
    except TimeoutError:
        raise RefusedError("timeout", f"the body was not here after {BODY_SECONDS:g} seconds") from None
    return bytes(body)


# The guard answers what these raise, in the one form that errors have.


def _refuse_query(_: Request, error: Exception) -> NoReturn:
    assert isinstance(error, RequestValidationError)
    wrong = error.errors()[0]
    if wrong["type"] == "extra_forbidden":
        message = f"there is no option {quote_value(wrong['loc'][-1])}; allowed: "
        raise RefusedError("bad_option", message + ", ".join(schema.TranslateOptions.model_fields))
    raise refuse_option(wrong)


def _refuse_address(_: Request, error: Exception) -> NoReturn:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        message = "this address is not for that method; see /openapi.json"
        raise RefusedError("method_not_allowed", message, error.headers)
    raise RefusedError("not_found", "there is no such address; /openapi.json lists those there are")
