"""A run on one page: `report.html`, which needs no other file and no network."""

from __future__ import annotations

import base64
import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from i2i_sdk.bundle.manifest import explain_channels
from i2i_sdk.errors import TrainingError
from i2i_sdk.files import write_atomically
from i2i_sdk.media.images import read_image
from i2i_training.checkpoint import LATEST
from i2i_training.metrics import SCORES, Score
from i2i_training.options import flatten, read_config
from i2i_training.report.curves import MAX_POINTS, Curve, find_best, render_curves_svg
from i2i_training.run.journal import MACHINE, METRICS, Curves, parse_grid_name, read_metrics

REPORT = "report.html"
CONFIG = "config.toml"
GATES = "gates.json"  # how close a student came to its teacher
HELD_OUT_GRID = "held_out.jpg"  # and its pictures
MAX_SHEETS = 6  # at most; of the last step, and of those on the way
MAX_SHEET_WIDTH = 1000  # pixels; wider ones are reduced, so that the page stays small enough to send
VARIANT = re.compile(r"_(A|B|AtoB|BtoA)$")  # what tells two curves of one quantity apart

QUANTITIES = {**SCORES, "lr": Score("Learning rate"), "rate": Score("Pace", "steps/s")}


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
    config = dict(flatten(read_config(out / CONFIG))) if (out / CONFIG).is_file() else {}
    curves = _drop_non_finite(read_metrics(out / METRICS)) if (out / METRICS).is_file() else {}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = environment.get_template("run_report.html.jinja").render(
        title=_make_title(config, out),
        subtitle=_format_subtitle(out),
        tiles=_collect_tiles(config, curves),
        sheets=_read_sheets(out / "samples"),
        judgment=_read_judgment(out / GATES),
        held_out=_read_held_out_grid(out / "samples" / HELD_OUT_GRID),
        scores=_collect_scores(curves),
        figures={kind: _draw_figures(curves, kind) for kind in ("score", "loss", "run")},
        has_bands=any(kind == "loss" and len(curve) > MAX_POINTS for (kind, _), curve in curves.items()),
        machine=_read_machine(out / MACHINE),
        options=config,
        commands=list_next_commands(out, config),
    )
    with write_atomically(out / REPORT) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out / REPORT


def _drop_non_finite(curves: Curves) -> Curves:
    kept = {key: [(s, v) for s, v in curve if math.isfinite(v)] for key, curve in curves.items()}
    return {key: curve for key, curve in kept.items() if curve}


def _read_machine(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    facts.pop("load_1min", None)  # of the moment when the run began: says nothing about the rest
    return facts


def _make_title(config: Mapping[str, Any], out: Path) -> str:
    """What was trained on what; a student's data are its teacher's pictures."""
    recipe = config.get("recipe", "Training")
    if recipe == "distill" and config.get("trained_on", "unknown") != "unknown":
        return f"A student of {config['trained_on']}"
    return f"{recipe} on {Path(str(config.get('data', out))).name}"


def _read_judgment(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _read_held_out_grid(path: Path) -> dict[str, Any] | None:
    return _read_sheet(0, "", path) if path.is_file() else None


def _format_subtitle(out: Path) -> str:
    paths = [out / name for name in (METRICS, CONFIG) if (out / name).is_file()]
    latest = datetime.fromtimestamp(max(path.stat().st_mtime for path in paths)).astimezone()
    return f"{out} · {latest:%Y-%m-%d %H:%M %Z}"


def _collect_tiles(config: Mapping[str, Any], curves: Curves) -> list[tuple[str, str]]:
    """The few figures that one looks for first, and what they are of."""
    steps = max((curve[-1][0] for curve in curves.values()), default=0)
    planned = config.get("steps")
    tiles = [(f"{steps:,}", f"of {planned:,} steps" if isinstance(planned, int) else "steps")]
    if seconds := curves.get(("run", "seconds")):
        tiles.append((str(timedelta(seconds=round(seconds[-1][1]))), "of training"))
    if rates := curves.get(("run", "rate")):
        tiles.append((f"{np.median([rate for _, rate in rates]):.3g}", "steps per second"))
    known = [(score.label, best) for score, _, best, _ in _collect_scores(curves) if score.better]
    return tiles + [(best, f"best {label}") for label, best in known[:1]]


def _read_sheets(folder: Path) -> list[dict[str, Any]]:
    """From the first step to the last: at most MAX_SHEETS, but two steps."""
    found = sorted(
        (int(match[1]), parse_grid_name(path), path)
        for path in folder.glob("step_*.jpg")
        if (match := re.match(r"step_(\d+)", path.stem))
    )
    steps = sorted({step for step, _, _ in found})
    names = len({name for _, name, _ in found})
    count = min(len(steps), max(2, MAX_SHEETS // max(names, 1)))
    chosen = {steps[i] for i in np.linspace(0, len(steps) - 1, count).round().astype(int)}
    return [_read_sheet(*sheet) for sheet in found if sheet[0] in chosen]


def _read_sheet(step: int, name: str, path: Path) -> dict[str, Any]:
    """A sheet as the page holds it; `source` is the picture as an address, `side` a direction or empty."""
    image = read_image(path)
    if image.shape[1] > MAX_SHEET_WIDTH:
        size = MAX_SHEET_WIDTH, round(image.shape[0] * MAX_SHEET_WIDTH / image.shape[1])
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = image.shape[:2]
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    source = f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"
    side = "" if name == "samples" else name
    return {"step": step, "side": side, "width": width, "height": height, "source": source}


def _collect_scores(curves: Curves) -> list[tuple[Score, str, str, int]]:
    """Each held-out score with its final value, its best one, and the step of that."""
    found: list[tuple[Score, str, str, int]] = []
    for name, curve in ((name, curve) for (kind, name), curve in curves.items() if kind == "score"):
        score = _describe_score(name)
        step, best = find_best(curve, score.better)
        found.append((score, score.format(curve[-1][1]), score.format(best), step))
    return found


def _describe_score(name: str) -> Score:
    stem, *sides = VARIANT.split(name)[:2]
    score = QUANTITIES.get(stem, Score(stem))
    return replace(score, label=" ".join([score.label, *sides]))


def _draw_figures(curves: Curves, kind: str) -> list[tuple[Score, Markup]]:
    """A figure per quantity; its variants, such as those of both directions, are lines of one figure."""
    groups: dict[str, dict[str, Curve]] = {}
    for (of_kind, name), curve in curves.items():
        if of_kind == kind and (kind, name) != ("run", "seconds"):
            groups.setdefault(VARIANT.sub("", name), {})[name] = curve
    figures: list[tuple[Score, Markup]] = []
    for stem, group in groups.items():
        score = _describe_score(stem)
        axis = score.unit or ("loss" if kind == "loss" else score.label)
        figures.append((score, Markup(render_curves_svg(group, axis, score.better))))
    return figures


def list_next_commands(out: Path, config: Mapping[str, Any]) -> list[str]:
    """The commands that show what was trained into a run's folder.

    config: the run's options, "recipe" among them. Of a network that is no translator of pictures, `i2i info`
    says so.
    """
    run = shlex.quote(str(out))
    if config.get("recipe") == "dcgan":
        return [f"i2i sample {run}"]
    if explain_channels(config.get("channels_a", 3), config.get("channels_b", 3)):
        return [f"i2i info {shlex.quote(str(path))}" for path in sorted(out.glob(f"{LATEST}*.safetensors"))]
    commands = [f"i2i export {run}"]
    if any(out.glob(f"{LATEST}_B.*")):
        commands.append(f"{commands[0]} --direction BtoA -o {shlex.quote(f'{out.resolve().name}_BtoA.i2i')}")
    return commands
