# SPDX-License-Identifier: Apache-2.0
"""Exports of every family, run by others than the library, against the oracle."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import prunecore as pc
import torch
from family_norms import load_family
from family_oracle import Update, forget_longer_sequences
from family_subjects import FamilySubject
from gguf_decoder import GGUFDecoder, gelu, gelu_by_tanh
from gguf_expected import Refusal, expected
from prunecore.export.gguf import GGUFExport, export_gguf

RUN = (3, 5)  # which sequences are run
MIDDLE = ("block.1",)


def plain_error(subject: FamilySubject, folder: Path) -> float:
    """Without a whole block, in transformers' own class, and opened by the library again."""
    mask = pc.Mask.remove(MIDDLE, subject.n_blocks)
    out = subject.model.export(folder / "plain", mask, format="hf_plain")
    assert "auto_map" not in json.loads((out / "config.json").read_text())
    with pc.open(out, compute="float32") as again:
        assert again.shape.n_blocks == subject.n_blocks - 1
        found = again.logits(pc.Data(_sequences(subject)))
    return max(_masked(subject, mask, found), reopened(subject, mask, out))


def custom_error(subject: FamilySubject, folder: Path) -> float:
    """Without sublayers at random, and with adapters, by the modelling file of the export."""
    mask = pc.Mask(subject.masks["random-0"])
    out = subject.model.export(folder / "custom", mask, format="hf_custom")
    keep = without(subject, adapted(subject, "normed"))
    adapters = subject.model.recover(
        keep,
        subject.data,
        kind="linear",
        input="normed",
        ridge=0.1,
        stream="full_model",
        held_out=subject.data,
    )
    other = subject.model.export(folder / "adapted", adapters=adapters, format="hf_custom")
    found = _transformers(other, _sequences(subject))
    wanted = subject.oracle.run_with(_sequences(subject), keep, updates(subject, adapters)).logits
    return max(reopened(subject, mask, out), far(found, wanted))


def adapted(subject: FamilySubject, kind_of_input: str) -> tuple[int, ...]:
    """Where adapters are tried: a feed-forward, and the attention after it.

    What a norm makes of the state before the feed-forward of a parallel block is nothing that the
    block computes: there it is the attention alone. Norms of sums stay in the places of what is
    removed, and leave none to adapters: it is the first block without them, if there is one.
    """
    blocks = range(subject.n_blocks)
    first = next((block for block in blocks if not subject.oracle.norms_sums(block)), 0)
    if kind_of_input == "normed" and subject.oracle.is_parallel(first):
        return (2 * first + 2,)
    return (2 * first + 1, 2 * first + 2)


def without(subject: FamilySubject, sublayers: tuple[int, ...]) -> np.ndarray:
    """The mask that removes some sublayers."""
    keep = np.ones(2 * subject.n_blocks, dtype=np.uint8)
    keep[list(sublayers)] = 0
    return keep


def updates(subject: FamilySubject, adapters: pc.Adapters) -> dict[int, Update]:
    """What adapters add, as the oracle takes it."""

    def update(adapter: pc.Adapter) -> Update:
        bias = torch.from_numpy(adapters.get(adapter.sublayer, "bias"))
        matrix = torch.from_numpy(adapters.get(adapter.sublayer, "matrix"))
        normed = adapter.input == "normed"
        norm = subject.oracle.norm(adapter.sublayer) if normed else None
        return lambda hidden: bias + (hidden if norm is None else norm(hidden)) @ matrix.T

    return {adapter.sublayer: update(adapter) for adapter in adapters}


def deci_error(subject: FamilySubject, folder: Path) -> float:
    """As nemotron-nas, which begins with attention."""
    mask = pc.Mask.remove(["ffn.0", "attn.1"], subject.n_blocks)
    out = subject.model.export(folder / "deci", mask, format="deci")
    return reopened(subject, mask, out)


def gguf_error(subject: FamilySubject, folder: Path) -> float:
    """As llama.cpp computes the file, up to the context that it names.

    Where it approximates gelu, that is computed as the model does, to see all else exactly.
    """
    mask = pc.Mask.remove(MIDDLE, subject.n_blocks)
    made = gguf_as_expected(subject.name, subject.model, folder / "model.gguf", mask)
    tokens = subject.sequences[5][: made.context_length]
    approximates = any("approximates gelu" in note for note in made.notes)
    decoder = GGUFDecoder(made.path, gelu if approximates else gelu_by_tanh)
    return far(decoder.logits(tokens), subject.oracle.run([tokens], mask.keep).logits)


def gguf_as_expected(name: str, model: pc.Model, path: Path, mask: pc.Mask) -> GGUFExport:
    """The export of a checkpoint without its second block: the architecture, or the refusal."""
    wanted = expected(name)
    try:
        made = export_gguf(model, path, mask, dtype="F32")
    except pc.UnsupportedError as refused:
        assert isinstance(wanted, Refusal), f"{name}: {refused}"
        assert re.search(wanted.words, str(refused)), f"{name}: {refused}"
        assert "format='hf'" in str(refused)
        raise
    assert made.architecture == wanted
    return made


def _sequences(subject: FamilySubject) -> list[np.ndarray]:
    return [subject.sequences[index] for index in RUN]


def reopened(subject: FamilySubject, mask: pc.Mask, directory: Path) -> float:
    """How far transformers is from the oracle with a directory."""
    return _masked(subject, mask, _transformers(directory, _sequences(subject)))


def _transformers(directory: Path, sequences: list[np.ndarray]) -> np.ndarray:
    """What transformers computes with a directory."""
    trusting = "auto_map" in json.loads((directory / "config.json").read_text())
    model = load_family(directory, trusting)
    rows = []
    for ids in sequences:
        forget_longer_sequences(model)
        with torch.inference_mode():
            rows.append(model(torch.from_numpy(ids)[None], use_cache=False).logits[0].numpy())
    return np.concatenate(rows)


def _masked(subject: FamilySubject, mask: pc.Mask, found: np.ndarray) -> float:
    return far(found, subject.oracle.run(_sequences(subject), mask.keep).logits)


def far(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, of the largest value; infinite where a number is none."""
    assert found.shape == wanted.shape
    if not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())
