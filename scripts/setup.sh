#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sets up what PruneCore needs, and does nothing where it is there already: system packages (as root), the virtual
# environment .venv, the library build/lib/libprunecore.so.1, and the Python package in the environment.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "setup: $*" >&2; exit 1; }

command -v swift >/dev/null || fail "Swift 6.3 or later is needed on the PATH: https://www.swift.org/install"
swift_version=$(swift --version 2>/dev/null | grep -oE 'Swift version [0-9]+\.[0-9]+' | grep -oE '[0-9.]+$')
[ "$(printf '6.3\n%s\n' "$swift_version" | sort -V | head -1)" = 6.3 ] ||
    fail "Swift 6.3 or later is needed; this is $swift_version"

# System packages: those whose files are not there.
python=${PYTHON:-python3}
packages=()
command -v gcc >/dev/null && command -v g++ >/dev/null || packages+=(build-essential)
command -v pkg-config >/dev/null || packages+=(pkg-config)
command -v cmake >/dev/null || packages+=(cmake)
pkg-config --exists openblas 2>/dev/null || packages+=(libopenblas-dev)
command -v "$python" >/dev/null || packages+=(python3)
"$python" -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing ${packages[*]}"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${packages[@]}" >/dev/null
    else
        fail "these packages are missing; install them and run again: apt-get install ${packages[*]}"
    fi
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "Python 3.10 or later is needed"

[ -x .venv/bin/python ] || "$python" -m venv .venv
scripts/build-library.sh

# The package is installed in place, so it is installed again only if what it is made of changed.
stamp=.venv/.prunecore-installed
if [ ! -e "$stamp" ] || [ -n "$(find bindings/python/pyproject.toml bindings/python/*.py bindings/python/prunecore_header include/prunecore.h \( -name '*.py' -o -name '*.toml' -o -name '*.h' \) -newer "$stamp")" ]; then
    .venv/bin/python -m pip install -q --disable-pip-version-check -e bindings/python
    touch "$stamp"
fi

# The binary interface of this build, for machines to read; scripts/check-abi.py says what it holds.
.venv/bin/python scripts/check-abi.py --out build/prunecore.abi.json
