"""`python export/ort.py CKPT [options]` is `i2i export CKPT --to ort`, from a checkout."""

import sys

try:
    from i2i_sdk.cli.main import run
except ModuleNotFoundError as error:
    sys.exit(f"{error}. Install first: make setup, then .venv/bin/python export/ort.py …")

if __name__ == "__main__":
    sys.exit(run("i2i_export.cli:launch", ["ort", *sys.argv[1:]]))
