# SPDX-License-Identifier: Apache-2.0
"""The weights of a model by its plan: parts of stored tensors, norms and biases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prunecore.export.gguf.graph import Graph
from prunecore.export.gguf.number_types import NumberTypes
from prunecore.export.gguf.plan import ModelPlan, Norm, Place, Projection
from prunecore.export.gguf.planned import (
    Indices,
    Part,
    PlannedTensor,
    stacked,
    stacked_bytes,
    vector,
)
from prunecore.export.gguf.source import BlockTensor
from prunecore.tensors.own import Overlaid
from prunecore.tensors.stored import Floats, StoredTensor


class Weights:
    """Finds the tensors that a plan names, and makes tensors of a GGUF file of them.

    Parameters
    ----------
    stored : Overlaid
        The tensors of the checkpoint, or file.
    plan : ModelPlan
        Of the model.
    types : NumberTypes
        Of the numbers in the file.
    """

    def __init__(
        self,
        stored: Overlaid[StoredTensor] | Overlaid[BlockTensor],
        plan: ModelPlan,
        types: NumberTypes,
    ) -> None:
        self._stored = stored
        self._plan = plan
        self.types = types

    def tensor(self, name: str) -> StoredTensor | BlockTensor:
        """A tensor by its full name.

        Checkpoints of the model without its head leave the first part of names out; some files of
        tied models have the one matrix under the head's name alone.
        """
        for known in (name, name.split(".", 1)[-1]):
            if known in self._stored:
                return self._stored[known]
        if name == self._plan.embedding and self._plan.is_tied:
            return self._stored[self._plan.head]
        return self._stored[name]

    def part(self, place: Place, which: Indices, factor: float = 1.0) -> Part:
        """Some outputs of a projection's weight or bias, counted from its first."""
        stored = self.tensor(place.tensor).part(place.expert, place.is_transposed)
        return Part(stored, which + place.first, factor)

    def copy(self, name: str, source: str, first: int = 0) -> PlannedTensor:
        """A whole tensor, or all of its rows from one on."""
        stored = self.tensor(source)
        rows = np.arange(first, stored.shape[0])
        return self.matrix(name, [Part(stored, rows)], (len(rows), *stored.shape[1:]))

    def matrix(
        self, name: str, parts: Sequence[Part], shape: tuple[int, ...] | None = None
    ) -> PlannedTensor:
        """A matrix of the rows of all parts; with a shape, several."""
        width = parts[0].stored.shape[1]
        made = shape or (sum(len(part.which) for part in parts), width)
        exact = all(abs(np.frexp(part.factor)[0]) == 0.5 for part in parts)
        kind = (
            self.types.of_stored({part.stored.element_type for part in parts}, width)
            if exact
            else self.types.of_scaled(width)
        )
        return PlannedTensor(
            name=name,
            shape=made,
            type=kind,
            rows=stacked(parts),
            stored_rows=stacked_bytes(parts, kind),
        )

    def whole(self, name: str, projection: Projection) -> PlannedTensor:
        """The weight of a projection."""
        return self.matrix(name, [self.part(projection.weight, np.arange(projection.outputs))])

    def bias(self, projection: Projection, which: Indices | None = None) -> Floats | None:
        """The bias of a projection, or some entries; None if there is none."""
        if projection.bias is None:
            return None
        chosen = np.arange(projection.outputs) if which is None else which
        return self.part(projection.bias, chosen).rows(0, len(chosen))

    def gain(self, norm: Norm, factor: float | None = None) -> Floats:
        """What a norm multiplies by, each head's after the other: of the norm's shape."""
        scale = norm.factor if factor is None else factor
        if not norm.gains:
            return np.full(norm.shape, scale, dtype=np.float32)
        stored = [self.tensor(name).rows(slice(None)) for name in norm.gains]
        found = stored[0] if len(stored) == 1 else np.stack(stored)
        made: Floats = (scale * (norm.offset + found.astype(np.float64))).astype(np.float32)
        return made

    def norm(
        self, name: str, norm: Norm, graph: Graph, factor: float | None = None
    ) -> list[PlannedTensor]:
        """The tensors of a norm; with a bias of zeros where it has none and needs one."""
        made = []
        if graph.has_norm_gain:
            made.append(vector(f"{name}.weight", self.gain(norm, factor)))
        if graph.has_norm_bias:
            scale = np.float32(norm.factor if factor is None else factor)
            bias = np.zeros(norm.shape[-1], dtype=np.float32)
            if norm.bias is not None:
                bias = scale * self.tensor(norm.bias).rows(slice(None))
            made.append(vector(f"{name}.bias", bias))
        return made
