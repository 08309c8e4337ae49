"""How figures are written: for the terminal, the HTML report and docs/benchmarks.md alike."""

from __future__ import annotations

from collections.abc import Callable

from i2i_sdk.measure.record import VALUES, Row

MISSING, CROSS = "\u2013", "\u00d7"  # an en dash; the sign of multiplication
NOT_AVAILABLE = "not available"
IDENTICAL_DB = 120.0  # what PSNR is where no pixel differs


def number(value: float) -> str:
    """Three digits that count, without an exponent: 0.123, 9.87, 98.7, 304, 12345."""
    size = abs(value)
    digits = next((d for least, d in ((99.95, 0), (9.995, 1), (0.9995, 2)) if size >= least), 3)
    return f"{value:.{digits}f}"


def share(value: float) -> str:
    """0.883 -> "88 %"; small ones with a digit more."""
    percent = 100 * value
    return f"{percent:.1f} %" if 0.05 <= abs(percent) < 9.95 else f"{percent:.0f} %"


def uncertain(spread: float) -> str:
    """What stands behind a plus-minus sign: 0.034 -> "3 %", 0.004 -> "0.4 %"; of little use beyond 100 %."""
    percent = 100 * spread
    if percent >= 99.5:
        return "> 100 %"
    return f"{percent:.1f} %" if 0 < percent < 0.95 else f"{percent:.0f} %"


def times(value: float) -> str:
    """4.312 -> "4.31" and the sign of multiplication."""
    return f"{value:.2f}{CROSS}" if value < 10 else f"{number(value)}{CROSS}"


def decibels(value: float) -> str:
    """53.12 -> "53.1"."""
    return "identical" if value >= IDENTICAL_DB else f"{value:.1f}"


def count(value: float) -> str:
    """A whole number."""
    return f"{value:.0f}"


def _divided(by: float) -> Callable[[float], str]:
    return lambda value: number(value / by)


def _ssim(value: float) -> str:
    return f"{value:.4f}"


SHARES = ("low", "of_peak", "of_limit", "cpu", "camera_cpu", "server_cpu", "steadier", "rss_growth")
# What stands in a cell: the unit in the column's head ("" where the cell says it) and how it is written.
SHOWN: dict[str, tuple[str, Callable[[float], str]]] = {
    "faster": ("", times),
    "psnr": ("dB", decibels),
    "ssim": ("", _ssim),
    "frames": ("", count),
    "macs": ("GMAC", _divided(1e9)),
    "warm_up": ("calls", count),
    "repeated": ("turns", count),
    "dropped": ("frames", count),
    "losses": ("", count),
    "reconnects": ("", count),
    **dict.fromkeys(SHARES, ("", share)),
}
BY_UNIT: dict[str, tuple[str, Callable[[float], str]]] = {
    "B": ("MB", _divided(1e6)),
    "B/s": ("GB/s", _divided(1e9)),
    "MAC/s": ("GMAC/s", _divided(1e9)),
    "1": ("", number),
    "1/s": ("per second", number),
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


def value(name: str, row: Row) -> str:
    """A figure of a row as written; MISSING where it has none."""
    return _shown(name)[1](row.values[name]) if name in row.values else MISSING


def heading(name: str) -> str:
    """A quantity's name and unit: "memory, MB"."""
    unit = _shown(name)[0]
    return f"{called(name)}, {unit}" if unit else called(name)


def called(name: str) -> str:
    """A quantity's name as tables have it."""
    return HEADINGS.get(name, name.replace("_", " "))


def _shown(name: str) -> tuple[str, Callable[[float], str]]:
    unit = VALUES[name].unit
    return SHOWN.get(name) or BY_UNIT.get(unit) or (unit, number)


def time(row: Row, name: str, statistic: str) -> str:
    """A statistic of a row's times, in milliseconds without the unit: time(row, "frame", "median_ms")."""
    return number(getattr(row.times[name], statistic)) if name in row.times else MISSING


def plus_minus(row: Row, name: str) -> str:
    """What the median of a row's times is uncertain by."""
    return uncertain(row.times[name].spread) if name in row.times else MISSING


def size(row: Row) -> str:
    """Width by height; nothing for what has no size."""
    return sides(row.height or 0, row.width or 0)


def sides(height: int, width: int) -> str:
    """Width by height; nothing where one is 0."""
    return f"{width} {CROSS} {height}" if height and width else ""


def where(subject: str, sized: str) -> str:
    """The title of a table or a picture."""
    return f"{subject}, {sized}" if sized else subject
