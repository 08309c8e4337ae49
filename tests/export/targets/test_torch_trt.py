"""torch-tensorrt: its program is made and compared here, and the export stops at the compiler."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from i2i_export.canonical import make_example_input, wrap_for_export
from i2i_export.job import Job
from i2i_export.targets import torch_trt
from i2i_export.targets.torch_trt import RoundedEngine, convert_module_to_half, export_program
from i2i_sdk import BackendError, ExportError, ParityError
from i2i_sdk.backends import load_backend_class
from i2i_sdk.backends.preference_table import PREFERENCE
from i2i_sdk.backends.torch_trt import TRUST_VARIABLE, ProgramEngine, TorchTrtEngine
from i2i_sdk.quality.parity import measure_parity
from i2i_training.networks import EncoderDecoderConfig, GeneratorSpec
from tests.export.conftest import DEFAULTS, SMALL, make_generator, make_job

CONVOLUTIONS = ("aten.conv2d.default", "aten.conv_transpose2d.input")

pytestmark = pytest.mark.skipif(torch_trt.explain_missing_torch_trt() is None, reason="it compiles here")


@pytest.fixture(scope="module")
def job(sketch_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The sketch model, which is trained, at 64 x 96."""
    return make_job(sketch_checkpoint, tmp_path_factory.mktemp("job"), (64, 96))


@pytest.fixture(scope="module")
def program(job: Job) -> torch.export.ExportedProgram:
    """Exported, saved and read back, having kept its floor."""
    return export_program(job, "fp16", job.scratch / "x.pt2")


def test_the_program_keeps_contract_and_pictures(job: Job, program: torch.export.ExportedProgram) -> None:
    with RoundedEngine(program, "fp16") as engine:
        assert engine.input_shape == engine.output_shape == (None, 64, 96, 3)
        assert (engine.input_dtype, engine.output_dtype) == ("uint8", "uint8")
        assert measure_parity(engine, job.parity_case).psnr >= 55


def test_rounding_gives_what_half_precision_gives(job: Job, program: torch.export.ExportedProgram) -> None:
    """PyTorch has FP16 convolutions on a CPU, slow ones: on small pictures they can be asked."""
    frame = job.parity_case.inputs.arrays[0][None]
    with ProgramEngine(program, "fp16", "cpu") as direct, RoundedEngine(program, "fp16") as rounded:
        difference = np.abs(direct.run(frame).astype(int) - rounded.run(frame))
    assert difference.max() <= 2 and (difference > 0).mean() < 0.02


def test_batches_up_to_the_largest(job: Job, program: torch.export.ExportedProgram) -> None:
    frames = np.stack([job.parity_case.inputs.arrays[i % 2] for i in range(9)])
    with ProgramEngine(program, "fp16", "cpu") as engine:
        assert engine.run(frames[:8]).shape == (8, 64, 96, 3)
        for wrong in (frames, frames[:, :32], frames.astype(np.float32)):
            with pytest.raises(BackendError, match="PyTorch failed on"):
                engine.run(wrong)
    with pytest.raises(BackendError, match="this engine is closed"):
        engine.run(frames[:1])


@pytest.mark.parametrize("name", ["resnet", "unet", "encoder_decoder"])
def test_types(name: str) -> None:
    """unet: BatchNorm on the statistics of the picture, which is an InstanceNorm with weights."""
    config = EncoderDecoderConfig(width=16, norm="batch") if name == "encoder_decoder" else SMALL[name]
    mode = {"resnet": "none", "unet": "batch_stats", "encoder_decoder": "running_stats"}[name]
    spec = GeneratorSpec(config, norm_mode=mode)
    module = wrap_for_export(make_generator(config), spec)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    example = make_example_input(spec, 64, 64, batch=2)
    program = torch.export.export(convert_module_to_half(module), (example,))
    dtypes: dict[str, set[torch.dtype]] = {}
    for node in program.graph.nodes:
        if node.op == "call_function" and isinstance(node.meta["val"], torch.Tensor):
            dtypes.setdefault(str(node.target), set()).add(node.meta["val"].dtype)
    found = [dtypes[kind] for kind in CONVOLUTIONS if kind in dtypes]
    assert found and all(kinds == {torch.half} for kinds in found)
    assert dtypes["aten.tanh.default"] == {torch.float32}
    assert dtypes.get("aten.instance_norm.default", {torch.float32}) == {torch.float32}
    assert ("aten.instance_norm.default" in dtypes) == (name != "encoder_decoder")
    after = module.state_dict()
    assert all(after[key].dtype == before[key].dtype and (after[key] == before[key]).all() for key in before)


def test_it_stops_at_the_compiler(job: Job) -> None:
    with pytest.raises(ExportError) as caught:
        torch_trt.export(job, "fp16")
    reason = str(caught.value)
    assert reason.startswith("the program keeps its pictures but cannot be compiled here, so nothing")
    assert "pip install 'i2i-sdk[torch-tensorrt]'" in reason or "needs a CUDA GPU" in reason
    assert (job.scratch / "torch-trt-fp16-64x96-program.pt2").is_file()
    assert not list(job.folder.iterdir())


def test_a_damaged_program_is_caught_before_compiling(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def damage_module(module: nn.Module) -> nn.Module:
        typed = convert_module_to_half(module)
        with torch.no_grad():
            next(p for p in typed.parameters() if p.dim() == 4).mul_(-1)
        return typed

    monkeypatch.setattr(torch_trt, "convert_module_to_half", damage_module)
    with pytest.raises(ParityError, match=r"torch-trt-fp16 before compiling: .* the floor is 40 dB"):
        torch_trt.export(job, "fp16")


def test_what_its_backend_is_missing() -> None:
    assert load_backend_class("torch-trt") is TorchTrtEngine and ("torch-trt", "fp16") in PREFERENCE
    assert torch_trt.list_default_precisions(DEFAULTS) == ()
    assert TorchTrtEngine.explain_unsupported("fp32") == "torch-tensorrt variants are fp16, not fp32"
    reason = str(TorchTrtEngine.explain_unsupported("fp16"))
    assert "pip install 'i2i-sdk[torch-tensorrt]'" in reason or "needs a CUDA GPU" in reason


def test_what_strangers_pickled_is_not_loaded_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything is there, which it is not here."""
    monkeypatch.setattr("i2i_sdk.backends.torch_trt.explain_missing_torch_trt", lambda: None)
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
    reason = str(TorchTrtEngine.explain_unsupported("fp16"))
    assert f"set {TRUST_VARIABLE}=1 for bundles that you trust" in reason
    monkeypatch.setenv(TRUST_VARIABLE, "1")
    assert TorchTrtEngine.explain_unsupported("fp16") is None
