# PruneCore. `make demo` and `make test` do all their own set-up.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out

.PHONY: setup setup-test demo test test-swift test-symbols test-capi test-python lint bench bench-sublayers install clean

## What a user needs: system packages, the virtual environment, the library, the Python package.
setup:
	scripts/setup.sh

## What the tests need besides: PyTorch (CPU) and transformers, the oracles.
setup-test: setup
	scripts/setup-test.sh

## Scores, prunes and evaluates the embedded model; tables on the terminal, pictures and JSON in $(OUT)/.
demo: setup
	$(BIN)/prunecore demo --out $(OUT)

## Every test. .ci/run calls exactly this.
test: setup-test lint test-swift test-symbols test-capi test-python
	@echo "all tests passed"

lint:
	$(BIN)/ruff check bindings/python Tests/Python benchmarks examples/python scripts
	$(BIN)/mypy --strict bindings/python/src/prunecore

test-swift:
	swift test

## Header, library and Python binding name the same functions.
test-symbols:
	$(BIN)/python scripts/check-symbols.py

test-capi:
	PYTHON=$(BIN)/python Tests/CAPI/run.sh

test-python:
	$(BIN)/python -m pytest -q Tests/Python

## Our speed against transformers on PyTorch, and our estimators against shapiq's. Some 20 minutes; writes
## benchmarks/results/ and docs/images/.
bench: setup-test
	env -u OPENBLAS_CORETYPE $(BIN)/python benchmarks/forward.py
	env -u OPENBLAS_CORETYPE $(BIN)/python benchmarks/leave_one_out.py
	env -u OPENBLAS_CORETYPE $(BIN)/python benchmarks/estimators.py

## The estimators on the game over 24 sublayers, against 20,000 permutations. Some 20 minutes.
bench-sublayers: setup-test
	env -u OPENBLAS_CORETYPE $(BIN)/python benchmarks/estimators.py --sublayers

## Header, library, C++ wrapper, pkg-config and CMake files: make install PREFIX=/usr/local
PREFIX ?= /usr/local
install:
	scripts/build-library.sh
	scripts/install.sh --prefix $(PREFIX)

clean:
	rm -rf .build build $(OUT)
