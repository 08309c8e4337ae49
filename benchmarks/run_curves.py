"""Curves of finished training runs, for the docs.

    python -m benchmarks.run_curves docs/runs

Reads every `NAME.csv` (a run's metrics.csv) of the folder and writes `NAME.svg` beside it: the adversarial
losses, and the held-out score that picks the best checkpoint.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from i2i_training.report.curves import Curve, draw_curves
from i2i_training.run.journal import Curves, read_metrics

ADVERSARIAL = r"(D|G|gan|G_gan)(_[AB])?"
# The first that a run has is shown; 1: higher is better, -1: lower.
SCORES = {
    "l1": ("held-out L1 (gray levels)", -1),
    "psnr": ("held-out PSNR (dB)", 1),
    "swd": ("held-out patch distance (SWD)", -1),
}


def main(argv: Sequence[str]) -> int:
    """Draw every run of the folder again."""
    for path in sorted(Path(argv[0]).glob("*.csv")):
        figure = draw_run(read_metrics(path))
        with matplotlib.rc_context({"svg.hashsalt": "i2i"}):  # the same file for the same figures
            figure.savefig(path.with_suffix(".svg"), metadata={"Date": None, "Creator": None})
        print(f"wrote {path.with_suffix('.svg')}")
    return 0


def draw_run(curves: Curves) -> Figure:
    """One run: losses on the left, the score on the right with a ring around the best."""
    figure = Figure(figsize=(8.4, 2.8), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    draw_curves(left, select_curves(curves, "loss", ADVERSARIAL), "adversarial loss")
    for score, (label, better) in SCORES.items():
        if chosen := select_curves(curves, "score", f"{score}(_.*)?"):
            draw_curves(right, chosen, label, better)
            return figure
    raise SystemExit(f"a run without held-out scores has no curve to show; any of {', '.join(SCORES)}")


def select_curves(curves: Curves, kind: str, pattern: str) -> dict[str, Curve]:
    """Curves of a kind whose whole name matches.

    Args:
        curves: of a run, by kind and name.
        kind: "loss" or "score".
        pattern: a regular expression.

    Returns:
        Curves by name.
    """
    return {name: curve for (k, name), curve in curves.items() if k == kind and re.fullmatch(pattern, name)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
