# SPDX-License-Identifier: Apache-2.0
"""Functions in the place of what modules compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

_MISSING = object()


class StandIn:
    """A function in the place of a module's `forward`, until `remove`.

    The module stays the object that it is, hooks of it run as before. Where accelerate has put a
    hook of its own around `forward`, to bring inputs to the module's device, the function takes the
    place of what that hook calls.

    Parameters
    ----------
    module : Module
        In whose place the function stands.
    function : callable
        Called like its `forward`.

    Attributes
    ----------
    original : callable
        What was there before.
    """

    def __init__(self, module: nn.Module, function: Callable[..., Any]) -> None:
        self._module = module
        self._place = "_old_forward" if "_old_forward" in vars(module) else "forward"
        self._before = vars(module).get(self._place, _MISSING)
        self.original: Callable[..., Any] = getattr(module, self._place)
        setattr(module, self._place, function)

    def remove(self) -> None:
        """Puts back what was there."""
        if self._before is _MISSING:
            delattr(self._module, self._place)
        else:
            setattr(self._module, self._place, self._before)
