# SPDX-License-Identifier: Apache-2.0
"""Scores: how much every unit of a model matters."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.draw import draw
from prunecore._native.given import as_array, listed, mapped
from prunecore._native.json_files import whole_number
from prunecore._native.library import _check, ffi, lib
from prunecore._native.names.tables import GRANULARITY, Granularity
from prunecore._native.names.units import parse_only, sublayer_name, unit_count, unit_names
from prunecore._native.numbers import checked_count
from prunecore._native.paths import shown
from prunecore.errors import ArgumentError
from prunecore.importance.ranking import Ranking, Values
from prunecore.masks.mask import Mask, as_keep
from prunecore.masks.notations import MOST_BLOCKS

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from typing_extensions import Self

    from prunecore.masks.mask import MaskLike


class Scores(Ranking):
    """Influence of every unit of a model by one or more metrics; higher = more important.

    An immutable value. `Model.score` makes them; made by hand, they can hold other metrics.

    Parameters
    ----------
    values : mapping of str to array of float
        For each metric one number per unit: shape (2 * n_blocks,) for sublayers, else (n_blocks,).
    granularity : {"sublayer", "block", "attention", "feed_forward"}
        What the units are.
    n_blocks : int
        Blocks of the model.
    mask : Mask or array, optional
        The mask under which they were scored. Default: everything kept.
    provenance : mapping, optional
        Where they come from, as JSON values.
    """

    def __init__(
        self,
        values: Mapping[str, npt.ArrayLike],
        granularity: str,
        n_blocks: int,
        mask: MaskLike | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self._granularity = GRANULARITY.parse(granularity)
        self._describe(n_blocks, provenance)
        keep = as_keep(mask, self._n_blocks)
        self._mask = Mask.all(self._n_blocks) if keep is None else Mask(keep)
        units = unit_count(self._granularity, self._n_blocks)
        self._values: dict[str, Values] = {}
        for name, row in mapped("values", values).items():
            column = as_array(str(name), row, np.float64).copy()
            if column.shape != (units,):
                raise ArgumentError(f"{name} has shape {column.shape}, but there are {units} units")
            column.setflags(write=False)
            self._values[name] = column
        if not self._values:
            raise ArgumentError("there are no scores: no metric is given")

    @property
    def values(self) -> dict[str, Values]:
        """For each metric a read-only array, one number per unit."""
        return dict(self._values)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return tuple(self._values)

    @property
    def granularity(self) -> Granularity:
        """What the units are."""
        return self._granularity

    @property
    def mask(self) -> Mask:
        """The mask under which the units were scored."""
        return self._mask

    @property
    def unit_names(self) -> tuple[str, ...]:
        """Names of the units: "attn.3" and "ffn.3", or "block.3"."""
        return unit_names(self._granularity, self._n_blocks)

    def __getitem__(self, metric: str) -> Values:
        return self._values[self.chosen_metric(metric)]

    def __repr__(self) -> str:
        return (
            f"Scores(metrics={list(self.metrics)}, granularity='{self.granularity}', "
            f"n_blocks={self.n_blocks})"
        )

    def chosen_metric(self, metric: str | None) -> str:
        """The metric of that name; None is allowed where there is only one."""
        if metric is None:
            if len(self._values) == 1:
                return next(iter(self._values))
            raise ArgumentError(f"choose one of the metrics: {', '.join(self._values)}")
        for name in (str(metric), str(metric).replace("-", "_")):
            if name in self._values:
                return name
        raise ArgumentError(
            f"there is no metric {shown(metric)} here, only {', '.join(self._values)}"
        )

    def removed_granularity(self, only: str | None = None) -> Granularity:
        """What `prune` and `order` remove with this `only`: the scores' granularity, or `only`."""
        kind = parse_only(only)
        if kind is None or kind == self._granularity:
            return self._granularity
        if self._granularity != "sublayer":
            raise ArgumentError(
                f"scores of each {self._granularity} say nothing about {kind} alone"
            )
        return kind

    def _selected(self, metric: str | None, only: str | None) -> tuple[str, Granularity, Values]:
        name = self.chosen_metric(metric)
        granularity = self.removed_granularity(only)
        values = self._values[name]
        if granularity != self._granularity:
            values = values[0 if granularity == "attention" else 1 :: 2].copy()
        return name, granularity, values

    def order(
        self,
        metric: str | None = None,
        only: Literal["attention", "feed_forward"] | str | None = None,
    ) -> list[str]:
        """Names of the units in the order in which `prune` removes them: the least important first.

        Units of which the mask of these scores lacks a sublayer are left out.
        """
        _, granularity, values = self._selected(metric, only)
        names = unit_names(granularity, self._n_blocks)
        gone = set(self._mask.removed)
        return [
            names[index]
            for index in np.argsort(values, kind="stable")
            if gone.isdisjoint(_sublayers_of(granularity, int(index)))
        ]

    def prune(
        self,
        n: int,
        metric: str | None = None,
        *,
        only: Literal["attention", "feed_forward"] | str | None = None,
        mask: MaskLike | None = None,
    ) -> Mask:
        """Removes the n least important units; ties go to the lower index.

        Parameters
        ----------
        n : int
            Units to remove, beyond those that `mask` already lacks.
        metric : str, optional
            Which metric decides. May be left out where there is only one.
        only : {"attention", "feed_forward"}, optional
            Remove only this kind, from scores of sublayers. Default: both.
        mask : Mask or array, optional
            Where to start. Default: the mask under which the units were scored.

        Returns
        -------
        Mask
            Its provenance says where it comes from.

        Raises
        ------
        ArgumentError
            There are fewer than n units left, or the metric is unknown.
        NonFiniteError
            A score is NaN or infinite; the text names the unit.
        """
        name, granularity, values = self._selected(metric, only)
        if not 0 <= checked_count("n", n, -(2**63)) <= len(values):
            raise ArgumentError(f"{n} units cannot be removed: there are {len(values)}")
        start = self._mask.keep if mask is None else as_keep(mask, self._n_blocks, None)
        keep = np.array(start, dtype=np.uint8)
        _check(
            lib.prune_mask_remove_lowest(
                ffi.from_buffer("double[]", values),
                len(values),
                GRANULARITY.value(granularity),
                n,
                ffi.from_buffer("uint8_t[]", keep),
                ffi.from_buffer("uint8_t[]", keep),
                len(keep),
            )
        )
        return self._pruned(keep, n, name, granularity, mask)

    def to_dict(self) -> dict[str, Any]:
        """The scores as JSON values."""
        return {
            "format": self.FORMAT,
            "version": 1,
            "n_blocks": self._n_blocks,
            "granularity": self._granularity,
            "units": list(self.unit_names),
            "removed": self._mask.removed,
            "metrics": {name: row.tolist() for name, row in self._values.items()},
            "provenance": self.provenance,
        }

    @classmethod
    def from_dict(cls, record: Any) -> Self:
        """Reads scores from what `to_dict` gives.

        Raises
        ------
        FormatError
            It is something else, or contradicts itself.
        UnsupportedError
            It is of another version.
        """
        with cls._reading(record):
            n_blocks = whole_number(record, "n_blocks", 1, MOST_BLOCKS)
            mask = Mask.remove(record.get("removed", []), n_blocks)
            return cls(
                dict(record["metrics"]),
                record["granularity"],
                n_blocks,
                mask,
                record.get("provenance", {}),
            )

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        kind: Literal["importance", "heat_map"] = "importance",
        metrics: Sequence[str] | None = None,
    ) -> Figure:
        """Draws the scores.

        Parameters
        ----------
        path : path, optional
            Where to save the picture, as its suffix says (.png, .svg, .pdf).
        kind : {"importance", "heat_map"}
            One small panel per metric over depth, or a map of units by metrics.
        metrics : sequence of str, optional
            Which metrics. Default: all.
        """
        if str(kind) not in ("importance", "heat_map"):
            raise ArgumentError(f"kind is {shown(kind)}, but must be importance or heat_map")
        names = (
            self.metrics
            if metrics is None
            else [self.chosen_metric(m) for m in listed("metrics", metrics)]
        )
        if not names:
            raise ArgumentError("there is no metric to draw")
        return draw(kind, self, names, path=path)


def _sublayers_of(granularity: Granularity, unit: int) -> list[str]:
    if granularity == "sublayer":
        return [sublayer_name(unit)]
    if granularity == "block":
        return [sublayer_name(2 * unit), sublayer_name(2 * unit + 1)]
    return [sublayer_name(2 * unit + (granularity == "feed_forward"))]
