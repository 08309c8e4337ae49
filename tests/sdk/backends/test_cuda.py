"""CUDA: its errors by name on a machine without a GPU; a captured copy, replayed, on one that has one."""

from __future__ import annotations

import ctypes
import re
from typing import Any
from unittest.mock import Mock, call

import numpy as np
import pytest
from known_bundles import make_noise

from i2i_sdk.backends.tensorrt import cuda as ours
from i2i_sdk.backends.tensorrt.cuda import ArraySpec, GraphReplay, find_device, unwrap_result
from i2i_sdk.errors import BackendError

cuda = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-python, in the extra tensorrt-rtx")

NO_GPU = ours.explain_missing_cuda()
needs_gpu = pytest.mark.skipif(NO_GPU is not None, reason="no CUDA device")
needs_none = pytest.mark.skipif(NO_GPU is None, reason="there is a CUDA device")

FRAME = ArraySpec((2, 24, 40, 3), "uint8")


def test_errors_are_named() -> None:
    for name in ("cudaErrorMemoryAllocation", "cudaErrorNoDevice", "cudaErrorStreamCaptureUnsupported"):
        with pytest.raises(BackendError, match=rf"CUDA: {name} \(.+\)"):
            unwrap_result((getattr(cuda.cudaError_t, name),))


def test_values_come_through() -> None:
    fine = cuda.cudaError_t.cudaSuccess
    assert unwrap_result((fine,)) is None and unwrap_result((fine, 7)) == 7
    assert unwrap_result(cuda.cudaRuntimeGetVersion()) >= 12000


@needs_none
def test_without_a_driver_it_says_so() -> None:
    reason = ours.explain_missing_cuda()
    pattern = r"no CUDA device: CUDA: cudaError\w+ \(.+\)\. An NVIDIA GPU with its driver is needed"
    assert reason is not None and re.fullmatch(pattern, reason)
    with pytest.raises(BackendError, match="CUDA: cudaError"):
        find_device()


@needs_none
def test_nothing_is_half_made_without_a_driver() -> None:
    compute = Mock()
    with pytest.raises(BackendError, match="CUDA: cudaError"):
        GraphReplay(FRAME, FRAME, compute)
    compute.assert_not_called()


@needs_none
def test_cuda_python_takes_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run: all calls are made, and each must get as far as the missing driver.

    Whatever a call should have given is the address of one piece of ordinary memory, so input and output
    are the same array. It shows that the calls are as cuda-python wants them, not that they are right.
    """
    memory = (ctypes.c_uint8 * FRAME.bytes)()
    refused: list[str] = []

    def unwrap_leniently(result: tuple[Any, ...]) -> Any:
        with pytest.raises(BackendError, match="CUDA: cudaError") as caught:
            unwrap_result(result)
        refused.append(str(caught.value))
        return ctypes.addressof(memory)

    compute = Mock()
    monkeypatch.setattr(ours, "unwrap_result", unwrap_leniently)
    replay = GraphReplay(FRAME, FRAME, compute)
    frame = make_noise(*FRAME.shape)
    assert (replay.run(frame) == frame).all()
    # Once as it is, once captured.
    assert compute.call_args_list == [call(*[ctypes.addressof(memory)] * 3)] * 2
    assert len(refused) == 15 and len(set(refused)) == 1
    replay.close()
    with pytest.raises(BackendError, match="this engine is closed"):
        replay.run(frame)


def test_an_array_lies_where_it_is_said_to() -> None:
    spec = ArraySpec((2, 3), "float32")
    memory = (ctypes.c_uint8 * spec.bytes)()
    array = ours._view_as_array(ctypes.addressof(memory), spec)
    array[1, 2] = 1.0
    assert spec.bytes == 24 and array.shape == (2, 3)
    assert bytes(memory) == bytes(20) + np.float32(1).tobytes()


@needs_gpu
def test_a_captured_copy_is_replayed() -> None:
    def copy(stream: int, source: int, target: int) -> None:
        kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        unwrap_result(cuda.cudaMemcpyAsync(target, source, FRAME.bytes, kind, cuda.cudaStream_t(stream)))

    compute = Mock(side_effect=copy)
    replay = GraphReplay(FRAME, FRAME, compute)
    first, second = make_noise(*FRAME.shape), make_noise(*FRAME.shape, seed=1)
    result = replay.run(first)
    assert (replay.run(second) == second).all() and (result == first).all()
    assert compute.call_count == 2  # once as it is, once captured; replays call nothing
    replay.close()
    replay.close()
    with pytest.raises(BackendError, match="this engine is closed"):
        replay.run(first)


@needs_gpu
def test_a_failure_while_capturing_leaves_nothing_behind() -> None:
    compute = Mock(side_effect=[None, BackendError("not this time")])
    with pytest.raises(BackendError, match="not this time"):
        GraphReplay(FRAME, FRAME, compute)
    test_a_captured_copy_is_replayed()  # nothing is in capture any more
