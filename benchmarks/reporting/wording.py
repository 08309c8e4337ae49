"""What the HTML report and docs/benchmarks.md both say about records, in plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.reporting.choice import MAX_PSNR
from benchmarks.reporting.formats import (
    format_number,
    format_share,
    format_size,
    format_title,
    get_display_name,
)
from benchmarks.reporting.power_laws import MAX_EXCESS, Fit, fit_growth, select_superlinear
from benchmarks.reporting.record_tables import Table
from i2i_sdk.perf.record import TIMES, VALUES, Conditions, Record

STATISTICS = {
    "median, min, p95, p99": "of all measured calls after the warm-up, in milliseconds",
    "\u00b1": "half the width of the 95 % confidence interval of the median over the rounds, as a share of "
    "the median: what it is uncertain by",
}
BOLD_NOTE = f"""Bold is worth choosing: no other variant is both faster and at least as near to FP32. From
{MAX_PSNR:.0f} dB on no eye sees a difference, and all are equally near."""


def select_stable_facts(machine: dict[str, Any]) -> dict[str, Any]:
    """What stays the same of a machine from one record to the next."""
    return {key: value for key, value in machine.items() if not key.startswith("load")}


def format_conditions(measurement: Conditions) -> str:
    """How quiet the machine was, as far as it tells."""
    said = [f"{format_number(measurement.seconds)} s"]
    if measurement.load_before is not None and measurement.load_after is not None:
        said.append(f"load {measurement.load_before:.2f} before and {measurement.load_after:.2f} after")
    shares = {
        "of the processor taken by others": measurement.others,
        "by other virtual machines": measurement.stolen,
        "slower in the slowest third of the time": measurement.slowdown,
        "of the turns disturbed": measurement.disturbed,
        "as many turns thrown away as kept": measurement.repeated,
    }
    said += [f"{format_share(value)} {what}" for what, value in shares.items() if value is not None]
    if measurement.throttled is not None:
        said.append(f"throttled {measurement.throttled} times by heat")
    return ", ".join(said)


def collect_definitions(records: Sequence[Record]) -> dict[str, str]:
    """What every quantity in the records means, with the unit that the JSON has it in."""
    rows = [row for record in records for row in record.rows]
    said = dict(STATISTICS) if any(row.times for row in rows) else {}
    said |= {name: f"{TIMES[name]} (ms)" for name in TIMES if any(name in row.times for row in rows)}
    for name, (unit, meaning) in VALUES.items():
        if any(name in row.values for row in rows):
            said[get_display_name(name)] = meaning if unit == "1" else f"{meaning} ({unit} in the JSON)"
    return said


def describe_growth(records: Sequence[Record]) -> list[str]:
    """What grows worse than linearly; that nothing does; or nothing where no growth was measured."""
    found = [fit for record in records for fit in fit_growth(record.rows)]
    if not found:
        return []
    return [_format_fit(fit) for fit in select_superlinear(found)] or [
        f"None of {len(found)} fits is worse than linear by more than {format_share(MAX_EXCESS)} "
        "per doubling."
    ]


def build_growth_table(records: Sequence[Record]) -> Table | None:
    """The exponent of every fit; None where there is none."""
    found = [fit for record in records for fit in fit_growth(record.rows)]
    rows = [
        (
            f"{format_subject(fit)}, {fit.name}",
            fit.quantity,
            str(len(fit.points)),
            f"{fit.exponent:.2f}",
            format_excess(fit.excess),
        )
        for fit in found
    ]
    headings = ("", "with", "points", "exponent", "a doubling takes, by linear growth")
    return Table("All fits", headings, tuple(rows), is_collapsible=True) if rows else None


def format_subject(fit: Fit) -> str:
    """What grows: its subject, and what stayed the same: the size, or an unusual shape."""
    height, width = fit.group[:2]
    if fit.quantity == "pixels":
        return format_title(fit.subject, "" if height == width else f"{width}:{height}")
    return format_title(fit.subject, format_size(height, width))


def format_excess(excess: float) -> str:
    """0.05 -> "5 % more"."""
    return f"{format_share(abs(excess))} {'more' if excess > 0 else 'less'}"


def _format_fit(fit: Fit) -> str:
    low, high, excess = fit.worst
    return (
        f"{format_subject(fit)}, {fit.name}, with {fit.quantity}: exponent {fit.exponent:.2f}, "
        "a doubling takes "
        f"{format_excess(fit.excess)} time than by linear growth, and {format_excess(excess)} "
        f"between {low} and {high}"
    )
