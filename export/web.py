"""`python export/web.py CKPT [options]` is `i2i export CKPT --to web`, from a checkout."""

import sys

try:
    from i2i_sdk.cli.main import run
except ModuleNotFoundError as error:
    sys.exit(f"{error}. Install first: make setup, then .venv/bin/python export/web.py …")

if __name__ == "__main__":
    sys.exit(run("i2i_export.cli:launch", ["web", *sys.argv[1:]]))
