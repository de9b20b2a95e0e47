#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sets up what the llama.cpp example needs, in a virtual environment of its own: .venv-llama. Does nothing where it is there
# already. The first time llama.cpp is compiled: some minutes, and a C++ compiler and CMake (scripts/setup.sh has both).
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=.venv-llama/.installed
requirements=examples/llama_cpp/requirements.txt
if [ -e "$stamp" ] && [ -z "$(find "$requirements" bindings/python/pyproject.toml -newer "$stamp")" ]; then
    exit 0
fi
[ -x .venv-llama/bin/python ] || .venv/bin/python -m venv .venv-llama
echo "setup: compiling llama.cpp"
# The library alone: no tools, no examples, no pictures.
CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)} \
    CMAKE_ARGS="-DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DMTMD_BUILD=OFF -DLLAVA_BUILD=OFF ${CMAKE_ARGS:-}" \
    .venv-llama/bin/python -m pip install -q --disable-pip-version-check -r "$requirements"
.venv-llama/bin/python -m pip install -q --disable-pip-version-check -e bindings/python
touch "$stamp"
