# SPDX-License-Identifier: Apache-2.0
"""Language models of transformers as they live in this process, on any device."""

from __future__ import annotations

import hashlib
import tempfile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from prunecore.errors import ArgumentError, UnsupportedError
from prunecore.hosts.host_model import HostModel
from prunecore.masks.mask import as_keep
from prunecore.recovery.adapters import Adapters
from prunecore.torch.adapter_module import load_adapters
from prunecore.torch.applied_mask import AppliedMask, Pruning, check_whole
from prunecore.torch.architectures import Parts, parts_of
from prunecore.torch.decoder import Decoder
from prunecore.torch.host import TorchHost
from prunecore.torch.layouts import Layout
from prunecore.torch.states import TorchState

if TYPE_CHECKING:
    from prunecore.masks.mask import MaskLike

_PROBE_TOKENS = 5
_TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-4, torch.float16: 2e-2}
_COARSE = 1e-1
"""Of bf16, relative to the largest logit: as coarse as sums in another order make it."""


class WrappedModel(HostModel):
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
        self._host = host
        self._configurations = _configurations(module)
        self._pruning: Pruning | None = None

    @property
    def granularity(self) -> Literal["sublayer", "block"]:
        """What masks remove: attention and feed-forward one by one, or whole blocks only."""
        return "block" if self._host.whole_blocks else "sublayer"

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
        self._pruning = Pruning(self._host.decoder, self._host.parts, keep, modules)
        return AppliedMask(self.restore)

    def restore(self) -> None:
        """Takes an applied mask back: the same modules, in the same places. Else nothing."""
        if self._pruning is not None:
            self._pruning.restore()
            self._pruning = None

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
) -> WrappedModel:
    """Makes a `Model` of a language model of transformers, as it lives in this process.

    It is run once on a few tokens, and once more sublayer by sublayer, to see that both agree.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model, on any device or several, in evaluation mode: `model.eval()`.
    granularity : {"sublayer", "block"}, optional
        What masks remove. Default: sublayers if it is known how the layers of the architecture are
        made, else blocks.
    name : str, optional
        What results call it. Default: what transformers calls it.

    Returns
    -------
    WrappedModel
        Close it, or use it in a `with` block. It keeps the module alive until then.

    Raises
    ------
    ArgumentError
        The model is in training mode, is not a causal language model, or has a mask applied.
    UnsupportedError
        Its decoder layers cannot be told, or compute something else than is known of them; or its
        weights are offloaded.
    """
    if not (isinstance(model, torch.nn.Module) and hasattr(model, "get_input_embeddings")):
        raise ArgumentError(f"a causal language model of transformers is needed, not {type(model)}")
    if granularity not in (None, "sublayer", "block"):
        raise ArgumentError(f"granularity is '{granularity}', but must be sublayer or block")
    if any(parameter.is_meta for parameter in model.parameters()):
        raise UnsupportedError(
            f"weights of {type(model).__name__} are not in memory (device meta): they are "
            "offloaded, or were never loaded"
        )
    check_whole(model)
    decoder = Decoder(model)
    decoder.check_evaluating()
    parts = None if granularity == "block" else _parts(decoder)
    if parts is None and granularity == "sublayer":
        raise UnsupportedError(
            f"how the layers of {type(model).__name__} are made is not known: wrap it with "
            "granularity='block'"
        )
    ids = torch.arange(_PROBE_TOKENS).remainder(decoder.config.vocab_size)
    logits = decoder.learn_outputs(ids.unsqueeze(0).to(decoder.input_device))[0]
    host = TorchHost(decoder, parts, logits.shape[-1])
    _check_agreement(host, ids.numpy(), logits)
    host.name = name or str(getattr(model, "name_or_path", "") or type(model).__name__)
    host.digest = hashlib.sha256(decoder.model.config.to_json_string().encode()).hexdigest()
    return WrappedModel(model, host)


def _parts(decoder: Decoder) -> Parts | None:
    """How the layers are made; None if that is not known, or not the same for all."""
    found = {parts_of(layer, decoder.config) for layer in decoder.layers}
    return found.pop() if len(found) == 1 else None


def _check_agreement(host: TorchHost, ids: Any, logits: Tensor) -> None:
    """Raises `UnsupportedError` unless the sublayers one by one make the model's own logits."""
    layout = Layout(host.decoder, [ids])
    with torch.no_grad():
        state = TorchState(layout, tuple(layout.embedded()))
    for sublayer in range(0, 2 * host.n_blocks, 2 if host.whole_blocks else 1):
        state = host.apply(sublayer, [state])[0]
    found = torch.from_numpy(host.logits(state, 0, len(ids)))
    wanted = logits.float().cpu()
    tolerance = _TOLERANCES.get(logits.dtype, _COARSE) * float(wanted.abs().max())
    difference = float((found - wanted).abs().max())
    if not np.isfinite(difference) or difference > tolerance:
        way = "" if host.whole_blocks else ": wrap it with granularity='block'"
        raise UnsupportedError(
            f"the layers of {host.architecture}, run one by one, give logits that differ from the "
            f"model's own by {difference:.3g}{way}"
        )


def _configurations(model: Any) -> tuple[dict[str, Any], ...]:
    """What stands for generation_config.json and config.json."""
    found = [getattr(model, "generation_config", None), model.config]
    return tuple(config.to_dict() for config in found if config is not None)
