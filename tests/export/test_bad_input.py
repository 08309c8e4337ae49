"""What goes wrong around an export: a full disk, signals, files that somebody changed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from i2i_export.options import ExportOptions
from i2i_export.pipeline import ExportResult, export
from i2i_sdk import BackendError, Bundle, BundleError, Translator
from i2i_sdk.backends import explain_unsupported_variant
from i2i_sdk.cli.main import main as i2i
from i2i_sdk.files import hash_file
from tests.training.warm import get_fork_server, wait_until

SIZE = ExportOptions(size=(64, 64))


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path inside."""
    return {p.relative_to(folder).as_posix(): hash_file(p) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def bundle(sketch_export: ExportResult, tmp_path: Path) -> Path:
    """One with variants of each kind that a test may break."""
    return Path(shutil.copytree(sketch_export.bundle.path, tmp_path / "x.i2i"))


# a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a small file system: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_bundle(
    sketch_checkpoint: Path, small_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """0.8 MB of graph, as much of weights, and what the converters write on the way."""
    out = small_disk / "x.i2i"
    export(sketch_checkpoint, [("ort", "fp32")], out, SIZE)
    before = hash_files(small_disk)
    for targets in ("ort", "ncnn:fp32", "web:fp16", "coreml:fp16"):
        words = ["export", str(sketch_checkpoint), "--size", "64", "--to", targets, "-o", str(out)]
        (small_disk / "ballast").write_bytes(bytes(1_000_000))
        assert i2i(words) == 2, targets
        errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and "No space left on device" in errors[0]
        (small_disk / "ballast").unlink()
        assert hash_files(small_disk) == before


# signals

SIGNAL_POINTS = {
    "the graph is written": "bundle/reference.onnx",
    "the network is traced": "scratch/ncnn.pt",
    "the weights are there": "bundle/ncnn-fp32-64x96.bin",
}


def export_and_signal(source: Path, out: Path, point: str, signal_number: signal.Signals) -> tuple[int, str]:
    """Send a signal to an export at that moment; its exit code and what it printed."""
    log = out.parent / "log"
    words = ["export", str(source), "--size", "64x96", "--to", "ncnn:fp32", "-o", str(out)]
    pid = get_fork_server().start(words, log)
    wait_until(lambda: any(out.parent.glob(f".{out.name}.partial*/{SIGNAL_POINTS[point]}")), log)
    os.kill(pid, signal_number)
    return get_fork_server().wait(pid), log.read_text()


@pytest.mark.parametrize("moment", SIGNAL_POINTS)
def test_a_killed_export_leaves_the_bundle(
    moment: str, sketch_checkpoint: Path, bundle: Path, tmp_path: Path
) -> None:
    before = hash_files(bundle)
    assert export_and_signal(sketch_checkpoint, bundle, moment, signal.SIGKILL)[0] == -signal.SIGKILL
    assert hash_files(bundle) == before
    assert [path.parent for path in tmp_path.rglob("manifest.json")] == [bundle]
    assert len(list(tmp_path.iterdir())) == 3  # the log, and half an export under a name that nothing reads


# Not while libraries are imported: theirs may swallow the interrupt.
@pytest.mark.parametrize("moment", ["the network is traced", "the weights are there"])
def test_an_interrupted_export_leaves_only_the_old_bundle(
    moment: str, sketch_checkpoint: Path, bundle: Path, tmp_path: Path
) -> None:
    before = hash_files(bundle)
    code, said = export_and_signal(sketch_checkpoint, bundle, moment, signal.SIGINT)
    assert (code, said.splitlines()[-1]) == (130, "interrupted"), said
    assert hash_files(bundle) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "x.i2i"]


def test_a_killed_first_export_leaves_no_bundle(sketch_checkpoint: Path, tmp_path: Path) -> None:
    """And what it left is in nobody's way."""
    out = tmp_path / "x.i2i"
    code, _ = export_and_signal(sketch_checkpoint, out, "the weights are there", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not out.exists() and not list(tmp_path.rglob("manifest.json"))
    export(sketch_checkpoint, [("ncnn", "fp32")], out, SIZE)
    assert [v.name for v in Bundle.read(out).manifest.variants] == ["ncnn-fp32-64x64"]


@pytest.mark.trial
def test_kills_at_any_moment_leave_a_whole_bundle(
    sketch_checkpoint: Path, bundle: Path, tmp_path: Path
) -> None:
    """The old one or, after the last moment, the new one."""
    words = ["export", str(sketch_checkpoint), "--size", "64x96", "--to", "ncnn:fp32", "-o", str(bundle)]
    delays = Random(0)
    for _ in range(60 if "I2I_TRIALS" in os.environ else 2):
        pid = get_fork_server().start(words, tmp_path / "log")
        time.sleep(delays.uniform(0, 6))
        os.kill(pid, signal.SIGKILL)
        get_fork_server().wait(pid)
        found = Bundle.read(bundle)
        assert all(found.files_of(variant) for variant in found.manifest.variants)


# files that somebody changed


def test_one_flipped_bit_in_any_file_of_any_kind(bundle: Path) -> None:
    manifest = Bundle.read(bundle).manifest
    assert {v.backend for v in manifest.variants} == {"ort", "openvino", "ncnn", "web", "coreml", "trt"}
    assert len(manifest.collect_files()) >= 9
    for name in manifest.collect_files():
        path = bundle / name
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :])
        for variant in manifest.variants:
            if name not in {entry.path for entry in variant.files}:
                assert Bundle.read(bundle).files_of(variant)
                continue
            with pytest.raises(BundleError, match=r"its content is not what the manifest's SHA-256 says"):
                Bundle.read(bundle).files_of(variant)
            kind = BundleError if explain_unsupported_variant(variant) is None else BackendError
            with pytest.raises(kind):
                Translator(bundle, backend=variant.backend, precision=variant.precision)
        path.write_bytes(whole)


def test_a_newer_bundle_is_not_extended(sketch_checkpoint: Path, bundle: Path) -> None:
    data = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(data | {"schema": data["schema"] + 1}))
    before = hash_files(bundle)
    with pytest.raises(BundleError, match=r"this version reads up to .*: pip install -U i2i-sdk"):
        export(sketch_checkpoint, [("ort", "fp32")], bundle, SIZE)
    assert hash_files(bundle) == before and list(bundle.parent.iterdir()) == [bundle]
