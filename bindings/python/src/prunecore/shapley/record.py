# SPDX-License-Identifier: Apache-2.0
"""Shapley scores as JSON: a file of scores with one section more.

NaN and infinity, which JSON lacks, are null there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from prunecore._native.json_files import whole_number
from prunecore._native.names.tables import GRANULARITY
from prunecore.errors import FormatError
from prunecore.masks.mask import Mask
from prunecore.masks.notations import MOST_BLOCKS
from prunecore.shapley.players import GROUPS, granularity_players, grouped_players
from prunecore.shapley.state import GameState, Values

SECTION = "shapley"


def read_fields(record: dict[str, Any]) -> dict[str, Any]:
    """What `ShapleyScores` are made of, from what `ShapleyScores.to_dict` gives.

    Raises
    ------
    FormatError
        The record holds other scores. Damage shows as errors of other kinds.
    """
    section = record.get(SECTION)
    if not isinstance(section, dict):
        raise FormatError(f'scores without Shapley values: there is no section "{SECTION}"')
    n_blocks, granularity = whole_number(record, "n_blocks", 1, MOST_BLOCKS), record["granularity"]
    if granularity == GROUPS:
        named = dict(zip(record["units"], section["players"], strict=True))
        players = grouped_players(named, n_blocks)
    else:
        players = granularity_players(GRANULARITY.parse(granularity), n_blocks)
    (values,) = record["metrics"].values()
    return {
        "values": values,
        "standard_errors": _filled(section["standard_errors"], math.inf),
        "players": players,
        "n_blocks": n_blocks,
        "state": GameState.from_dict(section["state"]),
        "interactions": section.get("interactions"),
        "strata": _filled(section["strata"], math.nan) if "strata" in section else None,
        "mask": Mask.remove(record.get("removed", []), n_blocks),
        "provenance": record.get("provenance", {}),
    }


def plain(array: Values) -> Any:
    """Nested lists, with None for NaN and infinity."""
    if array.ndim > 1:
        return [plain(row) for row in array]
    return [float(number) if np.isfinite(number) else None for number in array]


def _filled(given: Any, missing: float) -> Values:
    """The array that `plain` made, with `missing` where it wrote None."""
    array = np.array(given, dtype=np.float64)  # None becomes NaN
    return np.where(np.isnan(array), missing, array)
