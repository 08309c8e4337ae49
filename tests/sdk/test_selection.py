"""Which variant is taken: what the caller names is binding, the rest is quality, then speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest
from known_bundles import make_variant

from i2i_sdk.backends import find_provider
from i2i_sdk.bundle.manifest import Parity, Variant
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.selection import TunedLatency, VariantRequest, choose_variant


def make_measured(
    backend: str, precision: str, psnr: float | None = 60.0, size: tuple[int, int] = (256, 256)
) -> Variant:
    parity = None if psnr is None else Parity(psnr, 0.99, 1, 1, "builtin", "a", psnr)
    return make_variant(backend, precision, size, parity)


ORT, OV = make_measured("ort", "fp32"), make_measured("openvino", "fp32")
BF16 = make_measured("openvino", "bf16", 48.0)
ALL = (ORT, OV, BF16)


def choose(
    *variants: Variant,
    tuned: Mapping[str, TunedLatency | float] = MappingProxyType({}),
    backends: Sequence[str] = ("ort", "openvino"),
    **options: object,
) -> Variant:
    """The choice among `variants`, else ALL, where only `backends` run.

    tuned: latencies, or times in milliseconds to be taken with the quality that was found at export.
    """
    variants = variants or ALL
    psnr = {v.name: v.parity.psnr for v in variants if v.parity}
    latencies = {
        name: found
        if isinstance(found, TunedLatency)
        else TunedLatency(found, 1.2 * found, psnr.get(name, 0.0))
        for name, found in tuned.items()
    }

    def explain_unsupported(variant: Variant) -> str | None:
        return None if variant.backend in backends else f"no {variant.backend} here"

    request = VariantRequest(**options)  # type: ignore[arg-type]
    return choose_variant(variants, request, latencies, explain_unsupported)


FASTEST = {ORT.name: 3.0, OV.name: 2.0, BF16.name: 1.0}
UNMEASURED, LARGE = make_measured("openvino", "bf16", None), make_measured("ort", "fp32", size=(480, 640))
POOR_HERE = {BF16.name: TunedLatency(1.0, 1.0, 30.0), OV.name: TunedLatency(2.0, 2.0, 90.0)}


@pytest.mark.parametrize(
    ("variants", "options", "chosen"),
    [
        # Without tuning a fixed preference decides.
        ((), {}, BF16),
        ((ORT, OV), {}, OV),
        ((make_measured("ort", "w8"), ORT), {}, ORT),
        # What was measured comes before the rest; another bundle's names mean nothing.
        ((), {"tuned": {ORT.name: 3.0, OV.name: 4.0, BF16.name: 5.0}}, ORT),
        ((), {"tuned": {ORT.name: 30.0, "x": 1.0}}, ORT),
        # The fastest of those that keep the floor, by what was measured here, else at export.
        ((), {"tuned": FASTEST}, BF16),
        ((), {"tuned": FASTEST, "min_psnr": 48.0}, BF16),
        ((), {"tuned": FASTEST, "min_psnr": 48.1}, OV),
        ((UNMEASURED, ORT), {}, ORT),
        ((UNMEASURED, ORT), {"tuned": {UNMEASURED.name: 0.1}}, ORT),
        ((), {"tuned": POOR_HERE}, OV),
        ((), {"tuned": POOR_HERE, "min_psnr": 30.0}, BF16),
        # A named precision is not held to the floor, a named backend is.
        ((), {"precision": "bf16", "min_psnr": 99.0}, BF16),
        ((), {"backend": "openvino", "min_psnr": 50.0}, OV),
        # What cannot run is not taken; the first variant has the default size.
        ((), {"tuned": {BF16.name: 0.1}, "backends": ["ort"]}, ORT),
        ((LARGE, *ALL), {"tuned": {BF16.name: 0.1}}, LARGE),
        ((LARGE, *ALL), {"size": (256, 256)}, BF16),
    ],
)
def test_what_is_chosen(
    variants: Sequence[Variant], options: dict[str, Any], chosen: Variant, caplog: pytest.LogCaptureFixture
) -> None:
    assert choose(*variants, **options) is chosen
    assert caplog.text == ""


def test_nothing_reaches_the_floor_so_the_best_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    worst, best = make_measured("openvino", "bf16", 20.0), make_measured("ort", "fp32", 30.25)
    variants = (worst, best, make_measured("openvino", "fp32", 25.0))
    assert choose(*variants, tuned={worst.name: 0.1}) is best
    assert "no variant that runs here reaches 35 dB; taking ort-fp32-256x256 (30.2 dB)" in caplog.text


def test_the_floor_counts_only_what_runs(caplog: pytest.LogCaptureFixture) -> None:
    low = make_measured("ort", "fp32", 20.0)
    assert choose(low, OV, backends=["ort"]) is low
    assert "20.0 dB" in caplog.text


def test_nothing_runs_gives_every_reason() -> None:
    with pytest.raises(BackendError) as caught:
        choose(backends=[])
    for v in ALL:
        assert f"{v.name}: no {v.backend} here" in str(caught.value)


def test_a_named_variant_that_cannot_run_is_not_replaced() -> None:
    with pytest.raises(BackendError, match=r"openvino-fp32-256x256: no openvino here"):
        choose(backends=["ort"], backend="openvino", precision="fp32")


@pytest.mark.parametrize(
    "asked",
    [
        *({"size": (512, 512)}, {"size": (256, 128)}, {"backend": "abacus"}, {"precision": "int8"}),
        {"backend": "ort", "precision": "bf16"},
    ],
)
def test_what_the_bundle_has_not_lists_what_it_has(asked: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        choose(**asked)  # type: ignore[arg-type]
    message = str(caught.value)
    assert all(v.name in message for v in ALL)
    for key, value in asked.items():
        assert f"{key}={'x'.join(map(str, value)) if isinstance(value, tuple) else value}" in message


def test_a_device_keeps_what_serves_it() -> None:
    trt = make_measured("trt", "fp16")
    runs = ["ort", "openvino", "trt"]
    assert choose(*ALL, trt, backends=runs, device="auto") is trt
    assert choose(*ALL, trt, backends=runs, device="cpu") is BF16
    assert choose(*ALL, trt, backends=runs, device="cuda") is trt
    assert choose(*ALL, trt, backends=["ort"], device="cuda") is ORT
    message = (
        r"run on device=cuda \(trt, torch-trt, ort\): ort-fp32-256x256: no ort here; trt-fp16-256x256: no"
    )
    with pytest.raises(BackendError, match=message):
        choose(*ALL, trt, backends=["openvino"], device="cuda")
    with pytest.raises(InputError, match=r"no variant for device=directml \(ort\), .* has: openvino-bf16"):
        choose(BF16, OV, device="directml")


def test_the_first_provider_that_runs_is_found() -> None:
    tried: list[str | None] = []

    def explain(provider: str | None) -> str | None:
        tried.append(provider)
        return None if provider in runs else f"no {provider}"

    runs: set[str | None] = {"directml", "coreml"}
    assert find_provider("gpu", "ort", None, explain) == ("directml", None)
    assert tried == ["cuda", "tensorrt-rtx", "directml"]
    assert find_provider("gpu", "ort", "coreml", explain) == ("coreml", None)
    assert find_provider("gpu", "ort", "cuda", explain) == (None, "no cuda")
    assert find_provider("cuda", "ort", None, explain) == (None, "no cuda; no tensorrt-rtx")
    assert find_provider("auto", "ort", None, lambda provider: None) == (None, None)
    assert find_provider("coreml", "coreml", None, lambda provider: "no Mac") == (None, "no Mac")


# max_ms

INT8 = make_measured("openvino", "int8", 33.0)
FOUR = (*ALL, INT8)
TIMES = {ORT.name: 40.0, OV.name: 30.0, BF16.name: 12.0, INT8.name: 8.0}


def choose_fast(max_ms: float, **options: object) -> Variant:
    return choose(*FOUR, **{"tuned": TIMES, "max_ms": max_ms} | options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("max_ms", "options", "chosen"),
    [
        (100, {}, OV),  # as good as ORT, and faster
        (30, {}, OV),
        (29.9, {}, BF16),
        (12, {}, BF16),
        (11.9, {"min_psnr": 30.0}, INT8),
        (100, {"precision": "int8"}, INT8),
        (100, {"backend": "ort"}, ORT),
        (100, {"backends": ["ort"]}, ORT),
        (100, {"tuned": {ORT.name: 40.0, INT8.name: 8.0}}, ORT),
    ],
)
def test_the_best_of_those_fast_enough(
    max_ms: float, options: dict[str, Any], chosen: Variant, caplog: pytest.LogCaptureFixture
) -> None:
    assert choose_fast(max_ms, **options) is chosen
    assert caplog.text == ""


SLOW = (
    "no variant of this quality takes at most 5 ms here; taking the fastest, openvino-bf16-256x256 (12.0 ms)"
)
BELOW = "fast enough, but below min_psnr: openvino-int8-256x256 (33.0 dB)"
POOR = "no variant that runs here reaches 99 dB; taking openvino-bf16-256x256 (48.0 dB)"


def test_quality_and_time_that_exclude_one_another(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_fast(9) is BF16
    assert "fast enough, but below min_psnr: openvino-int8-256x256 (33.0 dB)" in caplog.text


def test_without_measurements_there_is_nothing_to_choose_from() -> None:
    message = r"max_ms=20: none of .*openvino-bf16-256x256.* was measured.*i2i tune"
    for tuned in ({}, {INT8.name: 8.0}):
        with pytest.raises(InputError, match=message):
            choose_fast(20, tuned=tuned)
