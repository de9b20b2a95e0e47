# SPDX-License-Identifier: Apache-2.0
"""Models over arrays in memory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from prunecore._native.given import as_json
from prunecore._native.names.tables import Compute
from prunecore._native.paths import as_path
from prunecore.errors import ArgumentError, Error, FileError, FormatError, UnsupportedError
from prunecore.model import Model
from prunecore.tensors.lend import lend
from prunecore.tensors.views import TensorView, view_of

Lent = TypeVar("Lent", bound=Model)


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
    tensors = Tensors()
    for name, array in arrays.items():
        if not isinstance(name, str):
            raise ArgumentError(f"arrays has the key {name!r}, but its keys must be names")
        tensors.add(name, array)
    return tensors.model(
        configuration.text,
        compute,
        name=configuration.name,
        digest=configuration.digest,
        configurations=[configuration.values],
        kind=Model,
    )


class Tensors:
    """Tensors to lend, and those that cannot be lent, which matters if the model needs them."""

    def __init__(self) -> None:
        self._lent: dict[str, TensorView] = {}
        self._left_out: dict[str, Error] = {}

    def add(self, name: str, tensor: Any) -> None:
        """Adds a NumPy array, or what exports `__dlpack__`; leaves it out if it cannot be lent.

        Raises
        ------
        ArgumentError
            It is not a tensor, or does not hand its memory out.
        """
        what = f"array '{name}'"
        try:
            view = _view(what, tensor)
        except UnsupportedError as error:
            return self.leave_out(name, error)
        if len(view.shape) not in (1, 2):
            dimensions = f"{what} has {len(view.shape)} dimensions; a weight has 1 or 2"
            return self.leave_out(name, FormatError(dimensions))
        self._lent[name] = view
        return None

    def leave_out(self, name: str, error: Error) -> None:
        """Remembers why a tensor cannot be lent, for a model that needs it."""
        self._left_out[name] = error

    def model(
        self,
        config_json: str,
        compute: Compute | None,
        *,
        name: str,
        digest: str,
        configurations: Iterable[Mapping[str, Any]],
        kind: type[Lent],
        kept: object = None,
    ) -> Lent:
        """The model, of a class: see `Model._adopt` and `lend`."""
        try:
            return kind._adopt(
                lend(config_json, self._lent, kept, compute),
                name=name,
                digest=digest,
                configurations=list(configurations),
            )
        except FormatError as error:
            for left_out, reason in self._left_out.items():
                if f'tensor "{left_out}" is missing' in str(error):
                    raise reason from error
            raise


def _view(what: str, tensor: Any) -> TensorView:
    """Where a tensor lies. `view_of` copies what is not whole elements apart: not here."""
    if isinstance(tensor, np.ndarray) and any(s % tensor.itemsize for s in tensor.strides):
        raise UnsupportedError(
            f"{what} has strides of {tensor.strides} bytes, no multiples of its elements: "
            "make it contiguous"
        )
    return view_of(what, tensor)


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
            return cls._of(as_json("config", config).encode(), None)
        if isinstance(config, str) and config.lstrip().startswith("{"):
            return cls._of(config.encode(errors="replace"), None)
        if not isinstance(config, (str, os.PathLike)):
            raise ArgumentError(
                f"config is a {type(config).__name__}, but must be a mapping, JSON text or a path"
            )
        path = as_path(config, "config")
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
