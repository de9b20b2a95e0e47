# SPDX-License-Identifier: Apache-2.0
"""The call that scores a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prunecore._library import ffi, header_version, lib, new_struct
from prunecore._metrics import (
    METRIC_FACTS,
    METRICS,
    granularity_value,
    metric_bits,
    option_value,
    parse_granularity,
    parse_metrics,
    unit_count,
)
from prunecore._progress import ProgressFunction, Watch
from prunecore.evaluation import checked_batch_tokens
from prunecore.mask import as_keep, keep_pointer
from prunecore.scores import Scores

if TYPE_CHECKING:
    from prunecore.data import Data
    from prunecore.mask import MaskLike
    from prunecore.model import Model
    from prunecore.shape import ModelShape


def _parse(metrics: str | Sequence[str], shape: ModelShape) -> tuple[str, ...]:
    """Reads a choice of metrics; "static" and "all" leave out what only weights can tell."""
    if shape.can_read_weights:
        return parse_metrics(metrics)
    everything = tuple(name for name in METRICS if not METRIC_FACTS[name].needs_weights)
    static = tuple(name for name in everything if METRIC_FACTS[name].is_static)
    return parse_metrics(metrics, static=static, everything=everything)


def score(
    model: Model,
    data: Data | None,
    metrics: str | Sequence[str],
    granularity: str,
    mask: MaskLike | None,
    relative_to: str,
    tokens: str,
    batch_tokens: int | None,
    progress: ProgressFunction | None,
) -> Scores:
    """Scores every unit of a model: see `Model.score`."""
    names = _parse(metrics, model.shape)
    unit = parse_granularity(granularity)
    n_blocks = model.shape.n_blocks
    keep = as_keep(mask, n_blocks)
    if keep is None:
        keep = model.mask.keep
    watch = Watch(progress)
    options = new_struct("prune_score_options")
    options.granularity = granularity_value(unit)
    options.metrics = metric_bits(names)
    options.relative_to = option_value("RELATIVE_TO", relative_to, ("input", "output"))
    options.tokens = option_value("TOKENS", tokens, ("all", "last"))
    options.keep, options.n_keep = keep_pointer(keep)
    options.batch_tokens = checked_batch_tokens(batch_tokens)
    options.progress = watch.callback
    table = np.empty((len(names), unit_count(unit, n_blocks)), dtype=np.float64)
    out = ffi.from_buffer("double[]", table)
    handle = ffi.NULL if data is None else data.handle
    watch.check(lib.prune_model_score(model.handle, handle, options, out, table.size, ffi.NULL))
    provenance: dict[str, Any] = {
        "library": f"prunecore {header_version()}",
        "model": model.provenance,
        "metrics": list(names),
        "relative_to": relative_to,
        "tokens": tokens,
    }
    if data is not None:
        provenance["data_sha256"] = data.digest
        provenance["n_sequences"] = data.n_sequences
        provenance["n_tokens"] = data.n_tokens
    return Scores(dict(zip(names, table, strict=True)), unit, n_blocks, keep, provenance)
