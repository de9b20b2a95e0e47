# SPDX-License-Identifier: Apache-2.0
"""Where a search stands, and the way it came there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from prunecore._native.names.tables import STRATEGY
from prunecore._native.names.units import sublayer_name
from prunecore.masks.mask import Keep, Mask

_KINDS = {"bool": bool, "int": int, "float": float, "str": str}


@dataclass(frozen=True)
class SearchState:
    """Where a search stands.

    Attributes
    ----------
    strategy : str
        The one in use, never "default".
    done : bool
        Whether nothing more will be asked for.
    met : bool
        Whether the mask meets the budget.
    n_blocks : int
        Blocks of the model that it is about.
    asked, told : int
        Masks asked for; damages told.
    removed : int
        Units that the mask removes, beyond those that the start lacks.
    steps : int
        Entries of the path.
    start_damage : float
        Of the start; NaN while it was not told. "one_shot", "tail" and "random" ask for it only if
        a bound needs it.
    damage : float
        Of the mask, on all data; NaN while it was not told.
    sublayers_computed, sublayers_naive : int
        Of searches that `Model.search` ran: sublayers applied, and those that it would have taken
        mask by mask.
    """

    strategy: str
    done: bool
    met: bool
    n_blocks: int
    asked: int
    told: int
    removed: int
    steps: int
    start_damage: float
    damage: float
    sublayers_computed: int
    sublayers_naive: int

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON; None for NaN, which JSON lacks."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, record: Any) -> SearchState:
        """Reads what `to_dict` gives. KeyError and TypeError say what is wrong."""
        found = {field.name: _filled(field.type, record[field.name]) for field in fields(cls)}
        for field in fields(cls):
            if not isinstance(found[field.name], _KINDS[str(field.type)]):
                raise TypeError(f"{field.name} is {found[field.name]!r}, but must be {field.type}")
        return cls(**found)


@dataclass(frozen=True)
class SearchStep:
    """A step on the way of a search.

    Attributes
    ----------
    mask : Mask
        What is kept after it.
    unit : str or None
        What it removed: "attn.3", "ffn.3", or "block.3" for both. None at the start, and where
        several changed at once, as by "evolutionary" and "window".
    n_removed : int
        Units that are removed after it, beyond those that the start lacks.
    damage : float
        After it; NaN if it was not told.
    parameters, parameter_bytes, kv_bytes : int
        What is left.
    told : int
        Damages told until then.
    """

    mask: Mask
    unit: str | None
    n_removed: int
    damage: float
    parameters: int
    parameter_bytes: int
    kv_bytes: int
    told: int

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON: the names of what is removed for the mask, None for NaN."""
        found = {field.name: _plain(getattr(self, field.name)) for field in fields(self)[1:]}
        return {"removed": self.mask.removed, **found}

    @classmethod
    def from_dict(cls, record: Any, n_blocks: int) -> SearchStep:
        """Reads what `to_dict` gives. KeyError and TypeError say what is wrong."""
        unit = record["unit"]
        return cls(
            mask=Mask.remove(record["removed"], n_blocks),
            unit=None if unit is None else str(unit),
            n_removed=int(record["n_removed"]),
            damage=float(_filled("float", record["damage"])),
            parameters=int(record["parameters"]),
            parameter_bytes=int(record["parameter_bytes"]),
            kv_bytes=int(record["kv_bytes"]),
            told=int(record["told"]),
        )


def read_state(state: Any) -> SearchState:
    """The state that a C struct holds."""
    return SearchState(
        strategy=STRATEGY.name(state.strategy),
        done=bool(state.done),
        met=bool(state.met),
        n_blocks=state.n_blocks,
        asked=state.asked,
        told=state.told,
        removed=state.removed,
        steps=state.steps,
        start_damage=state.start_damage,
        damage=state.damage,
        sublayers_computed=state.sublayers_computed,
        sublayers_naive=state.sublayers_naive,
    )


def read_steps(steps: Sequence[Any], keeps: Keep) -> tuple[SearchStep, ...]:
    """The steps that an array of C structs holds, with the masks after them."""
    found: list[SearchStep] = []
    for index, step in enumerate(steps):
        found.append(
            SearchStep(
                mask=Mask(keeps[index]),
                unit=None if step.unit < 0 or index == 0 else _gone(keeps[index - 1], keeps[index]),
                n_removed=step.removed,
                damage=step.damage,
                parameters=step.parameters,
                parameter_bytes=step.parameter_bytes,
                kv_bytes=step.kv_bytes,
                told=step.told,
            )
        )
    return tuple(found)


def _gone(before: Keep, after: Keep) -> str | None:
    """What one step removed, by the masks on both sides of it.

    The number of a unit would not tell by itself: its granularity is not part of a saved search.
    """
    gone = [int(index) for index in np.flatnonzero(before > after)]
    if len(gone) == 1:
        return sublayer_name(gone[0])
    return f"block.{gone[0] // 2}" if len(gone) == 2 else None


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _filled(kind: Any, value: Any) -> Any:
    """A number where JSON has null or a whole number for one that is real."""
    if str(kind) != "float" or isinstance(value, bool):
        return value
    return math.nan if value is None else float(value)
