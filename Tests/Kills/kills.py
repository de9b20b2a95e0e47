# SPDX-License-Identifier: Apache-2.0
"""Kills long commands at random moments, runs them again, and compares with an undisturbed run.

    python Tests/Kills/kills.py [--runs 100] [--seed 0] [--only shapley] [--signal KILL]

Each run begins in a new folder, is killed at a moment drawn from the length of an undisturbed one,
and is begun again until it ends: up to MOST_KILLS times killed, then left alone. It fails if

- the last run does not end with success;
- a result differs from that of the undisturbed run in more than times and places;
- after any kill, a file under a final name is not whole: JSON that does not parse, an export whose
  checksums differ, a picture or an array that is cut short;
- after the last run, something is left besides the results.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples" / "models" / "tales-12l"
TEXT = f"--data {MODEL / 'stories.jsonl'} --sequence-length 32"
HANG = 900
MOST_KILLS = 3
MASK = '{"format":"prunecore.mask","version":1,"n_blocks":12,"removed":["attn.3","ffn.7"]}'

COMMANDS = {
    "score": f"score {MODEL} {TEXT} --limit 8 --metric static,leave_one_out_loss --out s.json",
    "shapley": f"shapley {MODEL} {TEXT} --limit 1 --granularity block --budget 60 "
    "--batch-coalitions 8 --checkpoint game --out g.json",
    "search": f"search {MODEL} {TEXT} --limit 1 --strategy greedy --remove 3 --granularity block "
    "--checkpoint state --out m.json --plot p.png",
    "recover": f"recover {MODEL} {TEXT} --limit 16 --mask mask.json --objective kl --rank 4 "
    "--steps 12 --step-tokens 64 --checkpoint training --out adapters",
    "export": f"export {MODEL} --mask mask.json --replace --no-verify --out export",
    "study": f"study search {MODEL} {TEXT} --quick --sequences 1 "
    "--granularity block --remove 1 --out study",
    "generate": f"generate {MODEL} --calibration 4 --max-tokens 24 --out c.npy",
}
# What a run measures of the machine and not of the model.
TIMES = re.compile(r'"(seconds|tokens_per_second|directory|path|measured_at)": [^,\n]+')


@dataclass
class Tally:
    """What a campaign of one command found."""

    runs: int = 0
    kills: int = 0
    resumed_checkpoints: int = 0
    leftovers_met: int = 0


def begun(command: str, folder: Path) -> subprocess.Popen[bytes]:
    """The command, in a folder, with one thread."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    arguments = [sys.executable, "-m", "prunecore", *command.split(), "--threads", "1"]
    return subprocess.Popen(
        arguments, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finished(command: str, folder: Path) -> float:
    """Runs the command to its end; seconds that it took."""
    began = time.monotonic()
    process = begun(command, folder)
    _, errors = process.communicate(timeout=HANG)
    assert process.returncode == 0, errors.decode()
    return time.monotonic() - began


def prepared(folder: Path) -> Path:
    """A new folder with the mask in it."""
    folder.mkdir()
    (folder / "mask.json").write_text(MASK)
    return folder


def is_partial(path: Path, folder: Path) -> bool:
    """Whether a file, or a folder around it, has the name of one that is being written."""
    return any(part.endswith(".partial") for part in path.relative_to(folder).parts)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def check_whole(folder: Path) -> None:
    """Every file under a final name is whole."""
    for path in files(folder):
        if is_partial(path, folder):
            continue
        content = path.read_bytes()
        if path.suffix == ".json":
            json.loads(content)
        elif path.suffix == ".npy":
            np.load(path, allow_pickle=False)
        elif path.suffix == ".png":
            assert content.endswith(b"IEND\xaeB`\x82"), path
        elif path.suffix == ".svg":
            assert content.rstrip().endswith(b"</svg>"), path
        elif path.suffix == ".safetensors":
            length = int.from_bytes(content[:8], "little")
            header = json.loads(content[8 : 8 + length])
            header.pop("__metadata__", None)
            ends = [entry["data_offsets"][1] for entry in header.values()]
            assert len(content) == 8 + length + max(ends), path
        elif path.name in ("game", "state"):
            header, _, rest = content.partition(b"\n")
            assert json.loads(header)["bytes"] == len(rest), path


def results(folder: Path) -> dict[str, Any]:
    """What a run left, by name; times and places taken out."""
    found: dict[str, Any] = {}
    for path in files(folder):
        name = str(path.relative_to(folder))
        content = path.read_bytes()
        # Pictures and tables of a study show times; a checkpoint counts its saves.
        if name.startswith("study/") and path.suffix != ".json":
            found[name] = None
        elif path.suffix == ".json":
            found[name] = TIMES.sub("", content.decode())
        elif name in ("game", "state", "training"):
            found[name] = None
        else:
            found[name] = content
    return found


def campaign(name: str, runs: int, rng: random.Random, how: signal.Signals, work: Path) -> Tally:
    """Kills one command in so many runs. Raises `AssertionError` at the first fault."""
    command = COMMANDS[name]
    usual = prepared(work / f"{name}-usual")
    seconds = finished(command, usual)
    expected = results(usual)
    tally = Tally()
    for run in range(runs):
        folder = prepared(work / f"{name}-{run}")
        for _ in range(rng.randint(1, MOST_KILLS)):
            process = begun(command, folder)
            try:
                process.wait(rng.uniform(0.1, 1.05) * seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(how)
                tally.kills += 1
            process.communicate(timeout=HANG)
            check_whole(folder)
            tally.leftovers_met += any(is_partial(path, folder) for path in files(folder))
        tally.resumed_checkpoints += any(
            (folder / n).exists() for n in ("game", "state", "training")
        )
        finished(command, folder)
        check_whole(folder)
        found = results(folder)
        assert found.keys() == expected.keys(), (name, run, sorted(found), sorted(expected))
        for path, content in expected.items():
            assert found[path] == content, (name, run, path)
        tally.runs += 1
        shutil.rmtree(folder)
    return tally


def main() -> int:
    """Runs the campaign; prints a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(COMMANDS), action="append")
    parser.add_argument("--signal", default="KILL", choices=["KILL", "TERM", "INT", "HUP"])
    given = parser.parse_args()
    how = signal.Signals[f"SIG{given.signal}"]
    failed = False
    with tempfile.TemporaryDirectory(prefix="kills-") as work:
        for name in given.only or COMMANDS:
            try:
                print(name, campaign(name, given.runs, random.Random(given.seed), how, Path(work)))
            except AssertionError as error:
                failed = True
                print(name, "FAILED:", error)
            sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
