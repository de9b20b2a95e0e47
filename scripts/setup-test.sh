#!/usr/bin/env bash
# Adds what the tests need to .venv: the tools and oracles of Tests/requirements.txt, and PyTorch for the CPU.
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=.venv/.prunecore-test-tools
[ -e "$stamp" ] && [ -z "$(find Tests/requirements.txt scripts/setup-test.sh -newer "$stamp")" ] && exit 0
pip() { .venv/bin/python -m pip install -q --disable-pip-version-check "$@"; }
# The CPU build is small where an index offers it; the plain one brings gigabytes of CUDA on some platforms.
.venv/bin/python -c 'import torch' 2>/dev/null || pip 'torch==2.13.0+cpu' 2>/dev/null || pip 'torch>=2.6'
pip -r Tests/requirements.txt
touch "$stamp"
