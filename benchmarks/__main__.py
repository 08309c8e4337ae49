"""The suite: `python -m benchmarks` measures the short set and writes out/bench/report.html.

    python -m benchmarks                    # the short set, about 10 minutes: what `make bench` does
    python -m benchmarks overhead cold      # only some of it
    python -m benchmarks --full             # everything, at length: hours
    python -m benchmarks --report           # only the report, of what is in out/bench

Each part is a program of its own, `python -m benchmarks.PART --help`, and runs in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.reporting.pages import render_report
from benchmarks.reporting.publish import OUT
from i2i_sdk.errors import InputError
from i2i_sdk.files import write_atomically
from i2i_sdk.perf.record import Record, read_record

# Part -> its options in the short set.
SHORT: dict[str, tuple[str, ...]] = {
    "engines": ("--rounds", "4"),
    "overhead": ("--rounds", "8"),
    "cold": ("--starts", "5"),
}
FULL: dict[str, tuple[str, ...]] = {
    "engines": ("--full",),
    **dict.fromkeys(
        ("overhead", "cold", "reading", "streams", "live", "serving", "steadiness", "training", "soak"), ()
    ),
    "streams": ("--seconds", "20"),
}


def main(argv: Sequence[str]) -> int:
    """Run the parts one after the other, then the report; 1 if one failed or its promises do not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(FULL)}; default: {', '.join(SHORT)}"
    )
    parser.add_argument("--full", action="store_true", help="at length")
    parser.add_argument("--report", action="store_true", help="measure nothing")
    args = parser.parse_args(argv)
    if unknown := set(args.parts) - set(FULL):
        parser.error(f"there is no part {sorted(unknown)[0]!r}; there are: {', '.join(FULL)}")
    failed = [] if args.report else run_parts(args.parts, args.full)
    write_report()
    for part in failed:
        print(f"failed, or did not hold: python -m benchmarks.{part}")
    return 1 if failed else 0


def run_parts(parts: Sequence[str], full: bool) -> list[str]:
    """Run parts, all of the set where none is named; return those that failed."""
    options = FULL if full else {**FULL, **SHORT}
    failed: list[str] = []
    for part in parts or (FULL if full else SHORT):
        start = time.perf_counter()
        print(f"\n== {part}", flush=True)
        run = subprocess.run([sys.executable, "-m", f"benchmarks.{part}", *options[part]], check=False)
        print(f"{part} took {time.perf_counter() - start:.0f} s")
        if run.returncode:
            failed.append(part)
    return failed


def write_report() -> None:
    """out/bench/report.html of all records there; files of other formats are passed over, and named."""
    records: list[Record] = []
    for path in sorted(OUT.glob("*.json")):
        try:
            records.append(read_record(path))
        except InputError as error:
            print(f"left out: {error}")
    if not records:
        print(f"no report: {OUT} has no records")
        return
    with write_atomically(OUT / "report.html") as temporary:
        temporary.write_text(render_report(records), encoding="utf-8")
    print(f"wrote {OUT / 'report.html'}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
