# SPDX-License-Identifier: Apache-2.0
# PruneCore. `make demo` and `make test` do all their own set-up.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out

.PHONY: help setup setup-test demo test test-swift test-symbols test-capi test-python test-kernels test-instructions \
    test-fuzz fuzz fuzz-core fuzz-python lint format bench bench-large bench-sublayers example-llama-cpp verify-llama-cpp test-lm-eval test-kills test-extremes sanitize install clean

## Lists what can be made.
help:
	@awk -f scripts/help.awk $(firstword $(MAKEFILE_LIST))

## What a user needs: system packages, the virtual environment, the library, the Python package.
setup:
	scripts/setup.sh

## What the tests need besides: PyTorch (CPU) and transformers, the oracles; ruff, mypy and clang-format for lint.
setup-test: setup
	scripts/setup-test.sh

## Scores, prunes and evaluates the embedded model; tables on the terminal, pictures and JSON in $(OUT)/.
demo: setup
	$(BIN)/prunecore demo --out $(OUT)

## Every test. .ci/run calls exactly this.
test: setup-test models-if-possible lint test-swift test-symbols test-capi test-python test-kernels-quick test-instructions test-fuzz
	@echo "all tests passed"

## SmolLM2 135M (93 MB, Apache-2.0) as build/models/smollm2.gguf, for the tests on a real model; `make test` fetches it, too.
models: setup
	$(BIN)/python scripts/fetch-models.py smollm2

.PHONY: models models-gemma models-if-possible
models-if-possible: setup
	@$(BIN)/python scripts/fetch-models.py --optional smollm2

## Gemma 3 270M (253 MB, under Google's Gemma Terms of Use) as build/models/gemma3.gguf.
models-gemma: setup
	$(BIN)/python scripts/fetch-models.py gemma3

LINTED := bindings/python Tests benchmarks examples scripts Sources/PruneCore/Export/Modelling
## Style, formats, types and licences; the order of the core's folders, the C kernels, and the header's binary interface.
lint:
	$(BIN)/ruff check $(LINTED)
	$(BIN)/python scripts/format.py --check
	$(BIN)/python scripts/check-licences.py
	$(BIN)/mypy --strict bindings/python/src/prunecore
	scripts/check-kernels.sh
	$(BIN)/python scripts/check-swift-order.py
	$(BIN)/python scripts/check-abi.py --check --out build/prunecore.abi.json

## Formats every source file as lint wants it.
format:
	$(BIN)/ruff check --fix --quiet $(LINTED)
	$(BIN)/python scripts/format.py

## The core, by itself.
test-swift:
	swift test

## Header, library and Python binding name the same functions.
test-symbols:
	$(BIN)/python scripts/check-symbols.py

## The C interface and the C++ wrapper: test programs, examples, and programs against an installed tree.
test-capi:
	PYTHON=$(BIN)/python Tests/CAPI/run.sh

## The Python package, the command, and the documentation's examples; files side by side.
test-python:
	$(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder Tests/Python

## Real models in GGUF against transformers, which dequantises them: losses and logits on TEXT (the pages of docs/). A minute.
.PHONY: verify-models
verify-models: setup-test models models-gemma
	$(BIN)/python Tests/RealModels/verify.py $(if $(TEXT),--text $(TEXT))

## The tests on Gemma 3, which is fetched first: `make models-gemma` says under which terms.
.PHONY: test-gemma
test-gemma: setup-test models-gemma
	$(BIN)/python -m pytest -q -m gemma Tests/Python

## The numeric tests with every kind of kernels that this machine's OpenBLAS and our own loops can be made to use.
test-kernels:
	$(BIN)/python scripts/test-kernels.py

.PHONY: test-kernels-quick
test-kernels-quick:
	$(BIN)/python scripts/test-kernels.py --quick

## Instructions of the hot loops, under valgrind: none may take 10 % more than benchmarks/instructions/instructions.json says.
test-instructions:
	$(BIN)/python -m benchmarks.instructions.instructions

## Inputs that the core's parsers once failed on.
test-fuzz:
	Tests/Fuzz/core/run.sh regressions

## Changed inputs for every parser, in processes that may fail: FUZZ_SECONDS (the core; 120) or FUZZ_EXECUTIONS,
## from FUZZ_SEED. What fails is left in build/fuzz/failed.
fuzz: fuzz-core fuzz-python

## The same for the core's parsers alone; FUZZ_PARSER names one.
fuzz-core:
	Tests/Fuzz/core/run.sh

## The same for the Python package's readers alone, and 1,000 runs of the command with arguments that nobody means.
fuzz-python:
	$(BIN)/python Tests/Fuzz/python/run.py --executions $(or $(FUZZ_EXECUTIONS),100000) --seed $(or $(FUZZ_SEED),1)
	$(BIN)/python Tests/Fuzz/python/flags.py --executions 1000 --seed $(or $(FUZZ_SEED),1)

## Every benchmark, also those after one that misses its bar. Some 70 minutes on a machine that does nothing else; writes
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
	$(BIN)/python Tests/LlamaCpp/write_models.py build/llama-cpp-models build/llama-cpp-families
	$(LLAMA) Tests/LlamaCpp/verify.py --models build/llama-cpp-models --families build/llama-cpp-families \
		--table benchmarks/results/llama_cpp.md

## Every number of every option at each of its extremes, and every fault of a host at every position: some minutes. `make test` takes a part.
test-extremes: setup
	PYTHON=$(BIN)/python PRUNE_TEST_EXTREMES=1 PRUNE_TEST_HANG=12 PRUNE_TEST_WRONG=all \
	    Tests/CAPI/run.sh test_extreme_options test_extreme_counts test_host_wrong

## Kills every long command at 100 random moments, runs it again, and compares with an undisturbed run. Some 30 minutes.
test-kills: setup
	$(BIN)/python Tests/Kills/kills.py

## The C and C++ tests, and many threads at once, under AddressSanitizer and ThreadSanitizer. Some 15 minutes; SANITIZER
## names one (address, thread), SANITIZE_ROUNDS says how often the threads run.
sanitize:
	Tests/Sanitize/run.sh $(SANITIZER)

## Our model in lm-evaluation-harness against the harness's own class for transformers. Installs the harness first.
test-lm-eval: setup-test
	scripts/setup-lm-eval.sh
	HF_DATASETS_OFFLINE=1 HF_DATASETS_CACHE=$(CURDIR)/build/datasets .venv-lm-eval/bin/python -m pytest -q Tests/LmEval

## Header, library, C++ wrapper, pkg-config and CMake files: make install PREFIX=/usr/local
PREFIX ?= /usr/local
install:
	scripts/build-library.sh
	scripts/install.sh --prefix $(PREFIX)

## Removes what was built, and the demo's results; not the virtual environments.
clean:
	rm -rf .build build $(OUT)
