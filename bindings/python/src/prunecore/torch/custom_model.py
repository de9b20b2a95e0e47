# SPDX-License-Identifier: Apache-2.0
"""A pruned PyTorch model as the modelling files of an export make it, over the same tensors."""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from prunecore.errors import ArgumentError, UnsupportedError
from prunecore.export.modelling_files import FamilyClasses, modelling_files
from prunecore.export.private_package import PrivatePackage
from prunecore.hosts.saving import check_storable
from prunecore.masks.mask import Keep
from prunecore.torch.adapter_module import AdapterModule
from prunecore.torch.agreement import apart
from prunecore.torch.architectures import Parts
from prunecore.torch.block_description import ADAPTER_NAMES, TENSORS, described, place, skipped
from prunecore.torch.causality import Probe
from prunecore.torch.decoder import Decoder
from prunecore.torch.failures import told
from prunecore.torch.rotary_memory import forget_longer_sequences
from prunecore.torch.shared_model import shared_model
from prunecore.torch.storable import own_family
from prunecore.torch.sublayers import CACHES

_DIRECTIONS = ("push_to_hub", "distributed_checkpoint")


class Pruned(Protocol):
    """A model that lacks sublayers now: see `Pruning`."""

    decoder: Decoder
    parts: Parts | None
    keep: Keep
    adapters: Mapping[int, AdapterModule]
    config: Any
    blocks: list[int]


def save_pruned(
    pruned: Pruned,
    save_directory: str | os.PathLike[str],
    is_main_process: bool = True,
    state_dict: Mapping[str, Tensor] | None = None,
    **options: Any,
) -> None:
    """What `save_pretrained` of a model is while a mask is applied: the format hf_custom.

    Weights and adapters are written as they are now, with the modelling files that run them.

    Parameters
    ----------
    pruned : Pruning
        The applied mask.
    save_directory, is_main_process, state_dict
        As `save_pretrained` of transformers takes them.
    **options
        Others of it, such as `max_shard_size`.

    Raises
    ------
    ArgumentError
        What is to be pushed to a hub, or written by several processes.
    UnsupportedError
        The model cannot be saved so: its class is not one of transformers, its weights are
        quantised or not in memory, or the modelling files compute something else.
    """
    for name in _DIRECTIONS:
        if options.get(name):
            raise ArgumentError(
                f"{name} is set, which a pruned model cannot do: save it to a folder, and upload "
                "that"
            )
    with custom_model(pruned, state_dict) as (model, files):
        folder = Path(save_directory)
        if is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (folder / name).write_bytes(content)
        model.save_pretrained(save_directory, is_main_process=is_main_process, **options)


@contextmanager
def custom_model(
    pruned: Pruned, state_dict: Mapping[str, Tensor] | None = None
) -> Iterator[tuple[Any, Mapping[str, bytes]]]:
    """The model of the modelling files with the tensors of a pruned one, and these files by name.

    Nothing is copied. It is run on a few tokens, unless the model is in training mode or spread
    over devices, and must give the logits that the pruned one gives.

    Raises
    ------
    UnsupportedError
        As `save_pruned`.
    """
    source = pruned.decoder.model
    check_storable(source)
    family = own_family(source, pruned.config)
    files = modelling_files(family)
    name = type(source).__name__
    with tempfile.TemporaryDirectory(prefix="prunecore-save-") as folder:
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        package = PrivatePackage(Path(folder))
        try:
            config, kind = _classes(pruned, family, package)
            held = source.state_dict(keep_vars=True) if state_dict is None else state_dict
            with told(f"{name} cannot be saved without sublayers", UnsupportedError):
                made = shared_model(
                    partial(kind, config),
                    {_renamed(own, pruned): tensor for own, tensor in held.items()},
                    {_renamed(own, pruned): buffer for own, buffer in source.named_buffers()},
                    spare_allowed=state_dict is not None,
                )
            _generation(made, source)
            if state_dict is None:  # else it is another one's
                _check(made, pruned)
            yield made, files
        finally:
            package.forget()


def _classes(pruned: Pruned, family: FamilyClasses, package: PrivatePackage) -> tuple[Any, Any]:
    """The configuration of the modelling files, and the class of the model."""
    configuration, kind = (package.load(named) for named in family.auto_map.values())
    values = pruned.config.to_dict()
    values.pop("model_type", None)
    removed = [index for index, kept in enumerate(pruned.keep) if not kept]
    if removed and pruned.parts is not None and pruned.config.get_text_config() is pruned.config:
        values["per_layer_config"] = skipped(removed)
    values["auto_map"] = family.auto_map
    values["prunecore"] = described(
        pruned.decoder.path, pruned.parts, pruned.keep, pruned.adapters, pruned.decoder.besides
    )
    config = configuration.from_dict(values)
    for own, other in ((config, pruned.config), *_inner_configs(config, pruned.config)):
        own._attn_implementation = other._attn_implementation
    return config, kind


def _inner_configs(config: Any, other: Any) -> list[tuple[Any, Any]]:
    names = list(getattr(type(config), "sub_configs", None) or ())
    found = [(getattr(config, name, None), getattr(other, name, None)) for name in names]
    return [(own, theirs) for own, theirs in found if own is not None and theirs is not None]


def _renamed(name: str, pruned: Pruned) -> str:
    """What a tensor of the pruned model is called in that of the modelling files."""
    path = f"{pruned.decoder.path}."
    if not name.startswith(path):
        return name
    number, _, rest = name.removeprefix(path).partition(".")
    block = pruned.blocks[int(number)]
    inner, _, tensor = rest.partition(".")
    if inner in ADAPTER_NAMES:
        sublayer = 2 * block + ADAPTER_NAMES.index(inner)
        rest = f"{place(pruned.parts, sublayer)}.{TENSORS[tensor]}"
        form = pruned.adapters[sublayer]
        assert form.norm is not None or tensor not in ("norm", "norm_bias")
    return f"{path}{block}.{rest}"


def _generation(made: Any, source: Any) -> None:
    """Has the model generate as the pruned one does, without a cache where it has no attention."""
    generation = getattr(source, "generation_config", None)
    if generation is not None:
        made.generation_config = type(generation).from_dict(generation.to_dict())


def _check(made: nn.Module, pruned: Pruned) -> None:
    """Raises `UnsupportedError` if the model computes something else than the pruned one."""
    source = pruned.decoder.model
    devices = {parameter.device for parameter in made.parameters()}
    if source.training or len(devices) != 1:
        return
    ids = torch.from_numpy(Probe(pruned.decoder).whole).long()[None].to(devices.pop())
    wanted, last = logits_of(source, ids), None
    with suppress(Exception):  # a class that cannot do that is saved all the same
        last = _last_logits(source, ids)
    with told(f"{type(source).__name__} without sublayers cannot be run", UnsupportedError):
        distance = apart(logits_of(made, ids), wanted)
        if distance is None and last is not None:
            found = _last_logits(made, ids)
            distance = None if found is None else apart(found, last)
    if distance is not None:
        raise UnsupportedError(
            f"{type(source).__name__} cannot be saved without these sublayers: what its class in "
            f"transformers makes of what is left differs by {distance:.3g} in its logits"
        )


def logits_of(model: Any, ids: Tensor) -> Tensor:
    """A model's own logits of a sequence, ids of shape (1, length)."""
    forget_longer_sequences(model)
    with torch.no_grad():
        found: Tensor = model(input_ids=ids, use_cache=False).logits[0]
    return found


def _last_logits(model: Any, ids: Tensor) -> Tensor | None:
    """Those of the last token from the cache of the others; None without such a cache."""
    if not getattr(model.config.get_text_config(), "use_cache", True) or ids.shape[1] < 2:
        return None
    taken = inspect.signature(model.forward).parameters
    name = next((own for own in CACHES if own in taken), "past_key_values")
    with torch.no_grad():
        made = model(input_ids=ids[:, :-1], use_cache=True)
        caches = (getattr(made, own, None) for own in CACHES)
        cache = next((own for own in caches if own is not None), None)
        if cache is None:
            return None
        found: Tensor = model(input_ids=ids[:, -1:], use_cache=True, **{name: cache}).logits
    return found[0]
