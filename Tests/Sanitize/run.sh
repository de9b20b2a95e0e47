#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The C and C++ tests, and a stress of many threads, under AddressSanitizer (with leaks) and ThreadSanitizer.
#   run.sh [address|thread ...]    both, unless one is named
# SANITIZE_TESTS names programs of Tests/CAPI (all but those that unfit.txt names with a reason); SANITIZE_ROUNDS says how
# often the stress runs (10). Builds the library and the programs with the toolchain's compilers, in build/sanitize.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
base=$root/build/sanitize
tools=$(dirname "$(readlink -f "$(command -v swift)")")
support=$root/Tests/CAPI/support
runtime=$(cd "$tools/../lib/swift/linux" && pwd)
export CC=$tools/clang CXX=$tools/clang++ PRUNECORE_COMPUTE=float32
# OpenBLAS is not compiled for sanitizers: it runs on our threads alone.
export OPENBLAS_NUM_THREADS=1
common="allocator_may_return_null=1:external_symbolizer_path=$tools/llvm-symbolizer"
export ASAN_OPTIONS="$common:detect_leaks=1:detect_stack_use_after_return=1"
# The toolchain's own default is to ignore what memcpy and its like read and write. What they do inside the runtime of
# Swift and OpenBLAS, which are not compiled for sanitizers, is ignored all the same.
export TSAN_OPTIONS="$common:second_deadlock_stack=1:ignore_interceptors_accesses=0"
ulimit -c 0

# Compiles a program: its name, and its sources.
program() {
    # shellcheck disable=SC2086 # several flags
    "$CC" -std=c99 -D_POSIX_C_SOURCE=200809L -O1 -g -Wall -Wextra -Wpedantic -Wconversion -Werror -I"$root/include" \
        -I"$support" "${@:2}" "$support"/{tiny_model,fixture}.c -o "$OUT/$1" -L"$LIBRARY" -lprunecore \
        -Wl,-rpath,"$LIBRARY" -lm -pthread $FLAGS
}

# Runs a program that does what the sanitizer must report.
control() { # kind, what it must say
    local said
    said=$("$OUT/control" "$1" 2>&1) && { echo "the sanitizer said nothing about a planted $1" >&2; return 1; }
    grep -q "$2" <<<"$said" || { echo "of a planted $1 the sanitizer said: $said" >&2; return 1; }
    echo "a planted $1 is reported"
}

sanitize() { # address or thread
    local kind=$1 scratch=$base/$1 fit round
    export LIBRARY=$base/lib-$kind OUT=$base/tests-$kind
    export FLAGS="-fsanitize=$kind -fuse-ld=lld"
    # The toolchain's runtime for threads has parts for libdispatch.
    [ "$kind" = address ] || FLAGS+=" -L$runtime -Wl,-rpath,$runtime -ldispatch -lBlocksRuntime"
    mkdir -p "$LIBRARY" "$OUT"
    # Not the library that users get: it exports everything, and shares the runtime of Swift.
    (cd "$root" && swift build -c release --product prunecore --sanitize="$kind" --scratch-path "$scratch" \
        -Xswiftc -use-ld=lld -Xlinker -soname=libprunecore.so.1)
    ln -sfn "$scratch/release/libprunecore.so" "$LIBRARY/libprunecore.so.1"
    ln -sfn libprunecore.so.1 "$LIBRARY/libprunecore.so"

    program control "$here/control.c"
    program stress "$here"/{stress,calls}.c
    cd "$OUT"
    case $kind in
    address)
        control overflow heap-buffer-overflow
        control leak "100 byte(s) leaked"
        ;;
    thread) control race "data race" ;;
    esac
    for round in $(seq "${SANITIZE_ROUNDS:-10}"); do
        timeout 600 ./stress $((2 + round * 2)) 100
    done
    if [ -n "${SANITIZE_TESTS:-}" ]; then
        read -ra fit <<<"$SANITIZE_TESTS"
    else
        mapfile -t fit < <("$root/Tests/CAPI/run.sh" -l | sed 's,.*/,,; s,\.[a-z]*$,,' |
            grep -vxF -f <(sed -n "s/^$kind \([a-z_]*\):.*/\1/p" "$here/unfit.txt"))
    fi
    # Warnings are the business of the tests' own compilers.
    FLAGS="-w $FLAGS" "$root/Tests/CAPI/run.sh" "${fit[@]}"
}

[ $# -gt 0 ] || set -- address thread
for kind in "$@"; do
    sanitize "$kind"
done
echo "no sanitizer reported anything"
