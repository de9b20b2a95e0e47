# SPDX-License-Identifier: Apache-2.0
"""Pruned models as files that runtimes serve: `Model.export`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunecore._native.options_generated import ExportArguments, ExportOptions
from prunecore._native.paths import as_path
from prunecore._native.progress import ProgressFunction
from prunecore._native.signatures import takes
from prunecore.export.formats import Export, export_format
from prunecore.masks.mask import Mask

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from prunecore.masks.mask import MaskLike
    from prunecore.opened import OpenModel
    from prunecore.recovery.adapters import Adapters


@takes(ExportOptions)
def export(
    self: OpenModel,
    directory: str | os.PathLike[str],
    mask: MaskLike | None = None,
    adapters: Adapters | None = None,
    format: str = "hf",
    *,
    provenance: Mapping[str, Any] | None = None,
    progress: ProgressFunction | None = None,
    **options: Unpack[ExportArguments],
) -> Path:
    """Writes the model without what a mask removes, for other programs. Formats: docs/export.md.

    The result appears when it is whole. Whatever stops the call, a kill included, leaves what was
    there before.

    Parameters
    ----------
    directory : path
        What is written. It must not be there, unless `replace`.
    mask : Mask or array, optional
        What is removed. Default: what the adapters stand in for, or else the model's mask.
    adapters : Adapters, optional
        What stands in the places of removed sublayers.
    format : {"hf", "hf_plain", "hf_custom", "deci", "mlx", "zeroed", "gguf"}
        "hf_plain" is a checkpoint like any other, with fewer blocks: what loads the model loads it.
        "hf_custom" has a modelling file of its own, which transformers runs with
        `trust_remote_code=True`: any sublayers may be missing, and adapters stand in their places.
        "hf" is the first of the two that can say it. "deci" is nemotron-nas, for vLLM, SGLang and
        mlx-lm: any sublayers may be missing, without adapters. "mlx" is the same for mlx-lm alone,
        with linear layers in the places of adapters. "zeroed" is a checkpoint of all
        blocks in which removed sublayers add zero: what loads the model loads it, and nothing is
        saved. "gguf" is a file, for llama.cpp; it needs
        the package gguf.
    provenance : mapping, optional
        JSON values kept in prunecore.json. Default: those of the mask and of the adapters.
    progress : callable, optional
        Called as `progress(stage, done, total, seconds)`, steps being tensors; a true result stops
        the call with `Cancelled`, an exception stops it and is raised again.

    Returns
    -------
    Path
        `directory`.

    Raises
    ------
    ArgumentError
        Mask, adapters and model do not fit; the format has no such name.
    FileError
        Something is there already, or there is no room; the text has the system's reason.
    UnsupportedError
        The format cannot say it, or its runtimes would compute something else; or the model was
        not opened from a directory. The text says why, and which format can.
    """
    write = export_format(format)
    path = as_path(directory, "the export's path")
    write(
        Export(
            model=self,
            path=path,
            mask=mask,
            adapters=adapters,
            provenance=origin(self, mask, adapters) if provenance is None else provenance,
            options=ExportOptions(**options),
            progress=progress,
        )
    )
    return path


def origin(model: OpenModel, mask: MaskLike | None, adapters: Adapters | None) -> dict[str, Any]:
    """What prunecore.json says of an export's origin, unless the caller says something else."""
    found: dict[str, Any] = {"model": model.provenance}
    if isinstance(mask, Mask) and mask.provenance:
        found["mask"] = mask.provenance
    if adapters is not None and adapters.provenance:
        found["adapters"] = adapters.provenance
    return found
