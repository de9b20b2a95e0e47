# SPDX-License-Identifier: Apache-2.0
"""Wrapped PyTorch models as checkpoints without what a mask removes: `WrappedModel.export`."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunecore._native.given import as_json
from prunecore._native.json_files import read_json_object
from prunecore._native.library import __version__
from prunecore._native.paths import as_path
from prunecore._native.progress import ProgressFunction
from prunecore.errors import ArgumentError, Cancelled, UnsupportedError
from prunecore.export.export import origin
from prunecore.export.formats import export_format
from prunecore.export.runtimes import without_bars
from prunecore.export.staged_directory import staged_directory, write_document
from prunecore.hosts.saving import check_storable, save_tokenizer
from prunecore.masks.mask import Mask, as_keep
from prunecore.recovery.adapters import JSON_FILE, Adapters
from prunecore.torch.prunable import PrunableModel
from prunecore.torch.saved_models import save_custom, save_plain, save_zeroed

if TYPE_CHECKING:
    from prunecore.masks.mask import MaskLike

SHARD_BYTES = 5_000_000_000

_SAVERS: Mapping[
    str, Callable[[PrunableModel, Path, Mask, Adapters | None, int], dict[str, Any]]
] = {
    "hf_plain": save_plain,
    "hf_custom": save_custom,
    "zeroed": save_zeroed,
}
"""What writes each format into a folder; it gives the notes of prunecore.json."""


def export_wrapped(
    model: PrunableModel,
    directory: str | os.PathLike[str],
    mask: MaskLike | None,
    adapters: Adapters | None,
    format: str,
    *,
    tokenizer: Any,
    provenance: Mapping[str, Any] | None,
    progress: ProgressFunction | None,
    shard_bytes: int | None,
    replace: bool,
) -> Path:
    """See `WrappedModel.export`."""
    if format not in ("hf", *_SAVERS):
        export_format(format)  # no such format at all
        raise UnsupportedError(
            f"{format} is not written of a model that PyTorch runs: save the whole model with "
            "save_pretrained, open the folder with prunecore.open, and export that"
        )
    limit = SHARD_BYTES if shard_bytes is None else shard_bytes
    if not isinstance(limit, int) or limit <= 0:
        raise ArgumentError(f"shard_bytes is {limit!r}, but must be a number above 0")
    if adapters is not None and mask is not None:
        adapters.check_mask(mask)
    chosen = adapters.mask if adapters is not None else mask if mask is not None else model.mask
    keep = as_keep(chosen, model.shape.n_blocks)
    assert keep is not None
    removal = Mask(keep)
    model.host.decoder.check_evaluating()
    check_storable(model.module)
    given = origin(model, mask, adapters) if provenance is None else provenance
    as_json("provenance", given)
    path = as_path(directory, "the export's path")
    meter = _Meter(progress)
    meter.step(0)
    with staged_directory(path, replaces=replace) as folder, _quiet():
        kind, notes = _save(model, folder, removal, adapters, format, limit)
        meter.step(1)
        save_tokenizer(tokenizer, folder)
        write_document(
            folder,
            {
                "format": "prunecore.export",
                "version": 1,
                "library": __version__,
                "kind": kind,
                "architecture": model.shape.architecture,
                "n_blocks": model.shape.n_blocks,
                "removed": removal.removed,
                "notes": notes,
                "adapters": _described(adapters),
                "source": {"config_sha256": model.provenance["config_sha256"]},
                "provenance": dict(given),
            },
        )
        meter.step(2)
    return path


def _save(
    model: PrunableModel,
    folder: Path,
    mask: Mask,
    adapters: Adapters | None,
    format: str,
    shard_bytes: int,
) -> tuple[str, dict[str, Any]]:
    """Writes the weights and what loads them; gives the format that it is, and its notes."""
    if format == "hf":
        try:
            return "hf_plain", save_plain(model, folder, mask, adapters, shard_bytes)
        except UnsupportedError:
            for file in folder.iterdir():
                file.unlink()
            format = "hf_custom"
    return format, _SAVERS[format](model, folder, mask, adapters, shard_bytes)


def _quiet() -> Any:
    import transformers

    return without_bars(transformers)


def _described(adapters: Adapters | None) -> dict[str, Any] | None:
    if adapters is None or len(adapters) == 0:
        return None
    with tempfile.TemporaryDirectory() as folder:
        adapters.save(folder)
        record = read_json_object(Path(folder) / JSON_FILE)
    return {"report": record["report"], "adapters": record["adapters"]}


class _Meter:
    """Tells of progress in three steps: begun, weights written, done."""

    def __init__(self, progress: ProgressFunction | None) -> None:
        self._progress = progress
        self._begun = time.monotonic()

    def step(self, done: int) -> None:
        if self._progress is None:
            return
        if self._progress("export", done, 2, time.monotonic() - self._begun):
            raise Cancelled("the progress function stopped the export")
