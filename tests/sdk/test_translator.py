"""Translator: any image in, the same kind, size and channels out, with answers that are known."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from known_bundles import (
    HEIGHT,
    KNOWN_MODELS,
    PORTABLE_ENGINES,
    WIDTH,
    FindBundle,
    Image,
    OpenKnown,
    edit_manifest,
    make_noise,
    save_graph,
    write_known_bundle,
)
from PIL import Image as Pil

from i2i_sdk import BackendError, I2IError, InputError, Translator
from i2i_sdk.backends import load_backend_class
from i2i_sdk.imaging.geometry import FITS

RUNNABLE = [(b, p) for b, p in PORTABLE_ENGINES if load_backend_class(b).explain_unsupported(p) is None]


def compute_expected(name: str, image: Image, order: str) -> Image:
    """What a color image [H, W, 3] of the engine's size must become, worked out without the SDK."""
    answer = KNOWN_MODELS[name]
    rgb = image if order == "rgb" else image[..., ::-1]
    if answer.in_channels == 1:
        rgb = np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY), np.uint8)[..., None]
    result = answer.compute(rgb)
    result = np.repeat(result, 3, axis=-1) if answer.out_channels == 1 else result
    return result if order == "rgb" else result[..., ::-1]


# known answers


@pytest.mark.parametrize(("backend", "precision"), RUNNABLE)
@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize("name", KNOWN_MODELS)
def test_every_variant_gives_the_known_answers(
    open_known: OpenKnown, name: str, order: str, backend: str, precision: str
) -> None:
    images = [make_noise(HEIGHT, WIDTH, 3, seed=i) for i in range(5)]
    translate = open_known(name, backend=backend, precision=precision)
    assert (translate.variant.backend, translate.variant.precision) == (backend, precision)
    assert translate.engine.precision == precision  # read back, not repeated
    assert (translate.height, translate.width) == (HEIGHT, WIDTH)
    for result, image in zip(translate.batch(images, order), images, strict=True):
        assert result.dtype == np.uint8 and result.shape == image.shape
        assert (result == compute_expected(name, image, order)).all()


def test_an_order_of_colors_that_does_not_exist(open_known: OpenKnown) -> None:
    with pytest.raises(InputError, match="color is 'BGR'; allowed: bgr, rgb"):
        open_known("invert")(make_noise(HEIGHT, WIDTH, 3), "BGR")


@pytest.mark.parametrize("fit", ["resize", "crop", "pad", "tile"])
@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize("name", KNOWN_MODELS)
def test_the_network_decides_on_colors(open_known: OpenKnown, name: str, order: str, fit: str) -> None:
    """Of gray arrays it makes [H, W, 3] where it gives colors; `timed` and `batch` say the same."""
    translate, gray = open_known(name, fit=fit), make_noise(HEIGHT, WIDTH)
    expected = compute_expected(name, np.dstack([gray] * 3), order)
    for image in (gray, gray[:, :, None]):
        result = translate(image, order)
        if KNOWN_MODELS[name].out_channels == 3:
            assert result.shape == (HEIGHT, WIDTH, 3) and (result == expected).all()
        else:
            assert result.shape == image.shape and (result.squeeze() == expected[..., 0]).all()
        (timed,), _ = translate.timed([image], order)
        first, second = translate.batch([image, np.dstack([gray] * 3)], order)
        assert np.array_equal(timed, result) and np.array_equal(first, result)
        assert (second == expected).all()


def test_alpha_stays_what_it_is(open_known: OpenKnown) -> None:
    translate = open_known("invert")
    bgra = make_noise(HEIGHT, WIDTH, 4)
    result = translate(bgra)
    assert (result[..., :3] == 255 - bgra[..., :3]).all() and (result[..., 3] == bgra[..., 3]).all()
    swapped = open_known("swap")(bgra)
    assert (swapped == bgra[..., [2, 1, 0, 3]]).all()


def _make_views() -> dict[str, Image]:
    large = make_noise(2 * HEIGHT, 2 * WIDTH, 4)
    read_only = make_noise(HEIGHT, WIDTH, 3)
    read_only.flags.writeable = False
    return {
        "flipped": large[:HEIGHT, :WIDTH, :3][::-1],
        "mirrored": large[:HEIGHT, :WIDTH, :3][:, ::-1],
        "every other": large[::2, ::2],
        "other color order": large[:HEIGHT, :WIDTH, 2::-1],
        "transposed": make_noise(WIDTH, HEIGHT, 3).transpose(1, 0, 2),
        "one channel of many": large[:HEIGHT, :WIDTH, 1],
        "Fortran order": np.asfortranarray(make_noise(HEIGHT, WIDTH, 3)),
        "read-only": read_only,
        "broadcast": np.broadcast_to(make_noise(1, 1, 3), (HEIGHT, WIDTH, 3)),
        "another size": large[3:50, 5:70, :3][::-1, ::-1],
    }


@pytest.mark.parametrize("view", _make_views())
@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize(("backend", "precision"), RUNNABLE[:2])
def test_views_and_read_only_arrays(
    open_known: OpenKnown, view: str, order: str, backend: str, precision: str
) -> None:
    """A view gives what its copy gives, and no input is ever written to."""
    image = _make_views()[view]
    before = image.copy()
    translate = open_known("darken", backend=backend, precision=precision)
    result = translate(image, order)
    assert (result == translate(np.ascontiguousarray(image), order)).all()
    assert (image == before).all()
    if image.shape[:2] == (HEIGHT, WIDTH):
        shown = image if image.ndim == 3 else image[:, :, None]
        assert (result[: HEIGHT // 2] == shown[: HEIGHT // 2]).all()
    if view != "every other":  # alpha is not darkened
        assert result[-1].mean() < 0.6 * image[-1].mean()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH, 3), (15, 33, 3), (15, 33), (15, 33, 4)])
def test_results_are_the_callers_own(open_known: OpenKnown, fit: str, shape: tuple[int, ...]) -> None:
    """A result is contiguous, may be written to, and changes neither the input nor later results."""
    translate, image = open_known("identity", fit=fit), make_noise(*shape)
    before, result = image.copy(), translate(image)
    assert result.flags.writeable and result.flags.c_contiguous
    first = result.copy()
    result[:] = 0
    assert (image == before).all() and (translate(image) == first).all()


# sizes


@pytest.mark.parametrize("fit", ["resize", "letterbox", "crop"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 3), (1, 300), (300, 1, 4), (2000, 3000, 3), (17, 5, 1), (480, 640, 3)]
)
def test_any_size_comes_back(open_known: OpenKnown, fit: str, shape: tuple[int, ...]) -> None:
    image = np.full(shape, 200, np.uint8)
    result = open_known("gray" if shape[2:] in ((), (1,)) else "invert", fit=fit)(image)
    assert result.shape == shape
    color = result[..., :3] if len(shape) == 3 else result
    if fit == "crop":
        assert set(np.unique(color)) <= {55, 200} and (color == 55).any()
    else:
        assert (color == 55).all()
    if shape[-1] == 4:
        assert (result[..., 3] == 200).all()


def test_pad_keeps_every_pixel_and_refuses_larger_frames(open_known: OpenKnown) -> None:
    translate = open_known("invert", fit="pad")
    image = make_noise(HEIGHT - 5, WIDTH - 9, 3)
    assert (translate(image) == 255 - image).all()
    with pytest.raises(InputError, match="fit='letterbox', or export a larger size"):
        translate(make_noise(HEIGHT + 1, WIDTH, 3))


def test_the_fit_of_the_bundle_is_the_default(folder: Path) -> None:
    edit_manifest(folder, lambda data: data["input"].update(fit="crop"))
    with Translator(folder) as default, Translator(folder, fit="pad") as chosen:
        assert (default.fit, chosen.fit) == ("crop", "pad")
    edit_manifest(folder, lambda data: data["input"].update(fit="mosaic"))
    with pytest.raises(InputError, match=r"its fit is 'mosaic'; choose one: resize, letterbox, crop, pad"):
        Translator(folder)
    with Translator(folder, fit="crop") as translate:
        assert translate.fit == "crop"


# batches


def test_a_batch_equals_single_calls(open_known: OpenKnown) -> None:
    """Sizes, channels and kinds mixed, more than the four that the variant takes at once."""
    translate = open_known("darken")
    images: list[Any] = [
        make_noise(HEIGHT, WIDTH, 3),
        make_noise(100, 70),
        make_noise(9, 200, 4),
        Pil.fromarray(make_noise(50, 60, 3)),
        make_noise(7, 7, 1),
        make_noise(HEIGHT, WIDTH, 3, seed=5),
        *(make_noise(30 + i, 90 - i, 3, seed=i) for i in range(5)),
    ]
    assert translate.variant is not None and len(images) > 2 * translate.variant.max_batch
    for result, image in zip(translate.batch(images), images, strict=True):
        assert type(result) is type(translate(image))
        assert np.array_equal(np.asarray(result), np.asarray(translate(image)))


def test_timings_are_milliseconds_that_cannot_be_changed(known: FindBundle) -> None:
    image = make_noise(HEIGHT, WIDTH, 3)
    with Translator(known("invert"), backend="ort") as translate:
        start = time.perf_counter()
        outputs, timings = translate.timed([image, image])
        passed_ms = (time.perf_counter() - start) * 1000
    assert all((output == 255 - image).all() for output in outputs)
    parts = (timings.pre_ms, timings.engine_ms, timings.post_ms)
    assert min(parts) > 0 and sum(parts) <= passed_ms
    with pytest.raises(FrozenInstanceError):
        timings.engine_ms = 0.0  # type: ignore[misc]


def test_batches_use_as_few_calls_as_the_variant_allows(
    known: FindBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Translator(known("invert")) as translate:
        counts: list[int] = []
        run = translate.engine.run
        monkeypatch.setattr(translate.engine, "run", lambda batch: (counts.append(len(batch)), run(batch))[1])
        translate.batch([make_noise(5, 6, 3)] * 10)
        assert counts == [4, 4, 2]
        assert translate.batch([]) == [] and counts == [4, 4, 2]


def test_what_batch_takes(open_known: OpenKnown) -> None:
    translate, four = open_known("invert"), make_noise(4, 10, 12, 3)
    for images in (four, tuple(four), iter(four)):
        results = translate.batch(images)  # type: ignore[arg-type]
        assert len(results) == 4 and all(r.shape == (10, 12, 3) for r in results)
    for frame in (four[0], four[0, :, :, 0]):  # a frame would otherwise be taken for a list of its rows
        message = r"batch takes a list of images; got one array of shape \(10, 12"
        with pytest.raises(InputError, match=message):
            translate.batch(frame)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="float32"):  # one that is not accepted refuses all
        translate.batch([make_noise(4, 4, 3), np.zeros((4, 4, 3), np.float32)])


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_engines_of_fixed_batch(tmp_path: Path, batch: int, backend: str) -> None:
    """Neither too many nor too few frames reach them, whatever the manifest claims."""
    out = tmp_path / "x.i2i"
    write_known_bundle(out, "swap", engines=[(backend, "fp32")], batch=batch)
    graph = save_graph(tmp_path / "x.onnx", "swap", batch=batch)
    images = [make_noise(HEIGHT, WIDTH, 3, seed=i) for i in range(5)]
    for source in (out, graph):
        with Translator(source, backend=backend) as translate:
            for count in (1, 2, 3, 5):
                results = translate.batch(images[:count])
                assert len(results) == count
                assert all((r == x[..., ::-1]).all() for r, x in zip(results, images, strict=False))
        large = cv2.resize(images[0][:3, :3], (2 * WIDTH + 5, 3 * HEIGHT), interpolation=cv2.INTER_CUBIC)
        with Translator(
            source, backend=backend, fit="tile"
        ) as translate:  # 12 tiles, of the file with the whole 13
            np.testing.assert_allclose(translate(large), large[..., ::-1], atol=4)


# threads, closing


@pytest.mark.parametrize(("backend", "precision"), RUNNABLE[:2])
def test_eight_threads(open_known: OpenKnown, backend: str, precision: str) -> None:
    translate = open_known("swap", backend=backend, precision=precision)
    start = threading.Barrier(8)

    def work(worker: int) -> None:
        start.wait()
        for i in range(20):
            image = make_noise(HEIGHT, WIDTH, 3, seed=100 * worker + i)
            np.testing.assert_array_equal(translate(image), image[..., ::-1])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


@pytest.mark.parametrize(("backend", "precision"), RUNNABLE[:2])
def test_closing_while_others_translate(known: FindBundle, backend: str, precision: str) -> None:
    """Each call is right or says that the engine is closed; nothing crashes."""
    translate = Translator(known("invert"), backend=backend, precision=precision)
    image, running = make_noise(HEIGHT, WIDTH, 3), threading.Semaphore(0)

    def work() -> str:
        while True:
            try:
                assert (translate(image) == 255 - image).all()
            except BackendError as error:
                return str(error)
            finally:
                running.release()

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(work) for _ in range(4)]
        for _ in range(40):
            running.acquire()
        translate.close()
        assert all("closed" in job.result(timeout=30) for job in jobs)


@pytest.mark.parametrize(("backend", "precision"), RUNNABLE[:2])
def test_after_close(known: FindBundle, backend: str, precision: str) -> None:
    with (
        pytest.raises(InputError),
        Translator(known("invert"), backend=backend, precision=precision) as translate,
    ):
        translate(None)  # type: ignore[call-overload]  # an error closes it, too
    translate.close()
    image = make_noise(4, 4, 3)
    for use in (lambda: translate(image), lambda: translate.batch([image]), translate.warmup):
        with pytest.raises(I2IError, match="closed: make a new Translator"):
            use()
    assert "invert" not in repr(translate) and backend in repr(translate)
