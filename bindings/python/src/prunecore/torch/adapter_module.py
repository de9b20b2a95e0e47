# SPDX-License-Identifier: Apache-2.0
"""One adapter as a PyTorch module, and saved adapters as modules."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from prunecore._native.json_files import read_json_file
from prunecore._native.paths import as_path
from prunecore.errors import FormatError
from prunecore.recovery.adapters import JSON_FILE, Adapters


class AdapterModule(nn.Module):
    """What stands in the place of a removed sublayer: h -> h + bias + matrix @ x.

    x is norm(h) = h / sqrt(mean(h^2) + epsilon) * norm, or a layer norm, where there is a norm;
    else h. Parameters are fp32, as PruneCore computes; the result has the type of h.

    Parameters
    ----------
    width : int
        Length of a hidden state.
    kind : {"bias", "low_rank", "linear"}
        A constant; that and up @ down; that and a whole matrix.
    rank : int
        Of low_rank.
    epsilon : float, optional
        Of the norm that x goes through; None = x is h.
    norm_kind : {"rms", "layer"}
        A layer norm takes the mean away, and adds norm_bias.

    Attributes
    ----------
    bias, down, up, matrix : nn.Parameter or None
        Those of the kind; all but down begin as zeros, so that a new module adds nothing.
    norm : Tensor or None
        Gain of the norm: a buffer, which is not trained.
    norm_bias : Tensor or None
        Bias of a layer norm: a buffer.
    """

    bias: nn.Parameter
    down: nn.Parameter | None
    up: nn.Parameter | None
    matrix: nn.Parameter | None
    norm: Tensor | None
    norm_bias: Tensor | None

    def __init__(
        self,
        width: int,
        kind: str = "low_rank",
        rank: int = 16,
        epsilon: float | None = None,
        norm_kind: str = "rms",
    ) -> None:
        super().__init__()
        if kind not in ("bias", "low_rank", "linear"):
            raise ValueError(f"kind is '{kind}', but must be bias, low_rank or linear")
        self.kind = kind
        self.epsilon = epsilon
        self.norm_kind = norm_kind
        self.bias = nn.Parameter(torch.zeros(width))
        low_rank, linear = kind == "low_rank", kind == "linear"
        down = torch.randn(rank, width) / width**0.5 if low_rank else None
        self.register_parameter("down", None if down is None else nn.Parameter(down))
        self.register_parameter("up", nn.Parameter(torch.zeros(width, rank)) if low_rank else None)
        self.register_parameter(
            "matrix", nn.Parameter(torch.zeros(width, width)) if linear else None
        )
        normed = epsilon is not None and kind != "bias"
        self.register_buffer("norm", torch.ones(width) if normed else None)
        layer = normed and norm_kind == "layer"
        self.register_buffer("norm_bias", torch.zeros(width) if layer else None)

    @classmethod
    def of(
        cls,
        kind: str,
        arrays: Mapping[str, npt.NDArray[Any] | None],
        epsilon: float | None,
        norm_kind: str = "rms",
    ) -> AdapterModule:
        """The module of an adapter's arrays, by part as in `Adapters.arrays`; they are copied.

        Parameters
        ----------
        kind : {"bias", "low_rank", "linear"}
        arrays : mapping
            bias; down and up, or matrix; norm and norm_bias. None, or nothing, for those it does
            not have.
        epsilon : float or None
            Of the norm; None if there is none.
        norm_kind : {"rms", "layer"}
        """
        given = {part: torch.tensor(a) for part, a in arrays.items() if a is not None}
        rank = given["down"].shape[0] if "down" in given else 1
        epsilon = epsilon if "norm" in given else None
        module = cls(given["bias"].shape[0], kind, rank, epsilon, norm_kind)
        for part, values in given.items():
            own = getattr(module, part)
            if own is not None:  # a bias has no use for a norm
                own.data.copy_(values)
        return module

    def forward(self, hidden_states: Tensor) -> Tensor:
        """The hidden states after the adapter; any shape that ends in the width."""
        return hidden_states + self.update(hidden_states)

    def update(self, hidden_states: Tensor) -> Tensor:
        """What the adapter adds to the hidden states."""
        x = hidden_states.float()
        if self.norm is not None and self.epsilon is not None:
            if self.norm_kind == "layer":
                width = (self.norm.shape[0],)
                x = nn.functional.layer_norm(x, width, self.norm, self.norm_bias, self.epsilon)
            else:
                x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon) * self.norm
        made: Tensor = self.bias
        if self.down is not None and self.up is not None:
            made = made + nn.functional.linear(nn.functional.linear(x, self.down), self.up)
        elif self.matrix is not None:
            made = made + nn.functional.linear(x, self.matrix)
        return made.to(hidden_states.dtype)

    def extra_repr(self) -> str:
        """What a printed module says."""
        rank = "" if self.down is None else f", rank={self.down.shape[0]}"
        return f"{self.bias.shape[0]}, kind={self.kind}{rank}, epsilon={self.epsilon}"


def load_adapters(directory: str | os.PathLike[str]) -> dict[int, AdapterModule]:
    """Reads saved adapters as modules, by sublayer: 2i is the attention of block i.

    Parameters
    ----------
    directory : path
        What `Adapters.save`, or `prunecore recover --out`, wrote.

    Raises
    ------
    FileError, FormatError, UnsupportedError
        As `Adapters.load`.
    """
    modules: dict[int, AdapterModule] = {}
    with Adapters.load(directory) as adapters:
        norms = read_json_file(as_path(directory) / JSON_FILE, _norms)
        for adapter in adapters:
            normed = "norm" in adapter.parts
            epsilon, norm_kind = norms.get(adapter.name, (None, "rms")) if normed else (None, "rms")
            if normed and epsilon is None:
                raise FormatError(f"{directory} names no epsilon for the norm of {adapter.name}")
            arrays = adapters.arrays(adapter.sublayer)
            modules[adapter.sublayer] = AdapterModule.of(adapter.kind, arrays, epsilon, norm_kind)
    return modules


def _norms(record: Any) -> dict[str, tuple[float, str]]:
    """Epsilon and kind of the norms that adapters.json names, by sublayer."""
    return {
        str(entry["sublayer"]): (float(entry["epsilon"]), str(entry.get("norm", "rms")))
        for entry in record["adapters"]
        if entry.get("epsilon") is not None
    }
