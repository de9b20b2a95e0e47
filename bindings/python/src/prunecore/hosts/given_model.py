# SPDX-License-Identifier: Apache-2.0
"""What a caller gives as a PyTorch model: unwrapped if it is one, else told what to give."""

from __future__ import annotations

import os
from typing import Any

from prunecore.errors import ArgumentError, UnsupportedError
from prunecore.opened import OpenModel

_AROUND = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
}
"""Modules around another, by the name of their class, and the attribute that holds it."""

_OTHER_TASKS = (
    *("Classification", "QuestionAnswering", "MultipleChoice", "NextSentencePrediction"),
    *("Detection", "Segmentation", "Regression", "ForPreTraining", "CTC"),
)
"""Parts of class names of transformers: heads that give no logits of tokens."""


def language_model(given: Any, nn: Any) -> Any:
    """The model of transformers that is given, without what torch or peft has put around it.

    Parameters
    ----------
    given : object
    nn : module
        `torch.nn`, which this module does not load.

    Raises
    ------
    ArgumentError
        It is none, or none that predicts tokens.
    UnsupportedError
        It is an encoder with a decoder; or its weights lie on several processes, or prompts that
        were learnt belong to it.
    """
    model = given
    while (around := _AROUND.get(type(model).__name__)) is not None:
        model = getattr(model, around)
    if hasattr(model, "peft_config") and callable(getattr(model, "get_base_model", None)):
        model = _without_peft(model)
    config = getattr(model, "config", None)
    if not isinstance(model, nn.Module) or not hasattr(config, "get_text_config"):
        raise ArgumentError(
            "model must be a causal language model of the package transformers, but is "
            f"{_described(given, nn)}"
        )
    name = type(model).__name__
    if name == "FullyShardedDataParallel" or any(
        type(parameter).__name__ == "DTensor" for parameter in model.parameters()
    ):
        raise UnsupportedError(
            f"weights of {name} are spread over processes (FSDP, DTensor): give the whole model, "
            "before it is sharded"
        )
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedError(
            f"{name} is an encoder with a decoder, which PruneCore does not prune: its models are "
            "decoders alone, such as AutoModelForCausalLM gives of Llama or GPT-2"
        )
    if any(task in name for task in _OTHER_TASKS):
        raise ArgumentError(
            f"{name} gives no logits of tokens, but a causal language model is needed: load it "
            "with AutoModelForCausalLM, and fine-tune for another task after pruning"
        )
    if name.endswith("Model") and not name.endswith(("LMHeadModel", "LMModel", "LanguageModel")):
        raise ArgumentError(
            f"{name} has no language-modelling head, so that nothing can be predicted: load it "
            "with AutoModelForCausalLM in the place of AutoModel"
        )
    return model


def _without_peft(model: Any) -> Any:
    kinds = [getattr(config, "is_prompt_learning", False) for config in model.peft_config.values()]
    if any(kinds):
        raise UnsupportedError(
            f"{type(model).__name__} of peft puts prompts that were learnt before each sequence, "
            "which PruneCore does not: give the model without them, model.get_base_model()"
        )
    return model.get_base_model()


def _described(given: Any, nn: Any) -> str:
    kind = type(given).__name__
    if isinstance(given, (str, os.PathLike)):
        told = (
            f"the text {os.fspath(given)!r}: prunecore.open opens a directory, and "
            "AutoModelForCausalLM.from_pretrained makes a model of a directory or a name"
        )
    elif isinstance(given, OpenModel):
        told = f"a {kind} of prunecore already: use it as it is"
    elif isinstance(given, type):
        told = f"the class {given.__name__}: give a model, such as from_pretrained makes"
    elif callable(getattr(given, "encode", None)) and callable(getattr(given, "decode", None)):
        told = f"a tokenizer ({kind}): give the model that it belongs to"
    elif hasattr(given, "get_text_config") and hasattr(given, "to_json_string"):
        told = f"a configuration ({kind}): AutoModelForCausalLM.from_config makes a model of it"
    elif not isinstance(given, nn.Module) and isinstance(getattr(given, "model", None), nn.Module):
        told = f"a {kind}: give its .model"
    elif isinstance(given, dict):
        told = f"a {kind}: prunecore.from_arrays takes a configuration and tensors by name"
    else:
        told = f"a {kind}"
    return told
