"""How long making a bundle takes, for every target and precision that can be made here, and how it turns out.

    python -m benchmarks.export [CHECKPOINT ...] [--to all] [--frames FOLDER] [--pictures 8]

Each is exported alone in a fresh process, whose imports are not counted. Its pictures are compared with
PyTorch's as part of it, so the time grows with their number; INT8 is calibrated on every second one.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.reporting.publish import publish
from benchmarks.support.places import find_shared_file, get_trained_checkpoint, name_subject
from i2i_export.options import ExportOptions
from i2i_export.pipeline import export
from i2i_export.targets import TargetRequest, parse_targets
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.media.images import IMAGE_SUFFIXES
from i2i_sdk.perf.bench import collect_facts
from i2i_sdk.perf.candidates import Candidate, compare
from i2i_sdk.perf.quiet import QuietMonitor
from i2i_sdk.perf.record import Row
from i2i_sdk.perf.timing import compute_statistics, time_call
from i2i_sdk.quality.eval_frames import select_spread


def main(argv: Sequence[str]) -> int:
    """Export the checkpoints, target by target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export")
    sketch, photos = get_trained_checkpoint("sketch"), find_shared_file("photos")
    parser.add_argument("checkpoints", type=Path, nargs="*", default=[sketch], metavar="CHECKPOINT")
    parser.add_argument("--to", default="all", help="targets as `i2i export --to` takes them")
    parser.add_argument("--side", type=int, default=256, help="of the square that is exported")
    parser.add_argument("--frames", type=Path, default=photos, help="folder of images; none: no INT8")
    parser.add_argument("--pictures", type=int, default=8, help="of --frames that are taken")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, QuietMonitor() as quiet:
        frames = copy_some(args.frames, args.pictures, Path(folder) / "frames") if args.frames else None
        wanted = parse_targets(args.to, ExportOptions(frames=frames))
        rows: list[Row] = []
        for checkpoint in args.checkpoints:
            for each in wanted:
                print(f"exporting {name_subject(checkpoint)} to {each.target} {each.precision}")
                rows.append(measure_export(checkpoint, each, args.side, frames, Path(folder) / "one.i2i"))
                quiet.check_steady()
    pictures = "scikit-image's photos, no INT8" if frames is None else f"{args.pictures} of the given"
    title = "making a bundle with one variant, once"
    return publish("export", title, rows, quiet.conditions, {"pictures": pictures})


def copy_some(folder: Path, count: int, copies: Path) -> Path:
    """A folder with copies of so many images, spread evenly over another one's."""
    copies.mkdir()
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    for path in select_spread(images, count):
        shutil.copy(path, copies)
    return copies


def measure_export(
    checkpoint: Path, request: TargetRequest, side: int, frames: Path | None, out: Path
) -> Row:
    """The row of one export, with the reason where there is no variant."""
    subject, name = name_subject(checkpoint), f"{request.target}-{request.precision}"
    arguments = {"checkpoint": str(checkpoint), "target": request.target, "precision": request.precision}
    arguments |= {"side": side, "frames": frames and str(frames), "out": str(out)}
    candidate = Candidate(name, "benchmarks.export:open_export", arguments, reports=True)
    shutil.rmtree(out, ignore_errors=True)
    comparison = compare([candidate], rounds=1)
    if name in comparison.reasons:
        return Row(subject, name, side, side, notes=(f"not made: {comparison.reasons[name]}",))
    measured = comparison.timings[name]
    (variant,) = Bundle.read(out).manifest.variants
    facts = collect_facts(variant, 1, {})
    values = {name: facts[name] for name in ("size", "psnr", "ssim", "frames") if name in facts}
    if measured.memory is not None:
        values["memory"] = measured.memory
    return Row(subject, name, side, side, times={"export": compute_statistics(measured.times)}, values=values)


def open_export(
    checkpoint: str, target: str, precision: str, side: int, frames: str | None, out: str
) -> Callable[[], list[float]]:
    """An export that times itself, in its candidate's process: milliseconds."""
    options = ExportOptions(size=(side, side), frames=Path(frames) if frames else None)
    return lambda: [time_call(lambda: export(Path(checkpoint), [(target, precision)], Path(out), options))]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
