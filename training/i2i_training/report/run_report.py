"""A run on one page: `report.html`, which needs no other file and no network."""

from __future__ import annotations

import base64
import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from i2i_sdk.errors import TrainingError
from i2i_sdk.files import write_atomically
from i2i_sdk.media.images import read_image
from i2i_training.metrics import HIGHER_IS_BETTER
from i2i_training.options import flatten, read_config
from i2i_training.report.curves import MAX_POINTS, Curve, find_best, render_curves_svg
from i2i_training.run.journal import MACHINE, METRICS, Curves, parse_grid_name, read_metrics

REPORT = "report.html"
CONFIG = "config.toml"
MAX_SHEETS = 6  # at most; of the last step, and of those on the way
MAX_SHEET_WIDTH = 1000  # pixels; wider ones are reduced, so that the page stays small enough to send
SEPARATORS = r"[_/. ]"
VARIANTS = ("A", "B", "AtoB", "BtoA")  # what tells two curves of one quantity apart


class ReportScore(NamedTuple):
    """How a score is written, and which way is better: 1 higher, -1 lower, 0 not known."""

    label: str
    unit: str = ""
    better: int = 0


SCORE_LABELS = {
    "l1": ("L1", "gray levels"),
    "psnr": ("PSNR", "dB"),
    "ssim": ("SSIM", ""),
    "pixel_accuracy": ("Pixel accuracy", ""),
    "miou": ("Mean IoU", ""),
    "swd": ("Patch distance (SWD)", ""),
    "fid": ("FID", ""),
    "kid": ("KID", ""),
    "edge_similarity": ("Edge similarity", ""),
}
BETTER_LABELS = {1: "↑ higher is better", -1: "↓ lower is better", 0: ""}


class SampleSheet(NamedTuple):
    """One sheet of samples; its name is a direction, or empty."""

    step: int
    name: str
    path: Path


def write_report(out: Path) -> Path:
    """Write `report.html` into a run's folder and return its path.

    Reads what is there of config.toml (recipe, data, every option), metrics.csv (losses, held-out scores,
    pace), machine.json and samples/step_*.jpg; what is missing has no place on the page. Pictures and
    curves are inside the file. Raises TrainingError when `out` holds neither options nor metrics, or one
    of them cannot be read.

    Example:
        >>> write_report(Path("out/maps"))  # doctest: +SKIP
        PosixPath('out/maps/report.html')
    """
    if not any((out / name).is_file() for name in (CONFIG, METRICS)):
        raise TrainingError(f"{out} holds no {CONFIG} and no {METRICS}; give the folder of a training run")
    config = _read_options(out / CONFIG)
    curves = _drop_non_finite(read_metrics(out / METRICS)) if (out / METRICS).is_file() else {}
    earlier, last = _select_sheets(out / "samples")
    sections = [
        _render_tiles(config, curves),
        _render_columns(
            *map(_render_last_sheet, last), _render_section("Held-out scores", _render_score_table(curves))
        ),
        _render_section("Scores over the steps", _render_figures(curves, "score")),
        _render_section("Losses", _render_figures(curves, "loss") + _render_band_note(curves)),
        _render_section("On the way there", _render_row(map(_render_small_sheet, earlier), "small")),
        _render_section(
            "The run",
            _render_figures(curves, "run") + _render_machine(out / MACHINE) + _render_options(config),
        ),
        _render_section("What to run next", _render_next_commands(out)),
    ]
    title = f"{config.get('recipe', 'Training')} on {Path(str(config.get('data', out))).name}"
    with write_atomically(out / REPORT) as temporary:
        temporary.write_text(
            _render_page(title, _format_subtitle(out), "\n".join(sections)), encoding="utf-8"
        )
    return out / REPORT


# ---------------------------------------------------------------- what the run left behind


def _read_options(path: Path) -> dict[str, Any]:
    """Options by dotted name; none where there is no file."""
    return dict(flatten(read_config(path))) if path.is_file() else {}


def _drop_non_finite(curves: Curves) -> Curves:
    kept = {key: [(s, v) for s, v in curve if math.isfinite(v)] for key, curve in curves.items()}
    return {key: curve for key, curve in kept.items() if curve}


def _select_sheets(folder: Path) -> tuple[list[SampleSheet], list[SampleSheet]]:
    """Those on the way, from the first on, and those of the last step: at most GRIDS, but two steps."""
    found = [(re.match(r"step_(\d+)", path.stem), path) for path in folder.glob("step_*.jpg")]
    grids = sorted(SampleSheet(int(match[1]), parse_grid_name(path), path) for match, path in found if match)
    steps = sorted({grid.step for grid in grids})
    names = len({grid.name for grid in grids})
    count = min(len(steps), max(2, MAX_SHEETS // max(names, 1)))
    chosen = {steps[i] for i in np.linspace(0, len(steps) - 1, count).round().astype(int)}
    earlier = [grid for grid in grids if grid.step in chosen and grid.step != steps[-1]]
    return earlier, [grid for grid in grids if grid.step == steps[-1]]


def _strip_variant(name: str) -> str:
    """What a curve measures: "cycle" of cycle_A and cycle_B, "psnr" of psnr_BtoA."""
    words = re.split(SEPARATORS, name)
    kept = [word for word in words if word not in VARIANTS]
    return "_".join(kept) if 0 < len(kept) < len(words) else name


def _describe_score(name: str) -> ReportScore:
    stem = _strip_variant(name)
    label, unit = SCORE_LABELS.get(stem, (stem, ""))
    sides = [word for word in re.split(SEPARATORS, name) if word in VARIANTS]
    better = {True: 1, False: -1, None: 0}[HIGHER_IS_BETTER.get(stem)]
    return ReportScore(" ".join([label, *sides]), unit, better)


# ---------------------------------------------------------------- parts of the page


def _render_tiles(config: Mapping[str, Any], curves: Curves) -> str:
    """The few figures that one looks for first."""
    steps = max((curve[-1][0] for curve in curves.values()), default=0)
    planned = config.get("steps")
    facts = [(f"{steps:,}", f"of {planned:,} steps" if isinstance(planned, int) else "steps")]
    if seconds := curves.get(("run", "seconds")):
        facts.append((_format_duration(seconds[-1][1]), "of training"))
    if rates := curves.get(("run", "rate")):
        facts.append((f"{np.median([rate for _, rate in rates]):.3g}", "steps per second"))
    scores = [(_describe_score(name), curve) for (kind, name), curve in curves.items() if kind == "score"]
    for score, curve in [pair for pair in scores if pair[0].better][:1]:
        facts.append((_format_number(find_best(curve, score.better)[1], score.unit), f"best {score.label}"))
    tiles = [f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>" for value, what in facts]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _render_score_table(curves: Curves) -> str:
    rows: list[str] = []
    for name, curve in ((name, curve) for (kind, name), curve in curves.items() if kind == "score"):
        score = _describe_score(name)
        final, top = _format_number(curve[-1][1], score.unit), ""
        if score.better:
            step, value = find_best(curve, score.better)
            top = f"{escape(_format_number(value, score.unit))}<small>step {step:,}</small>"
        heading = f"{escape(score.label)}<small>{BETTER_LABELS[score.better]}</small>"
        rows.append(f"<tr><th scope=row>{heading}</th><td>{escape(final)}</td><td>{top}</td></tr>")
    if not rows:
        return ""
    head = "<th scope=col>score</th><th scope=col>final</th><th scope=col>best</th>"
    return f'<div class="card scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _render_figures(curves: Curves, kind: str) -> str:
    """A figure per quantity; its variants, such as those of both directions, are lines of one figure."""
    groups: dict[str, dict[str, Curve]] = {}
    for (of_kind, name), curve in curves.items():
        if of_kind == kind and (kind, name) != ("run", "seconds"):
            groups.setdefault(_strip_variant(name), {})[name] = curve
    return _render_row(_render_figure(kind, stem, group) for stem, group in groups.items())


def _render_figure(kind: str, stem: str, group: Mapping[str, Curve]) -> str:
    score = _describe_score(stem) if kind == "score" else ReportScore(stem)
    if kind == "run":
        score = {"lr": ReportScore("Learning rate"), "rate": ReportScore("Pace", "steps/s")}.get(stem, score)
    axis = score.unit or ("loss" if kind == "loss" else score.label)
    title = f"<b>{escape(score.label)}</b> <span>{BETTER_LABELS[score.better]}</span>"
    svg = render_curves_svg(group, axis, score.better)
    return f"<figure class=card><figcaption>{title}</figcaption>{svg}</figure>"


def _render_band_note(curves: Curves) -> str:
    if not any(kind == "loss" and len(curve) > MAX_POINTS for (kind, _), curve in curves.items()):
        return ""
    return "<p class=note>Lines are means over neighboring steps; bands hold four of five values.</p>"


def _render_last_sheet(sheet: SampleSheet) -> str:
    name = sheet.name if sheet.name in VARIANTS else "Samples"
    return _render_section(f"{name} at step {sheet.step:,}", f"<figure>{_render_zoomable(sheet)}</figure>")


def _render_small_sheet(sheet: SampleSheet) -> str:
    caption = " ".join([f"step {sheet.step:,}", *([sheet.name] if sheet.name in VARIANTS else [])])
    return f"<figure>{_render_zoomable(sheet)}<figcaption>{caption}</figcaption></figure>"


def _render_zoomable(sheet: SampleSheet) -> str:
    """A grid that a click or the space bar makes large, without a script."""
    box = f'<input type=checkbox aria-label="enlarge step {sheet.step}">'
    return f"<label class=zoom>{box}{_render_image(sheet.path, sheet.step)}</label>"


def _render_image(path: Path, step: int) -> str:
    image = read_image(path)
    if image.shape[1] > MAX_SHEET_WIDTH:
        size = MAX_SHEET_WIDTH, round(image.shape[0] * MAX_SHEET_WIDTH / image.shape[1])
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = image.shape[:2]
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    data = base64.b64encode(encoded.tobytes()).decode("ascii")
    source = f'src="data:image/jpeg;base64,{data}"'
    return f'<img alt="sample grid at step {step:,}" width={width} height={height} {source}>'


def _render_machine(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{path} is not JSON: {error}. Move it away") from error
    facts.pop("load_1min", None)  # of the moment when the run began: says nothing about the rest
    rows = [f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items()]
    return f"<dl class=card>{''.join(f'<div>{row}</div>' for row in rows)}</dl>"


def _render_options(config: Mapping[str, Any]) -> str:
    if not config:
        return ""
    rows = [
        f"<tr><th scope=row>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in config.items()
    ]
    return (
        f"<details class=card><summary>All {len(config)} options</summary>"
        f'<div class="scroll"><table class=options>{"".join(rows)}</table></div></details>'
    )


def _render_next_commands(out: Path) -> str:
    command = f"i2i export {shlex.quote(str(out))}"
    if any(out.glob("latest_net_G_B.*")):
        back = shlex.quote(f"{out.resolve().name}_BtoA.i2i")
        command += f"\n{command} --direction BtoA -o {back}"
    return f"<p>Make a bundle that runs on the device you have:</p><pre>{escape(command)}</pre>"


def _format_subtitle(out: Path) -> str:
    paths = [out / name for name in (METRICS, CONFIG) if (out / name).is_file()]
    latest = datetime.fromtimestamp(max(path.stat().st_mtime for path in paths)).astimezone()
    return f"{out} · {latest:%Y-%m-%d %H:%M %Z}"


def _render_row(parts: Iterable[str], css_class: str = "") -> str:
    inside = "".join(parts)
    return f'<div class="row {css_class}">{inside}</div>' if inside else ""


def _render_columns(*sections: str) -> str:
    return f'<div class="lead">{"".join(sections)}</div>'


def _render_section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _format_number(value: float, unit: str = "") -> str:
    return f"{value:.4g} {unit}".strip()


def _format_duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def _render_page(title: str, subtitle: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></header>
{body}
</main>
</body>
</html>
"""


# Figures stand on white cards in the dark too: their ink is dark.
STYLE = """
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #fff; --ink: #1d2126;
  --soft: #5c646e; --line: #e0e3e8 }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181c; --card: #1f2329; --ink: #e8eaed; --soft: #9aa3ad; --line: #333941 }
}
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1rem 3rem }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; letter-spacing: -0.02em; overflow-wrap: anywhere }
h2 { margin: 2.2rem 0 0; font-size: 1.15rem }
header p, figcaption span, .tiles span, small, .note { color: var(--soft) }
header p { margin: 0.3rem 0 0; font-size: 0.9rem; overflow-wrap: anywhere }
.tiles { display: grid; gap: 0.75rem; margin-top: 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)) }
.card, .tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 0.6rem }
.tiles div { padding: 0.7rem 0.9rem }
.tiles b { display: block; font-size: 1.35rem; font-weight: 650; line-height: 1.3; letter-spacing: -0.01em }
.tiles span { font-size: 0.85rem }
.row { display: grid; gap: 0.75rem; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)) }
.row.small { grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)) }
.lead { display: grid; gap: 0 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)) }
section { display: grid; gap: 0.75rem; grid-template-columns: minmax(0, 1fr); align-content: start }
figure { margin: 0 }
.row figure { max-width: 40rem }
.row.small figure:not(:has(:checked)) { max-width: 20rem }
figure.card { background: #fff; border-color: #e0e3e8; color: #1d2126; padding: 0.7rem 0.8rem 0.5rem }
figure.card figcaption { margin: 0 0 0.3rem; font-size: 0.95rem }
figure.card figcaption span { color: #5c646e; font-size: 0.85rem }
figcaption { margin-top: 0.3rem; font-size: 0.85rem; color: var(--soft) }
figure.card figcaption { color: inherit }
svg { display: block; width: 100%; height: auto }
svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif !important }
img { display: block; max-width: 100%; height: auto; border-radius: 0.4rem; background: #fff }
.zoom { display: block; position: relative; cursor: zoom-in }
.zoom input { position: absolute; opacity: 0 }
.zoom img { width: 100% }
.zoom input:focus-visible + img { outline: 3px solid #0072b2 }
.zoom:has(:checked) { cursor: zoom-out }
.small figure:has(:checked) { grid-column: 1 / -1 }
.lead > :last-child:nth-child(odd) { grid-column: 1 / -1 }
.lead:has(:checked) { grid-template-columns: minmax(0, 1fr) }
.scroll { overflow-x: auto }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: 0.45rem 0.8rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--line) }
tr:first-child > * { border-top: 0 }
th:first-child { text-align: left; white-space: normal }
small { display: block; font-size: 0.8rem; font-weight: 400 }
th { font-weight: 600 }
td { vertical-align: top }
th[scope=col] { font-size: 0.85rem; font-weight: 500; color: var(--soft) }
.options th, .options td { padding: 0.2rem 0.8rem;
  font: 0.85rem/1.5 ui-monospace, Menlo, Consolas, monospace }
.options td { text-align: left; white-space: normal; overflow-wrap: anywhere }
dl { display: grid; gap: 0.5rem 1.2rem; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr));
  padding: 0.8rem; margin: 0; font-size: 0.9rem }
dt { color: var(--soft); font-size: 0.8rem }
dd { margin: 0; overflow-wrap: anywhere }
summary { padding: 0.6rem 0.8rem; cursor: pointer }
pre { margin: 0; padding: 0.8rem; overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 0.6rem; font: 0.9rem/1.5 ui-monospace, Menlo, Consolas, monospace }
p { margin: 0 }
.note { font-size: 0.85rem }
"""
