# SPDX-License-Identifier: Apache-2.0
"""What measurements know of adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel


class AdaptersLike(Protocol):
    """`prunecore.Adapters`, as far as measurements use them."""

    @property
    def handle(self) -> Any: ...

    def check_mask(self, mask: MaskLike, model: OpenModel | None = None) -> None: ...

    def attach(self, model: OpenModel) -> OpenModel: ...

    def arrays(self, sublayer: int | str) -> dict[str, Any]: ...

    def __getitem__(self, sublayer: int | str) -> Any: ...
