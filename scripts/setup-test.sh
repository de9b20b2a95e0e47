#!/usr/bin/env bash
# Adds what the tests need: valgrind, which counts instructions, as a system package (as root); in .venv the tools and
# oracles of Tests/requirements.txt, and PyTorch for the CPU.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v valgrind >/dev/null || [ ! -e /usr/include/valgrind/callgrind.h ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing valgrind"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq valgrind >/dev/null
    else
        echo "setup: valgrind is missing; install it and run again: apt-get install valgrind" >&2
        exit 1
    fi
fi
stamp=.venv/.prunecore-test-tools
[ -e "$stamp" ] && [ -z "$(find Tests/requirements.txt scripts/setup-test.sh -newer "$stamp")" ] && exit 0
pip() { .venv/bin/python -m pip install -q --disable-pip-version-check "$@"; }
# The CPU build is small where an index offers it; the plain one brings gigabytes of CUDA on some platforms.
.venv/bin/python -c 'import torch' 2>/dev/null || pip 'torch==2.13.0+cpu' 2>/dev/null || pip 'torch>=2.6'
pip -r Tests/requirements.txt
touch "$stamp"
