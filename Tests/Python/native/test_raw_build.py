# SPDX-License-Identifier: Apache-2.0
"""The build hook: when it builds the C library, and which one it takes."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def hook(repository_root: Path) -> ModuleType:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not present")
    path = repository_root / "bindings" / "python" / "hatch_build.py"
    spec = importlib.util.spec_from_file_location("hatch_build", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose build script counts how often it runs."""
    monkeypatch.delenv("PRUNECORE_LIBRARY", raising=False)
    for folder in ("include", "Sources/PruneCore", "scripts", "bindings/python"):
        (tmp_path / folder).mkdir(parents=True)
    source = tmp_path / "Sources" / "PruneCore" / "A.swift"
    source.write_text("// source")
    script = tmp_path / "scripts" / "build-library.sh"
    script.write_text(
        "#!/bin/sh\nset -e\nmkdir -p build/lib\necho run >> runs\n"
        "echo built > build/lib/libprunecore.so.1\n"
    )
    script.chmod(0o755)
    for file in (source, script):
        os.utime(file, (1000, 1000))
    return tmp_path


def runs(checkout: Path) -> int:
    log = checkout / "runs"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_library_is_built_only_when_needed(hook: ModuleType, checkout: Path) -> None:
    root = checkout / "bindings" / "python"
    built = checkout / "build" / "lib" / "libprunecore.so.1"
    assert hook._library(root) == built and runs(checkout) == 1
    assert hook._library(root) == built and runs(checkout) == 1
    later = built.stat().st_mtime + 10
    os.utime(checkout / "Sources" / "PruneCore" / "A.swift", (later, later))
    assert hook._library(root) == built and runs(checkout) == 2


def test_named_library_is_taken_as_it_is(
    hook: ModuleType, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, mine = checkout / "bindings" / "python", checkout / "mine.so"
    monkeypatch.setenv("PRUNECORE_LIBRARY", str(mine))
    with pytest.raises(FileNotFoundError, match=r"mine\.so"):
        hook._library(root)
    mine.write_text("library")
    assert hook._library(root) == mine and runs(checkout) == 0


def test_without_a_checkout_the_way_out_is_named(
    hook: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRUNECORE_LIBRARY", raising=False)
    with pytest.raises(FileNotFoundError, match="PRUNECORE_LIBRARY"):
        hook._library(tmp_path / "bindings" / "python")
