# SPDX-License-Identifier: Apache-2.0
"""What the library says of its metrics."""

from __future__ import annotations

from dataclasses import dataclass

from prunecore._native.library import _check, lib, new_struct, text


@dataclass(frozen=True)
class MetricFacts:
    """What is known of one metric."""

    name: str
    formula: str
    bits: int

    @property
    def is_static(self) -> bool:
        """Whether it needs neither masks evaluated nor gradients."""
        return bool(self.bits & lib.PRUNE_FACT_STATIC)

    @property
    def is_of_states(self) -> bool:
        """Whether it comes from hidden states, so that statistics have it."""
        return bool(self.bits & lib.PRUNE_FACT_OF_STATES)

    @property
    def needs_weights(self) -> bool:
        """Whether the model's weights must be readable."""
        return bool(self.bits & lib.PRUNE_FACT_NEEDS_WEIGHTS)


def _read() -> dict[str, MetricFacts]:
    found = {}
    for index in range(lib.prune_metric_count()):
        facts = new_struct("prune_metric_facts")
        _check(lib.prune_metric_info(index, facts))
        name = text(facts.name)
        found[name] = MetricFacts(name, text(facts.formula), int(facts.facts))
    return found


METRIC_FACTS = _read()
"""Facts of every metric of the library, by its name."""
