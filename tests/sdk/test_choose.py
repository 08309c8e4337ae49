"""Which variant is taken: what the caller names is binding, the rest is quality, then speed."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from i2i_sdk.backends import PREFERENCE
from i2i_sdk.choose import choose_variant
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.manifest import FileEntry, Parity, Requirements, Variant


def variant(
    backend: str, precision: str, psnr: float | None = 60.0, size: tuple[int, int] = (256, 256)
) -> Variant:
    parity = None if psnr is None else Parity(psnr, 0.99, 1, 1, "builtin", "a", psnr)
    return Variant(
        name=f"{backend}-{precision}-{size[0]}x{size[1]}",
        backend=backend,
        precision=precision,
        precision_found=precision,
        height=size[0],
        width=size[1],
        max_batch=8,
        macs=1,
        files=(FileEntry("a", "0" * 64, 1),),
        requires=Requirements(backend),
        verified="device",
        parity=parity,
    )


ORT, OV, BF16 = variant("ort", "fp32"), variant("openvino", "fp32"), variant("openvino", "bf16", 48.0)
ALL = (ORT, OV, BF16)


def runs(_: Variant) -> str | None:
    return None


def only(*names: str) -> Callable[[Variant], str | None]:
    return lambda v: None if v.backend in names else f"no {v.backend} here"


def test_without_tuning_the_fixed_preference_decides() -> None:
    assert PREFERENCE.index(("openvino", "bf16")) < PREFERENCE.index(("openvino", "fp32"))
    assert choose_variant(ALL, why_not=runs, latencies={}) is BF16
    assert choose_variant((ORT, OV), why_not=runs, latencies={}) is OV
    unknown = variant("ort", "w8")
    assert choose_variant((unknown, ORT), why_not=runs, latencies={}) is ORT


def test_tuned_latencies_win_over_preference() -> None:
    latencies = {ORT.name: 3.0, OV.name: 4.0, BF16.name: 5.0}
    assert choose_variant(ALL, why_not=runs, latencies=latencies) is ORT
    # measured beats unmeasured, and another bundle's names mean nothing
    assert choose_variant(ALL, why_not=runs, latencies={ORT.name: 30.0, "x": 1.0}) is ORT


def test_the_fastest_below_the_floor_is_not_taken() -> None:
    latencies = {ORT.name: 3.0, OV.name: 2.0, BF16.name: 1.0}
    assert choose_variant(ALL, why_not=runs, latencies=latencies) is BF16
    assert choose_variant(ALL, why_not=runs, latencies=latencies, min_psnr=48.0) is BF16
    assert choose_variant(ALL, why_not=runs, latencies=latencies, min_psnr=48.1) is OV


def test_what_was_never_measured_reaches_no_floor() -> None:
    unmeasured = variant("openvino", "bf16", None)
    assert choose_variant((unmeasured, ORT), why_not=runs, latencies={unmeasured.name: 0.1}) is ORT


def test_a_named_precision_is_not_held_to_the_floor(caplog: pytest.LogCaptureFixture) -> None:
    taken = choose_variant(ALL, why_not=runs, latencies={}, precision="bf16", min_psnr=99.0)
    assert taken is BF16 and caplog.text == ""


def test_a_named_backend_still_is(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_variant(ALL, why_not=runs, latencies={}, backend="openvino", min_psnr=50.0) is OV


def test_nothing_reaches_the_floor_so_the_best_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    bad = (
        variant("openvino", "bf16", 20.0),
        variant("ort", "fp32", 30.25),
        variant("openvino", "fp32", 25.0),
    )
    with caplog.at_level(logging.WARNING):
        taken = choose_variant(bad, why_not=runs, latencies={bad[0].name: 0.1})
    assert taken is bad[1]
    assert "no variant that runs here reaches 35 dB; taking ort-fp32-256x256 (30.2 dB)" in caplog.text


def test_the_floor_counts_only_what_runs(caplog: pytest.LogCaptureFixture) -> None:
    low = variant("ort", "fp32", 20.0)
    with caplog.at_level(logging.WARNING):
        assert choose_variant((low, OV), why_not=only("ort"), latencies={}) is low
    assert "20.0 dB" in caplog.text


def test_what_cannot_run_is_not_taken() -> None:
    assert choose_variant(ALL, why_not=only("ort"), latencies={BF16.name: 0.1}) is ORT


def test_nothing_runs_gives_every_reason() -> None:
    with pytest.raises(BackendError) as caught:
        choose_variant(ALL, why_not=only(), latencies={})
    for v in ALL:
        assert f"{v.name}: no {v.backend} here" in str(caught.value)


def test_a_named_variant_that_cannot_run_is_not_replaced() -> None:
    with pytest.raises(BackendError, match=r"openvino-fp32-256x256: no openvino here"):
        choose_variant(ALL, why_not=only("ort"), latencies={}, backend="openvino", precision="fp32")


@pytest.mark.parametrize(
    "asked",
    [
        {"size": (512, 512)},
        {"size": (256, 128)},
        {"backend": "abacus"},
        {"precision": "int8"},
        {"backend": "ort", "precision": "bf16"},
    ],
)
def test_what_the_bundle_has_not_lists_what_it_has(asked: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        choose_variant(ALL, why_not=runs, latencies={}, **asked)  # type: ignore[arg-type]
    message = str(caught.value)
    assert all(v.name in message for v in ALL)
    for key, value in asked.items():
        assert f"{key}={'x'.join(map(str, value)) if isinstance(value, tuple) else value}" in message


def test_the_first_variant_has_the_default_size() -> None:
    large = variant("ort", "fp32", size=(480, 640))
    assert choose_variant((large, *ALL), why_not=runs, latencies={BF16.name: 0.1}) is large
    assert choose_variant((large, *ALL), why_not=runs, latencies={}, size=(256, 256)) is BF16
