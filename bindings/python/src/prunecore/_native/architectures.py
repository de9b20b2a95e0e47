# SPDX-License-Identifier: Apache-2.0
"""The families of models that the library knows: a table that the core holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from prunecore._native.library import lib, written_text


@dataclass(frozen=True)
class Architecture:
    """A family of models that the library takes apart into attention and feed-forward.

    Attributes
    ----------
    name : str
        What config.json calls it under `architectures`, such as "LlamaForCausalLM".
    model_type : str
        What config.json calls it under `model_type`.
    opens : bool
        Whether `open` computes it; `prunecore.torch.wrap` takes all of them.
    mixture : bool
        Whether feed-forwards are mixtures of experts. Of families that `open` does not compute,
        this is not known: False.
    """

    name: str
    model_type: str
    opens: bool
    mixture: bool


def architectures() -> list[Architecture]:
    """Lists the families that the library knows: first those that `open` computes.

    Other families run, too: `prunecore.torch.wrap` removes whole blocks of theirs.
    """
    return [
        Architecture(
            name=row["name"],
            model_type=row["model_type"],
            opens=row["is_computed"],
            mixture=row["is_mixture"],
        )
        for row in architecture_table().values()
    ]


@cache
def architecture_table() -> Mapping[str, Mapping[str, Any]]:
    """What prune_architectures() gives, by the class of a block in transformers."""
    rows = json.loads(written_text(lib.prune_architectures))
    return {row["block_class"]: row for row in rows}
