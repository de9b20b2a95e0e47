# SPDX-License-Identifier: Apache-2.0
"""What scores of all kinds have in common: they say which units go first."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.given import mapped
from prunecore._native.json_files import DAMAGE, LoadedResult, check_format, reason
from prunecore._native.numbers import checked_count
from prunecore.errors import ArgumentError, FormatError
from prunecore.masks.mask import Mask
from prunecore.masks.notations import MOST_BLOCKS

if TYPE_CHECKING:
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel

Values = npt.NDArray[np.float64]


class Ranking(LoadedResult, ABC):
    """The importance of the units of a model, and the masks that follow from it.

    `Scores` and `ShapleyScores` are its kinds.
    """

    FORMAT: ClassVar[str] = "prunecore.scores"
    """What a file of scores says that it is."""

    _n_blocks: int
    _provenance: dict[str, Any]

    def _describe(self, n_blocks: int, provenance: Mapping[str, Any] | None) -> None:
        self._n_blocks = checked_count("n_blocks", n_blocks, 1, MOST_BLOCKS)
        self._provenance = copy.deepcopy(mapped("provenance", provenance))

    @property
    def n_blocks(self) -> int:
        """Number of blocks of the model."""
        return self._n_blocks

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the scores come from. A copy."""
        return copy.deepcopy(self._provenance)

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""

    @property
    @abstractmethod
    def unit_names(self) -> tuple[str, ...]:
        """Names of the units."""

    @abstractmethod
    def chosen_metric(self, metric: str | None) -> str:
        """The metric of that name; None is allowed where there is only one."""

    @abstractmethod
    def removed_granularity(self, only: str | None = None) -> str:
        """What `prune` and `order` remove with this `only`."""

    @abstractmethod
    def order(
        self,
        metric: str | None = None,
        only: Literal["attention", "feed_forward"] | str | None = None,
    ) -> list[str]:
        """Names of the units in the order in which `prune` removes them: the least important first.

        Units of which the mask of these scores lacks a sublayer are left out.
        """

    @abstractmethod
    def prune(
        self,
        n: int,
        metric: str | None = None,
        *,
        only: Literal["attention", "feed_forward"] | str | None = None,
        mask: MaskLike | None = None,
    ) -> Mask:
        """Removes the n least important units; ties go to the lower index."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The scores as JSON values."""

    def check_model(self, model: OpenModel) -> None:
        """Raises `ArgumentError` if the scores belong to a model of another depth."""
        if model.shape.n_blocks != self.n_blocks:
            raise ArgumentError(
                f"the scores are for {self.n_blocks} blocks, "
                f"but the model has {model.shape.n_blocks}"
            )

    def _pruned(
        self,
        keep: npt.NDArray[np.uint8],
        n: int,
        metric: str,
        granularity: str,
        start: MaskLike | None,
    ) -> Mask:
        """The mask that pruning arrived at, which says where it comes from.

        It has the edits of the one that it started from.
        """
        provenance = {
            "method": "one_shot",
            "metric": metric,
            "granularity": granularity,
            "units_removed": int(n),
            "scores": self._provenance,
        }
        return Mask(keep, provenance, start.edits if isinstance(start, Mask) else ())

    @classmethod
    @contextmanager
    def _reading(cls, record: Any) -> Iterator[None]:
        """Checks that a record is one of scores; what fails inside is named as damage to it."""
        check_format(record, cls.FORMAT, "scores", "scores")
        try:
            yield
        except KeyError as error:
            raise FormatError(f"the scores lack the field {error}") from error
        except FormatError:
            raise
        except DAMAGE as error:
            raise FormatError(f"the scores are damaged: {reason(error)}") from error
