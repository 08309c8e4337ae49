"""What all pictures share: colors that any eye tells apart, type for a phone, files that stay the same."""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from benchmarks.reporting.formats import CROSS

# Neutral colors, each used for nothing else, so that the report can exchange them on a dark page.
PAPER, INK, MUTED, FAINT = "#ffffff", "#1b1f24", "#667080", "#d8dde3"
WIDTH = 4.8  # inches; at 360 px a point of type is then about a pixel
SMALL, NORMAL, LARGE = 10, 11, 12.5  # points
TEXT_BACKGROUND = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}  # a name, so that no grid crosses it
RC_PARAMS: dict[Any, Any] = {
    "svg.hashsalt": "i2i",  # the same file for the same figures
    "svg.fonttype": "path",  # looks the same where the font is not installed
    "text.parse_math": False,  # a "$" in a name is a dollar
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": NORMAL,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": NORMAL,
    "axes.titlesize": NORMAL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": FAINT,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
}


class PlotStyle(NamedTuple):
    """How a precision or an engine is drawn."""

    color: str
    marker: str
    size: float  # of the marker, so that all look equally large


# Colors of Okabe and Ito; the marker differs too.
PRECISIONS = {
    "fp32": PlotStyle("#0072B2", "o", 8),
    "fp16": PlotStyle("#CC79A7", "D", 7),
    "bf16": PlotStyle("#E69F00", "s", 7.5),
    "int8": PlotStyle("#009E73", "^", 9),
}
OTHER_STYLE = PlotStyle("#56B4E9", "P", 9)
MARKER_SIGNS = {"o": "\u25cf", "D": "\u25c6", "s": "\u25a0", "^": "\u25b2"}  # markers as letters
ENGINES: dict[str, tuple[str, Any]] = {  # a word of the name -> the engine, and its line
    "compile": ("torch.compile", (0, (1, 1))),
    "openvino": ("OpenVINO", "-"),
    "onnx": ("ONNX Runtime", (0, (5, 2))),
    "ort": ("ONNX Runtime", (0, (5, 2))),
    "ncnn": ("ncnn", (0, (1, 1.5))),
    "torch": ("PyTorch", (0, (5, 2, 1, 2))),
    "trt": ("TensorRT", (0, (3, 1, 1, 1, 1, 1))),
    "tensorrt": ("TensorRT", (0, (3, 1, 1, 1, 1, 1))),
    "coreml": ("Core ML", (0, (8, 3))),
}


@dataclass(frozen=True)
class Picture:
    """A drawing with what a page says of it."""

    kind: str  # "front", "roofline", "histogram" or "growth"
    parts: tuple[str, ...]  # of its file's name: of what it is
    title: str
    alt: str  # for those who cannot see it
    figure: Figure

    @property
    def slug(self) -> str:
        """Its file's name without a suffix."""
        return make_slug(self.kind, *self.parts)


def get_precision(name: str) -> str | None:
    """The precision that a variant's name tells."""
    return next((precision for precision in PRECISIONS if precision in name.lower()), None)


def get_style(name: str) -> PlotStyle:
    """A variant's color and marker: those of its precision."""
    precision = get_precision(name)
    return PRECISIONS[precision] if precision else OTHER_STYLE


def get_engine(name: str) -> tuple[str, Any]:
    """A variant's engine and the style of its lines; its own name where the engine is not known."""
    return next((engine for word, engine in ENGINES.items() if word in name.lower()), (name, "-"))


def make_slug(*parts: str) -> str:
    """A file's name: letters, digits, dots, "_" and "-" only."""
    text = "-".join(part for part in parts if part).replace(f" {CROSS} ", "x")
    return re.sub(r"(-|[^\w.])+", "-", text, flags=re.ASCII).strip("-.").lower()


def truncate(text: str, max_length: int = 30) -> str:
    """One line that fits; the tables have the whole name."""
    text = " ".join(text.split())
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"


def apply_style() -> AbstractContextManager[None]:
    """Draw and write within it."""
    return matplotlib.rc_context(RC_PARAMS)


def annotate(
    axes: Any, text: str, point: tuple[float, float], offset: tuple[float, float], **how: Any
) -> Any:
    """Small text beside a point; the offset is on paper, in points of 1/72 inch."""
    return axes.annotate(text, point, offset, textcoords="offset points", fontsize=SMALL, **how)


def create_figure(height: float, title: str) -> Figure:
    """A figure of the common width, its title to the left."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = Figure(figsize=(WIDTH, height), dpi=200, layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06))
    FigureCanvasAgg(figure)  # draws to a file, without a display and without pyplot's state
    figure.suptitle(truncate(title, 42), x=0.02, ha="left", fontsize=LARGE, fontweight="bold")
    return figure


def render_svg(picture: Picture, source: str = "") -> str:
    """The drawing as SVG, equal for equal figures. source: what it was drawn from, kept in the file."""
    buffer = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Title": picture.title, "Source": source or None}
    with apply_style():
        picture.figure.savefig(buffer, format="svg", metadata=metadata)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def write_picture(picture: Picture, folder: Path) -> tuple[Path, Path]:
    """SLUG.png and SLUG.svg in a folder that is there."""
    png, svg = folder / f"{picture.slug}.png", folder / f"{picture.slug}.svg"
    with apply_style():
        picture.figure.savefig(png, metadata={"Software": None})
    svg.write_text(render_svg(picture), encoding="utf-8")
    return png, svg
