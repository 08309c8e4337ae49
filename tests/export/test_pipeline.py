"""From a checkpoint to a bundle: every variant is checked, and nothing is written when one fails."""

from __future__ import annotations

import copy
import io
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from rich.console import Console

from i2i_export import pipeline
from i2i_export.cli import StepReporter
from i2i_export.int8.builder import CALIBRATION_ADVICE
from i2i_export.options import ExportOptions
from i2i_export.pipeline import ExportResult, export
from i2i_export.targets import TargetRequest, parse_targets
from i2i_sdk import Bundle, BundleError, CheckpointError, ExportError, ParityError, Translator
from i2i_sdk.cli.main import main as i2i
from i2i_sdk.media.images import write_image
from i2i_sdk.quality.floors import PSNR_FLOORS
from i2i_sdk.quality.metrics import psnr
from i2i_training.checkpoint import load_generator, save_generator
from i2i_training.networks import (
    CompactConfig,
    DcganConfig,
    EncoderDecoderConfig,
    GeneratorConfig,
    GeneratorSpec,
    ResnetConfig,
    UnetConfig,
    UnitConfig,
)
from tests.export.conftest import SMALL, get_variants, make_generator, save_network

ALL = [("ort", "fp32"), ("openvino", "fp32")]
SIZE = ExportOptions(size=(64, 64))
NETWORKS: dict[str, GeneratorConfig] = {
    **SMALL,
    "unit": UnitConfig(width=4, blocks=1),
    "unit_gray": UnitConfig(1, 3, width=4, blocks=1, norm="batch", upsample="bilinear"),
    "encoder_decoder": EncoderDecoderConfig(width=16),
    "compact": CompactConfig(width=16, blocks=2, global_places=1),
    "compact_gray": CompactConfig(1, 3, width=8, blocks=1, norm="none", global_places=0),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_keeps_its_pictures(name: str, tmp_path: Path) -> None:
    """In engines that differ: together they have every layer of every network."""
    path = save_network(tmp_path / "net.safetensors", NETWORKS[name])
    exported = export(path, [*ALL, ("ncnn", "fp32"), ("web", "fp16")], tmp_path / "x.i2i", SIZE)
    found = {c.variant.name: c.variant for c in exported.variants}
    assert list(found) == [f"{kind}-64x64" for kind in ("ort-fp32", "openvino-fp32", "ncnn-fp32", "web-fp16")]
    for variant in found.values():
        assert variant.verified == ("graph" if variant.backend == "web" else "device")
        assert variant.parity is not None and variant.parity.psnr >= PSNR_FLOORS[variant.precision]
        assert variant.parity.frames_from == "builtin"
    graph = onnx.load(str(tmp_path / "x.i2i" / "reference.onnx"))
    operators = Counter(node.op_type for node in graph.graph.node)
    assert "BatchNormalization" not in operators
    if NETWORKS[name].norm == "batch":  # running statistics leave no normalization at all
        assert "InstanceNormalization" not in operators
    with Translator(tmp_path / "x.i2i", backend="ort") as translate:
        assert translate(np.zeros((50, 70, 3), np.uint8)).shape == (50, 70, 3)


NO_TRANSLATORS: list[tuple[GeneratorConfig, str]] = [
    (DcganConfig(latent=12, width=8, size=32), r"makes images of noise.*i2i sample CHECKPOINT"),
    *(
        (
            ResnetConfig(*channels, width=4, blocks=1),
            r"takes {} and gives {} channels, and .* 1 \(gray\) or 3",
        )
        for channels in ((2, 3), (4, 3), (6, 3), (3, 2), (3, 4), (3, 6), (16, 16), (1, 2))
    ),
    (UnetConfig(5, 1, width=4, downs=5), "takes 5 and gives 1 channels"),
]


@pytest.mark.parametrize(("config", "message"), NO_TRANSLATORS)
def test_what_no_translator_could_run_is_refused_first(
    config: GeneratorConfig, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_network(tmp_path / "latest_net_G.safetensors", config)
    message = message.format(config.in_channels, config.out_channels)
    done: list[str] = []
    with pytest.raises(ExportError, match=message):
        export(path, ALL, tmp_path / "x.i2i", progress=done.append)
    assert done == [f"reading {path.name}"] and list(tmp_path.iterdir()) == [path]
    assert i2i(["info", str(path)]) == 0
    said = capsys.readouterr().out
    assert re.search(rf"no bundle can be made of it: .*{message}", said) and "i2i export" not in said


@pytest.mark.parametrize("name", ["name", "license", "trained_on"])
@pytest.mark.parametrize("text", ["two\nlines", "red \x1b[31m", "\ud800"])
def test_texts_that_no_manifest_may_have_are_refused_first(
    name: str, text: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    done: list[str] = []
    with pytest.raises(ExportError, match=rf"^model\.{name}: .* may not stand in a text"):
        export(checkpoints["resnet"], ALL, tmp_path / "x.i2i", SIZE, done.append, **{name: text})
    assert done == ["reading resnet.safetensors"] and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["resnet", "mobile", "unit", "encoder_decoder", "resnet_gray"])
def test_sizes_that_leave_nothing_are_refused_first(name: str, tmp_path: Path) -> None:
    config = NETWORKS[name]
    path = save_network(tmp_path / "net.safetensors", replace(config, norm="instance"))
    side = config.multiple_of
    with pytest.raises(ExportError, match=rf"size {side}x{side}: too small for this .*--size {4 * side}"):
        export(path, ALL, tmp_path / "x.i2i", size=side)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_first(value: float, tmp_path: Path) -> None:
    module = make_generator(SMALL["resnet"])
    next(module.parameters()).data[0] = value
    path = save_generator(tmp_path / "net.safetensors", module, GeneratorSpec(SMALL["resnet"]))
    with pytest.raises(ExportError, match=r"model\.1\.weight is not finite, so its training failed"):
        export(path, ALL, tmp_path / "x.i2i", SIZE)


def test_reference_graph_obeys_the_uint8_contract(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    export(checkpoints["resnet_gray"], [("ort", "fp32")], tmp_path / "x.i2i", ExportOptions(size=(64, 96)))
    graph = onnx.load(str(tmp_path / "x.i2i" / "reference.onnx")).graph
    (image,), (translated,) = graph.input, graph.output
    for value, channels in ((image, 1), (translated, 3)):
        kind = value.type.tensor_type
        assert kind.elem_type == onnx.TensorProto.UINT8
        assert [d.dim_value or d.dim_param for d in kind.shape.dim] == ["batch", 64, 96, channels]
    # No paths of this machine.
    assert not any("/" in node.doc_string or node.metadata_props for node in graph.node)


@pytest.mark.parametrize("backend", ["ort", "openvino", "ncnn"])
def test_batches_up_to_eight_equal_single_frames(backend: str, sketch_export: ExportResult) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (8, 64, 96, 3), np.uint8)
    with Translator(sketch_export.bundle.path, backend=backend, precision="fp32") as translate:
        together = np.concatenate(list(translate.batch(list(frames))))
        assert psnr(together, np.concatenate([translate(frame) for frame in frames])) > 60


@pytest.mark.parametrize("norm_mode", ["batch_stats", "running_stats"])
def test_upstream_pth_in_both_norm_modes(norm_mode: str, tmp_path: Path) -> None:
    path = tmp_path / "latest_net_G.pth"
    torch.save(make_generator(UnetConfig(width=8, downs=5)).state_dict(), path)
    options = ExportOptions(size=(64, 64), norm_mode=norm_mode)
    exported = export(path, [("ort", "fp32")], tmp_path / "x.i2i", options)
    assert exported.bundle.manifest.model.norm_mode == norm_mode
    parity = exported.variants[0].variant.parity
    assert parity is not None and parity.psnr >= 50


def test_manifest_tells_the_checkpoints_story(sketch_export: ExportResult, sketch_checkpoint: Path) -> None:
    _, spec = load_generator(sketch_checkpoint)
    manifest = sketch_export.bundle.manifest
    model = manifest.model
    assert (model.name, model.license, model.trained_on) == ("pencil", "CC0", "drawn shapes")
    assert (model.source_sha256, model.steps) == (spec.source_sha256, spec.steps)
    assert manifest.input.multiple_of == 4
    ort, openvino = (get_variants(sketch_export, backend)["fp32"] for backend in ("ort", "openvino"))
    assert ort.files == openvino.files and ort.macs > 1_000_000  # OpenVINO reads ONNX Runtime's file


def test_sizes_and_targets_are_added_to_a_bundle(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "x.i2i"
    for target, size in (("ort", (64, 64)), ("openvino", (64, 64)), ("ort", (32, 96))):
        export(checkpoints["resnet"], [(target, "fp32")], out, ExportOptions(size=size))
    found = [v.name for v in Bundle.read(out).manifest.variants]
    # The size that came first stays the default.
    assert found == ["ort-fp32-64x64", "openvino-fp32-64x64", "ort-fp32-32x96"]
    files = sorted(p.name for p in out.iterdir())
    assert files == ["manifest.json", "reference.onnx", "reference_32x96.onnx"]
    with Translator(out, size=(32, 96)) as t:
        assert (t.height, t.width) == (32, 96)


def test_another_checkpoint_needs_force(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "x.i2i"
    export(checkpoints["resnet"], ALL, out, SIZE)
    with pytest.raises(BundleError, match=r"another checkpoint.*--force"):
        export(checkpoints["mobile"], ALL, out, SIZE)
    forced = ExportOptions(size=(64, 64), force=True)
    exported = export(checkpoints["mobile"], [("ort", "fp32")], out, forced)
    assert [v.name for v in Bundle.read(out).manifest.variants] == ["ort-fp32-64x64"]
    assert exported.bundle.manifest.model.architecture == "mobile_resnet"


def test_a_variant_below_its_floor_writes_nothing(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    options = ExportOptions(size=(64, 64), min_psnr=121.0)
    with pytest.raises(ParityError, match=r"the floor is 121 dB .*--min-psnr changes the floor"):
        export(checkpoints["resnet"], ALL, tmp_path / "x.i2i", options)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_rewrite_is_caught(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parity compares with the unrewritten module, so the rewrite cannot check itself."""
    right = pipeline.wrap_for_export
    monkeypatch.setattr(pipeline, "wrap_for_export", lambda module, spec: right(_change_gain(module), spec))
    with pytest.raises(ParityError):
        export(checkpoints["resnet_batch"], ALL, tmp_path / "x.i2i", SIZE)
    assert list(tmp_path.iterdir()) == []


def _change_gain(module: torch.nn.Module) -> torch.nn.Module:
    module = copy.deepcopy(module)
    norm = next(m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d))
    with torch.no_grad():
        norm.weight.mul_(1.3)
    return module


@pytest.mark.parametrize(
    ("name", "size", "nearest"),
    [("resnet", (66, 64), "64x64"), ("unet", (64, 100), "64x96"), ("unet", (16, 32), "32x32")],
)
def test_sizes_that_do_not_divide_are_refused(
    name: str, size: tuple[int, int], nearest: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=f"multiples of .*the nearest is {nearest}"):
        export(checkpoints[name], ALL, tmp_path / "x.i2i", ExportOptions(size=size))


def test_targets_are_parsed_and_refused() -> None:
    fp32, int8 = TargetRequest("ort", "fp32"), TargetRequest("ort", "int8")
    assert parse_targets("ort:fp32,openvino:fp32,ort:fp32") == [TargetRequest(*pair) for pair in ALL]
    frames = ExportOptions(frames=Path("photos"))
    assert parse_targets("ort", frames) == [fp32, TargetRequest("ort", "int8", required=False)]
    assert parse_targets("ort:int8", frames) == [int8]
    assert parse_targets("ort,ort:int8", frames) == [fp32, int8]
    assert parse_targets("ort") == [fp32]
    everything = parse_targets("all", frames)
    assert {w.target for w in everything} == set(pipeline.TARGETS)
    assert [w for w in everything if w.required] == [fp32]
    defaults = {"coreml": ("fp16", "w8", "palette6"), "web": ("fp16",), "ncnn": ("fp32", "fp16")}
    for target, precisions in defaults.items():
        assert [(w.target, w.precision) for w in parse_targets(target)] == [(target, p) for p in precisions]
    with pytest.raises(ExportError, match="target 'tensorflow' is not known; known: ort, openvino"):
        parse_targets("ort,tensorflow")
    with pytest.raises(ExportError, match="ort has no precision 'bf16'; it has fp32, int8"):
        parse_targets("ort:bf16")


def test_broken_checkpoints_write_nothing(shared_data: Path, tmp_path: Path) -> None:
    for path in sorted((shared_data / "checkpoints" / "broken").iterdir()):
        with pytest.raises(CheckpointError, match=path.name):
            export(path, ALL, tmp_path / "x.i2i", SIZE)
    assert list(tmp_path.iterdir()) == []


def test_zebras_keep_their_pictures(zebra_checkpoint: Path, shared_data: Path, tmp_path: Path) -> None:
    """The horse-to-zebra generator on real photos: the promise of the README."""
    options = ExportOptions(size=(256, 256), frames=shared_data / "photos")
    exported = export(zebra_checkpoint, parse_targets("ort,openvino"), tmp_path / "h2z.i2i", options)
    for variant in (c.variant for c in exported.variants):
        assert variant.parity is not None and variant.parity.frames == 32
        assert variant.parity.psnr >= {"fp32": 50, "bf16": 40}[variant.precision]


def test_a_direction_that_the_checkpoint_denies_is_refused(tmp_path: Path) -> None:
    path = save_network(tmp_path / "latest_net_G.safetensors", SMALL["resnet"], direction="AtoB")
    with pytest.raises(ExportError, match="was trained AtoB, not BtoA"):
        export(path, ALL, tmp_path / "x.i2i", ExportOptions(direction="BtoA"))
    exported = export(path, [("ort", "fp32")], tmp_path / "x.i2i", ExportOptions(direction="AtoB"))
    assert exported.bundle.manifest.model.direction == "AtoB"


def test_an_upstream_pth_takes_the_direction_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "latest_net_G_B.pth"
    torch.save(make_generator(SMALL["resnet"]).state_dict(), path)
    for direction, recorded in ((None, "unknown"), ("BtoA", "BtoA")):
        options = ExportOptions(size=(32, 32), direction=direction, force=True)
        exported = export(path, [("ort", "fp32")], tmp_path / f"{recorded}.i2i", options)
        assert exported.bundle.manifest.model.direction == recorded


def test_what_is_not_required_is_left_out_with_its_reason(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A default precision that misses its floor must not take the others with it; a required one must."""
    monkeypatch.setitem(PSNR_FLOORS, "fp16", 121.0)
    source, out = checkpoints["resnet"], tmp_path / "x.i2i"
    wanted = [TargetRequest("openvino", "fp32"), TargetRequest("web", "fp16", required=False)]
    exported = export(source, wanted, out, SIZE)
    assert [c.variant.precision for c in exported.variants] == ["fp32"]
    assert len(exported.skipped) == 1 and "web:fp16: web-fp16-64x64: " in exported.skipped[0]
    assert [v.name for v in Bundle.read(out).manifest.variants] == ["openvino-fp32-64x64"]
    with pytest.raises(ParityError, match="floor is 121 dB"):
        export(source, [TargetRequest("web", "fp16")], tmp_path / "y.i2i", SIZE)
    assert not (tmp_path / "y.i2i").exists()


# what the command says


def test_each_step_is_said_with_its_time_and_what_to_run_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], crops: Path
) -> None:
    """A run's folder names the bundle; what is said of INT8's steps is tested in int8/."""
    monkeypatch.chdir(tmp_path)
    save_network(tmp_path / "my zebras" / "latest_net_G.safetensors", SMALL["resnet"], size=64)
    assert i2i(["export", "my zebras", "--to", "ort", "--frames", str(crops)]) == 0
    said, steps = capsys.readouterr()
    begun = [line.removesuffix(" …") for line in steps.splitlines() if line.endswith(" …")]
    assert begun[:5] == [
        "reading latest_net_G.safetensors",
        "PyTorch: the pictures to compare with",
        "writing the graph for 64x64",
        "ort fp32: building",
        "ort fp32: comparing 12 frames with PyTorch's",
    ]
    assert "int8: ranges of activations on 12 frames" in begun and len(begun) == len(set(begun))
    assert re.search(r"^writing the graph for 64x64: \d+\.\d s$", steps, re.MULTILINE)
    assert re.search(r"^took \d+ s, peak memory \d+\.\d GB$", said, re.MULTILINE)
    assert said.endswith(
        "wrote my zebras.i2i\n"
        "next: i2i run 'my zebras.i2i' video.mp4 -o out.mp4\n"
        "      i2i live 'my zebras.i2i'\n"
        "      i2i serve 'my zebras.i2i'\n"
    )


def test_a_bundle_for_other_devices_says_where_to_go(
    checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(checkpoints["resnet"]), "--size", "32", "-o", str(tmp_path / "x.i2i")]
    assert i2i([*words, "--to", "web"]) == 0
    said = capsys.readouterr().out
    assert (
        said.endswith("next: copy it to a device that runs it, see docs/export.md\n") and "live" not in said
    )


@pytest.mark.parametrize("option", ["--frames", "--calibration"])
def test_frames_that_are_not_there_end_an_export_at_once(
    checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    words = ["export", str(checkpoints["resnet"]), "--size", "32", "-o", str(tmp_path / "x.i2i")]
    assert i2i([*words, option, str(tmp_path / "nowhere")]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"error: {tmp_path / 'nowhere'}: no such file or folder\n" and captured.out == ""


def test_the_steps_of_a_terminal_take_one_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows a comma is the same step; one that took no time is not worth a line."""
    clock = iter([0.0, 0.0, 0.01, 0.01, 0.01, 3.01])
    monkeypatch.setattr("i2i_export.cli.time.perf_counter", lambda: next(clock))
    steps, screen = StepReporter(), io.StringIO()
    steps.console = Console(file=screen, force_terminal=True, color_system=None)
    for text in ("fast", "slow [/b], 1 of 2", "slow [/b], 2 of 2"):
        steps(text)
    steps.close()
    assert screen.getvalue() == "slow [/b]: 3.0 s\n"


def test_int8_says_which_frames_it_needs(
    checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One image is enough where INT8 is not required."""
    photos, out = tmp_path / "photos", tmp_path / "x.i2i"
    write_image(photos / "one.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    words = ["export", str(checkpoints["resnet"]), "--size", "64", "-o", str(out)]
    frames = ["--frames", str(photos)]
    assert i2i([*words, "--to", "ort", *frames]) == 0
    assert "left out ort:int8: int8: " in capsys.readouterr().out
    assert [v.precision for v in Bundle.read(out).manifest.variants] == ["fp32"]
    assert i2i([*words, "--to", "ort:int8", *frames]) == 2
    assert "every second one is for calibration" in capsys.readouterr().err
    assert i2i([*words, "--to", "ort"]) == 0
    assert f"left out int8: it needs {CALIBRATION_ADVICE}\n" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        i2i(["export", "--help"])
    assert f"INT8 needs {CALIBRATION_ADVICE}" in " ".join(capsys.readouterr().out.split())
    assert i2i([*words[:2], "--size", "abc"]) == 2
    assert "size is 'abc'; allowed: 256" in capsys.readouterr().err
