# SPDX-License-Identifier: Apache-2.0
"""What exports need of a wrapped model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prunecore.hosts.host_model import HostModel
from prunecore.torch.applied_mask import AppliedMask
from prunecore.torch.host import TorchHost

if TYPE_CHECKING:
    from typing_extensions import Self

    from prunecore.masks.mask import MaskLike
    from prunecore.recovery.adapters import Adapters


class PrunableModel(HostModel):
    """A model that PyTorch runs, and that sublayers are taken out of in place: `WrappedModel`.

    Attributes
    ----------
    module : PreTrainedModel
        What was wrapped.
    host : TorchHost
        What runs it.
    """

    module: Any
    host: TorchHost

    def apply_mask(
        self, mask: MaskLike | None = None, adapters: Adapters | None = None
    ) -> AppliedMask:
        """Takes sublayers out of the module: `WrappedModel` says what that is."""
        raise NotImplementedError

    def again(self, module: Any) -> Self:
        """A module like the one that was wrapped, wrapped in the same way."""
        raise NotImplementedError
