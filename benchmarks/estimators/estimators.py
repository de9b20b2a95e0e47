# SPDX-License-Identifier: Apache-2.0
"""How close each Shapley estimator comes to the exact values, by evaluations and by cost.

    python -m benchmarks.estimators.estimators [--seeds 30] [--games stories,maths] [--quick]
    python -m benchmarks.estimators.estimators --sublayers [--seeds 10] [--games stories,maths]

The first form plays the games over the 12 blocks of the embedded model, whose 4,096 coalitions are
all evaluated, once with the loss capped at ln(vocabulary) and once with the loss as it is. The exit
status is 1 if a bar is missed. The second plays the games over its 24 sublayers, capped, against
references of 20,000 permutations; it takes some twenty minutes, most of them for the references,
which are kept under build/. It has no bars.

Estimators of PruneCore and of shapiq 1.4.1 meet the same games with the same seeds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prunecore as pc

from benchmarks.estimators.parts import bars, pictures, report
from benchmarks.estimators.parts.contenders import CONTENDERS
from benchmarks.estimators.parts.games import (
    TEXTS,
    Floats,
    Game,
    LossTable,
    block_table,
    permutation_reference,
    say,
    sublayer_table,
)
from benchmarks.estimators.parts.summary import summarise
from benchmarks.estimators.parts.trials import Run, Trial, play
from benchmarks.harness import environment
from benchmarks.harness.places import REPOSITORY, RESULTS

IMAGES = REPOSITORY / "docs" / "images"
BLOCK_BUDGETS = (32, 64, 128, 256, 512)
SUBLAYER_BUDGETS = (64, 128, 256, 512, 1024)
PERMUTATIONS = 20_000


@dataclass(frozen=True)
class Task:
    """All budgets and seeds of one estimator on one game."""

    contender: str
    game: Game
    exact: Floats
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]


def seeds_of(text: str, count: int) -> tuple[int, ...]:
    """Other seeds for every text, so that no luck is counted three times."""
    first = 1000 * TEXTS.index(text)
    return tuple(range(first, first + count))


def run_task(task: Task) -> list[Trial]:
    """Plays a task, in a process of the pool."""
    pc.set_threads(1)
    return play(CONTENDERS[task.contender], task.game, task.exact, task.budgets, task.seeds)


def block_trials(texts: list[str], seeds: int, budgets: tuple[int, ...]) -> list[Trial]:
    """The games over the blocks, in as many processes as there are processors."""
    tasks = []
    for text in texts:
        table = block_table(text)
        for capped in (True, False):
            game = table.game(capped)
            exact = game.values()
            tasks += [
                Task(name, game, exact, budgets, seeds_of(text, seeds)) for name in CONTENDERS
            ]
    found: list[Trial] = []
    start = time.monotonic()
    # Not by fork: this process has threads of the library.
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for number, trials in enumerate(pool.map(run_task, tasks), start=1):
            found += trials
            if number % len(CONTENDERS) == 0:
                say(f"{number} of {len(tasks)} tasks in {time.monotonic() - start:.0f} s")
    return found


def sublayer_trials(table: LossTable, exact: Floats, seeds: tuple[int, ...]) -> list[Trial]:
    """A game over the sublayers: all runs go on together, and what they ask for is pooled."""
    runs = [
        Run(contender, table.text, True, table.players, budget, seed)
        for contender in CONTENDERS.values()
        for budget in SUBLAYER_BUDGETS
        for seed in seeds
    ]
    waiting = [run for run in runs if run.wanted is not None]
    while waiting:
        table.evaluate_masks([run.wanted for run in waiting])
        game = table.game(capped=True)
        for run in waiting:
            run.tell(game)
        waiting = [run for run in waiting if run.wanted is not None]
    table.save()
    return [run.trial(exact) for run in runs]


def play_blocks(arguments: argparse.Namespace, texts: list[str]) -> dict[str, Any]:
    """The results of the first form."""
    seeds = arguments.seeds or (4 if arguments.quick else 30)
    trials = block_trials(texts, seeds, (32, 128) if arguments.quick else BLOCK_BUDGETS)
    summary = summarise(trials, sublayers_per_player=2)
    return {
        "form": "blocks",
        "players": 12,
        "seeds": seeds,
        "summary": summary,
        "bars": bars.bars(summary),
    }


def play_sublayers(arguments: argparse.Namespace, texts: list[str]) -> dict[str, Any]:
    """The results of the second form."""
    seeds = arguments.seeds or 10
    trials, references = [], {}
    for text in texts:
        table = sublayer_table(text)
        reference = permutation_reference(table, PERMUTATIONS)
        say(f"{text}: reference within {reference.relative_squared_error:.1e}")
        references[text] = {
            "values": reference.values.tolist(),
            "standard_errors": reference.standard_errors.tolist(),
            "relative_squared_error": reference.relative_squared_error,
            "permutations": reference.permutations,
            "distinct_evaluations": reference.evaluations,
        }
        trials += sublayer_trials(table, reference.values, seeds_of(text, seeds))
    return {
        "form": "sublayers",
        "players": 24,
        "seeds": seeds,
        "references": references,
        "summary": summarise(trials, sublayers_per_player=1),
        "bars": [],
    }


def main() -> int:
    """Plays, writes the results, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sublayers", action="store_true", help="the game over the 24 sublayers")
    parser.add_argument("--seeds", type=int, help="per game; 30, or 10 over the sublayers")
    parser.add_argument("--games", help="texts, with commas; default: all three")
    parser.add_argument(
        "--quick", action="store_true", help="maths, 4 seeds, 2 budgets; nothing written or judged"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="where tables go")
    parser.add_argument("--images", type=Path, default=IMAGES, help="where pictures go")
    arguments = parser.parse_args()
    if arguments.sublayers and arguments.quick:
        parser.error("--quick is for the games over the blocks")
    default = "maths" if arguments.quick else ",".join(TEXTS)
    texts = (arguments.games or default).split(",")
    if unknown := sorted(set(texts) - set(TEXTS)):
        parser.error(f"no game is called {', '.join(unknown)}; there are {', '.join(TEXTS)}")
    if arguments.seeds is not None and not 2 <= arguments.seeds <= 1000:
        parser.error("--seeds must be from 2 to 1000")

    # For the processes of the pool: the BLAS kernels that fit the CPU, and one thread each.
    removed = {name: os.environ.pop(name) for name in environment.removed()}
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    machine, start = environment.machine(), time.monotonic()
    results = (play_sublayers if arguments.sublayers else play_blocks)(arguments, texts)
    results |= {
        "texts": texts,
        "versions": report.versions(),
        "machine": machine,
        "removed_from_environment": removed,
        "seconds": round(time.monotonic() - start, 1),
    }
    text = report.markdown(results)
    print(text)
    if arguments.quick:
        return 0
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = "estimators_sublayers" if arguments.sublayers else "estimators"
    (arguments.out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.out / f"{name}.md").write_text(text)
    pictures.save_all(results, arguments.images, name)
    missed = [bar for bar in results["bars"] if not bar["met"]]
    for bar in missed:
        print(f"missed: {bar['name']}: {bar['found']}, asked {bar['bar']}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
