# SPDX-License-Identifier: Apache-2.0
"""What is exported as GGUF and run: every place where its layers have a peculiarity."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A pruned or recovered model.

    Attributes
    ----------
    name : str
        For the table.
    removed : tuple of str
        Sublayers or blocks; negative numbers count from the end.
    adapters : str
        Kind of the adapters in their places; "" = none.
    architecture : str
        What the file is expected to be, of a Llama.
    """

    name: str
    removed: tuple[str, ...]
    adapters: str = ""
    architecture: str = "deci"

    def names(self, n_blocks: int) -> list[str]:
        """The names of what is removed from a model of so many blocks."""
        parts = (name.split(".") for name in self.removed)
        return [f"{kind}.{int(number) % n_blocks}" for kind, number in parts]


CASES = (
    Case("nothing removed", (), architecture="llama"),
    Case("attention, in the middle", ("attn.2",)),
    Case("attention, at layer 0", ("attn.0",)),
    Case("attention, at the last layer", ("attn.-1",)),
    Case("feed-forward, in the middle", ("ffn.1",)),
    Case("feed-forward, at the last layer", ("ffn.-1",)),
    Case("whole blocks", ("block.0", "block.-1"), architecture="llama"),
    Case("a bit of all", ("attn.0", "ffn.1", "block.2", "attn.-1")),
    Case("bias in the place of attention", ("attn.2",), "bias"),
    Case("bias in the place of block 0", ("block.0",), "bias"),
    Case("bias in the place of the last block", ("block.-1",), "bias", "llama"),
    Case("linear in the place of attention", ("attn.2",), "linear"),
    Case("linear in the place of feed-forwards", ("ffn.1", "ffn.-1"), "linear"),
    Case("linear in the places of blocks", ("block.0", "block.2", "block.-1"), "linear"),
    Case("low-rank in the place of attention", ("attn.0", "attn.2"), "low_rank"),
)
