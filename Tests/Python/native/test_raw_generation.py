# SPDX-License-Identifier: Apache-2.0
"""The generator of the raw layer: what it takes from a header, and what it refuses."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from prunecore import _raw_generated as raw


@pytest.fixture(scope="module")
def header(repository_root: Path) -> str:
    return (repository_root / "include" / "prunecore.h").read_text(encoding="utf-8")


def test_generated_layer_is_that_of_the_header(header: str) -> None:
    assert hashlib.sha256(header.encode()).hexdigest() == raw.HEADER_SHA256, (
        "the header has changed: run python bindings/python/generate_raw.py"
    )


def test_every_function_of_the_header_is_there(header: str) -> None:
    without_comments = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    # A declaration begins a line; callbacks and struct fields do not.
    found = re.findall(r"^[a-z][\w ]*[ *](prune_\w+)\(", without_comments, flags=re.MULTILINE)
    assert len(found) > 25
    assert sorted(found) == list(raw.FUNCTION_NAMES)


def test_every_constant_of_the_header_has_its_value(header: str) -> None:
    value = r"(\d+)(?: << (\d+))?"
    constants = re.findall(rf"^\s+(PRUNE_[A-Z0-9_]+)\s*=\s*{value}", header, flags=re.MULTILINE)
    constants += re.findall(rf"^#define (PRUNE_[A-Z_]+) {value}$", header, flags=re.MULTILINE)
    assert len(constants) > 35
    for name, number, shift in constants:
        assert raw.ffi.integer_const(name) == int(number) << int(shift or 0), name


def test_structs_are_laid_out_as_a_c_compiler_does(
    repository_root: Path, header: str, tmp_path: Path
) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler is present")
    transparent = re.findall(r"^typedef struct (\w+) \{", header, flags=re.MULTILINE)
    assert {"prune_progress", "prune_score_options", "prune_evaluation"} <= set(transparent)
    wanted, lines = [], []
    for name in transparent:
        wanted.append(str(raw.ffi.sizeof(name)))
        lines.append(f"sizeof({name})")
        for field, _ in raw.ffi.typeof(name).fields:
            wanted.append(str(raw.ffi.offsetof(name, field)))
            lines.append(f"offsetof({name}, {field})")
    prints = "".join(f'printf("%zu\\n", {line});' for line in lines)
    source = tmp_path / "layout.c"
    source.write_text(
        f'#include "prunecore.h"\n#include <stdio.h>\nint main(void) {{ {prints} return 0; }}\n'
    )
    include = repository_root / "include"
    program = tmp_path / "layout"
    subprocess.run([compiler, f"-I{include}", str(source), "-o", str(program)], check=True)
    found = subprocess.run([str(program)], check=True, capture_output=True, text=True)
    assert found.stdout.split() == wanted


def test_declarations_are_read_as_c_reads_them(generator: ModuleType) -> None:
    text = """
    #ifndef GUARD_H
    #define GUARD_H
    #include <stdint.h>
    /* int hidden_by_comment(void); */ // int hidden_too(void);
    #define PRUNE_A 3
    #define PRUNE_B ((PRUNE_A << 2) | 0x1u)
    #define PRUNE_INIT { sizeof(int), 0 }
    #define PRUNE_LONG 1 + \\
        2
    #define PRUNE_REAL 0.5
    #define PRUNE_NEGATIVE (-2.5e-1)
    #ifdef __cplusplus
    extern "C" {
    #else
    int seen_in_c(void);
    #endif
    typedef int (*prune_fn)(void *data, int n);
    struct prune_pair { int first; int (*second)(int n); };
    const char *prune_text(int64_t n,
                           prune_fn f);
    #ifdef __cplusplus
    }
    #endif
    #endif
    """
    declared = generator.declarations(text)
    assert "#define PRUNE_B 13" in declared and "#define PRUNE_LONG 3" in declared
    assert "PRUNE_INIT" not in declared and "extern" not in declared
    assert "PRUNE_REAL" not in declared
    assert generator.real_macros(text) == {"PRUNE_REAL": 0.5, "PRUNE_NEGATIVE": -0.25}
    assert generator.function_names(declared) == ["prune_text", "seen_in_c"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("#define PRUNE_F(x) (x)\n", "PRUNE_F"),
        ('#define PRUNE_NAME "a"\n', "not an integer"),
        ("#define PRUNE_X PRUNE_UNKNOWN\n", "not an integer"),
        ("#define PRUNE_X (1.5\n", "not an integer"),
        ("#pragma pack(1)\n", "pragma"),
        ("#if 1\n#endif\n", "#if"),
        ("#ifdef A\n", "never closed"),
        ("int f(void); /* open\n", "never closed"),
    ],
)
def test_what_is_not_understood_is_refused(generator: ModuleType, text: str, reason: str) -> None:
    with pytest.raises(generator.HeaderError, match=reason):
        generator.declarations(text)


def test_version_of_the_raw_layer_is_the_headers(
    generator: ModuleType, repository_root: Path
) -> None:
    import prunecore

    found = generator.header_version(repository_root / "include" / "prunecore.h")
    assert found == prunecore.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", found)
