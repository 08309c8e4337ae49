"""The curves of finished runs in the docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.run_curves import draw_run, main

DOCS = Path(__file__).parents[3] / "docs"
UNPAIRED = {
    ("loss", "D_A"): [(50, 0.5), (100, 0.4)],
    ("loss", "cycle_A"): [(50, 0.2), (100, 0.1)],
    ("score", "swd_AtoB"): [(100, 70.0)],
    ("score", "swd_BtoA"): [(100, 60.0)],
    ("score", "edge_similarity_AtoB"): [(100, 0.5)],
}


def test_the_left_shows_adversarial_losses_and_the_right_the_first_known_score() -> None:
    left, right = draw_run(UNPAIRED).axes
    assert left.get_ylabel() == "adversarial loss"
    assert "SWD" in right.get_ylabel()
    # Two curves and a ring around the best of each.
    assert (len(left.lines), len(right.lines)) == (1, 4)


def test_pairs_are_judged_by_their_distance() -> None:
    figure = draw_run({**UNPAIRED, ("score", "l1"): [(100, 10.0), (200, 9.0)]})
    assert "L1" in figure.axes[1].get_ylabel()


def test_a_run_without_scores_is_refused() -> None:
    with pytest.raises(SystemExit, match="l1, psnr, swd"):
        draw_run({("loss", "D"): [(50, 0.5)]})


def test_every_run_of_the_docs_has_its_curves_and_is_shown(tmp_path: Path) -> None:
    runs = sorted((DOCS / "runs").glob("*.csv"))
    assert runs
    page = (DOCS / "training.md").read_text()
    for run in runs:
        assert run.with_suffix(".svg").is_file(), f"python -m benchmarks.run_curves docs/runs; {run.stem}"
        assert f"runs/{run.stem}.svg" in page
    (tmp_path / "a.csv").write_bytes(runs[0].read_bytes())
    assert main([str(tmp_path)]) == 0
    assert re.search(r"<svg.*</svg>", (tmp_path / "a.svg").read_text(), re.DOTALL)
