"""What users and other programs may rely on: names, imports, commands."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import re
import subprocess
import sys
from typing import Any

import pytest

import i2i_sdk
from i2i_sdk import errors
from i2i_sdk.cli.main import COMMANDS, EXTRAS, INSPECTORS

HEAVY = (
    *("cv2", "onnxruntime", "openvino", "ncnn", "coremltools", "tensorrt_rtx", "cuda"),
    *("torch", "onnx", "lightning", "av", "rich", "PIL", "skimage", "matplotlib"),
)


def run_in_new_interpreter(code: str, *arguments: str) -> Any:
    """Run code in a new interpreter and return the JSON that it prints last."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_all_is_what_is_visible() -> None:
    assert sorted(i2i_sdk.__all__) == list(i2i_sdk.__all__) == sorted(dir(i2i_sdk))
    for name in i2i_sdk.__all__:
        assert getattr(i2i_sdk, name) is not None
    namespace: dict[str, object] = {}
    exec("from i2i_sdk import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(i2i_sdk.__all__)


def test_the_contract_is_small_and_described() -> None:
    for name in i2i_sdk.__all__:
        if name != "__version__":
            assert inspect.getdoc(getattr(i2i_sdk, name)), name
    for name, member in inspect.getmembers(i2i_sdk.Translator, inspect.isfunction):
        if not name.startswith("_") or name == "__call__":
            assert inspect.getdoc(member), name
    with pytest.raises(AttributeError, match="module 'i2i_sdk' has no attribute 'Translater'"):
        _ = i2i_sdk.Translater  # type: ignore[attr-defined]


def test_version_is_the_distributions() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z]+\d+)?", i2i_sdk.__version__)
    assert importlib.metadata.version("i2i-sdk") == i2i_sdk.__version__


def test_importing_loads_no_engine() -> None:
    code = "import json, sys, i2i_sdk; print(json.dumps(sorted(sys.modules)))"
    loaded = set(run_in_new_interpreter(code))
    assert "i2i_sdk" in loaded
    assert not loaded & set(HEAVY)
    assert not loaded & {"i2i_training", "i2i_export", "i2i_sdk.translator"}


def test_choosing_an_engine_and_drawing_load_what_they_need_when_they_need_it() -> None:
    modules = "i2i_sdk.backends, i2i_sdk.backends.ort.ort_engine, i2i_sdk.backends.openvino, i2i_sdk.cli.tune"
    code = f"import json, sys, {modules}; print(json.dumps(sorted(sys.modules)))"
    loaded = set(run_in_new_interpreter(code))
    assert "i2i_sdk.perf.plots" in loaded
    assert not loaded & (set(HEAVY) - {"cv2"})


def test_a_translator_loads_no_more_than_its_engine(known: Any) -> None:
    code = """
import json, sys
import numpy as np
from i2i_sdk import Translator
with Translator(sys.argv[1], backend="ort") as translate:
    translate(np.zeros((9, 9, 3), np.uint8))
print(json.dumps(sorted(sys.modules)))
"""
    loaded = set(run_in_new_interpreter(code, str(known("invert")))) & set(HEAVY)
    assert loaded == {"cv2", "onnxruntime"} | (loaded & {"openvino"})  # asked whether it could run


# errors


def test_every_error_is_public_and_drawn() -> None:
    kinds = {n: c for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, Exception)}
    assert set(kinds) <= set(i2i_sdk.__all__) and all(issubclass(c, errors.I2IError) for c in kinds.values())
    assert set(re.findall(r"(\w+Error)  ", errors.__doc__ or "")) == set(kinds) - {"I2IError"}
    assert issubclass(errors.InputError, ValueError)
    assert issubclass(errors.ParityError, errors.ExportError)


# commands


def test_every_command_is_there_and_helps() -> None:
    code = """
import contextlib, io, json, warnings
warnings.simplefilter("ignore")
from i2i_sdk.cli.main import COMMANDS, INSPECTORS, load
result = {}
for name, (target, _) in COMMANDS.items():
    function, text = load(target), io.StringIO()
    assert callable(function)
    try:
        with contextlib.redirect_stdout(text):
            code = function(["--help"])
    except SystemExit as stop:
        code = stop.code
    result[name] = [code, text.getvalue()]
assert all(callable(load(target)) for target in INSPECTORS.values())
print(json.dumps(result))
"""
    result: dict[str, tuple[int, str]] = run_in_new_interpreter(code)
    assert list(result) == list(COMMANDS)
    for name, (exit_code, text) in result.items():
        assert exit_code == 0, name
        assert text.startswith(f"usage: i2i {name}"), name


def test_commands_name_modules_of_this_project() -> None:
    for target in [*(target for target, _ in COMMANDS.values()), *INSPECTORS.values()]:
        assert re.fullmatch(r"i2i_(sdk|export|training)(\.\w+)+:\w+", target)
        package = target.split(".")[0]
        assert package == "i2i_sdk" or package in EXTRAS
    declared = importlib.metadata.metadata("i2i-sdk").get_all("Provides-Extra") or []
    assert set(EXTRAS.values()) <= set(declared)
