"""What the HTML report and docs/benchmarks.md both say about records, in plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.choice import CEILING
from benchmarks.formats import called, number, share, sides, where
from benchmarks.growth import EXCESS, Fit, fits, superlinear
from benchmarks.tables import Table
from i2i_sdk.measure.record import TIMES, VALUES, Conditions, Record

STATISTICS = {
    "median, min, p95, p99": "of all measured calls after the warm-up, in milliseconds",
    "\u00b1": "half the width of the 95 % confidence interval of the median over the rounds, as a share of "
    "the median: what it is uncertain by",
}
BOLD = f"""Bold is worth choosing: no other variant is both faster and at least as near to FP32. From
{CEILING:.0f} dB on no eye sees a difference, and all are equally near."""


def settled(machine: dict[str, Any]) -> dict[str, Any]:
    """What stays the same of a machine from one record to the next."""
    return {key: value for key, value in machine.items() if not key.startswith("load")}


def conditions(measured: Conditions) -> str:
    """How quiet the machine was, as far as it tells."""
    said = [f"{number(measured.seconds)} s"]
    if measured.load_before is not None and measured.load_after is not None:
        said.append(f"load {measured.load_before:.2f} before and {measured.load_after:.2f} after")
    shares = {
        "of the processor taken by others": measured.others,
        "by other virtual machines": measured.stolen,
        "slower in the slowest third of the time": measured.slowdown,
        "of the turns disturbed": measured.disturbed,
        "as many turns thrown away as kept": measured.repeated,
    }
    said += [f"{share(value)} {what}" for what, value in shares.items() if value is not None]
    if measured.throttled is not None:
        said.append(f"throttled {measured.throttled} times by heat")
    return ", ".join(said)


def definitions(records: Sequence[Record]) -> dict[str, str]:
    """What every quantity in the records means, with the unit that the JSON has it in."""
    rows = [row for record in records for row in record.rows]
    said = dict(STATISTICS) if any(row.times for row in rows) else {}
    said |= {name: f"{TIMES[name]} (ms)" for name in TIMES if any(name in row.times for row in rows)}
    for name, (unit, meaning) in VALUES.items():
        if any(name in row.values for row in rows):
            said[called(name)] = meaning if unit == "1" else f"{meaning} ({unit} in the JSON)"
    return said


def grown(records: Sequence[Record]) -> list[str]:
    """What grows worse than linearly; that nothing does; or nothing where no growth was measured."""
    found = [fit for record in records for fit in fits(record.rows)]
    if not found:
        return []
    return [_grows(fit) for fit in superlinear(found)] or [
        f"None of {len(found)} fits is worse than linear by more than {share(EXCESS)} per doubling."
    ]


def growth_table(records: Sequence[Record]) -> Table | None:
    """The exponent of every fit; None where there is none."""
    found = [fit for record in records for fit in fits(record.rows)]
    rows = [
        (
            f"{thing(fit)}, {fit.name}",
            fit.against,
            str(len(fit.points)),
            f"{fit.exponent:.2f}",
            more(fit.excess),
        )
        for fit in found
    ]
    headings = ("", "with", "points", "exponent", "a doubling takes, by linear growth")
    return Table("All fits", headings, tuple(rows), aside=True) if rows else None


def thing(fit: Fit) -> str:
    """What grows: its subject, and what stayed the same: the size, or an unusual shape."""
    height, width = fit.where[:2]
    if fit.against == "pixels":
        return where(fit.subject, "" if height == width else f"{width}:{height}")
    return where(fit.subject, sides(height, width))


def more(excess: float) -> str:
    """0.05 -> "5 % more"."""
    return f"{share(abs(excess))} {'more' if excess > 0 else 'less'}"


def _grows(fit: Fit) -> str:
    low, high, excess = fit.worst
    return (
        f"{thing(fit)}, {fit.name}, with {fit.against}: exponent {fit.exponent:.2f}, a doubling takes "
        f"{more(fit.excess)} time than by linear growth, and {more(excess)} between {low} and {high}"
    )
