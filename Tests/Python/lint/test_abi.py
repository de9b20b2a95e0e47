# SPDX-License-Identifier: Apache-2.0
"""scripts/check-abi.py: what may change in the header within an ABI version, and what may not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts/check-abi.py"

HEADER = """
#define PRUNE_ABI_VERSION 1
#define PRUNE_CAP_NONE (-1.0)
typedef int32_t prune_status;
enum { PRUNE_OK = 0, PRUNE_ERR_FILE = 4 };
typedef struct prune_model prune_model;
typedef int32_t (*prune_step_fn)(void *user_data, int64_t step);
/* Grows. */
typedef struct prune_options {
    uint32_t struct_size;
    int32_t reserved;
    int64_t steps;
    prune_step_fn on_step;
} prune_options;
/* The layout is fixed. */
typedef struct prune_time {
    double prefill, decode;
} prune_time;
/* A host says its size. */
typedef struct prune_comparison {
    double before_l1;
} prune_comparison;
prune_status prune_model_run(const prune_model *model, const prune_options *options, double *out);
void prune_model_release(prune_model *model);
"""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def check(folder: Path, *changes: tuple[str, str]) -> subprocess.CompletedProcess[str]:
    """Releases HEADER, and checks it with some changes against that release."""
    header, released = folder / "prunecore.h", folder / "1.json"
    header.write_text(HEADER)
    assert run("--header", header, "--released", released, "--release").returncode == 0
    text = HEADER
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    header.write_text(text)
    return run("--header", header, "--released", released, "--check")


def test_header_of_this_tree_agrees_with_its_release() -> None:
    result = run("--check")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            ("double *out)", "float *out)"),
            "function prune_model_run has changed: "
            "int32_t (const prune_model *, const prune_options *, double *) is now "
            "int32_t (const prune_model *, const prune_options *, float *)",
        ),
        (("(const prune_model *model,", "(prune_model *model,"), "prune_model_run has changed"),
        (
            ("void prune_model_release(prune_model *model);", ""),
            "function prune_model_release was removed",
        ),
        (("int64_t step)", "int32_t step)"), "callback prune_step_fn has changed"),
        (("    int64_t steps;\n", ""), "field steps of prune_options was removed"),
        (
            ("    int64_t steps;\n", "    int64_t looks;\n    int64_t steps;\n"),
            "field steps of prune_options was number 2, now 3",
        ),
        (
            ("int64_t steps;", "int32_t steps;"),
            "field steps of prune_options has changed: int64_t at 8, 8 bytes is now int32_t at 8",
        ),
        (
            ("double prefill, decode;", "double prefill, decode, load;"),
            "struct prune_time has a fixed layout, but now has load too",
        ),
        (("PRUNE_ERR_FILE = 4", "PRUNE_ERR_FILE = 5"), "enum value PRUNE_ERR_FILE was 4, now 5"),
        ((", PRUNE_ERR_FILE = 4", ""), "enum value PRUNE_ERR_FILE was removed"),
        (("(-1.0)", "(-2.0)"), "macro PRUNE_CAP_NONE was -1.0, now -2.0"),
    ],
)
def test_change_of_what_was_released_is_named(
    tmp_path: Path, change: tuple[str, str], sentence: str
) -> None:
    result = check(tmp_path, change)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert "raise PRUNE_ABI_VERSION" in result.stderr


@pytest.mark.parametrize(
    "change",
    [
        ("prune_step_fn on_step;", "prune_step_fn on_step;\n    double ridge;"),
        ("double before_l1;", "double before_l1, before_max;"),
        ("int32_t reserved;", "int32_t looks;"),
        ("PRUNE_OK = 0,", "PRUNE_OK = 0, PRUNE_ERR_DATA = 7,"),
        ("double *out)", "double *out_loss)"),
        (
            "void prune_model_release",
            "void prune_library_close(void);\nvoid prune_model_release",
        ),
    ],
    ids=[
        "appended field",
        "field of sized struct",
        "reserved field",
        "enum value",
        "parameter's name",
        "function",
    ],
)
def test_addition_passes(tmp_path: Path, change: tuple[str, str]) -> None:
    result = check(tmp_path, change)
    assert result.returncode == 0, result.stderr


def test_higher_abi_version_may_change_anything(tmp_path: Path) -> None:
    result = check(tmp_path, ("double *out)", "float *out)"), ("ABI_VERSION 1", "ABI_VERSION 2"))
    assert result.returncode == 0, result.stderr


def test_lower_abi_version_is_refused(tmp_path: Path) -> None:
    result = check(tmp_path, ("ABI_VERSION 1", "ABI_VERSION 0"))
    assert result.returncode == 1
    assert "PRUNE_ABI_VERSION is 0, but 1 was released" in result.stderr


def test_change_planted_in_the_real_header_is_named(tmp_path: Path) -> None:
    released = tmp_path / "1.json"
    assert run("--released", released, "--release").returncode == 0
    header = tmp_path / "prunecore.h"
    text = (ROOT / "include/prunecore.h").read_text()
    header.write_text(text.replace("prune_threads_set(int32_t threads)", "prune_threads_set(void)"))
    result = run("--header", header, "--released", released, "--check")
    assert result.returncode == 1
    assert "function prune_threads_set has changed: int32_t (int32_t) is now" in result.stderr


def test_broken_release_is_not_written_over(tmp_path: Path) -> None:
    check(tmp_path, ("double *out)", "float *out)"))
    header, released = tmp_path / "prunecore.h", tmp_path / "1.json"
    before = released.read_text()
    assert run("--header", header, "--released", released, "--release").returncode == 1
    assert released.read_text() == before
