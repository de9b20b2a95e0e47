# SPDX-License-Identifier: Apache-2.0
"""Models over the weights of a PyTorch model on the CPU."""

from __future__ import annotations

import hashlib
import json
import weakref
from typing import Any

from prunecore._native.names.tables import Compute
from prunecore.errors import FormatError, LoadError, UnsupportedError
from prunecore.hosts.from_arrays import Tensors
from prunecore.hosts.given_model import language_model
from prunecore.hosts.torch_weights import TorchWeights
from prunecore.tensors.views import ELEMENT_TYPES

_ELSEWHERE = "prunecore.torch.wrap(model) has PyTorch run the model instead, if it is a causal one"

_PACKED = ("4bit", "8bit", "QuantLinear", "HQQLinear", "WQLinear", "Gptq", "GPTQ", "Awq")
"""Parts of names of modules whose weights are quantised, of tools that PyTorch can compute with."""


def from_torch(model: Any, *, compute: Compute | None = None) -> TorchWeights:
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
    TorchWeights
        A `Model` without a directory: functions that read text need to be given a tokenizer.

    Raises
    ------
    ArgumentError
        The model is no language model of transformers.
    UnsupportedError
        The architecture is another, or the weights are quantised, or not in memory of the CPU.
    LoadError
        PyTorch is not installed.
    """
    nn = _torch().nn
    model = language_model(model, nn)
    config = model.config
    _check_weights(model)
    tensors = _tensors(model)
    values = _configuration(model, config)
    text = json.dumps(values)
    generation = getattr(model, "generation_config", None)
    try:
        made = tensors.model(
            text,
            compute,
            name=_name(model, config),
            digest=hashlib.sha256(text.encode()).hexdigest(),
            configurations=[values] if generation is None else [generation.to_dict(), values],
            kind=TorchWeights,
            kept=model,
        )
    except (UnsupportedError, FormatError) as error:
        raise type(error)(f"{error}; {_elsewhere(model)}") from error
    made._module = weakref.ref(model)
    return made


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
        if held.device.type == "meta":
            raise UnsupportedError(
                f"{name} of the model is on the device 'meta', which holds no numbers: load all of "
                "its weights into memory, which prunecore.torch.wrap needs, too"
            )
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


def _check_weights(model: Any) -> None:
    """Raises `UnsupportedError` for weights that are packed, or lie beside those of others."""
    for name, module in model.named_modules():
        kind = type(module).__name__
        if "peft.tuners" in type(module).__module__:
            raise UnsupportedError(
                f"{name} of the model is a {kind} of peft, which PruneCore does not compute: merge "
                f"it, as with merge_and_unload(); or {_ELSEWHERE}"
            )
        packed = any(part in kind for part in _PACKED)
        if packed or ".quantized." in f"{type(module).__module__}.":
            raise UnsupportedError(
                f"{name} of the model is a {kind} with quantised weights, but weights are read in "
                "float32, float16 or bfloat16: load the model without quantisation"
                + (f"; or {_ELSEWHERE}" if packed else "")
            )


def _elsewhere(model: Any) -> str:
    """What to do with a model that cannot be read: it must not end at the next refusal."""
    name = type(model).__name__
    if name.startswith("PruneCore"):
        return (
            f"{name} is what PruneCore exported of a pruned model: take the model that it was made "
            "of, and remove more with a mask"
        )
    types = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    if not any(str(kind).removeprefix("torch.") in ELEMENT_TYPES for kind in types):
        return "prunecore.torch.wrap needs one of these types, too"
    return _ELSEWHERE


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
