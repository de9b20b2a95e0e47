# SPDX-License-Identifier: Apache-2.0
"""A model that this program runs, as a `Model`."""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import itertools
import json
from collections.abc import Sequence
from typing import Any

from prunecore._native.library import ffi, lib, new_struct
from prunecore.errors import ArgumentError
from prunecore.hosts.callbacks import HostCallbacks
from prunecore.hosts.host import Host
from prunecore.model import Model
from prunecore.shape import Sublayer

_ELEMENTS = {"fp32": "FLOAT32", "fp16": "FLOAT16", "bf16": "BFLOAT16"}
_LARGEST = 2**63 - 1
_IDENTIFYING = (
    *("architecture", "n_blocks", "hidden_size", "vocabulary_size", "context_length"),
    *("whole_blocks", "element_type"),
)

_lent: dict[Any, HostCallbacks] = {}
"""Callbacks that C may still call, by the `user_data` of their model."""

_keys = itertools.count(1)

# C says here that it calls no more. A method of a built-in type, so that no line of Python is run
# in which a signal could be handled, and no module is needed that may be gone when a program ends.
_closed = ffi.callback("prune_close_fn", _lent.__delitem__)


def _keep_to_the_end() -> None:
    """Models that are still open when the interpreter ends are released after its modules are gone.

    Their callbacks must not be freed before: one more reference, which nothing takes back, keeps
    them.
    """
    for needed in (_closed, _lent, *_lent.values()):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(needed))


atexit.register(_keep_to_the_end)


class HostModel(Model):
    """A model that its host runs. `prunecore.from_host` makes one.

    The library holds the host until the model, and those that adapters were attached to, are closed
    or gone; a host should therefore hold no reference to its model, or neither would ever go.

    Attributes
    ----------
    host : Host
        Who runs the model.
    """

    def __init__(self, host: Host) -> None:
        self.directory = None
        self.host = host
        self._callbacks, struct, _owned = _described(host)
        key = ffi.cast("void *", next(_keys))
        struct.user_data = key
        struct.on_close = _closed
        self._name = str(host.name or host.architecture)
        self._digest = str(host.digest or _digest(host))
        _lent[key] = self._callbacks
        try:
            self._own(lambda out: int(lib.prune_model_from_host(struct, out)))
        except BaseException:
            _lent.pop(key, None)
            raise

    @property
    def live_states(self) -> int:
        """How many states of the host the library holds now: 0 outside calls."""
        return len(self._callbacks.states)


def _described(host: Host) -> tuple[HostCallbacks, Any, Any]:
    """The callbacks of a host, the C struct that names them, and what else it points to.

    C copies the struct, texts and tables; until then somebody must hold them.
    """
    if not isinstance(host, Host):
        raise ArgumentError(
            f"cannot make a model from a {type(host).__name__}: derive it from prunecore.Host"
        )
    struct = new_struct("prune_host")
    struct.comparison_size = ffi.sizeof("prune_comparison")
    struct.whole_blocks = 1 if host.whole_blocks else 0
    struct.known_causal = 1 if host.known_causal else 0
    for name in (
        *("n_blocks", "hidden_size", "vocabulary_size", "context_length"),
        *("fixed_parameters", "fixed_parameter_bytes"),
    ):
        setattr(struct, name, _whole(f"host.{name}", getattr(host, name)))
    if host.element_type not in _ELEMENTS:
        known = ", ".join(_ELEMENTS)
        raise ArgumentError(f"host.element_type is '{host.element_type}', but must be of {known}")
    struct.element_type = ffi.integer_const(f"PRUNE_ELEMENT_{_ELEMENTS[host.element_type]}")
    callbacks = HostCallbacks(host)
    architecture = ffi.new("char[]", str(host.architecture).replace("\0", " ").encode())
    struct.architecture = architecture
    table = _sublayers(host)
    struct.sublayers = table
    for name, callback in callbacks.by_name.items():
        setattr(struct, name, callback)
    return callbacks, struct, (architecture, table)


def _whole(name: str, value: object) -> int:
    try:
        number = int(value.__index__())  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        raise ArgumentError(f"{name} is {value!r}, but must be a whole number") from None
    if not 0 <= number <= _LARGEST:
        raise ArgumentError(f"{name} is {number}, but must be from 0 to {_LARGEST}")
    return number


def _sublayers(host: Host) -> Any:
    """The C table of what each sublayer costs; NULL if the host does not know."""
    rows: Sequence[Sublayer] | None = host.sublayers
    if rows is None:
        return ffi.NULL
    if len(rows) != 2 * host.n_blocks:
        raise ArgumentError(
            f"host.sublayers has {len(rows)} entries, but {host.n_blocks} blocks have "
            f"{2 * host.n_blocks} sublayers"
        )
    table = ffi.new("prune_sublayer[]", len(rows))
    for index, (row, out) in enumerate(zip(rows, table, strict=True)):
        for name in ("block", "parameters", "parameter_bytes", "kv_bytes", "window"):
            setattr(out, name, _whole(f"host.sublayers[{index}].{name}", getattr(row, name)))
        out.is_feed_forward = 1 if row.is_feed_forward else 0
    return table


def _digest(host: Host) -> str:
    """Identifies a host by its sizes, as the hash of config.json does a directory."""
    told = {name: str(getattr(host, name)) for name in _IDENTIFYING}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
