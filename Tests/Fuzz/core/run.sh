#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes the core's parsers through the C interface, or executes the inputs that once failed.
#   run.sh               a campaign of FUZZ_SECONDS (default 120) or FUZZ_EXECUTIONS, from FUZZ_SEED (default 1);
#                        FUZZ_PARSER names one parser alone
#   run.sh regressions   every input in regressions/, about a second
# What fails is left in build/fuzz/failed; `mv` it to regressions/ once it is mended.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
out=$root/build/fuzz
support=$root/Tests/CAPI/support
kernels=$root/Sources/PruneCore/CKernels
mkdir -p "$out/failed"
# A name of its own for each run, so that a campaign goes on while another is compiled.
program=$out/fuzz.$$
scratch=$(mktemp -d "$(test -w /dev/shm && echo /dev/shm || echo /tmp)/prunecore-fuzz.XXXXXX")
trap 'rm -rf "$scratch" "$program"' EXIT
"${CC:-gcc}" -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -Wno-unknown-pragmas \
    -I"$root/include" -I"$support" -I"$kernels" "$here"/{fuzz,parsers,changes,gguf_changes,seeds,mutate,seal}.c \
    "$support"/{tiny_model,tiny_gguf,fixture}.c "$kernels/sha256.c" -o "$program" \
    -L"$root/build/lib" -lprunecore -Wl,-rpath,"$root/build/lib" -lm -pthread
cd "$scratch"
if [ "${1:-}" = regressions ]; then
    shopt -s nullglob
    inputs=("$here"/regressions/*-*)
    "$program" replay "${inputs[@]}"
    exit
fi
# A number of executions takes the time that it takes.
seconds=${FUZZ_SECONDS:-${FUZZ_EXECUTIONS:+1000000}}
seconds=${seconds:-120}
"$program" campaign "$here/seeds" "$here/regressions" "$out/failed" "${FUZZ_SEED:-1}" "$seconds" \
    "${FUZZ_EXECUTIONS:-1000000000000}" ${FUZZ_PARSER:+"$FUZZ_PARSER"}
