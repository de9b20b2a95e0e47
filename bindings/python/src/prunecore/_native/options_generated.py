# SPDX-License-Identifier: Apache-2.0
# Generated from prunecore.h by generate_raw.py. Do not edit.
"""The plain options of the structs of prunecore.h."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypedDict

from prunecore._native.names_generated import (
    ADAPTER_KIND,
    COMPUTE,
    ESTIMATOR,
    FORMAT,
    GRANULARITY,
    MEASURE,
    OBJECTIVE,
    STRATEGY,
    AdapterKind,
    Compute,
    Estimator,
    Format,
    Granularity,
    Measure,
    Objective,
    Strategy,
)
from prunecore._native.options import Option, Options


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    """The plain options of prune_model_options."""

    STRUCT: ClassVar[str] = "prune_model_options"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "compute": Option(
            kind="choice",
            group=COMPUTE,
            text="Type that matrix products multiply in.",
            default="automatic",
        ),
    }

    compute: Compute | Literal["automatic"] = "automatic"


class ModelArguments(TypedDict, total=False):
    """The options of `ModelOptions` as keyword arguments."""

    compute: Compute | Literal["automatic"]


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(Options):
    """The plain options of prune_score_options."""

    STRUCT: ClassVar[str] = "prune_score_options"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "granularity": Option(
            kind="choice",
            group=GRANULARITY,
            text="What counts as one unit.",
            default="sublayer",
        ),
        "relative_to": Option(
            kind="count",
            text=(
                "Denominator of the relative metrics: the hidden state before a unit, or after it."
            ),
            default="before",
        ),
        "tokens": Option(
            kind="count",
            text="Tokens that static metrics look at: all, or the last of each sequence.",
            default="all",
        ),
        "batch_tokens": Option(
            kind="count",
            text=(
                "Largest number of tokens computed together. A longer sequence is a batch of its "
                "own."
            ),
            default="chosen by the library",
        ),
    }

    granularity: Granularity = "sublayer"
    relative_to: int | None = None
    tokens: int | None = None
    batch_tokens: int | None = None


class ScoreArguments(TypedDict, total=False):
    """The options of `ScoreOptions` as keyword arguments."""

    granularity: Granularity
    relative_to: int | None
    tokens: int | None
    batch_tokens: int | None


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(Options):
    """The plain options of prune_evaluate_options."""

    STRUCT: ClassVar[str] = "prune_evaluate_options"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "batch_tokens": Option(
            kind="count",
            text=(
                "Largest number of tokens computed together. A longer sequence is a batch of its "
                "own."
            ),
            default="chosen by the library",
        ),
    }

    batch_tokens: int | None = None


class EvaluateArguments(TypedDict, total=False):
    """The options of `EvaluateOptions` as keyword arguments."""

    batch_tokens: int | None


@dataclass(frozen=True, kw_only=True)
class CoalitionOptions(Options):
    """The plain options of prune_coalition_options."""

    STRUCT: ClassVar[str] = "prune_coalition_options"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "measure": Option(
            kind="choice",
            group=MEASURE,
            text="Quantity that damage is measured by; lower = better.",
            default="loss",
        ),
        "cap": Option(
            kind="number",
            text="Largest value that counts: a damage above the cap counts as the cap.",
            default="ln(vocabulary_size) for the loss in games, otherwise no cap",
            minus_one="no cap",
            given_as="inf",
        ),
        "batch_tokens": Option(
            kind="count",
            text=(
                "Largest number of tokens computed together. A longer sequence is a batch of its "
                "own."
            ),
            default="chosen by the library",
        ),
        "memory_budget": Option(
            kind="count",
            text=(
                "Largest number of bytes for hidden states, those in use included. Masks that do "
                "not fit together are evaluated one after the other, and states that do not fit "
                "even then are computed again. The states of one batch before and after a "
                "sublayer, and of the reference, are held in any case."
            ),
            default="a quarter of the free memory",
        ),
    }

    measure: Measure = "loss"
    cap: float | None = None
    batch_tokens: int | None = None
    memory_budget: int | None = None


class CoalitionArguments(TypedDict, total=False):
    """The options of `CoalitionOptions` as keyword arguments."""

    batch_tokens: int | None
    memory_budget: int | None


@dataclass(frozen=True, kw_only=True)
class TimeOptions(Options):
    """The plain options of prune_time_options."""

    STRUCT: ClassVar[str] = "prune_time_options"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "repetitions": Option(
            kind="count",
            text="Number of repetitions, of which the median counts.",
            default="5",
        ),
        "prompt_tokens": Option(
            kind="count",
            text="Number of tokens of the measured prompt.",
            default="512",
        ),
        "context": Option(
            kind="count",
            text="Number of tokens before the one that is decoded.",
            default="512",
        ),
    }

    repetitions: int | None = None
    prompt_tokens: int | None = None
    context: int | None = None


class TimeArguments(TypedDict, total=False):
    """The options of `TimeOptions` as keyword arguments."""

    repetitions: int | None
    prompt_tokens: int | None
    context: int | None


@dataclass(frozen=True, kw_only=True)
class SearchOptions(Options):
    """The plain options of prune_search_options."""

    STRUCT: ClassVar[str] = "prune_search_options"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "strategy": Option(
            kind="choice",
            group=STRATEGY,
            text="How the search chooses what to remove.",
            default="default",
        ),
        "granularity": Option(
            kind="choice",
            group=GRANULARITY,
            text="What counts as one unit.",
            default="sublayer",
        ),
        "seed": Option(
            kind="seed",
            text="Evolutionary, random: seed of the random draws.",
        ),
        "remove": Option(
            kind="count",
            text=(
                "Number of units to remove, exactly. Units that the starting mask lacks do not "
                "count."
            ),
            default="no such bound",
        ),
        "remove_attention": Option(
            kind="count",
            text=(
                "Number of attention sublayers to remove, exactly. It needs units of sublayers, "
                "and cannot be combined with `remove`. Without `remove_feed_forward`, no "
                "feed-forward is removed."
            ),
            default="no such bound",
        ),
        "remove_feed_forward": Option(
            kind="count",
            text=(
                "Number of feed-forward sublayers to remove, exactly. It needs units of sublayers, "
                "and cannot be combined with `remove`. Without `remove_attention`, no attention is "
                "removed."
            ),
            default="no such bound",
        ),
        "remove_parameters": Option(
            kind="number",
            text="Smallest share of the model's parameters to remove, below 1.",
            default="no such bound",
        ),
        "parameter_bytes": Option(
            kind="count",
            text="Largest number of bytes of parameters that may remain.",
            default="no such bound",
        ),
        "kv_bytes": Option(
            kind="count",
            text="Largest number of bytes of keys and values per token that may remain.",
            default="no such bound",
        ),
        "prefill_ms": Option(
            kind="number",
            text=(
                "Upper bound on milliseconds per prompt token, as the sum of `times` over what "
                "remains."
            ),
            default="no such bound",
        ),
        "decode_ms": Option(
            kind="number",
            text=(
                "Upper bound on milliseconds per generated token, as the sum of `times` over what "
                "remains."
            ),
            default="no such bound",
        ),
        "max_loss_increase": Option(
            kind="number",
            text=(
                "Largest increase of the loss, as a share of the loss under the starting mask: "
                "0.02 allows 2 % more."
            ),
            default="no such bound",
        ),
        "max_damage": Option(
            kind="number",
            text="Upper bound on the damage.",
            default="no such bound",
        ),
        "candidates": Option(
            kind="count",
            text="Greedy: number of units with the lowest scores that are tried at each step.",
            default="all",
        ),
        "exchanges": Option(
            kind="count",
            text=(
                "Greedy: number of rounds in a row without a better mask after which exchanges end."
            ),
            default="3",
            minus_one="no exchanges, as published",
            given_as="0",
        ),
        "offspring": Option(
            kind="count",
            text="Evolutionary: number of offspring per generation.",
            default="32",
        ),
        "generations": Option(
            kind="count",
            text="Evolutionary: number of generations.",
            default="removed * kept / 1.5, as in EvoPress",
        ),
        "patience": Option(
            kind="count",
            text=(
                "Evolutionary: number of generations without a better parent after which the "
                "search ends."
            ),
            default="no such end",
        ),
    }

    strategy: Strategy | Literal["default"] = "default"
    granularity: Granularity = "sublayer"
    seed: int = 0
    remove: int | None = None
    remove_attention: int | None = None
    remove_feed_forward: int | None = None
    remove_parameters: float | None = None
    parameter_bytes: int | None = None
    kv_bytes: int | None = None
    prefill_ms: float | None = None
    decode_ms: float | None = None
    max_loss_increase: float | None = None
    max_damage: float | None = None
    candidates: int | None = None
    exchanges: int | None = None
    offspring: int | None = None
    generations: int | None = None
    patience: int | None = None


class SearchArguments(TypedDict, total=False):
    """The options of `SearchOptions` as keyword arguments."""

    seed: int
    remove: int | None
    remove_attention: int | None
    remove_feed_forward: int | None
    remove_parameters: float | None
    parameter_bytes: int | None
    kv_bytes: int | None
    prefill_ms: float | None
    decode_ms: float | None
    max_loss_increase: float | None
    max_damage: float | None
    candidates: int | None
    exchanges: int | None
    offspring: int | None
    generations: int | None
    patience: int | None


@dataclass(frozen=True, kw_only=True)
class SearchRunOptions(Options):
    """The plain options of prune_search_run_options."""

    STRUCT: ClassVar[str] = "prune_search_run_options"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "batch_masks": Option(
            kind="count",
            text="Largest number of masks evaluated together.",
            default="64",
        ),
    }

    batch_masks: int | None = None


class SearchRunArguments(TypedDict, total=False):
    """The options of `SearchRunOptions` as keyword arguments."""

    batch_masks: int | None


@dataclass(frozen=True, kw_only=True)
class RecoverOptions(Options):
    """The plain options of prune_recover_options."""

    STRUCT: ClassVar[str] = "prune_recover_options"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "kind": Option(
            kind="choice",
            group=ADAPTER_KIND,
            text="Kind of adapter.",
            default="default",
        ),
        "objective": Option(
            kind="choice",
            group=OBJECTIVE,
            text=(
                "What adapters are fitted to: least squares in closed form, or an objective of "
                "training."
            ),
            default="closed_form",
        ),
        "input": Option(
            kind="count",
            text="Input of an adapter's matrix: the normed hidden state, or the raw one.",
            default="normed",
        ),
        "stream": Option(
            kind="count",
            text=(
                "Hidden states that the closed form learns from: those of the model recovered so "
                "far, or the full model's."
            ),
            default="recovered",
        ),
        "block_slot": Option(
            kind="count",
            text=(
                "Place of the adapter of a block that is removed whole: its attention, its "
                "feed-forward, or both."
            ),
            default="attention",
        ),
        "start": Option(
            kind="count",
            text="Training: adapters that it starts from, solved in closed form or zero.",
            default="closed form",
        ),
        "rank": Option(
            kind="count",
            text="Low rank: rank of the matrix.",
            default="16",
            minus_one="chosen among powers of two by the loss on held-out tokens",
            given_as="auto",
        ),
        "ridge": Option(
            kind="number",
            text=(
                "Closed form: ridge that is added to the diagonal of the input's covariance, as a "
                "share of its mean."
            ),
            default="chosen on held-out tokens",
        ),
        "held_out_share": Option(
            kind="number",
            text=(
                "Share of the data's sequences to hold out, drawn by `seed`. It counts only "
                "without `held_out`."
            ),
            default="0.1",
        ),
        "seed": Option(
            kind="seed",
            text="Seed of the held-out share, the first weights and the batches.",
        ),
        "batch_tokens": Option(
            kind="count",
            text=(
                "Largest number of tokens computed together. A longer sequence is a batch of its "
                "own."
            ),
            default="chosen by the library",
        ),
        "memory_budget": Option(
            kind="count",
            text=(
                "Closed form: largest number of bytes of statistics. Sublayers that do not fit "
                "wait for another pass."
            ),
            default="a quarter of the free memory",
        ),
        "steps": Option(
            kind="count",
            text="Training: number of steps.",
            default="300",
        ),
        "step_tokens": Option(
            kind="count",
            text="Training: tokens per step, in whole sequences.",
            default="2048",
        ),
        "learning_rate": Option(
            kind="number",
            text="Training: highest learning rate.",
            default="chosen by kind and hidden size",
        ),
        "weight_decay": Option(
            kind="number",
            text="Training: weight decay of AdamW, on the adapters' matrices.",
            default="none",
        ),
        "warmup_steps": Option(
            kind="count",
            text=(
                "Training: number of steps over which the learning rate rises. It then falls as a "
                "cosine."
            ),
            default="a tenth of all steps",
        ),
        "clip_norm": Option(
            kind="number",
            text="Training: largest norm of all gradients together.",
            default="1",
            minus_one="no bound",
            given_as="inf",
        ),
        "evaluate_every": Option(
            kind="count",
            text="Training: number of steps between evaluations of the held-out loss.",
            default="a twentieth of all steps",
        ),
        "patience": Option(
            kind="count",
            text=(
                "Training: number of evaluations without a lower held-out loss after which "
                "training ends. The adapters of the best evaluation are kept in either case."
            ),
            default="no such end",
        ),
        "checkpoint_every": Option(
            kind="count",
            text="Training: number of steps between checkpoints.",
            default="at each evaluation of the held-out loss",
        ),
    }

    kind: AdapterKind | Literal["default"] = "default"
    objective: Objective = "closed_form"
    input: int | None = None
    stream: int | None = None
    block_slot: int | None = None
    start: int | None = None
    rank: int | Literal["auto"] | None = None
    ridge: float | None = None
    held_out_share: float | None = None
    seed: int = 0
    batch_tokens: int | None = None
    memory_budget: int | None = None
    steps: int | None = None
    step_tokens: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    warmup_steps: int | None = None
    clip_norm: float | None = None
    evaluate_every: int | None = None
    patience: int | None = None
    checkpoint_every: int | None = None


class RecoverArguments(TypedDict, total=False):
    """The options of `RecoverOptions` as keyword arguments."""

    kind: AdapterKind | Literal["default"]
    objective: Objective
    input: int | None
    stream: int | None
    block_slot: int | None
    start: int | None
    rank: int | Literal["auto"] | None
    ridge: float | None
    held_out_share: float | None
    seed: int
    batch_tokens: int | None
    memory_budget: int | None
    steps: int | None
    step_tokens: int | None
    learning_rate: float | None
    weight_decay: float | None
    warmup_steps: int | None
    clip_norm: float | None
    evaluate_every: int | None
    patience: int | None
    checkpoint_every: int | None


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Options):
    """The plain options of prune_export_options."""

    STRUCT: ClassVar[str] = "prune_export_options"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "format": Option(
            kind="choice",
            group=FORMAT,
            text="Layout of the exported directory.",
            default="hf",
        ),
        "shard_bytes": Option(
            kind="count",
            text=(
                "Largest number of bytes of one file of weights. A larger tensor is a file of its "
                "own."
            ),
            default="5 * 10^9",
        ),
        "replace": Option(
            kind="switch",
            text=(
                "Whether a directory that PruneCore exported before is replaced, provided that "
                "nothing was added to it."
            ),
            default="no",
        ),
    }

    format: Format = "hf"
    shard_bytes: int | None = None
    replace: bool = False


class ExportArguments(TypedDict, total=False):
    """The options of `ExportOptions` as keyword arguments."""

    format: Format
    shard_bytes: int | None
    replace: bool


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(Options):
    """The plain options of prune_generate_options."""

    STRUCT: ClassVar[str] = "prune_generate_options"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "max_new_tokens": Option(
            kind="count",
            text="Largest number of new tokens per prompt, at most 2^24.",
            default="128",
        ),
        "temperature": Option(
            kind="number",
            text="Temperature: logits are divided by it.",
            default="greedy: the largest logit, the first of equal ones",
        ),
        "top_k": Option(
            kind="count",
            text=(
                "Number of likeliest tokens to draw from. Those as likely as the last are included."
            ),
            default="all",
        ),
        "top_p": Option(
            kind="number",
            text=(
                "Probability that the tokens to draw from have together: the fewest likeliest ones "
                "that reach it. A value of 1 keeps all."
            ),
            default="all",
        ),
        "seed": Option(
            kind="seed",
            text=(
                "Seed of the draws. The same seed and prompts give the same text, apart from "
                "rounding, which depends on the batches."
            ),
        ),
        "batch_sequences": Option(
            kind="count",
            text="Largest number of prompts continued together.",
            default=(
                "chosen by the library, so that their keys and values take no more than a quarter "
                "of the free memory"
            ),
        ),
        "batch_tokens": Option(
            kind="count",
            text=(
                "Largest number of prompt tokens computed together. A longer prompt is a batch of "
                "its own."
            ),
            default="chosen by the library",
        ),
    }

    max_new_tokens: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    batch_sequences: int | None = None
    batch_tokens: int | None = None


class GenerateArguments(TypedDict, total=False):
    """The options of `GenerateOptions` as keyword arguments."""

    max_new_tokens: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    seed: int
    batch_sequences: int | None
    batch_tokens: int | None


@dataclass(frozen=True, kw_only=True)
class StatisticsOptions(Options):
    """The plain options of prune_statistics_options."""

    STRUCT: ClassVar[str] = "prune_statistics_options"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "tokens": Option(
            kind="count",
            text="Tokens that static metrics look at: all, or the last of each sequence.",
            default="all",
        ),
        "windows": Option(
            kind="switch",
            text=(
                "Whether the angular distance of every run of contiguous blocks is gathered as "
                "well. This keeps n_blocks + 1 hidden states of a batch in memory."
            ),
            default="no",
        ),
    }

    tokens: int | None = None
    windows: bool = False


class StatisticsArguments(TypedDict, total=False):
    """The options of `StatisticsOptions` as keyword arguments."""

    tokens: int | None
    windows: bool


@dataclass(frozen=True, kw_only=True)
class GameOptions(Options):
    """The plain options of prune_game_options."""

    STRUCT: ClassVar[str] = "prune_game_options"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "estimator": Option(
            kind="choice",
            group=ESTIMATOR,
            text="How the values are estimated.",
            default="default",
        ),
        "seed": Option(
            kind="seed",
            text="Seed of the random draws.",
        ),
        "budget": Option(
            kind="count",
            text="Largest number of coalitions to evaluate.",
            default=(
                "what the estimator needs, or 32 per player; with random_subnetworks on a model, "
                "one round for every sequence of its data"
            ),
        ),
        "target_error": Option(
            kind="number",
            text="Largest standard error at which the game is done.",
            default="no such bound",
        ),
        "least": Option(
            kind="count",
            text="Number of lowest players that must be certain for the game to be done.",
            default="no such bound",
        ),
        "certainty": Option(
            kind="number",
            text="Probability with which the lowest players must be certain, between 0 and 1.",
            default="0.95",
        ),
        "keep_probability": Option(
            kind="number",
            text="Banzhaf: probability with which each other player is kept.",
            default="0.5",
        ),
        "subnetwork_size": Option(
            kind="count",
            text=(
                "Random subnetworks: number of players kept. n_players - 1 leaves out each player "
                "once per round, as the paper does by default."
            ),
            default="half of them",
        ),
        "subnetworks_per_round": Option(
            kind="count",
            text="Random subnetworks: number of coalitions per sequence of the data.",
            default="10, as in the paper",
        ),
        "truncation": Option(
            kind="number",
            text=(
                "Truncated: how close a worth must come to v(none) to end an order, as a share of "
                "|v(all) - v(none)|."
            ),
            default="0.01",
        ),
    }

    estimator: Estimator | Literal["default"] = "default"
    seed: int = 0
    budget: int | None = None
    target_error: float | None = None
    least: int | None = None
    certainty: float | None = None
    keep_probability: float | None = None
    subnetwork_size: int | None = None
    subnetworks_per_round: int | None = None
    truncation: float | None = None


class GameArguments(TypedDict, total=False):
    """The options of `GameOptions` as keyword arguments."""

    seed: int
    budget: int | None
    target_error: float | None
    least: int | None
    certainty: float | None
    keep_probability: float | None
    subnetwork_size: int | None
    subnetworks_per_round: int | None
    truncation: float | None


@dataclass(frozen=True, kw_only=True)
class GameRunOptions(Options):
    """The plain options of prune_game_run_options."""

    STRUCT: ClassVar[str] = "prune_game_run_options"
    OPTIONS: ClassVar[dict[str, Option]] = {
        "granularity": Option(
            kind="choice",
            group=GRANULARITY,
            text="What the players are: one unit each, unless the sublayers are grouped.",
            default="sublayer",
        ),
        "player_count": Option(
            kind="count",
            text="Length of `player_of_sublayer`: 2 * n_blocks, or 0 with NULL.",
        ),
        "sublayer_budget": Option(
            kind="count",
            text="Largest number of sublayers to apply.",
            default="no bound",
        ),
        "batch_coalitions": Option(
            kind="count",
            text="Number of coalitions evaluated together.",
            default="chosen by the library",
        ),
    }

    granularity: Granularity = "sublayer"
    player_count: int | None = None
    sublayer_budget: int | None = None
    batch_coalitions: int | None = None


class GameRunArguments(TypedDict, total=False):
    """The options of `GameRunOptions` as keyword arguments."""

    player_count: int | None
    sublayer_budget: int | None
    batch_coalitions: int | None
