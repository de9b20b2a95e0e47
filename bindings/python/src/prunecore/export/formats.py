# SPDX-License-Identifier: Apache-2.0
"""The formats that models are exported in, by name.

A format is a function that takes an `Export` and writes it. Those of directories are the library's
own; others are added to `EXPORT_FORMATS` by the module that writes them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from prunecore._native.given import as_json
from prunecore._native.library import ffi, lib
from prunecore._native.options_generated import ExportOptions
from prunecore._native.progress import ProgressFunction, Watch
from prunecore._native.whole_file import check_export_place, make_parents
from prunecore.errors import ArgumentError
from prunecore.masks.mask import keep_pointer
from prunecore.opened import OpenModel

if TYPE_CHECKING:
    from prunecore.masks.mask import MaskLike
    from prunecore.recovery.adapters import Adapters


@dataclass(frozen=True)
class Export:
    """What is exported, and where to.

    Attributes
    ----------
    model : Model
        The model that is pruned.
    path : Path
        The directory or file that is written.
    mask : Mask or array, or None
        What is removed; None = what the adapters stand in for, or else the model's mask.
    adapters : Adapters or None
        What stands in the places of removed sublayers.
    provenance : mapping or None
        JSON values that are kept with the export.
    options : ExportOptions
        The plain options, such as whether an earlier export at `path` is replaced.
    progress : callable or None
        Told of progress; a true result, or an exception, stops the export.
    """

    model: OpenModel
    path: Path
    mask: MaskLike | None = None
    adapters: Adapters | None = None
    provenance: Mapping[str, Any] | None = None
    options: ExportOptions = field(default_factory=ExportOptions)
    progress: ProgressFunction | None = None


def write_checkpoint(export: Export, *, format: str) -> None:
    """Writes a directory: the formats that prunecore.h names."""
    options = export.options.new()
    options.format = int(ffi.integer_const(f"PRUNE_FORMAT_{format.upper()}"))
    provenance = ffi.new("char[]", _provenance(export.provenance))
    options.provenance_json = provenance
    watch = Watch(export.progress)
    options.progress = watch.callback
    path = os.fsencode(export.path)
    if b"\0" in path:
        raise ArgumentError("the path of the export holds a NUL character")
    pointer, count = keep_pointer(export.model._keep(export.mask))
    check_export_place(export.path, replaces=bool(export.options.replace))
    make_parents(export.path)
    adapters = ffi.NULL if export.adapters is None else export.adapters.handle
    with _tokenizer_directory(export.model) as files:
        tokenizer = ffi.NULL if files is None else ffi.new("char[]", os.fsencode(files))
        options.tokenizer_directory = tokenizer
        watch.check(
            lib.prune_model_export(export.model.handle, pointer, count, adapters, path, options)
        )


@contextmanager
def _tokenizer_directory(model: OpenModel) -> Iterator[Path | None]:
    """A directory with the tokenizer that a GGUF file holds; None = the model's own."""
    if model.directory is None or not model.directory.is_file():
        yield None
        return
    from prunecore.data.gguf_tokenizer.files import write_tokenizer

    with TemporaryDirectory() as directory:
        write_tokenizer(model.directory, Path(directory))
        yield Path(directory)


def _provenance(provenance: Mapping[str, Any] | None) -> bytes:
    return as_json("provenance", provenance).encode()


def write_gguf(export: Export) -> None:
    """Writes a file for llama.cpp: see `export_gguf`, which has more options."""
    from prunecore.export.gguf import export_gguf

    if export.options.shard_bytes is not None:
        raise ArgumentError("shard_bytes is given, but a GGUF export is one file")
    if export.options.dequantised != "bfloat16":
        raise ArgumentError("dequantised is given, but a GGUF file keeps blocks: see export_gguf")
    export_gguf(
        export.model,
        export.path,
        export.mask,
        export.adapters,
        replace=export.options.replace,
        provenance=export.provenance,
        progress=export.progress,
    )


EXPORT_FORMATS: dict[str, Callable[[Export], None]] = {
    name: partial(write_checkpoint, format=name)
    for name in ("hf", "hf_plain", "hf_custom", "deci", "mlx", "zeroed")
} | {"gguf": write_gguf}
"""What writes each format. docs/export.md says what they are."""


def export_format(name: str) -> Callable[[Export], None]:
    """What writes a format. Raises `ArgumentError` for a name that is none."""
    if name not in EXPORT_FORMATS:
        raise ArgumentError(f"format is {name!r}, but must be one of {', '.join(EXPORT_FORMATS)}")
    return EXPORT_FORMATS[name]
