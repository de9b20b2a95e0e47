# SPDX-License-Identifier: Apache-2.0
"""Calls of the raw layer that the parity tests of damages and choices share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from prunecore._native.library import ffi, lib, new_struct, text


@contextmanager
def opened(directory: Path) -> Iterator[Any]:
    """The handle of a model, given back at the end."""
    out = ffi.new("prune_model **")
    check(lib.prune_model_open(str(directory).encode(), ffi.NULL, out))
    yield out[0]
    lib.prune_model_release(out[0])


def check(status: int) -> None:
    """Fails the test with the library's words if a call failed."""
    assert status == lib.PRUNE_OK, text(lib.prune_last_error())


def array(kind: str, values: Sequence[Any] | np.ndarray) -> Any:
    """A C array of these values."""
    return ffi.new(
        f"{kind}[]", [value.item() if hasattr(value, "item") else value for value in values]
    )


def token_data(sequences: Sequence[np.ndarray], weights: np.ndarray | None = None) -> Any:
    """The handle of token sequences."""
    options = new_struct("prune_data_options")
    kept = None if weights is None else array("float", weights)
    options.token_weights = ffi.NULL if kept is None else kept
    out = ffi.new("prune_data **")
    ids, lengths = np.concatenate(sequences), [len(sequence) for sequence in sequences]
    check(
        lib.prune_data_create(
            array("int32_t", ids), array("int64_t", lengths), len(lengths), options, out
        )
    )
    return ffi.gc(out[0], lib.prune_data_release)


def damages(
    model: Any,
    data: Any,
    keep: np.ndarray,
    measure: str,
    reference: np.ndarray | None = None,
    **fields: Any,
) -> np.ndarray:
    """The measure under each row of `keep`."""
    options = new_struct("prune_coalition_options")
    options.measure = getattr(lib, f"PRUNE_MEASURE_{measure}")
    for name, value in fields.items():
        setattr(options, name, value)
    if reference is not None:
        kept = array("uint8_t", reference)
        options.reference, options.n_reference = kept, len(reference)
    out = ffi.new("double[]", len(keep))
    rows = array("uint8_t", keep.ravel())
    check(
        lib.prune_model_damages(model, data, rows, len(keep), keep.shape[1], options, out, ffi.NULL)
    )
    return np.array(list(out))
