# SPDX-License-Identifier: Apache-2.0
"""A model with adapters in the place of what was removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prunecore._native.library import lib
from prunecore.model import Model

if TYPE_CHECKING:
    from prunecore.recovery.adapters import Adapters


class RecoveredModel(Model):
    """A pruned model with adapters: a `Model` of its own, which shares the weights of another.

    `Adapters.attach` makes it. Masks for it speak of its own sublayers: removing one that is an
    adapter takes the adapter away. Later changes of the adapters do not reach it; closing it leaves
    the other model as it is.

    Attributes
    ----------
    base : Model
        The full model.
    adapters : Adapters
        What was attached.
    """

    def __init__(self, base: Model, adapters: Adapters) -> None:
        self.directory = base.directory
        self._name, self._digest = base._name, base._digest
        self._configurations = base._configurations
        self.base = base
        self.adapters = adapters
        self._adapters_digest = adapters.digest
        self._own(lambda out: int(lib.prune_model_attach(base.handle, adapters.handle, out)))

    @property
    def provenance(self) -> dict[str, str]:
        """What identifies the model in results: that of the full model, and the adapters' hash."""
        return {**super().provenance, "adapters_sha256": self._adapters_digest}
