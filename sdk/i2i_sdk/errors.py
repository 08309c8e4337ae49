"""Every error that users of i2i-sdk meet.

    I2IError
    ├── InputError         what was given cannot be used: an image, an option, a path
    ├── BundleError        a .i2i folder is invalid, tampered with, or too new
    ├── BackendError       an engine is missing, cannot run here, or is not what was asked for
    ├── MediaError         an image or video file cannot be read or written
    ├── CheckpointError    a training checkpoint is truncated, foreign or hostile
    ├── ExportError        a target could not be built
    │   └── ParityError    it was built, but its pictures differ too much
    └── TrainingError      data or options of a training run do not work

Messages say what was given, what is allowed and what to do next. The command line prints them without
a traceback and exits with 2.
"""

from __future__ import annotations

import re

# A password among the fields of an address, or among the properties of a pipeline.
SECRET_FIELD = re.compile(
    r"""(?i)((?:pas\w*|pw|pwd|psw|token|secret|key|auth)\s*=\s*)("[^"]*"|'[^']*'|[^&\s]+)"""
)


class I2IError(Exception):
    """Base of all errors raised on purpose by i2i-sdk."""


class InputError(I2IError, ValueError):
    """An image, option or path that was given cannot be used."""


class BundleError(I2IError):
    """A bundle is missing, invalid, tampered with, or written by a newer version."""


class BackendError(I2IError):
    """An engine is not installed, cannot run on this device, or does not do what was asked."""


class MediaError(I2IError):
    """An image or video file cannot be read or written."""


class CheckpointError(I2IError):
    """A training checkpoint cannot be read; nothing of it was executed."""


class ExportError(I2IError):
    """A target could not be built from the checkpoint; nothing was written."""


class ParityError(ExportError):
    """A target was built, but its pictures differ more from PyTorch's than its floor allows."""


class TrainingError(I2IError):
    """A training run cannot start or go on: its data, options or losses."""


def get_first_line(error: Exception) -> str:
    """Of what another library's error says; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def redact_credentials(text: str) -> str:
    """`text` as it may be shown: nothing before the last "@" of an address, and no password field.

    Where it is not clear what stands there, since an "@" can also be part of a path, "…@" says so.
    """
    scheme, mark, rest = text.partition("://")
    if not mark or re.search(r":(?! )|@", scheme):
        scheme, mark, rest = "", "", text
    before, at, after = rest.rpartition("@")
    if at and (mark or ":" in before):
        rest = f"…@{after}" if re.search(r"[/?#\s]", before) else after
    return SECRET_FIELD.sub(r"\1…", scheme + mark + rest)
