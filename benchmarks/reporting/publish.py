"""Results on screen and as JSON, always with the machine and the conditions they were measured in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from i2i_sdk.cli.bench import print_record
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
    """Print what a part measured, and write it to out/bench.

    Args:
        part: such as "live".
        title: of the record.
        rows: what was measured.
        conditions: of the machine meanwhile.
        facts: options and versions; "checks" among them are what the project promises, with whether it held.
        baseline: the name of the rows that "faster" compares with.
        name: of the file, where a part has several; else it is PART.json.

    Returns:
        The part's exit code: 0 if all promises held, else 1.
    """
    record = make_record(
        part, title, tuple(rows), describe_machine(), conditions, baseline=baseline, facts=facts
    )
    print_record(record)
    path = OUT / f"{name or part}.json"
    write_record(path, record)
    print(f"wrote {path}")
    return report_promises(facts.get("checks", {}))


def report_promises(promises: Mapping[str, bool]) -> int:
    """Print every promise with whether it held; 0 if all did, else 1."""
    for promise, kept in promises.items():
        print(f"{'holds' if kept else 'DOES NOT HOLD'}: {promise}")
    return 0 if all(promises.values()) else 1
