# SPDX-License-Identifier: Apache-2.0
"""Statistics: static metrics as running sums, so that data can come in parts and be merged.

They need no model of ours: `Statistics.update` takes what hooks in any other runtime give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.handle import Handle, Owner
from prunecore._native.library import _check, ffi, lib
from prunecore._native.names.metric_facts import STATISTICS_METRICS
from prunecore._native.names.metric_sets import metric_bits, parse_metrics
from prunecore._native.names.tables import GRANULARITY
from prunecore._native.names.units import unit_count
from prunecore._native.numbers import checked_count
from prunecore._native.options_generated import ScoreOptions, StatisticsOptions
from prunecore._native.progress import ProgressFunction, Watch
from prunecore.errors import ArgumentError, NonFiniteError
from prunecore.importance.activations import paired_rows, rows_struct, unit_of
from prunecore.importance.scores import Scores
from prunecore.masks.mask import keep_pointer

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel
    from prunecore.tensors.views import TensorView


class Statistics(Owner):
    """Running sums of the static metrics (all but magnitude) of every sublayer and block.

    Two halves of a data set, gathered apart and merged, give the scores of the whole to 1e-12.

    Parameters
    ----------
    n_blocks : int
        Blocks of the models that are to be measured.
    windows : bool
        Also gather the angular distance of every run of contiguous blocks; keeps n_blocks + 1
        hidden states of a batch in memory.
    tokens : {"all", "last"}
        The tokens looked at: all, or the last one of each sequence (arXiv 2403.17887).
    model : Model, optional
        The model that `collect` measures unless it is given another.
    """

    def __init__(
        self,
        n_blocks: int,
        *,
        windows: bool = False,
        tokens: Literal["all", "last"] = "all",
        model: OpenModel | None = None,
    ) -> None:
        n_blocks = checked_count("n_blocks", n_blocks, 1, 2**31 - 1)
        options = StatisticsOptions(tokens=tokens, windows=windows).new()
        self._n_blocks = int(n_blocks)
        self._model = model
        self._tokens = str(tokens)
        self._windows = bool(windows)
        self._updates = 0
        self._digests: list[str] = []
        self._computed_in: set[str] = set()
        self._handle = Handle(
            "statistics",
            "prune_statistics",
            lambda out: int(lib.prune_statistics_create(n_blocks, options, out)),
            lib.prune_statistics_release,
        )

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return self._n_blocks

    def collect(
        self,
        data: Data,
        mask: MaskLike | None = None,
        *,
        model: OpenModel | None = None,
        batch_tokens: int | None = None,
        progress: ProgressFunction | None = None,
    ) -> Statistics:
        """Adds all tokens of a data set by one forward pass; on failure nothing is added.

        Parameters
        ----------
        data : Data
            What to run.
        mask : Mask or array, optional
            The mask under which to run. Default: the model's.
        model : Model, optional
            Default: the model that made these statistics.
        batch_tokens, progress
            As for `Model.score`.

        Returns
        -------
        Statistics
            These ones, so that calls can be chained.
        """
        measured = self._model if model is None else model
        if measured is None:
            raise ArgumentError("these statistics belong to no model: give model=")
        options = ScoreOptions(batch_tokens=batch_tokens).new()
        keep = measured._keep(mask)
        options.keep, options.n_keep = keep_pointer(keep)
        watch = Watch(progress)
        options.progress = watch.callback
        watch.check(
            lib.prune_statistics_collect(self.handle, measured.handle, data.handle, options)
        )
        self._digests.append(data.digest)
        self._computed_in.add(measured.shape.compute)
        return self

    def update(
        self,
        before: Any,
        after: Any,
        *,
        unit: int | str,
        granularity: str = "sublayer",
    ) -> Statistics:
        """Adds some tokens of one unit; on failure nothing is added.

        For models that give no more than activations, by a hook or a callback. Each unit
        counts its own tokens: units may come in any order, and in parts of any size.

        Parameters
        ----------
        before, after : array or tensor
            Hidden states before the unit and after it, of the same tokens: shape (tokens,
            hidden_size), or (batch, tokens, hidden_size). NumPy arrays, or anything with
            `__dlpack__` in the memory of the CPU, such as tensors of PyTorch; float32, float16 or
            bfloat16. Read where they are, and not kept.
        unit : int or str
            "attn.3", "ffn.3" or "block.3"; or a number, which counts what `granularity` says. A
            block's scores come from its own rows only, not from those of its sublayers.
        granularity : {"sublayer", "block", "attention", "feed_forward"}
            Of a number; names say it themselves.

        Returns
        -------
        Statistics
            These ones, so that calls can be chained.

        Raises
        ------
        ArgumentError
            The two are not of the same tokens, or these statistics have windows, which need whole
            passes.
        UnsupportedError
            A tensor is on another device, or of another type.
        NonFiniteError
            A value is NaN or infinite; the text names unit and row.
        """
        kind, number = unit_of(unit, granularity, self._n_blocks)
        parts = paired_rows(before, after)
        if len(parts) <= 1:
            for h, g in parts:
                self._update(kind, number, rows_struct(h), rows_struct(g))
        else:
            self._update_in_parts(kind, number, parts)
        self._updates += 1
        return self

    def _update(self, kind: int, number: int, before: Any, after: Any) -> None:
        _check(lib.prune_statistics_update(self.handle, kind, number, before, after))

    def _update_in_parts(
        self, kind: int, number: int, parts: list[tuple[TensorView, TensorView]]
    ) -> None:
        """Adds parts apart and merges them when whole, so that a failure adds nothing."""
        tokens: Any = self._tokens
        with Statistics(self._n_blocks, tokens=tokens, windows=self._windows) as whole:
            for index, (h, g) in enumerate(parts):
                try:
                    whole._update(kind, number, rows_struct(h), rows_struct(g))
                except NonFiniteError as error:
                    raise NonFiniteError(f"part {index} of {len(parts)}: {error}") from None
            _check(lib.prune_statistics_merge(self.handle, whole.handle))

    def merge(self, other: Statistics) -> Statistics:
        """Adds `other` to these; both must have the same blocks and options. Returns these."""
        _check(lib.prune_statistics_merge(self.handle, other.handle))
        self._digests.extend(other._digests)
        self._updates += other._updates
        self._computed_in |= other._computed_in
        return self

    def scores(
        self,
        metrics: str | Sequence[str] = "static",
        granularity: str = "sublayer",
        relative_to: Literal["input", "output"] = "input",
    ) -> Scores:
        """Scores from what was gathered so far.

        Parameters
        ----------
        metrics : str or sequence of str
            Any of cosine, angular, l1, l2, relative_l1, relative_l2; "static" is all six.
        granularity, relative_to
            As for `Model.score`.

        Raises
        ------
        DataError
            A unit, which the text names, was given no tokens.
        """
        names = parse_metrics(metrics, static=STATISTICS_METRICS)
        unit = GRANULARITY.parse(granularity)
        options = ScoreOptions(granularity=unit, relative_to=relative_to).new()
        options.metrics = metric_bits(names)
        table = np.empty((len(names), unit_count(unit, self._n_blocks)), dtype=np.float64)
        out = ffi.from_buffer("double[]", table)
        _check(lib.prune_statistics_scores(self.handle, options, out, table.size, ffi.NULL))
        provenance: dict[str, Any] = {
            "method": "statistics",
            "metrics": list(names),
            "relative_to": relative_to,
            "tokens": self._tokens,
            "data_sha256": list(self._digests),
            "compute": sorted(self._computed_in),
        }
        if self._updates:
            provenance["updates"] = self._updates
        values = dict(zip(names, table, strict=True))
        return Scores(values, unit, self._n_blocks, provenance=provenance)

    def windows(self) -> npt.NDArray[np.float64]:
        """Mean angular distance of every window of contiguous blocks.

        Returns
        -------
        array of float, shape (n_blocks, n_blocks)
            Row n-1, column i: between the hidden state before block i and the one after block
            i+n-1; NaN where i+n > n_blocks. In units of pi: 0 = same direction, 1 = opposite.

        Raises
        ------
        ArgumentError
            The statistics were made without `windows=True`.
        DataError
            Nothing was gathered.
        """
        table = np.empty((self._n_blocks, self._n_blocks), dtype=np.float64)
        out = ffi.from_buffer("double[]", table)
        _check(lib.prune_statistics_windows(self.handle, out, table.size, ffi.NULL))
        return table

    def __repr__(self) -> str:
        return (
            f"Statistics(n_blocks={self._n_blocks}, data_sets={len(self._digests)}, "
            f"updates={self._updates})"
        )


def statistics(
    self: OpenModel,
    data: Data | None = None,
    *,
    windows: bool = False,
    tokens: Literal["all", "last"] = "all",
) -> Statistics:
    """Statistics of this model, of `data` if that is given; more can be collected later."""
    made = Statistics(self.shape.n_blocks, windows=windows, tokens=tokens, model=self)
    return made if data is None else made.collect(data)
