"""Results on screen and as JSON, always with the machine and the conditions they were measured in."""

from __future__ import annotations

from pathlib import Path

from i2i_sdk.measure.record import VALUES, Record, Row, write_record
from i2i_sdk.tables import print_table

OUT = Path("out/bench")


def publish(record: Record, name: str | None = None) -> Path:
    """Print a record; write it to out/bench/PART.json, or NAME.json where a part has several."""
    times = list(dict.fromkeys(quantity for row in record.rows for quantity in row.times))
    values = list(dict.fromkeys(quantity for row in record.rows for quantity in row.values))
    headings = ["", *(f"{time} ms (p95)" for time in times), *(f"{v} {VALUES[v].unit}" for v in values)]
    print_table(record.title, headings, [cells(row, times, values) for row in record.rows])
    for row in record.rows:
        for note in row.notes:
            print(f"{row.subject} {row.name}: {note}")
    print("; ".join(f"{name} {fact}" for name, fact in {**record.facts, **record.machine}.items()))
    for mark in record.conditions.marks:
        print(f"NOT TO BE RELIED ON: {mark}")
    path = OUT / f"{name or record.part}.json"
    write_record(path, record)
    print(f"wrote {path}")
    return path


def cells(row: Row, times: list[str], values: list[str]) -> list[str]:
    """A row of the table."""
    name = f"{row.subject} {row.name}"
    shown = [f"{t.median_ms:.2f} ({t.p95_ms:.2f})" if (t := row.times.get(time)) else "-" for time in times]
    return [name, *shown, *(f"{row.values[v]:.4g}" if v in row.values else "-" for v in values)]
