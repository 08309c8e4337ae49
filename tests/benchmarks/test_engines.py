"""The engines part: what is measured beside what, and what a row says. No test here asserts a time."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks import engines
from benchmarks.support import baselines, peaks, subjects
from benchmarks.support.baselines import EAGER, make_torch_candidates, open_torch
from benchmarks.support.places import get_trained_checkpoint
from benchmarks.support.probe_openers import StackShape
from benchmarks.support.subjects import SHORT, Subject, get_bundle, make_subject, write_left_halves
from i2i_sdk.perf.bench import ORT_DEFAULT
from i2i_sdk.perf.record import Row, read_record
from i2i_sdk.zoo import find_zoo_bundle
from i2i_training.checkpoint import load_generator

SKETCH = get_trained_checkpoint("sketch")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small probes, few targets, and a folder for what is kept."""
    monkeypatch.setattr(peaks, "STACK", StackShape(16, 2, 3, 16))
    monkeypatch.setattr(peaks, "WEIGHTS", StackShape(64, 2, 1, 1))
    monkeypatch.setattr(subjects, "TARGETS", "ort,openvino")
    monkeypatch.setattr(engines, "find_frames", lambda subject: None)  # no INT8: it takes long
    monkeypatch.setattr(subjects, "OUT", tmp_path)
    monkeypatch.setattr("benchmarks.reporting.publish.OUT", tmp_path)
    only_eager = lambda *args: [c for c in make_torch_candidates(*args) if c.name == EAGER]  # noqa: E731
    monkeypatch.setattr(engines, "make_torch_candidates", only_eager)
    return tmp_path


def test_a_whole_run(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(SKETCH), "--sizes", "32", "--batch", "2", "--name", "mine"]
    words += ["--rounds", "2", "--seconds", "0"]
    assert engines.main(words) == 0
    record = read_record(workplace / "mine.json")
    assert record.part == "engines" and record.baseline == EAGER
    models = [row for row in record.rows if row.subject == "sketch"]
    assert {row.batch for row in models} == {2}
    rows = {row.name: row for row in models}
    assert {EAGER, ORT_DEFAULT, "ort-fp32", "openvino-fp32"} <= set(rows)
    assert rows[EAGER].values["faster"] == 1.0 and "of_peak" not in rows[EAGER].values
    row = rows["openvino-fp32"]
    assert (row.height, row.width) == (32, 32) and row.values["psnr"] > 50
    assert row.values["traffic"] > 4 * 50_000 and row.values["of_limit"] >= row.values["of_peak"] > 0
    assert row.values["memory"] > 1e7 and row.values["peak"] > 0 and row.values["bandwidth"] > 0
    device = {row.name for row in record.rows if row.subject == engines.DEVICE}
    assert {"peak ort-fp32", "peak openvino-fp32", "bandwidth ort"} <= device
    said = capsys.readouterr().out
    assert "exporting sketch at 32x32" in said and "eager PyTorch FP32" in said


@pytest.mark.parametrize(
    ("arithmetic", "limit", "mark"),
    [
        (1.2, 1.2, "net x reaches 120% of the peak arithmetic"),
        (0.9, 1.3, "net x reaches 130% of the roofline"),
    ],
)
def test_a_run_that_is_faster_than_its_peaks_is_marked(arithmetic: float, limit: float, mark: str) -> None:
    """A probe that does not show the peak must not pass as one."""
    possible = Row("net", "y", values={"of_peak": 0.9, "of_limit": 1.0})
    row = Row("net", "x", values={"of_peak": arithmetic, "of_limit": limit})
    (found,) = engines.list_impossible_marks([row, possible, Row("net", "eager")])
    assert found.startswith(mark)


def test_exports_are_kept_while_nothing_changed(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subject = Subject("sketch", SKETCH, ((32, 32), (64, 64)))
    bundle = get_bundle(subject, None)
    sizes = {(v.height, v.width) for v in bundle.manifest.variants}
    assert sizes == {(32, 32), (64, 64)} and bundle.manifest.model.name == "sketch"
    capsys.readouterr()
    assert get_bundle(subject, None).path == bundle.path and "exporting" not in capsys.readouterr().out
    other = workplace / "other"
    other.mkdir()
    (other / "0.png").write_bytes(b"x")
    assert subjects._compute_fingerprint(subject, other) != subjects._compute_fingerprint(subject, None)


def test_zoo_models_are_measured_as_shipped() -> None:
    sketch = next(subject for subject in SHORT if subject.name == "sketch")
    assert sketch.is_zoo and get_bundle(sketch, None).path == find_zoo_bundle("sketch")
    assert set(sketch.sizes) >= {(256, 256), (512, 512)}
    assert all(subject.checkpoint.is_file() for subject in SHORT)
    assert make_subject(SKETCH, ((64, 64),)) == Subject("sketch", SKETCH, ((64, 64),))


def test_pairs_are_cut_in_the_middle(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    both = np.zeros((8, 32, 3), np.uint8)
    both[:, :16] = 200
    cv2.imwrite(str(pairs / "7.jpg"), both)
    image = cv2.imread(str(write_left_halves(pairs, tmp_path / "out") / "7.png"))
    assert image is not None and image.shape == (8, 16, 3) and image.min() > 150


def test_eager_is_the_bare_generator() -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32)
    module, _ = load_generator(SKETCH)
    with torch.inference_mode():
        expected = module(torch.from_numpy(images))
    found = open_torch(str(SKETCH), (32, 32), 2)()
    assert isinstance(found, torch.Tensor) and torch.equal(found, expected)


def test_a_gpu_has_more_baselines() -> None:
    names = [c.name for c in make_torch_candidates(SKETCH, (32, 32), 1, "cuda")]
    assert names[:2] == [c.name for c in make_torch_candidates(SKETCH, (32, 32), 1, "cpu")]
    assert {"CUDA graph of PyTorch FP16", f"{EAGER}, on the GPU alone"} < set(names)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("index", range(7))
def test_baselines_of_a_gpu(index: int) -> None:
    candidate = make_torch_candidates(SKETCH, (32, 32), 1, "cuda")[index]
    result = getattr(baselines, candidate.opener.partition(":")[2])(**candidate.arguments)()
    if candidate.reports:
        assert all(ms > 0 for ms in result)
    else:
        expected = open_torch(str(SKETCH), (32, 32), 1)()
        assert torch.allclose(result.float(), expected, atol=0.05)
