# SPDX-License-Identifier: Apache-2.0
"""Pictures of scores, pruning curves, searches, recovery and diagnoses, as matplotlib figures.

They are drawn without pyplot, so that neither the backend nor the open figures of the caller are
touched. Every series has a colour, a marker and a line style of its own, so that pictures read
without colour vision, too.
"""

from prunecore.plots.curves import pruning_curves
from prunecore.plots.diagnosis import (
    diagnosed_angular,
    diagnosed_gradients,
    diagnosed_removals,
    diagnosed_variance,
)
from prunecore.plots.heat_map import heat_map
from prunecore.plots.importance import importance
from prunecore.plots.recovery import recovery_losses
from prunecore.plots.search_path import search_path
from prunecore.plots.search_study import search_losses
from prunecore.plots.shapley_values import shapley_values
from prunecore.plots.style import save_figure
from prunecore.plots.tasks import task_correlation, task_damage, task_front, task_sufficiency

__all__ = [
    "diagnosed_angular",
    "diagnosed_gradients",
    "diagnosed_removals",
    "diagnosed_variance",
    "heat_map",
    "importance",
    "pruning_curves",
    "recovery_losses",
    "save_figure",
    "search_losses",
    "search_path",
    "shapley_values",
    "task_correlation",
    "task_damage",
    "task_front",
    "task_sufficiency",
]
