"""Results on screen and as JSON, always with the machine they were measured on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from i2i_sdk.measure import Timing, machine, statistics
from i2i_sdk.tables import print_table

OUT = Path("out/bench")


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """How many times faster: the median of the ratios taken round by round."""
    return float(np.median(np.asarray(slow) / np.asarray(fast)))


def show(title: str, times: Mapping[str, Sequence[float]], baseline: str | None, **facts: object) -> None:
    """Print minimum, median, p95 and gain over `baseline` of each row; write out/bench/TITLE.json."""
    rows: list[list[str]] = []
    results: dict[str, dict[str, object]] = {}
    for name, milliseconds in times.items():
        t: Timing = statistics(list(milliseconds))
        rows.append([name, f"{t.min_ms:.2f}", f"{t.median_ms:.2f}", f"{t.p95_ms:.2f}"])
        results[name] = dict(vars(t))
        if baseline is not None:
            faster = ratio(times[baseline], milliseconds)
            rows[-1].append(f"{faster:.2f}x")
            results[name]["times_faster_than_baseline"] = faster
    where = machine()
    headings = ["", "min ms", "median ms", "p95 ms"] + ([f"faster than {baseline}"] if baseline else [])
    print_table(title, headings, rows)
    print("; ".join(f"{k} {v}" for k, v in {**facts, **where}.items()))
    OUT.mkdir(parents=True, exist_ok=True)
    record = {"title": title, "machine": where, "facts": facts, "baseline": baseline, "results": results}
    (OUT / f"{title.split(':')[0].replace(' ', '_')}.json").write_text(
        json.dumps(record, indent=1, default=str)
    )
