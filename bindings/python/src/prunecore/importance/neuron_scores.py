# SPDX-License-Identifier: Apache-2.0
"""Scores of neurons: how much each value inside a feed-forward matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from prunecore._native.given import as_array, as_json, listed
from prunecore._native.json_files import DAMAGE, LoadedResult, check_format, reason
from prunecore._native.library import __version__, _check, ffi, lib
from prunecore._native.numbers import checked_count
from prunecore._native.options_generated import NeuronArguments, NeuronOptions
from prunecore._native.paths import shown
from prunecore._native.progress import ProgressFunction, Watch
from prunecore._native.reading import parse_json
from prunecore._native.signatures import takes
from prunecore.errors import ArgumentError, FormatError
from prunecore.masks.mask import keep_pointer

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel

FORMAT = "prunecore.neuron_scores"

NeuronMetric = Literal["norm", "contribution"]
NEURON_METRICS: tuple[NeuronMetric, ...] = ("norm", "contribution")

Values = npt.NDArray[np.float64]


class NeuronScores(LoadedResult):
    """How much each neuron of each feed-forward matters: an immutable value.

    `Model.neuron_scores` makes them. A neuron is a value that the last product of a feed-forward
    reads: a row of gate and up, and the column of down that it meets.

    Parameters
    ----------
    norms, contributions : sequence of array of float
        By block, one number per neuron; empty where no feed-forward stands. Higher = more
        important.
    provenance : mapping, optional
        Where they come from, as JSON values.

    Attributes
    ----------
    norms : tuple of array
        Mean over sequences of the L2 norm of the neuron's values over the tokens of a sequence:
        the score of 2SSP (arXiv 2501.17771).
    contributions : tuple of array
        Root mean square of the values over all tokens, times the L2 norm of the column of down: the
        size of what the neuron adds to the hidden state.
    """

    def __init__(
        self,
        norms: Sequence[npt.ArrayLike],
        contributions: Sequence[npt.ArrayLike],
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self.norms = _rows("norms", norms)
        self.contributions = _rows("contributions", contributions)
        if [len(row) for row in self.norms] != [len(row) for row in self.contributions]:
            raise ArgumentError("norms and contributions are of different numbers of neurons")
        self._provenance: dict[str, Any] = parse_json(as_json("provenance", provenance))

    @property
    def n_blocks(self) -> int:
        """Number of blocks of the model."""
        return len(self.norms)

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of each block; 0 where no feed-forward stands."""
        return tuple(len(row) for row in self.norms)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where they come from. A copy."""
        return dict(self._provenance)

    def __getitem__(self, metric: str) -> tuple[Values, ...]:
        """The scores of a metric: "norm" or "contribution"."""
        rows = {"norm": self.norms, "contribution": self.contributions}
        if metric not in rows:
            raise ArgumentError(
                f"unknown score of neurons {shown(metric)}: they are {', '.join(NEURON_METRICS)}"
            )
        return rows[metric]

    def __repr__(self) -> str:
        return f"NeuronScores(n_blocks={self.n_blocks}, neurons={sum(self.widths)})"

    def keep(
        self, widths: Mapping[int, int], metric: str = "norm", group: int = 1
    ) -> dict[int, list[int]]:
        """The neurons that stay where feed-forwards become narrower: those of the highest scores.

        Parameters
        ----------
        widths : mapping of int to int
            How many neurons stay, by block; blocks that are not named stay as they are.
        metric : {"norm", "contribution"}
            Which score decides; of equal ones, the lower index stays.
        group : int
            Neurons stay in groups of this many neighbours, by the sum of their squared scores. With
            the size of the blocks of a quantised type, down keeps its type.

        Returns
        -------
        dict of int to list of int
            By block, ascending.

        Raises
        ------
        ArgumentError
            A block has no such width.
        """
        rows = self[metric]
        size = checked_count("group", group, 1)
        made: dict[int, list[int]] = {}
        for block, width in widths.items():
            number = checked_count("block", block, 0, self.n_blocks - 1)
            row = rows[number]
            count = checked_count(f"the width of block {number}", width, 1, max(len(row), 1))
            if len(row) == 0:
                raise ArgumentError(f"block {number} has no feed-forward that could be narrower")
            if count < len(row):
                made[number] = _highest(row, count, size, number)
        return made

    def to_dict(self) -> dict[str, Any]:
        """The scores as JSON values."""
        return {
            "format": FORMAT,
            "version": 1,
            "n_blocks": self.n_blocks,
            "norms": [row.tolist() for row in self.norms],
            "contributions": [row.tolist() for row in self.contributions],
            "provenance": self.provenance,
        }

    @classmethod
    def from_dict(cls, record: Any) -> Self:
        """Reads scores from what `to_dict` gives.

        Raises
        ------
        FormatError
            It is something else, or contradicts itself.
        UnsupportedError
            It is of another version.
        """
        check_format(record, FORMAT, "scores of neurons", "scores of neurons")
        try:
            return cls(record["norms"], record["contributions"], record.get("provenance"))
        except (*DAMAGE, ArgumentError) as error:
            raise FormatError(f"damaged scores of neurons: {reason(error)}") from error


def _highest(row: Values, count: int, group: int, block: int) -> list[int]:
    if group == 1:
        return sorted(np.argsort(-row, kind="stable")[:count].tolist())
    if count % group or len(row) % group:
        raise ArgumentError(
            f"block {block} has {len(row)} neurons, of which {count} are to stay: neither may be "
            f"cut within a group of {group}"
        )
    sums = (row.reshape(-1, group) ** 2).sum(axis=1)
    chosen = np.sort(np.argsort(-sums, kind="stable")[: count // group])
    return [int(neuron) for each in chosen for neuron in range(each * group, (each + 1) * group)]


def _rows(name: str, rows: Sequence[npt.ArrayLike]) -> tuple[Values, ...]:
    made = []
    for block, row in enumerate(listed(name, rows)):
        values = as_array(f"{name} of block {block}", row, np.float64).copy()
        if values.ndim != 1 or not np.all(np.isfinite(values)):
            raise ArgumentError(f"{name} of block {block} are not a row of finite numbers")
        values.setflags(write=False)
        made.append(values)
    if not made:
        raise ArgumentError(f"there are no {name}")
    return tuple(made)


@takes(NeuronOptions)
def neuron_scores(
    self: OpenModel,
    data: Data,
    mask: MaskLike | None = None,
    *,
    progress: ProgressFunction | None = None,
    **options: Unpack[NeuronArguments],
) -> NeuronScores:
    """Scores every neuron of every feed-forward by one forward pass.

    Of models that PruneCore runs itself, and of those that `prunecore.torch.wrap` makes.

    Parameters
    ----------
    data : Data
        Calibration text. The norm is a mean over its sequences.
    mask : Mask or array, optional
        The mask under which the model is run. Default: the model's.
    progress : callable, optional
        Called as `progress(stage, done, total, seconds)`; a true result stops the call with
        `Cancelled`, an exception stops it and is raised again.

    Raises
    ------
    DataError
        Ids outside the vocabulary.
    NonFiniteError
        NaN or infinity was met; the text names the layer.
    UnsupportedError
        A feed-forward is a mixture of experts, or a host runs the model.
    """
    n_blocks = self.shape.n_blocks
    keep = self._keep(mask)
    if keep is None:
        keep = self.mask.keep
    counts = np.empty(n_blocks, dtype=np.int64)
    out = ffi.from_buffer("int64_t[]", counts)
    _check(lib.prune_model_neuron_counts(self.handle, *keep_pointer(keep), out, n_blocks, ffi.NULL))
    watch = Watch(progress)
    struct = NeuronOptions(**options).new()
    struct.keep, struct.n_keep = keep_pointer(keep)
    struct.progress = watch.callback
    total = int(counts.sum())
    tables = [np.zeros(max(total, 1), dtype=np.float64) for _ in range(2)]
    norms, contributions = (ffi.from_buffer("double[]", table) for table in tables)
    watch.check(
        lib.prune_model_neuron_scores(
            self.handle, data.handle, struct, norms, contributions, total, ffi.NULL
        )
    )
    ends = np.cumsum(counts)[:-1]
    provenance = {
        "library": f"prunecore {__version__}",
        "model": self.provenance,
        "data_sha256": data.digest,
        "n_sequences": data.n_sequences,
        "n_tokens": data.n_tokens,
    }
    rows = [np.split(table[:total], ends) for table in tables]
    return NeuronScores(rows[0], rows[1], provenance)
