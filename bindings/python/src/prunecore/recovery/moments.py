# SPDX-License-Identifier: Apache-2.0
"""Moments: what the closed form learns from, so that data can come in parts and be merged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from prunecore._native.handle import Handle, Owner
from prunecore._native.library import _check, ffi, lib
from prunecore._native.names.tables import Input, Kind, Slot
from prunecore._native.progress import ProgressFunction, Watch
from prunecore.masks.mask import keep_pointer
from prunecore.measures.options import evaluate_options
from prunecore.recovery.adapters import Adapters
from prunecore.recovery.options import RecoverOptions

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel


class Moments(Owner):
    """Means and covariances of the inputs and updates of removed sublayers, as running sums.

    Over the full model's stream, in double. Parts of the data, gathered apart and merged, give
    what the whole gives, up to rounding.

    Parameters
    ----------
    model : Model
        Whose sublayers are measured.
    mask : Mask or array, optional
        What is removed. Default: the model's mask.
    kind : {"low_rank", "bias", "linear"}
        Of the adapters to solve for; "bias" keeps no covariances, and can become nothing else.
    input : {"normed", "raw"}
        What their matrices are applied to.
    block_slot : {"attention", "feed_forward", "both"}
        Where the adapter of a block that is removed whole stands.

    Raises
    ------
    ArgumentError
        The mask removes nothing.
    """

    def __init__(
        self,
        model: OpenModel,
        mask: MaskLike | None = None,
        *,
        kind: Kind = "low_rank",
        input: Input = "normed",
        block_slot: Slot = "attention",
    ) -> None:
        pointer, n_keep = keep_pointer(model._keep(mask))
        options = RecoverOptions(kind=kind, input=input, block_slot=block_slot).struct()
        self._kind: Kind = kind
        self._model = model
        self._digests: list[str] = []
        self._handle = Handle(
            "moments",
            "prune_moments",
            lambda out: int(lib.prune_moments_create(model.handle, pointer, n_keep, options, out)),
            lib.prune_moments_release,
        )

    def collect(
        self,
        data: Data,
        *,
        batch_tokens: int | None = None,
        progress: ProgressFunction | None = None,
    ) -> Moments:
        """Adds all tokens of a data set by one forward pass; on failure nothing is added.

        Returns these moments, so that calls can be chained.
        """
        watch = Watch(progress)
        options = evaluate_options(batch_tokens, watch)
        watch.check(
            lib.prune_moments_collect(self.handle, self._model.handle, data.handle, options)
        )
        self._digests.append(data.digest)
        return self

    def merge(self, other: Moments) -> Moments:
        """Adds `other`, of the same mask and options, to these. Returns these."""
        _check(lib.prune_moments_merge(self.handle, other.handle))
        self._digests.extend(other._digests)
        return self

    def solve(
        self,
        held_out: Moments | None = None,
        *,
        kind: Kind | None = None,
        rank: int | Literal["auto"] | None = None,
        ridge: float | None = None,
    ) -> Adapters:
        """Adapters in closed form, from what was gathered so far.

        Parameters
        ----------
        held_out : Moments, optional
            Of other data, to choose ridge and rank by. Without them the ridge is 1e-3 unless it is
            given, and the rank must be.
        kind : {"low_rank", "bias", "linear"}, optional
            Default: that of these moments.
        rank, ridge
            As for `Model.recover`.

        Raises
        ------
        DataError
            Nothing was gathered.
        """
        chosen = self._kind if kind is None else kind
        options = RecoverOptions(kind=chosen, rank=rank, ridge=ridge).struct()
        other = ffi.NULL if held_out is None else held_out.handle
        provenance = {"model": self._model.provenance, "data_sha256": list(self._digests)}
        return Adapters(
            lambda out: int(lib.prune_moments_solve(self.handle, other, options, out)), provenance
        )

    def __repr__(self) -> str:
        return f"Moments(kind={self._kind!r}, data_sets={len(self._digests)})"
