#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Adds what the tests need: as system packages (as root) valgrind, which counts instructions, and what a C program needs to
# embed Python; in .venv the tools and oracles of Tests/requirements.txt, and PyTorch for the CPU.
set -euo pipefail
cd "$(dirname "$0")/.."
packages=()
command -v valgrind >/dev/null && [ -e /usr/include/valgrind/callgrind.h ] || packages+=(valgrind)
# Of the Python that .venv was made with; one that the system's packages do not bring has its headers beside it.
.venv/bin/python -c '
import glob, os, sys, sysconfig
has = os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")) and glob.glob(
    os.path.join(sysconfig.get_config_var("LIBDIR"), "libpython" + sysconfig.get_config_var("LDVERSION") + ".*"))
sys.exit(0 if has or sys.base_prefix != "/usr" else 1)' || packages+=(libpython3-dev)
if [ ${#packages[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing ${packages[*]}"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${packages[@]}" >/dev/null
    else
        echo "setup: these packages are missing; install them and run again: apt-get install ${packages[*]}" >&2
        exit 1
    fi
fi
stamp=.venv/.prunecore-test-tools
[ -e "$stamp" ] && [ -z "$(find Tests/requirements.txt scripts/setup-test.sh -newer "$stamp")" ] && exit 0
pip() { .venv/bin/python -m pip install -q --disable-pip-version-check "$@"; }
# The CPU build is small where an index offers it; the plain one brings gigabytes of CUDA on some platforms.
.venv/bin/python -c 'import torch' 2>/dev/null || pip 'torch==2.13.0+cpu' 2>/dev/null || pip 'torch>=2.6'
pip -r Tests/requirements.txt
# What runs exports for Apple's machines; 51 MB with its CPU build. Where there is none, its tests are skipped.
pip 'mlx[cpu]==0.32.4' 'mlx-lm==0.32.2' || echo "setup: mlx-lm could not be installed; tests that run exports in it are skipped"
# What computes barcodes, 6 MB. Where there is none, its tests are skipped.
pip 'gudhi==3.13.0' 'dionysus==2.1.1' || echo "setup: gudhi and dionysus could not be installed; tests of topology are skipped"
touch "$stamp"
