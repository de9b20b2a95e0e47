# SPDX-License-Identifier: Apache-2.0
"""What sliding layer merging of a model found."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from prunecore._native.json_files import DAMAGE, LoadedResult, check_format, reason
from prunecore.errors import Error, FormatError
from prunecore.masks.mask import Mask

if TYPE_CHECKING:
    from typing_extensions import Self

FORMAT = "prunecore.merge"


@dataclass(frozen=True)
class MergeStep:
    """A look at a model with one more block merged.

    Attributes
    ----------
    low, high : int
        The window of blocks that became one.
    similarity : float
        Of the model with it, and with the windows above it; -1 if its hidden states were not
        finite.
    accepted : bool
        Whether that was enough.
    """

    low: int
    high: int
    similarity: float
    accepted: bool

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Reads a step from JSON values."""
        return cls(
            int(record["low"]),
            int(record["high"]),
            float(record["similarity"]),
            bool(record["accepted"]),
        )


@dataclass(frozen=True)
class MergeResult(LoadedResult):
    """What sliding layer merging found: an immutable value. `Model.merge_blocks` makes it.

    Attributes
    ----------
    mask : Mask
        What to keep, with the merges as its edits: `model.edited(mask)` makes the model that it is
        for.
    similarity : float
        Of the merged model.
    threshold : float
        What the similarity of each merge exceeds.
    steps : tuple of MergeStep
        Every look, in order; with `remove`, those of the threshold that was found.
    evaluated : int
        Merged models that were run.
    provenance : dict
        Model, data and options, as JSON values.
    """

    _may_hold_nan = False

    mask: Mask
    similarity: float
    threshold: float
    steps: tuple[MergeStep, ...]
    evaluated: int
    provenance: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def removed(self) -> list[str]:
        """Names of the sublayers that the mask lacks."""
        return self.mask.removed

    def __repr__(self) -> str:
        return (
            f"MergeResult(removed={self.removed}, similarity={self.similarity:.4g}, "
            f"threshold={self.threshold:.4g}, evaluated={self.evaluated})"
        )

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "format": FORMAT,
            "version": 1,
            "n_blocks": self.mask.n_blocks,
            "removed": self.removed,
            "edits": list(self.mask.edits),
            "similarity": self.similarity,
            "threshold": self.threshold,
            "evaluated": self.evaluated,
            "steps": [asdict(step) for step in self.steps],
            "provenance": copy.deepcopy(self.provenance),
        }

    @classmethod
    def from_dict(cls, record: Any) -> Self:
        """Reads a result from what `to_dict` gives.

        Raises
        ------
        FormatError
            It is something else, or contradicts itself.
        UnsupportedError
            It is of another version.
        """
        check_format(record, FORMAT, "result of a merge", "a merge")
        try:
            provenance = dict(record.get("provenance", {}))
            mask = Mask.remove(record["removed"], record["n_blocks"], provenance)
            return cls(
                mask.with_edits(record["edits"]),
                float(record["similarity"]),
                float(record["threshold"]),
                tuple(MergeStep.from_dict(step) for step in record["steps"]),
                int(record["evaluated"]),
                provenance,
            )
        except (Error, *DAMAGE) as error:
            raise FormatError(f"a damaged result of a merge: {reason(error)}") from error
