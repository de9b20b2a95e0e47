# SPDX-License-Identifier: Apache-2.0
"""Models over arrays in memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prunecore import _dlpack
from prunecore._compute import Compute
from prunecore._lending import ELEMENT_TYPES, LentTensor, lend
from prunecore.errors import ArgumentError, FileError, FormatError, UnsupportedError
from prunecore.model import Model


def from_arrays(
    config: Mapping[str, Any] | str | os.PathLike[str],
    arrays: Mapping[str, Any],
    *,
    compute: Compute | None = None,
) -> Model:
    """A model over weights that are in memory already: nothing is copied.

    The arrays are kept until nothing uses the model. What is written into one is seen by the next
    call; during a call none may change.

    Parameters
    ----------
    config : mapping, str or path
        What config.json says; its text; or the path of the file, or of its directory.
    arrays : mapping of str to array
        Named as in a Hugging Face checkpoint; those that the model does not need are ignored. NumPy
        arrays, or whatever exports `__dlpack__` from memory of the CPU, in float32, float16 or
        bfloat16. Elements of a row must follow each other; rows may be those of a wider matrix.
    compute : {"float32", "bfloat16"}, optional
        As for `prunecore.open`.

    Returns
    -------
    Model
        Without a directory: functions that read text need to be given a tokenizer.

    Raises
    ------
    FormatError
        The configuration is wrong, or a tensor is missing or has another shape.
    UnsupportedError
        An architecture that the library does not compute; an array of another type, on another
        device, or with gaps between the elements of a row.
    ArgumentError
        What is given for an array is none.
    """
    configuration = _Configuration.read(config)
    tensors, kept = Tensors(), []
    for name, array in arrays.items():
        if not isinstance(name, str):
            raise ArgumentError(f"arrays has the key {name!r}, but its keys must be names")
        try:
            kept.append(_add(tensors, name, array))
        except _dlpack.UnusableError as reason:
            tensors.leave_out(name, str(reason))
    return tensors.model(
        configuration.text,
        kept,
        compute,
        name=configuration.name,
        digest=configuration.digest,
        configurations=[configuration.values],
    )


class Tensors:
    """Tensors to lend, and those that cannot be lent, which matters if the model needs them."""

    def __init__(self) -> None:
        self._lent: list[LentTensor] = []
        self._left_out: dict[str, str] = {}

    def add(self, tensor: LentTensor) -> None:
        """Adds a tensor, or leaves it out for what its shape cannot be."""
        if len(tensor.shape) in (1, 2):
            self._lent.append(tensor)
        else:
            self.leave_out(tensor.name, f"has {len(tensor.shape)} dimensions; a weight has 1 or 2")

    def leave_out(self, name: str, reason: str) -> None:
        """Remembers why a tensor cannot be lent: what follows its name in a sentence."""
        self._left_out[name] = reason

    def model(
        self,
        config_json: str,
        kept: object,
        compute: Compute | None,
        *,
        name: str,
        digest: str,
        configurations: Iterable[Mapping[str, Any]],
    ) -> Model:
        """The model: see `Model._adopt` and `lend`."""
        try:
            return Model._adopt(
                lend(config_json, self._lent, kept, compute),
                name=name,
                digest=digest,
                configurations=list(configurations),
            )
        except FormatError as error:
            for left_out, reason in self._left_out.items():
                if f'tensor "{left_out}" is missing' in str(error):
                    raise UnsupportedError(f"array '{left_out}' {reason}") from error
            raise


def _add(tensors: Tensors, name: str, array: Any) -> object:
    """Adds an array; returns what keeps its memory."""
    if isinstance(array, np.ndarray):
        tensors.add(_numpy_tensor(name, array))
        return array
    if not hasattr(array, "__dlpack__"):
        raise ArgumentError(
            f"array '{name}' is a {type(array).__name__}, but must be a NumPy array, "
            "or one that exports __dlpack__"
        )
    owner, address, element_type, shape, strides = _dlpack.read(array, name)
    tensors.add(LentTensor(name, address, element_type, shape, strides))
    return owner, array


def _numpy_tensor(name: str, array: np.ndarray[Any, Any]) -> LentTensor:
    kind = array.dtype
    if kind.name not in ELEMENT_TYPES or not kind.isnative:
        raise _dlpack.UnusableError(
            f"is of type {kind}; convert it to float32, float16 or bfloat16"
        )
    if any(stride % kind.itemsize for stride in array.strides):
        raise _dlpack.UnusableError(
            f"has strides of {array.strides} bytes, no multiples of an element: make it contiguous"
        )
    strides = tuple(stride // kind.itemsize for stride in array.strides)
    return LentTensor(name, array.ctypes.data, kind.name, array.shape, strides)


@dataclass(frozen=True)
class _Configuration:
    """A configuration: its text for the library, and what identifies it in results."""

    text: str
    digest: str
    name: str
    values: Mapping[str, Any]

    @classmethod
    def read(cls, config: Mapping[str, Any] | str | os.PathLike[str]) -> _Configuration:
        if isinstance(config, Mapping):
            try:
                text = json.dumps(dict(config))
            except (TypeError, ValueError) as error:
                raise ArgumentError(f"config cannot be written as JSON: {error}") from error
            return cls._of(text.encode(), None)
        if isinstance(config, str) and config.lstrip().startswith("{"):
            return cls._of(config.encode(errors="replace"), None)
        if not isinstance(config, (str, os.PathLike)):
            raise ArgumentError(
                f"config is a {type(config).__name__}, but must be a mapping, JSON text or a path"
            )
        path = Path(config)
        try:
            path = path / "config.json" if path.is_dir() else path
            content = path.read_bytes()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FileError(f"{path} cannot be read: {reason}") from error
        return cls._of(content, path)

    @classmethod
    def _of(cls, content: bytes, path: Path | None) -> _Configuration:
        digest = hashlib.sha256(content).hexdigest()
        text = content.decode(errors="replace")
        try:
            found = json.loads(text)
        except ValueError:
            found = None  # the library says what is wrong with it
        values = found if isinstance(found, dict) else {}
        return cls(text, digest, _name(values) if path is None else _folder(path), values)


def _folder(path: Path) -> str:
    return path.resolve().parent.name


def _name(values: Mapping[str, Any]) -> str:
    """What to call a model of which there is no more than a configuration."""
    for key in ("_name_or_path", "model_type"):
        found = values.get(key)
        if isinstance(found, str) and found.strip("/"):
            return found.rstrip("/").rsplit("/", 1)[-1]
    return "model"
