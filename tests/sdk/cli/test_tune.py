"""`i2i tune`: latency and quality of every variant here, the front of both, and what is remembered."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from known_bundles import FindBundle, RunCommand, edit_manifest, give_own_graph, hash_files

from i2i_sdk import Bundle, Translator
from i2i_sdk.backends import explain_unsupported_variant
from i2i_sdk.cli import tune
from i2i_sdk.perf.plots import check_plot
from i2i_sdk.perf.timing import compute_statistics
from i2i_sdk.selection import load_latencies


@pytest.fixture
def poor_bundle(folder: Path, known: FindBundle, working_folder: Path) -> Bundle:
    """Its second variant shows another picture: fast as the others, and of no quality."""
    give_own_graph(folder, known("swap") / "reference.onnx")
    return Bundle.read(folder)


def test_what_runs_is_measured_and_remembered(bundle: Bundle, run_command: RunCommand) -> None:
    before = hash_files(bundle.path)
    output = run_command("tune", bundle.path, "--rounds", 3).out
    runs = {v.name for v in bundle.manifest.variants if explain_unsupported_variant(v) is None}
    measured = load_latencies(bundle)
    assert set(measured) == runs
    for name, found in measured.items():
        assert 0 < found.median_ms <= found.p95_ms and found.psnr == 120.0
        assert name in output
    assert "PSNR: against the reference, 6 frames (builtin)" in output
    assert f"next: i2i run {bundle.path} SOURCE -o OUT" in output
    assert hash_files(bundle.path) == before
    with Translator(bundle.path) as translate:
        assert translate.variant is not None
        assert translate.variant.name == min(measured, key=lambda name: measured[name].median_ms)


def test_quality_is_measured_on_the_frames_given(
    poor_bundle: Bundle, photos: Path, run_command: RunCommand
) -> None:
    """What the manifest says of a variant's quality is not believed; Translator passes it over then."""
    output = run_command("tune", poor_bundle.path, "--rounds", 3, "--frames", photos).out
    assert "3 frames (user)" in output
    first, second, *_ = poor_bundle.manifest.variants
    measured = load_latencies(poor_bundle)
    assert measured[first.name].psnr == 120.0 and measured[second.name].psnr < 15
    with Translator(poor_bundle.path, max_ms=1e6) as translate:
        assert translate.variant is not None and translate.variant.name != second.name


def test_dominated_variants_are_marked(
    poor_bundle: Bundle, photos: Path, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    variants = zip(poor_bundle.manifest.variants, (8.0, 9.0, 7.0), strict=True)
    runs = {v.name: ms for v, ms in variants if explain_unsupported_variant(v) is None}
    timings = {name: compute_statistics([ms] * 3) for name, ms in runs.items()}
    monkeypatch.setattr(tune, "measure_timings", lambda *_: (timings, {}))
    output = run_command("tune", poor_bundle.path, "--frames", photos).out
    rows = {line.split()[0]: line for line in output.splitlines() if "-24x40" in line}
    fastest = min(runs, key=lambda name: runs[name])  # BF16 where this CPU has it
    assert rows[fastest].rstrip().endswith("on the front")
    assert rows["openvino-fp32-24x40"].rstrip().endswith(f"dominated by {fastest}")


def test_without_frames_and_without_scikit_image(
    bundle: Bundle, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device has neither; what was found at export is taken then, and said."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    output = run_command("tune", bundle.path, "--rounds", 3).out
    assert "PSNR: as at export; --frames DIR measures it here" in output
    assert {found.psnr for found in load_latencies(bundle).values()} == {60.0}


def test_variants_that_do_not_run_say_why_and_stop_nothing(bundle: Bundle, run_command: RunCommand) -> None:
    edit_manifest(bundle.path, lambda data: data["variants"][0].update(precision="int8", name="false"))
    edit_manifest(bundle.path, lambda data: data["variants"][2].update(backend="abacus", name="strange"))
    output = run_command("tune", bundle.path, "--rounds", 3).out
    assert "asked ONNX Runtime for int8, it would compute in fp32" in output
    assert "not run: backend 'abacus' is not known" in output
    assert set(load_latencies(Bundle.read(bundle.path))) == {"openvino-fp32-24x40"}


# the picture


def test_the_front_is_drawn(bundle: Bundle, run_command: RunCommand) -> None:
    assert "drawn in x.front.png" in run_command("tune", bundle.path, "--rounds", 3, "--plot").out
    picture = cv2.imread("x.front.png")
    assert picture is not None and min(picture.shape[:2]) > 600
    assert (picture < 128).any()
    run_command("tune", bundle.path, "--rounds", 3, "--plot", "other.png")
    assert Path("other.png").is_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("front.jpg", "--plot front.jpg: a name that ends in .png is needed"),
        ("nowhere/front.png", "--plot nowhere/front.png: there is no folder nowhere"),
    ],
)
def test_a_picture_that_cannot_be_written_is_said_before_measuring(
    bundle: Bundle, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.setattr(tune, "tune_bundle", lambda *_: pytest.fail("measured"))
    assert message in run_command("tune", bundle.path, "--plot", name, code=2).err


def test_without_matplotlib_its_extra_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"--plot needs matplotlib: pip install 'i2i-sdk\[plot\]'"):
        check_plot(Path("x.png"))
