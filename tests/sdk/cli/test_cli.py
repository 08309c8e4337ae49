"""The command line: exit codes, one line per user error, never a traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import cv2
import pytest
from known_bundles import FindBundle, RunCommand, edit_manifest, make_noise, save_affine

from i2i_sdk import Bundle, Translator, __version__, loading
from i2i_sdk.cli import common
from i2i_sdk.cli.main import COMMANDS, main, replace_underscores
from i2i_sdk.errors import InputError

pytestmark = pytest.mark.usefixtures("working_folder")


def test_without_arguments_it_lists_every_command(run_command: RunCommand) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        output = run_command(*arguments).out
        for name, (_, text) in COMMANDS.items():
            assert f"  {name} " in output and text in output
        assert all(len(line) <= 100 for line in output.splitlines())


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(run_command: RunCommand, option: str) -> None:
    assert run_command(option).out == f"i2i-sdk {__version__}\n"


def test_underscores_are_hyphens_in_options_only() -> None:
    words = ["a_b", "--min_psnr", "a_b", "--min_psnr=a_b", "-o", "--unet.min_width"]
    expected = ["a_b", "--min-psnr", "a_b", "--min-psnr=a_b", "-o", "--unet.min-width"]
    assert replace_underscores(words) == expected


@pytest.mark.parametrize("name", ["translate", "Run", "--quiet", ""])
def test_an_unknown_command_lists_the_known(run_command: RunCommand, name: str) -> None:
    error = f"i2i: {name!r} is not a command; the commands are: {', '.join(COMMANDS)}\n"
    assert run_command(name, code=2) == ("", error)


USER_ERRORS: list[tuple[list[str], str]] = [
    (["info", "nowhere.i2i"], "nowhere.i2i: no such bundle, and not in the zoo (sketch"),
    (["tune", "scetch"], "scetch: no such bundle, and not in the zoo (sketch"),
    (["run", "scetch", "photo.jpg", "-o", "x.png"], "scetch: no such bundle, and not in the zoo (sketch"),
    (["run", "{bundle}", "nowhere.jpg", "-o", "x.png"], "nowhere.jpg"),
    (["run", "empty", "a.png", "-o", "x.png"], "not a bundle: it has no manifest.json"),
    (["info", "empty"], "not a bundle: it has no manifest.json"),
    (["info", "x.i2i"], "is listed in the manifest but not there"),
    (["tune", "{bundle}", "--rounds", "1"], "--rounds 1: at least 3"),
    (["{run}", "--backend", "cuda"], "the bundle has: ort-fp32-24x40"),
    (["{run}", "--size", "9"], "size=9x9; the bundle has: ort-fp32-24x40"),
    (["{run}", "--size", "big"], "size is 'big'; allowed: 256"),
    (["{run}", "--fit", "fill"], "fit is 'fill'; allowed: resize"),
    (["{run}", "--threads", "0"], "threads is 0; allowed: 1 or more"),
    (["{run}", "--layout", "nchw"], "layout: only for foreign ONNX files"),
    (["{run}", "--provider", "gpu"], "provider is 'gpu'; known: cpu, cuda"),
    (["{run}", "--device", "tpu"], "device is 'tpu'; allowed: auto, cpu, cuda, gpu, npu"),
    (["{run}", "--device", "cuda", "--backend", "openvino"], "device='cuda' excludes backend='openvino'"),
    (["{run}", "--device", "npu", "--precision", "bf16"], "no variant for device=npu (coreml, ort)"),
    (["{run}", "--max-ms", "20"], "max_ms=20: none of ort-fp32-24x40"),
    (["{run}", "--max-ms", "0"], "max_ms is 0.0; allowed: a number"),
]


@pytest.mark.parametrize(("arguments", "message"), USER_ERRORS)
def test_user_errors_are_one_line_and_exit_code_2(
    known: FindBundle, folder: Path, run_command: RunCommand, arguments: list[str], message: str
) -> None:
    bundle = str(known("invert"))
    (folder / "reference.onnx").unlink()
    Path("empty").mkdir()
    cv2.imwrite("a.png", make_noise(20, 30, 3))
    words = {"{bundle}": [bundle], "{run}": ["run", bundle, "a.png", "-o", "x.png"]}
    error = run_command(*(word for a in arguments for word in words.get(a, [a])), code=2).err
    assert error.startswith("error: ") and message in error
    assert len(error.strip().splitlines()) == 1 and "Traceback" not in error
    assert not Path("x.png").exists()


def test_from_outside(known: FindBundle) -> None:
    """As a user types it: one line on stderr, nothing on stdout, no traceback."""
    for arguments, code in ((["info", "nowhere"], 2), (["nonsense"], 2), (["info", str(known("invert"))], 0)):
        words = [sys.executable, "-m", "i2i_sdk", *arguments]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code
        assert (done.stderr == "") == (code == 0) and (done.stdout == "") == (code != 0)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        *(["run", "x.i2i"], ["run"], ["info"], ["tune", "x.i2i", "--rounds", "many"]),
        ["info", "x.i2i", "--color"],
        ["run", "x.onnx", "a.png", "-o", "b.png", "--input-range", "black"],
    ],
)
def test_argparse_errors_exit_with_2_too(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert f"usage: i2i {arguments[0]}" in error and "_range" not in error


@pytest.mark.parametrize("text", ["black", "1", "0,1,2", "0;255", ""])
def test_a_range_that_is_none_says_how_to_write_one(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with pytest.raises(SystemExit):
        main(["run", "x.onnx", "a.png", "-o", "b.png", "--input-range", text])
    assert f"got {text!r}; give black and white as 0,255 or -1,1" in capsys.readouterr().err


def test_interrupt_and_full_disk(monkeypatch: pytest.MonkeyPatch, run_command: RunCommand) -> None:
    command = Mock(side_effect=[KeyboardInterrupt, OSError(28, "No space left on device"), ZeroDivisionError])
    monkeypatch.setattr("i2i_sdk.cli.main.load", lambda _: command)
    assert run_command("info", "x", code=130).err == "interrupted\n"
    assert run_command("info", "x", code=2).err.startswith(
        "error: [Errno 28] No space left on device: the disk is full; free some space"
    )
    with pytest.raises(ZeroDivisionError):  # a bug is not dressed up as a user's mistake
        main(["info", "x"])


@pytest.mark.parametrize("extra", ["export", "train"])  # the commands are called as their extras
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, run_command: RunCommand, extra: str
) -> None:
    missing = ModuleNotFoundError("No module named 'torch'", name="torch")
    monkeypatch.setattr("i2i_sdk.cli.main.load", Mock(side_effect=missing))
    message = f"error: this command needs torch: pip install 'i2i-sdk[{extra}]'\n"
    assert run_command(extra, code=2).err == message
    with pytest.raises(ModuleNotFoundError):  # the base install is broken: that is no missing extra
        main(["info"])


# info


def test_info_on_a_bundle(known: FindBundle, run_command: RunCommand) -> None:
    output = run_command("info", known("invert")).out
    for text in (
        *("invert, 3 -> 3 channels", "known: widths=[1, 2]", "Apache-2.0", "none was needed"),
        *(variant.name for variant in Bundle.read(known("invert")).manifest.variants),
        *("runs", "60.0", "55.5", "PSNR: dB against PyTorch, mean of 6 frames (builtin)"),
    ):
        assert text in output


def test_info_tells_how_each_variant_came_about(folder: Path, run_command: RunCommand) -> None:
    change = {
        "verified": "graph",
        "verified_by": "the MIL program",
        "macs_in_precision": 0.68,
        "precision_kept": {"first": "fp32", "up1": "bf16", "last": "fp32"},
        "requires": {"engine": "tensorrt>=10", "cpu": ["bf16"], "os": ["linux", "windows"]}
        | {"compute_capabilities": ["8.6", "12.0"]},
    }
    edit_manifest(folder, lambda data: data["variants"][0].update(change))
    output = run_command("info", folder).out
    assert " 68% " in output
    assert "in it: share of the multiplications that are done in the variant's precision" in output
    assert "ort-fp32-24x40 keeps in fp32: first, last; in bf16: up1" in output
    assert "ort-fp32-24x40: its graph was verified by the MIL program" in output
    wanted = "tensorrt>=10, a CPU with bf16, linux or windows, an NVIDIA GPU of 8.6, 12.0"
    assert f"needs {wanted}: ort-fp32-24x40" in output
    assert "needs openvino>=1: openvino-fp32-24x40, openvino-bf16-24x40" in output


def test_info_as_json_is_the_manifest(known: FindBundle, run_command: RunCommand) -> None:
    data = json.loads(run_command("info", "--json", known("invert")).out)
    assert data == json.loads((known("invert") / "manifest.json").read_text())


def test_info_shows_strangers_names_as_they_are(folder: Path, run_command: RunCommand) -> None:
    """Brackets are markup to the library that draws tables: "[/]" would stop it, "[red]" would vanish."""
    for index, name in enumerate(("[/]", "a[red]b")):
        edit_manifest(folder, lambda data, i=index, name=name: data["variants"][i].update(name=name))
    output = run_command("info", folder).out
    assert "[/]" in output and "a[red]b" in output


def test_info_says_what_to_install(
    known: FindBundle, monkeypatch: pytest.MonkeyPatch, run_command: RunCommand
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    reason = "the package is missing: pip install 'i2i-sdk[openvino]'"
    reasons = {"openvino": reason}
    monkeypatch.setattr("i2i_sdk.cli.info.explain_unsupported_variant", lambda v: reasons.get(v.backend))
    printed = run_command("info", known("invert")).out
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


def test_run_translates_an_image(known: FindBundle, tmp_path: Path, run_command: RunCommand) -> None:
    image, out = make_noise(24, 40, 3), tmp_path / "out.png"
    cv2.imwrite("in.png", image)
    output = run_command("run", known("invert"), "in.png", "-o", out, "--quiet").out
    assert (cv2.imread(str(out)) == 255 - image).all()
    assert re.search(rf"wrote {out}: 1 frame in \d+\.\d\d s with ", output)


@pytest.mark.parametrize("source", ["rtsp://me:secret@host/x", "http://host/x", "0", "/dev/video0"])
def test_run_names_the_command_for_live_video(run_command: RunCommand, source: str) -> None:
    message = run_command("run", "sketch", source, "-o", "out.mp4", code=2).err
    shown = source.replace("me:secret@", "")
    assert f"{shown} is a camera or a stream" in message and f"i2i live sketch --source {shown}" in message


def test_run_takes_what_fits_the_time(
    known: FindBundle, run_command: RunCommand, caplog: pytest.LogCaptureFixture
) -> None:
    cv2.imwrite("in.png", make_noise(24, 40, 3))
    words = ["run", known("invert"), "in.png", "-o", "out.png", "--quiet"]
    run_command("tune", known("invert"), "--rounds", 3)
    run_command(*words, "--max-ms", "1e6")
    assert caplog.text == ""
    run_command(*words, "--max-ms", "1e-6", "--min-psnr", 119)
    assert "no variant of this quality takes at most 1e-06 ms here; taking the fastest" in caplog.text
    output = run_command(*words, "--provider", "cpu", "--allow-fallback").out
    assert "with ort-fp32-24x40" in output
    assert "24x40 on CPU" in run_command(*words, "--device", "cpu").out


def test_run_with_an_external_graph(run_command: RunCommand) -> None:
    """-1,1 looks like an option to argparse."""
    graph, image = save_affine(Path("x.onnx"), [-1] * 3, [0] * 3), make_noise(24, 40, 3)
    cv2.imwrite("in.png", image)
    ranges, layout = ("--input-range", "-1,1", "--output-range", "-1,1"), ("--layout", "nchw")
    run_command("run", graph, "in.png", "-o", "out.png", *ranges, *layout, "--channel-order", "rgb")
    assert (cv2.imread("out.png") == 255 - image).all()


@pytest.mark.parametrize("name", ["a.ckpt", "a.pth.tar", "a.bin"])
def test_info_reads_checkpoints_of_other_names(run_command: RunCommand, name: str) -> None:
    Path(name).write_text("nothing")
    assert f"{name}: not a PyTorch file: it begins with b'nothing'" in run_command("info", name, code=2).err


def test_info_on_an_onnx_file_says_what_it_is(run_command: RunCommand) -> None:
    message = run_command("info", save_affine(Path("x.onnx"), [1], [0]), code=2).err
    assert "x.onnx is an ONNX file, not a bundle" in message and "i2i run x.onnx" in message


# zoo


def test_zoo_lists_what_ships(
    known: FindBundle, monkeypatch: pytest.MonkeyPatch, run_command: RunCommand
) -> None:
    monkeypatch.setattr("i2i_sdk.loading.find_zoo_bundle", lambda _: known("invert"))
    output = run_command("zoo").out
    assert output.startswith("sketch ") and "24x40" in output and "Apache-2.0" in output


def test_checkpoints_of_a_checkout_are_named(run_command: RunCommand) -> None:
    Path("models/vangogh").mkdir(parents=True)
    Path("models/vangogh/latest_net_G.safetensors").touch()
    hint = "models/ has checkpoints of vangogh; make a bundle of one: i2i export models/NAME/"
    assert hint in run_command("zoo").out
    assert f"not in the zoo (sketch). {hint}" in run_command("info", "vangogh", code=2).err
