"""The live page in a real browser, before a real `i2i serve`: what people see and can do."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import av
import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from playwright import sync_api

from i2i_sdk import Translator
from i2i_sdk.quality.metrics import psnr
from i2i_sdk.zoo import find_zoo_bundle
from tests.sdk.known_bundles import KNOWN_MODELS
from tests.system.live_page_tools import (
    CAMERA_ALLOWED_FLAGS,
    CAMERA_TOLERANCE,
    HEIGHT,
    TOLERANCE,
    WIDTH,
    Image,
    LivePage,
    TranslateFunction,
    compute_distance,
    decode_image,
    draw_blocks,
    launch_browser,
    list_patterns,
    make_pattern,
    measure_pattern_error,
    wait_until,
)

pytest_plugins = ["tests.system.live_page_fixtures"]
SWAP, DARKEN = KNOWN_MODELS["swap"].compute, KNOWN_MODELS["darken"].compute
PHONE: sync_api.ViewportSize = {"width": 390, "height": 844}


@pytest.mark.parametrize("engine", ["server", "device"])
def test_an_engine_translates_and_wrong_colors_are_noticed(live: LivePage, engine: str) -> None:
    live.choose(engine=engine)
    live.wait_for_model("swap", engine)
    live.check_translation(SWAP)
    live.choose(model="darken")
    live.wait_for_model("darken", engine)
    live.check_translation(DARKEN)
    with pytest.raises(AssertionError, match="gray levels off"):
        live.check_translation(SWAP)


def test_engines_are_switched_while_it_runs(live: LivePage) -> None:
    used = live.page.get_by_label("Engine in use")
    assert "ort" in used.inner_text() and "96\u00d764" in used.inner_text()
    live.choose(engine="device")
    live.wait_for_model("swap", "device")
    assert re.fullmatch("WebAssembly, [0-9] threads? · fp32 · 96\u00d764", used.inner_text())
    assert live.page.evaluate("crossOriginIsolated")  # else there are no threads
    live.choose(engine="server")
    live.wait_for_model("swap", "server")
    live.check_translation(SWAP)
    for figure in ("fps", "latency", "dropped"):
        field = live.page.locator(f"#{figure}")
        wait_until(lambda field=field: re.fullmatch(r"[\d.]+", field.inner_text()), figure)


def test_a_software_gpu_is_left_alone_but_webgpu_gives_the_same(
    playwright: sync_api.Playwright, camera: Path, address: str
) -> None:
    flags = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
    browser = launch_browser(playwright, *flags, camera=camera)
    for wanted, expected in (("", "WebAssembly"), ("#device=webgpu", "WebGPU")):
        live = LivePage(browser.new_page()).open(f"{address}{wanted}")
        live.wait_for_model("swap", "server")
        live.choose(engine="device")
        live.wait_for_model("swap", "device")
        assert live.page.get_by_label("Engine in use").inner_text().startswith(expected)
        live.check_translation(SWAP)
        assert live.errors == []
        live.page.close()
    browser.close()


def test_a_model_without_a_graph_for_browsers_stays_on_the_server(live: LivePage) -> None:
    live.choose(engine="device")
    live.wait_for_model("swap", "device")
    live.choose(model="plain")
    live.wait_for_model("plain", "server")
    assert live.page.get_by_role("radio", name="This device").is_disabled()
    assert "runs on the server only" in live.page.locator("#toast").inner_text()
    live.check_translation(SWAP)


def test_mirror(live: LivePage) -> None:
    button = live.page.get_by_role("button", name="Mirror")
    assert button.get_attribute("aria-pressed") == "true"  # as in every mirror, for a camera that faces you
    button.click()
    wait_until(lambda: shows_pattern(live), "turned frames")
    live.check_translation(SWAP, is_mirrored=False)


def test_flip_takes_the_next_camera(playwright: sync_api.Playwright, address: str) -> None:
    two_cameras = "--use-fake-device-for-media-stream=device-count=2"
    browser = launch_browser(playwright, *CAMERA_ALLOWED_FLAGS, two_cameras)
    context = browser.new_context(viewport=PHONE)
    live = LivePage(context.new_page()).open(address)
    live.wait_for_model("swap", "server")
    cameras = live.page.locator("#camera-select")
    first = cameras.input_value()
    live.page.get_by_role("button", name="Flip").click()
    wait_until(lambda: cameras.input_value() not in ("", first), "the other camera")
    live.wait_for_model("swap", "server")
    live.page.get_by_role("button", name="Flip").click()
    wait_until(lambda: cameras.input_value() == first, "the first camera again")
    assert find_misplaced_controls(live, PHONE) == []
    assert live.errors == []
    browser.close()


def test_snapshot(live: LivePage) -> None:
    with live.page.expect_download() as download:
        live.page.get_by_role("button", name="Snapshot").click()
    assert re.fullmatch(r"swap \d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d\.png", download.value.suggested_filename)
    picture = decode_image(download.value.path().read_bytes())
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert measure_pattern_error(picture, SWAP) <= CAMERA_TOLERANCE


def test_recording(live: LivePage) -> None:
    record = live.page.locator("#record")
    record.click()
    assert record.inner_text() == "Stop" and live.page.locator("#recording").is_visible()
    wait_until(lambda: live.page.locator("#clock").inner_text() == "0:02", "two seconds recorded")
    with live.page.expect_download() as download:
        record.click()
    assert record.inner_text() == "Record"
    assert re.fullmatch(r"swap [\d-]+ [\d.]+\.(mp4|webm)", download.value.suggested_filename)
    with av.open(str(download.value.path())) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) > 5 and frames[-1].shape == (HEIGHT, WIDTH, 3)
    assert measure_pattern_error(np.asarray(frames[-1], np.uint8), SWAP) <= 2 * CAMERA_TOLERANCE


def test_slider(live: LivePage) -> None:
    slider = live.page.get_by_role("slider", name="Before and after")
    slider.focus()
    for key, value in (("ArrowRight", 52), ("ArrowLeft", 50), ("PageDown", 40), ("Home", 0), ("End", 100)):
        live.page.keyboard.press(key)
        assert slider.get_attribute("aria-valuenow") == str(value)
    wait_until(lambda: screen_shows(live, lambda x: x), "only the original is seen")
    box = live.page.locator("#picture").bounding_box()
    live.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 5)
    live.page.mouse.down()
    live.page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 5)
    live.page.mouse.up()
    assert slider.get_attribute("aria-valuenow") == "25"
    live.page.keyboard.press("Home")
    wait_until(lambda: screen_shows(live, SWAP), "only the translation is seen")
    live.page.get_by_role("button", name="Compare").click()
    assert not slider.is_visible()


def test_everything_is_reached_by_the_keyboard(live: LivePage) -> None:
    reached: list[str] = []
    for _ in range(12):
        live.page.keyboard.press("Tab")
        reached.append(live.page.evaluate("document.activeElement.id || document.activeElement.value || ''"))
    buttons = ["camera", "open", "mirror", "compare", "snapshot", "record", "full"]
    assert reached[:10] == ["slider", "model", "server", *buttons]
    live.page.locator("#full").focus()
    live.page.keyboard.press("Enter")
    full = live.page.get_by_role("button", name="Full screen")
    wait_until(lambda: full.get_attribute("aria-pressed") == "true", "full screen")
    live.page.locator('input[value="server"]').focus()
    live.page.keyboard.press("ArrowRight")
    live.wait_for_model("swap", "device")
    live.page.locator("#camera").focus()
    live.page.keyboard.press("Space")
    live.wait_for_notice("See it live")
    assert live.page.locator("#after").is_hidden()


def test_on_a_phone_everything_is_inside_and_has_a_name(browser: sync_api.Browser, address: str) -> None:
    context = browser.new_context(viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=3)
    live = LivePage(context.new_page()).open(address)
    live.wait_for_model("swap", "server")
    page = live.page
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert page.evaluate("document.documentElement.scrollHeight") == PHONE["height"]
    assert find_misplaced_controls(live, PHONE) == []
    tree = page.locator("body").aria_snapshot()
    nameless = re.findall(r"^\s*- (?:button|radio|combobox|slider|textbox|img)(?:\s*\[.*\])?:?$", tree, re.M)
    assert nameless == [], tree
    live.check_translation(SWAP)
    assert live.errors == []
    context.close()


@pytest.mark.parametrize("engine", ["server", "device"])
def test_a_picture_becomes_what_python_makes_of_it(
    live: LivePage, engine: str, models: list[Path], tmp_path: Path
) -> None:
    """Shrinking by averaging, model, enlarging: alike in both languages. Shrunk bilinearly it is 28 dB."""
    live.choose(model="identity", engine=engine)
    photo = load_textured_photo()
    cv2.imwrite(str(tmp_path / "photo.png"), photo[:, :, ::-1])
    live.page.locator("#file").set_input_files(tmp_path / "photo.png")
    wait_until(lambda: live.page.locator("#after").evaluate("c => c.width") == photo.shape[1], "the picture")
    live.wait_for_model("identity", engine)
    with Translator(models[2]) as translate:
        expected = translate(photo, "rgb")
    assert psnr(live.read_pixels("before"), photo) > 60
    assert psnr(live.read_pixels("after"), expected) > 40
    assert live.page.get_by_role("button", name="Record").is_disabled()


def test_fp32_in_the_browser_gives_the_floats_of_python(live: LivePage) -> None:
    """The zoo's model up to its tanh, before anything is rounded: in -1..1, the same to 1e-3."""
    model = onnx.load(str(find_zoo_bundle("sketch") / "reference_128x128.onnx"))
    (tanh,) = (node.output[0] for node in model.graph.node if node.op_type == "Tanh")
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(tanh, TensorProto.FLOAT, [1, 3, 128, 128]))
    graph = model.SerializeToString()
    image = np.ascontiguousarray(load_textured_photo()[100:228, 200:328])
    expected = ort.InferenceSession(graph).run(None, {"image": image[None]})[0]
    found = live.page.evaluate(
        """async ([graph, image]) => {
          const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
          const ort = await import("/static/vendor/ort/ort.wasm.min.mjs");
          const session = await ort.InferenceSession.create(bytes(graph));
          const given = new ort.Tensor("uint8", bytes(image), [1, 128, 128, 3]);
          const floats = Object.values(await session.run({ image: given }))[0].data;
          return btoa(Array.from(new Uint8Array(floats.buffer), (b) => String.fromCharCode(b)).join(""));
        }""",
        [base64.b64encode(data).decode() for data in (graph, image.tobytes())],
    )
    values = np.frombuffer(base64.b64decode(found), np.float32).reshape(expected.shape)
    assert float(np.ptp(expected)) > 1.5  # a drawing, not an empty page
    assert float(np.abs(values - expected).max()) < 1e-3


def test_a_video_file(live: LivePage, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.webm"), "w") as file:
        stream = file.add_stream("libvpx", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 4_000_000
        for pattern in [pattern for pattern in list_patterns() for _ in range(5)]:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(draw_blocks(pattern), format="rgb24")))
        file.mux(stream.encode())
    live.page.locator("#file").set_input_files(tmp_path / "clip.webm")
    wait_until(lambda: shows_pattern(live), "frames of the clip")
    live.check_translation(SWAP, is_mirrored=False)


def test_a_picture_is_dropped(live: LivePage) -> None:
    image = cv2.imencode(".png", np.ascontiguousarray(draw_blocks(make_pattern(1))[:, :, ::-1]))[1].tobytes()
    dropped = live.page.evaluate_handle(
        """(image) => {
          const bytes = Uint8Array.from(atob(image), (c) => c.charCodeAt(0));
          const carried = new DataTransfer();
          carried.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
          return carried;
        }""",
        base64.b64encode(image).decode(),
    )
    stage = live.page.locator("#stage")
    stage.dispatch_event("dragover", {"dataTransfer": dropped})
    assert live.page.get_by_text("Drop a picture or a video").is_visible()
    stage.dispatch_event("drop", {"dataTransfer": dropped})
    wait_until(lambda: compute_distance(live.read_blocks()[0], make_pattern(1)) == 0, "the dropped picture")
    assert compute_distance(live.read_blocks()[1], SWAP(make_pattern(1))) <= TOLERANCE
    assert not live.page.get_by_text("Drop a picture or a video").is_visible()


def test_a_file_that_is_none(live: LivePage, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    live.page.locator("#file").set_input_files(tmp_path / "broken.mp4")
    live.wait_for_notice("broken.mp4 cannot be played")


def shows_pattern(live: LivePage) -> bool:
    """Whether a pattern, not mirrored, is what is translated."""
    return any(compute_distance(live.read_blocks()[0], x) <= CAMERA_TOLERANCE for x in list_patterns())


def find_misplaced_controls(live: LivePage, viewport: sync_api.ViewportSize) -> list[str]:
    """The controls that are not wholly on the screen, or too small for a finger."""
    kinds = ("button", "select", ".segments label", "[role=slider]")
    controls = live.page.locator(", ".join(f"{kind}:visible" for kind in kinds))
    assert controls.count() >= 9
    bad: list[str] = []
    for control in controls.all():
        box = control.bounding_box()
        if (
            box is None
            or not (box["x"] >= 0 and box["x"] + box["width"] <= viewport["width"])
            or not (box["y"] >= 0 and box["y"] + box["height"] <= viewport["height"])
            or not (box["width"] >= 40 and box["height"] >= 38)
        ):
            bad.append(f"{control.inner_text()}: {box}")
    return bad


def screen_shows(live: LivePage, answer: TranslateFunction) -> bool:
    """Whether the picture on the screen is what `answer` makes of a pattern."""
    picture = decode_image(live.page.locator("#picture").screenshot())
    return measure_pattern_error(picture, answer) <= CAMERA_TOLERANCE


def load_textured_photo() -> Image:
    """A photo with fine texture, [400, 600, 3] RGB."""
    from skimage.data import coffee

    return np.ascontiguousarray(coffee()[:400, :600])
