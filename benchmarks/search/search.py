# SPDX-License-Identifier: Apache-2.0
"""What searches find on tales-12l, against all subsets of its blocks and all orders by scores.

    python -m benchmarks.search.search [--out DIRECTORY]

Blocks are searched on the games of the estimators (8 sequences of 128 tokens of each text), of
which every subset is evaluated; sublayers on 2 sequences of 64 tokens, where the orders are those
of every metric and of the Shapley values. All in fp32, so that the numbers are the same on every
CPU. The exit status is 1 if a bar is missed. Writes search.json and search.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc

from benchmarks.estimators.parts.games import (
    TEXTS,
    Game,
    LossTable,
    block_table,
    masks_of,
    sublayer_table,
)
from benchmarks.harness import report
from benchmarks.harness.places import RESULTS
from benchmarks.harness.record import Record, environment_notes

SEARCHES = ("greedy", "evolutionary")
BLOCK_COUNTS = range(1, 7)
SUBLAYER_COUNTS = (6, 8)
COST_COUNTS = (2, 4, 6, 8)
SEED = 0
GAME_BUDGET = 512
SAME = 1e-6  # nats: losses of one mask, summed in one batch and in another


def optimum(game: Game, count: int) -> float:
    """The least loss with so many blocks removed."""
    sizes = masks_of(game.known, game.players).sum(axis=1)
    return float(game.losses[sizes == game.players - count].min())


def plain_evaluations(sublayers: int, count: int) -> int:
    """Sublayers that greedy removal takes mask by mask, as published: without exchanges."""
    tried = sum((sublayers - gone) * (sublayers - gone - 1) for gone in range(count))
    return sublayers + tried


def search_blocks(record: Record, rows: list[dict[str, Any]]) -> None:
    """Searches over blocks against the best of all subsets."""
    above: dict[str, list[float]] = {name: [] for name in SEARCHES}
    for text in TEXTS:
        table = block_table(text)
        game = table.game(capped=False)
        for count in BLOCK_COUNTS:
            least = optimum(game, count)
            for name in SEARCHES:
                found = run(table, name, "block", count, rows)
                above[name].append(found - least)
    for name in SEARCHES:
        what = f"{name}, 1 to 6 of 12 blocks, 3 texts: loss above that of the best subset"
        record.judge(f"{what}, most of all", [max(above[name])], "{:.1e} nats", most=SAME)


def search_sublayers(record: Record, rows: list[dict[str, Any]]) -> None:
    """Searches over sublayers against one-shot orders."""
    tables = {text: sublayer_table(text) for text in TEXTS}
    orders = {text: scores_of(table) for text, table in tables.items()}
    for count in SUBLAYER_COUNTS:
        losses: dict[str, list[float]] = {}
        for text, table in tables.items():
            for order, scores in orders[text].items():
                mask = scores.prune(count, metric=order)
                loss = float(table.model.damages(table.data, [mask]).values[0])
                losses.setdefault(order, []).append(loss)
                note(rows, text, "one-shot, " + order, "sublayer", count, loss)
            for name in SEARCHES:
                losses.setdefault(name, []).append(run(table, name, "sublayer", count, rows))
        means = {name: float(np.mean(values)) for name, values in losses.items()}
        best = min((name for name in means if name not in SEARCHES), key=means.__getitem__)
        for name in SEARCHES:
            what = f"{name}, {count} of 24 sublayers, 3 texts: below the best order ({best})"
            record.judge(what, [means[best] - means[name]], "{:.4f} nats", least=SAME)


def count_work(record: Record) -> None:
    """Sublayers that greedy computes, of those mask by mask."""
    table = sublayer_table(TEXTS[0])
    shares, plain, whole = [], [], []
    for count in COST_COUNTS:
        state = table.model.search(table.data, "greedy", remove=count).state
        alone = table.model.search(table.data, "greedy", remove=count, exchanges=0).state
        published = plain_evaluations(24, count)
        if alone.sublayers_naive != published:
            raise AssertionError("greedy without exchanges tries other masks than published")
        shares.append(state.sublayers_computed / state.sublayers_naive)
        plain.append(alone.sublayers_computed / published)
        whole.append(state.sublayers_computed / published)
    what = f"greedy, {', '.join(map(str, COST_COUNTS))} of 24 sublayers: sublayers computed"
    record.judge(f"{what}, of those mask by mask, most", [max(shares)], "{:.1%}", most=0.6)
    record.judge(f"{what} without exchanges, likewise, most", [max(plain)], "{:.1%}", most=0.6)
    what = f"{what} with exchanges, of those without mask by mask"
    for name, values in (("least", min(whole)), ("most", max(whole))):
        record.judge(f"{what}, {name}", [values], "{:.1%}")


def scores_of(table: LossTable) -> dict[str, pc.Scores | pc.ShapleyScores]:
    """Scores by every metric, and Shapley values."""
    scores = table.model.score(table.data, "all")
    values = table.model.shapley(table.data, budget=GAME_BUDGET, seed=SEED)
    return {**dict.fromkeys(scores.metrics, scores), "shapley": values}


def run(
    table: LossTable, name: str, granularity: str, count: int, rows: list[dict[str, Any]]
) -> float:
    """The loss that a search ends with."""
    began = time.monotonic()
    found = table.model.search(table.data, name, granularity, remove=count, seed=SEED)
    seconds = time.monotonic() - began
    state = found.state
    work = {"masks": state.told, "sublayers": state.sublayers_computed, "seconds": seconds}
    note(rows, table.text, name, granularity, count, found.damage, **work)
    return found.damage


def note(
    rows: list[dict[str, Any]],
    text: str,
    how: str,
    granularity: str,
    count: int,
    loss: float,
    **work: float,
) -> None:
    rows.append(
        {"text": text, "how": how, "granularity": granularity, "count": count, "loss": loss, **work}
    )
    print(f"{text}: {count} {granularity}, {how}: {loss:.4f}", file=sys.stderr, flush=True)


def markdown(results: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# Search",
        "",
        "tales-12l in fp32; blocks on 8 sequences of 128 tokens of each text, sublayers on 2 of "
        "64. Loss in nats per token.",
        "Made by `python -m benchmarks.search.search`.",
        "",
        *report.bar_table(results["rows"]),
    ]
    for granularity, counts in (("block", BLOCK_COUNTS), ("sublayer", SUBLAYER_COUNTS)):
        found = [row for row in results["rows_found"] if row["granularity"] == granularity]
        cells = []
        for how in dict.fromkeys(row["how"] for row in found):
            own = [row for row in found if row["how"] == how]
            means = [np.mean([r["loss"] for r in own if r["count"] == count]) for count in counts]
            masks = [np.mean([r.get("masks", 1) for r in own if r["count"] == c]) for c in counts]
            cells.append(
                [how, *(f"{mean:.4f}" for mean in means), f"{min(masks):.0f} to {max(masks):.0f}"]
            )
        head = [f"mean of 3 texts, {granularity}s removed", *map(str, counts), "masks evaluated"]
        lines += report.table(head, cells)
    return "\n".join([*lines, *report.footer(results)])


def main() -> int:
    """Measures, writes both results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS, help="where results go")
    arguments = parser.parse_args()
    record, rows = Record(), []
    notes = environment_notes()
    search_blocks(record, rows)
    search_sublayers(record, rows)
    count_work(record)
    results = record.results(
        **notes,
        library=f"prunecore {pc.__version__}",
        rows_found=rows,
    )
    return report.publish("search", results, markdown(results), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
