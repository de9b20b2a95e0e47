# SPDX-License-Identifier: Apache-2.0
"""PRUNECORE_LOOPS holds the library's loops at the level of a lesser CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import prunecore as pc
import pytest

LEVELS = ["baseline", "avx2", "avx512"]
BEST = LEVELS.index(pc.runtime_info().loop_kernels)

PROGRAM = """
import json, sys
import prunecore as pc

with pc.open(sys.argv[1]) as model:
    data = pc.Data.from_text(sys.argv[1] + "/stories.jsonl", model, sequence_length=128, limit=2)
    whole = pc.Mask.remove([], model.shape.n_blocks)
    print(json.dumps({
        "loops": pc.runtime_info().loop_kernels,
        "loss": model.evaluate(data).loss,
        "distances": [
            float(model.damages(data, masks=[whole], measure=measure).values[0])
            for measure in ("logit_l2", "kl", "js")
        ],
    }))
"""


def run(tales_dir: Path, loops: str | None) -> subprocess.CompletedProcess[str]:
    """What a program of its own says: the variable is read once."""
    environment = {name: value for name, value in os.environ.items() if name != "PRUNECORE_LOOPS"}
    if loops is not None:
        environment["PRUNECORE_LOOPS"] = loops
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tales_dir)],
        env=environment,
        capture_output=True,
        text=True,
    )


def found(tales_dir: Path, loops: str | None) -> dict[str, Any]:
    done = run(tales_dir, loops)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("loops", LEVELS[: BEST + 1])
def test_a_model_is_exactly_zero_from_itself_at_every_level(tales_dir: Path, loops: str) -> None:
    own, best = found(tales_dir, loops), found(tales_dir, None)
    assert own["loops"] == loops
    assert own["distances"] == [0, 0, 0]
    assert best["loops"] == LEVELS[BEST]
    assert own["loss"] == pytest.approx(best["loss"], rel=1e-5)


@pytest.mark.parametrize("loops", ["sse", "AVX2", *LEVELS[BEST + 1 :]])
def test_a_level_that_cannot_be_is_refused_by_name(tales_dir: Path, loops: str) -> None:
    done = run(tales_dir, loops)
    assert done.returncode != 0
    assert "PRUNECORE_LOOPS is" in done.stderr and loops in done.stderr
