# SPDX-License-Identifier: Apache-2.0
"""What is measured of every family: how far the library is from the oracle, by capability.

The parity tests and the page of models use the same measurements. Each takes a subject and gives
the worst error it found, as the capability defines it; what the library refuses, it raises.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import prunecore as pc
from family_exports import (
    adapted,
    custom_error,
    deci_error,
    far,
    gguf_error,
    plain_error,
    updates,
    without,
)
from family_mixtures import MIXTURES
from family_oracle import FamilyRun
from family_subjects import FamilySubject
from oracle import mean_loss, predicted

NEW_TOKENS = 6
PROMPTS = ((1, 9), (5, 21))  # which sequence, and how much of it: on both sides of every window
RIDGE = 1e-2


@dataclass(frozen=True)
class Capability:
    """One thing that a model can be used for.

    Attributes
    ----------
    name : str
        The heading of its column.
    tolerance : float
        The largest error that is right.
    unit : str
        What an error is a number of.
    measure : callable
        The worst error on a subject.
    """

    name: str
    tolerance: float
    unit: str
    measure: Callable[[FamilySubject], float]


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """The length of the difference, of the length of what is wanted."""
    assert found.shape == wanted.shape
    if not np.isfinite(found).all():
        return float("inf")
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def logits_error(subject: FamilySubject) -> float:
    """Of the whole model."""
    wanted = subject.oracle.run(subject.sequences)
    return far(subject.model.logits(subject.data), wanted.logits)


def masks_error(subject: FamilySubject) -> float:
    """Of the model without what each of the random masks removes."""
    return max(
        far(subject.model.logits(subject.data, mask), _run(subject, mask).logits)
        for mask in subject.masks.values()
    )


def loss_error(subject: FamilySubject) -> float:
    """Of the mean loss, whole and under the masks."""
    weights = predicted([len(sequence) for sequence in subject.sequences])
    errors = []
    for mask in subject.masks.values():
        wanted = mean_loss(_run(subject, mask).token_losses, weights)
        errors.append(abs(subject.model.evaluate(subject.data, mask).loss / wanted - 1))
    return max(errors)


def states_error(subject: FamilySubject) -> float:
    """Of the hidden states at every point, whole and under the masks."""
    return max(
        far(subject.model.hidden_states(subject.data, place, mask), state)
        for mask in subject.masks.values()
        for place, state in enumerate(_run(subject, mask).states)
    )


def generation_error(subject: FamilySubject) -> float:
    """Of the losses of greedy text; infinite where another token was chosen.

    The library keeps keys and values; the oracle computes the whole text for each token.
    """
    prompts = [subject.sequences[index][:length] for index, length in PROMPTS]
    worst = 0.0
    for mask in list(subject.masks.values())[:2]:
        made = subject.model.generate(
            pc.Data(prompts), NEW_TOKENS, mask=mask, stop_at_eos=False, batch_sequences=2
        )
        for index, (prompt, tokens) in enumerate(zip(prompts, made.tokens, strict=True)):
            count = len(tokens) if made.reasons[index] == "context" else NEW_TOKENS
            wanted, _ = subject.oracle.greedy(prompt, count, mask)
            if tokens.tolist() != wanted.tolist():
                return float("inf")
            losses = losses_as_written(subject, prompt, tokens, mask)
            worst = max(worst, np.abs(made.losses[index] - losses).max(initial=0.0))
    return float(worst)


def losses_as_written(
    subject: FamilySubject, prompt: np.ndarray, tokens: np.ndarray, mask: np.ndarray | None = None
) -> np.ndarray:
    """The loss of each new token, from the text before it alone.

    Angles may depend on how long a text is, so that the whole text would give others.
    """
    losses = []
    for count, token in enumerate(tokens):
        logits = subject.oracle.run([np.concatenate([prompt, tokens[:count]])], mask).logits[-1]
        wide = logits.astype(np.float64)
        losses.append(np.log(np.exp(wide - wide.max()).sum()) + wide.max() - wide[token])
    return np.array(losses)


def gradients_error(subject: FamilySubject) -> float:
    """Of the gradients of the mean loss by the hidden states at every point."""
    worst = 0.0
    for mask in list(subject.masks.values())[:2]:
        wanted = subject.oracle.gradient(subject.sequences, mask)
        for place, values in enumerate(wanted.values):
            found = subject.model.gradient(subject.data, "ce", place, mask)
            worst = max(worst, relative(found.values, values), abs(found.loss / wanted.loss - 1))
    return worst


def closed_form_error(subject: FamilySubject) -> float:
    """Of adapters against least squares on the oracle's states, and of the logits with them."""
    worst = 0.0
    whole = subject.oracle.run(subject.sequences)
    for kind in ("raw", "normed"):
        sublayers = adapted(subject, kind)
        mask = without(subject, sublayers)
        means = pc.Moments(subject.model, mask, kind="bias").collect(subject.data).solve()
        gathered = pc.Moments(subject.model, mask, kind="linear", input=kind)
        adapters = gathered.collect(subject.data).solve(ridge=RIDGE)
        for sublayer in sublayers:
            update = whole.updates[sublayer].astype(np.float64)
            worst = max(worst, far(means.get(sublayer, "bias"), update.mean(0)))
            x = whole.states[sublayer]
            x = subject.oracle.normed(sublayer, x) if kind == "normed" else x.astype(np.float64)
            matrix = ridge_matrix(x, update)
            bias = update.mean(0) - matrix @ x.mean(0)
            worst = max(worst, far(adapters.get(sublayer, "matrix"), matrix))
            # What two larger numbers leave.
            scale = np.abs(bias).max() + np.abs(matrix @ x.mean(0)).max()
            worst = max(worst, np.abs(adapters.get(sublayer, "bias") - bias).max() / scale)
        with adapters.attach(subject.model) as recovered:
            wanted = subject.oracle.run_with(subject.sequences, mask, updates(subject, adapters))
            worst = max(worst, far(recovered.logits(subject.data), wanted.logits))
    return float(worst)


def ridge_matrix(x: np.ndarray, update: np.ndarray) -> np.ndarray:
    """The matrix of a ridge regression, by least squares with the ridge as rows of its own."""
    x, update = x - x.mean(0), update - update.mean(0)
    width = x.shape[1]
    root = np.sqrt(RIDGE * float((x**2).sum()) / width)
    tall = np.vstack([x, root * np.eye(width)])
    wanted = np.vstack([update, np.zeros((width, update.shape[1]))])
    return np.linalg.lstsq(tall, wanted, rcond=None)[0].T


def bfloat16_error(subject: FamilySubject) -> float:
    """Of the logits with products in bf16: root mean square, whole and under one mask.

    Of a mixture, the median over tokens: rounding sends some tokens to other experts, and these are
    far from what they were, whoever computes them.
    """
    mixture = subject.name in {case.name for case in MIXTURES}
    errors = []
    with pc.open(subject.directory, compute="bfloat16") as model:
        for mask in list(subject.masks.values())[:2]:
            wanted = _run(subject, mask).logits
            found = model.logits(subject.data, mask)
            rows = zip(found, wanted, strict=True)
            errors.append(
                float(np.median([relative(*pair) for pair in rows]))
                if mixture
                else relative(found, wanted)
            )
    return max(errors)


def _run(subject: FamilySubject, mask: np.ndarray) -> FamilyRun:
    return subject.oracle.run(subject.sequences, mask)


def _written(measure: Callable[[FamilySubject, Path], float]) -> Callable[[FamilySubject], float]:
    """A measurement of files, in a folder that is gone afterwards."""

    def measured(subject: FamilySubject) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return measure(subject, Path(folder))

    return measured


# Two ways to approximate GELU are 2e-4 of the largest logit apart; two orders of adding, 1e-5.
OF_LARGEST = "of the largest logit"
CAPABILITIES = {
    "logits": Capability("logits", 5e-5, OF_LARGEST, logits_error),
    "masks": Capability("random masks", 5e-5, OF_LARGEST, masks_error),
    "loss": Capability("mean loss", 1e-5, "of the loss", loss_error),
    "states": Capability("hidden states", 5e-5, "of the largest value", states_error),
    "generation": Capability("cache and generation", 2e-4, "nats", generation_error),
    "gradients": Capability("gradients", 1e-4, "of the gradient's length", gradients_error),
    "closed_form": Capability(
        "closed form", 1e-4, "of the largest value or logit", closed_form_error
    ),
    "hf_plain": Capability("hf_plain", 5e-5, OF_LARGEST, _written(plain_error)),
    "hf_custom": Capability("hf_custom", 5e-5, OF_LARGEST, _written(custom_error)),
    "deci": Capability("deci", 5e-5, OF_LARGEST, _written(deci_error)),
    "gguf": Capability("gguf", 5e-5, OF_LARGEST, _written(gguf_error)),
    "bf16": Capability("bf16", 2.5e-2, "of the logits, root mean square", bfloat16_error),
}
