"""`i2i zoo`: the bundles that come with i2i-sdk."""

from __future__ import annotations

from collections.abc import Sequence

from i2i_sdk.cli.common import Parser, read_bundle
from i2i_sdk.zoo import ZOO, describe_checkpoints


def main(argv: Sequence[str]) -> int:
    """List the zoo. Raises I2IError."""
    parser = Parser(prog="i2i zoo", description="The bundles that come with i2i-sdk.")
    parser.parse_args(argv)
    for name, text in ZOO.items():
        manifest = read_bundle(name).manifest
        size = sum(entry.bytes for entry in manifest.collect_files().values()) / 1e6
        shapes = sorted({f"{v.height}x{v.width}" for v in manifest.variants})
        print(f"{name:<10} {text}; {size:.2f} MB, {', '.join(shapes)}, {manifest.model.license}")
    if checkpoints := describe_checkpoints():
        print(checkpoints)
    print("next: i2i run sketch SOURCE -o OUT")
    return 0
