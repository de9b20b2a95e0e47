# SPDX-License-Identifier: Apache-2.0
"""What the library says about its metrics, read from it once: no list of them stands here."""

from __future__ import annotations

import dataclasses

from prunecore._native.library import _check, lib, new_struct, text


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetricFacts:
    """What the library says about one of its metrics."""

    name: str
    bit: int
    formula: str
    flags: int

    @property
    def is_static(self) -> bool:
        """Whether it needs neither a masked model nor a gradient."""
        return bool(self.flags & lib.PRUNE_FACT_STATIC)

    @property
    def is_of_states(self) -> bool:
        """Whether it comes from hidden states, so that statistics hold it."""
        return bool(self.flags & lib.PRUNE_FACT_OF_STATES)

    @property
    def needs_weights(self) -> bool:
        """Whether only models whose weights can be read have it."""
        return bool(self.flags & lib.PRUNE_FACT_NEEDS_WEIGHTS)


def _read_facts() -> dict[str, MetricFacts]:
    found = {}
    for index in range(lib.prune_metric_count()):
        facts = new_struct("prune_metric_facts")
        _check(lib.prune_metric_info(index, facts))
        name = text(facts.name)
        found[name] = MetricFacts(
            name=name, bit=facts.bit, formula=text(facts.formula), flags=facts.facts
        )
    return found


METRIC_FACTS = _read_facts()
"""The facts of each metric by its name, in the order of their bits."""

METRICS = tuple(METRIC_FACTS)
"""All metrics, in the order of their bits: the order of the rows that the library writes."""

STATIC_METRICS = tuple(name for name, facts in METRIC_FACTS.items() if facts.is_static)
"""Those that one forward pass gives (magnitude needs none)."""

STATISTICS_METRICS = tuple(name for name, facts in METRIC_FACTS.items() if facts.is_of_states)
"""Those that statistics hold."""
