# SPDX-License-Identifier: Apache-2.0
"""Small random checkpoints of every family, written by transformers' own save_pretrained.

A part that an engine forgets moves the logits far beyond the tolerance: test_family_oracle.py.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from family_case import VOCABULARY, Case
from family_dense import DENSE
from family_gpts import GPTS
from family_mixtures import MIXTURES
from family_norms import NORMS, give_norms
from family_outside import OUTSIDE
from family_weights import randomise
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

LENGTHS = (1, 23, 2, 14, 9, 31)
CASES: dict[str, Case] = {case.name: case for case in (*DENSE, *NORMS, *GPTS, *MIXTURES)}
OF_MODULES: dict[str, Case] = {case.name: case for case in OUTSIDE}
"""Of families that run in PyTorch alone."""
FAMILIES = tuple(dict.fromkeys(case.family for case in CASES.values()))


def write_family(name: str, directory: Path, edited: bool = True) -> None:
    """Writes the checkpoint of that name; the same one every time.

    Not `edited`: with the configuration as transformers writes it.
    """
    write_case({**CASES, **OF_MODULES}[name], directory, edited)


def write_case(case: Case, directory: Path, edited: bool = True) -> None:
    """Writes the checkpoint that a case describes."""
    config = AutoConfig.for_model(case.model_type, **case.configuration)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    give_norms(model)
    randomise(model)
    model.save_pretrained(directory)
    if edited and case.edit is not None:
        path = directory / "config.json"
        written = json.loads(path.read_text())
        case.edit(written)
        path.write_text(json.dumps(written, indent=2))
    if edited and case.pack is not None:
        path = directory / "model.safetensors"
        save_file(case.pack(load_file(path)), path, metadata={"format": "pt"})


def family_sequences() -> list[np.ndarray]:
    """Token ids of unequal lengths, the first and the last id of the vocabulary among them."""
    random = np.random.default_rng(11)
    sequences = [random.integers(0, VOCABULARY, length, dtype=np.int64) for length in LENGTHS]
    longest = max(sequences, key=len)
    longest[:2] = 0, VOCABULARY - 1
    return sequences


def family_masks(n_blocks: int) -> dict[str, np.ndarray]:
    """Nothing removed, and three masks at random; each removes and keeps of either kind."""
    random = np.random.default_rng(23)
    keep: dict[str, np.ndarray] = {"none": np.ones(2 * n_blocks, dtype=np.uint8)}
    while len(keep) < 4:
        mask = (random.random(2 * n_blocks) < 0.6).astype(np.uint8)
        if all(0 < mask[kind::2].sum() < n_blocks for kind in (0, 1)):
            keep[f"random-{len(keep) - 1}"] = mask
    return keep
