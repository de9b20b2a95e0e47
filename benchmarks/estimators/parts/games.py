# SPDX-License-Identifier: Apache-2.0
"""The games that estimators are measured on: which blocks or sublayers of a model are kept.

A coalition is what is kept, and its worth is minus the loss, as it is or capped at that of a
uniform guess. The game over the blocks is small enough to be known whole. That over the sublayers
is not: its reference comes from many permutations, and losses are evaluated as they are asked for.

Losses are kept in files under build/, which name the library's version and what was evaluated.
"""

from __future__ import annotations

import hashlib
import math
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import prunecore as pc

from benchmarks.harness.places import REPOSITORY, TALES

CACHE = REPOSITORY / "build" / "estimators"
TEXTS = ("stories", "maths", "plays")
CHUNK = 8192  # masks evaluated together
SAVE_EVERY = 120.0  # seconds

Masks = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def codes(masks: Masks) -> Codes:
    """Masks as numbers, player 0 the highest bit: in ascending order neighbours share prefixes."""
    return masks @ (1 << np.arange(masks.shape[1] - 1, -1, -1, dtype=np.int64))


def masks_of(numbers: Codes, players: int) -> Masks:
    """The reverse of `codes`."""
    return (numbers[:, None] >> np.arange(players - 1, -1, -1) & 1).astype(bool)


def exact_values(worths: Floats, players: int) -> Floats:
    """Shapley values of a game from all its 2^players worths, in the order of `codes`."""
    masks = masks_of(np.arange(len(worths)), players)
    sizes = masks.sum(axis=1)
    weights = np.array(
        [1.0 / (players * math.comb(players - 1, size)) for size in range(players)] + [0.0]
    )
    values = np.empty(players)
    for player in range(players):
        without = np.flatnonzero(~masks[:, player])
        gains = worths[without + (1 << players - 1 - player)] - worths[without]
        values[player] = weights[sizes[without]] @ gains
    return values


@dataclass(frozen=True)
class Game:
    """A game whose every worth is known, or was evaluated before it is asked for."""

    text: str
    capped: bool
    cap: float  # of the loss, nats
    known: Codes  # ascending
    losses: Floats  # of `known`
    players: int

    def worths(self, masks: Masks) -> Floats:
        """Minus the losses of coalitions, capped if the game is. KeyError if one is not known."""
        wanted = codes(masks)
        at = np.minimum(np.searchsorted(self.known, wanted), len(self.known) - 1)
        if not np.array_equal(self.known[at], wanted):
            raise KeyError("a coalition that was not evaluated")
        losses = self.losses[at]
        return -np.minimum(losses, self.cap) if self.capped else -losses

    def values(self) -> Floats:
        """Exact Shapley values; only of a game that is known whole."""
        return exact_values(self.worths(masks_of(self.known, self.players)), self.players)


class LossTable:
    """Losses of a model on one text, by mask; evaluated once and kept in a file."""

    def __init__(self, text: str, sequences: int, length: int, by_block: bool) -> None:
        self.text = text
        self.model = pc.open(TALES, compute="float32")  # the same game on every CPU
        self.data = pc.Data.from_text(
            TALES / f"{text}.jsonl", self.model, sequence_length=length, limit=sequences
        )
        self.sublayers_per_player = 2 if by_block else 1
        self.players = 2 * self.model.shape.n_blocks // self.sublayers_per_player
        self.cap = math.log(self.model.shape.vocabulary_size)
        self.known: Codes = np.empty(0, dtype=np.int64)
        self.losses: Floats = np.empty(0)
        weights = hashlib.sha256((TALES / "model.safetensors").read_bytes()).hexdigest()
        kind = "blocks" if by_block else "sublayers"
        name = f"{kind}-{text}-{pc.__version__}-{weights[:12]}-{self.data.digest[:12]}.npz"
        self.path = CACHE / name
        self._saved = time.monotonic()
        if self.path.exists():
            with np.load(self.path) as kept:
                self.known, self.losses = kept["codes"], kept["losses"]

    def evaluate_masks(self, batches: Iterable[Masks]) -> None:
        """Evaluates what is not yet known of these masks."""
        self.evaluate(np.unique(np.concatenate([codes(masks) for masks in batches])))

    def evaluate(self, numbers: Codes) -> None:
        """Evaluates what is not yet known of these codes."""
        missing = np.setdiff1d(numbers, self.known)
        start = time.monotonic()
        for done in range(0, len(missing), CHUNK):
            part = missing[done : done + CHUNK]
            keep = np.repeat(
                masks_of(part, self.players), self.sublayers_per_player, axis=1
            ).astype(np.uint8)
            found = self.model.damages(self.data, keep, measure="loss").values
            order = np.argsort(np.concatenate([self.known, part]), kind="stable")
            self.known = np.concatenate([self.known, part])[order]
            self.losses = np.concatenate([self.losses, found])[order]
            now = time.monotonic()
            if now - self._saved > SAVE_EVERY:
                self.save()
                count = done + len(part)
                say(f"{self.text}: {count} of {len(missing)} masks in {now - start:.0f} s")

    def save(self) -> None:
        """Writes the file; whoever is interrupted leaves the one before it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        half = self.path.with_suffix(".part.npz")
        np.savez(half, codes=self.known, losses=self.losses)
        half.replace(self.path)
        self._saved = time.monotonic()

    def game(self, capped: bool) -> Game:
        """The game as far as it is known now."""
        return Game(
            self.text,
            capped,
            seed=self.cap,
            budget=self.known,
            target_error=self.losses,
            least=self.players,
        )


def block_table(text: str) -> LossTable:
    """The whole game over the blocks: 8 sequences of 128 tokens, all 2^12 masks."""
    table = LossTable(text, sequences=8, length=128, by_block=True)
    everything = np.arange(1 << table.players)
    if len(table.known) < len(everything):
        table.evaluate(everything)
        table.save()
    return table


def sublayer_table(text: str) -> LossTable:
    """The game over the sublayers: 2 sequences of 64 tokens; nothing is evaluated yet."""
    return LossTable(text, sequences=2, length=64, by_block=False)


@dataclass(frozen=True)
class Reference:
    """Shapley values from permutations, and how far they may be off."""

    values: Floats
    standard_errors: Floats
    permutations: int
    evaluations: int  # distinct coalitions

    @property
    def relative_squared_error(self) -> float:
        """Expected squared error, relative to the values."""
        return float((self.standard_errors**2).sum() / (self.values**2).sum())


def permutation_reference(table: LossTable, permutations: int, seed: int = 12345) -> Reference:
    """Mean marginal contributions along random orders and their reverses.

    Orders come in pairs, so the standard errors are those of the mean over the pairs.
    """
    orders = np.random.default_rng(seed).permuted(
        np.tile(np.arange(table.players), (permutations // 2, 1)), axis=1
    )
    wanted = [codes(masks) for masks in _along(orders)]
    wanted += [codes(masks) for masks in _along(orders[:, ::-1])]
    distinct = np.unique(np.concatenate(wanted))
    table.evaluate(distinct)
    table.save()
    game = table.game(capped=True)
    pairs = (_marginals(game, orders) + _marginals(game, orders[:, ::-1])) / 2
    errors = pairs.std(axis=0, ddof=1) / math.sqrt(len(pairs))
    return Reference(pairs.mean(axis=0), errors, 2 * len(pairs), len(distinct))


def _along(orders: npt.NDArray[np.int64]) -> Iterator[Masks]:
    """The coalitions of the first 0, 1, .., n players of every order."""
    masks = np.zeros(orders.shape, dtype=bool)
    yield masks
    for position in range(orders.shape[1]):
        masks = masks.copy()
        masks[np.arange(len(orders)), orders[:, position]] = True
        yield masks


def _marginals(game: Game, orders: npt.NDArray[np.int64]) -> Floats:
    """What each player adds along each order: one row per order, one column per player."""
    found = np.empty(orders.shape)
    before = None
    for position, masks in enumerate(_along(orders)):
        worths = game.worths(masks)
        if before is not None:
            found[np.arange(len(orders)), orders[:, position - 1]] = worths - before
        before = worths
    return found


def say(text: str) -> None:
    """Tells the terminal how far the work has come."""
    print(text, file=sys.stderr, flush=True)
