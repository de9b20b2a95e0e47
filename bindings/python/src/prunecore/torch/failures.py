# SPDX-License-Identifier: Apache-2.0
"""What PyTorch and transformers raise, as errors of this package in one sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import torch

from prunecore.errors import Error, HostError, LoadError, OutOfMemoryError

P = ParamSpec("P")
R = TypeVar("R")

_LONGEST = 300


@contextmanager
def told(what: str, kind: type[Error]) -> Iterator[None]:
    """Raises what is not an error of this package as one, with the cause chained.

    Parameters
    ----------
    what : str
        What failed, with which the sentence begins.
    kind : type
        The class to raise; for want of memory, it is `OutOfMemoryError`.
    """
    try:
        yield
    except (Error, LoadError):
        raise
    except Exception as error:
        first = next(iter(str(error).strip().splitlines()), "")[:_LONGEST]
        said = f"{what}: {type(error).__name__}" + (f": {first}" if first else "")
        short = isinstance(error, (MemoryError, torch.OutOfMemoryError))
        raise (OutOfMemoryError if short else kind)(said) from error


def computed(method: Callable[P, R]) -> Callable[P, R]:
    """A method of a host that raises errors of this package alone."""

    @functools.wraps(method)
    def computing(*inputs: P.args, **named: P.kwargs) -> R:
        with told(f"PyTorch failed in {method.__name__}", HostError):
            return method(*inputs, **named)

    return computing
