# SPDX-License-Identifier: Apache-2.0
"""Models of hosts: how long they live, calls within calls, and interrupts."""

from __future__ import annotations

import gc
import random
import signal
import subprocess
import sys
import timeit
import traceback
import weakref
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from numpy_decoder import Decoder, Sizes
from numpy_host import NumpyHost
from processes import HANG

SUPPORT = str(Path(__file__).resolve().parents[1] / "support")
DECODER = Decoder(2, Sizes(blocks=2, width=8, heads=2, groups=1, head=4, inner=12, vocabulary=11))
DATA = pc.Data([np.arange(n) % 11 for n in (5, 9)])
MASK = [1, 0, 1, 1]


class Oops(Exception):
    """What a host raises."""


def loss(model: pc.Model) -> float:
    return model.evaluate(DATA).loss


def test_closing_releases_the_host() -> None:
    model = pc.from_host(NumpyHost(DECODER))
    loss(model)
    host = weakref.ref(model.host)
    model.close()
    model.close()
    assert model.closed
    with pytest.raises(pc.HandleError):
        loss(model)
    assert model.live_states == 0
    del model
    gc.collect()
    assert host() is None


def test_the_last_reference_lets_the_host_go() -> None:
    model = pc.from_host(NumpyHost(DECODER))
    loss(model)
    host = weakref.ref(model.host)
    del model
    gc.collect()
    assert host() is None


def test_refused_host_is_not_kept() -> None:
    host = NumpyHost(DECODER)
    host.n_blocks = 10**9
    with pytest.raises(pc.ArgumentError):
        pc.from_host(host)
    gone = weakref.ref(host)
    del host
    gc.collect()
    assert gone() is None


def test_recovered_models_outlive_the_base() -> None:
    model = pc.from_host(NumpyHost(DECODER))
    host = weakref.ref(model.host)
    adapters = model.recover(MASK, DATA, rank=1, ridge=1e-3)
    recovered = adapters.attach(model)
    wanted = loss(recovered)
    callbacks = model._callbacks
    model.close()
    assert loss(recovered) == wanted
    assert len(callbacks.states) == 0
    recovered.close()
    del model, recovered, callbacks
    gc.collect()
    assert host() is None


def test_host_may_close_its_model_within_a_call() -> None:
    """The call goes on to its end, and the model is gone after it."""
    open_models: list[pc.HostModel] = []

    class Closing(NumpyHost):
        def token_losses(self, state, rows, tokens):
            open_models[0].close()
            return super().token_losses(state, rows, tokens)

    with pc.from_host(NumpyHost(DECODER)) as plain:
        wanted = loss(plain)
    model = pc.from_host(Closing(DECODER))
    open_models.append(model)
    assert loss(model) == wanted
    assert model.closed
    assert model.live_states == 0
    host = weakref.ref(model.host)
    open_models.clear()
    del model
    gc.collect()
    assert host() is None


class Outer(NumpyHost):
    """Asks another model, within a call of its own."""

    def __init__(self, inner: pc.Model, patient: bool = False) -> None:
        super().__init__(DECODER)
        self.inner, self.patient, self.asked = inner, patient, 0

    def apply(self, sublayer, states):
        self.asked += 1
        try:
            loss(self.inner)
        except Oops:
            if not self.patient:
                raise
        return super().apply(sublayer, states)


class Inner(NumpyHost):
    """Fails in one of its calls, or in all."""

    def __init__(self, good: int = 0) -> None:
        super().__init__(DECODER)
        self.good = good

    def token_losses(self, state, rows, tokens):
        self.good -= 1
        if self.good < 0:
            raise Oops("inner")
        return super().token_losses(state, rows, tokens)


def test_host_may_use_its_model_within_a_call() -> None:
    with pc.from_host(NumpyHost(DECODER)) as inner, pc.from_host(Outer(inner)) as outer:
        assert loss(outer) == loss(inner)
        assert outer.host.asked > 0
        assert (outer.live_states, inner.live_states) == (0, 0)


def test_an_exception_goes_through_both() -> None:
    with pc.from_host(Inner(good=2)) as inner, pc.from_host(Outer(inner)) as outer:
        with pytest.raises(Oops, match="inner") as caught:
            loss(outer)
        names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert names.index("apply") < names.index("token_losses")
        assert (outer.live_states, inner.live_states) == (0, 0)


def test_host_exception_that_was_caught_is_over() -> None:
    with (
        pc.from_host(NumpyHost(DECODER)) as plain,
        pc.from_host(Inner()) as inner,
        pc.from_host(Outer(inner, patient=True)) as outer,
    ):
        assert loss(outer) == loss(plain)
        with pytest.raises(pc.DataError, match="vocabulary"):
            outer.evaluate(pc.Data([[5, 11]]))


def test_a_model_used_by_its_own_host() -> None:
    class Looking(NumpyHost):
        depth = 0

        def token_losses(self, state, rows, tokens):
            self.depth += 1
            if self.depth == 1:
                self.seen = used[0].score(DATA, "leave_one_out_loss")["leave_one_out_loss"]
            self.depth -= 1
            return super().token_losses(state, rows, tokens)

    used: list[pc.Model] = []
    with pc.from_host(Looking(DECODER)) as model, pc.from_host(NumpyHost(DECODER)) as plain:
        used.append(model)
        assert loss(model) == loss(plain)
        wanted = plain.score(DATA, "leave_one_out_loss")["leave_one_out_loss"]
        np.testing.assert_array_equal(model.host.seen, wanted)
        assert model.live_states == 0


def test_finalizers_of_states_use_the_library() -> None:
    """They run while a failed call lets its states go, and must not swallow why it failed."""
    with pc.from_host(NumpyHost(DECODER)) as other:

        class Busy:
            def __init__(self, state: object) -> None:
                self.state = state

            def __del__(self) -> None:
                finalized.append(loss(other))
                with pytest.raises(pc.DataError):
                    other.evaluate(pc.Data([[5, 11]]))

        class Host(NumpyHost):
            def embed(self, batch):
                return Busy(super().embed(batch))

            def apply(self, sublayer, states):
                if sublayer == 2:
                    raise Oops("here")
                return [Busy(each) for each in super().apply(sublayer, [s.state for s in states])]

        finalized: list[float] = []
        with pc.from_host(Host(DECODER)) as model:
            for _ in range(3):
                with pytest.raises(Oops, match="here"):
                    loss(model)
                assert model.live_states == 0
        gc.collect()
        assert len(finalized) > 3


def test_interrupt_at_any_moment_of_a_host_call_is_heard_once() -> None:
    """A signal's handler raises once, wherever Python is: it is heard once, and nothing stays."""

    class Interrupt(BaseException):
        pass

    def handler(*_: object) -> None:
        raised.append(Interrupt())
        raise raised[-1]

    before = signal.signal(signal.SIGALRM, handler)
    chance = random.Random(1)
    raised: list[BaseException] = []
    heard = 0
    try:
        with pc.from_host(NumpyHost(DECODER)) as model:
            wanted = model.score(DATA, "leave_one_out_loss")["leave_one_out_loss"]
            usual = min(timeit.repeat(lambda: model.score(DATA, "leave_one_out_loss"), number=1))
            tries = 0
            while tries < 400 or heard <= 100:  # however many come too late on a busy machine
                tries += 1
                assert tries < 100_000
                count = len(raised)
                try:
                    signal.setitimer(signal.ITIMER_REAL, 1e-5 + chance.random() * usual)
                    model.score(DATA, "leave_one_out_loss")
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except Interrupt as interrupt:
                    assert interrupt is raised[-1]
                    heard += 1
                assert len(raised) - count <= 1
                assert heard == len(raised)
                assert model.live_states == 0
            np.testing.assert_array_equal(
                model.score(DATA, "leave_one_out_loss")["leave_one_out_loss"], wanted
            )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


START = """
import sys, threading, time, atexit
sys.path.insert(0, sys.argv[1])
import numpy as np, prunecore as pc
from numpy_decoder import Decoder
from numpy_host import NumpyHost
data = pc.Data([np.arange(20), np.arange(9)])
model = pc.from_host(NumpyHost(Decoder()))
model.evaluate(data)
"""

ENDS = {
    "left open": "",
    "held by a cycle that outlives the modules": """
class Cycle: pass
cycle = Cycle(); cycle.me = cycle; cycle.model = model; sys.cycle = cycle; del model
""",
    "recovered": """
np.recovered = model.recover([1, 0, 1, 1, 1, 1], data, rank=2).attach(model)
np.recovered.evaluate(data); np.base = model
""",
    "used at the very end": """
atexit.register(lambda: model.evaluate(data))
""",
    "in use by other threads": """
def work():
    while True: model.score(data, "leave_one_out_loss")
for _ in range(2): threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
""",
}


@pytest.mark.parametrize("end", ENDS)
def test_interpreter_ends_in_peace_with_a_host_open(end: str) -> None:
    code = f"{START}{ENDS[end]}\nprint('done')\n"
    done = subprocess.run(
        [sys.executable, "-c", code, SUPPORT],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=HANG,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_exit_within_a_method_of_a_host_ends_the_program() -> None:
    code = f"{START}model.host.apply = lambda *_: sys.exit(3)\nmodel = pc.from_host(model.host)\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}model.evaluate(data)", SUPPORT],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=HANG,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
