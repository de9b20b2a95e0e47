# SPDX-License-Identifier: Apache-2.0
"""What rotary positions of type "dynamic" remember of longer sequences."""

from __future__ import annotations

from torch import nn

_LENGTH = "max_seq_len_cached"


def forget_longer_sequences(model: nn.Module) -> None:
    """Gives rotary modules that grew with the text the frequencies that they began with.

    In transformers they keep those of the longest sequence so far. What is measured of a sequence
    must not depend on what was computed before.
    """
    for module in model.modules():
        original = getattr(module, "original_max_seq_len", None)
        if original is None:
            continue
        for name in [name for name in vars(module) if name.endswith(_LENGTH)]:
            kind = name.removesuffix(_LENGTH)  # of layers, where these have positions of their own
            first = getattr(module, f"{kind}original_inv_freq", None)
            if getattr(module, name) != original and first is not None:
                now = getattr(module, f"{kind}inv_freq")
                setattr(module, f"{kind}inv_freq", first.to(now.device, copy=True))
                setattr(module, name, original)
