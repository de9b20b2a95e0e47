# SPDX-License-Identifier: Apache-2.0
"""What a token takes in every sublayer, measured on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prunecore._native.library import ffi, lib
from prunecore._native.options_generated import TimeArguments, TimeOptions
from prunecore._native.progress import ProgressFunction, Watch
from prunecore._native.signatures import takes
from prunecore.errors import ArgumentError, FormatError
from prunecore.masks.mask import as_keep

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel

Times = npt.NDArray[np.float64]

_KINDS = ("prefill_ms", "decode_ms")


@dataclass(frozen=True, eq=False)
class TokenTimes:
    """Milliseconds that one token takes in each place of a model.

    `Model.token_times` measures them; made by hand, they can be those of another machine.

    Attributes
    ----------
    prefill_ms : array of float, shape (2 * n_blocks + 1,)
        As one of many tokens of a prompt: each sublayer in order, and at the end embeddings, final
        norm and head together.
    decode_ms : array of float, shape (2 * n_blocks + 1,)
        As the next token after a context, likewise.

    Raises
    ------
    ArgumentError
        The lengths are not these, or a time is negative or no number.
    """

    prefill_ms: Times
    decode_ms: Times

    def __post_init__(self) -> None:
        for name in _KINDS:
            try:
                times = np.array(getattr(self, name), dtype=np.float64)
            except (TypeError, ValueError) as error:
                raise ArgumentError(f"{name} is not a list of numbers: {error}") from error
            if times.ndim != 1 or len(times) < 3 or len(times) % 2 == 0:
                raise ArgumentError(
                    f"{name} has one entry per sublayer and one for the rest, but its shape is "
                    f"{times.shape}"
                )
            if not np.all(np.isfinite(times) & (times >= 0)):
                raise ArgumentError(f"{name} holds a time that is negative or no number")
            times.setflags(write=False)
            object.__setattr__(self, name, times)
        if len(self.prefill_ms) != len(self.decode_ms):
            raise ArgumentError(
                f"times of {len(self.prefill_ms)} places of a prompt, but of "
                f"{len(self.decode_ms)} of decoding"
            )

    @property
    def n_blocks(self) -> int:
        """Blocks of the model that was measured."""
        return len(self.prefill_ms) // 2

    def prefill(self, mask: MaskLike | None = None) -> float:
        """Milliseconds per token of a prompt under a mask; None = everything kept."""
        return self._sum(self.prefill_ms, mask)

    def decode(self, mask: MaskLike | None = None) -> float:
        """Milliseconds of the next token under a mask; None = everything kept."""
        return self._sum(self.decode_ms, mask)

    def _sum(self, times: Times, mask: MaskLike | None) -> float:
        keep = as_keep(mask, self.n_blocks, None)
        sublayers = times[:-1] if keep is None else times[:-1][keep == 1]
        return float(sublayers.sum() + times[-1])

    def table(self) -> npt.NDArray[np.float64]:
        """The times as C takes them: a row for each place, prompt before decoding."""
        return np.ascontiguousarray(np.stack([self.prefill_ms, self.decode_ms], axis=1))

    def to_dict(self) -> dict[str, list[float]]:
        """Both lists, for JSON."""
        return {name: getattr(self, name).tolist() for name in _KINDS}

    @classmethod
    def from_dict(cls, record: Any) -> TokenTimes:
        """Reads times from what `to_dict` gives.

        Raises
        ------
        FormatError
            They are something else.
        """
        try:
            return cls(*(record[name] for name in _KINDS))
        except (ArgumentError, KeyError, TypeError) as error:
            raise FormatError(f"damaged times of tokens: {error}") from error


@takes(TimeOptions)
def token_times(
    self: OpenModel,
    *,
    progress: ProgressFunction | None = None,
    **options: Unpack[TimeArguments],
) -> TokenTimes:
    """Measures what a token takes in every sublayer, on this machine and its threads now.

    The model's own mask plays no part. Times differ from one measurement to the next: results that
    must be reproducible need the same ones.

    Parameters
    ----------
    progress : callable, optional
        Called as `progress(stage, done, total, seconds)`; a true result stops the call with
        `Cancelled`, an exception stops it and is raised again.

    Raises
    ------
    UnsupportedError
        The model cannot generate.
    """
    watch = Watch(progress)
    struct = TimeOptions(**options).new()
    struct.progress = watch.callback
    found = np.empty((2 * self.shape.n_blocks + 1, 2))
    out = ffi.from_buffer("prune_token_time[]", found)
    watch.check(lib.prune_model_times(self.handle, struct, out, len(found), ffi.NULL))
    return TokenTimes(found[:, 0], found[:, 1])
