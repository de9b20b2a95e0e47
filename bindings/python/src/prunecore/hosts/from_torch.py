# SPDX-License-Identifier: Apache-2.0
"""Models over the weights of a PyTorch model on the CPU."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from prunecore._native.names.tables import Compute
from prunecore.errors import ArgumentError, FormatError, LoadError, UnsupportedError
from prunecore.hosts.from_arrays import Tensors
from prunecore.model import Model
from prunecore.tensors.views import ELEMENT_TYPES

_ELSEWHERE = "prunecore.torch.wrap(model) has PyTorch run the model instead"


def from_torch(model: Any, *, compute: Compute | None = None) -> Model:
    """A model over the weights of a PyTorch model on the CPU: nothing is copied.

    It computes what the PyTorch model computes in evaluation, without dropout, hooks or patches.
    The PyTorch model is kept until nothing uses this one. What is written into its weights is seen
    by the next call; during a call none may change. Weights that are replaced by others, as
    `model.to(dtype)` does, are not followed.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Of an architecture that `prunecore.open` opens, in float32, float16 or bfloat16.
    compute : {"float32", "bfloat16"}, optional
        As for `prunecore.open`.

    Returns
    -------
    Model
        Without a directory: functions that read text need to be given a tokenizer.

    Raises
    ------
    UnsupportedError
        The architecture is another, or the weights are not in memory of the CPU.
    LoadError
        PyTorch is not installed.
    """
    nn = _torch().nn
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


def _torch() -> Any:
    """The package torch, which is slow to load and need not be there."""
    try:
        import torch
    except ImportError as error:
        raise LoadError(
            "prunecore.from_torch needs PyTorch, which is not installed: pip install torch"
        ) from error
    return torch


def _tensors(model: Any) -> Tensors:
    """The tensors of a model. They keep their memory even if the model is given others."""
    torch = _torch()
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
        elif type(held) not in (torch.Tensor, torch.nn.Parameter) or held.layout != torch.strided:
            reason = f"{name} of the model is a {type(held).__name__} of layout {held.layout}"
            tensors.leave_out(name, UnsupportedError(f"{reason}, whose elements are not in memory"))
        else:
            tensors.add(name, held)
    return tensors


def _configuration(model: Any, config: Any) -> dict[str, Any]:
    """What config.json would say of the model."""
    values: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    # A model that was made from its configuration alone is named in none.
    return values | {"architectures": [type(model).__name__]}


def _name(model: Any, config: Any) -> str:
    found: object = getattr(config, "_name_or_path", "")
    if isinstance(found, str) and found.strip("/"):
        return found.rstrip("/").rsplit("/", 1)[-1]
    return type(model).__name__
