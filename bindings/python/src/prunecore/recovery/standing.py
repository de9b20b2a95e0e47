# SPDX-License-Identifier: Apache-2.0
"""What stands in a model: its adapters, and the sublayers that are run besides them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prunecore._native.handle import Handle
from prunecore._native.library import ffi, lib
from prunecore.masks.mask import Mask, keep_pointer
from prunecore.recovery.adapters import Adapters

if TYPE_CHECKING:
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel


def standing_adapters(model: OpenModel, mask: MaskLike | None = None) -> Adapters:
    """A copy of the adapters of a model that a mask keeps; None = the model's mask.

    Their own mask is that of the sublayers that are run besides them. There may be none.
    """
    pointer, count = keep_pointer(model._keep(mask))
    return Adapters(lambda out: int(lib.prune_model_adapters(model.handle, pointer, count, out)))


def composition(
    model: OpenModel, mask: MaskLike | None, adapters: Adapters | None
) -> tuple[Mask, Adapters | None]:
    """What an export of a model holds: the sublayers that are run, and all adapters.

    Parameters
    ----------
    mask : Mask or array, or None
        What is removed; None = what the adapters stand in for, or else the model's mask.
    adapters : Adapters or None
        Of that mask, besides those that the model has.

    Raises
    ------
    ArgumentError
        The adapters are of another mask or model.
    """
    if adapters is None:
        found = standing_adapters(model, mask)
        return _named(model, found.mask, mask), found if len(found) else None
    if mask is not None:
        adapters.check_mask(mask, model)
    recovered = Handle(
        "model",
        "prune_model",
        lambda out: int(lib.prune_model_attach(model.handle, adapters.handle, out)),
        lib.prune_model_release,
    )
    found = Adapters(lambda out: int(lib.prune_model_adapters(recovered.pointer, ffi.NULL, 0, out)))
    recovered.close()
    own = found.mask
    # What they are is known by what was given, where the model adds none.
    return _named(model, own, mask), adapters if len(found) == len(
        adapters
    ) and own == adapters.mask else found


def _named(model: OpenModel, own: Mask, given: MaskLike | None) -> Mask:
    """The mask, with what the given one says of where it comes from if they are the same."""
    own = own.with_edits(model.edits)
    if isinstance(given, Mask) and np.array_equal(given.keep, own.keep):
        return Mask(own.keep, given.provenance, own.edits)
    return own
