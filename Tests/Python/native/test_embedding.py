# SPDX-License-Identifier: Apache-2.0
"""A C program with Python inside scores a NumPy model from both languages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import prunecore as pc
import pytest
from processes import HANG
from prunecore._native.library import LIBRARY_PATH


@pytest.fixture(scope="module")
def program(repository_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, linked to the libpython of the interpreter that runs this test."""
    compiler = shutil.which(os.environ.get("CC", "gcc"))
    if compiler is None:
        pytest.skip("no C compiler is installed")
    include = Path(sysconfig.get_path("include"))
    folder = Path(sysconfig.get_config_var("LIBDIR") or "")
    version = sysconfig.get_config_var("LDVERSION")
    if not (include / "Python.h").exists() or not list(folder.glob(f"libpython{version}.*")):
        pytest.skip("this Python has no header or no library to embed: install libpython3-dev")
    made = tmp_path_factory.mktemp("embedding") / "embed_python"
    command = [
        compiler, "-std=c99", "-Wall", "-Wextra", "-Werror",
        # What replaces PyErr_Fetch came with Python 3.12.
        "-Wno-deprecated-declarations", f"-I{repository_root / 'include'}",
        f"-I{include}", str(repository_root / "examples" / "c" / "embed_python.c"),
        str(LIBRARY_PATH), f"-Wl,-rpath,{LIBRARY_PATH.parent}",
        f"-L{folder}", f"-Wl,-rpath,{folder}", f"-lpython{version}",
        *(sysconfig.get_config_var("LIBS") or "").split(), "-lm", "-o", str(made),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return made


def run(program: Path, script: Path) -> subprocess.CompletedProcess[str]:
    # The program must find the packages by the executable's name alone, in a folder of no help.
    environment = os.environ | {"PRUNECORE_LIBRARY": str(LIBRARY_PATH)}
    for name in ("PYTHONHOME", "VIRTUAL_ENV"):
        environment.pop(name, None)
    return subprocess.run(
        [str(program), sys.executable, str(script)],
        cwd=program.parent, env=environment, capture_output=True, encoding="utf-8",
        check=False, timeout=HANG,
    )  # fmt: skip


def test_embedded_python_and_c_score_alike(program: Path, repository_root: Path) -> None:
    done = run(program, repository_root / "examples" / "c" / "numpy_decoder.py")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "42 scores through C and through Python, 0 of them different"
    rows = [re.match(r"(attn| ffn)\.(\d)  +(\S+) +(\S+)$", line) for line in lines[1:-1]]
    assert len(rows) == 6 and all(row is not None and float(row[3]) > 0 for row in rows)


def test_scores_are_those_of_the_definition(program: Path, repository_root: Path) -> None:
    """Cosine scores printed against NumPy over the states of the decoder itself."""
    import runpy

    import numpy as np

    script = repository_root / "examples" / "c" / "numpy_decoder.py"
    host = runpy.run_path(str(script))["host"]
    lengths = np.array([12, 4, 8])
    ids = (np.arange(24) * 7 % 40).astype(np.int32)
    state = host.embed(pc.HostBatch(ids, lengths))
    printed = [float(line.split()[1]) for line in run(program, script).stdout.splitlines()[1:-1]]
    assert len(printed) == 6
    for sublayer, value in enumerate(printed):
        (after,) = host.apply(sublayer, [state])
        h, g = state[0], after[0]
        cosine = (h * g).sum(1) / (np.linalg.norm(h, axis=1) * np.linalg.norm(g, axis=1))
        assert value == pytest.approx((1 - cosine).mean(), abs=2e-6)
        state = after


def test_an_exception_in_the_host_is_told(program: Path, tmp_path: Path) -> None:
    source = Path(__file__).resolve().parents[3] / "examples" / "c" / "numpy_decoder.py"
    script = tmp_path / "failing.py"
    failing = """

def apply(sublayer, states):
    raise ValueError(f"no layer {sublayer}")


host.apply = apply
"""
    script.write_text(source.read_text(encoding="utf-8") + failing, encoding="utf-8")
    done = run(program, script)
    assert done.returncode == 1
    assert "PRUNE_ERR_HOST" in done.stderr and "no layer 0" in done.stderr
