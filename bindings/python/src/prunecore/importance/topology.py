# SPDX-License-Identifier: Apache-2.0
"""Persistent topological features of blocks: `Model.topology` (arXiv 2410.11042)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prunecore._native.json_files import DAMAGE, LoadedResult, check_format, reason, whole_number
from prunecore._native.library import __version__
from prunecore._native.numbers import checked_count
from prunecore._native.progress import ProgressFunction
from prunecore.errors import ArgumentError, Cancelled, DataError, FormatError
from prunecore.importance.last_states import last_states
from prunecore.importance.persistence import (
    Bars,
    Values,
    cut_layers,
    mean_similarity,
    persistence_similarity,
)
from prunecore.importance.scores import Scores
from prunecore.importance.zigzag import clique_complex, neighbour_edges, packages, zigzag_bars
from prunecore.masks.mask import Mask, as_keep
from prunecore.masks.notations import MOST_BLOCKS

if TYPE_CHECKING:
    from typing_extensions import Self

    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel

METRIC = "topology"
"""Its name among the metrics of `Model.score`."""
CUT_RATIOS = (0.9, 0.8)
"""The ratios of the rule that the paper tries."""


@dataclass(frozen=True, eq=False)
class Topology(LoadedResult):
    """How long the cycles of the prompts' neighbour graphs live over the blocks of a model.

    `Model.topology` makes it. Definitions: docs/topology.md.

    Attributes
    ----------
    bars : array of int, shape (n, 2)
        The barcode: birth and death in the zigzag over L layers, whose index 2 j is layer j, and 2
        j + 1 what layers j and j + 1 have in common.
    blocks : tuple of int
        The block after which layer j stands: the L blocks that the mask does not lack.
    mask : Mask
        The mask under which it was measured.
    provenance : dict
        Model, data, neighbours, and the dimension of the cycles.
    """

    bars: Bars
    blocks: tuple[int, ...]
    mask: Mask
    provenance: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def similarity(self) -> npt.NDArray[np.int64]:
        """PHSim: cycles that live in two layers and all between them, shape (L, L)."""
        return persistence_similarity(self.bars, len(self.blocks))

    @property
    def betti(self) -> npt.NDArray[np.int64]:
        """Cycles of each layer, shape (L,)."""
        return self.similarity.diagonal()

    @cached_property
    def mean_similarity(self) -> Values:
        """Mean share of every layer's cycles that a layer has, too: r of the paper, shape (L,)."""
        return mean_similarity(self.similarity)

    def scores(self) -> Scores:
        """Scores of the blocks by the metric topology: 1 - r; 0 for what the mask lacks.

        A block whose layer shares its cycles with the others is redundant, and goes first.
        """
        values = np.zeros(self.mask.n_blocks)
        values[list(self.blocks)] = 1 - self.mean_similarity
        return Scores({METRIC: values}, "block", self.mask.n_blocks, self.mask, self.provenance)

    def cut(self, ratio: float = CUT_RATIOS[0]) -> Mask:
        """The mask without the blocks that the paper's rule cuts: r >= ratio * max(r).

        Parameters
        ----------
        ratio : float
            Above 0, at most 1. Lower cuts more.
        """
        return cut_blocks(self.scores(), ratio)

    def to_dict(self) -> dict[str, Any]:
        """The topology as JSON values."""
        return {
            "format": "prunecore.topology",
            "version": 1,
            "n_blocks": self.mask.n_blocks,
            "removed": self.mask.removed,
            "blocks": list(self.blocks),
            "bars": self.bars.tolist(),
            "similarity": self.similarity.tolist(),
            "mean_similarity": self.mean_similarity.tolist(),
            "cut": rule_cuts(self.scores()),
            "provenance": self.provenance,
        }

    @classmethod
    def from_dict(cls, record: Any) -> Self:
        """Reads a topology from what `to_dict` gives.

        Raises
        ------
        FormatError
            It is something else, or contradicts itself.
        UnsupportedError
            It is of another version.
        """
        check_format(record, "prunecore.topology", "topology", "a topology")
        try:
            n_blocks = whole_number(record, "n_blocks", 1, MOST_BLOCKS)
            mask = Mask.remove(record.get("removed", []), n_blocks)
            blocks = tuple(map(int, record["blocks"]))
            if list(blocks) != _present(mask.keep):
                raise FormatError("its blocks are not those that its mask leaves")
            made = cls(
                bars=np.array(record["bars"], dtype=np.int64).reshape(-1, 2),
                blocks=blocks,
                mask=mask,
                provenance=dict(record.get("provenance", {})),
            )
            made.cut()  # so that a damaged barcode is met here
        except FormatError:
            raise
        except DAMAGE as error:
            raise FormatError(f"a damaged topology: {reason(error)}") from error
        return made


def rule_cuts(scores: Scores) -> dict[str, list[str]]:
    """The names of the blocks that the rule cuts by each ratio of the paper."""
    return {
        str(ratio): [f"block.{block}" for block in blocks_to_cut(scores, ratio)]
        for ratio in CUT_RATIOS
    }


def blocks_to_cut(scores: Scores, ratio: float) -> list[int]:
    """The blocks that the rule of arXiv 2410.11042 cuts, from scores by the metric topology."""
    scored = _present(scores.mask.keep)
    chosen = np.flatnonzero(cut_layers(1 - scores[METRIC][scored], ratio))
    return [scored[layer] for layer in chosen]


def cut_blocks(scores: Scores, ratio: float, mask: MaskLike | None = None) -> Mask:
    """The mask that the rule of arXiv 2410.11042 leaves, from scores by the metric topology.

    Parameters
    ----------
    scores : Scores
        With the metric topology.
    ratio : float
        Blocks with r >= ratio * max(r) go; above 0, at most 1.
    mask : Mask or array, optional
        Where to start. Default: the mask under which the blocks were scored.
    """
    start = scores.mask.keep if mask is None else as_keep(mask, scores.n_blocks)
    keep = np.array(start, dtype=np.uint8)
    for block in blocks_to_cut(scores, ratio):
        keep[2 * block : 2 * block + 2] = 0
    provenance = {
        "method": "topology_cut",
        "metric": METRIC,
        "granularity": "block",
        "ratio": float(ratio),
        "scores": scores.provenance,
    }
    return Mask(keep, provenance)


def topology(
    self: OpenModel,
    data: Data,
    mask: MaskLike | None = None,
    *,
    neighbours: int = 5,
    homology: int = 1,
    batch_tokens: int | None = None,
    progress: ProgressFunction | None = None,
) -> Topology:
    """Follows the cycles of the prompts' neighbour graphs from block to block.

    The points of layer j are the last tokens' hidden states after block j. Each is joined to its
    nearest neighbours; the cliques of the graph make a complex, and the zigzag over all layers says
    at which blocks its cycles begin and end. It runs the blocks before each layer once for each.

    Parameters
    ----------
    data : Data
        Prompts: one sequence each. A few hundred, or more.
    mask : Mask or array, optional
        The mask under which to measure. Default: the model's.
    neighbours : int
        Nearest neighbours that each point is joined to.
    homology : {1, 2, 3}
        Dimension of the cycles: 1 = loops, as in the paper.
    batch_tokens, progress
        As for `Model.score`.

    Returns
    -------
    Topology
        Its `scores()` are the metric topology of `Model.score`.

    Raises
    ------
    LoadError
        gudhi or dionysus is not installed: pip install 'prunecore[topology]'.
    ArgumentError
        There are no more prompts than neighbours, or the mask removes all blocks.
    DataError
        No layer has a cycle.
    UnsupportedError
        The model does not give its hidden states.
    """
    packages()
    count = checked_count("neighbours", neighbours)
    dimension = checked_count("homology", homology, 1, 3)
    if len(data) <= count:
        raise ArgumentError(
            f"{count} neighbours need more than {count} prompts, but the data have {len(data)} "
            "sequences"
        )
    keep = self._keep(mask)
    used = self.present(Mask(self.mask.keep if keep is None else keep))
    blocks = _present(used.keep)
    if not blocks:
        raise ArgumentError("the mask removes all blocks: there is no layer to measure")
    told = _Stages(progress)
    points = last_states(self, data, used, blocks, batch_tokens, told)
    complexes = []
    for index, layer in enumerate(points):
        told("neighbour graphs", index, len(points))
        edges = neighbour_edges(layer, count)
        complexes.append(clique_complex(len(data), edges, dimension + 1))
    bars = zigzag_bars(complexes, dimension, lambda done, total: told("zigzag", done, total))
    provenance = {
        "library": f"prunecore {__version__}",
        "model": self.provenance,
        "data_sha256": data.digest,
        "n_sequences": data.n_sequences,
        "n_tokens": data.n_tokens,
        "neighbours": count,
        "homology": dimension,
    }
    found = Topology(bars=bars, blocks=tuple(blocks), mask=used, provenance=provenance)
    if not found.betti.any():
        raise DataError(
            f"the neighbour graphs of {len(data)} prompts have no cycles of dimension {dimension} "
            "after any block: give more prompts, or fewer neighbours"
        )
    return found


def _present(keep: npt.NDArray[np.uint8]) -> list[int]:
    """The blocks that have a sublayer."""
    kept: list[int] = np.flatnonzero(keep.reshape(-1, 2).any(axis=1)).tolist()
    return kept


class _Stages:
    """Tells progress of parts that are not the library's, and stops where that says so."""

    def __init__(self, progress: ProgressFunction | None) -> None:
        self._progress = progress
        self._began = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if self._progress is None:
            return
        if self._progress(stage, done, total, time.monotonic() - self._began):
            raise Cancelled(f"cancelled by its progress function, in {stage}")
