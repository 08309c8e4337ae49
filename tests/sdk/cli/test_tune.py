"""`i2i tune`: latency and quality of every variant here, the front of both, and what is remembered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from known_bundles import HEIGHT, WIDTH, hash_files, make_noise

from i2i_sdk import Bundle, Translator
from i2i_sdk.backends import explain_unsupported_variant
from i2i_sdk.cli import tune
from i2i_sdk.cli.main import main
from i2i_sdk.files import hash_file
from i2i_sdk.media.images import write_image
from i2i_sdk.perf.pareto_plot import check_plot
from i2i_sdk.perf.timing import compute_statistics
from i2i_sdk.selection import load_latencies

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def bundle(known: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle of its own in the working folder, and an empty cache."""
    monkeypatch.setenv("I2I_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return Bundle.read(Path(shutil.copytree(known("invert"), tmp_path / "x.i2i")))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for index in range(2):
        write_image(tmp_path / "photos" / f"{index}.png", make_noise(HEIGHT, WIDTH, 3, seed=index))
    return tmp_path / "photos"


def edit_manifest(bundle: Bundle, change: Callable[[dict], None]) -> Bundle:
    file = bundle.path / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))
    return Bundle.read(bundle.path)


def swap_variant_colors(bundle: Bundle, known: Callable[[str], Path]) -> Bundle:
    """Its second variant shows another picture: fast as the others, and of no quality."""
    other = Path(shutil.copy(known("swap") / "reference.onnx", bundle.path / "other.onnx"))
    entry = {"path": other.name, "sha256": hash_file(other), "bytes": other.stat().st_size}
    return edit_manifest(bundle, lambda manifest: manifest["variants"][1].update(files=[entry]))


def test_what_runs_is_measured_and_remembered(bundle: Bundle, capsys: Capture) -> None:
    before = hash_files(bundle.path)
    assert main(["tune", str(bundle.path), "--rounds", "3"]) == 0
    output = capsys.readouterr().out
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
    bundle: Bundle, known: Callable[[str], Path], photos: Path, capsys: Capture
) -> None:
    """What the manifest says of a variant's quality is not believed; Translator passes it over then."""
    bundle = swap_variant_colors(bundle, known)
    assert main(["tune", str(bundle.path), "--rounds", "3", "--frames", str(photos)]) == 0
    assert "2 frames (user)" in capsys.readouterr().out
    first, second, *_ = bundle.manifest.variants
    measured = load_latencies(bundle)
    assert measured[first.name].psnr == 120.0 and measured[second.name].psnr < 15
    with Translator(bundle.path, max_ms=1e6) as translate:
        assert translate.variant is not None and translate.variant.name != second.name


def test_dominated_variants_are_marked(
    bundle: Bundle,
    known: Callable[[str], Path],
    photos: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = swap_variant_colors(bundle, known)
    times = zip(bundle.manifest.variants, (8.0, 9.0, 7.0), strict=True)
    timings = {
        v.name: compute_statistics([ms] * 3) for v, ms in times if explain_unsupported_variant(v) is None
    }
    monkeypatch.setattr(tune, "measure_timings", lambda *_: (timings, {}))
    assert main(["tune", str(bundle.path), "--frames", str(photos)]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if "-24x40" in line}
    fastest = next(name for name in ("openvino-bf16-24x40", "ort-fp32-24x40") if name in rows)
    assert rows[fastest].rstrip().endswith("on the front")
    assert rows["openvino-fp32-24x40"].rstrip().endswith(f"dominated by {fastest}")


def test_without_frames_and_without_scikit_image(
    bundle: Bundle, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device has neither; what was found at export is taken then, and said."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["tune", str(bundle.path), "--rounds", "3"]) == 0
    assert "PSNR: as at export; --frames DIR measures it here" in capsys.readouterr().out
    assert {found.psnr for found in load_latencies(bundle).values()} == {60.0}


def test_variants_that_do_not_run_say_why_and_stop_nothing(bundle: Bundle, capsys: Capture) -> None:
    def change(manifest: dict) -> None:
        manifest["variants"][0] |= {"precision": "int8", "name": "false"}
        manifest["variants"][2] |= {"backend": "abacus", "name": "strange"}

    bundle = edit_manifest(bundle, change)
    assert main(["tune", str(bundle.path), "--rounds", "3"]) == 0
    output = capsys.readouterr().out
    assert "asked ONNX Runtime for int8, it would compute in fp32" in output
    assert "not run: backend 'abacus' is not known" in output
    assert set(load_latencies(bundle)) == {"openvino-fp32-24x40"}


def test_nothing_that_runs_is_an_error(bundle: Bundle, capsys: Capture) -> None:
    bundle = edit_manifest(
        bundle, lambda manifest: [v.update(backend="abacus") for v in manifest["variants"]]
    )
    assert main(["tune", str(bundle.path)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "no variant can run on this device: " in said and "is not known" in said


# the picture


def test_the_front_is_drawn(bundle: Bundle, capsys: Capture) -> None:
    assert main(["tune", str(bundle.path), "--rounds", "3", "--plot"]) == 0
    assert "drawn in x.front.png" in capsys.readouterr().out
    picture = cv2.imread("x.front.png")
    assert picture is not None and min(picture.shape[:2]) > 600
    for blue, green, red in ((0xB2, 0x72, 0x00), (0x00, 0x5E, 0xD5)):  # the colors of front and dominated
        assert (abs(picture.astype(int) - (blue, green, red)).sum(axis=-1) < 12).sum() > 50
    assert main(["tune", str(bundle.path), "--rounds", "3", "--plot", "other.png"]) == 0
    assert Path("other.png").is_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("front.jpg", "--plot front.jpg: a name that ends in .png is needed"),
        ("nowhere/front.png", "--plot nowhere/front.png: there is no folder nowhere"),
    ],
)
def test_a_picture_that_cannot_be_written_is_said_before_measuring(
    bundle: Bundle, capsys: Capture, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.setattr(tune, "tune_bundle", lambda *_: pytest.fail("measured"))
    assert main(["tune", str(bundle.path), "--plot", name]) == 2
    assert message in capsys.readouterr().err


def test_without_matplotlib_its_extra_is_named(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"--plot needs matplotlib: pip install 'i2i-sdk\[plot\]'"):
        check_plot(Path("x.png"))
