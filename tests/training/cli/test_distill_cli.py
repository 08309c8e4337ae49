"""`i2i distill`: pairs, a run, gates and a report; the student by the time it may take."""

from __future__ import annotations

import html
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from i2i_sdk import InputError, Translator
from i2i_sdk.cli.main import main
from i2i_sdk.errors import TrainingError
from i2i_sdk.perf.record import Conditions, Row, make_record, write_record
from i2i_sdk.perf.timing import Timing
from i2i_training import distill
from i2i_training.checkpoint import load_generator
from i2i_training.distillation.family import choose_student, list_members
from i2i_training.distillation.gates import Judgment

EFFECT = "import numpy as np\ndef negate(image: np.ndarray) -> np.ndarray:\n    return 255 - image\n"
TINY = ["--student.width", "4", "--student.blocks", "1", "--student.global-places", "1"]
TINY += ["--discriminator.width", "4"]
SHORT = ["--steps", "4", "--batch", "1", "--crop-size", "32", "--save-every", "4", "--size", "160"]
JUDGE = ["--judge-steps", "4"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of soft noise, and an effect, in a folder of their own."""
    folder = tmp_path_factory.mktemp("distill")
    (folder / "effect.py").write_text(EFFECT)
    (folder / "photos").mkdir()
    random = np.random.default_rng(0)
    for number in range(9):
        noise = random.integers(0, 256, (12, 14, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "photos" / f"{number}.png"), cv2.resize(noise, (168, 152)))
    return folder


@pytest.fixture(scope="module")
def run(photos: Path) -> Path:
    """A finished run of the command, whose student is too short of training to hold any gate."""
    out = photos / "run"
    words = ["distill", f"{photos}/effect.py:negate", "--data", f"{photos}/photos", "--out", str(out)]
    assert main([*words, "--student", "nano", *TINY, *SHORT, *JUDGE]) == 1
    return out


def test_a_run_leaves_a_student_that_names_its_teacher(run: Path) -> None:
    _, spec = load_generator(run / "latest_net_G.safetensors")
    assert spec.recipe == "distill" and spec.trained_on.startswith("pictures by effect.py:negate (")
    assert spec.trained_on.endswith(") of photos")
    assert len(list((run / "pairs" / "B" / "val").iterdir())) == 2
    assert {"held_out.jpg", "step_000004_AtoB.jpg"} == {path.name for path in (run / "samples").iterdir()}


def test_the_report_has_the_gates_and_the_pictures(run: Path) -> None:
    gates = json.loads((run / "gates.json").read_text())["gates"]
    page = html.unescape((run / "report.html").read_text(encoding="utf-8"))
    for gate in gates:
        assert gate["name"] in page and gate["found"] in page
    assert "input, teacher and student of held-out photos" in page
    assert "Edit energy, worst octave" in page


def test_the_student_is_judged_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, student = json.loads((run / "gates.json").read_text()), run / "latest_net_G.safetensors"
    (run / "gates.json").unlink()
    assert main(["distill", "--judge", str(run), "--baseline", str(student), *JUDGE]) == 1
    after = json.loads((run / "gates.json").read_text())
    assert after["energy"] == before["energy"] and "L1 and SSIM alone" in after["judge_by_kind"]
    assert "MISSED" in capsys.readouterr().out


def test_python_does_what_the_shell_does(photos: Path, run: Path, tmp_path: Path) -> None:
    network = {"width": 4, "blocks": 1, "global_places": 1}
    options = {"steps": 4, "batch": 1, "crop_size": 32, "save_every": 4}
    teacher, data = f"{photos}/effect.py:negate", photos / "photos"
    result = distill(
        teacher,
        data=data,
        student="nano",
        out=tmp_path / "run",
        side=160,
        progress=lambda _: None,
        overwrite=True,
        **options,
        **{"student.width": 4, "student.blocks": network["blocks"], "student.global_places": 1},
        discriminator={"width": 4},
    )
    name = "latest_net_G.safetensors"
    assert result.is_finished and (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()


def test_a_stopped_run_goes_on(photos: Path, run: Path, tmp_path: Path) -> None:
    words = [
        "distill",
        f"{photos}/effect.py:negate",
        "--data",
        f"{photos}/photos",
        "--out",
        f"{tmp_path}/run",
    ]
    options = [*TINY, *SHORT, "--student", "nano", "--minutes", "1e-9"]
    assert main([*words, *options]) == 0
    assert not (tmp_path / "run" / "gates.json").exists()
    assert main(["distill", "--resume", str(tmp_path / "run"), "--minutes", "none", *JUDGE]) == 1
    name = "latest_net_G.safetensors"
    assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()


def make_judgment(**changes: object) -> Judgment:
    good = {
        "pictures": 4,
        "energy": (0.8, 1.0, 1.25, 0.9, 1.1),
        "correlation": {0: 0.5, 4: 0.8, 16: 0.9},
        "color_shift": 1.0,
        "spread_shift": 1.0,
        "psnr": 20.0,
        "ssim": 0.7,
        "judge_accuracy": 0.95,
        "judge_by_kind": {},
        "accepted": 0.8,
    }
    return Judgment(**good | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes, passed",
    [
        ({}, [True, True, True]),
        ({"energy": (0.79, 1.0, 1.0, 1.0, 1.0)}, [False, True, True]),
        ({"energy": (1.0, 1.0, 1.0, 1.0, 1.26)}, [False, True, True]),
        ({"correlation": {0: 0.9, 4: 0.79, 16: 0.9}}, [True, False, True]),
        ({"accepted": 0.79}, [True, True, False]),
        ({"judge_accuracy": 0.94}, [True, True, None]),
    ],
)
def test_gates_hold_at_their_limits(changes: dict[str, object], passed: list[bool | None]) -> None:
    judgment = make_judgment(**changes)
    assert [gate.passed for gate in judgment.list_gates()] == passed
    assert judgment.passed == (False not in passed)


# ---------------------------------------------------------------- the student by the time it may take


def write_times(path: Path, times: dict[str, list[float]]) -> Path:
    rows = [
        Row(name, f"variant{n}", 512, 512, times={"frame": Timing(9, ms, ms, ms, ms, ms, 0.01)})
        for name, found in times.items()
        for n, ms in enumerate(found)
    ]
    write_record(path, make_record("engines", "family", tuple(rows), {}, Conditions(1.0)))
    return path


@pytest.mark.parametrize("max_ms, student", [(7.0, "nano"), (16.9, "nano"), (17, "small"), (1e3, "medium")])
def test_the_largest_student_that_fits_is_taken(max_ms: float, student: str, tmp_path: Path) -> None:
    times = {"nano": [20.0, 7.0], "small": [17.0, 54.0], "medium": [92.0, 27.0]}
    found, milliseconds = choose_student(write_times(tmp_path / "family.json", times), max_ms, "512")
    assert (found, milliseconds) == (student, min(times[student]))


def test_a_record_that_is_no_familys_is_refused(tmp_path: Path) -> None:
    times = {name: [10.0] for name in list_members()}
    with pytest.raises(TrainingError, match=r"no member of the family takes at most 9 ms.*nano 10\.0 ms"):
        choose_student(write_times(tmp_path / "family.json", times), 9, "512")
    with pytest.raises(TrainingError, match="has no times of small, medium at 512"):
        choose_student(write_times(tmp_path / "other.json", {"nano": [1.0]}), 9, "512")
    with pytest.raises(TrainingError, match="has no times of nano, small, medium at 256"):
        choose_student(tmp_path / "family.json", 99, "256")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("family") / "bundles"
    assert main(["distill", "--write-family", str(folder), "--student", "nano", "--size", "64"]) == 0
    assert [path.name for path in folder.iterdir()] == ["nano.i2i"]
    return folder


def test_a_network_that_sees_the_whole_frame_is_not_tiled(family: Path) -> None:
    with pytest.raises(InputError, match=r"looks at the whole frame.*fit: resize, letterbox, crop, pad"):
        Translator(family / "nano.i2i", fit="tile")
    with Translator(family / "nano.i2i", fit="pad") as translate:
        assert translate(np.zeros((50, 60, 3), np.uint8)).shape == (50, 60, 3)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "words, reason",
    [
        ([], "say who teaches and with what"),
        (["x.safetensors"], "say who teaches and with what"),
        (["x.txt", "--data", "photos"], r"teacher x\.txt: give a checkpoint"),
        (
            ["x.onnx", "--data", "p", "--student", "nano", "--max-ms", "3"],
            "--student nano or --max-ms 3, not",
        ),
        (["--write-family", "x", "--size", "30"], "size 30x30: the sides must be multiples of 4"),
        (["x.i2i", "--data", "photos", "--layout", "nchw"], "x.i2i: is no ONNX file; --layout are for these"),
    ],
)
def test_arguments_that_do_not_do(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["distill", *words]) == 2
    assert reason.replace("\\", "") in capsys.readouterr().err
