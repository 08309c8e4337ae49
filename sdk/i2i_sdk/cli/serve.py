"""`i2i serve BUNDLE…`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from i2i_sdk.cli.common import Parser, add_engine_options, open_translator
from i2i_sdk.errors import InputError
from i2i_sdk.live.sinks.mjpeg_server import open_socket
from i2i_sdk.server.app import create_app
from i2i_sdk.server.models import open_models
from i2i_sdk.server.run import LiveServer, check_certificate, format_addresses, list_warnings
from i2i_sdk.server.settings import Limits, ServeOptions
from i2i_sdk.server.tls import ensure_self_signed

TOKEN_VARIABLE = "I2I_TOKEN"


def main(argv: Sequence[str]) -> int:
    """Serve until Ctrl-C. Raises I2IError."""
    args = _make_parser().parse_args(argv)
    options = _make_options(args)
    check_certificate(options)
    with (  # a taken port is found before models are loaded, which can take minutes
        open_socket(options.host, options.port) as listening,
        open_models(args.bundles, lambda source: open_translator(source, args)) as models,
    ):
        for model in models:
            server = model.description.server
            size = f"{server.height}x{server.width}"
            print(f"{model.name}: {server.backend} {server.precision} {size} on {server.provider}")
        addresses = format_addresses(options, listening.getsockname()[1])
        lines = [*list_warnings(options), *addresses, "stop it with Ctrl-C"]
        app = create_app(models, options)
        LiveServer(app, options, lambda: print(*lines, sep="\n", flush=True)).run([listening])
    return 0


def _make_parser() -> argparse.ArgumentParser:
    text = "Serve models to browsers and programs: live video and pictures."
    parser = Parser(prog="i2i serve", description=text)
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE", help="a bundle, a zoo name or an ONNX file")
    text = "address to listen on; 0.0.0.0 is all of them (default %(default)s)"
    parser.add_argument("--host", default="127.0.0.1", help=text)
    text = "0 takes any that is free (default %(default)s)"
    parser.add_argument("--port", type=int, default=8000, help=text)
    tls = parser.add_argument_group("https, which phones want before they give a page their camera")
    tls.add_argument("--tls-cert", type=Path, metavar="PEM", help="certificate; with --tls-key")
    tls.add_argument("--tls-key", type=Path, metavar="PEM")
    tls.add_argument("--tls-self-signed", action="store_true", help="make a certificate and keep it")
    access = parser.add_argument_group("who may use it")
    text = f"a secret that clients must send; better given as ${TOKEN_VARIABLE}, which other users do not see"
    access.add_argument("--token", default=os.environ.get(TOKEN_VARIABLE), help=text)
    text = "a name besides this machine's own by which browsers reach it"
    access.add_argument("--allow-host", action="append", default=[], metavar="NAME", help=text)
    limits = parser.add_argument_group("limits")
    for limit in fields(Limits):
        option, default = f"--{limit.name.replace('_', '-')}", limit.default
        text = f"{limit.metadata['help']} (default {default:,})"
        kind = float if isinstance(default, float) else int
        limits.add_argument(option, type=kind, default=default, metavar="N", help=text)
    add_engine_options(parser)
    return parser


def _make_options(args: argparse.Namespace) -> ServeOptions:
    """Check what belongs together. Raises InputError."""
    limits = Limits(**{limit.name: getattr(args, limit.name) for limit in fields(Limits)})
    for name, value in vars(limits).items():
        if not value > 0:
            raise InputError(f"--{name.replace('_', '-')} is {value}; a number above 0 is needed")
    if not 0 <= args.port <= 65535:
        raise InputError(f"--port is {args.port}; allowed: 0 (any that is free) to 65535")
    token: str | None = args.token
    if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
        problem = "is empty or has characters that HTTP headers do not take"
        raise InputError(f"the token {problem}: use plain ASCII")
    cert, key = args.tls_cert, args.tls_key
    if (cert is None) is not (key is None) or (cert is not None and args.tls_self_signed):
        raise InputError("give --tls-cert and --tls-key together, or --tls-self-signed alone")
    if args.tls_self_signed:
        cert, key = ensure_self_signed()
    return ServeOptions(args.host, args.port, cert, key, token, tuple(args.allow_host), limits)
