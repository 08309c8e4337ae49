"""`i2i distill TEACHER --student small --data PHOTOS…`: a small network learns what another one does."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from i2i_sdk.cli.common import Parser, add_contract_options, add_options, join_negative_values
from i2i_sdk.cli.tables import print_table
from i2i_sdk.errors import TrainingError
from i2i_sdk.selection import parse_size
from i2i_training.api import PreparedRun, prepare_run, start_run
from i2i_training.checkpoint import LATEST
from i2i_training.cli.train import print_result
from i2i_training.distillation.api import CONTRACT, DistillRequest, judge_run, prepare_distillation
from i2i_training.distillation.family import choose_student, measure_family, write_family
from i2i_training.distillation.gates import Judgment
from i2i_training.distillation.pairs import PairOptions
from i2i_training.metrics.style_classifier import JUDGE_STEPS
from i2i_training.recipes.distill import PRESETS

EXIT_GATES_MISSED = 1
DEFAULT_SIZE = "512"
MARKS = {True: "holds", False: "MISSED", None: "not judged"}


def main(argv: Sequence[str]) -> int:
    """Train a student and judge it. Returns 1 where a gate is missed; raises I2IError."""
    args, flags = _parse(argv)
    if args.write_family is not None:
        members = [args.student] if args.student else list(PRESETS)
        write_family(args.write_family, members, args.size, args.data[0] if args.data else None, print)
        print(
            f"next: i2i bench {args.write_family} --out family.json on the device, then --table family.json"
        )
        return 0
    out = args.judge
    if out is None:
        prepared = _prepare(args, flags)
        result = start_run(prepared)
        code = print_result(result, prepared)
        if not result.is_finished or not result.is_primary:
            return code
        out = Path(prepared.run.out)
    else:
        _refuse_beside_run(args)
    judgment = judge_run(out, args.baseline, args.judge_steps)
    print_gates(judgment)
    return 0 if judgment.passed else EXIT_GATES_MISSED


def print_gates(judgment: Judgment) -> None:
    """Each measure, what was found and what is needed."""
    rows = [[gate.name, gate.found, gate.needed, MARKS[gate.passed]] for gate in judgment.list_gates()]
    print_table("", ["on held-out photos", "found", "needed", ""], rows)
    print(
        f"{judgment.pictures} pictures; against the teacher's: PSNR {judgment.psnr:.1f} dB, "
        f"SSIM {judgment.ssim:.2f}"
    )


def _prepare(args: argparse.Namespace, flags: Sequence[str]) -> PreparedRun:
    if args.resume:
        _refuse_beside_run(args)
        return prepare_run("distill", flags, resume=args.resume)
    if args.teacher is None or not args.data:
        advice = "the teacher comes first: i2i distill TEACHER --data PHOTOS; see --help"
        raise TrainingError(f"say who teaches and with what; {advice}")
    if args.baseline is not None and not args.baseline.is_file():
        raise TrainingError(f"baseline {args.baseline}: there is no such file")
    student = _choose_student(args)
    sides = parse_size(args.size)
    contract = {name: vars(args)[name] for name in CONTRACT if vars(args)[name] is not None}
    pairs = PairOptions(tuple(map(str, args.data)), tuple(map(str, args.held_out)), min(sides))
    out = args.out or Path("out") / f"{_name_teacher(args.teacher)}_{student}"
    return prepare_distillation(
        DistillRequest(args.teacher, pairs, out, student, args.cache, contract), flags, print
    )


def _choose_student(args: argparse.Namespace) -> str:
    """The one that was named, or the largest that fits into the time."""
    if args.max_ms is None:
        return args.student or "small"
    if args.student is not None:
        raise TrainingError(f"--student {args.student} or --max-ms {args.max_ms:g}, not both")
    record = args.table or measure_family(Path("out") / "family", args.size, args.data[0], print)
    name, milliseconds = choose_student(record, args.max_ms, args.size)
    print(f"student {name}: {milliseconds:.1f} ms a frame, by {record}")
    return name


def _refuse_beside_run(args: argparse.Namespace) -> None:
    """Raise TrainingError for options that a run which is there already has: it has its own."""
    names = ("teacher", "data", "held_out", "student", "out", "cache", "max_ms", "table", *CONTRACT)
    if found := [name.replace("_", "-") for name in names if vars(args)[name]]:
        option = "--resume" if args.resume else "--judge"
        raise TrainingError(f"{option} takes the run as it is; leave out {', '.join(found)}")


def _name_teacher(text: str) -> str:
    """For the folder of the run: most checkpoints are called latest_net_G, and their folders are not."""
    path = Path(text.rpartition(":")[0] or text)
    return path.parent.resolve().name if path.stem.startswith(LATEST) else path.stem


def _parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options of this command, and those of the run.

    The teacher comes first, as the recipe does in `i2i train`: argparse would take the value of an option
    that it does not know for the teacher.
    """
    has_teacher = bool(argv) and not argv[0].startswith("-")
    args, flags = _build_parser().parse_known_args(join_negative_values(argv[has_teacher:]))
    args.teacher = argv[0] if has_teacher else None
    return args, flags


def _build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="i2i distill",
        usage="i2i distill TEACHER --data PHOTOS … [--option value …]",
        description="Teach a small network, made for the device, what a picture function does. Further "
        "options, such as --steps, --minutes and --lambda-gan, are listed by i2i train distill --help. Exit "
        "code 1: a gate is missed. TEACHER: a checkpoint, a run's folder, a bundle, an ONNX file, or "
        "FILE.py:FUNCTION, uint8 [H, W, 3] RGB -> the same, whose code is run.",
    )
    add = parser.add_argument
    photos = {"nargs": "+", "type": Path, "default": [], "metavar": "PHOTOS", "action": "extend"}
    add("--data", **photos, help="folders of photos, and videos; one that is named twice counts twice")
    add("--held-out", **photos, help="folders never trained on; default: every eighth photo of --data")
    add("--student", choices=tuple(PRESETS), help="by size (default small)")
    add_options(add, out="out/TEACHER_STUDENT", size=f"{DEFAULT_SIZE}, and photos are never enlarged")
    parser.set_defaults(size=DEFAULT_SIZE)
    add("--cache", type=Path, metavar="DIR", help="keeps the teacher's pictures (default: pairs in --out)")
    add(
        "--baseline",
        type=Path,
        metavar="CKPT",
        help="a student by L1 and SSIM alone, to be told from the teacher",
    )
    add(
        "--judge-steps",
        type=int,
        default=JUDGE_STEPS,
        help="of the training of the classifier that judges (default %(default)s)",
    )
    add_options(add, resume="")
    add("--judge", type=Path, metavar="DIR", help="only judge the latest student of a run")
    group = parser.add_argument_group("the student by the time it may take")
    add_options(group.add_argument, max_ms="--student says which")
    group.add_argument(
        "--table", type=Path, metavar="RECORD", help="times of another device, by i2i bench there"
    )
    group.add_argument(
        "--write-family", type=Path, metavar="DIR", help="write what i2i bench DIR measures there"
    )
    add_contract_options(parser)
    return parser
