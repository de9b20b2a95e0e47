# SPDX-License-Identifier: Apache-2.0
"""A diagnosis of a model: what each block still does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.draw import draw
from prunecore._native.json_files import (
    DAMAGE,
    LoadedResult,
    check_format,
    reason,
    whole_number,
)
from prunecore._native.names.units import unit_names
from prunecore._native.numbers import checked_positive
from prunecore._native.paths import shown
from prunecore.diagnosis.verdict import Verdict, judge
from prunecore.errors import ArgumentError, FormatError
from prunecore.masks.mask import Mask
from prunecore.masks.notations import MOST_BLOCKS

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from typing_extensions import Self

Values = npt.NDArray[np.float64]
Part = Literal["variance", "angular", "gradients", "removals"]

PARTS: tuple[Part, ...] = ("variance", "angular", "gradients", "removals")
"""What a diagnosis consists of; each has a picture."""

_SHAPES: Mapping[str, tuple[tuple[int, int], ...]] = {
    "state_variance": ((2, 1),),
    "token_variance": ((2, 1),),
    "update_variance": ((2, 0),),
    "token_update_variance": ((2, 0),),
    "angular": ((1, 0), (1, 0)),
    "sublayer_angular": ((2, 0),),
    "gradient_norm": ((1, 1),),
    "gradient_change": ((1, 0),),
    "taylor": ((1, 0),),
    "loss_increase": ((1, 0),),
    "sublayer_loss_increase": ((2, 0),),
}
"""Each axis of each array: so many times n_blocks, and so many more."""


@dataclass(frozen=True, eq=False)
class Diagnosis(LoadedResult):
    """What each block of a model still does. `Model.diagnose` makes it.

    B blocks. An array is None where it was not asked for or the model cannot give it; `missing`
    says why. An entry is NaN where the model has no such place. Definitions: docs/diagnose.md.

    Attributes
    ----------
    n_blocks : int
        B.
    removed : tuple of str
        Sublayers that the mask lacks.
    angular_below, loss_below : float
        The bounds of `verdict`.
    loss : float or None
        Of the model under the mask, nats per predicted token.
    state_variance : array or None, shape (2 * B + 1,)
        Variance of the hidden state before each sublayer, and after the last, over all tokens and
        channels.
    token_variance : array or None, shape (2 * B + 1,)
        The same over the channels of one token: the median of the tokens.
    update_variance, token_update_variance : array or None, shape (2 * B,)
        The same two of the update of each sublayer: the state after it - the state before it.
    angular : array or None, shape (B, B)
        Row n-1, column i: angular distance of the states before block i and after block i+n-1, in
        units of pi; NaN where i+n > B.
    sublayer_angular : array or None, shape (2 * B,)
        Of the states before and after each sublayer.
    gradient_norm : array or None, shape (B + 1,)
        Root mean square over tokens of the norm of d(sum of losses) / d(state of the token), before
        each block and after the last.
    gradient_change : array or None, shape (B,)
        Norm of (the gradient before a block - the one after it) over the norm of the latter: 0 = it
        passes the block unchanged.
    taylor : array or None, shape (B,)
        Sum of abs(weight * gradient of the loss) over the weights of each block.
    loss_increase : array or None, shape (B,)
        Loss without the block - loss with it, nats per predicted token.
    sublayer_loss_increase : array or None, shape (2 * B,)
        The same of each sublayer.
    missing : dict of str to str
        Why arrays are None: by name of the part, or of the array.
    provenance : dict
        Model, data, and what it took.
    """

    n_blocks: int
    removed: tuple[str, ...]
    angular_below: float
    loss_below: float
    loss: float | None
    state_variance: Values | None
    token_variance: Values | None
    update_variance: Values | None
    token_update_variance: Values | None
    angular: Values | None
    sublayer_angular: Values | None
    gradient_norm: Values | None
    gradient_change: Values | None
    taylor: Values | None
    loss_increase: Values | None
    sublayer_loss_increase: Values | None
    missing: dict[str, str]
    provenance: dict[str, Any]

    _may_hold_nan = False

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that there are, and so the pictures."""
        found = {
            "variance": self.state_variance,
            "angular": self.angular,
            "gradients": self.gradient_norm,
            "removals": self.loss_increase,
        }
        return tuple(part for part in PARTS if found[part] is not None)

    def verdict(
        self,
        granularity: Literal["block", "sublayer"] = "block",
        *,
        angular_below: float | None = None,
        loss_below: float | None = None,
    ) -> Verdict:
        """Which units have become identities.

        A unit is one if its angular distance (n = 1) is below a bound, and if the loss without it
        differs by less than another. A rule whose numbers were not measured is left out.

        Parameters
        ----------
        granularity : {"block", "sublayer"}
            What the units are.
        angular_below : float, optional
            In units of pi. Default: that of this diagnosis.
        loss_below : float, optional
            In nats per predicted token. Default: that of this diagnosis.
        """
        if granularity not in ("block", "sublayer"):
            raise ArgumentError(
                f"granularity is {shown(granularity)}, but must be block or sublayer"
            )
        keep = Mask.remove(self.removed, self.n_blocks).keep
        if granularity == "block":
            gone = ~keep.reshape(-1, 2).any(axis=1)
            found = None if self.angular is None else self.angular[0], self.loss_increase
        else:
            gone = keep == 0
            found = self.sublayer_angular, self.sublayer_loss_increase
        # What is not there turns nothing, and is no identity for that.
        distances, increases = (
            None if values is None else np.where(gone, np.nan, values) for values in found
        )
        return judge(
            granularity,
            unit_names(granularity, self.n_blocks),
            distances,
            increases,
            angular=_bound("angular_below", angular_below, self.angular_below),
            loss_increase=_bound("loss_below", loss_below, self.loss_below),
        )

    @property
    def identities(self) -> tuple[str, ...]:
        """Names of the blocks that have become identities, by the bounds of this diagnosis."""
        return self.verdict().units

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON values; None stands for NaN, too."""
        verdicts = self.verdict(), self.verdict("sublayer")
        return {
            "format": "prunecore.diagnosis",
            "version": 1,
            "n_blocks": self.n_blocks,
            "removed": list(self.removed),
            "angular_below": self.angular_below,
            "loss_below": self.loss_below,
            "verdict": {found.granularity: found.to_dict() for found in verdicts},
            "loss": self.loss,
            **{name: _listed(getattr(self, name)) for name in _SHAPES},
            "missing": self.missing,
            "provenance": self.provenance,
        }

    @classmethod
    def from_dict(cls, record: Any) -> Self:
        """Reads a diagnosis from what `to_dict` gives; the verdict is made anew."""
        check_format(record, "prunecore.diagnosis", "diagnosis", "a diagnosis")
        try:
            n_blocks = whole_number(record, "n_blocks", 1, MOST_BLOCKS)
            removed = Mask.remove(record["removed"], n_blocks).removed
            loss = record["loss"]
            return cls(
                n_blocks=n_blocks,
                removed=tuple(removed),
                angular_below=checked_positive("angular_below", record["angular_below"]),
                loss_below=checked_positive("loss_below", record["loss_below"]),
                loss=None if loss is None else float(loss),
                missing={str(name): str(why) for name, why in dict(record["missing"]).items()},
                provenance=dict(record["provenance"]),
                **{name: _array(record, name, n_blocks) for name in _SHAPES},
            )
        except (*DAMAGE, ArgumentError) as error:
            raise FormatError(f"a damaged diagnosis: {reason(error)}") from error

    def plot(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        kind: Part = "angular",
    ) -> Figure:
        """Draws a part of the diagnosis.

        Parameters
        ----------
        path : path, optional
            Where to save the picture, as its suffix says (.png, .svg, .pdf).
        kind : {"variance", "angular", "gradients", "removals"}
            Variances by depth; angular distances of all windows of blocks, as a map; gradients by
            block; the loss without each unit.

        Raises
        ------
        ArgumentError
            The part was not measured.
        """
        if kind not in PARTS:
            raise ArgumentError(f"kind is {shown(kind)}, but must be one of {', '.join(PARTS)}")
        if kind not in self.parts:
            raise ArgumentError(f"there is no {kind} to draw: {self.missing.get(kind, 'unknown')}")
        return draw(f"diagnosed_{kind}", self, path=path)


def _bound(name: str, given: float | None, own: float) -> float:
    return own if given is None else checked_positive(name, given)


def _listed(values: Values | None) -> Any:
    """An array as lists, with None for NaN."""
    if values is None:
        return None
    made = values.astype(object)
    made[np.isnan(values)] = None
    return made.tolist()


def _array(record: Mapping[str, Any], name: str, n_blocks: int) -> Values | None:
    if record[name] is None:
        return None
    values = np.array(record[name], dtype=np.float64)  # None becomes NaN
    shape = tuple(times * n_blocks + more for times, more in _SHAPES[name])
    if values.shape != shape:
        raise FormatError(f'"{name}" has the shape {values.shape}, but must have {shape}')
    return values
