# SPDX-License-Identifier: Apache-2.0
"""Several metrics at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prunecore._native.given import listed
from prunecore._native.names.metric_facts import METRIC_FACTS, METRICS, STATIC_METRICS
from prunecore.errors import ArgumentError


def metric_bits(names: Iterable[str]) -> int:
    """The header's bit set for several metrics."""
    return sum(METRIC_FACTS[name].bit for name in set(names))


def parse_metrics(
    metrics: str | Sequence[str],
    *,
    static: tuple[str, ...] = STATIC_METRICS,
    everything: tuple[str, ...] | None = None,
    by_name: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Reads a choice of metrics.

    Parameters
    ----------
    metrics : str or sequence of str
        "static", "all", a name, names with commas between them, or a sequence of names.
    static : tuple of str
        What "static" stands for.
    everything : tuple of str, optional
        What "all" stands for. Default: every metric.
    by_name : tuple of str
        Metrics that the library does not compute: only their own names choose them.

    Returns
    -------
    tuple of str
        Each metric once, in the order of METRICS, then of `by_name`.

    Raises
    ------
    ArgumentError
        A name is unknown, or there is none.
    """
    asked = metrics.split(",") if isinstance(metrics, str) else listed("metrics", metrics)
    chosen: set[str] = set()
    for given in asked:
        name = str(given).strip().replace("-", "_")
        if name == "all":
            chosen.update(METRICS if everything is None else everything)
        elif name == "static":
            chosen.update(static)
        elif name in METRICS or name in by_name:
            chosen.add(name)
        else:
            known = ", ".join((*METRICS, *by_name))
            raise ArgumentError(f"unknown metric '{name}': the metrics are {known}, static and all")
    if not chosen:
        raise ArgumentError("no metric is given")
    return tuple(name for name in (*METRICS, *by_name) if name in chosen)
