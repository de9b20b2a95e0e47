# SPDX-License-Identifier: Apache-2.0
"""Models of transformers as checkpoints: what can be written, and how."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prunecore._native.paths import as_path
from prunecore._native.whole_file import not_written
from prunecore.errors import ArgumentError, Error, FileError, UnsupportedError


def check_storable(model: Any) -> None:
    """Raises `UnsupportedError` for weights that a checkpoint could not hold as they are."""
    name = type(model).__name__
    quantised = getattr(model.config, "quantization_config", None) is not None
    if quantised or getattr(model, "hf_quantizer", None) is not None:
        raise UnsupportedError(
            f"weights of {name} are quantised, which an export without sublayers cannot hold: "
            "load the model without quantisation, export it, and quantise the export"
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


def save_whole(model: Any, folder: Path, **options: Any) -> None:
    """Saves a model as it is now, by its class's own function, also while a mask is applied.

    Parameters
    ----------
    model : PreTrainedModel
    folder : Path
    **options
        As `save_pretrained` takes them.

    Raises
    ------
    FileError
        The disk has no room, or says something else; the text has the system's reason.
    UnsupportedError
        The class cannot be saved.
    """
    check_storable(model)
    try:
        type(model).save_pretrained(model, folder, **options)
    except OSError as error:
        raise not_written(folder, error) from error
    except Exception as error:  # whatever a class raises, it is not saved
        raise UnsupportedError(f"{type(model).__name__} cannot be saved: {error}") from error


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Writes a tokenizer of transformers, or that of a directory, beside a checkpoint.

    Raises
    ------
    ArgumentError
        It is neither.
    FileError
        The directory holds none that transformers loads.
    """
    if tokenizer is None:
        return
    if isinstance(tokenizer, (str, os.PathLike)):
        tokenizer = _loaded(as_path(tokenizer, "the tokenizer"))
    if not callable(getattr(tokenizer, "save_pretrained", None)):
        raise ArgumentError(
            f"cannot write a tokenizer of the type {type(tokenizer).__name__}: give one of the "
            "package transformers, or the directory of one"
        )
    tokenizer.save_pretrained(folder)


def _loaded(place: Path) -> Any:
    import transformers

    if not place.is_dir():
        raise FileError(f"{place} is not a directory with a tokenizer")
    try:
        return transformers.AutoTokenizer.from_pretrained(place, local_files_only=True)
    except Error:
        raise
    except Exception as error:  # whatever a loader raises, it did not load
        raise FileError(f"transformers loads no tokenizer from {place}: {error}") from error
