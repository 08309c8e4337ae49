"""Which variant is taken: what the caller names is binding, the rest is quality, then speed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import pytest

from i2i_sdk.backends.table import PREFERENCE
from i2i_sdk.bundle.manifest import FileEntry, Parity, Requirements, Variant
from i2i_sdk.errors import BackendError, InputError
from i2i_sdk.selection import TunedLatency, choose_variant


def make_variant(
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


ORT, OV, BF16 = (
    make_variant("ort", "fp32"),
    make_variant("openvino", "fp32"),
    make_variant("openvino", "bf16", 48.0),
)
ALL = (ORT, OV, BF16)


def make_latencies(
    latencies: Mapping[str, float], variants: Sequence[Variant] = ALL
) -> dict[str, TunedLatency]:
    """Measured on this device, with the quality that was found at export."""
    psnr = {v.name: v.parity.psnr for v in variants if v.parity}
    return {name: TunedLatency(ms, 1.2 * ms, psnr.get(name, 0.0)) for name, ms in latencies.items()}


def accept(_: Variant) -> str | None:
    return None


def accept_only(*names: str) -> Callable[[Variant], str | None]:
    return lambda v: None if v.backend in names else f"no {v.backend} here"


def test_without_tuning_the_fixed_preference_decides() -> None:
    assert PREFERENCE.index(("openvino", "bf16")) < PREFERENCE.index(("openvino", "fp32"))
    assert choose_variant(ALL, explain_unsupported=accept, latencies={}) is BF16
    assert choose_variant((ORT, OV), explain_unsupported=accept, latencies={}) is OV
    unknown = make_variant("ort", "w8")
    assert choose_variant((unknown, ORT), explain_unsupported=accept, latencies={}) is ORT


def test_tuned_latencies_win_over_preference() -> None:
    latencies = {ORT.name: 3.0, OV.name: 4.0, BF16.name: 5.0}
    assert choose_variant(ALL, explain_unsupported=accept, latencies=make_latencies(latencies)) is ORT
    # measured beats unmeasured, and another bundle's names mean nothing
    assert (
        choose_variant(ALL, explain_unsupported=accept, latencies=make_latencies({ORT.name: 30.0, "x": 1.0}))
        is ORT
    )


def test_the_fastest_below_the_floor_is_not_taken() -> None:
    latencies = {ORT.name: 3.0, OV.name: 2.0, BF16.name: 1.0}
    assert choose_variant(ALL, explain_unsupported=accept, latencies=make_latencies(latencies)) is BF16
    assert (
        choose_variant(ALL, explain_unsupported=accept, latencies=make_latencies(latencies), min_psnr=48.0)
        is BF16
    )
    assert (
        choose_variant(ALL, explain_unsupported=accept, latencies=make_latencies(latencies), min_psnr=48.1)
        is OV
    )


def test_what_was_never_measured_reaches_no_floor() -> None:
    unmeasured = make_variant("openvino", "bf16", None)
    times = make_latencies({unmeasured.name: 0.1}, [unmeasured])
    assert choose_variant((unmeasured, ORT), explain_unsupported=accept, latencies={}) is ORT
    assert choose_variant((unmeasured, ORT), explain_unsupported=accept, latencies=times) is ORT


def test_quality_as_measured_here_counts_more_than_at_export() -> None:
    poor = {BF16.name: TunedLatency(1.0, 1.0, 30.0), OV.name: TunedLatency(2.0, 2.0, 90.0)}
    assert choose_variant(ALL, explain_unsupported=accept, latencies=poor) is OV
    assert choose_variant(ALL, explain_unsupported=accept, latencies=poor, min_psnr=30.0) is BF16


def test_a_named_precision_is_not_held_to_the_floor(caplog: pytest.LogCaptureFixture) -> None:
    variant = choose_variant(ALL, explain_unsupported=accept, latencies={}, precision="bf16", min_psnr=99.0)
    assert variant is BF16 and caplog.text == ""


def test_a_named_backend_still_is(caplog: pytest.LogCaptureFixture) -> None:
    assert (
        choose_variant(ALL, explain_unsupported=accept, latencies={}, backend="openvino", min_psnr=50.0) is OV
    )


def test_nothing_reaches_the_floor_so_the_best_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    bad = (
        make_variant("openvino", "bf16", 20.0),
        make_variant("ort", "fp32", 30.25),
        make_variant("openvino", "fp32", 25.0),
    )
    with caplog.at_level(logging.WARNING):
        variant = choose_variant(
            bad, explain_unsupported=accept, latencies=make_latencies({bad[0].name: 0.1}, bad)
        )
    assert variant is bad[1]
    assert "no variant that runs here reaches 35 dB; taking ort-fp32-256x256 (30.2 dB)" in caplog.text


def test_the_floor_counts_only_what_runs(caplog: pytest.LogCaptureFixture) -> None:
    low = make_variant("ort", "fp32", 20.0)
    with caplog.at_level(logging.WARNING):
        assert choose_variant((low, OV), explain_unsupported=accept_only("ort"), latencies={}) is low
    assert "20.0 dB" in caplog.text


def test_what_cannot_run_is_not_taken() -> None:
    assert (
        choose_variant(
            ALL, explain_unsupported=accept_only("ort"), latencies=make_latencies({BF16.name: 0.1})
        )
        is ORT
    )


def test_nothing_runs_gives_every_reason() -> None:
    with pytest.raises(BackendError) as caught:
        choose_variant(ALL, explain_unsupported=accept_only(), latencies={})
    for v in ALL:
        assert f"{v.name}: no {v.backend} here" in str(caught.value)


def test_a_named_variant_that_cannot_run_is_not_replaced() -> None:
    with pytest.raises(BackendError, match=r"openvino-fp32-256x256: no openvino here"):
        choose_variant(
            ALL, explain_unsupported=accept_only("ort"), latencies={}, backend="openvino", precision="fp32"
        )


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
        choose_variant(ALL, explain_unsupported=accept, latencies={}, **asked)  # type: ignore[arg-type]
    message = str(caught.value)
    assert all(v.name in message for v in ALL)
    for key, value in asked.items():
        assert f"{key}={'x'.join(map(str, value)) if isinstance(value, tuple) else value}" in message


def test_the_first_variant_has_the_default_size() -> None:
    large = make_variant("ort", "fp32", size=(480, 640))
    assert (
        choose_variant((large, *ALL), explain_unsupported=accept, latencies=make_latencies({BF16.name: 0.1}))
        is large
    )
    assert choose_variant((large, *ALL), explain_unsupported=accept, latencies={}, size=(256, 256)) is BF16


# max_ms

INT8 = make_variant("openvino", "int8", 33.0)
FOUR = (*ALL, INT8)
TIMES = make_latencies({ORT.name: 40.0, OV.name: 30.0, BF16.name: 12.0, INT8.name: 8.0}, FOUR)


def choose_fast(max_ms: float, **options: object) -> Variant:
    return choose_variant(FOUR, explain_unsupported=accept, latencies=TIMES, max_ms=max_ms, **options)  # type: ignore[arg-type]


def test_the_best_of_those_fast_enough(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_fast(100) is OV  # as good as ORT, and faster
    assert choose_fast(30) is OV
    assert choose_fast(29.9) is BF16 and choose_fast(12) is BF16
    assert choose_fast(11.9, min_psnr=30.0) is INT8
    assert caplog.text == ""


def test_none_is_fast_enough_so_the_fastest_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert choose_fast(5) is BF16  # INT8 is below 35 dB
    assert "no variant of this quality takes at most 5 ms here" in caplog.text
    assert "taking the fastest, openvino-bf16-256x256 (12.0 ms)" in caplog.text
    assert "below min_psnr" not in caplog.text  # INT8 takes 8 ms: giving up quality would not help


def test_quality_and_time_that_exclude_one_another(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert choose_fast(9) is BF16
    assert "fast enough, but below min_psnr: openvino-int8-256x256 (33.0 dB)" in caplog.text


def test_no_quality_reached_at_all_leaves_the_time(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert choose_fast(20, min_psnr=99.0) is BF16
    assert "no variant that runs here reaches 99 dB; taking openvino-bf16-256x256 (48.0 dB)" in caplog.text
    assert "takes at most" not in caplog.text


def test_what_is_named_stays_binding() -> None:
    assert choose_fast(100, precision="int8") is INT8
    assert choose_fast(100, backend="ort") is ORT


def test_what_cannot_run_or_was_not_measured_is_not_considered() -> None:
    assert choose_variant(FOUR, explain_unsupported=accept_only("ort"), latencies=TIMES, max_ms=100) is ORT
    some = {name: TIMES[name] for name in (ORT.name, INT8.name)}
    assert choose_variant(FOUR, explain_unsupported=accept, latencies=some, max_ms=100) is ORT


def test_without_measurements_there_is_nothing_to_choose_from() -> None:
    with pytest.raises(
        InputError, match=r"max_ms=20: none of .*openvino-bf16-256x256.* was measured.*i2i tune"
    ):
        choose_variant(FOUR, explain_unsupported=accept, latencies={}, max_ms=20)
    with pytest.raises(InputError, match=r"max_ms=20: none of "):
        choose_variant(FOUR, explain_unsupported=accept, latencies={INT8.name: TIMES[INT8.name]}, max_ms=20)
