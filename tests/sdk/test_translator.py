"""Translator: any image in, the same kind, size and channels out, with answers that are known."""

from __future__ import annotations

import io
import json
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from known_bundles import ANSWERS, EVERYWHERE, HEIGHT, WIDTH, noise, save_graph, save_onnx, write_known
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image as Pil

from i2i_sdk import BackendError, I2IError, InputError, Translator
from i2i_sdk.backends import backend_class
from i2i_sdk.frames import FITS
from i2i_sdk.translator import parse_size

Image = NDArray[np.uint8]
Known = Callable[[str], Path]

RUNNABLE = [pair for pair in EVERYWHERE if backend_class(pair[0]).missing(pair[1]) is None]


def expected(name: str, image: Image, order: str) -> Image:
    """What a colour image [H, W, 3] of the engine's size must become, worked out without the SDK."""
    answer = ANSWERS[name]
    rgb = image if order == "rgb" else image[..., ::-1]
    if answer.in_channels == 1:
        rgb = np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY), np.uint8)[..., None]
    result = answer.of(rgb)
    result = np.repeat(result, 3, axis=-1) if answer.out_channels == 1 else result
    return result if order == "rgb" else result[..., ::-1]


@pytest.fixture(scope="module")
def open_known(known: Known) -> Iterator[Callable[..., Translator]]:
    """open_known("swap", color="rgb") is a Translator that the whole module shares."""
    opened: dict[object, Translator] = {}

    def find(name: str, **options: Any) -> Translator:
        key = (name, *sorted(options.items()))
        if key not in opened:
            opened[key] = Translator(known(name), **options)
        return opened[key]

    yield find
    for translate in opened.values():
        translate.close()


Open = Callable[..., Translator]


# known answers


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize("name", ANSWERS)
def test_known_answers(open_known: Open, name: str, order: str) -> None:
    image = noise(HEIGHT, WIDTH, 3)
    result = open_known(name, color=order)(image)
    assert result.dtype == np.uint8 and result.shape == image.shape
    assert (result == expected(name, image, order)).all()


@pytest.mark.parametrize(("backend", "precision"), RUNNABLE)
@pytest.mark.parametrize("name", ANSWERS)
def test_every_variant_gives_the_same_answers(known: Known, name: str, backend: str, precision: str) -> None:
    images = [noise(HEIGHT, WIDTH, 3, seed=i) for i in range(5)]
    with Translator(known(name), backend=backend, precision=precision) as translate:
        assert translate.variant is not None and translate.bundle is not None
        assert (translate.variant.backend, translate.variant.precision) == (backend, precision)
        assert translate.engine.precision == precision  # read back, not repeated
        assert (translate.height, translate.width) == (HEIGHT, WIDTH)
        for result, image in zip(translate.batch(images), images, strict=True):
            assert (result == expected(name, image, "bgr")).all()


def test_gray_and_alpha_stay_what_they_are(open_known: Open) -> None:
    translate = open_known("invert")
    gray = noise(HEIGHT, WIDTH)
    assert (translate(gray) == 255 - gray).all() and translate(gray).shape == (HEIGHT, WIDTH)
    assert (translate(gray[:, :, None]) == 255 - gray[:, :, None]).all()
    bgra = noise(HEIGHT, WIDTH, 4)
    result = translate(bgra)
    assert (result[..., :3] == 255 - bgra[..., :3]).all() and (result[..., 3] == bgra[..., 3]).all()
    swapped = open_known("swap")(bgra)
    assert (swapped == bgra[..., [2, 1, 0, 3]]).all()


def _views() -> dict[str, Image]:
    large = noise(2 * HEIGHT, 2 * WIDTH, 4)
    read_only = noise(HEIGHT, WIDTH, 3)
    read_only.flags.writeable = False
    return {
        "flipped": large[:HEIGHT, :WIDTH, :3][::-1],
        "mirrored": large[:HEIGHT, :WIDTH, :3][:, ::-1],
        "every other": large[::2, ::2],
        "other colour order": large[:HEIGHT, :WIDTH, 2::-1],
        "transposed": noise(WIDTH, HEIGHT, 3).transpose(1, 0, 2),
        "one channel of many": large[:HEIGHT, :WIDTH, 1],
        "Fortran order": np.asfortranarray(noise(HEIGHT, WIDTH, 3)),
        "read-only": read_only,
        "broadcast": np.broadcast_to(noise(1, 1, 3), (HEIGHT, WIDTH, 3)),
        "another size": large[3:50, 5:70, :3][::-1, ::-1],
    }


@pytest.mark.parametrize("view", _views())
@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize(("backend", "precision"), RUNNABLE[:2])
def test_views_and_read_only_arrays(
    open_known: Open, view: str, order: str, backend: str, precision: str
) -> None:
    """A view gives what its copy gives, and no input is ever written to."""
    image = _views()[view]
    before = image.copy()
    translate = open_known("darken", color=order, backend=backend, precision=precision)
    result = translate(image)
    assert (result == translate(np.ascontiguousarray(image))).all()
    assert (image == before).all()
    if image.shape[:2] == (HEIGHT, WIDTH):
        assert (result[: HEIGHT // 2] == image[: HEIGHT // 2]).all()
    if view != "every other":  # alpha is not darkened
        assert result[-1].mean() < 0.6 * image[-1].mean()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH, 3), (15, 33, 3), (15, 33), (15, 33, 4)])
def test_results_are_the_callers_own(open_known: Open, fit: str, shape: tuple[int, ...]) -> None:
    """A result is contiguous, may be written to, and changes neither the input nor later results."""
    translate, image = open_known("identity", color="rgb", fit=fit), noise(*shape)
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
def test_any_size_comes_back(open_known: Open, fit: str, shape: tuple[int, ...]) -> None:
    image = np.full(shape, 200, np.uint8)
    result = open_known("invert", fit=fit)(image)
    assert result.shape == shape
    color = result[..., :3] if len(shape) == 3 else result
    if fit == "crop":
        assert set(np.unique(color)) <= {55, 200} and (color == 55).any()
    else:
        assert (color == 55).all()
    if shape[-1] == 4:
        assert (result[..., 3] == 200).all()


def test_letterbox_and_crop_through_the_engine(open_known: Open) -> None:
    """The bundle's lower half is the engine's: letterbox shows where it lies."""
    image = np.full((HEIGHT, 4 * WIDTH, 3), 200, np.uint8)
    letterboxed = open_known("darken", fit="letterbox")(image)
    assert (letterboxed[: HEIGHT // 2 - 4] == 200).all() and (letterboxed[HEIGHT // 2 + 4 :] == 100).all()
    cropped = open_known("darken", fit="crop")(image)
    middle = slice(3 * WIDTH // 2, 5 * WIDTH // 2)
    assert (cropped[HEIGHT // 2 :, middle] == 100).all()
    assert (cropped[:, : 3 * WIDTH // 2] == 200).all() and (cropped[:, 5 * WIDTH // 2 :] == 200).all()


def test_pad_keeps_every_pixel_and_refuses_larger_frames(open_known: Open) -> None:
    translate = open_known("invert", fit="pad")
    image = noise(HEIGHT - 5, WIDTH - 9, 3)
    assert (translate(image) == 255 - image).all()
    with pytest.raises(InputError, match="fit='letterbox', or export a larger size"):
        translate(noise(HEIGHT + 1, WIDTH, 3))


def test_the_fit_of_the_bundle_is_the_default(known: Known, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(known("invert"), tmp_path / "x.i2i"))
    data = json.loads((copy / "manifest.json").read_text())
    data["input"]["fit"] = "crop"
    (copy / "manifest.json").write_text(json.dumps(data))
    with Translator(copy) as translate:
        assert translate.fit == "crop"
    with Translator(copy, fit="pad") as translate:
        assert translate.fit == "pad"


# Pillow


def _pil_images() -> dict[str, Any]:
    rgba = Pil.fromarray(noise(31, 47, 4))
    rgb = Pil.fromarray(np.asarray(Pil.fromarray(noise(8, 12, 3)).resize((47, 31))))
    palette = rgb.quantize(16)
    transparent = palette.copy()
    transparent.info["transparency"] = 3
    return {
        "L": rgb.convert("L"),
        "LA": rgba.convert("LA"),
        "RGB": rgb,
        "RGBA": rgba,
        "P": palette,
        "P with transparency": transparent,
    }


@pytest.mark.parametrize("mode", _pil_images())
@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_pil_images_come_back_as_they_were(open_known: Open, mode: str, order: str) -> None:
    image = _pil_images()[mode]
    before = image.tobytes()
    result = open_known("identity", fit="letterbox", color=order)(image)
    assert isinstance(result, Pil.Image) and result.size == (47, 31)
    assert result.mode == {"P": "RGB", "P with transparency": "RGBA"}.get(mode, mode)
    assert image.tobytes() == before
    if "A" in image.getbands():
        assert result.getchannel("A").tobytes() == image.getchannel("A").tobytes()


@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_pil_images_are_rgb_whatever_numpys_order(open_known: Open, order: str) -> None:
    size = (WIDTH, HEIGHT)
    red = Pil.new("RGB", size, (255, 10, 0))
    assert open_known("swap", color=order)(red).getpixel((3, 3)) == (0, 10, 255)
    result = open_known("swap", color=order)(Pil.new("RGBA", size, (255, 10, 0, 77)))
    assert result.getpixel((3, 3)) == (0, 10, 255, 77)
    assert open_known("invert", color=order)(Pil.new("LA", size, (10, 77))).getpixel((0, 0)) == (245, 77)
    transparent = Pil.new("P", size, 3)
    transparent.putpalette([9] * 9 + [255, 10, 0])
    assert open_known("swap", color=order)(transparent).getpixel((3, 3)) == (0, 10, 255)
    transparent.info["transparency"] = 3
    assert open_known("swap", color=order)(transparent).getpixel((3, 3)) == (0, 10, 255, 0)


def test_pil_images_from_files(open_known: Open) -> None:
    file = io.BytesIO()
    Pil.fromarray(noise(HEIGHT, WIDTH, 3)).save(file, "PNG")
    image = Pil.open(file)  # a subclass of PIL.Image.Image, not loaded yet
    result = open_known("invert")(image)
    assert (np.asarray(result) == 255 - np.asarray(image)).all()


@pytest.mark.parametrize("mode", ["1", "CMYK", "YCbCr", "HSV", "I", "F", "I;16", "PA"])
def test_other_pil_modes_are_refused(open_known: Open, mode: str) -> None:
    with pytest.raises(InputError, match=rf"PIL image of mode {mode}; accepted: .*L, LA, RGB, RGBA or P"):
        open_known("invert")(Pil.new(mode, (9, 9)))


# batches


def test_a_batch_equals_single_calls(open_known: Open) -> None:
    """Sizes, channels and kinds mixed, more than the four that the variant takes at once."""
    translate = open_known("darken")
    images: list[Any] = [
        noise(HEIGHT, WIDTH, 3),
        noise(100, 70),
        noise(9, 200, 4),
        Pil.fromarray(noise(50, 60, 3)),
        noise(7, 7, 1),
        noise(HEIGHT, WIDTH, 3, seed=5),
        *(noise(30 + i, 90 - i, 3, seed=i) for i in range(5)),
    ]
    assert translate.variant is not None and len(images) > 2 * translate.variant.max_batch
    for result, image in zip(translate.batch(images), images, strict=True):
        assert type(result) is type(translate(image))
        assert np.array_equal(np.asarray(result), np.asarray(translate(image)))


def test_batches_use_as_few_calls_as_the_variant_allows(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Translator(known("invert")) as translate:
        counts: list[int] = []
        run = translate.engine.run
        monkeypatch.setattr(translate.engine, "run", lambda batch: (counts.append(len(batch)), run(batch))[1])
        translate.batch([noise(5, 6, 3)] * 10)
        assert counts == [4, 4, 2]
        assert translate.batch([]) == [] and counts == [4, 4, 2]


def test_what_batch_takes(open_known: Open) -> None:
    translate, four = open_known("invert"), noise(4, 10, 12, 3)
    for images in (four, tuple(four), iter(four)):
        results = translate.batch(images)  # type: ignore[arg-type]
        assert len(results) == 4 and all(r.shape == (10, 12, 3) for r in results)
    for frame in (four[0], four[0, :, :, 0]):  # a frame would otherwise be taken for a list of its rows
        with pytest.raises(
            InputError, match=r"batch takes a list of images; got one array of shape \(10, 12"
        ):
            translate.batch(frame)  # type: ignore[arg-type]


def test_one_bad_image_refuses_the_batch(open_known: Open) -> None:
    with pytest.raises(InputError, match="float32"):
        open_known("invert").batch([noise(4, 4, 3), np.zeros((4, 4, 3), np.float32)])


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_engines_of_fixed_batch(tmp_path: Path, batch: int, backend: str) -> None:
    """Neither too many nor too few frames reach them, whatever the manifest claims."""
    out = tmp_path / "x.i2i"
    write_known(out, "swap", engines=[(backend, "fp32")], batch=batch)
    graph = save_graph(tmp_path / "x.onnx", "swap", batch=batch)
    images = [noise(HEIGHT, WIDTH, 3, seed=i) for i in range(5)]
    for source in (out, graph):
        with Translator(source, backend=backend) as translate:
            for count in (1, 2, 3, 5):
                results = translate.batch(images[:count])
                assert len(results) == count
                assert all((r == x[..., ::-1]).all() for r, x in zip(results, images, strict=False))


# threads, closing


@pytest.mark.parametrize(("backend", "precision"), RUNNABLE[:2])
def test_eight_threads(open_known: Open, backend: str, precision: str) -> None:
    translate = open_known("swap", backend=backend, precision=precision)
    start = threading.Barrier(8)

    def work(worker: int) -> bool:
        start.wait()
        for i in range(20):
            image = noise(HEIGHT, WIDTH, 3, seed=100 * worker + i)
            if not (translate(image) == image[..., ::-1]).all():
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


@pytest.mark.parametrize(("backend", "precision"), RUNNABLE[:2])
def test_closing_while_others_translate(known: Known, backend: str, precision: str) -> None:
    """Each call is right or says that the engine is closed; nothing crashes."""
    translate = Translator(known("invert"), backend=backend, precision=precision)
    image, running = noise(HEIGHT, WIDTH, 3), threading.Semaphore(0)

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
def test_after_close(known: Known, backend: str, precision: str) -> None:
    with Translator(known("invert"), backend=backend, precision=precision) as translate:
        assert translate(noise(4, 4, 3)).shape == (4, 4, 3)
    translate.close()
    for use in (lambda: translate(noise(4, 4, 3)), lambda: translate.batch([noise(4, 4)]), translate.warmup):
        with pytest.raises(I2IError, match="closed: make a new Translator"):
            use()
    assert "invert" not in repr(translate) and backend in repr(translate)


def test_the_context_manager_closes_after_an_error(known: Known) -> None:
    with pytest.raises(InputError), Translator(known("invert")) as translate:
        translate(None)  # type: ignore[call-overload]
    with pytest.raises(BackendError, match="closed"):
        translate(noise(4, 4, 3))


def test_warm_up_changes_nothing(open_known: Open) -> None:
    translate, image = open_known("darken"), noise(HEIGHT, WIDTH, 3)
    before = translate(image)
    translate.warmup(3)
    assert (translate(image) == before).all()


# options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"color": "BGR"}, "color is 'BGR'; allowed: bgr, rgb"),
        ({"color": None}, "color is None"),
        ({"fit": "stretch"}, "fit is 'stretch'; allowed: resize, letterbox, crop, pad"),
        ({"threads": 0}, "threads is 0; allowed: 1 or more"),
        ({"threads": 2.5}, "threads is 2.5"),
        ({"backend": "cuda"}, "no variant for backend=cuda.*ort-fp32-24x40, openvino-fp32-24x40"),
        ({"precision": "int8"}, "no variant for .*precision=int8.*the bundle has: ort-fp32"),
        ({"backend": "ort", "precision": "bf16"}, "no variant for backend=ort, precision=bf16"),
        ({"size": 256}, "size=256x256; the bundle has: ort-fp32-24x40"),
        ({"size": "big"}, "size is 'big'; allowed: 256"),
        ({"input_range": (0, 255)}, "input_range: only for foreign ONNX files; a bundle says this itself"),
        ({"layout": "nchw", "channel_order": "rgb"}, "layout, channel_order: only for foreign"),
    ],
)
def test_options_that_are_refused(known: Known, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Translator(known("invert"), **options)


def test_unknown_options_are_errors(known: Known) -> None:
    with pytest.raises(TypeError, match="quality"):
        Translator(known("invert"), quality=9)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("size", "parsed"),
    [
        (256, (256, 256)),
        ((480, 640), (480, 640)),
        ([480, 640], (480, 640)),
        ("256", (256, 256)),
        ("480x640", (480, 640)),
        (np.int64(64), (64, 64)),
        ((np.uint16(24), np.int32(40)), (24, 40)),
        (1, (1, 1)),
        (16384, (16384, 16384)),
    ],
)
def test_sizes(size: Any, parsed: tuple[int, int]) -> None:
    result = parse_size(size)
    assert result == parsed and all(type(side) is int for side in result)


@pytest.mark.parametrize(
    "size",
    [
        *("", "x", "480x", "x640", "480x640x3", "480 x 640", "-1", "1e3", "٢٥٦", "big"),
        *(0, -5, 16385, (0, 5), (5, 99999), 2.5, 256.0, (1, 2, 3), (1,), (), (1.5, 2), None, {}, np.zeros(2)),
        pytest.param("9" * 5000, id="more digits than Python converts"),
    ],
)
def test_sizes_that_are_refused(size: Any) -> None:
    with pytest.raises(InputError, match=r"size is .*(allowed: 256|from 1 to 16384)"):
        parse_size(size)


def test_numpys_integers_choose_a_size(known: Known) -> None:
    with Translator(known("invert"), size=(np.int64(HEIGHT), np.int32(WIDTH))) as translate:  # type: ignore[arg-type]
        assert (translate.height, translate.width) == (HEIGHT, WIDTH)


# sources


def test_paths_as_text_and_as_path(known: Known, tmp_path: Path) -> None:
    class Somewhere:
        def __fspath__(self) -> str:
            return str(known("invert"))

    for source in (known("invert"), str(known("invert")), Somewhere(), f"{known('invert')}/"):
        with Translator(source) as translate:
            assert translate.bundle is not None and translate.bundle.manifest.model.name == "invert"


@pytest.mark.parametrize("name", ["scetch", "Sketch", "nowhere.i2i", "a/b/c.onnx"])
def test_unknown_names_list_the_zoo(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name}: no such bundle, and not in the zoo \(sketch"):
        Translator(name)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_checkpoints_say_what_to_run(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"latest_net_G{suffix}"
    file.write_bytes(b"")
    with pytest.raises(InputError, match=rf"is a checkpoint.*i2i export .*latest_net_G\{suffix}"):
        Translator(file)


def test_other_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"photo\.jpg: a bundle \(\.i2i\), an \.onnx file or a zoo name"):
        Translator(tmp_path / "photo.jpg")
    with pytest.raises(I2IError, match="not a bundle"):
        Translator(tmp_path)


def _edited(known: Known, tmp_path: Path, change: Callable[[Any], object]) -> Path:
    copy = Path(shutil.copytree(known("invert"), tmp_path / "x.i2i"))
    data = json.loads((copy / "manifest.json").read_text())
    change(data)
    (copy / "manifest.json").write_text(json.dumps(data))
    return copy


def test_samplers_are_refused(known: Known, tmp_path: Path) -> None:
    sampler = _edited(known, tmp_path, lambda data: data["model"].update(kind="sampler"))
    with pytest.raises(InputError, match="is a sampler, not a translator: it takes noise, not images"):
        Translator(sampler)


def test_variants_that_lie_about_their_size_are_refused(known: Known, tmp_path: Path) -> None:
    def change(data: Any) -> None:
        for variant in data["variants"]:
            variant["height"] = 48

    with pytest.raises(InputError, match="the engine works at 24x40 only, not at 48x40"):
        Translator(_edited(known, tmp_path, change))


def test_variants_of_newer_versions_are_passed_over(known: Known, tmp_path: Path) -> None:
    def change(data: Any) -> None:
        data["variants"].insert(0, data["variants"][0] | {"name": "new", "backend": "quantum"})

    with Translator(_edited(known, tmp_path, change)) as translate:
        assert translate.variant is not None and translate.variant.name != "new"
    with pytest.raises(BackendError, match="new: backend 'quantum' is not known to this version"):
        Translator(tmp_path / "x.i2i", backend="quantum")


def test_below_the_floor_says_so(known: Known, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Translator(known("invert"), min_psnr=99) as translate:
        assert translate.variant is not None
    assert "no variant that runs here reaches 99 dB" in caplog.text


@pytest.mark.parametrize("backend", ["ort", "openvino"])
@pytest.mark.parametrize(
    "shape", [[1, 48, 80, 3], [1, 12, 20, 3], [1, HEIGHT, WIDTH, 2], [1, HEIGHT * WIDTH * 3]]
)
def test_graphs_that_give_something_else_are_refused(tmp_path: Path, backend: str, shape: list[int]) -> None:
    """A picture of another size would be cut in silence: half of it shown at twice the scale."""
    count = int(np.prod(shape))
    graph = save_onnx(
        tmp_path / "x.onnx",
        [
            helper.make_node("Concat", ["x"] * (-(-count // (HEIGHT * WIDTH * 3))), ["c"], axis=0),
            helper.make_node("Reshape", ["c", "flat"], ["f"]),
            helper.make_node("Slice", ["f", "from", "to"], ["s"]),
            helper.make_node("Reshape", ["s", "shape"], ["y"]),
        ],
        [
            helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
            helper.make_tensor("from", TensorProto.INT64, [1], [0]),
            helper.make_tensor("to", TensorProto.INT64, [1], [count]),
            helper.make_tensor("shape", TensorProto.INT64, [len(shape)], shape),
        ],
        [("x", TensorProto.UINT8, [1, HEIGHT, WIDTH, 3])],
        [("y", TensorProto.UINT8, shape)],
    )
    with pytest.raises(
        InputError, match=r"the engine gives \(1, .*a translator gives pictures of the size it"
    ):
        Translator(graph, backend=backend)


@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_sizes_that_only_running_shows(tmp_path: Path, backend: str) -> None:
    graph = save_onnx(
        tmp_path / "x.onnx",
        [helper.make_node("Slice", ["x", "from", "to", "axes"], ["y"])],
        [
            helper.make_tensor("from", TensorProto.INT64, [1], [0]),
            helper.make_tensor("to", TensorProto.INT64, [1], [HEIGHT // 2]),
            helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        ],
        [("x", TensorProto.UINT8, ["n", HEIGHT, WIDTH, 3])],
        [("y", TensorProto.UINT8, ["n", "h", "w", 3])],
    )
    with pytest.raises(I2IError, match=r"12, 40, 3\).*a translator gives pictures of the size it takes"):
        Translator(graph, backend=backend)(noise(HEIGHT, WIDTH, 3))


def test_float_results_of_uint8_graphs_are_refused(tmp_path: Path) -> None:
    shape = ["n", HEIGHT, WIDTH, 3]
    graph = save_onnx(
        tmp_path / "x.onnx",
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        [],
        [("x", TensorProto.UINT8, shape)],
        [("y", TensorProto.FLOAT, shape)],
    )
    with pytest.raises(InputError, match="takes uint8 and gives float32; pictures are uint8 on both sides"):
        Translator(graph)


def test_own_graphs_run_without_a_bundle(known: Known) -> None:
    graph, image = known("swap") / "reference.onnx", noise(HEIGHT, WIDTH, 3)
    with Translator(graph, size=(HEIGHT, WIDTH)) as translate:
        assert translate.bundle is None and translate.variant is None
        assert (translate(image) == image[..., ::-1]).all()
        assert "fp32" in repr(translate)
    with pytest.raises(InputError, match="the engine works at 24x40 only, not at 256x256"):
        Translator(graph, size=256)
    with pytest.raises(InputError, match="takes uint8 pictures, so layout cannot be chosen"):
        Translator(graph, layout="nhwc")
    with pytest.raises(BackendError, match=r"ort cannot run it here: .*no bf16"):
        Translator(graph, precision="bf16")
    with pytest.raises(BackendError, match="'cuda' is not known"):
        Translator(graph, backend="cuda")
