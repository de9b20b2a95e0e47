# SPDX-License-Identifier: Apache-2.0
"""The call that diagnoses a model: `Model.diagnose`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from prunecore._native.given import listed
from prunecore._native.library import __version__
from prunecore._native.numbers import checked_positive
from prunecore._native.paths import shown
from prunecore._native.progress import ProgressFunction
from prunecore.diagnosis.diagnosis import PARTS, Diagnosis, Part
from prunecore.diagnosis.removals import Removals, remove_each
from prunecore.diagnosis.stages import Stage
from prunecore.diagnosis.stream import Stream, walk_stream
from prunecore.errors import ArgumentError, UnsupportedError
from prunecore.importance.score import score
from prunecore.importance.statistics import Statistics
from prunecore.masks.mask import Mask

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import Keep, MaskLike
    from prunecore.opened import OpenModel

Values = npt.NDArray[np.float64]
Found = TypeVar("Found")

ANGULAR_BELOW = 0.1
LOSS_BELOW = 0.02

_NOT_ASKED = "not asked for"
_LOSSES_ONLY = "this model gives losses of whole masks only, and no hidden states"
_NO_GRADIENTS = "this model gives no gradients"


def diagnose(
    self: OpenModel,
    data: Data,
    parts: str | Sequence[str] = "all",
    mask: MaskLike | None = None,
    *,
    angular_below: float = ANGULAR_BELOW,
    loss_below: float = LOSS_BELOW,
    tokens: Literal["all", "last"] = "all",
    batch_tokens: int | None = None,
    progress: ProgressFunction | None = None,
) -> Diagnosis:
    """Says what each block still does, and which have become identities (arXiv 2502.05795).

    What the model cannot give is None in the result, with the reason. Definitions, and what each
    part costs: docs/diagnose.md.

    Parameters
    ----------
    data : Data
        What is measured on.
    parts : str or sequence of str
        Any of variance, angular, gradients, removals; "all" is all of them.
    mask : Mask or array, optional
        The mask under which to measure. Default: the model's.
    angular_below : float
        Bound of the verdict: a block that is an identity turns the hidden state by less than this,
        in units of pi.
    loss_below : float
        Bound of the verdict: without a block that is an identity, the loss differs by less than
        this, in nats per predicted token.
    tokens : {"all", "last"}
        The tokens whose angular distances count: all, or the last one of each sequence (arXiv
        2403.17887).
    batch_tokens : int, optional
        Tokens computed together at most.
    progress : callable, optional
        Called as `progress(stage, done, total, seconds)`; a true result stops the call with
        `Cancelled`, an exception stops it and is raised again.

    Raises
    ------
    DataError
        Ids outside the vocabulary, or nothing to predict.
    NonFiniteError
        NaN or infinity was met; the text names the layer.
    UnsupportedError
        The model can give none of the parts.
    """
    wanted = _parsed(parts)
    bounds = (
        checked_positive("angular_below", angular_below),
        checked_positive("loss_below", loss_below),
    )
    keep = _keep(self, mask)
    missing: dict[str, str] = {part: _NOT_ASKED for part in PARTS if part not in wanted}
    shared: dict[str, Any] = {"batch_tokens": batch_tokens, "progress": progress}

    def named(stage: str) -> dict[str, Any]:
        return {"batch_tokens": batch_tokens, "progress": Stage(progress, stage, 1).part(1)}

    statistics: Statistics | None = None
    if "angular" in wanted:
        statistics = _tried(
            missing,
            ("angular",),
            lambda: Statistics(len(keep) // 2, windows=True, tokens=tokens, model=self).collect(
                data, keep, **named("angular distances")
            ),
        )
    stream, taylor = _stream(self, data, keep, wanted, missing, shared)
    removals: Removals | None = None
    if "removals" in wanted:
        removals = _tried(
            missing, ("removals",), lambda: remove_each(self, data, keep, **named("removals"))
        )
    if all(part in missing for part in wanted):
        raise UnsupportedError(f"nothing of this model can be measured: {missing[wanted[0]]}")

    by_sublayers = self.shape.removes_sublayers
    gradients = None if stream is None else stream.gradients
    with_variance = stream is not None and "variance" in wanted
    return Diagnosis(
        n_blocks=len(keep) // 2,
        removed=tuple(Mask(keep).removed),
        angular_below=bounds[0],
        loss_below=bounds[1],
        loss=None if removals is None else removals.loss,
        state_variance=stream.states if stream and with_variance else None,
        token_variance=stream.token_states if stream and with_variance else None,
        update_variance=stream.updates if stream and with_variance else None,
        token_update_variance=stream.token_updates if stream and with_variance else None,
        angular=None if statistics is None else statistics.windows(),
        sublayer_angular=(
            statistics.scores("angular", "sublayer")["angular"]
            if statistics is not None and by_sublayers
            else None
        ),
        gradient_norm=None if gradients is None else gradients.norms,
        gradient_change=None if gradients is None else gradients.changes,
        taylor=taylor,
        loss_increase=None if removals is None else removals.blocks,
        sublayer_loss_increase=None if removals is None else removals.sublayers,
        missing=missing,
        provenance={
            "library": f"prunecore {__version__}",
            "model": self.provenance,
            "data_sha256": data.digest,
            "n_sequences": data.n_sequences,
            "n_tokens": data.n_tokens,
            "tokens": tokens,
            "sublayers_computed": None if removals is None else removals.report.sublayers_computed,
            "sublayers_naive": None if removals is None else removals.report.sublayers_naive,
        },
    )


def _stream(
    model: OpenModel,
    data: Data,
    keep: Keep,
    wanted: Sequence[Part],
    missing: dict[str, str],
    shared: dict[str, Any],
) -> tuple[Stream | None, Values | None]:
    """What is measured on the residual stream, and taylor, which belongs to the gradients."""
    asked = tuple(part for part in ("variance", "gradients") if part in wanted)
    if asked and not model.shape.runs_sublayers:
        missing |= dict.fromkeys(asked, _LOSSES_ONLY)
        return None, None
    if "gradients" in asked:
        stream = None
        if model.shape.has_gradients:
            stream = _tried(
                missing,
                ("gradients",),
                lambda: walk_stream(model, data, keep, with_gradients=True, **shared),
            )
        else:
            missing["gradients"] = _NO_GRADIENTS
        if stream is not None:
            scores = _tried(
                missing, ("taylor",), lambda: score(model, data, "taylor", "block", keep, **shared)
            )
            return stream, None if scores is None else scores["taylor"].copy()
    if "variance" not in asked:
        return None, None
    stream = _tried(
        missing,
        ("variance",),
        lambda: walk_stream(model, data, keep, with_gradients=False, **shared),
    )
    return stream, None


def _tried(
    missing: dict[str, str], names: Sequence[str], call: Callable[[], Found]
) -> Found | None:
    """What a call gives; where the model does not support it, None, and why."""
    try:
        return call()
    except UnsupportedError as error:
        missing |= dict.fromkeys(names, str(error))
        return None


def _keep(model: OpenModel, mask: MaskLike | None) -> Keep:
    """The mask as the model takes it."""
    keep = model._keep(mask)
    return model.present(model.mask if keep is None else Mask(keep)).keep.copy()


def _parsed(parts: str | Sequence[str]) -> tuple[Part, ...]:
    names = parts.split(",") if isinstance(parts, str) else [str(n) for n in listed("parts", parts)]
    names = [name.strip() for name in names]
    if names == ["all"]:
        return PARTS
    for name in names:
        if name not in PARTS:
            raise ArgumentError(
                f"there is no part {shown(name)} of a diagnosis: give {', '.join(PARTS)} or all"
            )
    if not names:
        raise ArgumentError("parts is empty: there is nothing to measure")
    return tuple(part for part in PARTS if part in names)
