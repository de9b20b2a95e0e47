# SPDX-License-Identifier: Apache-2.0
"""Hidden states that a program holds, as rows for statistics: one row per token, nothing copied."""

from __future__ import annotations

from typing import Any

from prunecore._native.library import ffi
from prunecore._native.names.tables import GRANULARITY
from prunecore._native.names.units import unit_count
from prunecore._native.numbers import checked_count
from prunecore.errors import ArgumentError
from prunecore.masks.mask import sublayer_indices
from prunecore.tensors.views import TensorView, view_of


def unit_of(unit: int | str, granularity: str, n_blocks: int) -> tuple[int, int]:
    """The header's granularity and the number of a unit.

    Parameters
    ----------
    unit : int or str
        A number, which counts what the granularity says; or "attn.3", "ffn.3" or "block.3".
    granularity : str
        Of a number.
    n_blocks : int
        Blocks of the model.
    """
    if not isinstance(unit, str):
        kind = GRANULARITY.parse(granularity)
        last = unit_count(kind, n_blocks) - 1
        return GRANULARITY.value(kind), checked_count("unit", unit, 0, last)
    indices = sublayer_indices(unit, n_blocks)
    if len(indices) == 2:
        return GRANULARITY.value("block"), indices[0] // 2
    return GRANULARITY.value("sublayer"), indices[0]


def paired_rows(before: Any, after: Any) -> list[tuple[TensorView, TensorView]]:
    """Two tensors of hidden states as pairs of matrices, together all of their tokens.

    Parameters
    ----------
    before, after : array or tensor
        Shape (tokens, hidden_size), or (batch, tokens, hidden_size); the same for both.

    Returns
    -------
    list of pairs
        One pair where the memory of both allows it, else one per sequence, or per token.
    """
    views = view_of("before", before), view_of("after", after)
    for name, view in zip(("before", "after"), views, strict=True):
        if len(view.shape) not in (2, 3):
            raise ArgumentError(
                f"{name} has the shape {view.shape}; give (tokens, hidden_size), or "
                "(batch, tokens, hidden_size)"
            )
        if view.shape[-1] > 1 and view.strides[-1] == 0:
            raise ArgumentError(f"{name} repeats one value along a row; make it contiguous first")
    if views[0].shape != views[1].shape:
        raise ArgumentError(
            f"before has the shape {views[0].shape}, after {views[1].shape}; give the states of "
            "the same tokens"
        )
    return [] if 0 in views[0].shape[:-1] else _matrices(*views)


def _matrices(before: TensorView, after: TensorView) -> list[tuple[TensorView, TensorView]]:
    """The same as pairs of matrices that C can name, as few as possible."""
    pair = before, after
    if len(before.shape) == 3:
        if all(_is_even(view) for view in pair):
            return _matrices(_flattened(before), _flattened(after))
        sequences = range(before.shape[0])
        return [found for i in sequences for found in _matrices(before[i], after[i])]
    if before.shape[0] == 1 or all(view.strides[0] for view in pair):
        return [pair]
    # One row over and over: to C a stride of 0 is that of rows without gaps.
    return [(_one_row(before[i]), _one_row(after[i])) for i in range(before.shape[0])]


def _is_even(view: TensorView) -> bool:
    """Whether the rows of all sequences are evenly apart."""
    sequences, tokens, _ = view.shape
    return sequences == 1 or tokens == 1 or view.strides[0] == tokens * view.strides[1]


def _flattened(view: TensorView) -> TensorView:
    sequences, tokens, width = view.shape
    stride = view.strides[0] if tokens == 1 else view.strides[1]
    shape, strides = (sequences * tokens, width), (stride, view.strides[2])
    return TensorView(
        address=view.address,
        element_type=view.element_type,
        shape=shape,
        strides=strides,
        owner=view.owner,
    )


def _one_row(view: TensorView) -> TensorView:
    shape, strides = (1, *view.shape), (0, *view.strides)
    return TensorView(
        address=view.address,
        element_type=view.element_type,
        shape=shape,
        strides=strides,
        owner=view.owner,
    )


def rows_struct(view: TensorView) -> Any:
    """A matrix as `prune_rows`, valid as long as the view."""
    rows = ffi.new("prune_rows *")
    rows.data = ffi.cast("void *", view.address)
    rows.element_type = int(ffi.integer_const(f"PRUNE_ELEMENT_{view.element_type.upper()}"))
    rows.n_rows, rows.width = view.shape
    # The stride of an axis of one entry leads nowhere, and may be anything.
    rows.row_stride = view.strides[0] if view.shape[0] > 1 else 0
    rows.column_stride = view.strides[1] if view.shape[1] > 1 else 0
    return rows
