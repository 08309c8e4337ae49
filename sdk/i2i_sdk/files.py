"""Files as every package needs them: hashes, writing that is never half done, and what has to be closed."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from i2i_sdk.errors import MediaError

Self = TypeVar("Self")  # of Python 3.11

MAX_NAME_BYTES = 200  # of a file whose temporary name begins with its own; file systems end at 255


class Closing(ABC):
    """What is closed when a `with` block around it ends."""

    @abstractmethod
    def close(self) -> None:
        """Free what it holds. Calling it twice is allowed."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def convert_errors(
    action: str, path: Path, kinds: tuple[type[Exception], ...] = (OSError,)
) -> Generator[None]:
    """Raise what goes wrong with a media file in this block as MediaError.

    Args:
        action: what is done: "read", "write".
        path: of the file.
        kinds: of errors, which have an `errno` and a `strerror`.

    Raises:
        MediaError: why, or for a full disk which one and what to do.
    """
    try:
        yield
    except kinds as caught:
        error: Any = caught
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            folder = path.absolute().parent
            reason = f"the disk is full at {folder}; free some space there, or write to another disk"
        raise MediaError(f"cannot {action} {path}: {reason}") from error


@contextmanager
def write_atomically(path: Path, durable: bool = False) -> Generator[Path]:
    """Yield a temporary path with the same suffix beside `path`; it becomes `path` if the block succeeds.

    durable: its content is on the disk before it does, so that even a power cut leaves the old file or the
    new one. On any exception, an interrupt included, the temporary file is removed and `path` stays as it
    was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    is_short = len(os.fsencode(path.name)) <= MAX_NAME_BYTES
    stem = path.stem if is_short else hashlib.sha256(os.fsencode(path.stem)).hexdigest()
    temporary = path.with_name(f".{stem}.partial{os.getpid()}{path.suffix}")
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def create_temporary_folder(beside: Path) -> Generator[Path]:
    """A folder on the same file system as `beside`, so that moving is a rename; removed at the end."""
    beside.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{beside.name[:40]}.partial"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=beside.parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
