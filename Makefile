# `make demo` and `make test` set up everything they need. Requires Python 3.11 to 3.14, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export UV_LINK_MODE ?= copy

.PHONY: help demo test check format hooks bench reference requirements clean

help:
	@echo "make demo          draw a dataset, train, export, predict"
	@echo "make test          run the tests"
	@echo "make check         check formatting, lint, import contracts and types"
	@echo "make format        format the code"
	@echo "make hooks         run the checks before every commit"
	@echo "make bench         run the benchmarks on an idle machine (under 20 minutes) and write benchmarks/README.md"
	@echo "make reference     write docs/reference/commands.md from the help texts"
	@echo "make requirements  pin the newest versions of the dependencies"
	@echo "make clean         remove what make created"

demo: $(READY)
	$(BIN)/python scripts/demo.py

test: $(READY)
	$(BIN)/python -m pytest

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: $(READY)
	$(BIN)/pre-commit install

# The peers, such as OpenVINO, are installed only for the measurements.
bench: $(READY)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/bench.txt
	models=$$(mktemp -d) && trap 'rm -rf "$$models"' EXIT && export SYNTHETIC_MODELS="$$models" && \
	for script in peers large_images profile_int8 providers precisions cold_start folder svm_graph training; do \
		$(BIN)/python benchmarks/$$script.py || [ $$? -eq 5 ] || exit 1; \
	done
	$(BIN)/python benchmarks/write_readme.py

# No index addresses in these files: they install from the index that the machine is configured for.
UV_COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make requirements"

reference: $(READY)
	$(BIN)/python scripts/write_reference.py

requirements: $(READY)
	$(UV_COMPILE) requirements/uv.in -o requirements/uv.txt
	$(UV_COMPILE) requirements/bench.in -c requirements/dev.txt -o requirements/bench.txt
	$(UV_COMPILE) pyproject.toml --extra cpu --extra evaluate --extra export --extra timm --group dev -o requirements/dev.txt

$(VENV)/bin/uv: requirements/uv.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@touch $@

$(READY): $(VENV)/bin/uv requirements/dev.txt pyproject.toml
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf $(VENV) build dist
