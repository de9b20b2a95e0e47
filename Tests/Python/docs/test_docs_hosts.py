# SPDX-License-Identifier: Apache-2.0
"""The examples of the pages for programs that compute by themselves run as they are written.

docs/statistics-from-hooks.md and docs/scheduler.md: Python, C and C++.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import prunecore as pc
import pytest
from prunecore._library import LIBRARY_PATH


def snippets(root: Path, page: str, language: str) -> list[str]:
    text = (root / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def output_of(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, encoding="utf-8", check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def compiled(root: Path, page: str, language: str, folder: Path) -> str:
    """The program that a page's only snippet of a language makes."""
    compilers = {"c": os.environ.get("CC", "gcc"), "cpp": os.environ.get("CXX", "g++")}
    standards = {"c": "-std=c99", "cpp": "-std=c++17"}
    compiler = shutil.which(compilers[language])
    if compiler is None:
        pytest.skip(f"{compilers[language]} is not installed")
    (code,) = snippets(root, page, language)
    source, program = folder / f"snippet.{language}", folder / f"snippet_{language}"
    source.write_text(code, encoding="utf-8")
    flags = [standards[language], "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    paths = [f"-I{root / 'include'}", f"-I{root / 'bindings' / 'cpp'}"]
    link = [f"-Wl,-rpath,{LIBRARY_PATH.parent}", "-pthread"]
    output_of(
        [compiler, *flags, *paths, str(source), str(LIBRARY_PATH), *link, "-o", str(program)],
        folder,
    )
    return str(program)


def test_hooks_in_python(repository_root: Path, workplace: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    code = "".join(snippets(repository_root, "statistics-from-hooks.md", "python"))
    first, second = output_of([sys.executable, "-c", code], workplace).splitlines()
    assert second == "288 24"  # 8 sequences of 24 sublayers and 12 blocks
    # The network computes in bf16; what to remove is what the library says in float32.
    folder = repository_root / "examples" / "models" / "tales-12l"
    with pc.open(folder) as model:
        text = pc.Data.from_text(folder / "stories.jsonl", model, sequence_length=128, limit=8)
        assert first == str(model.score(text, "relative_l2", "attention").prune(4).removed)


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_activations_in_c_and_cpp(repository_root: Path, tmp_path: Path, language: str) -> None:
    program = compiled(repository_root, "statistics-from-hooks.md", language, tmp_path)
    assert output_of([program], tmp_path) == {"c": "1 0\n", "cpp": "1\n"}[language]


def test_scheduler_on_threads(repository_root: Path, workplace: Path) -> None:
    code = snippets(repository_root, "scheduler.md", "python")[0]
    values = [
        float(line.split()[1])
        for line in output_of([sys.executable, "-c", code], workplace).splitlines()
    ]
    # A ring of four roads: all alike, and together the 6 pairs.
    assert values == [1.5] * 4


def test_scheduler_on_processes_continues_after_a_kill(
    repository_root: Path, workplace: Path
) -> None:
    code = snippets(repository_root, "scheduler.md", "python")[1]
    (workplace / "play.py").write_text(code, encoding="utf-8")
    checkpoint = workplace / "game.bin"
    playing = subprocess.Popen(
        [sys.executable, "play.py"], cwd=workplace, start_new_session=True, stdout=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if checkpoint.exists() and pc.Shapley.load(checkpoint.read_bytes()).state.told >= 10:
                break
            time.sleep(0.02)
    finally:
        os.killpg(playing.pid, signal.SIGKILL)  # the pool's processes too: all at once
        assert playing.communicate()[0] == b""
    told = pc.Shapley.load(checkpoint.read_bytes()).state.told
    assert 10 <= told < 60
    went_on, continued = output_of([sys.executable, "play.py"], workplace).splitlines()
    assert went_on == f"goes on from {told} worths"
    checkpoint.unlink()
    (whole,) = output_of([sys.executable, "play.py"], workplace).splitlines()
    assert continued == whole
    assert len(whole.split()) == 12


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_scheduler_in_c_and_cpp(repository_root: Path, tmp_path: Path, language: str) -> None:
    program = compiled(repository_root, "scheduler.md", language, tmp_path)
    if language == "c":
        assert output_of([program, "1"], tmp_path) == ""  # killed after a round
        assert (tmp_path / "game_c.bin").stat().st_size > 0
    assert output_of([program], tmp_path).split() == ["1.5", "1.5", "1", "0"]
