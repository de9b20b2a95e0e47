# SPDX-License-Identifier: Apache-2.0
# PruneCore. `make demo` and `make test` do all their own set-up.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out

.PHONY: setup setup-test demo test test-swift test-symbols test-capi test-python test-instructions lint \
    bench bench-large bench-sublayers example-llama-cpp verify-llama-cpp test-lm-eval install clean

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
test: setup-test lint test-swift test-symbols test-capi test-python test-instructions
	@echo "all tests passed"

lint:
	$(BIN)/ruff check bindings/python Tests/Python Tests/LlamaCpp Tests/LmEval benchmarks examples/python examples/c \
	    examples/llama_cpp scripts Sources/PruneCore/Export/Modelling
	$(BIN)/mypy --strict bindings/python/src/prunecore
	scripts/check-kernels.sh

test-swift:
	swift test

## Header, library and Python binding name the same functions.
test-symbols:
	$(BIN)/python scripts/check-symbols.py

test-capi:
	PYTHON=$(BIN)/python Tests/CAPI/run.sh

## Files side by side; the demo by itself, since it is timed.
test-python:
	$(BIN)/python -m pytest -q Tests/Python/cli/test_cli_demo.py
	$(BIN)/python -m pytest -q -n auto --dist loadfile --ignore Tests/Python/cli/test_cli_demo.py Tests/Python

## Instructions of the hot loops, under valgrind: none may take 10 % more than benchmarks/instructions/instructions.json says.
test-instructions:
	$(BIN)/python -m benchmarks.instructions.instructions

## Every benchmark, also those after one that misses its bar. Some 65 minutes on a machine that does nothing else; writes
## benchmarks/results/ and docs/images/. ONLY=NAME runs one, HELD_OUT=FILE measures recovery on text that people wrote.
bench: setup-test
	$(BIN)/python benchmarks/run.py $(if $(ONLY),--only $(ONLY)) $(if $(HELD_OUT),--held-out $(HELD_OUT))

## A model of 13.5 GB in 4 GB of memory: takes root and 15 GB of disk.
bench-large: setup-test
	$(BIN)/python benchmarks/run.py --only larger_than_memory

## The estimators on the game over 24 sublayers, against 20,000 permutations. Some 20 minutes.
bench-sublayers: setup-test
	$(BIN)/python benchmarks/run.py --only estimators_sublayers

## The embedded model as GGUF, scored while llama.cpp runs it, against our own scores. Compiles llama.cpp first: minutes.
LLAMA := .venv-llama/bin/python
LLAMA_EXAMPLE := examples/llama_cpp
example-llama-cpp: setup
	scripts/setup-llama-cpp.sh
	$(LLAMA) $(LLAMA_EXAMPLE)/write_gguf.py examples/models/tales-12l build/tales-12l-f32.gguf
	$(LLAMA) $(LLAMA_EXAMPLE)/score_gguf.py build/tales-12l-f32.gguf --tokens examples/data/tales_tokens.txt \
	    --compare examples/models/tales-12l --tolerance 1e-5
	$(LLAMA) $(LLAMA_EXAMPLE)/write_gguf.py examples/models/tales-12l build/tales-12l-f16.gguf --type f16
	$(LLAMA) $(LLAMA_EXAMPLE)/score_gguf.py build/tales-12l-f16.gguf --tokens examples/data/tales_tokens.txt \
	    --compare examples/models/tales-12l --tolerance 1e-3
	$(LLAMA) $(LLAMA_EXAMPLE)/write_gguf.py examples/models/tales-12l build/tales-12l-q8_0.gguf --type q8_0
	$(LLAMA) $(LLAMA_EXAMPLE)/score_gguf.py build/tales-12l-q8_0.gguf --tokens examples/data/tales_tokens.txt \
	    --compare examples/models/tales-12l --tolerance 0.02

## Exports as GGUF, run by llama.cpp, against our own logits: the table in benchmarks/results/llama_cpp.md. Compiles llama.cpp first: minutes.
verify-llama-cpp: setup-test
	scripts/setup-llama-cpp.sh
	$(BIN)/python Tests/LlamaCpp/write_models.py build/llama-cpp-models
	$(LLAMA) Tests/LlamaCpp/verify.py --models build/llama-cpp-models --table benchmarks/results/llama_cpp.md

## Our model in lm-evaluation-harness against the harness's own class for transformers. Installs the harness first.
test-lm-eval: setup-test
	scripts/setup-lm-eval.sh
	HF_DATASETS_OFFLINE=1 HF_DATASETS_CACHE=$(CURDIR)/build/datasets .venv-lm-eval/bin/python -m pytest -q Tests/LmEval

## Header, library, C++ wrapper, pkg-config and CMake files: make install PREFIX=/usr/local
PREFIX ?= /usr/local
install:
	scripts/build-library.sh
	scripts/install.sh --prefix $(PREFIX)

clean:
	rm -rf .build build $(OUT)
