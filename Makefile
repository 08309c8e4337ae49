# Every target does its own set-up: on a fresh machine `make demo` is the first thing to type.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test trials lint docs format bench sketch clean

setup: .venv/.ready

# constraints.txt pins every version, torch first: a newer torch pulls gigabytes of CUDA packages.
.venv/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

demo: setup ## export the zoo checkpoint, translate a sample clip, leave out/demo.mp4 and out/demo.png
	$(BIN)/python examples/demo.py

test: setup ## the whole test suite, a process for each core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --durations 10

trials: setup ## thousands of random cases, mutations and kills where `make test` tries some; then ten minutes of soak
	I2I_TRIALS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "hypothesis or trial" --timeout 3600 \
		--numprocesses auto --dist loadfile --durations 10
	$(BIN)/python -m benchmarks.soak

lint: setup ## format, lint, layers, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

docs: setup ## the documentation as pages, with the Python reference: out/docs/index.html
	$(BIN)/mkdocs build

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## the short set of benchmarks, about 10 minutes, into out/bench; leave the machine alone meanwhile
	$(BIN)/python -m benchmarks

sketch: setup ## train the zoo's sketch model again from a folder of photos (PHOTOS=DIR)
	@test -n "$(PHOTOS)" || { echo "say where photos are: make sketch PHOTOS=DIR"; exit 2; }
	$(BIN)/python training/sketch.py $(PHOTOS)

clean:
	rm -rf .venv out build dist
