# SPDX-License-Identifier: Apache-2.0
"""Weights and configuration of a pruned PyTorch model, as each format has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prunecore.errors import UnsupportedError
from prunecore.hosts.saving import save_whole
from prunecore.masks.mask import Mask
from prunecore.torch.agreement import apart
from prunecore.torch.causality import Probe
from prunecore.torch.custom_model import logits_of
from prunecore.torch.failures import told
from prunecore.torch.prunable import PrunableModel
from prunecore.torch.smaller_model import renumber
from prunecore.torch.storable import own_family
from prunecore.torch.zeroed_model import zeroed_model

if TYPE_CHECKING:
    from prunecore.recovery.adapters import Adapters


def save_custom(
    model: PrunableModel, folder: Path, mask: Mask, adapters: Adapters | None, shard_bytes: int
) -> dict[str, Any]:
    """hf_custom: any sublayers removed, adapters in their places, with modelling files.

    Raises `UnsupportedError` as `custom_model.save_pruned`.
    """
    with model.apply_mask(mask, adapters):
        model.module.save_pretrained(folder, max_shard_size=shard_bytes)
    return {}


def save_plain(
    model: PrunableModel, folder: Path, mask: Mask, adapters: Adapters | None, shard_bytes: int
) -> dict[str, Any]:
    """hf_plain: whole blocks removed. What was written is loaded, and must be the pruned model.

    Raises
    ------
    UnsupportedError
        Half of a block is removed, or there are adapters; or config.json cannot say of the blocks
        that are left what they were.
    """
    halves = [b for b in range(mask.n_blocks) if mask.keep[2 * b] != mask.keep[2 * b + 1]]
    if halves:
        raise UnsupportedError(
            f"hf_plain cannot hold this: one sublayer of block {halves[0]} is removed, and a "
            "checkpoint says only which blocks there are; hf_custom can"
        )
    if adapters is not None and len(adapters) > 0:
        raise UnsupportedError("hf_plain has no place for adapters; hf_custom has")
    kept = [block for block in range(mask.n_blocks) if mask.keep[2 * block]]
    before = model.module.config.get_text_config().to_dict()
    before["attention_layers"] = getattr(model.module.config, "attention_layers", None)
    with model.apply_mask(mask):
        if len(model.host.decoder.blocks) != len(kept):
            raise UnsupportedError(
                "hf_plain cannot hold this: norms of the sums stay where blocks are removed; "
                "hf_custom can"
            )
        ids = _tokens(model)
        wanted = logits_of(model.module, ids)
        save_whole(model.module, folder, max_shard_size=shard_bytes)
    renumber(folder / "config.json", before, kept, mask.n_blocks)
    _check(model.module, folder, ids, wanted)
    return {"blocks": kept}


def save_zeroed(
    model: PrunableModel, folder: Path, mask: Mask, adapters: Adapters | None, shard_bytes: int
) -> dict[str, Any]:
    """zeroed: the whole model, with zeros for the last products of what is removed.

    Raises
    ------
    UnsupportedError
        There are adapters; or zeros do not make the blocks compute what is left of them.
    """
    if adapters is not None and len(adapters) > 0:
        raise UnsupportedError("zeroed has no place for adapters; hf_custom has")
    ids = _tokens(model)
    with model.apply_mask(mask):
        wanted = logits_of(model.module, ids)
    made, zeros = zeroed_model(model.host.decoder, model.host.parts, mask.keep, ids, wanted)
    save_whole(made, folder, max_shard_size=shard_bytes)
    return {"zeroed": zeros}


def _tokens(model: PrunableModel) -> Tensor:
    """A few tokens that exports are tried on, shape (1, length)."""
    decoder = model.host.decoder
    return torch.from_numpy(Probe(decoder).whole).long()[None].to(decoder.input_device)


def _check(module: Any, folder: Path, ids: Tensor, wanted: Tensor) -> None:
    """Raises `UnsupportedError` unless what was written is loaded as the pruned model."""
    import transformers

    kind = getattr(transformers, own_family(module, module.config).model)
    refusal = (
        "hf_plain cannot hold this: loaded from what was written, a smaller "
        f"{type(module).__name__} is another model"
    )
    with told(refusal, UnsupportedError):
        loaded, report = kind.from_pretrained(
            folder,
            dtype=module.dtype,
            attn_implementation=module.config._attn_implementation,
            local_files_only=True,
            output_loading_info=True,
        )
        loaded.eval()
        distance = apart(logits_of(loaded, ids.cpu()), wanted)
    faults = [f"{name}: {sorted(found)[0]}" for name, found in report.items() if found]
    if distance is not None:
        faults.append(f"logits differ by {distance:.3g}")
    if faults:
        raise UnsupportedError(f"{refusal} ({'; '.join(faults)}); hf_custom can")
