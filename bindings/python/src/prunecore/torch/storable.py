# SPDX-License-Identifier: Apache-2.0
"""Which PyTorch models can be written as checkpoints that transformers loads with its own code."""

from __future__ import annotations

from typing import Any

from prunecore.errors import LoadError, UnsupportedError
from prunecore.export.modelling_files import FamilyClasses


def own_family(model: Any, config: Any) -> FamilyClasses:
    """The classes of transformers that a model and its configuration are of.

    Parameters
    ----------
    model : PreTrainedModel
        Of a class of transformers, or one derived from it.
    config : PreTrainedConfig
        Of the whole model.

    Raises
    ------
    UnsupportedError
        Its code came with its checkpoint, or is the caller's own.
    """
    own, configuration = own_class(model), own_class(config)
    if own is None or configuration is None or own.config_class is not configuration:
        raise UnsupportedError(
            f"{type(model).__name__} is not a class of transformers: an export carries no code of "
            "others, so that nothing could load it"
        )
    return FamilyClasses(own.__name__, configuration.__name__, configuration.model_type)


def own_class(made: Any) -> Any:
    """The class of transformers that something is of, or derived from; None if there is none."""
    try:
        import transformers
    except ImportError as error:
        raise LoadError("transformers, which made the model, is not installed any more") from error
    for kind in type(made).__mro__:
        if getattr(transformers, kind.__name__, None) is kind:
            return kind
    return None


def check_storable(model: Any) -> None:
    """Raises `UnsupportedError` for weights that a checkpoint could not hold as they are."""
    name = type(model).__name__
    if getattr(model, "hf_quantizer", None) is not None or _is_quantised(model.config):
        raise UnsupportedError(
            f"weights of {name} are quantised, which an export without sublayers cannot "
            "hold: load the model without quantisation, export it, and quantise the export"
        )
    for part, module in model.named_modules():
        if "peft.tuners" in type(module).__module__:
            raise UnsupportedError(
                f"{part} of {name} holds an adapter of peft, which an export has no place for: "
                "merge it first, with merge_and_unload()"
            )
    if any(parameter.is_meta for parameter in model.parameters()):
        raise UnsupportedError(
            f"weights of {name} are not in memory (device meta): load it with a device_map that "
            "holds all of it"
        )


def _is_quantised(config: Any) -> bool:
    return getattr(config, "quantization_config", None) is not None
