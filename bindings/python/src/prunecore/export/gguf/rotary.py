# SPDX-License-Identifier: Apache-2.0
"""Rotary embeddings of config.json in the words of llama.cpp.

Its graphs `llama` and `deci` read a tensor `rope_freqs.weight`, by which the frequency of each pair
of entries is divided: any rule that scales frequencies can be said with it, to the last bit of a
float. `qwen2` and `qwen3` do not read it, but know the rules "linear" and "yarn" by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from prunecore.errors import UnsupportedError

Frequencies = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rotary:
    """The rotary embedding of a model.

    Attributes
    ----------
    base : float
        `rope_theta`.
    rule : {"default", "linear", "llama3", "yarn"}
        How frequencies are scaled.
    parameters : mapping
        Of the rule, as config.json has them.
    context_length : int
        `max_position_embeddings`.
    """

    base: float
    rule: str
    parameters: Mapping[str, Any]
    context_length: int

    @classmethod
    def read(cls, config: Mapping[str, Any], context_length: int) -> Rotary:
        """From config.json, of today's form or of that of transformers 4."""
        found = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
        base = found.get("rope_theta") or config.get("rope_theta") or 10000.0
        rule = str(found.get("rope_type") or found.get("type") or "default")
        # The file's own key goes before that of the object, as in transformers.
        original = config.get("original_max_position_embeddings") or found.get(
            "original_max_position_embeddings"
        )
        parameters = {**found, "original": float(original or context_length)}
        return cls(float(base), rule, parameters, context_length)

    @property
    def factor(self) -> float:
        """By which contexts are stretched."""
        given = self.parameters.get("factor")
        # Of yarn it may be null: then it is the ratio of the contexts.
        return float(given or self.context_length / self.original_context)

    @property
    def original_context(self) -> float:
        """Positions of the first training."""
        return float(self.parameters["original"])

    @property
    def attention_factor(self) -> float:
        """By which cos and sin are multiplied: not 1 for yarn only (arXiv 2309.00071, 3.4)."""
        if self.rule != "yarn":
            return 1.0
        given = self.parameters.get("attention_factor")
        if given is not None:
            return float(given)

        def scale(multiplier: float) -> float:
            return 1.0 if self.factor <= 1 else 0.1 * multiplier * math.log(self.factor) + 1

        mscale, all_dim = self.parameters.get("mscale"), self.parameters.get("mscale_all_dim")
        if mscale and all_dim:
            return scale(float(mscale)) / scale(float(all_dim))
        return scale(1.0)

    def divisors(self, head_size: int) -> Frequencies | None:
        """What the frequency of each pair is divided by, shape (head_size / 2,); None = 1."""
        plain = self.base ** -(np.arange(0, head_size, 2) / head_size)
        if self.rule == "default":
            return None
        if self.rule == "linear":
            return np.full(len(plain), self.factor)
        scaled: Frequencies
        if self.rule == "llama3":
            scaled = self._llama3(plain)
        elif self.rule == "yarn":
            scaled = self._yarn(plain, head_size)
        else:
            raise UnsupportedError(f"rotary embeddings of type {self.rule} are not exported")
        divisors: Frequencies = plain / scaled
        return divisors

    def _llama3(self, plain: Frequencies) -> Frequencies:
        """Llama 3.1: long wavelengths are stretched, short ones kept, those between blended."""
        low = float(self.parameters["low_freq_factor"])
        high = float(self.parameters["high_freq_factor"])
        rotations = self.original_context * plain / (2 * math.pi)
        kept = np.clip((rotations - low) / (high - low), 0.0, 1.0)
        scaled: Frequencies = kept * plain + (1 - kept) * plain / self.factor
        return scaled

    def _yarn(self, plain: Frequencies, head_size: int) -> Frequencies:
        def pair(rotations: float) -> float:
            """The pair that turns so often over the original context."""
            return (
                head_size
                * math.log(self.original_context / (rotations * 2 * math.pi))
                / (2 * math.log(self.base))
            )

        low = pair(float(self.parameters.get("beta_fast") or 32))
        high = pair(float(self.parameters.get("beta_slow") or 1))
        if self.truncates:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, head_size - 1)
        ramp = (np.arange(len(plain)) - low) / max(high - low, 0.001)
        stretched = np.clip(ramp, 0.0, 1.0)
        scaled: Frequencies = plain / self.factor * stretched + plain * (1 - stretched)
        return scaled

    @property
    def truncates(self) -> bool:
        """Whether the ends of yarn's ramp are rounded to whole pairs; a null is false."""
        return bool(self.parameters.get("truncate", True))

    @property
    def has_name(self) -> bool:
        """Whether "linear" or "yarn" of llama.cpp, by name, computes the same."""
        if self.rule == "yarn":
            fast, slow = self.parameters.get("beta_fast"), self.parameters.get("beta_slow")
            return self.truncates and (fast or 32) == 32 and (slow or 1) == 1 and self.factor > 1
        return self.rule in ("default", "linear")

    @property
    def named_attention_factor(self) -> float:
        """What remains of the attention factor: "yarn" of llama.cpp has one of its own."""
        return self.attention_factor / (1 + 0.1 * math.log(self.factor))
