# SPDX-License-Identifier: Apache-2.0
"""What a small checkpoint of a model family is: its configuration in transformers' words.

`family_dense`, `family_norms`, `family_gpts` and `family_mixtures` list them; `family_models`
writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

VOCABULARY = 61
CONTEXT = 64
TRAINED_CONTEXT = 16  # of rotary rules that stretch it; some sequences are longer, some shorter
WINDOW = 5

LINEAR: dict[str, Any] = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
DYNAMIC: dict[str, Any] = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 3.0}
YARN: dict[str, Any] = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": TRAINED_CONTEXT,
}
LLAMA3: dict[str, Any] = {
    "rope_type": "llama3",
    "rope_theta": 5000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": TRAINED_CONTEXT,
}
PROPORTIONAL: dict[str, Any] = {
    "rope_type": "proportional",
    "rope_theta": 100.0,
    "factor": 2.0,
    "partial_rotary_factor": 0.5,
}


def longrope(pairs: int, **more: object) -> dict[str, Any]:
    """The rotary rule of that name, for heads of which so many pairs of columns turn."""
    return {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0 + 0.25 * pair for pair in range(pairs)],
        "long_factor": [1.5 + 0.75 * pair for pair in range(pairs)],
        "original_max_position_embeddings": TRAINED_CONTEXT,
        **more,
    }


@dataclass(frozen=True)
class Case:
    """A checkpoint: the family, transformers' model type, and how it differs from `SHAPE`.

    A field of `fields` that is `DROPPED` is not given to the configuration. `edit` changes
    config.json after it was written, and `pack` the tensors, to how the authors of the family or
    earlier versions of transformers wrote them. What the model computes stays.
    """

    name: str
    family: str
    model_type: str
    fields: Mapping[str, object] = field(default_factory=dict)
    edit: Callable[[dict[str, Any]], None] | None = None
    pack: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] | None = None

    @property
    def configuration(self) -> dict[str, object]:
        """The keywords of the configuration."""
        return {
            key: value for key, value in (SHAPE | dict(self.fields)).items() if value != DROPPED
        }


DROPPED = "dropped"
SHAPE: dict[str, object] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 52,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
