"""What variants are compared with: the same network as research code runs it.

Openers for `i2i_sdk.perf.candidates`: each is called in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from i2i_sdk.perf.candidates import Candidate
from i2i_training.checkpoint import load_generator

EAGER, COMPILED = "eager PyTorch FP32", "torch.compile FP32"
EVENTS_CALLS = 10  # of each report


def make_torch_candidates(
    checkpoint: Path, size: tuple[int, int], batch: int, device: str, threads: int | None = None
) -> list[Candidate]:
    """PyTorch eager and compiled; on a GPU also in FP16, as a CUDA graph, and timed by CUDA events.

    Args:
        checkpoint: of a generator.
        size: height, width.
        batch: frames of a call, from 1.
        device: "cpu" or "cuda".
        threads: of PyTorch; None: its own choice.

    Returns:
        Candidates, the baseline first.
    """
    common = {"checkpoint": str(checkpoint), "size": list(size), "batch": batch, "device": device}

    def make_candidate(name: str, opener: str = "open_torch", **more: Any) -> Candidate:
        arguments = {**common, "threads": threads, **more}
        return Candidate(name, f"{__name__}:{opener}", arguments, reports=opener == "open_events")

    found = [make_candidate(EAGER), make_candidate(COMPILED, mode="compiled")]
    if device == "cuda":
        graph = "CUDA graph of PyTorch FP16"
        found += [
            make_candidate("eager PyTorch FP16", half=True),
            make_candidate("torch.compile FP16", half=True, mode="compiled"),
            make_candidate(graph, half=True, mode="graph"),
            make_candidate(f"{EAGER}, on the GPU alone", "open_events"),
            make_candidate(f"{graph}, on the GPU alone", "open_events", half=True, mode="graph"),
        ]
    return found


def open_torch(checkpoint: str, size: tuple[int, int], batch: int, **options: Any) -> Callable[[], object]:
    """The bare generator in PyTorch, float32 in and out: less work than an engine, which converts too.

    On a GPU the frame goes there and the picture comes back, as with an engine.

    Args:
        checkpoint: of a generator.
        size: height, width.
        batch: frames of a call, from 1.
        options: as `build_torch_call` takes them.

    Returns:
        What runs the network once.
    """
    call, inputs = build_torch_call(checkpoint, size, batch, **options)
    if inputs.device.type == "cpu":
        return call
    host = inputs.cpu().pin_memory()

    def run_round_trip() -> Tensor:
        inputs.copy_(host, non_blocking=True)
        return call().cpu()  # waits

    torch.cuda.synchronize()
    return run_round_trip


def open_events(**options: Any) -> Callable[[], list[float]]:
    """Milliseconds on the GPU by CUDA events: what the device computes, without getting frames to it.

    options: as `build_torch_call` takes them.
    """
    call, _ = build_torch_call(**options)
    for _ in range(10):
        call()

    def report() -> list[float]:
        pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(EVENTS_CALLS)]
        for before, after in pairs:
            before.record()
            call()
            after.record()
        torch.cuda.synchronize()
        return [before.elapsed_time(after) for before, after in pairs]

    return report


def build_torch_call(
    checkpoint: str,
    size: tuple[int, int],
    batch: int,
    device: str = "cpu",
    mode: str = "eager",
    half: bool = False,
    threads: int | None = None,
) -> tuple[Callable[[], Tensor], Tensor]:
    """A forward pass, and the tensor that it reads: float32 [N, C, H, W].

    Args:
        checkpoint: of a generator.
        size: height, width.
        batch: frames of a call, from 1.
        device: "cpu" or "cuda".
        mode: "eager", "compiled" or "graph".
        half: FP16 by autocast.
        threads: of PyTorch; None: its own choice.

    Returns:
        The call, and its input.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # FP32 means FP32
    module, spec = load_generator(checkpoint)
    module = module.to(device)
    network = torch.compile(module) if mode == "compiled" else module
    shape = (batch, *spec.get_input_shape(*size))
    inputs = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)).to(device)

    def call() -> Tensor:
        with torch.inference_mode(), torch.autocast(device, torch.float16, enabled=half):
            return network(inputs)

    return (capture_cuda_graph(call), inputs) if mode == "graph" else (call, inputs)


def capture_cuda_graph(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The call as a CUDA graph, which is replayed without the launches of each kernel."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay
