# SPDX-License-Identifier: Apache-2.0
"""A model over the weights of a PyTorch model, which can be written as a checkpoint of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

from prunecore._native.options_generated import ExportArguments
from prunecore._native.paths import as_path
from prunecore._native.progress import ProgressFunction
from prunecore._native.whole_file import check_export_place, make_parents, not_written
from prunecore.errors import ArgumentError, UnsupportedError
from prunecore.export.export import origin
from prunecore.export.formats import export_format
from prunecore.hosts.saving import save_tokenizer, save_whole
from prunecore.model import Model
from prunecore.model import open as open_model

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prunecore.masks.mask import MaskLike
    from prunecore.recovery.adapters import Adapters


class TorchWeights(Model):
    """A `Model` over the weights of a PyTorch model: `prunecore.from_torch` makes one."""

    _module: ref[Any]

    def export(
        self,
        directory: str | os.PathLike[str],
        mask: MaskLike | None = None,
        adapters: Adapters | None = None,
        format: str = "hf",
        *,
        tokenizer: Any = None,
        provenance: Mapping[str, Any] | None = None,
        progress: ProgressFunction | None = None,
        **options: Unpack[ExportArguments],
    ) -> Path:
        """Writes the model without what a mask removes, in any format that opened models have.

        The whole model is first written beside the export, by `save_pretrained` of its class, and
        opened: for a while, the disk holds it besides.

        Parameters
        ----------
        directory, mask, adapters, format, provenance, progress, **options
            As `Model.export` of an opened model takes them.
        tokenizer : tokenizer or path, optional
            Of the package transformers, or a directory with one: written with the weights. The
            format "gguf" needs one.

        Raises
        ------
        ArgumentError, FileError, UnsupportedError
            As there; or the class cannot be saved, or is not opened from what it saves.
        """
        export_format(format)
        path = as_path(directory, "the export's path")
        check_export_place(path, replaces=bool(options.get("replace")))
        make_parents(path)
        self._handle.pointer  # noqa: B018  raises if the model is closed
        module = self._module()
        if module is None:
            raise UnsupportedError("the PyTorch model is gone, so that it cannot be saved")
        if "save_pretrained" in vars(module):
            raise ArgumentError("a mask is applied to the PyTorch model: call restore() first")
        if mask is None and adapters is None:
            mask = self.mask
        given = origin(self, mask, adapters) if provenance is None else provenance
        try:
            beside = tempfile.TemporaryDirectory(
                prefix=f".{path.name[:32]}.", suffix=".whole", dir=path.resolve().parent
            )
        except OSError as error:
            raise not_written(path, error) from error
        with beside as whole:
            save_whole(module, Path(whole))
            save_tokenizer(tokenizer, Path(whole))
            with open_model(whole) as opened:
                return opened.export(
                    path, mask, adapters, format, provenance=given, progress=progress, **options
                )
