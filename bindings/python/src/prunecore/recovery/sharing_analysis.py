# SPDX-License-Identifier: Apache-2.0
"""How well weights could be shared: what `Model.sharing` gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isnan
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.json_files import DAMAGE, LoadedResult, check_format, reason
from prunecore._native.names.units import sublayer_name
from prunecore.errors import ArgumentError, FormatError

FORMAT = "prunecore.sharing_analysis"


@dataclass(frozen=True)
class SharingAnalysis(LoadedResult):
    """For each pair of sublayers and projection: the rank that a delta needs.

    Every field but the last is an array with one entry for each row; rows are in the order of the
    later sublayers, then of the earlier ones, projections and errors.

    Attributes
    ----------
    sublayer, base : array of int
        The later sublayer, and the earlier one whose weights it would share: 2 * block for
        attention, 2 * block + 1 for feed-forward.
    projection : array of str
        "query", "key", "value", "output", "gate", "up", "down"; two with "_" between where one
        tensor holds both.
    outputs, inputs : array of int
        Of the projection.
    error : array of float
        The relative error that was asked for.
    difference : array of float
        |W - base| / |W|, without a delta.
    rank : array of int
        The least with |W - base - delta| / |W| <= error.
    weighted_difference, weighted_rank : array
        The same of outputs, sqrt(E |(W - base - delta) x|^2 / E |W x|^2) over the inputs x in the
        data. NaN and -1 without data.
    bytes_per_rank, bytes_whole : array of int
        Of a delta of rank 1, and of the weight.
    provenance : dict
        Model and data.
    """

    sublayer: npt.NDArray[np.int64]
    base: npt.NDArray[np.int64]
    projection: npt.NDArray[np.str_]
    outputs: npt.NDArray[np.int64]
    inputs: npt.NDArray[np.int64]
    error: npt.NDArray[np.float64]
    difference: npt.NDArray[np.float64]
    rank: npt.NDArray[np.int64]
    weighted_difference: npt.NDArray[np.float64]
    weighted_rank: npt.NDArray[np.int64]
    bytes_per_rank: npt.NDArray[np.int64]
    bytes_whole: npt.NDArray[np.int64]
    provenance: dict[str, Any]

    def __len__(self) -> int:
        return len(self.sublayer)

    @property
    def errors(self) -> list[float]:
        """The errors that were asked for, ascending."""
        return sorted(set(self.error.tolist()))

    @property
    def is_weighted(self) -> bool:
        """Whether there was data."""
        return bool(len(self) and self.weighted_rank.max() >= 0)

    def table(self, error: float | None = None) -> list[dict[str, Any]]:
        """One row for each pair of sublayers: the bytes that sharing would store, fewest first.

        Parameters
        ----------
        error : float, optional
            One of `errors`. Default: the first.

        Returns
        -------
        list of dict
            sublayer, base (names), difference, bytes, bytes_whole, and share = bytes / bytes_whole.
            Bytes are those of the ranks that the error needs; `difference` is the mean over
            projections. With data, both are of outputs.
        """
        asked = self._error(error)
        weighted = self.is_weighted
        ranks = self.weighted_rank if weighted else self.rank
        apart = self.weighted_difference if weighted else self.difference
        rows = []
        pairs = dict.fromkeys(zip(self.sublayer.tolist(), self.base.tolist(), strict=True))
        for later, earlier in pairs:
            own = (self.sublayer == later) & (self.base == earlier) & (self.error == asked)
            stored = int((ranks[own] * self.bytes_per_rank[own]).sum())
            whole = int(self.bytes_whole[own].sum())
            rows.append(
                {
                    "sublayer": sublayer_name(later),
                    "base": sublayer_name(earlier),
                    "difference": float(apart[own].mean()),
                    "bytes": stored,
                    "bytes_whole": whole,
                    "share": stored / whole,
                }
            )
        return sorted(rows, key=lambda row: (row["share"], row["sublayer"], row["base"]))

    def ranks(
        self,
        kind: Literal["attention", "feed_forward"],
        projection: str,
        error: float | None = None,
    ) -> npt.NDArray[np.int64]:
        """Ranks of one projection as a matrix: [later block, earlier block]; -1 = no such pair.

        With data, those that outputs need.
        """
        if kind not in ("attention", "feed_forward"):
            raise ArgumentError(f"kind is {kind!r}, but must be attention or feed_forward")
        odd = int(kind == "feed_forward")
        own = (self.error == self._error(error)) & (self.projection == projection)
        own &= self.sublayer % 2 == odd
        if not own.any():
            known = sorted(set(self.projection[self.sublayer % 2 == odd].tolist()))
            raise ArgumentError(
                f"projection is {projection!r}, but must be one of {', '.join(known)}"
            )
        size = int(self.sublayer.max()) // 2 + 1
        made = np.full((size, size), -1, dtype=np.int64)
        ranks = self.weighted_rank if self.is_weighted else self.rank
        made[self.sublayer[own] // 2, self.base[own] // 2] = ranks[own]
        return made

    def _error(self, error: float | None) -> float:
        if error is None:
            return float(self.error[0]) if len(self) else 0.0
        if error not in self.errors:
            asked = ", ".join(str(each) for each in self.errors)
            raise ArgumentError(f"error is {error}, but ranks are known for {asked}")
        return error

    def to_dict(self) -> dict[str, Any]:
        """All rows and the provenance, for JSON; NaN as null."""
        rows: dict[str, Any] = {
            name: [None if name in _FLOATS and isnan(value) else value for value in column]
            for name, column in ((each, getattr(self, each).tolist()) for each in _COLUMNS)
        }
        return {"format": FORMAT, "version": 1, **rows, "provenance": self.provenance}

    @classmethod
    def from_dict(cls, record: Any) -> SharingAnalysis:
        """Reads an analysis from what `to_dict` gives. Raises `FormatError`, `UnsupportedError`."""
        check_format(record, FORMAT, "analysis of sharing", "an analysis of sharing")
        try:
            columns = {name: _column(name, record[name]) for name in _COLUMNS}
            provenance = dict(record.get("provenance", {}))
        except DAMAGE as error:
            raise FormatError(f"the analysis of sharing is damaged: {reason(error)}") from error
        lengths = sorted({len(column) for column in columns.values()})
        if len(lengths) != 1:
            raise FormatError(
                f"the analysis of sharing is damaged: its columns have {lengths} rows"
            )
        return cls(**columns, provenance=provenance)


_FLOATS = ("error", "difference", "weighted_difference")
_COLUMNS = tuple(each.name for each in fields(SharingAnalysis) if each.name != "provenance")


def _column(name: str, values: Sequence[Any]) -> npt.NDArray[Any]:
    if name == "projection":
        return np.array([str(value) for value in values], dtype=np.str_)
    if name in _FLOATS:
        return np.array([np.nan if value is None else float(value) for value in values])
    return np.array([int(value) for value in values], dtype=np.int64)
