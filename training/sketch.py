"""`python training/sketch.py PHOTOS` trains the zoo's sketch model, from a checkout."""

import sys

try:
    from i2i_sdk.cli.main import run
except ModuleNotFoundError as error:
    sys.exit(f"{error}. Install first: make setup, then .venv/bin/python training/sketch.py …")

if __name__ == "__main__":
    sys.exit(run("i2i_training.zoo.train_sketch:main", sys.argv[1:]))
