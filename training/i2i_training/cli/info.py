"""`i2i info CKPT`: what a checkpoint is."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from i2i_training.checkpoint import load_generator
from i2i_training.networks import count_macs, count_parameters


def main(argv: Sequence[str]) -> int:
    """Print architecture, size and history of a checkpoint. Raises CheckpointError."""
    path = Path(argv[0])
    module, spec = load_generator(path)
    size = spec.default_side
    macs = count_macs(module, *spec.get_input_shape(size, size))
    rows = {
        "checkpoint": path,
        "network": spec.config.architecture,
        **{f"  {name}": value for name, value in asdict(spec.config).items()},
        "norm mode": spec.norm_mode,
        "parameters": f"{count_parameters(module):,}",
        "multiply-accumulates": f"{macs / 1e9:.2f} G at {size}x{size}",
        "sides": f"multiples of {spec.config.multiple_of}",
        "trained": f"{spec.recipe}, {spec.direction}, {spec.steps or 'unknown'} steps, on: {spec.trained_on}",
        "license": spec.license,
        "SHA-256": spec.source_sha256,
    }
    for name, value in rows.items():
        print(f"{name:<22}{value}")
    if problem := spec.explain_no_bundle():
        print(f"no bundle can be made of it: {problem}")
    else:
        print(f"next: i2i export {shlex.quote(str(path))}")
    return 0
