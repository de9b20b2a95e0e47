# SPDX-License-Identifier: Apache-2.0
"""The call that scores a model: `Model.score`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prunecore._native.library import __version__, ffi, lib
from prunecore._native.names.metric_facts import METRIC_FACTS, METRICS
from prunecore._native.names.metric_sets import metric_bits, parse_metrics
from prunecore._native.names.tables import GRANULARITY, Granularity
from prunecore._native.names.units import unit_count
from prunecore._native.options_generated import ScoreArguments, ScoreOptions
from prunecore._native.progress import ProgressFunction, Watch
from prunecore._native.signatures import takes
from prunecore.importance.scores import Scores
from prunecore.masks.mask import keep_pointer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel
    from prunecore.shape import ModelShape


def _parse(metrics: str | Sequence[str], shape: ModelShape) -> tuple[str, ...]:
    """Reads a choice of metrics; "static" and "all" leave out what only weights can tell."""
    if shape.can_read_weights:
        return parse_metrics(metrics)
    everything = tuple(name for name in METRICS if not METRIC_FACTS[name].needs_weights)
    static = tuple(name for name in everything if METRIC_FACTS[name].is_static)
    return parse_metrics(metrics, static=static, everything=everything)


@takes(ScoreOptions)
def score(
    self: OpenModel,
    data: Data | None = None,
    metrics: str | Sequence[str] = "static",
    granularity: Granularity = "sublayer",
    mask: MaskLike | None = None,
    *,
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
        taylor: "static" and "all" leave them out.
    granularity : {"sublayer", "block", "attention", "feed_forward"}
        What is scored as one unit.
    mask : Mask or array, optional
        The mask under which to score. Default: the model's.
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
    watch = Watch(progress)
    struct = given.new()
    struct.metrics = metric_bits(names)
    struct.keep, struct.n_keep = keep_pointer(keep)
    struct.progress = watch.callback
    table = np.empty((len(names), unit_count(unit, n_blocks)), dtype=np.float64)
    out = ffi.from_buffer("double[]", table)
    handle = ffi.NULL if data is None else data.handle
    watch.check(lib.prune_model_score(self.handle, handle, struct, out, table.size, ffi.NULL))
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
    return Scores(dict(zip(names, table, strict=True)), unit, n_blocks, keep, provenance)
