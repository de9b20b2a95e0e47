#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds build/lib/libprunecore.so.1: the Swift core and its runtime in one file that exports prune_* and nothing else.
#   scripts/build-library.sh [swift build options]
set -euo pipefail
cd "$(dirname "$0")/.."
swift build -c release --product prunecore \
    -Xswiftc -static-stdlib \
    -Xlinker --version-script="$PWD/include/prunecore.map" \
    -Xlinker -soname=libprunecore.so.1 \
    -Xswiftc -use-ld=lld -Xlinker --gc-sections -Xlinker -s "$@"
mkdir -p build/lib
built=$(swift build -c release --show-bin-path "$@")/libprunecore.so
# Replaced by a rename, so that a program that has the old file mapped keeps it whole.
if ! cmp -s "$built" build/lib/libprunecore.so.1; then
    cp "$built" build/lib/.libprunecore.so.new
    mv build/lib/.libprunecore.so.new build/lib/libprunecore.so.1
fi
touch build/lib/libprunecore.so.1
ln -sfn libprunecore.so.1 build/lib/libprunecore.so
