"""Records as the suite writes them, with made-up figures that could be true."""

from __future__ import annotations

import dataclasses

import numpy as np

from i2i_sdk.perf.record import Conditions, Record, Row, make_record
from i2i_sdk.perf.timing import compute_statistics

BASELINE = "eager PyTorch FP32"
# Milliseconds and PSNR of made-up models at 256x256; the baselines have no PSNR.
MODELS: dict[str, dict[str, tuple[float, float | None]]] = {
    "maps_resnet9": {
        BASELINE: (312.0, None),
        "torch.compile": (271.0, None),
        "ort-fp32": (279.0, 112.8),
        "ort-int8": (143.0, 33.4),
        "openvino-fp32": (242.0, 111.6),
        "openvino-bf16": (121.0, 53.1),
        "openvino-int8": (68.0, 32.9),
        "ncnn-fp32": (351.0, 98.0),
        "ncnn-fp16": (332.0, 71.3),
    },
    "maps_unet256": {
        BASELINE: (63.0, None),
        "openvino-bf16": (29.4, 49.1),
        "openvino-int8": (10.1, 29.6),
        "ncnn-fp32": (77.0, 101.2),
        "ncnn-fp16": (71.0, 68.9),
    },
}
MACS = {"maps_resnet9": 49.6e9, "maps_unet256": 6.05e9}
WEIGHTS = {"maps_resnet9": 45.5e6, "maps_unet256": 217e6}
BYTES = {"fp32": 1.0, "fp16": 0.5, "bf16": 1.0, "int8": 0.26}
PEAKS = {
    ("openvino", "fp32"): 236e9,
    ("openvino", "bf16"): 458e9,
    ("openvino", "int8"): 876e9,
    ("ort", "fp32"): 231e9,
    ("ort", "int8"): 380e9,
    ("ncnn", "fp32"): 190e9,
    ("ncnn", "fp16"): 205e9,
}
QUIET = Conditions(seconds=412.0, load_before=0.11, load_after=2.04, others=0.01, stolen=0.0, slowdown=0.02)
MACHINE = {"cpu": "Example CPU avx2 avx512_bf16", "cores": 2, "system": "Linux x86_64", "torch": "2.13.0"}
SIDES, BATCHES = (128, 256, 512), (1, 4)


def make_engines_record(seed: int = 0, samples: int = 200) -> Record:
    """Part "engines": two models, three sizes, two batches; 256 has qualities and samples."""
    generator = np.random.default_rng(seed)
    rows = [
        make_row(generator, model, name, side, batch, samples)
        for model, variants in MODELS.items()
        for name in variants
        for side in SIDES
        for batch in BATCHES
    ]
    tensorrt = Row("maps_resnet9", "trt-fp16", 256, 256, notes=("not run: no NVIDIA GPU",))
    return make_record("engines", "engines", (*rows, tensorrt), MACHINE, QUIET, baseline=BASELINE)


def make_row(random: np.random.Generator, model: str, name: str, side: int, batch: int, samples: int) -> Row:
    """Times with the long tail that real ones have."""
    ms, psnr = MODELS[model][name]
    growth = (side / 256) ** (2.3 if name == "ncnn-fp32" else 2.04) * batch**0.97
    tail = random.gamma(2.0, 0.012, samples) + (random.random(samples) > 0.98) * 0.4
    times = ms * growth * (1 + tail)
    values = {"faster": MODELS[model][BASELINE][0] / ms, "memory": 3e8 + WEIGHTS[model], "warm_up": 9.0}
    if psnr is not None:
        engine, precision = name.split("-")
        macs, size = MACS[model] * (side / 256) ** 2 * batch, WEIGHTS[model] * BYTES[precision]
        peak = PEAKS[engine, precision]
        of_peak = macs / (float(np.median(times)) / 1000) / peak
        values |= {"psnr": psnr, "ssim": 1 - 10 ** (-psnr / 15), "frames": 16.0, "macs": macs, "size": size}
        values |= {"peak": peak, "of_peak": of_peak, "of_limit": min(1.1 * of_peak, 0.99), "low": 0.97}
        values |= {"bandwidth": 31e9, "traffic": size + 6 * side * side * batch}
    kept = {"frame": tuple(times.tolist())} if (side, batch) == (256, 1) else {}
    return Row(model, name, side, side, batch, 1, {"frame": compute_statistics(times.tolist())}, kept, values)


def make_live_record() -> Record:
    """Part "live", and streams in it."""
    generator = np.random.default_rng(1)
    rows: list[Row] = []
    for name, engine in (("sketch, fastest", 6.1), ("identity", 0.2)):
        parts = {"glass": 9 + engine, "capture": 4.0, "engine": engine, "handed": 0.4}
        times = {
            part: compute_statistics((ms * (1 + generator.gamma(2.0, 0.05, 300))).tolist())
            for part, ms in parts.items()
        }
        values = {"fps": 30.0, "dropped": 3.0, "cpu": 0.41, "camera_cpu": 0.1}
        rows.append(Row("loopback camera", name, 720, 1280, times=times, values=values))
    for streams in (1, 2, 4, 8):
        rounds = 7.0 * streams**1.2 * (1 + generator.gamma(2.0, 0.02, 100))
        times = {"round": compute_statistics(rounds.tolist())}
        rows.append(Row("streams", "openvino-bf16", 256, 256, streams=streams, times=times))
    return make_record("live", "live: camera to result", tuple(rows), MACHINE, QUIET)


def add_marks(record: Record, *marks: str) -> Record:
    """The same from a machine that was busy."""
    return dataclasses.replace(record, conditions=dataclasses.replace(record.conditions, marks=marks))
