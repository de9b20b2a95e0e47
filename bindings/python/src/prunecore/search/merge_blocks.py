# SPDX-License-Identifier: Apache-2.0
"""Merges blocks of a model into others: sliding layer merging."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prunecore._native.given import listed
from prunecore._native.handle import Handle
from prunecore._native.library import __version__, ffi, lib, written_text
from prunecore._native.numbers import checked_count
from prunecore._native.options_generated import MergeArguments, MergeOptions
from prunecore._native.progress import ProgressFunction, Watch
from prunecore._native.signatures import takes
from prunecore.errors import ArgumentError
from prunecore.masks.mask import Mask, sublayer_indices
from prunecore.search.merge_result import MergeResult, MergeStep

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prunecore.data.data import Data
    from prunecore.opened import OpenModel

ProtectedBlocks = str | int | Iterable[str | int] | None


@takes(MergeOptions)
def merge_blocks(
    self: OpenModel,
    data: Data,
    *,
    protect: ProtectedBlocks = None,
    progress: ProgressFunction | None = None,
    **options: Unpack[MergeArguments],
) -> MergeResult:
    """Merges blocks from the top down while the model stays similar (arXiv 2502.19159).

    A window of blocks becomes one block and grows downwards, until the similarity falls to the
    threshold; the block that did not fit is the top of the next window. Similarity is the cosine of
    the hidden states after the final norm, those of a sequence as one vector, averaged over
    sequences. This model does not change: `edited` makes the merged one, and the mask of the result
    is for that. docs/merging.md says more.

    Parameters
    ----------
    data : Data
        Calibration text. The paper takes 10 sequences of 128 tokens.
    protect : str, int, or list of them, optional
        Blocks that are in no merge: "block.11", or 11. Default: the last block. Empty: none.
    progress : callable, optional
        Called as `progress(stage, done, total, seconds)`; a true result stops the call with
        `Cancelled`, an exception stops it and is raised again.

    Raises
    ------
    ArgumentError
        An option is out of range, or fewer than `remove` blocks can be merged.
    UnsupportedError
        The model is one of a host, or has adapters.
    """
    n_blocks = self.shape.n_blocks
    given = MergeOptions(**options)
    struct = given.new()
    protected = _protected_blocks(protect, n_blocks)
    if protected is not None:
        struct.protect, struct.n_protect = ffi.from_buffer("uint8_t[]", protected), n_blocks
    watch = Watch(progress)
    struct.progress = watch.callback

    def make(out: Any) -> int:
        status = lib.prune_model_merge(self.handle, data.handle, struct, out)
        watch.check(status)
        return int(status)

    found = Handle("merge", "prune_merging", make, lib.prune_merging_release)
    record = json.loads(written_text(lib.prune_merging_to_json, found.pointer))
    found.close()
    kept = protected if protected is not None else np.eye(1, n_blocks, n_blocks - 1)[0]
    provenance = {
        "method": "merge",
        "library": f"prunecore {__version__}",
        "model": self.provenance,
        "data_sha256": data.digest,
        "n_sequences": data.n_sequences,
        "n_tokens": data.n_tokens,
        **given.to_dict(),
        "threshold": record["threshold"],
        "protected": [f"block.{block}" for block in np.flatnonzero(kept)],
        "similarity": record["similarity"],
    }
    mask = Mask.from_json(json.dumps(record["mask"]))
    return MergeResult(
        mask=Mask(mask.keep, provenance, self.edits + mask.edits),
        similarity=record["similarity"],
        threshold=record["threshold"],
        steps=tuple(MergeStep.from_dict(step) for step in record["steps"]),
        evaluated=record["evaluated"],
        provenance=provenance,
    )


def _protected_blocks(protect: ProtectedBlocks, n_blocks: int) -> npt.NDArray[np.uint8] | None:
    """One byte per block, 1 = in no merge; None for the library's choice."""
    if protect is None:
        return None
    protected = np.zeros(n_blocks, dtype=np.uint8)
    names = [protect] if isinstance(protect, (str, int)) else listed("protect", protect)
    for each in names:
        if not isinstance(each, str):
            protected[checked_count("a protected block", each, 0, n_blocks - 1)] = 1
            continue
        sublayers = sublayer_indices(each, n_blocks)
        if len(sublayers) != 2:
            raise ArgumentError(f"'{each}' is half of a block, and blocks are merged whole")
        protected[sublayers[0] // 2] = 1
    return protected
