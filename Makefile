# `make demo` and `make test` do all their own set-up; they need Python 3.11 to 3.14, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export UV_LINK_MODE ?= copy

.PHONY: help demo test check format hooks bench requirements clean

help:
	@echo "make demo          draw a picture set, train, export, predict"
	@echo "make test          run the tests"
	@echo "make check         formatting, lint, import direction, types"
	@echo "make format        format the code"
	@echo "make hooks         check before every commit"
	@echo "make bench         measure, and write benchmarks/README.md; under 20 minutes of an idle machine"
	@echo "make requirements  pin the newest versions"
	@echo "make clean         remove what make made"

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

# OpenVINO is a peer, no part of boats: installed only to be measured.
bench: $(READY)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/bench.txt
	models=$$(mktemp -d) && trap 'rm -rf "$$models"' EXIT && export MADE_MODELS="$$models" && \
	for script in peers profile_int8 providers precisions cold_start folder svm_graph training; do \
		$(BIN)/python benchmarks/$$script.py || [ $$? -eq 5 ] || exit 1; \
	done
	$(BIN)/python benchmarks/write_readme.py

# No index addresses in these files: they install from whatever index the machine is set up for.
UV_COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make requirements"

requirements: $(READY)
	$(UV_COMPILE) requirements/uv.in -o requirements/uv.txt
	$(UV_COMPILE) requirements/bench.in -c requirements/dev.txt -o requirements/bench.txt
	$(UV_COMPILE) pyproject.toml --extra cpu --extra evaluate --extra export --group dev -o requirements/dev.txt

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
