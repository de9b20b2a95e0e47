# SPDX-License-Identifier: Apache-2.0
"""Fuzzes the command's arguments: whatever they are, a run ends with a result or one sentence.

Every run is a child process of a command drawn at random, with options and values drawn at random.
A fault is a traceback, an exit code that the command does not promise, a signal, or a run that goes
on after SIGTERM. `demo` and the studies take minutes each, and are left out.

    python Tests/Fuzz/python/flags.py --executions 1000 --seed 1
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from prunecore.cli import main as command
from prunecore.cli.app import app
from typer.main import get_command

MODEL = str(Path(__file__).resolve().parents[3] / "examples" / "models" / "tales-12l")
LONGEST = 20  # seconds, after which a run is asked to end
ENDS = 60  # seconds that it may take to end
PROMISED = {0: "done", 2: "refused", 143: "ended"}
LEFT_OUT = ("demo", "study recovery", "study search")
VALUES = (
    "", "0", "-1", "1", "2", "0.5", "1e9", "1e308", "99999999999999999999", "nan", "inf", "-inf",
    "x", "é", os.fsdecode(b"\xff"), "\n", "a" * 300, "%s", "--", "=", "a=b", "x=/none", "a,b",
    "1,2,3", "~", "/", "/dev/null", "/none", MODEL, "attn.3", "block.99", "attn.3,ffn.5", "cosine",
    "loss", "sublayer", "attention", "greedy", "low-rank", "kl", "json", "hf", "gguf", "None",
    "true", "[1]", "{}",
)  # fmt: skip


def commands(found: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """All commands by name: "mask convert"."""
    if not hasattr(found, "commands"):
        return {" ".join(path): found}
    each = (commands(inner, (*path, name)) for name, inner in found.commands.items())
    return {name: inner for names in each for name, inner in names.items()}


def drawn(source: random.Random, name: str, found: Any, text: str) -> list[str]:
    """Arguments of a run. Most name a model, a text and little work, so that work is reached."""
    likely = {
        "--data": [text] * 9,
        "--out": ["out"] * 9,
        "--plot": ["p.png"] * 9,
        "--limit": ["1"] * 60,
        "--sequence-length": ["8"] * 60,
    }
    arguments = name.split()
    for parameter in found.params:
        names = [each for each in parameter.opts if each.startswith("-")]
        if not names:
            arguments += [source.choice([MODEL] * 150 + list(VALUES))] * (source.random() < 0.97)
        elif names[0] in likely:
            arguments += [names[0], source.choice([*likely[names[0]] * 4, *VALUES])]
        elif names[0] != "--help" and source.random() < 0.05:
            is_flag = getattr(parameter, "is_flag", False)
            arguments += [names[0]] if is_flag else [names[0], source.choice(VALUES)]
    return arguments


def run(arguments: list[str], folder: Path, outcomes: Counter[str]) -> str | None:
    """Runs the command in a child, and counts how it ended. Returns what is wrong, or None."""
    errors = folder / "errors"
    child = os.fork()
    if child == 0:
        code: Any = 1
        try:
            os.chdir(folder)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            code = command(arguments)
        except SystemExit as error:
            code = error.code
        except BaseException:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
    status = _ended(child)
    if status is None:
        return "it went on after SIGTERM"
    said = errors.read_text(errors="replace")
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}: {said[-500:]}"
    code = os.WEXITSTATUS(status)
    outcomes[PROMISED.get(code, "fault")] += 1
    return None if code in PROMISED and "Traceback" not in said else f"exit {code}: {said[-1500:]}"


def _ended(child: int) -> int | None:
    """The status of a child, which is asked to end if it works for long."""
    for limit, number in ((LONGEST, signal.SIGTERM), (ENDS, signal.SIGKILL)):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                return status
            time.sleep(0.005)
        os.kill(child, number)
    os.waitpid(child, 0)
    return None


def main() -> int:
    """Runs the campaign; returns 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    source, faults = random.Random(given.seed), 0
    outcomes: Counter[str] = Counter()
    every = {
        name: found for name, found in commands(get_command(app)).items() if name not in LEFT_OUT
    }
    with tempfile.TemporaryDirectory(prefix="prunecore-flags-") as made:
        folder = Path(made)
        text = folder / "text.txt"
        text.write_text("Once upon a time there was a cat. " * 8)
        for _ in range(given.executions):
            name = source.choice(sorted(every))
            arguments = drawn(source, name, every[name], str(text))
            problem = run(arguments, folder, outcomes)
            if problem is not None:
                faults += 1
                print(f"{arguments}\n{problem}\n", flush=True)
    print(f"{given.executions} runs: {dict(outcomes)}, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
