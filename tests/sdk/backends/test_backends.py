"""The engines themselves: what they compute in is read back, what they cannot do is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from known_bundles import HEIGHT, KNOWN_MODELS, WIDTH, FindBundle, make_noise, save_graph, save_text
from numpy.typing import NDArray

from i2i_sdk.backends import (
    check_threads,
    explain_unsupported_variant,
    load_backend_class,
    open_variant,
    openvino,
)
from i2i_sdk.backends.base import Engine, EngineOptions
from i2i_sdk.backends.preference_table import BACKENDS, PREFERENCE
from i2i_sdk.bundle.folder import Bundle
from i2i_sdk.errors import BackendError, InputError


@pytest.fixture(params=["openvino", "ort"])
def backend(request: pytest.FixtureRequest) -> str:
    """The backends that load any ONNX file; those with formats of their own have tests of their own."""
    return str(request.param)


@pytest.fixture
def graph(known: FindBundle) -> Path:
    return known("invert") / "reference.onnx"


def test_what_is_preferred_exists() -> None:
    assert {name for name, _ in PREFERENCE} <= set(BACKENDS) and len(set(PREFERENCE)) == len(PREFERENCE)
    for name, row in BACKENDS.items():
        assert row.engine is None or issubclass(load_backend_class(name), Engine)  # type: ignore[arg-type]


def test_an_engine_reads_back_what_it_is(backend: str, graph: Path) -> None:
    with load_backend_class(backend)((graph,), "fp32", EngineOptions(1)) as engine:
        assert engine.input_shape == engine.output_shape == (None, HEIGHT, WIDTH, 3)
        assert (engine.input_dtype, engine.output_dtype) == ("uint8", "uint8")
        assert engine.precision == "fp32"
        assert engine.provider == {"ort": "CPUExecutionProvider", "openvino": "CPU"}[backend]


@pytest.mark.parametrize("count", [1, 3, 8, 1])
def test_batches(backend: str, graph: Path, count: int) -> None:
    batch = make_noise(count, HEIGHT, WIDTH, 3)
    with load_backend_class(backend)((graph,), "fp32") as engine:
        assert (engine.run(batch) == 255 - batch).all()


def test_results_are_new_arrays(backend: str, graph: Path) -> None:
    """Engines reuse their buffers; a result that changes with the next frame would be a torn picture."""
    first, second = make_noise(1, HEIGHT, WIDTH, 3), make_noise(1, HEIGHT, WIDTH, 3, seed=1)
    with load_backend_class(backend)((graph,), "fp32") as engine:
        result = engine.run(first)
        engine.run(second)
        assert (result == 255 - first).all()
        result[:] = 0
        assert (engine.run(first) == 255 - first).all()
    assert result.flags.writeable


def test_the_batch_is_not_modified(backend: str, graph: Path) -> None:
    batch = make_noise(2, HEIGHT, WIDTH, 3)
    before = batch.copy()
    batch.flags.writeable = False
    with load_backend_class(backend)((graph,), "fp32") as engine:
        engine.run(batch)
        engine.warmup(1)
    assert (batch == before).all()


def test_after_close(backend: str, graph: Path) -> None:
    engine = load_backend_class(backend)((graph,), "fp32")
    engine.close()
    engine.close()
    for use in (lambda: engine.run(make_noise(1, HEIGHT, WIDTH, 3)), engine.warmup):
        with pytest.raises(BackendError, match="this engine is closed"):
            use()


@pytest.mark.parametrize(
    "batch",
    [
        *(make_noise(*shape) for shape in ((1, 5, 7, 3), (1, WIDTH, HEIGHT, 3), (1, HEIGHT, WIDTH, 1))),
        *(make_noise(HEIGHT, WIDTH, 3), np.zeros((1, HEIGHT, WIDTH, 3), np.float32)),
    ],
)
def test_batches_that_a_graph_does_not_take(backend: str, graph: Path, batch: NDArray[Any]) -> None:
    message = f"failed on {batch.dtype} {batch.shape}: it takes uint8 (None, {HEIGHT}, {WIDTH}, 3)"
    with (
        load_backend_class(backend)((graph,), "fp32") as engine,
        pytest.raises(BackendError, match=re.escape(message)),
    ):
        engine.run(batch)


def test_a_file_that_is_no_graph(backend: str, graph: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x01nonsense")
    (tmp_path / "half.onnx").write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])
    for name in ("broken.onnx", "half.onnx", "nowhere.onnx"):
        with pytest.raises(BackendError, match=rf"{name}.*cannot load it: \S") as caught:
            load_backend_class(backend)((tmp_path / name,), "fp32")
        assert len(str(caught.value).splitlines()) == 1


def test_two_inputs_two_outputs_and_other_types(backend: str, tmp_path: Path) -> None:
    for text in (
        "(F x, F z) => (F y) { y = Add (x, z) }",
        "(F x) => (F y, F w) { y = Neg (x)  w = Abs (x) }",
        "(float16[1, 3, 24, 40] x) => (float16[1, 3, 24, 40] y) { y = Neg (x) }",
    ):
        path = save_text(tmp_path / "x.onnx", text.replace("F ", "float[1, 3, 24, 40] "))
        with pytest.raises(BackendError, match=r"one uint8 or float input and one output are needed; it has"):
            load_backend_class(backend)((path,), "fp32")


def test_weights_outside_of_the_graphs_folder_are_refused(backend: str, tmp_path: Path) -> None:
    """ONNX may name other files for its weights; a stranger's graph must not read the user's."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(HEIGHT * WIDTH * 3 * 4))
    for place in ("../secret.bin", str(secret)):
        weights = f'float[1, 3, 24, 40] w = ["location": "{place}"]'
        text = f"(float[1, 3, 24, 40] x) => (float[1, 3, 24, 40] y) <{weights}> {{ y = Add (x, w) }}"
        path = save_text(tmp_path / "bundle" / "a.onnx", text)
        with pytest.raises(BackendError, match="cannot load it"):
            load_backend_class(backend)((path,), "fp32")


# precisions


@pytest.mark.parametrize(
    ("capabilities", "precision", "reason"),
    [
        (("FP32", "BIN"), "fp32", None),
        (("FP32", "BIN"), "bf16", "this CPU has no BF16 (needs AVX512_BF16 or AMX); take the fp32 variant"),
        (("FP32", "BIN"), "int8", "OpenVINO has no INT8 on this CPU; take the fp32 variant"),
        (("FP32", "BF16", "INT8"), "bf16", None),
        (("FP32", "BF16", "INT8"), "int8", None),
        (("FP32", "BF16"), "w8", "OpenVINO runs fp32, bf16, int8 on a CPU, not w8"),
    ],
)
def test_what_openvino_runs_depends_on_the_cpu(
    capabilities: tuple[str, ...], precision: str, reason: str | None
) -> None:
    assert openvino.explain_unsupported_cpu(capabilities, precision) == reason


def test_openvino_that_runs_something_else_is_an_error(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO takes a precision as a hint; here it answers FP32 with BF16."""
    import openvino as ov

    model = Mock(get_property={"INFERENCE_PRECISION_HINT": ov.Type.bf16}.__getitem__)
    monkeypatch.setattr(openvino, "_compile_model", lambda *_, **__: model)
    with pytest.raises(BackendError, match="asked OpenVINO for f32, it would run bf16"):
        load_backend_class("openvino")((graph,), "fp32")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, graph: Path) -> None:
    monkeypatch.setattr(openvino.importlib.util, "find_spec", lambda name: None)
    assert openvino.OpenVinoEngine.explain_unsupported("fp32") == (
        "the package is missing: pip install 'i2i-sdk[openvino]'"
    )


# variants


def test_variants_open_or_say_why_not(known: FindBundle) -> None:
    bundle = Bundle.read(known("swap"))
    frame = make_noise(1, HEIGHT, WIDTH, 3)
    for variant in bundle.manifest.variants:
        if explain_unsupported_variant(variant) is None:
            with open_variant(variant, bundle.files_of(variant), EngineOptions(1)) as engine:
                assert (engine.run(frame)[0] == KNOWN_MODELS["swap"].compute(frame[0])).all()
                assert engine.precision == variant.precision
    first = bundle.manifest.variants[0]
    stranger = replace(first, name="a", backend="abacus")
    assert explain_unsupported_variant(stranger) == "backend 'abacus' is not known to this version"
    with pytest.raises(BackendError, match=r"a cannot run here: backend 'abacus' is not known"):
        open_variant(stranger, bundle.files_of(first))
    with pytest.raises(BackendError, match=r"cannot run here: ONNX Runtime on cpu has no bf16"):
        open_variant(replace(first, precision="bf16"), bundle.files_of(first))


def test_an_unknown_backend_lists_the_known() -> None:
    names = ", ".join(name for name, row in BACKENDS.items() if row.engine)
    known = rf"'cuda' is not known to this version; known: {names}"
    with pytest.raises(BackendError, match=known):
        load_backend_class("cuda")


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, "2"])
def test_threads(threads: object) -> None:
    check_threads(None)
    check_threads(1)
    with pytest.raises(InputError, match=rf"threads is {threads!r}; allowed: 1 or more, or None"):
        check_threads(threads)  # type: ignore[arg-type]


def test_warm_up_of_a_graph_with_fixed_batch(backend: str, tmp_path: Path) -> None:
    path = save_graph(tmp_path / "four.onnx", "invert", batch=4)
    with load_backend_class(backend)((path,), "fp32") as engine:
        engine.warmup()
        assert engine.input_shape == (4, HEIGHT, WIDTH, 3)
        assert (engine.run(np.zeros((4, HEIGHT, WIDTH, 3), np.uint8)) == 255).all()
