# SPDX-License-Identifier: Apache-2.0
"""Finding, checking and loading the C library; statuses as exceptions."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import prunecore as pc
import pytest
from prunecore._native import library as _library
from prunecore._raw_generated import FUNCTION_NAMES, ffi
from prunecore.errors import error_from_status


def build_stub(folder: Path, version: str, abi: int, names: tuple[str, ...]) -> Path:
    """A library with these functions, of which only the versions do anything."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler is present")
    special = {
        "prune_version": f'const char *prune_version(void) {{ return "{version}"; }}\n',
        "prune_abi_version": f"int prune_abi_version(void) {{ return {abi}; }}\n",
    }
    text = "".join(special.get(name, f"int {name}(void) {{ return 0; }}\n") for name in names)
    (folder / "stub.c").write_text(text)
    out = folder / "libstub.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", str(folder / "stub.c"), "-o", str(out)], check=True
    )
    return out


def test_header_library_and_python_have_the_same_functions() -> None:
    assert _library.bound_functions() == list(FUNCTION_NAMES)
    tool = shutil.which("nm")
    if tool is None:
        pytest.skip("nm is not present")
    listed = subprocess.run(
        [tool, "-D", "--defined-only", str(_library.LIBRARY_PATH)],
        check=True,
        capture_output=True,
        text=True,
    )
    exported = [line.split()[-1] for line in listed.stdout.splitlines() if " T " in line]
    assert sorted(exported) == list(FUNCTION_NAMES)


def test_missing_library_names_the_places_looked_at(tmp_path: Path) -> None:
    places = [tmp_path / "a.so", tmp_path / "b.so"]
    with pytest.raises(pc.LoadError, match="not found") as caught:
        _library.open_library(places)
    assert all(str(place) in str(caught.value) for place in places)
    assert isinstance(caught.value, ImportError)


def test_file_that_is_no_library(tmp_path: Path) -> None:
    path = tmp_path / "broken.so"
    path.write_bytes(b"no library")
    with pytest.raises(pc.LoadError, match=r"broken\.so could not be loaded"):
        _library.open_library([path])


def test_library_without_a_function_is_refused(tmp_path: Path) -> None:
    names = tuple(name for name in FUNCTION_NAMES if name != "prune_model_score")
    stub = build_stub(tmp_path, pc.__version__, 1, names)
    with pytest.raises(pc.LoadError, match=r"lacks prune_model_score$"):
        _library.open_library([stub])


@pytest.mark.parametrize(("version", "abi"), [("9.8.7", 1), (pc.__version__, 77)])
def test_library_of_another_version_is_refused(tmp_path: Path, version: str, abi: int) -> None:
    stub = build_stub(tmp_path, version, abi, FUNCTION_NAMES)
    with pytest.raises(pc.LoadError, match=rf"PruneCore {version} \(ABI {abi}\)"):
        _library.open_library([stub])


def test_environment_variable_is_the_only_candidate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PRUNECORE_LIBRARY", str(tmp_path / "mine.so"))
    assert _library.candidates() == [tmp_path / "mine.so"]
    monkeypatch.delenv("PRUNECORE_LIBRARY")
    assert all(path.name == "libprunecore.so.1" for path in _library.candidates())


def test_import_fails_with_the_cause(tmp_path: Path) -> None:
    environment = {**os.environ, "PRUNECORE_LIBRARY": str(tmp_path / "gone.so")}
    done = subprocess.run(
        [sys.executable, "-c", "import prunecore"],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("prunecore.errors.LoadError") and "gone.so" in last


def test_every_status_of_the_header_has_an_exception() -> None:
    names = [name for name in dir(_library.lib) if name.startswith("PRUNE_ERR_")]
    assert len(names) >= 11
    kinds = set()
    for name in names:
        error = error_from_status(ffi.integer_const(name), "what went wrong")
        assert error.status == ffi.integer_const(name)
        assert error.status_name == name
        assert str(error) == "what went wrong"
        assert name == _library.text(_library.lib.prune_status_name(error.status))
        kinds.add(type(error))
    assert len(kinds) == len(names) and pc.Error not in kinds


def test_unknown_status_is_a_plain_error() -> None:
    error = error_from_status(4711, "new")
    assert type(error) is pc.Error
    assert (error.status, error.status_name) == (4711, "PRUNE_ERR_UNKNOWN")


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (pc.ArgumentError, ValueError),
        (pc.HandleError, ValueError),
        (pc.OutOfMemoryError, MemoryError),
        (pc.FileError, OSError),
        (pc.FormatError, ValueError),
        (pc.UnsupportedError, NotImplementedError),
        (pc.DataError, ValueError),
        (pc.NonFiniteError, ArithmeticError),
    ],
)
def test_errors_are_those_python_programmers_expect(
    kind: type[pc.Error], builtin: type[Exception]
) -> None:
    error = kind("text")
    assert isinstance(error, builtin) and isinstance(error, pc.Error)
    assert str(error) == "text"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), again.status) == ("text", error.status)


def test_null_pointers_are_refused_with_a_sentence() -> None:
    lib = _library.lib
    out = ffi.new("prune_model **")
    for status in (
        lib.prune_model_open(ffi.NULL, ffi.NULL, out),
        lib.prune_model_open(b"x", ffi.NULL, ffi.NULL),
        lib.prune_runtime_info(ffi.NULL),
        lib.prune_mask_from_json(ffi.NULL, ffi.NULL, 0, ffi.NULL),
    ):
        assert status == lib.PRUNE_ERR_ARGUMENT
        assert len(_library.text(lib.prune_last_error())) > 10
    lib.prune_model_release(ffi.NULL)


def test_wrong_struct_size_is_refused() -> None:
    lib = _library.lib
    info = ffi.new("prune_runtime *")
    info.struct_size = 3
    assert lib.prune_runtime_info(info) == lib.PRUNE_ERR_ARGUMENT


def test_runtime_is_described() -> None:
    found = pc.runtime_info()
    assert found.processors >= 1 and found.threads >= 1
    assert "BLAS" in found.blas and found.blas_kernels
    assert found.blas_forced == os.environ.get("OPENBLAS_CORETYPE", "")
    assert found.bf16_kernels in ("", "avx512_bf16")
    assert found.bf16_kernels in found.cpu_features
    assert found.loop_kernels in ("avx512", "avx2", "baseline")
    assert Path(found.library).is_file()
    assert found.to_dict()["threads"] == found.threads


def test_threads_are_set_for_the_whole_library() -> None:
    before = pc.runtime_info()
    try:
        pc.set_threads(1)
        assert pc.runtime_info().threads == 1
        for wrong in (-1, 1025, 2**40):
            with pytest.raises(pc.ArgumentError):
                pc.set_threads(wrong)
        assert pc.runtime_info().threads == 1
    finally:
        pc.set_threads(0)
    assert pc.runtime_info().threads == before.threads
