"""How figures are written: for the terminal, the HTML report and docs/benchmarks.md alike."""

from __future__ import annotations

from collections.abc import Callable

from i2i_sdk.perf.record import VALUES, Row

MISSING, CROSS = "\u2013", "\u00d7"  # an en dash; the sign of multiplication
NOT_AVAILABLE = "not available"
IDENTICAL_DB = 120.0  # what PSNR is where no pixel differs


def format_number(value: float) -> str:
    """Three digits that count, without an exponent: 0.123, 9.87, 98.7, 304, 12345."""
    size = abs(value)
    digits = next((d for least, d in ((99.95, 0), (9.995, 1), (0.9995, 2)) if size >= least), 3)
    return f"{value:.{digits}f}"


def format_share(value: float) -> str:
    """0.883 -> "88 %"; small ones with a digit more."""
    percent = 100 * value
    return f"{percent:.1f} %" if 0.05 <= abs(percent) < 9.95 else f"{percent:.0f} %"


def format_spread(spread: float) -> str:
    """What stands behind a plus-minus sign: 0.034 -> "3 %", 0.004 -> "0.4 %"; of little use beyond 100 %."""
    percent = 100 * spread
    if percent >= 99.5:
        return "> 100 %"
    return f"{percent:.1f} %" if 0 < percent < 0.95 else f"{percent:.0f} %"


def format_ratio(value: float) -> str:
    """4.312 -> "4.31" and the sign of multiplication."""
    return f"{value:.2f}{CROSS}" if value < 10 else f"{format_number(value)}{CROSS}"


def format_decibels(value: float) -> str:
    """53.12 -> "53.1"."""
    return "identical" if value >= IDENTICAL_DB else f"{value:.1f}"


def format_count(value: float) -> str:
    """A whole number."""
    return f"{value:.0f}"


def _make_scaled_formatter(divisor: float) -> Callable[[float], str]:
    return lambda value: format_number(value / divisor)


def _format_ssim(value: float) -> str:
    return f"{value:.4f}"


SHARES = ("low", "of_peak", "of_limit", "cpu", "camera_cpu", "server_cpu", "steadier", "rss_growth")
# What stands in a cell: the unit in the column's head ("" where the cell says it) and how it is written.
FORMATS: dict[str, tuple[str, Callable[[float], str]]] = {
    "faster": ("", format_ratio),
    "psnr": ("dB", format_decibels),
    "ssim": ("", _format_ssim),
    "frames": ("", format_count),
    "macs": ("GMAC", _make_scaled_formatter(1e9)),
    "warm_up": ("calls", format_count),
    "repeated": ("turns", format_count),
    "dropped": ("frames", format_count),
    "losses": ("", format_count),
    "reconnects": ("", format_count),
    **dict.fromkeys(SHARES, ("", format_share)),
}
UNIT_FORMATS: dict[str, tuple[str, Callable[[float], str]]] = {
    "B": ("MB", _make_scaled_formatter(1e6)),
    "B/s": ("GB/s", _make_scaled_formatter(1e9)),
    "MAC/s": ("GMAC/s", _make_scaled_formatter(1e9)),
    "1": ("", format_number),
    "1/s": ("per second", format_number),
}
HEADINGS = {
    "faster": "times faster",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "of_peak": "of peak",
    "of_limit": "of roofline",
    "fps": "results",
    "fps_mean": "results of a stream",
    "fps_least": "slowest stream",
    "cpu": "CPU",
    "camera_cpu": "camera's CPU",
    "server_cpu": "server's CPU",
    "rss_growth": "memory growth",
    "warm_up": "warm-up",
    "macs": "MACs",
    "low": "in low precision",
}


def format_value(name: str, row: Row) -> str:
    """A figure of a row as written; MISSING where it has none."""
    return _get_format(name)[1](row.values[name]) if name in row.values else MISSING


def format_heading(name: str) -> str:
    """A quantity's name and unit: "memory, MB"."""
    unit = _get_format(name)[0]
    return f"{get_display_name(name)}, {unit}" if unit else get_display_name(name)


def get_display_name(name: str) -> str:
    """A quantity's name as tables have it."""
    return HEADINGS.get(name, name.replace("_", " "))


def _get_format(name: str) -> tuple[str, Callable[[float], str]]:
    unit = VALUES[name].unit
    return FORMATS.get(name) or UNIT_FORMATS.get(unit) or (unit, format_number)


def format_time(row: Row, name: str, statistic: str) -> str:
    """A statistic of a row's times, in milliseconds without the unit: time(row, "frame", "median_ms")."""
    return format_number(getattr(row.times[name], statistic)) if name in row.times else MISSING


def format_row_spread(row: Row, name: str) -> str:
    """What the median of a row's times is uncertain by."""
    return format_spread(row.times[name].spread) if name in row.times else MISSING


def format_row_size(row: Row) -> str:
    """Width by height; nothing for what has no size."""
    return format_size(row.height or 0, row.width or 0)


def format_size(height: int, width: int) -> str:
    """Width by height; nothing where one is 0."""
    return f"{width} {CROSS} {height}" if height and width else ""


def format_title(subject: str, size_text: str) -> str:
    """The title of a table or a picture."""
    return f"{subject}, {size_text}" if size_text else subject
