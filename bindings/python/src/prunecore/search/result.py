# SPDX-License-Identifier: Apache-2.0
"""What a search of a model found."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prunecore._native.draw import draw
from prunecore._native.json_files import DAMAGE, LoadedResult, check_format, reason
from prunecore.errors import FormatError
from prunecore.masks.mask import Mask
from prunecore.search.state import SearchState, SearchStep

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from typing_extensions import Self

FORMAT = "prunecore.search"


@dataclass(frozen=True)
class SearchResult(LoadedResult):
    """What a search of a model found: an immutable value. `Model.search` makes it.

    Attributes
    ----------
    mask : Mask
        What to keep; its provenance says how it was found. `mask.save` writes it alone.
    path : tuple of SearchStep
        The way to it: the start, then each removal, or each generation's parent.
    state : SearchState
        Where the search stood: its damage, and what it took.
    provenance : dict
        Model, data, strategy, budget and options, as JSON values.
    """

    _may_hold_nan = False

    mask: Mask
    path: tuple[SearchStep, ...]
    state: SearchState
    provenance: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def removed(self) -> list[str]:
        """Names of the sublayers that the mask lacks."""
        return self.mask.removed

    @property
    def damage(self) -> float:
        """Of the mask, on the data of the search; NaN if no strategy or bound asked for it."""
        return self.state.damage

    def __repr__(self) -> str:
        return (
            f"SearchResult('{self.state.strategy}', removed={self.removed}, "
            f"damage={self.damage:.4g}, told={self.state.told})"
        )

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values; NaN, which JSON lacks, is None."""
        return {
            "format": FORMAT,
            "version": 1,
            "n_blocks": self.mask.n_blocks,
            "removed": self.removed,
            **({"edits": list(self.mask.edits)} if self.mask.edits else {}),
            "state": self.state.to_dict(),
            "path": [step.to_dict() for step in self.path],
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
        check_format(record, FORMAT, "result of a search", "a search")
        try:
            n_blocks = record["n_blocks"]
            provenance = dict(record.get("provenance", {}))
            return cls(
                Mask.remove(record["removed"], n_blocks, provenance).with_edits(
                    record.get("edits", ())
                ),
                tuple(SearchStep.from_dict(step, n_blocks) for step in record["path"]),
                SearchState.from_dict(record["state"]),
                provenance,
            )
        except DAMAGE as error:
            raise FormatError(f"a damaged result of a search: {reason(error)}") from error

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draws the damage along the path, and what is left of parameters and key-value cache.

        Parameters
        ----------
        path : path, optional
            Where to save the picture, as its suffix says (.png, .svg, .pdf).
        """
        return draw("search_path", self, path=path)
