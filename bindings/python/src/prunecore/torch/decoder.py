# SPDX-License-Identifier: Apache-2.0
"""The decoder layers of a model, and the model's own code around them."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from prunecore.errors import ArgumentError, UnsupportedError
from prunecore.torch.rotary_memory import forget_longer_sequences
from prunecore.torch.stand_ins import StandIn

Arguments = dict[str, Any]
"""What a decoder layer is called with besides the hidden state, by name."""

_locks: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_locks_lock = threading.Lock()


class Decoder:
    """Finds the decoder layers of a causal language model, and runs what is around them.

    Nothing is known of embeddings, masks, positions, final norm and head but that the model's own
    `forward` makes them: it is called with functions in the place of the decoder layers, which note
    what each was called with, or return a hidden state that is given. So both are those of the
    model, whatever its architecture, version and configuration.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model of transformers.

    Attributes
    ----------
    model : PreTrainedModel
        As given.
    config : PreTrainedConfig
        That of its decoder: a model that sees pictures has others, too.
    layers : ModuleList
        The decoder layers.
    besides : int or None
        How many values a layer gives back beside the hidden state; None = no tuple. Known after
        `learn_outputs`.

    Raises
    ------
    UnsupportedError
        The layers cannot be told.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.config = model.config.get_text_config(decoder=True)
        self.layers = _decoder_layers(model, self.config.num_hidden_layers)
        self._signatures: dict[type, inspect.Signature] = {}
        self.besides: int | None = None
        self._lock = _lock_of(model)

    @property
    def blocks(self) -> list[nn.Module]:
        """The layers as they are now, in order."""
        return list(self.layers)

    @property
    def path(self) -> str:
        """What the numbers of layers stand behind in names of tensors, such as "model.layers"."""
        named: Iterator[tuple[str, nn.Module]] = self.model.named_modules()
        return next(name for name, module in named if module is self.layers)

    @property
    def input_device(self) -> torch.device:
        """Where token ids go."""
        return _device(self.model.get_input_embeddings(), self.model)

    @property
    def vocabulary(self) -> int:
        """Token ids that have an embedding."""
        embedded = int(self.model.get_input_embeddings().weight.shape[0])
        return min(embedded, int(self.config.vocab_size))

    @property
    def head_device(self) -> torch.device:
        """Where the logits are made."""
        head = self.model.get_output_embeddings()
        return self.input_device if head is None else _device(head, self.model)

    def check_evaluating(self) -> None:
        """Raises `ArgumentError` if the model is in training mode, in which results are random."""
        if self.model.training or any(layer.training for layer in self.layers):
            raise ArgumentError("the PyTorch model is in training mode: call its eval() first")

    def own_logits(self, tokens: npt.NDArray[np.int32]) -> Tensor:
        """The whole model's logits of one sequence. Gradients flow, if they are switched on.

        Returns
        -------
        Tensor, shape (n, vocabulary_size)

        Raises
        ------
        ArgumentError
            The model gives no logits of tokens.
        """
        ids = torch.from_numpy(tokens.astype(np.int64)).unsqueeze(0).to(self.input_device)
        logits = getattr(self.model(input_ids=ids, use_cache=False), "logits", None)
        if not isinstance(logits, Tensor) or logits.ndim != 3 or len(logits[0]) != len(tokens):
            raise ArgumentError(
                f"{type(self.model).__name__} gives no logits of tokens: load it with "
                "AutoModelForCausalLM"
            )
        return logits[0]

    def learn_outputs(self, tokens: npt.NDArray[np.int32]) -> Tensor:
        """Runs the whole model on a few tokens, and notes in what form layers return their state.

        Returns
        -------
        Tensor, shape (n, vocabulary_size)
            Its logits.
        """
        forms: list[int | None] = []
        hook = self.layers[0].register_forward_hook(
            lambda _module, _inputs, output: forms.append(
                len(output) - 1 if isinstance(output, tuple) else None
            )
        )
        try:
            with torch.no_grad():
                logits = self.own_logits(tokens)
        finally:
            hook.remove()
        if not forms:
            raise UnsupportedError(f"{type(self.model).__name__} does not call its layers")
        self.besides = forms[0]
        return logits

    def output(self, hidden: Tensor) -> Tensor | tuple[Tensor | None, ...]:
        """A hidden state in the form in which layers return it."""
        return hidden if self.besides is None else (hidden, *[None] * self.besides)

    def named(self, layer: nn.Module, inputs: tuple[Any, ...], named: Arguments) -> Arguments:
        """All that a layer was called with, by name; the hidden state under "hidden_states"."""
        signature = self._signature(type(layer))
        bound = signature.bind(layer, *inputs, **named)
        arguments: Arguments = {}
        for name, value in list(bound.arguments.items())[1:]:
            kind = signature.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                arguments.update(value)
            elif kind is not inspect.Parameter.VAR_POSITIONAL:
                arguments[name] = value
            elif value:
                raise UnsupportedError(
                    f"{type(layer).__name__} is called with arguments that have no name"
                )
        arguments["hidden_states"] = arguments.pop(list(signature.parameters)[1])
        return arguments

    def _signature(self, kind: type[nn.Module]) -> inspect.Signature:
        """Of the forward of a class of layers: a hook's, or a stand-in's, would have no names."""
        if kind not in self._signatures:
            self._signatures[kind] = inspect.signature(kind.forward)
        return self._signatures[kind]

    def run(self, layer: nn.Module, hidden: Tensor, arguments: Arguments) -> Tensor:
        """The hidden state after a whole layer."""
        output = layer(hidden, **arguments)
        after: Tensor = output[0] if isinstance(output, tuple) else output
        return after

    def record(self, ids: Tensor) -> tuple[Tensor, list[Arguments]]:
        """Embeds token ids.

        Parameters
        ----------
        ids : Tensor of int64, shape (sequences, length)
            On the `input_device`.

        Returns
        -------
        hidden : Tensor, shape (sequences, length, hidden_size)
            The state before the first layer.
        arguments : list of dict
            What each layer is called with besides.
        """
        calls: list[Arguments] = []

        def note(_index: int, layer: nn.Module, arguments: Arguments) -> Tensor:
            calls.append(arguments)
            hidden: Tensor = arguments["hidden_states"]
            return hidden

        # Without the head: its logits, of all tokens at once, would be for nothing.
        body = self.model.base_model
        holds_layers = any(module is self.layers for module in body.modules())
        with self._instead_of_layers(note):
            forget_longer_sequences(self.model)
            (body if holds_layers else self.model)(input_ids=ids, use_cache=False)
        if len(calls) != len(self.layers):
            raise UnsupportedError(
                f"{type(self.model).__name__} calls {len(calls)} of its {len(self.layers)} layers"
            )
        states = [arguments.pop("hidden_states") for arguments in calls]
        for name, value in calls[0].items():
            if value is not None and ("past" in name or "cache_" in name):
                raise UnsupportedError(
                    f"{type(self.model).__name__} gives its layers a memory, {name}, also where "
                    "none is wanted: they cannot be run one by one"
                )
        return states[0], calls

    def logits(self, rows: Tensor) -> Tensor:
        """What final norm and head make of rows of a state after the last layer.

        Gradients flow, if they are switched on.

        Parameters
        ----------
        rows : Tensor, shape (n, hidden_size)

        Returns
        -------
        Tensor, shape (n, vocabulary_size)
        """
        last = len(self.layers) - 1

        def give(index: int, _layer: nn.Module, arguments: Arguments) -> Tensor:
            hidden: Tensor = arguments["hidden_states"]
            return rows.unsqueeze(1).to(hidden.device) if index == last else hidden

        # As sequences of one token each, which no context length is too short for.
        # Which token does not matter, but transformers warns of padding.
        token = 1 if getattr(self.config, "pad_token_id", None) == 0 else 0
        ids = torch.full((len(rows), 1), token, dtype=torch.int64, device=self.input_device)
        with self._instead_of_layers(give):
            logits: Tensor = self.model(input_ids=ids, use_cache=False).logits
        return logits.squeeze(1)

    @contextmanager
    def _instead_of_layers(
        self, function: Callable[[int, nn.Module, Arguments], Tensor]
    ) -> Iterator[None]:
        """Calls a function in the place of each layer: on this thread, others run the layers."""
        owner = threading.get_ident()

        def stand_in(index: int, layer: nn.Module) -> StandIn:
            def instead(*inputs: Any, **named: Any) -> Any:
                if threading.get_ident() != owner:
                    return made.original(*inputs, **named)
                return self.output(function(index, layer, self.named(layer, inputs, named)))

            made = StandIn(layer, instead)
            return made

        with self._lock, ExitStack() as stack:
            for index, layer in enumerate(self.layers):
                stack.callback(stand_in(index, layer).remove)
            yield


def _device(module: nn.Module, model: nn.Module) -> torch.device:
    """Where a module is; of one that holds no tensors, as quantised ones do, where the model is."""
    for holder in (module, model):
        for tensor in (*holder.parameters(), *holder.buffers()):
            return tensor.device
    return torch.device("cpu")


def _lock_of(model: nn.Module) -> threading.RLock:
    """One for each model, also where it is wrapped several times."""
    with _locks_lock:
        return _locks.setdefault(model, threading.RLock())


def _decoder_layers(model: Any, count: int) -> nn.ModuleList:
    """The one list of as many modules as the configuration has layers."""
    body = model.get_decoder() if hasattr(model, "get_decoder") else None
    for holder in (body, model):
        if not isinstance(holder, nn.Module):
            continue
        found = {
            name: module
            for name, module in holder.named_modules()
            if isinstance(module, nn.ModuleList) and len(module) == count
        }
        # Lists inside of layers, such as those of experts, may be of the same length.
        outer = [
            module
            for name, module in found.items()
            if not any(name.startswith(f"{other}.") for other in found)
        ]
        if len(outer) == 1:
            return outer[0]
    raise UnsupportedError(
        f"{type(model).__name__} has no list of {count} decoder layers, or several: which one to "
        "prune cannot be told"
    )
