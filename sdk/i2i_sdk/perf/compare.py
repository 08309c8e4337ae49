"""What changed between two runs, beyond what the machine's unsteadiness explains."""

from __future__ import annotations

from dataclasses import dataclass

from i2i_sdk.errors import InputError
from i2i_sdk.perf.record import Record, Row

MIN_CHANGE = 0.05  # two runs on a quiet machine may differ by so much

# Facts that differ between any two runs, and say nothing about the machine.
VOLATILE_FACTS = {"load_1min", "checks", "rounds", "seconds"}


@dataclass(frozen=True)
class Change:
    """One time of one row in both runs, in milliseconds."""

    row: Row  # of the later run
    quantity: str
    before_ms: float
    after_ms: float
    noise: float  # share that the two runs' spreads explain
    faster_before: float | None = None  # times faster than the baseline, where both runs have the same
    faster_after: float | None = None

    @property
    def share(self) -> float:
        """0.1: takes 10 % longer; -0.1: 10 % less."""
        return self.after_ms / self.before_ms - 1

    @property
    def verdict(self) -> str:
        """ "slower", "faster", or "same" where the noise explains it.

        A change of the whole machine moves a row and its baseline alike; then the ratio stays, and it is the
        machine's change, not the row's. That is believed only where no version changed: a new ONNX Runtime
        moves its variants and the baseline alike, too.
        """
        if abs(self.share) <= self.noise:
            return "same"
        if self.faster_before and self.faster_after:
            relative = self.faster_before / self.faster_after - 1
            if abs(relative) <= self.noise:
                return "same as the baseline's"
        return "slower" if self.share > 0 else "faster"


def find_changes(before: Record, after: Record) -> list[Change]:
    """Everything that both runs timed. Raises InputError where that is nothing or `before` is marked."""
    if not before.is_trusted:
        marks = "; ".join(before.conditions.marks)
        advice = "Measure again on a machine that is left alone"
        raise InputError(f"the first run cannot be a reference: {marks}. {advice}")
    if before.part != after.part:
        parts = f"the first file is of {before.part}, the second of {after.part}"
        raise InputError(f"{parts}: give two of one part")
    rows = {row.key: row for row in before.rows}
    same = before.baseline == after.baseline and not find_machine_differences(before, after)
    found = [
        compute_change(rows[row.key], row, quantity, same)
        for row in after.rows
        if row.key in rows
        for quantity in row.times
        if quantity in rows[row.key].times
    ]
    if not found:
        raise InputError("the two files have no time in common: they are of other models, sizes or variants")
    return found


def compute_change(before: Row, after: Row, quantity: str, same_baseline: bool) -> Change:
    """Of one time.

    Args:
        before: the row of the earlier run.
        after: the row of the later run.
        quantity: one of `record.TIMES` that both have.
        same_baseline: whether "faster" means the same in both.

    Returns:
        The change of the median.
    """
    old, new = before.times[quantity], after.times[quantity]
    noise = max(MIN_CHANGE, old.spread + new.spread)  # share by which two medians may differ for no reason
    ratios = (row.values.get("faster") if same_baseline else None for row in (before, after))
    return Change(after, quantity, old.median_ms, new.median_ms, noise, *ratios)


def find_unmatched_rows(before: Record, after: Record) -> tuple[list[Row], list[Row]]:
    """Rows of which a time was lost, because they are gone or did not run; and rows that have a new one."""
    return _find_missing_rows(before.rows, after.rows), _find_missing_rows(after.rows, before.rows)


def _find_missing_rows(rows: tuple[Row, ...], others: tuple[Row, ...]) -> list[Row]:
    timed = {row.key: set(row.times) for row in others}
    return [row for row in rows if set(row.times) - timed.get(row.key, set())]


def find_machine_differences(before: Record, after: Record) -> dict[str, tuple[object, object]]:
    """Facts of machine and run that are not the same: processor, versions, threads, checkpoint."""
    old, new = {**before.machine, **before.facts}, {**after.machine, **after.facts}
    names = [name for name in dict.fromkeys([*old, *new]) if name not in VOLATILE_FACTS]
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}
