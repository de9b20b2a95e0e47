# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/scheduler.md run as they are written: Python, C and C++."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import prunecore as pc
import pytest
from pages import Page, compiled, output_of, run_python
from processes import HANG

PAGE = "docs/scheduler.md"
RUNS_BLOCKS_OF = {"docs/scheduler.md": ("python", "c", "cpp")}

# Put before the page's program: it stands still once its tenth checkpoint is written.
STANDS_STILL = f"""
import os, time

_replace, _written = os.replace, 0


def counted(*names):
    global _written
    _replace(*names)
    _written += 1
    if _written == 10:
        print("ten", flush=True)
        time.sleep({HANG})


os.replace = counted
"""


def test_python_scheduler_on_threads(workplace: Path) -> None:
    lines = run_python(Page(PAGE).code("python")[0], workplace)
    # A ring of four roads: all alike, and together the 6 pairs.
    assert [float(line.split()[1]) for line in lines] == [1.5] * 4


def test_python_scheduler_on_processes_continues_after_a_kill(workplace: Path) -> None:
    _, code = Page(PAGE).code("python")
    program, checkpoint = workplace / "play.py", workplace / "game.bin"
    program.write_text(STANDS_STILL + code, encoding="utf-8")
    playing = subprocess.Popen(
        [sys.executable, "play.py"], cwd=workplace, start_new_session=True, stdout=subprocess.PIPE
    )
    assert playing.stdout is not None
    try:
        assert playing.stdout.readline() == b"ten\n"
    finally:
        os.killpg(playing.pid, signal.SIGKILL)  # the pool's processes too: all at once
        assert playing.communicate()[0] == b""
    told = pc.Game.load(checkpoint.read_bytes()).state.told
    assert 10 <= told < 60
    program.write_text(code, encoding="utf-8")
    went_on, continued = output_of([sys.executable, "play.py"], workplace).splitlines()
    assert went_on == f"goes on from {told} worths"
    checkpoint.unlink()
    (whole,) = output_of([sys.executable, "play.py"], workplace).splitlines()
    assert continued == whole
    assert len(whole.split()) == 12


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_compiled_scheduler_continues_after_a_kill(tmp_path: Path, language: str) -> None:
    program = compiled(Page(PAGE).only(language), language, tmp_path)
    if language == "c":
        assert output_of([program, "1"], tmp_path) == ""  # killed after a round
        assert (tmp_path / "game_c.bin").stat().st_size > 0
    assert output_of([program], tmp_path).split() == ["1.5", "1.5", "1", "0"]
