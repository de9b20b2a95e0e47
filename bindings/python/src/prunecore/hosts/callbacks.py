# SPDX-License-Identifier: Apache-2.0
"""The callbacks of one model that its host runs: from C to the methods of a `Host`, and back."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from prunecore._native import failures
from prunecore._native.library import ffi, lib
from prunecore._native.names.tables import ADAPTER_KINDS, KIND
from prunecore._native.names.units import sublayer_name
from prunecore.errors import Error, HandleError, HostError
from prunecore.hosts.host import Distance, HeadObjective, Host, HostAdapter, HostBatch
from prunecore.hosts.memory import copied, optional_view, viewed, write
from prunecore.hosts.states import StateTable

METHODS = (
    *("embed", "apply", "token_losses", "logits", "distances", "compare", "read", "write"),
    *("norm", "layer_norm", "apply_adapter", "vjp", "head_vjp", "evaluate"),
)
"""The methods of a `Host`, each of which has a callback of its name."""

_OK = int(ffi.integer_const("PRUNE_OK"))
_FAILED = int(ffi.integer_const("PRUNE_ERR_HOST"))
_UNSUPPORTED = int(ffi.integer_const("PRUNE_ERR_UNSUPPORTED"))
_DISTANCES: tuple[Distance, ...] = ("l2", "kl", "js")
_OBJECTIVES: dict[int, HeadObjective] = {
    int(ffi.integer_const(f"PRUNE_OBJECTIVE_{name.upper()}")): name for name in ("ce", "kl", "js")
}
_KINDS = {KIND.value(name): name for name in ADAPTER_KINDS}
_COMPARED = ffi.sizeof("prune_comparison") // ffi.sizeof("double")

_forks = [0]  # how many forks lie between the program's start and this process
os.register_at_fork(after_in_child=lambda: _forks.__setitem__(0, _forks[0] + 1))


def offers(host: Host, method: str) -> bool:
    """Whether a host defines a method: it is neither that of the base class, nor None."""
    found = getattr(host, method, None)
    return callable(found) and getattr(found, "__func__", None) is not getattr(Host, method)


class HostCallbacks:
    """The callbacks that a host offers, and the states that the library holds.

    Must live until the model is released for good: C calls them by address.

    Attributes
    ----------
    states : StateTable
        What is alive.
    by_name : dict of str to C callback
        Those of the methods that the host offers, and "release" where there are states.
    """

    def __init__(self, host: Host) -> None:
        self.states = StateTable()
        self._forks = _forks[0]
        self._width = int(host.hidden_size)
        self._vocabulary = int(host.vocabulary_size)
        self._sublayers = 2 * int(host.n_blocks)
        self._methods = {name: getattr(host, name) for name in METHODS if offers(host, name)}
        fields = {name: field.type for name, field in ffi.typeof("prune_host").fields}
        self.by_name: dict[str, Any] = {
            name: ffi.callback(
                fields[name], self._guarded(getattr(self, f"_{name}")), _FAILED, _keep
            )
            for name in self._methods
        }
        if "embed" in self._methods:
            self.by_name["release"] = ffi.callback(
                fields["release"], self._release, onerror=self._release_interrupted
            )

    # -- What every callback does ---------------------------------------------------------------

    def _guarded(self, body: Callable[..., int | None]) -> Callable[..., int]:
        """A callback from its body, which is given the list of new states' numbers, and C's.

        Whatever the body raises, an interrupt of the user too, is kept for the call under way, and
        the states that it has already made go again: C takes them for not given.
        """
        states, kept = self.states, failures.kept

        def callback(_user_data: Any, *arguments: Any) -> int:
            before = kept.exception
            given: list[int] = []
            try:
                kept.exception = None
                if before is not None:  # an interrupt, kept by a release
                    raise before
                if self._forks != _forks[0]:
                    raise HandleError(
                        "the model belongs to the process that this one was forked from, and must "
                        'not be used here: make it in this process, or start it with "spawn"'
                    )
                status = body(given, *arguments)
            except BaseException as error:
                for number in given:
                    states.drop(number)
                kept.exception = error
                lib.prune_host_error_set(failures.sentence(error))
                return error.status if isinstance(error, Error) else _FAILED
            # From here on nothing is called, so that no signal handler can run.
            kept.exception = before
            return _OK if status is None else status

        return callback

    def _release(self, _user_data: Any, state: Any) -> None:
        kept = failures.kept
        before, kept.exception = kept.exception, None
        try:
            self.states.drop(_number(state))  # may run the host's finalizers, and these the library
        finally:
            if kept.exception is None:
                kept.exception = before

    def _release_interrupted(self, _kind: Any, error: BaseException, traceback: Any) -> None:
        # Only a signal's handler raises in _release, perhaps before it released the state. C
        # continues; the call under way ends at its next callback, or raises this on return.
        state = traceback.tb_frame.f_locals.get("state")
        if state is not None:
            self.states.drop(_number(state))
        if failures.kept.exception is None:
            failures.kept.exception = error

    # -- States ---------------------------------------------------------------------------------

    def _state(self, pointer: Any) -> Any:
        return self.states.find(_number(pointer))[0]

    def _states(self, pointer: Any, count: int) -> tuple[list[Any], list[int]]:
        numbers = ffi.unpack(ffi.cast("uintptr_t *", pointer), count)
        found = [self.states.find(number) for number in numbers]
        return [state for state, _ in found], [n_tokens for _, n_tokens in found]

    def _give(
        self, made: Any, n_tokens: Sequence[int], given: list[int], out: Any, what: str
    ) -> None:
        """Hands states to C: all of them, or none."""
        if not isinstance(made, (list, tuple)):
            raise HostError(f"{what} gave {_kind(made)}, but must give a list of states")
        if len(made) != len(n_tokens):
            raise HostError(f"{what} gave {len(made)} states, but {len(n_tokens)} are asked for")
        if any(state is None for state in made):
            raise HostError(f"{what} gave None, which is not a state")
        numbers = [
            self.states.add(state, count, given)
            for state, count in zip(made, n_tokens, strict=True)
        ]
        target = ffi.cast("uintptr_t *", out)
        for index, number in enumerate(numbers):
            target[index] = number

    # -- Bodies, one for each callback of the header --------------------------------------------

    def _embed(self, given: list[int], batch: Any, out: Any) -> None:
        read = _batch(batch)
        n_tokens = read.n_tokens  # before the host has it, who may do with it what it likes
        self._give([self._methods["embed"](read)], [n_tokens], given, out, "embed")

    def _apply(self, given: list[int], sublayer: int, pointer: Any, count: int, out: Any) -> None:
        states, n_tokens = self._states(pointer, count)
        made = self._methods["apply"](sublayer, states)
        self._give(made, n_tokens, given, out, f"apply of {sublayer_name(sublayer)}")

    def _token_losses(
        self, _given: list[int], state: Any, rows: Any, tokens: Any, count: int, out: Any
    ) -> None:
        asked = copied(rows, (count,), np.int64), copied(tokens, (count,), np.int32)
        losses = self._methods["token_losses"](self._state(state), *asked)
        write(losses, out, (count,), np.float32, "token_losses")

    def _logits(self, _given: list[int], state: Any, first: int, count: int, out: Any) -> None:
        made = self._methods["logits"](self._state(state), first, count)
        write(made, out, (count, self._vocabulary), np.float32, "logits")

    def _distances(
        self, _given: list[int], state: Any, reference: Any, kind: int, *rest: Any
    ) -> None:
        rows, count, out = rest
        pair = self._state(state), self._state(reference)
        asked = copied(rows, (count,), np.int64)
        made = self._methods["distances"](*pair, _DISTANCES[kind], asked)
        write(made, out, (count,), np.float32, "distances")

    def _compare(
        self, _given: list[int], before: Any, after: Any, rows: Any, count: int, out: Any
    ) -> None:
        pair = self._state(before), self._state(after)
        made = self._methods["compare"](*pair, copied(rows, (count,), np.int64))
        write(made, out, (count, _COMPARED), np.float64, "compare")

    def _read(self, _given: list[int], pointer: Any, out: Any) -> None:
        state, n_tokens = self.states.find(_number(pointer))
        write(self._methods["read"](state), out, (n_tokens, self._width), np.float32, "read")

    def _write(self, given: list[int], like: Any, values: Any, out: Any) -> None:
        state, n_tokens = self.states.find(_number(like))
        view = viewed(values, (n_tokens, self._width), np.float32)
        self._give([self._methods["write"](state, view)], [n_tokens], given, out, "write")

    def _norm(self, _given: list[int], sublayer: int, out_gain: Any, out_epsilon: Any) -> int:
        what = f"norm of {sublayer_name(sublayer)}"
        found = self._methods["norm"](sublayer)
        if found is None:
            lib.prune_host_error_set(f"{what}: there is none".encode())
            return _UNSUPPORTED
        gain, epsilon = _parts(found, 2, what, "a gain and an epsilon, or None")
        write(gain, out_gain, (self._width,), np.float32, what)
        write(epsilon, out_epsilon, (), np.float32, what)
        return _OK

    def _layer_norm(
        self, _given: list[int], sublayer: int, out_gain: Any, out_bias: Any, out_epsilon: Any
    ) -> int:
        what = f"layer_norm of {sublayer_name(sublayer)}"
        found = self._methods["layer_norm"](sublayer)
        if found is None:
            lib.prune_host_error_set(f"{what}: there is none".encode())
            return _UNSUPPORTED
        wanted = "a gain, a bias and an epsilon, or None"
        gain, bias, epsilon = _parts(found, 3, what, wanted)
        for values, out in ((gain, out_gain), (bias, out_bias)):
            write(values, out, (self._width,), np.float32, what)
        write(epsilon, out_epsilon, (), np.float32, what)
        return _OK

    def _apply_adapter(self, given: list[int], adapter: Any, pointer: Any, out: Any) -> None:
        state, n_tokens = self.states.find(_number(pointer))
        read = _adapter(adapter)
        made = self._methods["apply_adapter"](read, state)
        self._give([made], [n_tokens], given, out, f"apply_adapter of {adapter_name(read)}")

    def _vjp(
        self, given: list[int], sublayer: int, before: Any, after: Any, count: int, out: Any
    ) -> None:
        states, n_tokens = self._states(before, count)
        gradients, _ = self._states(after, count)
        made = self._methods["vjp"](sublayer, states, gradients)
        self._give(made, n_tokens, given, out, f"vjp of {sublayer_name(sublayer)}")

    def _head_vjp(self, given: list[int], pointer: Any, objective: int, *rest: Any) -> None:
        reference, rows, tokens, weights, count, out_losses, out_gradient = rest
        state, n_tokens = self.states.find(_number(pointer))
        made = self._methods["head_vjp"](
            state,
            _OBJECTIVES[objective],
            None if reference == ffi.NULL else self._state(reference),
            copied(rows, (count,), np.int64),
            None if tokens == ffi.NULL else copied(tokens, (count,), np.int32),
            copied(weights, (count,), np.float32),
        )
        losses, gradient = _parts(made, 2, "head_vjp", "losses and a gradient")
        write(losses, out_losses, (count,), np.float32, "head_vjp")
        self._give([gradient], [n_tokens], given, out_gradient, "head_vjp")

    def _evaluate(self, _given: list[int], batch: Any, weights: Any, *rest: Any) -> None:
        masks, count, out = rest
        read = _batch(batch)
        token_weights = (
            None if weights == ffi.NULL else copied(weights, (read.n_tokens,), np.float32)
        )
        keep = copied(masks, (count, self._sublayers), np.uint8)
        made = self._methods["evaluate"](read, token_weights, keep)
        write(made, out, (count,), np.float64, "evaluate")


def adapter_name(adapter: HostAdapter) -> str:
    """The sublayer in whose place an adapter stands, such as "attn.3"."""
    return sublayer_name(adapter.sublayer)


def _keep(_kind: Any, error: BaseException, traceback: Any) -> None:
    # A signal's handler raised before the guard began: nothing was done.
    failures.kept.exception = error.with_traceback(traceback)


def _number(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _parts(made: Any, count: int, what: str, wanted: str) -> tuple[Any, ...]:
    if not isinstance(made, (list, tuple)) or len(made) != count:
        raise HostError(f"{what} gave {_kind(made)}, but must give {wanted}")
    return tuple(made)


def _batch(batch: Any) -> HostBatch:
    return HostBatch(
        copied(batch.token_ids, (batch.n_tokens,), np.int32),
        copied(batch.sequence_lengths, (batch.n_sequences,), np.int64),
    )


def _adapter(adapter: Any) -> HostAdapter:
    width, rank = adapter.hidden_size, adapter.rank
    return HostAdapter(
        kind=_KINDS[adapter.kind],
        sublayer=adapter.sublayer,
        bias=viewed(adapter.bias, (width,), np.float32),
        down=optional_view(adapter.down, (rank, width)),
        up=optional_view(adapter.up, (width, rank)),
        matrix=optional_view(adapter.matrix, (width, width)),
        norm_gain=optional_view(adapter.norm_gain, (width,)),
        norm_epsilon=adapter.norm_epsilon,
        norm_kind="layer" if adapter.norm_kind == lib.PRUNE_NORM_LAYER else "rms",
        norm_bias=optional_view(adapter.norm_bias, (width,)),
    )
