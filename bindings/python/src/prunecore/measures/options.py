# SPDX-License-Identifier: Apache-2.0
"""The options that all measurements share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from prunecore._native import options_generated
from prunecore._native.library import real_macro
from prunecore._native.numbers import checked_positive
from prunecore._native.options_generated import EvaluateOptions
from prunecore._native.progress import Watch
from prunecore.errors import ArgumentError
from prunecore.masks.mask import Keep, as_keep, keep_pointer

if TYPE_CHECKING:
    from prunecore.masks.mask import MaskLike


def evaluate_options(batch_tokens: int | None, watch: Watch) -> Any:
    """The C options of an evaluation."""
    options = EvaluateOptions(batch_tokens=batch_tokens).new()
    options.progress = watch.callback
    return options


@dataclass(frozen=True, kw_only=True)
class CoalitionOptions(options_generated.CoalitionOptions):
    """How damage is measured: see `Model.damages`."""

    cap: float | Literal["default"] | None = None
    reference: MaskLike | None = None

    def struct(self, n_blocks: int, watch: Watch) -> tuple[Any, Keep | None]:
        """The options for C.

        Returns
        -------
        options, reference
            The struct, and the reference. Both must live as long as the struct is used, and so must
            `watch`.
        """
        options = self.new()
        options.cap = cap_value(self.cap)
        kept = as_keep(self.reference, n_blocks)
        options.reference, options.n_reference = keep_pointer(kept)
        options.progress = watch.callback
        return options, kept


def cap_value(cap: float | str | None) -> float:
    """The header's value for a cap: a number, None = values as they are, or "default"."""
    if cap is None:
        return real_macro("PRUNE_CAP_NONE")
    if isinstance(cap, str):
        if cap != "default":
            raise ArgumentError(f"cap is '{cap}', but must be a number, None or 'default'")
        return real_macro("PRUNE_CAP_DEFAULT")
    return checked_positive("cap", cap)
