# SPDX-License-Identifier: Apache-2.0
"""What once made a reader fail otherwise than by `prunecore.Error`, and a short campaign."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from processes import HANG

FUZZ = Path(__file__).resolve().parents[2] / "Fuzz" / "python"


def run(*arguments: str, program: str = "run.py") -> subprocess.CompletedProcess[str]:
    """Runs a campaign's program; the time is a limit for hangs."""
    command = [sys.executable, str(FUZZ / program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG, check=False)


def test_inputs_that_once_broke_a_reader_are_refused() -> None:
    done = run("--corpus")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(list((FUZZ / 'corpus').iterdir()))} inputs" in done.stdout


def test_a_short_campaign_finds_nothing(tmp_path: Path) -> None:
    done = run("--executions", "1000", "--seed", "77", "--keep", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr + str(list(tmp_path.iterdir()))


def test_arguments_that_nobody_means_are_refused_in_a_sentence() -> None:
    done = run("--executions", "40", "--seed", "5", program="flags.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 runs" in done.stdout and "0 faults" in done.stdout
