# SPDX-License-Identifier: Apache-2.0
"""Gradients: through one sublayer, of an objective by hidden states, and by adapters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prunecore._native.given import as_array
from prunecore._native.library import ffi, lib
from prunecore._native.names.tables import OBJECTIVE, TrainedObjective
from prunecore._native.progress import ProgressFunction, Watch
from prunecore.errors import ArgumentError
from prunecore.masks.mask import keep_pointer, sublayer_index
from prunecore.measures.options import evaluate_options

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.measures.adapters_like import AdaptersLike
    from prunecore.opened import OpenModel

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class StateGradient:
    """The gradient of an objective with respect to hidden states.

    Attributes
    ----------
    values : array of float32, shape (n_tokens, hidden_size)
        The gradient.
    loss : float
        The objective: the weighted mean over predicting tokens.
    """

    values: Array
    loss: float


@dataclass(frozen=True)
class AdapterGradient:
    """The gradient of an objective with respect to one adapter.

    Attributes
    ----------
    parts : dict of str to array of float32
        By array of the adapter, shaped like it: bias, and down and up, or matrix.
    loss : float
        The objective: the weighted mean over predicting tokens.
    """

    parts: dict[str, Array]
    loss: float


def vjp(
    self: OpenModel,
    data: Data,
    sublayer: int | str,
    states: npt.ArrayLike,
    gradients: npt.ArrayLike,
    *,
    batch_tokens: int | None = None,
    progress: ProgressFunction | None = None,
) -> Array:
    """Pulls a gradient back through one sublayer, the residual path included.

    A vector-Jacobian product.

    Parameters
    ----------
    data : Data
        Its sequences say which tokens belong together.
    sublayer : int or str
        Such as 6, or "attn.3".
    states : array, shape (n_tokens, hidden_size)
        Hidden states before the sublayer.
    gradients : array, shape (n_tokens, hidden_size)
        Gradient of any scalar with respect to the states after it.

    Returns
    -------
    array of float32, shape (n_tokens, hidden_size)
        Gradient of that scalar with respect to the states before it.
    """
    index = sublayer_index(sublayer, self.shape.n_blocks)
    shape = (data.n_tokens, self.shape.hidden_size)
    rows = [_rows("states", states, shape), _rows("gradients", gradients, shape)]
    result = np.empty(shape, dtype=np.float32)
    watch = Watch(progress)
    options = evaluate_options(batch_tokens, watch)
    before, after = (ffi.from_buffer("float[]", row) for row in rows)
    out = ffi.from_buffer("float[]", result)
    watch.check(
        lib.prune_model_vjp(
            self.handle, data.handle, index, before, after, result.size, options, out
        )
    )
    return result


def gradient(
    self: OpenModel,
    data: Data,
    objective: TrainedObjective = "ce",
    sublayer: int | str = 0,
    mask: MaskLike | None = None,
    *,
    batch_tokens: int | None = None,
    progress: ProgressFunction | None = None,
) -> StateGradient:
    """The gradient of an objective with respect to the hidden states before a sublayer.

    Parameters
    ----------
    data : Data
        Where the objective is measured.
    objective : {"ce", "kl", "js"}
        The latter two compare with the model when it keeps everything.
    sublayer : int or str
        0 .. 2 * n_blocks, the last = after all of them; or a name, such as "attn.3".
    mask : Mask or array, optional
        Default: the model's mask.
    """
    index = sublayer_index(sublayer, self.shape.n_blocks, after=True)
    value = OBJECTIVE.value(objective)
    pointer, n_keep = keep_pointer(self._keep(mask))
    result = np.empty((data.n_tokens, self.shape.hidden_size), dtype=np.float32)
    out, loss = ffi.from_buffer("float[]", result), ffi.new("double *")
    watch = Watch(progress)
    options = evaluate_options(batch_tokens, watch)
    arguments = [self.handle, data.handle, pointer, n_keep, value, index, options]
    watch.check(lib.prune_model_gradient(*arguments, out, result.size, ffi.NULL, loss))
    return StateGradient(result, float(loss[0]))


def adapter_gradient(
    self: AdaptersLike,
    model: OpenModel,
    data: Data,
    sublayer: int | str,
    objective: TrainedObjective = "ce",
    *,
    batch_tokens: int | None = None,
    progress: ProgressFunction | None = None,
) -> AdapterGradient:
    """The gradient of an objective with respect to one adapter, all adapters in place.

    Parameters
    ----------
    model : Model
        The full model.
    data : Data
        Where the objective is measured.
    sublayer : int or str
        Where the adapter stands.
    objective : {"ce", "kl", "js", "mse"}
        What is differentiated.
    """
    adapter = self[sublayer]
    value = OBJECTIVE.value(objective)
    flat = np.empty(adapter.parameters, dtype=np.float32)
    out, loss = ffi.from_buffer("float[]", flat), ffi.new("double *")
    watch = Watch(progress)
    options = evaluate_options(batch_tokens, watch)
    arguments = [self.handle, model.handle, data.handle, value, adapter.sublayer, options]
    watch.check(lib.prune_adapters_gradient(*arguments, out, flat.size, ffi.NULL, loss))
    parts: dict[str, Array] = {}
    start = 0
    for part, values in self.arrays(adapter.sublayer).items():
        if part == "norm":  # not a parameter
            continue
        parts[part] = flat[start : start + values.size].reshape(values.shape)
        start += values.size
    return AdapterGradient(parts, float(loss[0]))


def _rows(name: str, values: npt.ArrayLike, shape: tuple[int, int]) -> Array:
    rows = np.ascontiguousarray(as_array(name, values, np.float32))
    if rows.shape != shape:
        raise ArgumentError(
            f"{name} have the shape {rows.shape}, but tokens by hidden size are {shape}"
        )
    return rows
