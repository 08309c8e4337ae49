"""Results on screen and as JSON, always with the machine and the conditions they were measured in."""

from __future__ import annotations

from pathlib import Path

from benchmarks.reporting.record_tables import build_summary, build_tables
from benchmarks.reporting.wording import format_conditions
from i2i_sdk.cli.tables import print_table
from i2i_sdk.perf.record import Record, write_record

OUT = Path("out/bench")


def publish(record: Record, name: str | None = None) -> Path:
    """Print a record; write it to out/bench/PART.json, or NAME.json where a part has several."""
    print(record.title)
    for table in build_tables(record, columns=build_summary):
        print_table(table.title, table.headings, table.rows)
        for note in table.notes:
            print(f"  {note}")
    print("; ".join(f"{fact} {value}" for fact, value in {**record.facts, **record.machine}.items()))
    print(f"conditions: {format_conditions(record.conditions)}")
    for mark in record.conditions.marks:
        print(f"NOT TO BE RELIED ON: {mark}")
    path = OUT / f"{name or record.part}.json"
    write_record(path, record)
    print(f"wrote {path}")
    return path
