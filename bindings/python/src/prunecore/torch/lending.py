# SPDX-License-Identifier: Apache-2.0
"""Models over the weights of a PyTorch model on the CPU."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import nn

from prunecore._native.names.compute import Compute
from prunecore.errors import ArgumentError, FormatError, UnsupportedError
from prunecore.hosts.from_arrays import Tensors
from prunecore.model import Model
from prunecore.tensors.views import ELEMENT_TYPES

_ELSEWHERE = "prunecore.torch.wrap(model) has PyTorch run the model instead"


def from_torch(model: nn.Module, *, compute: Compute | None = None) -> Model:
    """A model over the weights of a PyTorch model: see `prunecore.from_torch`."""
    config = getattr(model, "config", None)
    if not isinstance(model, nn.Module) or not hasattr(config, "to_json_string"):
        raise ArgumentError(
            f"model is a {type(model).__name__}, but must be a model of the package transformers"
        )
    tensors = _tensors(model)
    values = _configuration(model, config)
    text = json.dumps(values)
    generation = getattr(model, "generation_config", None)
    try:
        return tensors.model(
            text,
            compute,
            name=_name(model, config),
            digest=hashlib.sha256(text.encode()).hexdigest(),
            configurations=[values] if generation is None else [generation.to_dict(), values],
            kept=model,
        )
    except (UnsupportedError, FormatError) as error:
        raise type(error)(f"{error}; {_ELSEWHERE}") from error


def _tensors(model: nn.Module) -> Tensors:
    """The tensors of a model. They keep their memory even if the model is given others."""
    tensors = Tensors()
    for name, held in model.state_dict(keep_vars=True).items():
        if not isinstance(held, torch.Tensor):
            continue  # what get_extra_state() of some module gave
        if held.device.type != "cpu":
            raise UnsupportedError(
                f"{name} of the model is on the device '{held.device}', but weights are read from "
                f"memory of the CPU: move the model there; or {_ELSEWHERE}"
            )
        kind = str(held.dtype).removeprefix("torch.")
        if kind not in ELEMENT_TYPES:
            known = ", ".join(ELEMENT_TYPES)
            reason = f"{name} of the model holds {kind}; convert it to one of {known}"
            tensors.leave_out(name, UnsupportedError(reason))
        elif type(held) not in (torch.Tensor, nn.Parameter) or held.layout != torch.strided:
            reason = f"{name} of the model is a {type(held).__name__} of layout {held.layout}"
            tensors.leave_out(name, UnsupportedError(f"{reason}, whose elements are not in memory"))
        else:
            tensors.add(name, held)
    return tensors


def _configuration(model: nn.Module, config: Any) -> dict[str, Any]:
    """What config.json would say of the model."""
    values: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    # A model that was made from its configuration alone is named in none.
    return values | {"architectures": [type(model).__name__]}


def _name(model: nn.Module, config: Any) -> str:
    found: object = getattr(config, "_name_or_path", "")
    if isinstance(found, str) and found.strip("/"):
        return found.rstrip("/").rsplit("/", 1)[-1]
    return type(model).__name__
