"""The page of a run: whole, self-contained, and safe whatever things are called."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from i2i_sdk.errors import TrainingError
from i2i_sdk.media.images import write_image
from i2i_training.report.curves import downsample_curve, find_best, render_curves_svg
from i2i_training.report.run_report import write_report
from i2i_training.run.journal import open_journal
from i2i_training.run.run_options import RunOptions
from i2i_training.run.sample_grids import draw_sample_grid


class ReportPage(HTMLParser):
    """Its text, tags and attributes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.words: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(self.source)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.lasttag != "style":
            self.words.append(data)

    def find_all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def list_figures(self) -> list[str | None]:
        """What each drawing says that it shows."""
        return [figure["aria-label"] for figure in self.find_all("svg")]


CONFIG = """
recipe = "cyclegan"
data = "datasets/maps"
steps = 1000
trained_on = "maps <i>& more</i>"
[optim]
lr = 2e-4
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CycleGAN run of 1,000 steps as it could have been: falling losses, rising scores, grids."""
    out = tmp_path_factory.mktemp("runs") / "my run"
    random = np.random.default_rng(0)
    target = random.integers(0, 256, (6, 6, 3), np.uint8).repeat(11, axis=0).repeat(11, axis=1)
    with open_journal(RunOptions(out=str(out)), {}) as journal:
        for step in range(5, 1001, 5):
            left = float(np.exp(-step / 300))
            cycle = {f"cycle_{side}": 0.5 + 2 * left + 0.1 * random.random() for side in "AB"}
            discriminators = {f"D_{side}": 0.25 + 0.1 * random.random() for side in "AB"}
            journal.log_step(step, discriminators | cycle, lr=2e-4 * min(1, 2 - step / 500))
            if step % 100 == 0:
                psnr = 22 - 8 * left - (2 if step == 1000 else 0)
                journal.log_scores(step, {"psnr": psnr, "psnr_BtoA": 12.0, "swd": 60 * left + 9, "odd": 1.0})
                output = np.asarray(cv2.GaussianBlur(target, (0, 0), 0.5 + 8 * left), np.uint8)
                sheet = draw_sample_grid({"input": [255 - target] * 3, "output": [output] * 3})
                for name in ("AtoB", "BtoA"):
                    write_image(out / "samples" / f"step_{step:06d}_{name}.jpg", sheet)
    (out / "config.toml").write_text(CONFIG)
    return out


@pytest.fixture(scope="module")
def page(run: Path) -> ReportPage:
    path = write_report(run)
    assert path == run / "report.html"
    return ReportPage(path)


def test_it_needs_nothing_else(page: ReportPage) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("script", "link", "iframe", "object")
        for name in ("src", "href", "xlink:href", "srcset", "data"):
            value = attributes.get(name) or "#"
            assert value.startswith(("data:image/jpeg;base64,", "#")), value
    assert "@import" not in page.source
    assert all(url.startswith("#") for url in re.findall(r"url\(([^)]*)\)", page.source))


def test_what_the_run_was(page: ReportPage) -> None:
    assert "<title>cyclegan on maps</title>" in page.source
    for words in ("1,000 of 1,000 steps", "steps per second", "0:00:0", "All 5 options", "optim.lr"):
        assert words in page.text, words
    assert "torch" in page.text
    assert re.search(r"i2i export '\S+/my run'", page.text)  # quoted for the shell


def test_scores_say_which_way_is_better(page: ReportPage) -> None:
    table = page.text[page.text.index("score final best") :]
    assert re.search(r"PSNR ↑ higher is better 19\.\d+ dB 21\.\d+ dB step 900 ", table)
    assert "PSNR BtoA ↑ higher is better 12 dB 12 dB step 100 " in table
    assert re.search(r"Patch distance \(SWD\) ↓ lower is better (\S+) \1 step 1,000 ", table)
    assert re.search(r"odd 1 (Scores|$)", table)  # nobody knows which way: no best


def test_a_figure_per_quantity_with_both_sides_in_it(page: ReportPage) -> None:
    scores, losses = ["psnr, psnr_BtoA", "swd", "odd"], ["D_A, D_B", "cycle_A, cycle_B"]
    assert page.list_figures() == [*scores, *losses, "lr", "rate"]
    assert "bands hold four of five values" in page.text


def test_grids_of_the_first_a_middle_and_the_last_step(page: ReportPage) -> None:
    images = page.find_all("img")
    assert len(images) == 6
    assert [image["alt"] for image in images] == [
        f"sample grid at step {step}" for step in ("1,000", "1,000", "100", "100", "500", "500")
    ]
    assert "AtoB at step 1,000" in page.text and "step 500 BtoA" in page.text
    data = base64.b64decode(str(images[0]["src"]).partition(",")[2])
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[:2] == (int(images[0]["height"]), int(images[0]["width"]))


# ---------------------------------------------------------------- runs with little to show


def test_a_run_with_few_losses_of_which_some_are_not_finite(tmp_path: Path) -> None:
    rows = ["50,loss,D,0.5", "2,loss,D,nan", "3,loss,D,inf", "1,loss,G,nan", "1,score,psnr,nan"]
    (tmp_path / "metrics.csv").write_text("\n".join(["step,kind,name,value", *rows, ""]))
    page = ReportPage(write_report(tmp_path))
    assert page.list_figures() == ["D"] and "50 steps" in page.text
    assert not [words for words in ("Held-out", "options", "bands") if words in page.text]


def test_a_run_that_has_only_options(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    page = ReportPage(write_report(tmp_path))
    assert "0 of 1,000 steps" in page.text and page.list_figures() == []


def test_names_from_anywhere_stay_text(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>"
    with open_journal(RunOptions(out=str(tmp_path)), {}) as journal:
        journal.log_step(1, {evil: 1.0, f"{evil}_A": 1.0})
        journal.log_scores(1, {evil: 1.0})
    (tmp_path / "config.toml").write_text(f'recipe = "{evil}"\ndata = "&<b>"\n["<i>"]\n"<u>" = "{evil}"\n')
    (tmp_path / "machine.json").write_text('{"cpu": "<em>fast</em>"}')
    page = ReportPage(write_report(tmp_path))
    assert not {"script", "i", "u", "em"} & {tag for tag, _ in page.elements}
    for words in (evil, "<em>fast</em>", "<i>.<u>", "on &<b>"):
        assert words in page.text, words


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no config.toml and no metrics.csv; give the folder"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["config.toml", "metrics.csv"])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / name).write_text("= [")
    if name == "metrics.csv":
        (tmp_path / name).write_text("a,b\n")
    with pytest.raises(TrainingError, match=name):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


# ---------------------------------------------------------------- curves


def test_long_curves_are_thinned_to_means_and_bands() -> None:
    curve = [(step, float(step % 10)) for step in range(1000)]
    steps, mean, low, high = downsample_curve(curve, points=10)
    assert steps.tolist() == [49.5 + 100 * n for n in range(10)]
    assert np.allclose(mean, 4.5) and np.allclose(low, 0.9) and np.allclose(high, 8.1)
    assert downsample_curve(curve[:3], points=10)[1].tolist() == [0.0, 1.0, 2.0]


def test_the_first_of_equal_best_values_counts() -> None:
    curve = [(1, 3.0), (2, 1.0), (3, 3.0), (4, 1.0)]
    assert find_best(curve, 1) == (1, 3.0)
    assert find_best(curve, -1) == (2, 1.0)


def test_a_figure_is_the_same_every_time_and_names_its_axes() -> None:
    svg = render_curves_svg({"D": [(0, 0.0), (10, 0.0)]}, "loss", better=-1)
    assert svg == render_curves_svg({"D": [(0, 0.0), (10, 0.0)]}, "loss", better=-1)
    assert ">loss<" in svg and ">step<" in svg
