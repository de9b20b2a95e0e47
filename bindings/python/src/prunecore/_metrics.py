# SPDX-License-Identifier: Apache-2.0
"""Names of metrics and of granularities, and the header's numbers for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal

from prunecore._library import _check, ffi, lib, new_struct, text
from prunecore.errors import ArgumentError

Granularity = Literal["sublayer", "block", "attention", "feed_forward"]


@dataclasses.dataclass(frozen=True)
class MetricFacts:
    """What the library says of one of its metrics."""

    name: str
    bit: int
    formula: str
    flags: int

    @property
    def is_static(self) -> bool:
        """Whether no mask is evaluated for it, and no gradient."""
        return bool(self.flags & lib.PRUNE_FACT_STATIC)

    @property
    def is_of_states(self) -> bool:
        """Whether it comes from hidden states, so that statistics have it."""
        return bool(self.flags & lib.PRUNE_FACT_OF_STATES)

    @property
    def needs_weights(self) -> bool:
        """Whether only models with weights that can be read have it."""
        return bool(self.flags & lib.PRUNE_FACT_NEEDS_WEIGHTS)


def _read_facts() -> dict[str, MetricFacts]:
    found = {}
    for index in range(lib.prune_metric_count()):
        facts = new_struct("prune_metric_facts")
        _check(lib.prune_metric_info(index, facts))
        name = text(facts.name)
        found[name] = MetricFacts(name, facts.bit, text(facts.formula), facts.facts)
    return found


METRIC_FACTS = _read_facts()
"""Facts of each metric of the library, by name, in the order of their bits."""

METRICS: tuple[str, ...] = tuple(METRIC_FACTS)
"""All metrics, in the order of their bits: the order of the rows that the library writes."""

STATIC_METRICS: tuple[str, ...] = tuple(n for n, own in METRIC_FACTS.items() if own.is_static)
"""Those that one forward pass gives (magnitude needs none)."""

STATISTICS_METRICS: tuple[str, ...] = tuple(
    n for n, own in METRIC_FACTS.items() if own.is_of_states
)
"""Those that statistics hold."""

GRANULARITIES: tuple[Granularity, ...] = ("sublayer", "block", "attention", "feed_forward")


def metric_bit(name: str) -> int:
    """The header's bit for a metric."""
    return METRIC_FACTS[name].bit


def metric_bits(names: Iterable[str]) -> int:
    """The header's bit set for several metrics."""
    return sum(metric_bit(name) for name in set(names))


def parse_metrics(
    metrics: str | Sequence[str],
    *,
    static: tuple[str, ...] = STATIC_METRICS,
    everything: tuple[str, ...] | None = None,
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

    Returns
    -------
    tuple of str
        Each metric once, in the order of METRICS.

    Raises
    ------
    ArgumentError
        A name is unknown, or there is none.
    """
    asked = metrics.split(",") if isinstance(metrics, str) else list(metrics)
    chosen: set[str] = set()
    for given in asked:
        name = str(given).strip().replace("-", "_")
        if name == "all":
            chosen.update(METRICS if everything is None else everything)
        elif name == "static":
            chosen.update(static)
        elif name in METRICS:
            chosen.add(name)
        else:
            known = ", ".join(METRICS)
            raise ArgumentError(f"unknown metric '{name}': the metrics are {known}, static and all")
    if not chosen:
        raise ArgumentError("no metric is given")
    return tuple(name for name in METRICS if name in chosen)


def parse_granularity(name: str) -> Granularity:
    """Reads the name of a granularity; "feed-forward" counts as "feed_forward"."""
    wanted = str(name).strip().replace("-", "_")
    for granularity in GRANULARITIES:
        if granularity == wanted:
            return granularity
    known = ", ".join(GRANULARITIES)
    raise ArgumentError(f"unknown granularity '{name}': the granularities are {known}")


def parse_only(name: str | None) -> Literal["attention", "feed_forward"] | None:
    """Reads the choice of a kind of sublayer; None is both."""
    if name is None:
        return None
    wanted = str(name).strip().replace("-", "_")
    if wanted == "attention":
        return "attention"
    if wanted == "feed_forward":
        return "feed_forward"
    raise ArgumentError(f"unknown kind of sublayer '{name}': give attention or feed_forward")


def granularity_value(granularity: Granularity) -> int:
    """The header's value for a granularity."""
    return int(ffi.integer_const(f"PRUNE_GRANULARITY_{granularity.upper()}"))


def option_value(group: str, name: str, names: tuple[str, ...]) -> int:
    """The header's value for one of the names that an option allows.

    Parameters
    ----------
    group : str
        Of the header's constants: "RELATIVE_TO" or "TOKENS".
    name : str
        What the caller gave.
    names : tuple of str
        What is allowed.
    """
    if name not in names:
        raise ArgumentError(f"{group.lower()} is '{name}', but must be {' or '.join(names)}")
    return int(ffi.integer_const(f"PRUNE_{group}_{name.upper()}"))


def unit_count(granularity: Granularity, n_blocks: int) -> int:
    """How many units a model of n_blocks blocks has."""
    return 2 * n_blocks if granularity == "sublayer" else n_blocks


def sublayer_name(index: int) -> str:
    """Name of sublayer u: "attn.3" for 6, "ffn.3" for 7."""
    return f"{'ffn' if index % 2 else 'attn'}.{index // 2}"


def unit_names(granularity: Granularity, n_blocks: int) -> tuple[str, ...]:
    """Names of all units: "attn.3" and "ffn.3" for sublayers, "block.3" for blocks."""
    if granularity == "sublayer":
        return tuple(sublayer_name(index) for index in range(2 * n_blocks))
    prefix = {"block": "block", "attention": "attn", "feed_forward": "ffn"}[granularity]
    return tuple(f"{prefix}.{block}" for block in range(n_blocks))
