# SPDX-License-Identifier: Apache-2.0
"""The search study: what each strategy finds at the same number of removals, and what it takes."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunecore._json_files import read_json_file
from prunecore.errors import ArgumentError, FormatError, UnsupportedError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = "prunecore.search_study"
EXHAUSTIVE = "exhaustive"
"""The name of the best of all subsets among the methods."""


@dataclass(frozen=True)
class SearchPoint:
    """What one strategy found at one number of removals.

    Attributes
    ----------
    granularity : str
        What was removed: "block", "sublayer", "attention" or "feed_forward".
    n_removed : int
        How many of these.
    method : str
        The name of a `SearchMethod`; "exhaustive" for the best of all subsets.
    removed : tuple of str
        Names of the removed sublayers; with several seeds, those of the first.
    damage : float
        The loss on the data of the search, a mean over the seeds, as all that follow.
    loss : float
        On held-out text.
    masks : float
        Whose damage was told.
    sublayers : float
        Evaluations of sublayers that it took, scoring included; one on all the data counts 1, one
        on a part of it that part.
    sublayers_naive : float
        What they would have been mask by mask.
    seconds : float
        That it took.
    """

    granularity: str
    n_removed: int
    method: str
    removed: tuple[str, ...]
    damage: float
    loss: float
    masks: float
    sublayers: float
    sublayers_naive: float
    seconds: float


@dataclass(frozen=True)
class SearchStudy:
    """What each strategy finds.

    Attributes
    ----------
    damage, loss : float
        Of the full model, on the data of the searches and on the held-out text.
    points : tuple of SearchPoint
        By granularity, number removed and method, "exhaustive" first where it is known.
    provenance : dict
        Model, data and options, as JSON values.
    """

    damage: float
    loss: float
    points: tuple[SearchPoint, ...]
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """The methods, "exhaustive" first if there is one."""
        names = list(dict.fromkeys(point.method for point in self.points))
        return sorted(names, key=lambda name: name != EXHAUSTIVE)

    @property
    def removals(self) -> list[tuple[str, int]]:
        """What was removed, in order: granularity and number."""
        return list(dict.fromkeys((point.granularity, point.n_removed) for point in self.points))

    def at(self, granularity: str, n_removed: int, method: str) -> SearchPoint:
        """The point of a removal and a method."""
        for point in self.points:
            if (point.granularity, point.n_removed, point.method) == (
                granularity,
                n_removed,
                method,
            ):
                return point
        raise ArgumentError(f"the study has no {method} with {n_removed} of {granularity} removed")

    def above_best(self, granularity: str, n_removed: int, method: str) -> float:
        """How far the damage is above that of the best subset of all; NaN where that is unknown."""
        if not any(
            (point.granularity, point.n_removed, point.method)
            == (granularity, n_removed, EXHAUSTIVE)
            for point in self.points
        ):
            return math.nan
        best = self.at(granularity, n_removed, EXHAUSTIVE)
        return self.at(granularity, n_removed, method).damage - best.damage

    def to_dict(self) -> dict[str, Any]:
        """The study as JSON values."""
        return {
            "format": FORMAT,
            "version": 1,
            "damage": self.damage,
            "loss": self.loss,
            "points": [{**asdict(point), "removed": list(point.removed)} for point in self.points],
            "provenance": self.provenance,
        }

    @classmethod
    def from_dict(cls, record: Any) -> SearchStudy:
        """Reads a study from what `to_dict` gives."""
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise FormatError(f'no search study: "format" is not "{FORMAT}"')
        if record.get("version") != 1:
            raise UnsupportedError(
                f"a search study of version {record.get('version')}, but this version reads 1"
            )
        try:
            points = tuple(
                SearchPoint(**{**point, "removed": tuple(point["removed"])})
                for point in record["points"]
            )
            losses = float(record["damage"]), float(record["loss"])
            return cls(*losses, points, dict(record.get("provenance", {})))
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"a damaged search study: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the study as JSON to a file."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SearchStudy:
        """Reads a study from a file that `save` wrote."""
        return read_json_file(path, cls.from_dict)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draws held-out losses and costs; saved where a path is given."""
        from prunecore.plots import save_figure, search_losses

        figure = search_losses(self)
        if path is not None:
            save_figure(figure, path)
        return figure
