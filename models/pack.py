"""`python models/pack.py SRC DST`: a checkpoint small enough for a repository; see dialects/packed.py."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from i2i_training.checkpoint import load_generator, save_generator

# Numbers in a tensor: fewer are not packed; more may be packed harder.
MIN_PACKED_SIZE, MIN_LARGE_SIZE = 10_000, 4_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Write DST and say how many bits each number takes. Raises CheckpointError."""
    parser = argparse.ArgumentParser(prog="python models/pack.py", description=__doc__)
    parser.add_argument("source", type=Path, help="a generator")
    parser.add_argument("target", type=Path, help=".safetensors to write")
    parser.add_argument(
        "--coarseness", type=float, default=0.25, help="rounding step, in standard deviations"
    )
    parser.add_argument("--large", type=float, help=f"that of tensors of {MIN_LARGE_SIZE:,} numbers and more")
    args = parser.parse_args(argv)
    module, spec = load_generator(args.source)
    sizes = {name: value.numel() for name, value in module.state_dict().items()}
    steps = {
        name: args.large if args.large and size >= MIN_LARGE_SIZE else args.coarseness
        for name, size in sizes.items()
        if size >= MIN_PACKED_SIZE
    }
    note = f"weights rounded in packing to {args.coarseness:g} standard deviations"
    note += f", those of large tensors to {args.large:g}" if args.large else ""
    spec = dataclasses.replace(spec, source_sha256="", repairs=(*spec.repairs, note))
    path = save_generator(args.target, module, spec, coarseness=steps)
    size = path.stat().st_size
    print(f"wrote {path}: {size / 1e6:.2f} MB, {8 * size / sum(sizes.values()):.2f} bits per number")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
