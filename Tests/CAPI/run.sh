#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests of the C API: compiles the C and C++ tests against build/lib/libprunecore.so.1 and runs them, runs the examples,
# and builds programs against an installed tree. Closes with "N passed, M failed"; exits non-zero if anything failed.
#
#   Tests/CAPI/run.sh [TEST ...]     such as: Tests/CAPI/run.sh test_mask test_score (only those programs)
#   Tests/CAPI/run.sh header         checks the header's text and its first program
#   Tests/CAPI/run.sh -l             lists the programs, with the folder of each
#
# The folders are those of the header's sections; rules/ holds what is true of every function, support/ what tests share.
# Environment: CC (gcc), CXX (g++), PYTHON (python3), RUNNER (put before every test program, such as "valgrind -q
# --error-exitcode=99"), LIBRARY (build/lib) and FLAGS (none): the folder of another build of the library, and what every
# program is compiled with besides, such as "-fsanitize=address". Needs scripts/build-library.sh to have run. Output goes to
# OUT (build/tests-capi) and build/install.
set -uo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/Tests/CAPI
cpp=$root/Tests/CPP
support=$here/support
out=${OUT:-$root/build/tests-capi}
library=${LIBRARY:-$root/build/lib}
model=$root/examples/models/tales-12l
tokens=$root/examples/data/tales_tokens.txt
CC=${CC:-gcc}
CXX=${CXX:-g++}
PYTHON=${PYTHON:-python3}
read -ra runner <<<"${RUNNER:-}"
read -ra flags <<<"${FLAGS:-}"
# Expected values are those of fp32; the tests of other types say so when they open a model.
export PRUNECORE_COMPUTE=float32

warnings=(-Wall -Wextra -Wpedantic -Wconversion -Werror)
c_flags=(-std=c99 -D_POSIX_C_SOURCE=200809L -O1 -g "${warnings[@]}" -I"$root/include" -I"$support" -I"$out" "${flags[@]}")
cpp_flags=(-std=c++17 -O1 -g "${warnings[@]}" -I"$root/include" -I"$root/bindings/cpp" -I"$cpp"
    -I"$support" "${flags[@]}")
link=(-L"$library" -lprunecore -Wl,-rpath,"$library" -lm -pthread "${flags[@]}")

# The programs: C tests by folder, and the C++ tests.
shopt -s nullglob
c_tests=("$here"/*/test_*.c)
cpp_tests=("$cpp"/test_*.cpp)
cxx17=("$cpp"/header_cxx17.cpp)
shopt -u nullglob
if [ "${1:-}" = -l ]; then
    for source in "${c_tests[@]}" "${cpp_tests[@]}"; do
        echo "${source#"$root/Tests/"}"
    done
    exit
fi

passed=0
failed=0
skipped=()

report() { # name, passed, failed, output if anything failed
    printf '%-32s %5d passed' "$1" "$2"
    [ "$3" -eq 0 ] || printf ', %d failed' "$3"
    printf '\n'
    passed=$((passed + $2))
    failed=$((failed + $3))
    [ "$3" -eq 0 ] || sed 's/^/    /' "$4"
}

# One check: a command that must succeed.
step() { # name, command...
    local name=$1
    shift
    if "$@" >"$out/step.log" 2>&1; then
        report "$name" 1 0
    else
        report "$name" 0 1 "$out/step.log"
        return 1
    fi
}

# A test program: its report says how many checks passed and failed. One that crashes, hangs or checks nothing fails.
program() { # name, executable
    local log=$out/$1.log status counts
    rm -rf "$out/scratch/$1"
    mkdir -p "$out/scratch/$1"
    (cd "$out/scratch/$1" && timeout 600 "${runner[@]}" "$2") >"$log" 2>&1
    status=$?
    counts=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
    if [[ $counts =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        local good=${BASH_REMATCH[1]} bad=${BASH_REMATCH[2]}
        if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
            echo "exit status $status although no check failed" >>"$log"
            bad=1
        fi
        report "$1" "$good" "$bad" "$log"
    else
        echo "ended with status $status and without a report" >>"$log"
        report "$1" 0 1 "$log"
    fi
}

compile_c() { # executable, sources and objects...
    "$CC" "${c_flags[@]}" "${@:2}" -o "$1" "${link[@]}"
}

compile_cpp() { # executable, sources and objects...
    "$CXX" "${cpp_flags[@]}" "${@:2}" -o "$1" "${link[@]}"
}

c_and_run() { # name, sources and objects...
    step "compile $1" compile_c "$out/$1" "${@:2}" && program "$1" "$out/$1"
}

cpp_and_run() {
    step "compile $1" compile_cpp "$out/$1" "${@:2}" && program "$1" "$out/$1"
}

# Functions that the header declares.
declared() {
    sed -n 's/^[a-z].*[ *]\(prune_[a-z_]*\)(.*/\1/p' "$root/include/prunecore.h" | grep -v '_fn$' | sort -u
}

# Each declared function is called in the given files.
all_called_in() {
    local missing=0 name
    for name in $(declared); do
        grep -qE "\b$name\(|\b$name>" "$@" || { echo "$name is declared, but not called in $*"; missing=1; }
    done
    return "$missing"
}

exports_are_declared() {
    diff <(declared) <(nm -D --defined-only "$library/libprunecore.so.1" | awk '{ print $3 }' | sed 's/@.*//' | sort -u)
}

same_output() { # two files
    cat "$1" && cmp "$1" "$2"
}

if [ ! -f "$library/libprunecore.so.1" ]; then
    echo "build/lib/libprunecore.so.1 is not there; run scripts/build-library.sh first" >&2
    exit 1
fi
mkdir -p "$out"

# Support code: written from the header, and compiled once.
step "write option_fields.h" "$PYTHON" "$support/write_option_fields.py" "$out/option_fields.h" || exit 1
objects=()
for source in tiny_model tiny_gguf reference fixture metrics game host host_states host_gradients; do
    step "compile $source" "$CC" "${c_flags[@]}" -c "$support/$source.c" -o "$out/$source.o" || exit 1
    objects+=("$out/$source.o")
done

# Compiles and runs a test by its source, as the language that its name says.
run_test() { # source
    case $1 in
    *.cpp) cpp_and_run "$(basename "$1" .cpp)" "$1" "${objects[@]}" ;;
    *) c_and_run "$(basename "$1" .c)" "$1" "${objects[@]}" ;;
    esac
}

# People read the header: no line is longer than 100 columns, and what its comments name is declared in it.
narrow_lines() {
    ! awk 'length > 100 { print FILENAME ":" FNR ": " length " columns" }' "$root/include/prunecore.h" | grep .
}
comments_name_what_is_there() {
    local code=$out/header_code.txt name missing=0
    "$CC" -E -P -x c "$root/include/prunecore.h" >"$code" && "$CC" -E -dM -x c "$root/include/prunecore.h" >>"$code" ||
        return 1
    for name in $(sed 's/"[^"]*"//g' "$root/include/prunecore.h" |
        grep -oE '\b(prune_[a-z0-9_]*[a-z0-9]|PRUNE_[A-Z0-9_]*[A-Z0-9])\b' | sort -u); do
        grep -qE "\b$name" "$code" || { echo "a comment of the header names $name, which is not declared"; missing=1; }
    done
    return "$missing"
}

# The program in the header's opening comment: taken from there, compiled as its reader would, and run.
first_program() {
    awk '/^ \*     #include <prunecore.h>/ { on = 1 }
         on { if ($0 !~ /^ \*(     |$)/) exit; sub(/^ \*( {5})?/, ""); print }' \
        "$root/include/prunecore.h" >"$out/first_program.c" && [ -s "$out/first_program.c" ] &&
        "$CC" -std=c99 -Wall -Wextra -Werror -I"$root/include" "$out/first_program.c" -o "$out/first_program" \
            "${link[@]}" && "$out/first_program" "$model" | tee "$out/first_program.txt" &&
        awk '/^loss: [0-9.]+ before, [0-9.]+ after$/ { right = $2 > 0 && $2 + 0 < $4 + 0 } END { exit !right }' \
            "$out/first_program.txt"
}

if [ $# -gt 0 ]; then
    for name in "$@"; do
        found=0
        for source in "${c_tests[@]}" "${cpp_tests[@]}" "${cxx17[@]}"; do
            case $(basename "$source") in
            "$name.c" | "$name.cpp")
                run_test "$source"
                found=1
                ;;
            esac
        done
        if [ "$name" = header ]; then
            step "header: lines of 100 columns" narrow_lines
            step "header: comments name what is" comments_name_what_is_there
            step "header: first program" first_program
            found=1
        fi
        if [ "$found" -eq 0 ]; then
            echo "there is no test $name; run.sh -l lists them" >&2
            failed=$((failed + 1))
        fi
    done
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
fi

step "library: exports as declared" exports_are_declared
step "C tests call all functions" all_called_in "${c_tests[@]}"
step "C++ calls all functions" all_called_in "$root"/bindings/cpp/prunecore/*.hpp
step "header: lines of 100 columns" narrow_lines
step "header: comments name what is" comments_name_what_is_there
step "header: first program" first_program

for source in "${c_tests[@]}"; do
    run_test "$source"
done
c_and_run double_include "$here"/rules/double_include_{a,b}.c
for source in "${cxx17[@]}" "${cpp_tests[@]}"; do
    run_test "$source"
done

# prunecore.hpp under other compilers and the next standard, as far as they are here; and each part of it on its own.
for compiler in g++ clang++; do
    if ! command -v "$compiler" >/dev/null; then
        skipped+=("prunecore.hpp under $compiler: not installed")
        continue
    fi
    for standard in c++17 c++20; do
        step "prunecore.hpp: $compiler $standard" "$compiler" -std=$standard "${cpp_flags[@]:1}" \
            -fsyntax-only "${cpp_tests[@]}"
    done
done
parts_stand_alone() {
    local part
    for part in "$root"/bindings/cpp/prunecore/*.hpp; do
        "$CXX" "${cpp_flags[@]}" -include "$part" -x c++ -fsyntax-only /dev/null || return 1
    done
}
step "prunecore.hpp: each part" parts_stand_alone

# Examples: the C and the C++ program print the same, and so does the Python one, which reads the text itself.
step "first_light.c compiles" compile_c "$out/first_light_c" "$root/examples/c/first_light.c"
step "first_light.cpp compiles" compile_cpp "$out/first_light_cpp" "$root/examples/cpp/first_light.cpp"
example() { # output file, command...
    "${@:2}" >"$1" && grep -q '^removed: attn\.[0-9]* attn\.[0-9]* attn\.[0-9]* attn\.[0-9]*$' "$1" &&
        grep -q '^loss before: [0-9.]* nats per token, perplexity [0-9.]*$' "$1" &&
        grep -q '^loss after:  [0-9.]* nats per token, perplexity [0-9.]*$' "$1"
}
step "first_light in C" example "$out/c.txt" "$out/first_light_c" "$model" "$tokens"
step "first_light in C++" example "$out/cpp.txt" "$out/first_light_cpp" "$model" "$tokens"
step "first_light: C and C++ agree" same_output "$out/c.txt" "$out/cpp.txt"
refuses() { # text, command...: must fail with status 1 and say so
    "${@:2}" >"$out/refusal.txt" 2>&1
    [ $? -eq 1 ] && grep -q "$1" "$out/refusal.txt"
}
step "first_light.c: no model" refuses "PRUNE_ERR_FILE: .*no/such" "$out/first_light_c" no/such "$tokens"
step "first_light.cpp: no model" refuses "PRUNE_ERR_FILE: .*no/such" "$out/first_light_cpp" no/such "$tokens"
step "first_light.c: no tokens" refuses "no/such: cannot be" "$out/first_light_c" "$model" no/such
step "first_light.cpp: no tokens" refuses "no/such: cannot be" "$out/first_light_cpp" "$model" no/such
step "first_light.c: bad tokens" refuses "not a token id" "$out/first_light_c" "$model" "$model/config.json"
step "first_light.cpp: bad tokens" refuses "not a token id" "$out/first_light_cpp" "$model" "$model/config.json"
# Adapters win back some of what four attention layers cost.
step "recover.c compiles" compile_c "$out/recover_c" "$root/examples/c/recover.c"
recovery() {
    "$out/recover_c" "$model" "$tokens" "$out/adapters" >"$out/recover.txt" && cat "$out/recover.txt" &&
        [ "$(grep -cE '^attn\.[0-9]+: rank 16, matrix norm [0-9.]+, ridge [0-9e+-]+$' "$out/recover.txt")" -eq 4 ] &&
        [ -f "$out/adapters/adapters.json" ] &&
        awk '/whole/ { whole = $6 } /without/ { pruned = $4 } /in place/ { recovered = $5 }
             END { exit !(whole > 0 && whole < recovered && recovered < pruned) }' "$out/recover.txt"
}
step "recover.c wins loss back" recovery
step "recover.c: no model" refuses "PRUNE_ERR_FILE: .*no/such" "$out/recover_c" no/such "$tokens" "$out/adapters"
# A game of the program's own: a line per road, and the values add up to the pairs that the whole network connects.
step "ask_tell.cpp compiles" compile_cpp "$out/ask_tell" "$root/examples/cpp/ask_tell.cpp"
ask_tell() { # output file, arguments...
    "$out/ask_tell" "${@:2}" >"$1" &&
        [ "$(grep -cE '^  .{16} +[0-9]+\.[0-9]{2} \+- [0-9]+\.[0-9]{2}$' "$1")" -eq 14 ] &&
        grep -qE '^together 45\.00 of 45 pairs, from [0-9]+ of 16384 coalitions$' "$1"
}
step "ask_tell: values add up" ask_tell "$out/ask_tell.txt"
step "ask_tell: run again" ask_tell "$out/ask_tell_again.txt"
step "ask_tell: same values" same_output "$out/ask_tell.txt" "$out/ask_tell_again.txt"
step "ask_tell: bad budget" refuses "PRUNE_ERR_ARGUMENT: .*budget" "$out/ask_tell" -3
# An engine of the program's own, through its weights and through its layers: the program itself exits with 1 if the two
# disagree, or the engine with what they say. One that turns its heads otherwise than its configuration says is found out.
engine_sources=("$root"/examples/cpp/{score_engine,engine,engine_files}.cpp)
step "score_engine.cpp compiles" compile_cpp "$out/score_engine" -O3 "${engine_sources[@]}"
engine() {
    "$out/score_engine" "$model" "$tokens" >"$out/engine.txt" && cat "$out/engine.txt" &&
        [ "$(grep -cE '^(attn|ffn)\.[0-9]+ +-?[0-9.]+ +-?[0-9.]+ +[0-9.e+-]+ +-?[0-9.]+ +-?[0-9.]+ +[0-9.e+-]+ *$' "$out/engine.txt")" -eq 24 ] &&
        grep -qE '^removed:( (attn|ffn)\.[0-9]+){6}$' "$out/engine.txt" &&
        awk '/^whole/ { whole = $3 } /^pruned/ { pruned = $3 } /^recovered, by layers/ { recovered = $5 }
             END { exit !(whole > 0 && whole < recovered && recovered < pruned) }' "$out/engine.txt"
}
step "score_engine: two ways agree" engine
engine_of_another_model() {
    rm -rf "$out/turned" && mkdir "$out/turned" && ln -s "$model/model.safetensors" "$out/turned" &&
        sed 's/"rope_type": "default"/"rope_type": "linear", "factor": 2.0/' "$model/config.json" >"$out/turned/config.json" &&
        head -n 2 "$tokens" >"$out/turned/tokens.txt" &&
        refuses '^furthest apart: [0-9.]*e-0[0-3],' "$out/score_engine" "$out/turned" "$out/turned/tokens.txt"
}
step "score_engine: another model" engine_of_another_model
step "score_engine: no model" refuses "no/such/config.json: cannot be opened" "$out/score_engine" no/such "$tokens"
python_path=${PYTHONPATH:-}
if ! "$PYTHON" -c 'import prunecore' 2>/dev/null; then
    python_path=$root/bindings/python/src${python_path:+:$python_path}
fi
if PYTHONPATH=$python_path "$PYTHON" -c 'import prunecore' 2>"$out/import.log"; then
    step "first_light in Python" env PYTHONPATH="$python_path" bash -c "$(declare -f example); example \"\$@\"" example \
        "$out/python.txt" "$PYTHON" "$root/examples/python/first_light.py"
    step "first_light: C, Python agree" same_output "$out/c.txt" "$out/python.txt"
else
    skipped+=("example in Python: $PYTHON cannot import prunecore ($(tail -n 1 "$out/import.log"))")
fi

# Installed trees: as they are, under DESTDIR, and moved elsewhere.
rm -rf "$root/build/install" "$out/staged" "$out/moved"
step "install: prefix" "$root/scripts/install.sh" --prefix "$root/build/install"
step "install: DESTDIR" env DESTDIR="$out/staged" "$root/scripts/install.sh" --prefix=/opt/prunecore
mkdir -p "$out/moved"
mv "$out/staged/opt/prunecore" "$out/moved/away from home"
holds_no_place() {
    ! grep -rn "$root\|/opt/prunecore" "$1/lib/pkgconfig" "$1/lib/cmake"
}
step "install: no absolute path" holds_no_place "$out/moved/away from home"
consumer_cmake() { # prefix, build directory
    rm -rf "$2"
    cmake -S "$here/consumer" -B "$2" -DCMAKE_PREFIX_PATH="$1" -DCMAKE_BUILD_TYPE=Release && cmake --build "$2" &&
        "$2/consumer_c" "$model" | grep -x 'LlamaForCausalLM with 12 blocks' &&
        "$2/consumer_cpp" "$model" | grep -x 'LlamaForCausalLM with 12 blocks'
}
consumer_pkg_config() { # prefix
    local flags
    flags=$(PKG_CONFIG_PATH="$1/lib/pkgconfig" pkg-config --cflags --libs 'prunecore >= 0.1') || return 1
    # Through eval, because pkg-config quotes what has spaces for a shell.
    eval "\"$CC\" -std=c99 \"$here/consumer/main.c\" $flags -o \"$out/consumer_pc\"" &&
        LD_LIBRARY_PATH="$1/lib" "$out/consumer_pc" "$model" | grep -x 'LlamaForCausalLM with 12 blocks'
}
incomplete_is_refused() { # an installed tree that lost its library: find_package says which file is missing
    rm -rf "$out/incomplete" "$out/consumer"
    cp -r "$root/build/install" "$out/incomplete" && rm "$out/incomplete"/lib/libprunecore.so.*
    ! cmake -S "$here/consumer" -B "$out/consumer" -DCMAKE_PREFIX_PATH="$out/incomplete" >"$out/cmake.log" 2>&1 &&
        grep -q "libprunecore.so.1 is" "$out/cmake.log"
}
for tool in cmake pkg-config; do
    if ! command -v "$tool" >/dev/null; then
        skipped+=("programs against an installed tree through $tool: not installed")
        continue
    fi
    step "$tool, installed" "consumer_${tool/-/_}" "$root/build/install" "$out/consumer"
    step "$tool, moved" "consumer_${tool/-/_}" "$out/moved/away from home" "$out/consumer"
    [ "$tool" = pkg-config ] || step "cmake, library missing" incomplete_is_refused
done

for line in "${skipped[@]}"; do
    echo "skipped: $line"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
