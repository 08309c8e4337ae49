"""The command line: exit codes, one line per user error, never a traceback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from known_bundles import make_noise, save_affine

from i2i_sdk import Bundle, Translator, __version__, loading
from i2i_sdk.cli import common
from i2i_sdk.cli.main import COMMANDS, main
from i2i_sdk.errors import InputError

FindBundle = Callable[[str], Path]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _cache_and_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("I2I_CACHE_DIR", str(tmp_path / "cache"))


def test_without_arguments_it_lists_every_command(capsys: Capture) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        assert main(arguments) == 0
        output = capsys.readouterr().out
        for name, (_, text) in COMMANDS.items():
            assert f"  {name} " in output and text in output
        assert all(len(line) <= 100 for line in output.splitlines())


def test_version(capsys: Capture) -> None:
    assert main(["--version"]) == main(["-V"]) == 0
    assert capsys.readouterr().out == f"i2i-sdk {__version__}\n" * 2


@pytest.mark.parametrize("name", ["translate", "Run", "--quiet", ""])
def test_an_unknown_command_lists_the_known(capsys: Capture, name: str) -> None:
    assert main([name]) == 2
    captured = capsys.readouterr()
    assert (
        captured.out == ""
        and captured.err == f"i2i: {name!r} is no command; there are: {', '.join(COMMANDS)}\n"
    )


USER_ERRORS: list[tuple[list[str], str]] = [
    (["info", "nowhere.i2i"], "nowhere.i2i: no such bundle, and not in the zoo (sketch"),
    (["tune", "scetch"], "scetch: no such bundle, and not in the zoo (sketch"),
    (["run", "scetch", "photo.jpg", "-o", "x.png"], "scetch: no such bundle, and not in the zoo (sketch"),
    (["run", "{bundle}", "nowhere.jpg", "-o", "x.png"], "nowhere.jpg"),
    (["run", "{bundle}", "{image}", "-o", "x.png", "--backend", "cuda"], "the bundle has: ort-fp32-24x40"),
    (
        ["run", "{bundle}", "{image}", "-o", "x.png", "--size", "9"],
        "size=9x9; the bundle has: ort-fp32-24x40",
    ),
    (["run", "{bundle}", "{image}", "-o", "x.png", "--size", "big"], "size is 'big'; allowed: 256"),
    (["run", "{bundle}", "{image}", "-o", "x.png", "--fit", "fill"], "fit is 'fill'; allowed: resize"),
    (["run", "{bundle}", "{image}", "-o", "x.png", "--threads", "0"], "threads is 0; allowed: 1 or more"),
    (
        ["run", "{bundle}", "{image}", "-o", "x.png", "--layout", "nchw"],
        "layout: only for foreign ONNX files",
    ),
    (["run", "{empty}", "{image}", "-o", "x.png"], "not a bundle: it has no manifest.json"),
    (["info", "{empty}"], "not a bundle: it has no manifest.json"),
    (["info", "{tampered}"], "is listed in the manifest but not there"),
    (["tune", "{bundle}", "--rounds", "1"], "--rounds 1: at least 3"),
    (
        ["run", "{bundle}", "{image}", "-o", "x.png", "--provider", "gpu"],
        "provider is 'gpu'; known: cpu, cuda",
    ),
    (["run", "{bundle}", "{image}", "-o", "x.png", "--max-ms", "20"], "max_ms=20: none of ort-fp32-24x40"),
    (["run", "{bundle}", "{image}", "-o", "x.png", "--max-ms", "0"], "max_ms is 0.0; allowed: a number"),
]


@pytest.mark.parametrize(("arguments", "message"), USER_ERRORS)
def test_user_errors_are_one_line_and_exit_code_2(
    known: FindBundle, tmp_path: Path, capsys: Capture, arguments: list[str], message: str
) -> None:
    places = {
        "bundle": str(known("invert")),
        "image": str(tmp_path / "a.png"),
        "empty": str(tmp_path / "empty"),
    }
    places["tampered"] = str(shutil.copytree(known("invert"), tmp_path / "t.i2i"))
    (tmp_path / "t.i2i" / "reference.onnx").unlink()
    (tmp_path / "empty").mkdir()
    cv2.imwrite(places["image"], make_noise(20, 30, 3))
    assert main([a.format(**places) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and message in captured.err
    assert len(captured.err.strip().splitlines()) == 1 and "Traceback" not in captured.err
    assert not Path("x.png").exists()


def test_from_outside(known: FindBundle) -> None:
    """As a user types it: one line on stderr, nothing on stdout, no traceback."""
    for arguments, code in ((["info", "nowhere"], 2), (["nonsense"], 2), (["info", str(known("invert"))], 0)):
        done = subprocess.run(
            [sys.executable, "-m", "i2i_sdk", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code
        assert (done.stderr == "") == (code == 0) and (done.stdout == "") == (code != 0)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "x.i2i"],
        ["run"],
        ["info"],
        ["tune", "x.i2i", "--rounds", "many"],
        ["info", "x.i2i", "--color"],
        ["run", "x.onnx", "a.png", "-o", "b.png", "--input-range", "black"],
    ],
)
def test_argparse_errors_exit_with_2_too(capsys: Capture, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert f"usage: i2i {arguments[0]}" in error and "_range" not in error


@pytest.mark.parametrize("text", ["black", "1", "0,1,2", "0;255", ""])
def test_a_range_that_is_none_says_how_to_write_one(capsys: Capture, text: str) -> None:
    with pytest.raises(SystemExit):
        main(["run", "x.onnx", "a.png", "-o", "b.png", "--input-range", text])
    assert f"got {text!r}; give black and white as 0,255 or -1,1" in capsys.readouterr().err


def test_interrupt_and_full_disk(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def make_failing_command(error: BaseException) -> int:
        def command(_: object) -> int:
            raise error

        monkeypatch.setattr("i2i_sdk.cli.main.load", lambda _: command)
        return main(["info", "x"])

    assert make_failing_command(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert make_failing_command(OSError(28, "No space left on device")) == 2
    assert capsys.readouterr().err == "error: [Errno 28] No space left on device\n"
    with pytest.raises(ZeroDivisionError):  # a bug is not dressed up as a user's mistake
        make_failing_command(ZeroDivisionError())


@pytest.mark.parametrize(("command", "extra"), [("export", "export"), ("train", "train")])
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, command: str, extra: str
) -> None:
    def fail_import(_: str) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("i2i_sdk.cli.main.load", fail_import)
    assert main([command]) == 2
    assert capsys.readouterr().err == f"error: this command needs torch: pip install 'i2i-sdk[{extra}]'\n"
    with pytest.raises(ModuleNotFoundError):  # the base install is broken: that is no missing extra
        main(["info"])


# info


def test_info_on_a_bundle(known: FindBundle, capsys: Capture) -> None:
    assert main(["info", str(known("invert"))]) == 0
    output = capsys.readouterr().out
    for text in (
        "invert, 3 -> 3 channels",
        "known: widths=[1, 2]",
        "Apache-2.0",
        "none was needed",
    ):
        assert text in output
    for variant in Bundle.read(known("invert")).manifest.variants:
        assert variant.name in output
    assert "runs" in output and "60.0" in output and "55.5" in output
    assert "PSNR: dB against PyTorch, mean of 6 frames (builtin)" in output


def test_info_tells_how_each_variant_came_about(known: FindBundle, tmp_path: Path, capsys: Capture) -> None:
    copy = Path(shutil.copytree(known("invert"), tmp_path / "x.i2i"))
    data = json.loads((copy / "manifest.json").read_text())
    data["variants"][0] |= {
        "verified": "graph",
        "verified_by": "the MIL program",
        "macs_in_precision": 0.68,
        "precision_kept": {"first": "fp32", "up1": "bf16", "last": "fp32"},
        "requires": {
            "engine": "tensorrt>=10",
            "cpu": ["bf16"],
            "os": ["linux", "windows"],
            "compute_capabilities": ["8.6", "12.0"],
        },
    }
    (copy / "manifest.json").write_text(json.dumps(data))
    assert main(["info", str(copy)]) == 0
    output = capsys.readouterr().out
    assert " 68% " in output
    assert "in it: share of the multiplications that are done in the variant's precision" in output
    name = data["variants"][0]["name"]
    assert f"{name} keeps in fp32: first, last; in bf16: up1" in output
    assert f"{name}: its graph was verified by the MIL program" in output
    wanted = "tensorrt>=10, a CPU with bf16, linux or windows, an NVIDIA GPU of 8.6, 12.0"
    assert f"needs {wanted}: {name}" in output
    assert "needs openvino>=1: openvino-fp32-24x40, openvino-bf16-24x40" in output


def test_info_as_json_is_the_manifest(known: FindBundle, capsys: Capture) -> None:
    assert main(["info", "--json", str(known("invert"))]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data == json.loads((known("invert") / "manifest.json").read_text())


def test_info_shows_strangers_names_as_they_are(known: FindBundle, tmp_path: Path, capsys: Capture) -> None:
    """Brackets are markup to the library that draws tables: "[/]" would stop it, "[red]" would vanish."""
    copy = Path(shutil.copytree(known("invert"), tmp_path / "x.i2i"))
    data = json.loads((copy / "manifest.json").read_text())
    data["variants"][0]["name"], data["variants"][1]["name"] = "[/]", "a[red]b"
    (copy / "manifest.json").write_text(json.dumps(data))
    assert main(["info", str(copy)]) == 0
    output = capsys.readouterr().out
    assert "[/]" in output and "a[red]b" in output


def test_info_says_what_to_install(
    known: FindBundle, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    reason = "the package is missing: pip install 'i2i-sdk[openvino]'"
    monkeypatch.setattr(
        "i2i_sdk.cli.info.explain_unsupported_variant", lambda v: reason if v.backend == "openvino" else None
    )
    assert main(["info", str(known("invert"))]) == 0
    printed = capsys.readouterr().out
    assert f": {reason}" in printed and printed.count(reason) == 1  # once, however many variants it refuses


def test_commands_find_what_a_translator_finds(
    known: FindBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zoo names first, so that a folder of that name in the working directory changes nothing."""
    monkeypatch.setattr(loading, "find_zoo_bundle", lambda name: known("swap") if name == "sketch" else None)
    (tmp_path / "sketch").mkdir()
    assert common.read_bundle("sketch").manifest.model.name == "swap"
    with Translator("sketch") as translate:
        assert translate.bundle is not None and translate.bundle.manifest.model.name == "swap"
    assert common.read_bundle(str(known("invert"))).manifest.model.name == "invert"
    with pytest.raises(InputError, match="not in the zoo"):
        common.read_bundle("nowhere")


# run


def test_run_translates_an_image(known: FindBundle, tmp_path: Path, capsys: Capture) -> None:
    image, out = make_noise(24, 40, 3), tmp_path / "out.png"
    cv2.imwrite(str(tmp_path / "in.png"), image)
    assert main(["run", str(known("invert")), str(tmp_path / "in.png"), "-o", str(out), "--quiet"]) == 0
    assert (cv2.imread(str(out)) == 255 - image).all()
    assert f"wrote {out}: 1 frame at" in capsys.readouterr().out


def test_run_takes_what_fits_the_time(
    known: FindBundle, capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    cv2.imwrite("in.png", make_noise(24, 40, 3))
    bundle, ends = str(known("invert")), ["in.png", "-o", "out.png", "--quiet"]
    assert main(["tune", bundle, "--rounds", "3"]) == 0
    assert main(["run", bundle, *ends, "--max-ms", "1e6"]) == 0
    assert caplog.text == ""
    assert main(["run", bundle, *ends, "--max-ms", "1e-6", "--min-psnr", "119"]) == 0
    assert "no variant of this quality takes at most 1e-06 ms here; taking the fastest" in caplog.text
    assert main(["run", bundle, *ends, "--provider", "cpu", "--allow-fallback"]) == 0
    assert "with ort-fp32-24x40" in capsys.readouterr().out


def test_run_with_an_external_graph(tmp_path: Path) -> None:
    """-1,1 looks like an option to argparse."""
    graph = save_affine(tmp_path / "x.onnx", [-1] * 3, [0] * 3)
    image = make_noise(24, 40, 3)
    cv2.imwrite(str(tmp_path / "in.png"), image)
    options = [
        "--input-range",
        "-1,1",
        "--output-range",
        "-1,1",
        "--layout",
        "nchw",
        "--channel-order",
        "rgb",
    ]
    arguments = [str(graph), str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), "--quiet", *options]
    assert main(["run", *arguments]) == 0
    assert (cv2.imread(str(tmp_path / "out.png")) == 255 - image).all()


# zoo


def test_zoo_lists_what_ships(known: FindBundle, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("i2i_sdk.cli.zoo.find_zoo_bundle", lambda _: known("invert"))
    assert main(["zoo"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("sketch ") and "24x40" in output and "Apache-2.0" in output
