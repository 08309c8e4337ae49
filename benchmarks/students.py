"""Small networks beside the full one that they learned from, in the same rounds.

    python -m benchmarks.students TEACHER.i2i STUDENT.i2i=RUN …

First the teacher's variants are timed, then its fastest takes turns with all of the students. RUN is the
folder of `i2i distill`, whose gates.json says what is left of the teacher's effect; without it only times
are measured. All bundles are of one size.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.reporting.publish import publish
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.bundle.manifest import Variant
from i2i_sdk.errors import BackendError, I2IError, InputError
from i2i_sdk.perf.bench import (
    BenchOptions,
    collect_candidates,
    collect_facts,
    format_threads,
    make_row,
    shorten_name,
)
from i2i_sdk.perf.candidates import Candidate, CandidateTimings, compare
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Row
from i2i_sdk.perf.timing import compute_median_ratio
from i2i_training.metrics.effect import GATE_BLUR
from i2i_training.report.run_report import GATES

FIRST_ROUNDS = 2  # to find the teacher's fastest variant


@dataclass(frozen=True)
class JudgedBundle:
    """A bundle, and what is known of its effect."""

    bundle: Bundle
    effect: Mapping[str, float]

    @property
    def name(self) -> str:
        """Of the file: two students of a teacher may have the same name."""
        return self.bundle.path.stem

    def name_row(self, variant: Variant) -> str:
        """NETWORK, VARIANT."""
        return f"{self.name}, {shorten_name(variant)}"


def main(argv: Sequence[str]) -> int:
    """Measure, print, write out/bench/students_TEACHER.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.students", description=__doc__)
    parser.add_argument("teacher", metavar="TEACHER.i2i")
    parser.add_argument("students", nargs="+", metavar="STUDENT.i2i[=RUN]")
    parser.add_argument("--rounds", type=int, default=10, help="of turns")
    parser.add_argument("--threads", type=int, help="of the engines; default: their own choice")
    args = parser.parse_args(argv)
    try:
        return measure(args)
    except I2IError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def measure(args: argparse.Namespace) -> int:
    """As the options say. Raises I2IError."""
    teacher, students = read_network(args.teacher), [read_network(text) for text in args.students]
    sizes = {(v.height, v.width) for each in (teacher, *students) for v in each.bundle.manifest.variants}
    if len(sizes) > 1:
        found = ", ".join(f"{height}x{width}" for height, width in sorted(sizes))
        raise InputError(f"the bundles have variants of {found}; export all at one --size")
    options = BenchOptions(args.rounds, threads=args.threads)
    with QuietMonitor() as quiet:
        fastest = find_fastest(teacher, options)
        candidates = [fastest, *(each for student in students for each in collect(student, options))]
        comparison = compare(candidates, args.rounds, check_steady=quiet.check_steady, progress=print)
        quiet.count_turns(comparison.turns)
    if fastest.name not in comparison.timings:
        raise BackendError(f"{fastest.name} did not run: {comparison.reasons[fastest.name]}")
    rows = make_rows(teacher, students, fastest.name, comparison.timings)
    facts: dict[str, Any] = {"rounds": args.rounds, "threads": format_threads(args.threads)}
    if comparison.reasons:
        facts["left out"] = comparison.reasons
    title, name = f"students of {teacher.name}", f"students_{teacher.name}"
    return publish("students", title, rows, quiet.conditions, facts, baseline=fastest.name, name=name)


def read_network(text: str) -> JudgedBundle:
    """Of "BUNDLE" or "BUNDLE=RUN". Raises InputError, BundleError."""
    path, _, run = text.partition("=")
    return JudgedBundle(Bundle.read(path), read_effect(Path(run) / GATES) if run else {})


def read_effect(path: Path) -> dict[str, float]:
    """What a judged run found, as values of a row. Raises InputError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        energy = [float(value) for value in found["energy"]]
        effect = {"energy_least": min(energy), "energy_most": max(energy)}
        return {
            **effect,
            "correlation": float(found["correlation"][str(GATE_BLUR)]),
            "accepted": float(found["accepted"]),
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no gates of a student ({error}); i2i distill --judge RUN writes them"
        ) from error


def collect(network: JudgedBundle, options: BenchOptions) -> list[Candidate]:
    """A candidate for every variant that runs here, called NETWORK, VARIANT. Raises BackendError for none."""
    variants = network.bundle.manifest.variants
    names = {variant.name: network.name_row(variant) for variant in variants}
    found, reasons = collect_candidates(network.bundle, variants, 1, options)
    if not found:
        raise BackendError(f"{network.name}: no variant runs here: {reasons}")
    return [replace(candidate, name=names[candidate.name]) for candidate in found]


def find_fastest(teacher: JudgedBundle, options: BenchOptions) -> Candidate:
    """The teacher's fastest variant, by a short comparison."""
    candidates = collect(teacher, options)
    timings = compare(candidates, FIRST_ROUNDS, progress=print).timings
    if not timings:
        raise BackendError(f"{teacher.name}: none of its variants ran")
    return min(
        (candidate for candidate in candidates if candidate.name in timings),
        key=lambda candidate: timings[candidate.name].timing.median_ms,
    )


def make_rows(
    teacher: JudgedBundle,
    students: Sequence[JudgedBundle],
    baseline: str,
    timings: Mapping[str, CandidateTimings],
) -> list[Row]:
    """One for each that ran: its times, its quality, and what is left of the effect.

    Args:
        teacher: whose name is the rows' subject.
        students: of it.
        baseline: the name of the teacher's row.
        timings: by NETWORK, VARIANT.

    Returns:
        The teacher's row first.
    """
    rows: list[Row] = []
    for network in (teacher, *students):
        for variant in network.bundle.manifest.variants:
            name = network.name_row(variant)
            if name not in timings:
                continue
            row = make_row(teacher.name, name, timings[name])
            row.values.update({**collect_facts(variant, 1, {}), **network.effect})
            row.values["faster"] = compute_median_ratio(timings[baseline].medians, timings[name].medians)
            rows.append(replace(row, height=variant.height, width=variant.width))
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
