# SPDX-License-Identifier: Apache-2.0
# Generated from prunecore.h by generate_raw.py. Do not edit.
"""Names of what prunecore.h numbers."""

from __future__ import annotations

from typing import Literal

from prunecore._native.names.choice import Choice

Compute = Literal["float32", "bfloat16"]
ElementType = Literal["float32", "float16", "bfloat16"]
Granularity = Literal["sublayer", "block", "attention", "feed_forward"]
Measure = Literal["loss", "logit_l2", "kl", "js", "choice_error", "choice_loss"]
Strategy = Literal["one_shot", "greedy", "window", "tail", "evolutionary", "random"]
AdapterKind = Literal["bias", "low_rank", "linear"]
Objective = Literal["closed_form", "mse", "ce", "kl", "js"]
Format = Literal["hf", "hf_plain", "hf_custom", "deci"]
Estimator = Literal[
    "exact",
    "leave_one_out",
    "random_subnetworks",
    "permutation",
    "antithetic",
    "truncated",
    "stratified",
    "kernel_shap",
    "surrogate",
    "banzhaf",
    "pair_differences",
]
Distance = Literal["l2", "kl", "js"]

COMPUTE: Choice[Compute] = Choice(
    what="compute",
    values={
        "float32": 1,
        "bfloat16": 2,
    },
    special={
        "automatic": 0,
    },
    texts={
        "automatic": (
            "What the environment variable PRUNECORE_COMPUTE (float32, bfloat16) says. Where it is "
            "unset or empty: BFLOAT16 for weights stored in bf16 on a CPU with AVX512-BF16, "
            "otherwise FLOAT32."
        ),
        "float32": (
            "Weights are widened exactly. Results agree with an fp32 reference to its rounding."
        ),
        "bfloat16": (
            "Activations are rounded to bf16 before each product, as PyTorch does in a bf16 model. "
            "This is up to twice as fast. Losses move by about 1e-4 of their value."
        ),
    },
)

ELEMENT_TYPE: Choice[ElementType] = Choice(
    what="element type",
    values={
        "float32": 0,
        "float16": 1,
        "bfloat16": 2,
    },
    special={},
    texts={
        "float32": "",
        "float16": "",
        "bfloat16": "",
    },
)

GRANULARITY: Choice[Granularity] = Choice(
    what="granularity",
    values={
        "sublayer": 0,
        "block": 1,
        "attention": 2,
        "feed_forward": 3,
    },
    special={},
    texts={
        "sublayer": "2 * n_blocks units; unit u is sublayer u",
        "block": "n_blocks units; unit i is sublayers 2i and 2i + 1",
        "attention": "n_blocks units; unit i is sublayer 2i",
        "feed_forward": "n_blocks units; unit i is sublayer 2i + 1",
    },
)

MEASURE: Choice[Measure] = Choice(
    what="measure",
    values={
        "loss": 0,
        "logit_l2": 1,
        "kl": 2,
        "js": 3,
        "choice_error": 4,
        "choice_loss": 5,
    },
    special={},
    texts={
        "loss": "Mean negative log-likelihood per predicted token, in nats.",
        "logit_l2": "Mean over predicting tokens of ||logits - reference logits||_2.",
        "kl": "Mean KL divergence of the next-token distribution from the reference's, in nats.",
        "js": "Mean Jensen-Shannon divergence between the two, in nats; at most ln 2.",
        "choice_error": "Share of multiple-choice items answered wrongly.",
        "choice_loss": (
            "Mean over items of -log softmax over the candidates' scores, at the answer."
        ),
    },
)

STRATEGY: Choice[Strategy] = Choice(
    what="strategy",
    values={
        "one_shot": 1,
        "greedy": 2,
        "window": 3,
        "tail": 4,
        "evolutionary": 5,
        "random": 6,
    },
    special={
        "default": 0,
    },
    texts={
        "default": "PRUNE_STRATEGY_GREEDY.",
        "one_shot": "Removes units by ascending score, computed once.",
        "greedy": (
            "Removes the unit that does the least damage, then the next one: SLEB (arXiv "
            "2402.09025) for blocks, BlockPruner (2406.10594) and FinerCut (2405.18218) for "
            "sublayers. It then exchanges removed units for kept ones as long as that lowers the "
            "damage."
        ),
        "window": (
            "Removes the run of contiguous units that does the least damage, or has the lowest "
            "score (2403.17887: angular distance)."
        ),
        "tail": "Removes units from the last one on.",
        "evolutionary": (
            "(1 + offspring) evolution by exchanging units; offspring are selected on growing "
            "parts of the data: EvoPress (2410.14649)."
        ),
        "random": "Removes random units, as a control.",
    },
)

ADAPTER_KIND: Choice[AdapterKind] = Choice(
    what="adapter kind",
    values={
        "bias": 1,
        "low_rank": 2,
        "linear": 3,
    },
    special={
        "default": 0,
    },
    texts={
        "default": "PRUNE_ADAPTER_LOW_RANK.",
        "bias": "The bias alone: it emulates the mean update (arXiv 2407.16286).",
        "low_rank": "matrix = up * down, of rank `rank`.",
        "linear": "A full matrix, hidden_size x hidden_size.",
    },
)

OBJECTIVE: Choice[Objective] = Choice(
    what="objective",
    values={
        "closed_form": 0,
        "mse": 1,
        "ce": 2,
        "kl": 3,
        "js": 4,
    },
    special={},
    texts={
        "closed_form": "Least squares of each update by itself; solved, not trained.",
        "mse": (
            "Mean squared difference between the hidden state after the last sublayer and the full "
            "model's, divided by the mean square of the full model's."
        ),
        "ce": "Loss of the next tokens.",
        "kl": "KL(full model || recovered model) of the next-token distributions.",
        "js": "Jensen-Shannon divergence of the two.",
    },
)

FORMAT: Choice[Format] = Choice(
    what="format",
    values={
        "hf": 0,
        "hf_plain": 1,
        "hf_custom": 2,
        "deci": 3,
    },
    special={},
    texts={
        "hf": (
            "PRUNE_FORMAT_HF_PLAIN if that can express the model, otherwise PRUNE_FORMAT_HF_CUSTOM."
        ),
        "hf_plain": (
            "Whole blocks removed: an ordinary checkpoint, blocks renumbered. It cannot hold "
            "adapters, except biases that prune_adapters_fold() moves into output biases that the "
            "model has."
        ),
        "hf_custom": (
            "Sublayers removed, adapters in their places. It has a modelling file of its own, "
            "which transformers runs with trust_remote_code, and declares `per_layer_config`."
        ),
        "deci": (
            "nemotron-nas with block_configs, for vLLM and mlx: sublayers removed, no adapters."
        ),
    },
)

ESTIMATOR: Choice[Estimator] = Choice(
    what="estimator",
    values={
        "exact": 1,
        "leave_one_out": 2,
        "random_subnetworks": 3,
        "permutation": 4,
        "antithetic": 5,
        "truncated": 6,
        "stratified": 7,
        "kernel_shap": 8,
        "surrogate": 9,
        "banzhaf": 10,
        "pair_differences": 11,
    },
    special={
        "default": 0,
    },
    texts={
        "default": "PRUNE_ESTIMATOR_SURROGATE, which measured best.",
        "exact": "All 2^n coalitions; n <= 20.",
        "leave_one_out": "v(all) - v(all but i): n + 1 coalitions. It is not a Shapley value.",
        "random_subnetworks": (
            "Mean worth with i - mean worth without i, at one size, as in the paper."
        ),
        "permutation": "Marginal contributions along random orders.",
        "antithetic": "The same along each order and its reverse.",
        "truncated": (
            "Orders from the full set down, abandoned once the worth is that of the empty set."
        ),
        "stratified": "Means by size, with and without each player; coalitions in pairs.",
        "kernel_shap": "Weighted regression; leverage sampling, in pairs, without repetition.",
        "surrogate": "A fitted model of the game, and the strata of its residuals.",
        "banzhaf": "Weighted Banzhaf value: each other player is kept with keep_probability.",
        "pair_differences": "Leave-one-out, and second differences of all pairs at the full set.",
    },
)

DISTANCE: Choice[Distance] = Choice(
    what="distance",
    values={
        "l2": 0,
        "kl": 1,
        "js": 2,
    },
    special={},
    texts={
        "l2": "||logits - reference logits||_2",
        "kl": "KL(reference || state) of the next-token distributions, in nats",
        "js": "Jensen-Shannon divergence, in nats",
    },
)
