"""`i2i bundle trim BUNDLE VARIANT…`: change what is in a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from i2i_sdk.bundle.folder import Bundle, trim_bundle
from i2i_sdk.cli.common import Parser
from i2i_sdk.errors import InputError
from i2i_sdk.zoo import ZOO


def main(argv: Sequence[str]) -> int:
    """Remove variants and say what that freed. Raises InputError, BundleError."""
    parser = Parser(prog="i2i bundle", description="Change what is in a bundle.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    text = "remove variants and the files that no other needs; i2i info BUNDLE lists them"
    trim = commands.add_parser("trim", help=text, description=f"{text[0].upper()}{text[1:]}.")
    trim.add_argument("bundle", help="a bundle (x.i2i)")
    trim.add_argument("variants", nargs="+", metavar="VARIANT", help="its name, such as ort-int8-256x256")
    args = parser.parse_args(argv)
    if args.bundle in ZOO and not Path(args.bundle).exists():
        raise InputError(f"{args.bundle} is a model of the zoo, which stays as it was installed")
    bundle = Bundle.read(args.bundle)
    freed = trim_bundle(bundle, args.variants)
    left = ", ".join(variant.name for variant in Bundle.read(args.bundle).manifest.variants)
    print(f"removed {', '.join(dict.fromkeys(args.variants))}: {freed / 1e6:.2f} MB freed; left: {left}")
    return 0
