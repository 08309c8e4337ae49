"""`python export/trt.py CKPT [options]` is `i2i export CKPT --to trt`, from a checkout."""

import sys

try:
    from i2i_sdk.cli.main import run
except ModuleNotFoundError as error:
    sys.exit(f"{error}. Install first: make setup, then .venv/bin/python export/trt.py …")

if __name__ == "__main__":
    sys.exit(run("i2i_export.cli:launch", ["trt", *sys.argv[1:]]))
