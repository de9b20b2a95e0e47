# SPDX-License-Identifier: Apache-2.0
"""The demonstration: all the way from a model to a pruned one, on the repository's small model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prunecore._native.progress import ProgressFunction
from prunecore.cli.results import Results
from prunecore.data.data import Data
from prunecore.errors import ArgumentError, FileError
from prunecore.importance.curve import Curve
from prunecore.importance.scores import Scores
from prunecore.masks.mask import Mask
from prunecore.measures.evaluation import Evaluation
from prunecore.model import Model
from prunecore.plots import pruning_curves
from prunecore.shape import Cost
from prunecore.shapley.scores import ShapleyScores
from prunecore.shapley.watch import GameProgress
from prunecore.studies.recovery_study import RecoveryStudy
from prunecore.studies.study_recovery import METHODS, Step, recover_in_each_way

TEXTS = ("stories", "maths", "plays")
SEQUENCE_LENGTH = 256
CALIBRATION_SEQUENCES = 8
HELD_OUT_SEQUENCES = 8
CURVE_SEQUENCES = 2
REMOVED_ATTENTION_LAYERS = 4
RANDOM_SEEDS = (0, 1, 2)
CURVE_METRICS = ("cosine", "leave_one_out_loss")
GAME_SEQUENCES = 1
GAME_COALITIONS = 384
RECOVERED = (("attention", 4), ("feed_forward", 4), ("block", 3))
RECOVERY_METHODS = ("bias", "closed_form", "kl")
RECOVERY_SEQUENCES = 48
RECOVERY_STEPS = 30
RECOVERY_RANK = 16


@dataclass(frozen=True)
class Demonstration:
    """What the demonstration found.

    Attributes
    ----------
    sublayers, blocks : Scores
        By every metric.
    shapley : ShapleyScores
        What each sublayer adds, from a small part of the calibration text.
    curves : list of Curve
        Every granularity by cosine, by leave-one-out loss, and in a random order.
    sublayer_curves : list of Curve
        Sublayers by those, by Shapley value, and by relative L2.
    mask : Mask
        The model without its four least important attention layers, by leave-one-out loss.
    before, after : dict of str to Evaluation
        The model and the pruned model on the held-out part of each text.
    alternatives : dict of str to float
        Held-out loss with as many attention layers removed by other choices.
    recovery : RecoveryStudy
        What adapters win back of what removing attention, feed-forward and blocks loses.
    cost_before, cost_after : Cost
        What the two models hold.
    model : dict of str to str
        What identifies the model.
    files : list of Path
        Everything that was written.
    seconds : float
        How long it took.
    """

    sublayers: Scores
    blocks: Scores
    shapley: ShapleyScores
    curves: list[Curve]
    sublayer_curves: list[Curve]
    mask: Mask
    before: dict[str, Evaluation]
    after: dict[str, Evaluation]
    alternatives: dict[str, float]
    recovery: RecoveryStudy
    cost_before: Cost
    cost_after: Cost
    model: dict[str, str]
    files: list[Path]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """A summary as JSON values; `loss` is that of the pruned model on all held-out text."""
        return {
            "loss": self.after["all"].loss,
            "loss_before": self.before["all"].loss,
            "removed": self.mask.removed,
            "before": {name: found.to_dict() for name, found in self.before.items()},
            "after": {name: found.to_dict() for name, found in self.after.items()},
            "alternatives": self.alternatives,
            "recovery": self.recovery.to_dict(),
            "shapley": self.shapley.state.to_dict(),
            "cost_before": self.cost_before.to_dict(),
            "cost_after": self.cost_after.to_dict(),
            "model": self.model,
            "files": [path.name for path in self.files],
        }


def find_example_model() -> Path:
    """The directory of the model tales-12l in the repository checkout.

    Raises
    ------
    FileError
        There is no checkout around the package or the current directory.
    """
    relative = Path("examples") / "models" / "tales-12l"
    here = Path(__file__).resolve()
    for folder in (*here.parents, Path.cwd(), *Path.cwd().parents):
        if (folder / relative / "config.json").is_file():
            return folder / relative
    raise FileError(
        "the example model tales-12l was not found: run this inside a checkout of the repository, "
        "or name a directory that holds it with --model"
    )


def demonstrate(model: Model, out: Path, step: Step, results: Results) -> Demonstration:
    """Scores, prunes, measures and recovers the example model, and writes JSON and pictures.

    Parameters
    ----------
    model : Model
        Its directory also holds stories.jsonl, maths.jsonl and plays.jsonl.
    out : path
        Where to write; made if it is not there.
    step : callable
        Told what comes next; gives the progress function for it.
    results : Results
        What writes the files.
    """
    began = time.monotonic()
    calibration, held_out, probe = _read(model)
    everything = Data.concatenate(calibration.values())
    sublayers = model.score(everything, "all", progress=step("score sublayers"))
    blocks = model.score(everything, "all", "block", progress=step("score blocks"))
    shapley = _play(model, calibration, step)
    whole_probe = Data.concatenate(probe.values())
    curves = _curves(model, whole_probe, sublayers, blocks, step)
    sublayer_curves = _sublayer_curves(
        model, whole_probe, sublayers=sublayers, shapley=shapley, curves=curves, step=step
    )

    mask = sublayers.prune(REMOVED_ATTENTION_LAYERS, "leave_one_out_loss", only="attention")
    progress = step("evaluate")
    before = _evaluate(model, held_out, None, progress)
    after = _evaluate(model, held_out, mask, progress)
    alternatives = _alternatives(model, held_out, sublayers, shapley, progress)
    recovery = _recover(
        model, held_out, sublayers=sublayers, blocks=blocks, full_loss=before["all"].loss, step=step
    )
    cost_before, cost_after = model.cost(), model.cost(mask)
    step("draw")
    saved = {
        "sublayers": sublayers,
        "blocks": blocks,
        "shapley": shapley,
        "recovery": recovery,
        "mask": mask,
    }
    _write(out, results, saved, {"curves": curves, "curves-sublayers": sublayer_curves})
    pictures = {
        "importance-sublayers": sublayers.plot(),
        "importance-blocks": blocks.plot(),
        "ranks-sublayers": sublayers.plot(kind="heat_map"),
        "shapley-sublayers": shapley.plot(beside=sublayers, metrics=["cosine"]),
        "curves-units": pruning_curves(curves),
        "curves-sublayers": pruning_curves(sublayer_curves),
        "curves-parameters": pruning_curves(curves, by="parameters"),
        "recovery": recovery.plot(),
    }
    for name, figure in pictures.items():
        results.pictures(out / name, figure)
    found = Demonstration(
        sublayers=sublayers,
        blocks=blocks,
        shapley=shapley,
        curves=curves,
        sublayer_curves=sublayer_curves,
        mask=mask,
        before=before,
        after=after,
        alternatives=alternatives,
        recovery=recovery,
        cost_before=cost_before,
        cost_after=cost_after,
        model=model.provenance,
        files=[*results.files, out / "report.json"],
        seconds=time.monotonic() - began,
    )
    results.record(out / "report.json", found.to_dict())
    return found


def _read(model: Model) -> tuple[dict[str, Data], dict[str, Data], dict[str, Data]]:
    """Calibration, held-out and curve sequences of each text; curves use held-out ones."""
    calibration, held_out, probe = {}, {}, {}
    for text in TEXTS:
        data = _sequences(model, text)
        calibration[text] = data[:CALIBRATION_SEQUENCES]
        held_out[text] = data[CALIBRATION_SEQUENCES:][:HELD_OUT_SEQUENCES]
        probe[text] = held_out[text][:CURVE_SEQUENCES]
    return calibration, held_out, probe


def _sequences(model: Model, text: str) -> Data:
    """All sequences of one of the texts beside the example model."""
    if model.directory is None:
        raise ArgumentError("the demonstration reads texts from the model's directory; open one")
    return Data.from_text(model.directory / f"{text}.jsonl", model, SEQUENCE_LENGTH)


def _play(model: Model, calibration: dict[str, Data], step: Step) -> ShapleyScores:
    """Shapley values of the sublayers on a small part of each text."""
    part = Data.concatenate(data[:GAME_SEQUENCES] for data in calibration.values())

    def tell(found: GameProgress) -> None:
        settled = "" if found.values is None else f", largest error {found.state.largest_error:.2g}"
        step(f"Shapley values: {found.state.told} of {GAME_COALITIONS} coalitions{settled}")

    return model.shapley(
        part,
        budget=GAME_COALITIONS,
        progress=tell,
        batch_progress=step("Shapley values"),
    )


def _random_scores(n_blocks: int, granularity: str, seed: int) -> Scores:
    units = 2 * n_blocks if granularity == "sublayer" else n_blocks
    values = np.random.default_rng(seed).random(units)
    return Scores({"random": values}, granularity, n_blocks, provenance={"seed": seed})


def _curves(model: Model, data: Data, sublayers: Scores, blocks: Scores, step: Step) -> list[Curve]:
    n_blocks = model.shape.n_blocks
    random_sublayers = _random_scores(n_blocks, "sublayer", 0)
    random_blocks = _random_scores(n_blocks, "block", 0)
    curves = []
    for metric in (*CURVE_METRICS, "random"):
        by_sublayer = random_sublayers if metric == "random" else sublayers
        by_block = random_blocks if metric == "random" else blocks
        for scores, only, name in (
            (by_block, None, "blocks"),
            (by_sublayer, "attention", "attention"),
            (by_sublayer, "feed_forward", "feed-forward"),
            (by_sublayer, None, "sublayers"),
        ):
            progress = step(f"curve: {name} by {metric}")
            curves.append(model.curve(data, scores, metric, n_blocks, only=only, progress=progress))
    return curves


def _sublayer_curves(
    model: Model,
    data: Data,
    sublayers: Scores,
    shapley: ShapleyScores,
    curves: list[Curve],
    step: Step,
) -> list[Curve]:
    """Curves of sublayers by every way to choose them; those that are there are not made again."""
    made = [curve for curve in curves if curve.granularity == "sublayer"]
    most = made[0].n_removed[-1]
    for scores, metric in ((shapley, "shapley"), (sublayers, "relative_l2")):
        progress = step(f"curve: sublayers by {metric}")
        made.append(model.curve(data, scores, metric, most, progress=progress))
    return made


def _evaluate(
    model: Model, texts: dict[str, Data], mask: Mask | None, progress: ProgressFunction | None
) -> dict[str, Evaluation]:
    found = {name: model.evaluate(data, mask, progress=progress) for name, data in texts.items()}
    whole = Data.concatenate(texts.values())
    found["all"] = model.evaluate(whole, mask, progress=progress)
    return found


def _alternatives(
    model: Model,
    texts: dict[str, Data],
    sublayers: Scores,
    shapley: ShapleyScores,
    progress: ProgressFunction | None,
) -> dict[str, float]:
    """Held-out loss without as many attention layers, chosen by other metrics and at random."""
    count, whole = REMOVED_ATTENTION_LAYERS, Data.concatenate(texts.values())
    masks = {
        metric: sublayers.prune(count, metric, only="attention") for metric in sublayers.metrics
    }
    masks["shapley"] = shapley.prune(count, only="attention")
    for seed in RANDOM_SEEDS:
        scores = _random_scores(sublayers.n_blocks, "sublayer", seed)
        masks[f"random, seed {seed}"] = scores.prune(count, only="attention")
    found = model.evaluate_masks(whole, list(masks.values()), progress=progress)
    return {name: result.loss for name, result in zip(masks, found, strict=True)}


def _recover(
    model: Model,
    texts: dict[str, Data],
    sublayers: Scores,
    blocks: Scores,
    full_loss: float,
    step: Step,
) -> RecoveryStudy:
    """What adapters win back, learning from text that is neither scored on nor held out."""
    seen = CALIBRATION_SEQUENCES + HELD_OUT_SEQUENCES
    learnt = Data.concatenate(_sequences(model, text)[seen:][:RECOVERY_SEQUENCES] for text in TEXTS)
    held_out = Data.concatenate(texts.values())
    methods = [method for method in METHODS if method.name in RECOVERY_METHODS]
    options = {"rank": RECOVERY_RANK, "steps": RECOVERY_STEPS}
    points = []
    for granularity, count in RECOVERED:
        if granularity == "block":
            mask = blocks.prune(count, "leave_one_out_loss")
        else:
            mask = sublayers.prune(count, "leave_one_out_loss", only=granularity)
        removal = granularity, count
        points += recover_in_each_way(
            model,
            learnt,
            held_out=held_out,
            mask=mask,
            removal=removal,
            full_loss=full_loss,
            methods=methods,
            options=options,
            step=step,
        )
    provenance = {
        "model": model.provenance,
        "data_sha256": learnt.digest,
        "held_out_sha256": held_out.digest,
        **options,
    }
    return RecoveryStudy(full_loss, tuple(points), provenance)


def _write(
    out: Path, results: Results, saved: Mapping[str, Any], curves: Mapping[str, list[Curve]]
) -> None:
    for name, result in saved.items():
        results.save(out / f"{name}.json", result.save)
    for name, some in curves.items():
        results.record(out / f"{name}.json", {"curves": [curve.to_dict() for curve in some]})
