# SPDX-License-Identifier: Apache-2.0
"""Shapley scores as JSON: a file of scores with one section more.

NaN and infinity, which JSON lacks, are null there.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from prunecore._native.json_files import read_json_file
from prunecore._native.names.metrics import parse_granularity
from prunecore.errors import FormatError, UnsupportedError
from prunecore.importance.scores import FORMAT, Scores
from prunecore.shapley.players import GROUPS, granularity_players, grouped_players
from prunecore.shapley.scores import ShapleyScores
from prunecore.shapley.state import GameState, Values

SECTION = "shapley"


def to_record(scores: ShapleyScores) -> dict[str, Any]:
    """The scores as JSON values."""
    section: dict[str, Any] = {
        "standard_errors": _plain(scores.standard_errors),
        "state": scores.state.to_dict(),
        "players": [list(unit) for unit in scores.units],
    }
    if scores.has_interactions:
        section["interactions"] = _plain(scores.interactions())
    if scores.has_strata:
        section["strata"] = _plain(scores.strata())
    return {
        "format": FORMAT,
        "version": 1,
        "n_blocks": scores.n_blocks,
        "granularity": scores.granularity,
        "units": list(scores.unit_names),
        "removed": [],
        "metrics": {scores.metrics[0]: scores.values.tolist()},
        SECTION: section,
        "provenance": scores.provenance,
    }


def from_record(record: Any) -> ShapleyScores:
    """Reads scores from what `to_record` gives: see `ShapleyScores.from_dict`."""
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise FormatError(f'no scores: "format" is not "{FORMAT}"')
    if record.get("version") != 1:
        raise UnsupportedError(
            f"scores of version {record.get('version')}, but this version reads only 1"
        )
    if not isinstance(record.get(SECTION), dict):
        raise FormatError(f'scores without Shapley values: there is no section "{SECTION}"')
    try:
        return _read(record, record[SECTION])
    except KeyError as error:
        raise FormatError(f"the scores lack the field {error}") from error
    except FormatError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"the scores are damaged: {error}") from error


def read_scores(path: str | os.PathLike[str]) -> Scores | ShapleyScores:
    """Reads a file of scores, of whichever kind they are."""

    def parse(record: Any) -> Scores | ShapleyScores:
        with_section = isinstance(record, dict) and SECTION in record
        return from_record(record) if with_section else Scores.from_dict(record)

    return read_json_file(path, parse)


def _plain(array: Values) -> Any:
    """Nested lists, with None for NaN and infinity."""
    if array.ndim > 1:
        return [_plain(row) for row in array]
    return [float(number) if np.isfinite(number) else None for number in array]


def _filled(given: Any, missing: float) -> Values:
    """The array that `_plain` made, with `missing` where it wrote None."""
    array = np.array(given, dtype=np.float64)  # None becomes NaN
    return np.where(np.isnan(array), missing, array)


def _read(record: dict[str, Any], section: dict[str, Any]) -> ShapleyScores:
    n_blocks, granularity = record["n_blocks"], record["granularity"]
    if not isinstance(n_blocks, int) or isinstance(n_blocks, bool) or n_blocks < 1:
        raise FormatError('"n_blocks" is no positive integer')
    if granularity == GROUPS:
        named = dict(zip(record["units"], section["players"], strict=True))
        players = grouped_players(named, n_blocks)
    else:
        players = granularity_players(parse_granularity(granularity), n_blocks)
    (values,) = record["metrics"].values()
    return ShapleyScores(
        values,
        _filled(section["standard_errors"], math.inf),
        players,
        n_blocks,
        GameState.from_dict(section["state"]),
        section.get("interactions"),
        _filled(section["strata"], math.nan) if "strata" in section else None,
        record.get("provenance", {}),
    )
