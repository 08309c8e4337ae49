"""The kinds of TensorRT, and how they differ: as data, so that one path builds and runs with all of them.

Of these only TensorRT for RTX 1.7 was run by this project, and of it only the builder. On an H200
(compute capability 9.0) it builds for "current" and then loads neither that engine nor any other:
"TensorRT-RTX does not support this compute capability". What is said of TensorRT 10 and 11 comes from
their documentation and the names in their Python modules.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2i_sdk.errors import BackendError


@dataclass(frozen=True)
class Flavor:
    """One major version of one of the two products."""

    name: str  # as `--flavor` and the names of engine files have it
    major: int
    module: str  # of Python
    package: str  # on PyPI
    network_flags: tuple[str, ...] = ()  # of NetworkDefinitionCreationFlag
    builder_flags: tuple[str, ...] = ()  # of BuilderFlag
    compiles_lazily: bool = False  # the kernels of a new shape in the background, unless told otherwise
    builds_without_gpu: bool = False  # for named compute capabilities; else for the GPU that is there
    built_alone: tuple[str, ...] = ()  # compute capabilities that slow down what is built for others as well
    without_int8: tuple[str, ...] = ()  # compute capabilities for which INT8 convolutions become FP16


# No timing cache anywhere: RTX would need a GPU for it and never use it, and here whole engines are cached.
FLAVORS = (
    # Types loosely unless told otherwise, and may then compute an FP16 graph in FP32.
    Flavor("tensorrt", 10, "tensorrt", "tensorrt", network_flags=("STRONGLY_TYPED",)),
    Flavor("tensorrt", 11, "tensorrt", "tensorrt"),
    Flavor(
        "rtx",
        1,
        "tensorrt_rtx",
        "tensorrt-rtx",
        # Else it may allocate memory while it runs, which a CUDA graph cannot capture.
        builder_flags=("REQUIRE_USER_ALLOCATION",),
        compiles_lazily=True,
        builds_without_gpu=True,
        # Measured: 7.5 among the capabilities makes every INT8 convolution FP16, for all of them.
        built_alone=("7.5",),
        without_int8=("7.5",),
    ),
)


@dataclass(frozen=True)
class Library:
    """An installed TensorRT."""

    flavor: Flavor
    version: str  # of the module; engines run with exactly the version that built them
    capabilities: tuple[str, ...] = ()  # that it builds for; () where it builds for the GPU that is there

    def import_module(self) -> Any:
        """The Python module."""
        return importlib.import_module(self.flavor.module)


def find_installed(names: Sequence[str] = ("tensorrt", "rtx")) -> tuple[Library, ...]:
    """What is installed of these flavors, TensorRT before RTX.

    Raises BackendError for a package that is there and cannot be imported, or is of an unknown version.
    """
    modules = dict.fromkeys(f.module for f in FLAVORS if f.name in names)
    return tuple(_load_library(m) for m in modules if importlib.util.find_spec(m) is not None)


def _load_library(name: str) -> Library:
    try:
        module: Any = importlib.import_module(name)
        version = str(module.__version__)
    except (ImportError, OSError, AttributeError) as error:  # its libraries are loaded by hand
        advice = "Install it again"
        raise BackendError(f"{name} is installed but cannot be imported: {error}. {advice}") from error
    flavor = find_flavor(name, version)
    kinds: Any = module.ComputeCapability.__members__ if flavor.builds_without_gpu else ()
    return Library(flavor, version, tuple(c for c in map(parse_capability, kinds) if c))


def find_flavor(module: str, version: str) -> Flavor:
    """The differences of a module of this version. Raises BackendError for a major version not known."""
    known = {f.major: f for f in FLAVORS if f.module == module}
    major = version.split(".")[0]
    if not major.isdecimal() or int(major) not in known:
        majors = ", ".join(map(str, known))
        raise BackendError(f"{module} {version}: its major version is not known; known: {majors}")
    return known[int(major)]


def parse_capability(member: str) -> str | None:
    """A compute capability as TensorRT writes it, "SM120", or a user, "120", "12.0": "12.0". Else None.

    Example:
        >>> parse_capability("SM75"), parse_capability("12.0"), parse_capability("CURRENT")
        ('7.5', '12.0', None)
    """
    match = re.fullmatch(r"(?:SM)?(\d{1,2})\.?(\d)", member)
    return f"{match[1]}.{match[2]}" if match else None


@dataclass(frozen=True)
class EngineFile:
    """A built engine, described by its file's name."""

    path: Path
    flavor: str
    version: str
    capabilities: tuple[str, ...]


def format_engine_name(stem: str, library: Library, capabilities: Sequence[str]) -> str:
    """How the file of an engine is called.

    Args:
        stem: its variant's name.
        library: the TensorRT that built it.
        capabilities: compute capabilities that it was built for, "8.9".

    Returns:
        A file's name that `parse_engine_name` reads.

    Example:
        >>> library = Library(FLAVORS[1], "11.4.0")
        >>> format_engine_name("trt-fp16-256x256", library, ["8.9", "12.0"])
        'trt-fp16-256x256.tensorrt-11.4.0.sm89-120.engine'
    """
    shown = "-".join(c.replace(".", "") for c in capabilities)
    return f"{stem}.{library.flavor.name}-{library.version}.sm{shown}.engine"


def parse_engine_name(path: Path) -> EngineFile | None:
    """What `format_engine_name` wrote; None for another file."""
    match = re.fullmatch(r".*\.([a-z]+)-([0-9.]+)\.sm([0-9]{2,3}(?:-[0-9]{2,3})*)\.engine", path.name)
    if match is None:
        return None
    capabilities = tuple(f"{text[:-1]}.{text[-1]}" for text in match[3].split("-"))
    return EngineFile(path, match[1], match[2], capabilities)
