# SPDX-License-Identifier: Apache-2.0
"""Checkpoints to compare on, each with its texts and its oracle."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from oracle import Oracle
from random_models import CHECKPOINTS, VOCABULARY, random_sequences, write_checkpoint
from tokenizers import Tokenizer

if TYPE_CHECKING:
    import prunecore as pc

REPOSITORY = Path(__file__).resolve().parents[3]
TALES = REPOSITORY / "examples" / "models" / "tales-12l"
# Models that do not come with the code. Tests of them are skipped where the folder is missing.
REFERENCE_MODELS = Path(
    os.environ.get("PRUNECORE_REFERENCE_MODELS", REPOSITORY.parent / "shared" / "models")
)
OUTSIDE = {"stories260K": REFERENCE_MODELS / "stories260K"}
REAL = ("tales-12l", *OUTSIDE)


@dataclass
class Subject:
    """A checkpoint, the texts it is tried on, and what transformers and PruneCore make of them.

    PruneCore is loaded when it is first needed: the oracle is tested without it.
    """

    name: str
    directory: Path
    oracle: Oracle
    sequences: list[np.ndarray]

    @property
    def lengths(self) -> list[int]:
        return [len(sequence) for sequence in self.sequences]

    @property
    def n_blocks(self) -> int:
        return self.oracle.n_blocks

    @cached_property
    def model(self) -> pc.Model:
        import prunecore

        return prunecore.open(self.directory)

    @cached_property
    def data(self) -> pc.Data:
        import prunecore

        return prunecore.Data(self.sequences)


class Subjects:
    """Makes subjects when they are first asked for, and keeps them for the session."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: dict[str, Subject] = {}

    def __call__(self, name: str) -> Subject:
        if name in OUTSIDE and not OUTSIDE[name].is_dir():
            pytest.skip("reference models not present")
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Subject:
        if name in CHECKPOINTS:
            directory = self._directory / name
            write_checkpoint(name, directory)
            return Subject(name, directory, Oracle(directory), random_sequences(VOCABULARY))
        directory = OUTSIDE.get(name, TALES)
        return Subject(name, directory, Oracle(directory), tale_tokens(directory))


def tale_tokens(directory: Path) -> list[np.ndarray]:
    """Two texts of each kind that come with tales-12l, in a model's own tokens."""
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    limits = iter((256, 131, 200, 64, 90, 33))
    sequences = []
    for kind in ("stories", "plays", "maths"):
        lines = (TALES / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines()
        for line in lines[3:5]:
            ids = tokenizer.encode(json.loads(line)["text"]).ids[: next(limits)]
            sequences.append(np.array(ids, dtype=np.int64))
    return sequences
