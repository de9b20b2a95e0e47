# SPDX-License-Identifier: Apache-2.0
"""Searches and studies of them as tables, for people and as Markdown."""

from __future__ import annotations

import math

from rich.console import Group

from prunecore.cli import study_tables
from prunecore.cli.output import count, table, titled
from prunecore.cli.study_tables import StudyTable
from prunecore.plots.style import words
from prunecore.search.result import SearchResult
from prunecore.search.state import SearchStep
from prunecore.studies.search_study import SearchPoint, SearchStudy

LONGEST_PATH = 40
"""Rows of a path shown at most: the last ones."""

_UNITS = {"attention": "attn", "feed_forward": "ffn", "block": "blocks", "sublayer": "sublayers"}


def path(found: SearchResult) -> Group:
    """One row per step: what went, the damage, what is left."""
    made = table("removed", "step", "damage", "parameters", "cache (bytes/token)")
    shown = found.path[-LONGEST_PATH:]
    for step in shown:
        made.add_row(
            _what(step, step is found.path[0]),
            str(step.n_removed),
            _number(step.damage, 4),
            count(step.parameters),
            count(step.kv_bytes),
        )
    hidden = len(found.path) - len(shown)
    title = "The way to the mask" + (f" (the last {len(shown)} steps)" if hidden else "")
    return titled(title, made)


def search(found: SearchResult) -> Group:
    """What was found, and what it took."""
    state, made = found.state, table("", "")
    made.add_row("strategy", words(state.strategy))
    made.add_row("removed", ", ".join(found.removed) or "nothing")
    widths = found.provenance.get("widths", [])
    kept = sorted({w for block, w in enumerate(widths) if found.mask.keep[2 * block + 1]})
    if kept:
        made.add_row("neurons of a feed-forward", " to ".join(map(str, {kept[0]: 0, kept[-1]: 0})))
    made.add_row("damage of the start", _number(state.start_damage, 4))
    made.add_row("damage of the mask", _number(state.damage, 4))
    made.add_row("masks evaluated", count(state.told))
    saved = f" of {count(state.sublayers_naive)}, mask by mask"
    made.add_row("sublayers computed", count(state.sublayers_computed) + saved)
    return titled("Search", made)


def study(found: SearchStudy) -> Group:
    """Losses, and what each strategy takes."""
    return study_tables.shown(_study(found))


def study_markdown(found: SearchStudy) -> str:
    """The tables of a study as Markdown."""
    return study_tables.markdown(_study(found))


def _what(step: SearchStep, first: bool) -> str:
    if first:
        return "(start)"
    return step.unit or ", ".join(step.mask.removed)


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "not evaluated"


def _study(found: SearchStudy) -> list[StudyTable]:
    """Titles, columns and rows of its tables: one for each granularity."""
    tables: list[StudyTable] = []
    granularities = list(dict.fromkeys(granularity for granularity, _ in found.removals))
    for granularity in granularities:
        counts = [removed for name, removed in found.removals if name == granularity]
        unit = _UNITS[granularity]
        losses, costs = [], []
        for method in found.methods:
            points = {p.n_removed: p for p in found.points if _is(p, granularity, method)}
            if points:
                losses.append([method, *(_loss(found, points.get(n)) for n in counts)])
                costs.append([method, *(_cost(points.get(n)) for n in counts)])
        heads = [f"{n} {unit}" for n in counts]
        tables += [
            StudyTable(
                f"Held-out loss by number of {unit} removed (full model: {found.loss:.3f}); in "
                "brackets the loss on the data of the search, less that of the best subset of all",
                ["strategy", *heads],
                losses,
            ),
            StudyTable("Sublayer evaluations that it took", ["strategy", *heads], costs),
        ]
    return tables


def _is(point: SearchPoint, granularity: str, method: str) -> bool:
    return (point.granularity, point.method) == (granularity, method)


def _loss(found: SearchStudy, point: SearchPoint | None) -> str:
    if point is None:
        return ""
    above = found.above_best(point.granularity, point.n_removed, point.method)
    return f"{point.loss:.3f}" + (f" ({above:.3f})" if math.isfinite(above) else "")


def _cost(point: SearchPoint | None) -> str:
    return "" if point is None else count(point.sublayers)
