"""What the server takes and gives, as OpenAPI describes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from i2i_sdk.imaging.geometry import FITS


class Encoding(BaseModel):
    """How results are written."""

    format: Annotated[Literal["jpeg", "png", "webp"], Field(description="Of the answer.")] = "jpeg"
    quality: Annotated[int, Field(ge=1, le=100, description="Of JPEG and WebP.")] = 80


class TranslateOptions(Encoding, extra="forbid"):
    """The query of POST /v1/translate."""

    model: Annotated[str | None, Field(description="Default: the first that is served.")] = None
    quality: Annotated[int, Field(ge=1, le=100, description="Of JPEG and WebP.")] = 90


class OnDevice(BaseModel):
    """A graph that a browser can run itself: uint8 [N, height, width, channels] RGB in and out."""

    url: Annotated[str, Field(description="Where to fetch it, an ONNX file.")]
    precision: Annotated[str, Field(description="fp32, fp16 …")]
    height: int
    width: int
    channels: Annotated[int, Field(description="Of its input: 1 (gray) or 3 (RGB).")]
    bytes: Annotated[int, Field(description="Size of the file.")]
    sha256: Annotated[str, Field(description="Of the file, 64 hex digits.")]
    macs: Annotated[int | None, Field(description="Multiply-accumulates of one picture; null if unknown.")]


class OnServer(BaseModel):
    """The engine that translates on the server."""

    backend: Annotated[str, Field(description="ort, openvino, trt …")]
    precision: Annotated[str, Field(description="What the engine computes in, read back after loading.")]
    provider: Annotated[str, Field(description="What it runs on, read back after loading.")]
    height: int
    width: int


class Model(BaseModel):
    """One model, and where it can run."""

    name: Annotated[str, Field(description="What other requests call it.")]
    title: Annotated[str, Field(description="For people.")]
    license: Annotated[str, Field(description="Of the weights; empty if unknown.")]
    trained_on: Annotated[str, Field(description="Empty if unknown.")]
    fit: Annotated[str, Field(description=f"How pictures meet the engine's size: {', '.join(FITS)}.")]
    channels: Annotated[int, Field(description="Of the network's input: 1 (gray) or 3 (RGB).")]
    server: OnServer
    on_device: Annotated[list[OnDevice], Field(description="Smallest first; empty: runs on the server only.")]


class FrameLimits(BaseModel):
    """What a frame may have at most."""

    max_frame_bytes: int
    max_pixels: int


class ModelList(BaseModel):
    """Every model that is served."""

    default: Annotated[str, Field(description="The model that is taken where none is named.")]
    models: list[Model]
    limits: FrameLimits


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: Annotated[str, Field(description="For programs, for example too_large.")]
    message: Annotated[str, Field(description="What was given, what is allowed, what to do.")]


class Error(BaseModel):
    """The body of every error."""

    error: ErrorDetail
