# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of all families, each with its oracle and as the library opens it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import prunecore as pc
from family_models import CASES, family_masks, family_sequences, write_family
from family_oracle import FamilyOracle


@dataclass
class FamilySubject:
    """A checkpoint, its texts, and what transformers and the library make of them."""

    name: str
    directory: Path

    @property
    def family(self) -> str:
        return CASES[self.name].family

    @cached_property
    def sequences(self) -> list[np.ndarray]:
        return family_sequences()

    @cached_property
    def oracle(self) -> FamilyOracle:
        return FamilyOracle(self.directory)

    @property
    def n_blocks(self) -> int:
        return self.oracle.n_blocks

    @cached_property
    def masks(self) -> dict[str, np.ndarray]:
        return family_masks(self.n_blocks)

    @cached_property
    def model(self) -> pc.Model:
        """Opened in fp32; raises what `open` does."""
        return pc.open(self.directory, compute="float32")

    @cached_property
    def data(self) -> pc.Data:
        return pc.Data(self.sequences)


class FamilySubjects:
    """Writes checkpoints below a directory when they are first asked for, and keeps them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: dict[str, FamilySubject] = {}

    def __call__(self, name: str) -> FamilySubject:
        if name not in self._made:
            directory = self._directory / name
            write_family(name, directory)
            self._made[name] = FamilySubject(name, directory)
        return self._made[name]
