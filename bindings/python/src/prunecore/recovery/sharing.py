# SPDX-License-Identifier: Apache-2.0
"""Which sublayers could share weights, and with which rank of a delta: `Model.sharing`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prunecore._native.library import __version__, _check, ffi, lib, written_text
from prunecore._native.numbers import checked_positive
from prunecore._native.options_generated import SharingArguments, SharingOptions
from prunecore._native.progress import ProgressFunction, Watch
from prunecore._native.signatures import takes
from prunecore.errors import ArgumentError
from prunecore.recovery.sharing_analysis import SharingAnalysis

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prunecore.data.data import Data
    from prunecore.opened import OpenModel


@takes(SharingOptions)
def sharing(
    self: OpenModel,
    data: Data | None = None,
    error: float | Sequence[float] = 0.1,
    *,
    progress: ProgressFunction | None = None,
    **options: Unpack[SharingArguments],
) -> SharingAnalysis:
    """Tells for each pair of sublayers of a kind which rank a delta between them needs.

    That is, if the later one used the weights of the earlier one and a delta: docs/sharing.md.

    Parameters
    ----------
    data : Data, optional
        What the second moments of the inputs are taken from. Default: matrices alone are compared.
    error : float or sequence of float
        Relative errors of the weight, and of its outputs, that ranks are wanted for.
    progress : callable, optional
        Called as `progress(stage, done, total, seconds)`; a true result stops the call with
        `Cancelled`, an exception stops it and is raised again.

    Raises
    ------
    ArgumentError
        An error is out of range.
    NonFiniteError
        NaN or infinity was met; the text names the layer.
    UnsupportedError
        A host runs the model; it has adapters.
    """
    errors = [error] if np.ndim(error) == 0 else list(error)  # type: ignore[arg-type]
    asked = [checked_positive("error", each) for each in errors]
    if not asked:
        raise ArgumentError("error is empty; give a number, or some")
    struct = SharingOptions(**options).new()
    values = ffi.new("double[]", asked)
    struct.errors, struct.n_errors = values, len(asked)
    watch = Watch(progress)
    struct.progress = watch.callback
    source = ffi.NULL if data is None else data.handle
    count = ffi.new("size_t *")
    status = lib.prune_model_sharing(self.handle, source, struct, ffi.NULL, 0, count)
    if status != lib.PRUNE_ERR_BUFFER:
        _check(status)
    rows = ffi.new("prune_sharing_pair[]", count[0])
    watch.check(lib.prune_model_sharing(self.handle, source, struct, rows, len(rows), count))
    provenance: dict[str, Any] = {"library": f"prunecore {__version__}", "model": self.provenance}
    if data is not None:
        provenance |= {"data_sha256": data.digest, "n_tokens": data.n_tokens}
    names = _projections(self)
    found = list(rows)

    def column(name: str, kind: Any) -> Any:
        return np.array([getattr(row, name) for row in found], dtype=kind)

    return SharingAnalysis(
        sublayer=column("sublayer", np.int64),
        base=column("base", np.int64),
        projection=np.array([names[row.sublayer][row.weight] for row in found], dtype=np.str_),
        outputs=column("outputs", np.int64),
        inputs=column("inputs", np.int64),
        error=column("error", np.float64),
        difference=column("difference", np.float64),
        rank=column("rank", np.int64),
        weighted_difference=column("weighted_difference", np.float64),
        weighted_rank=column("weighted_rank", np.int64),
        bytes_per_rank=column("bytes_per_rank", np.int64),
        bytes_whole=column("bytes_whole", np.int64),
        provenance=provenance,
    )


def _projections(model: OpenModel) -> list[list[str]]:
    """Of each sublayer, what its stored weights are called."""
    plan = json.loads(written_text(lib.prune_model_plan, model.handle))
    return [_names(sublayer["update"]) for sublayer in plan["sublayers"]]


_CALLED = {"head_by_head": "query_key_value", "alternating": "gate_up", "plain": "up"}


def _names(update: dict[str, Any]) -> list[str]:
    """Those of `prune_model_shared`: projections in one tensor are one weight."""
    if update["kind"] == "mixture":
        return []
    last = "output" if update["kind"] == "attention" else "down"
    # JSON objects of the library have their keys in alphabetical order.
    order = [name for name in ("query", "key", "value", "gate", "up") if name in update["inputs"]]
    inputs = {name: update["inputs"][name] for name in order or update["inputs"]}
    tensors: dict[str, str] = {}
    for name, projection in [*inputs.items(), (last, update[last])]:
        called = _CALLED.get(name, name)
        tensor = projection["weight"]["tensor"]
        tensors[tensor] = f"{tensors[tensor]}_{called}" if tensor in tensors else called
    return list(tensors.values())
