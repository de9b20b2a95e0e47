# SPDX-License-Identifier: Apache-2.0
"""Language models of transformers as they live in this process, on any device."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from prunecore._native.progress import ProgressFunction
from prunecore.data.verbs import verb
from prunecore.errors import ArgumentError, NonFiniteError, UnsupportedError
from prunecore.hosts.given_model import language_model
from prunecore.importance.neuron_scores import NeuronScores
from prunecore.masks.mask import as_keep
from prunecore.recovery.adapters import Adapters
from prunecore.torch.adapter_module import load_adapters
from prunecore.torch.agreement import apart
from prunecore.torch.applied_mask import AppliedMask, Pruning, check_whole
from prunecore.torch.architectures import Parts, parts_of
from prunecore.torch.causality import Ids, Probe, check_causality
from prunecore.torch.decoder import Decoder
from prunecore.torch.exporting import export_wrapped
from prunecore.torch.failures import told
from prunecore.torch.healing import heal as _heal
from prunecore.torch.host import TorchHost
from prunecore.torch.layouts import Layout
from prunecore.torch.neurons import neuron_scores_of
from prunecore.torch.prunable import PrunableModel
from prunecore.torch.states import TorchState

if TYPE_CHECKING:
    from prunecore.data.data import Data
    from prunecore.masks.mask import MaskLike


class WrappedModel(PrunableModel):
    """A language model of transformers, with all that a `Model` does. `wrap` makes it.

    The library runs the decoder layers of the module where they are, in their own type; hidden
    states do not leave the device. The module is not changed, except by `apply_mask` until
    `restore`. Its weights may change between calls: the next call sees them.

    Attributes
    ----------
    module : PreTrainedModel
        What was wrapped.
    """

    def __init__(self, module: Any, host: TorchHost) -> None:
        super().__init__(host)
        self.module = module
        self.host = host
        self._configurations = _configurations(module)
        self._pruning: Pruning | None = None

    heal = verb(_heal)

    def again(self, module: Any) -> WrappedModel:
        """See `PrunableModel`."""
        host = self.host
        return wrap(module, granularity=self.granularity, name=host.name, known_causal=True)

    @property
    def granularity(self) -> Literal["sublayer", "block"]:
        """What masks remove: attention and feed-forward one by one, or whole blocks only."""
        return "block" if self.host.whole_blocks else "sublayer"

    def apply_mask(
        self, mask: MaskLike | None = None, adapters: Adapters | None = None
    ) -> AppliedMask:
        """Takes sublayers out of the module, in place: they are not run, and take no cache.

        The module is then a smaller model of transformers: `module.generate` works. Until
        `restore`, or the end of a `with` block, methods of this object that run the model are
        refused. Move the module to another device, or change its type, before or after: what was
        taken out does not follow.

            with wrapped.apply_mask(mask):
                wrapped.module.generate(**inputs)

        The module's `save_pretrained` then writes what transformers loads as the pruned model, with
        `trust_remote_code=True`, or raises `UnsupportedError`: see docs/export.md.

        Parameters
        ----------
        mask : Mask or array, optional
            Default: that of the adapters, or else the model's.
        adapters : Adapters, optional
            What to put in the place of the removed sublayers, as `AdapterModule`: parameters of
            the module, which can be trained.

        Raises
        ------
        ArgumentError
            A mask is applied already; or the adapters are for another one.
        UnsupportedError
            Half of a block is removed where the units are whole blocks.
        """
        check_whole(self.module)
        modules = {}
        if adapters is not None:
            if mask is not None:
                adapters.check_mask(mask)
            mask = adapters.mask
            with tempfile.TemporaryDirectory() as directory:  # which names each norm's epsilon
                adapters.save(directory)
                modules = load_adapters(directory)
        keep = as_keep(self.mask if mask is None else mask, self.shape.n_blocks)
        assert keep is not None
        self._pruning = Pruning(self.host.decoder, self.host.parts, keep, modules)
        return AppliedMask(self.restore)

    def neuron_scores(
        self,
        data: Data,
        mask: MaskLike | None = None,
        *,
        progress: ProgressFunction | None = None,
        batch_tokens: int | None = None,
    ) -> NeuronScores:
        """Scores every neuron of every feed-forward: see `Model.neuron_scores`.

        The module runs each sequence by itself, with hooks before the last products; where a mask
        removes something, it is applied to the module meanwhile.

        Parameters
        ----------
        data, mask, progress
            See there.
        batch_tokens : int, optional
            Taken, as there, and without effect.

        Raises
        ------
        ArgumentError
            A mask is applied already, or the model is in training mode.
        UnsupportedError
            A feed-forward is a mixture of experts, or its modules are not known.
        """
        chosen = self.mask if mask is None else self.present(mask)
        keep = as_keep(chosen, self.shape.n_blocks)
        assert keep is not None
        provenance = {
            "model": self.provenance,
            "data_sha256": data.digest,
            "n_sequences": data.n_sequences,
            "n_tokens": data.n_tokens,
        }
        check_whole(self.module)
        with nullcontext() if keep.all() else self.apply_mask(keep):
            return neuron_scores_of(self.host, data, keep, provenance, progress)

    def restore(self) -> None:
        """Takes an applied mask back: the same modules, in the same places. Else nothing."""
        if self._pruning is not None:
            self._pruning.restore()
            self._pruning = None

    def export(  # type: ignore[override]  # no weights that are quantised
        self,
        directory: str | os.PathLike[str],
        mask: MaskLike | None = None,
        adapters: Adapters | None = None,
        format: str = "hf",
        *,
        tokenizer: Any = None,
        provenance: Mapping[str, Any] | None = None,
        progress: ProgressFunction | None = None,
        shard_bytes: int | None = None,
        replace: bool = False,
    ) -> Path:
        """Writes the model without what a mask removes, as a directory that transformers loads.

        Weights are written as they are in memory. What is written was compared with the pruned
        model on a few tokens. Meanwhile a mask is applied to the module, so that other threads
        cannot run it. The result appears when it is whole.

        Parameters
        ----------
        directory : path
            What is written. It must not be there, unless `replace`.
        mask : Mask or array, optional
            What is removed. Default: what the adapters stand in for, or else the model's mask.
        adapters : Adapters, optional
            What stands in the places of removed sublayers.
        format : {"hf", "hf_plain", "hf_custom", "zeroed"}
            "hf_plain" is a smaller model of the same class: whole blocks are missing, and there are
            no adapters. It is loaded once, on the CPU, to see that it is the pruned model.
            "hf_custom" has modelling files of its own, which transformers runs with
            `trust_remote_code=True`. "hf" is the first of the two that can say it. "zeroed" is the
            whole model, with zeros for the last products of what is removed: it saves nothing, and
            has the pruned model's logits wherever it runs.
        tokenizer : tokenizer or path, optional
            Of the package transformers, or a directory with one: written beside the weights.
        provenance : mapping, optional
            JSON values kept in prunecore.json. Default: those of the mask and of the adapters.
        progress : callable, optional
            Called as `progress("export", done, total, seconds)`; a true result stops the call with
            `Cancelled`, an exception stops it and is raised again.
        shard_bytes : int, optional
            Largest number of bytes of one file of weights. Default: 5 * 10^9.
        replace : bool
            Whether a directory that PruneCore exported before is replaced.

        Returns
        -------
        Path
            `directory`.

        Raises
        ------
        ArgumentError
            Mask, adapters and model do not fit; the format has no such name; a mask is applied, or
            the model is in training mode.
        FileError
            Something is there already, or it cannot be written.
        UnsupportedError
            The format cannot say it; or weights are quantised, not in memory, or with adapters of
            peft; or, but for "zeroed", the class is not one of transformers.
        """
        return export_wrapped(
            self,
            directory,
            mask,
            adapters,
            format,
            tokenizer=tokenizer,
            provenance=provenance,
            progress=progress,
            shard_bytes=shard_bytes,
            replace=replace,
        )

    def generate(
        self,
        *inputs: Any,
        mask: MaskLike | None = None,
        adapters: Adapters | None = None,
        **options: Any,
    ) -> Any:
        """The module's own `generate`, under a mask; None = the model's.

        Where a mask is applied, it is that one, and none may be given.

        Parameters
        ----------
        mask, adapters
            As in `apply_mask`.
        *inputs, **options
            As `generate` of transformers takes them.
        """
        if self._pruning is None:
            with self.apply_mask(mask, adapters):
                return self.module.generate(*inputs, **options)
        if mask is not None or adapters is not None:
            raise ArgumentError("a mask is applied to the PyTorch model: call restore() first")
        return self.module.generate(*inputs, **options)


def wrap(
    model: Any,
    *,
    granularity: Literal["sublayer", "block"] | None = None,
    name: str | None = None,
    known_causal: bool = False,
) -> WrappedModel:
    """Makes a `Model` of a language model of transformers, as it lives in this process.

    It is run a few times on a few tokens: to see that its tokens see none that come later, and that
    its layers make the same logits one by one, alone and beside another sequence.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model, on any device or several, in evaluation mode: `model.eval()`. What
        torch.compile, DataParallel and peft put around one is taken off; adapters of peft inside of
        its layers stay.
    granularity : {"sublayer", "block"}, optional
        What masks remove. Default: sublayers if it is known how the layers of the architecture are
        made, else blocks.
    name : str, optional
        What results call it. Default: what transformers calls it.
    known_causal : bool
        True = its tokens are known to see none that come later: that is not tested.

    Returns
    -------
    WrappedModel
        Close it, or use it in a `with` block. It keeps the module alive until then.

    Raises
    ------
    ArgumentError
        The model is in training mode, is not a causal language model, or has a mask applied.
    UnsupportedError
        Its tokens see later ones, or other sequences; its decoder layers cannot be told, or compute
        something else than is known of them; it has an encoder; or its weights are offloaded,
        sharded or quantised in a way that makes a token depend on others.
    """
    model = language_model(model, torch.nn)
    if granularity not in (None, "sublayer", "block"):
        raise ArgumentError(f"granularity is '{granularity}', but must be sublayer or block")
    with told(f"{type(model).__name__} cannot be run on token ids alone", UnsupportedError):
        host = _host(model, granularity, known_causal)
    host.name = name or str(getattr(model, "name_or_path", "") or type(model).__name__)
    host.digest = hashlib.sha256(host.decoder.model.config.to_json_string().encode()).hexdigest()
    return WrappedModel(model, host)


def _host(
    model: Any, granularity: Literal["sublayer", "block"] | None, known_causal: bool
) -> TorchHost:
    """A model as a host, once it is seen to be what a host must be."""
    _check_weights(model)
    check_whole(model)
    decoder = Decoder(model)
    decoder.check_evaluating()
    probe = Probe(decoder)
    logits = decoder.learn_outputs(probe.whole)
    if not bool(torch.isfinite(logits).any()):
        raise NonFiniteError(f"no logit of {type(model).__name__} is finite: check its weights")
    if not known_causal:
        with torch.no_grad():
            check_causality(decoder, probe, logits)
    parts = None if granularity == "block" else _parts(decoder)
    host = TorchHost(decoder, parts, logits.shape[-1])
    if (distance := _apart(host, [probe.whole], [logits])) is not None:
        whole = TorchHost(decoder, None, logits.shape[-1])
        way = "PruneCore cannot take them apart"
        if parts is not None and _apart(whole, [probe.whole], [logits]) is None:
            way = "wrap it with granularity='block'"
        raise UnsupportedError(
            f"the layers of {host.architecture}, run one by one, give logits that differ from the "
            f"model's own by {distance:.3g}: {way}"
        )
    if parts is None and granularity == "sublayer":
        raise UnsupportedError(
            f"how the layers of {host.architecture} are made is not known: wrap it with "
            "granularity='block'"
        )
    neighbour = probe.neighbour
    with torch.no_grad():
        own = decoder.own_logits(neighbour)
    if (distance := _apart(host, [probe.whole, neighbour], [logits, own])) is not None:
        raise UnsupportedError(
            f"logits that {host.architecture} gives of a sequence change by {distance:.3g} beside "
            "another sequence: what it computes of one must not depend on others"
        )
    return host


def _check_weights(model: Any) -> None:
    """Raises `UnsupportedError` for weights that are not there, or make tokens depend on others."""
    name = type(model).__name__
    if any(parameter.is_meta for parameter in model.parameters()):
        raise UnsupportedError(
            f"weights of {name} are not in memory (device meta): they are offloaded, or were never "
            "loaded; load it with a device_map that holds all of it in memory"
        )
    for place, module in model.named_modules():
        if ".quantized." in f"{type(module).__module__}.":
            raise UnsupportedError(
                f"{place} of {name} is quantised by torch ({type(module).__name__}), which rounds "
                "a token's numbers by those of all others at hand: wrap the model before that"
            )
    if name.startswith("PruneCore"):
        raise UnsupportedError(
            f"{name} is what PruneCore exported of a pruned model: open its folder with "
            "prunecore.open; or wrap the model that it was made of, and remove more with a mask"
        )


def _parts(decoder: Decoder) -> Parts | None:
    """How the layers are made; None if that is not known, or not the same for all."""
    found = {parts_of(layer, decoder.config) for layer in decoder.layers}
    return found.pop() if len(found) == 1 else None


def _apart(host: TorchHost, sequences: list[Ids], wanted: list[Tensor]) -> float | None:
    """How far logits that a host makes of a batch are from the model's own; None if they agree."""
    layout = Layout(host.decoder, sequences)
    with torch.no_grad():
        state = TorchState(layout, tuple(layout.embedded()))
    for sublayer in range(0, 2 * host.n_blocks, 2 if host.whole_blocks else 1):
        state = host.apply(sublayer, [state])[0]
    found = torch.from_numpy(host.logits(state, 0, layout.n_tokens))
    return apart(found, torch.cat(wanted), wanted[0].dtype)


def _configurations(model: Any) -> tuple[dict[str, Any], ...]:
    """What stands for generation_config.json and config.json."""
    found = [getattr(model, "generation_config", None), model.config]
    return tuple(config.to_dict() for config in found if config is not None)
