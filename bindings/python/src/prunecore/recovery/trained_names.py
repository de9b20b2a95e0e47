# SPDX-License-Identifier: Apache-2.0
"""Names of what a healing trains: "head", "final_norm", "last:3", as sublayers of a mask."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from prunecore._native.given import listed
from prunecore._native.names.units import sublayer_name
from prunecore._native.paths import shown
from prunecore.errors import ArgumentError
from prunecore.masks.mask import Keep

TRAINED_NAMES = (
    *("head", "final_norm", "norms", "embedding", "all"),
    *("last:K", "block.I", "attn.I", "ffn.I"),
)
"""What `train` may name. K counts kept blocks, I is the number of a block of the whole model."""

USUAL = ("head", "final_norm", "last:3")
"""What "Reassessing layer pruning" (arXiv 2411.15558) trains."""

_WORDS = frozenset(TRAINED_NAMES[:5])
_LAST = re.compile(r"last:(\d{1,9})")
_UNIT = re.compile(r"(block|attn|ffn)\.(\d{1,9})")
_PLACES = {"block": (0, 1), "attn": (0,), "ffn": (1,)}


@dataclass(frozen=True)
class TrainedNames:
    """What is trained of a model under a mask.

    Attributes
    ----------
    names : tuple of str
        As given, each once.
    head : bool
        The matrix that makes the logits, and its bias.
    embedding : bool
        The embedding of tokens.
    final_norm : bool
        The norm before the head.
    norms : bool
        The norms of all kept sublayers.
    everything : bool
        All that the mask leaves; then the others are true, and all kept sublayers are named.
    sublayers : tuple of int
        Kept sublayers that are trained whole, ascending.
    """

    names: tuple[str, ...]
    head: bool
    embedding: bool
    final_norm: bool
    norms: bool
    everything: bool
    sublayers: tuple[int, ...]

    def check_head(self, *, tied: bool, untie: bool) -> None:
        """Checks what is asked of a head, by whether the model ties it to its embedding.

        Raises
        ------
        ArgumentError
            One of the two alone is to be trained where they are one matrix; or there is nothing to
            untie for.
        """
        if untie and not (self.head or self.embedding):
            raise ArgumentError(
                "untie_head is set, but train names neither head nor embedding: leave it out"
            )
        # All of a model includes its one matrix, which serves both ends, and is trained at both.
        if tied and not untie and not self.everything and (self.head or self.embedding):
            name = "head" if self.head else "embedding"
            raise ArgumentError(
                f"train names {name}, but the model's head and embedding are one matrix (tied): "
                "give untie_head=True, which makes the head a matrix of its own, or leave "
                f"{name} out"
            )


def trained_names(train: str | Iterable[str], keep: Keep) -> TrainedNames:
    """Reads what `train` names, by a mask.

    Parameters
    ----------
    train : str or iterable of str
        Names of `TRAINED_NAMES`; a text holds several with commas between.
    keep : array of 0 and 1, shape (2 * n_blocks,)
        The mask.

    Raises
    ------
    ArgumentError
        A name is none of them, or of what the mask removes; or there is none.
    """
    names = tuple(dict.fromkeys(_names(train)))
    if not names:
        raise ArgumentError(f"train names nothing: its entries are {', '.join(TRAINED_NAMES)}")
    if not keep.any():
        raise ArgumentError("the mask removes every sublayer: there is no model left to heal")
    sublayers: set[int] = set()
    for name in names:
        if name not in _WORDS:
            sublayers.update(_sublayers(name, keep))
    everything = "all" in names
    if everything:
        sublayers.update(index for index, kept in enumerate(keep) if kept)
    return TrainedNames(
        names=names,
        head=everything or "head" in names,
        embedding=everything or "embedding" in names,
        # "norms" are all of the model's.
        final_norm=everything or "final_norm" in names or "norms" in names,
        norms=everything or "norms" in names,
        everything=everything,
        sublayers=tuple(sorted(sublayers)),
    )


def _names(train: Any) -> list[str]:
    given = train.split(",") if isinstance(train, str) else listed("train", train)
    for name in given:
        if not isinstance(name, str):
            raise ArgumentError(f"train has {shown(name)}, but its entries are names")
    return [name.strip().replace("-", "_") for name in given if name.strip()]


def _sublayers(name: str, keep: Keep) -> list[int]:
    """The kept sublayers that a name with a number stands for."""
    n_blocks = len(keep) // 2
    if (last := _LAST.fullmatch(name)) is not None:
        kept = [block for block in range(n_blocks) if keep[2 * block] or keep[2 * block + 1]]
        count = int(last[1])
        if not 1 <= count <= len(kept):
            raise ArgumentError(
                f"train names {name}, but the mask keeps {len(kept)} blocks: give 1 to {len(kept)}"
            )
        return [2 * b + place for b in kept[-count:] for place in (0, 1) if keep[2 * b + place]]
    unit = _UNIT.fullmatch(name)
    if unit is None:
        raise ArgumentError(
            f"train has {shown(name)}, but its entries are {', '.join(TRAINED_NAMES)}"
        )
    block = int(unit[2])
    if block >= n_blocks:
        raise ArgumentError(
            f"train names {name}, but the model has {n_blocks} blocks, 0 to {n_blocks - 1}"
        )
    found = [2 * block + place for place in _PLACES[unit[1]] if keep[2 * block + place]]
    if not found:
        removed = name if unit[1] == "block" else sublayer_name(2 * block + _PLACES[unit[1]][0])
        raise ArgumentError(f"train names {removed}, which the mask removes: leave it out")
    return found
