# SPDX-License-Identifier: Apache-2.0
"""The classes of transformers that models are of, and that load them again."""

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
