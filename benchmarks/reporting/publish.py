"""Results on screen and as JSON, always with the machine and the conditions they were measured in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.reporting.record_tables import build_tables
from benchmarks.reporting.wording import format_conditions
from i2i_sdk.cli.tables import print_table
from i2i_sdk.perf.machine import describe_machine
from i2i_sdk.perf.record import Conditions, Row, make_record, write_record

OUT = Path("out/bench")


def publish(
    part: str,
    title: str,
    rows: Sequence[Row],
    conditions: Conditions,
    facts: dict[str, Any],
    *,
    baseline: str | None = None,
    name: str | None = None,
) -> int:
    """Print what a part measured, and write it to out/bench/PART.json, or NAME.json where it has several.

    facts: options and versions; "checks" among them are what the project promises, each with whether it held.
    Returns the part's exit code: 0 if all held, else 1.
    """
    record = make_record(
        part, title, tuple(rows), describe_machine(), conditions, baseline=baseline, facts=facts
    )
    print(record.title)
    for table in build_tables(record):
        print_table(table.title, table.headings, table.rows)
        for note in table.notes:
            print(f"  {note}")
    print("; ".join(f"{fact} {value}" for fact, value in {**record.facts, **record.machine}.items()))
    print(f"conditions: {format_conditions(record.conditions)}")
    for mark in record.conditions.marks:
        print(f"NOT TO BE RELIED ON: {mark}")
    path = OUT / f"{name or part}.json"
    write_record(path, record)
    print(f"wrote {path}")
    return report_promises(facts.get("checks", {}))


def report_promises(promises: Mapping[str, bool]) -> int:
    """Print every promise with whether it held; 0 if all did, else 1."""
    for promise, kept in promises.items():
        print(f"{'holds' if kept else 'DOES NOT HOLD'}: {promise}")
    return 0 if all(promises.values()) else 1
