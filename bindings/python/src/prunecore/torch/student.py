# SPDX-License-Identifier: Apache-2.0
"""A second module like a given one, whose weights are trained apart from it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from prunecore.errors import HostError
from prunecore.masks.mask import Keep
from prunecore.recovery.trained_names import TrainedNames
from prunecore.torch.applied_mask import Pruning
from prunecore.torch.decoder import Decoder
from prunecore.torch.failures import told
from prunecore.torch.prunable import PrunableModel
from prunecore.torch.tied_head import is_tied, untie
from prunecore.torch.trained_parameters import TrainedParameters, named_parameters_of


class Student:
    """A module over the memory of another one, but for the parameters that are trained.

    Attributes
    ----------
    decoder : Decoder
        Of the module.
    parameters : TrainedParameters
        What is trained.
    """

    def __init__(self, decoder: Decoder, parameters: TrainedParameters) -> None:
        self.decoder, self.parameters = decoder, parameters

    def kept(self) -> Any:
        """The module, with memory of its own for all its parameters."""
        module: Any = self.decoder.model
        trained = {id(own) for own in self.parameters.parameters}
        with told("PyTorch failed to copy the weights", HostError):
            _own(each for each in module.parameters() if id(each) not in trained)
        for parameter in module.parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_(True)
        return module

    @torch.no_grad()
    def given_back(self, module: Any) -> Any:
        """The module that this one was made of, with the trained parameters, written in place."""
        if is_tied(module) and not is_tied(self.decoder.model):
            untie(module)
        places = dict(module.named_parameters())
        for name, own in zip(self.parameters.names, self.parameters.parameters, strict=True):
            places[name].copy_(own)
        return module


@contextmanager
def trained_student(
    model: PrunableModel, keep: Keep, trained: TrainedNames, *, untie_head: bool
) -> Iterator[Student]:
    """A student of a model, a mask applied to it inside the block. The model is not changed.

    Parameters
    ----------
    model : PrunableModel
    keep : array of 0 and 1, shape (2 * n_blocks,)
    trained : TrainedNames
        What is trained of it, by that mask.
    untie_head : bool

    Raises
    ------
    ArgumentError, UnsupportedError
        As `named_parameters_of` and `untie`.
    """
    parts = model.host.parts
    with told(f"{type(model.module).__name__} cannot be copied", HostError):
        module = _second(model.module)
    if untie_head and is_tied(module):
        untie(module)
    decoder = Decoder(module)
    decoder.besides = model.host.decoder.besides
    named = named_parameters_of(decoder, parts, trained)
    pruning = Pruning(decoder, parts, keep)
    try:
        left = {id(parameter) for parameter in module.parameters()}
        named = {name: own for name, own in named.items() if id(own) in left}
        with told("PyTorch failed to copy the weights", HostError):
            _own(named.values())
            student = Student(decoder, TrainedParameters(named))
        yield student
        student.parameters.freeze()
    finally:
        pruning.restore()


def _second(module: nn.Module) -> Any:
    """A module like it, with parameters over the same memory, none of which is trained.

    Parameters of classes of their own, such as quantised ones, are copied.
    """
    memo: dict[int, Any] = {
        id(parameter): nn.Parameter(parameter.detach(), requires_grad=False)
        for parameter in module.parameters()
        if type(parameter) is nn.Parameter and parameter.is_floating_point()
    }
    return copy.deepcopy(module, memo)


def _own(parameters: Iterable[nn.Parameter]) -> None:
    """Gives parameters memory of their own, with the numbers that they have."""
    for parameter in parameters:
        parameter.data = parameter.data.clone()
