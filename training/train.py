"""`python training/train.py RECIPE --data DIR …` is `i2i train`, from a checkout."""

import sys

try:
    from i2i_sdk.cli.main import main
except ModuleNotFoundError as error:
    sys.exit(f"{error}. Install first: make setup, then .venv/bin/python training/train.py …")

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
