# SPDX-License-Identifier: Apache-2.0
"""The call that scores a model: `Model.score`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prunecore._native.library import __version__, ffi, lib
from prunecore._native.names.metric_facts import METRIC_FACTS, METRICS
from prunecore._native.names.metric_sets import metric_bits, parse_metrics
from prunecore._native.names.tables import GRANULARITY, Granularity
from prunecore._native.names.units import unit_count
from prunecore._native.options_generated import ScoreArguments, ScoreOptions
from prunecore._native.progress import ProgressFunction, Watch
from prunecore._native.signatures import takes
from prunecore.errors import ArgumentError
from prunecore.importance.ranking import Values
from prunecore.importance.scores import Scores
from prunecore.importance.topology import METRIC as TOPOLOGY
from prunecore.importance.topology import Topology, rule_cuts, topology
from prunecore.masks.mask import keep_pointer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel
    from prunecore.shape import ModelShape

BY_NAME = (TOPOLOGY,)
"""Metrics that the library does not compute: only their own names choose them."""


def _parse(metrics: str | Sequence[str], shape: ModelShape) -> tuple[str, ...]:
    """Reads a choice of metrics; "static" and "all" leave out what only weights can tell."""
    if shape.can_read_weights:
        return parse_metrics(metrics, by_name=BY_NAME)
    everything = tuple(name for name in METRICS if not METRIC_FACTS[name].needs_weights)
    static = tuple(name for name in everything if METRIC_FACTS[name].is_static)
    return parse_metrics(metrics, static=static, everything=everything, by_name=BY_NAME)


@takes(ScoreOptions)
def score(
    self: OpenModel,
    data: Data | None = None,
    metrics: str | Sequence[str] = "static",
    granularity: Granularity = "sublayer",
    mask: MaskLike | None = None,
    *,
    neighbours: int = 5,
    progress: ProgressFunction | None = None,
    **options: Unpack[ScoreArguments],
) -> Scores:
    """Scores every unit.

    Static metrics take one forward pass for all of them, leave-one-out one more per unit,
    taylor one forwards and backwards.

    Parameters
    ----------
    data : Data or None
        Calibration text. May be left out if magnitude is the only metric.
    metrics : str or sequence of str
        Any of cosine, angular, l1, l2, relative_l1, relative_l2, magnitude, leave_one_out_loss,
        leave_one_out_logit_l2, taylor; "static" is the first seven, "all" is all ten. Models
        whose weights cannot be read, as those that a host runs, have no magnitude and no
        taylor: "static" and "all" leave them out. Only by its own name: topology, of blocks, which
        needs the packages of prunecore[topology]; see `Model.topology`.
    granularity : {"sublayer", "block", "attention", "feed_forward"}
        What is scored as one unit.
    mask : Mask or array, optional
        The mask under which to score. Default: the model's.
    neighbours : int
        Of topology: nearest neighbours that each prompt is joined to.
    progress : callable, optional
        Called as `progress(stage, done, total, seconds)`; a true result stops the call with
        `Cancelled`, an exception stops it and is raised again.

    Raises
    ------
    DataError
        Ids outside the vocabulary, or nothing to predict.
    NonFiniteError
        NaN or infinity was met; the text names the layer.
    """
    names = _parse(metrics, self.shape)
    given = ScoreOptions(granularity=granularity, **options)
    unit = GRANULARITY.parse(granularity)
    n_blocks = self.shape.n_blocks
    keep = self._keep(mask)
    if keep is None:
        keep = self.mask.keep
    values: dict[str, Values] = {}
    provenance: dict[str, Any] = {
        "library": f"prunecore {__version__}",
        "model": self.provenance,
        "metrics": list(names),
        "relative_to": given.relative_to,
        "tokens": given.tokens,
    }
    if data is not None:
        provenance["data_sha256"] = data.digest
        provenance["n_sequences"] = data.n_sequences
        provenance["n_tokens"] = data.n_tokens
    if TOPOLOGY in names:
        found = _topology(self, data, keep, unit, neighbours, given.batch_tokens, progress)
        values[TOPOLOGY] = found.scores()[TOPOLOGY]
        provenance[TOPOLOGY] = {
            "neighbours": neighbours,
            "cut": rule_cuts(found.scores()),
        }
    computed = tuple(name for name in names if name not in BY_NAME)
    if computed:
        watch = Watch(progress)
        struct = given.new()
        struct.metrics = metric_bits(computed)
        struct.keep, struct.n_keep = keep_pointer(keep)
        struct.progress = watch.callback
        table = np.empty((len(computed), unit_count(unit, n_blocks)), dtype=np.float64)
        out = ffi.from_buffer("double[]", table)
        handle = ffi.NULL if data is None else data.handle
        watch.check(lib.prune_model_score(self.handle, handle, struct, out, table.size, ffi.NULL))
        values = dict(zip(computed, table, strict=True)) | values
    return Scores(values, unit, n_blocks, keep, provenance)


def _topology(
    model: OpenModel,
    data: Data | None,
    keep: npt.NDArray[np.uint8],
    unit: Granularity,
    neighbours: int,
    batch_tokens: int | None,
    progress: ProgressFunction | None,
) -> Topology:
    if unit != "block":
        raise ArgumentError(f"topology is a metric of blocks, but granularity is {unit}")
    if data is None:
        raise ArgumentError("topology needs data: prompts, one sequence each")
    return topology(
        model, data, keep, neighbours=neighbours, batch_tokens=batch_tokens, progress=progress
    )
