# SPDX-License-Identifier: Apache-2.0
"""Progress, cancelling, Ctrl-C, and several threads."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import prunecore as pc
import pytest
from processes import HANG, begun


@pytest.fixture
def data(tales: pc.Model, tales_dir: Path) -> pc.Data:
    return pc.Data.from_text(tales_dir / "maths.jsonl", tales, sequence_length=128, limit=8)


def test_progress_is_told_from_start_to_end(tales: pc.Model, data: pc.Data) -> None:
    seen: list[tuple[str, int, int, float]] = []
    thread = threading.get_ident()

    def progress(stage: str, done: int, total: int, seconds: float) -> None:
        assert threading.get_ident() == thread
        seen.append((stage, done, total, seconds))

    tales.score(data, "all", "block", progress=progress)
    assert seen
    for stage, done, total, seconds in seen:
        assert isinstance(stage, str) and stage
        assert 0 <= done <= total and total > 0 and seconds >= 0
    stages = list(dict.fromkeys(stage for stage, _, _, _ in seen))
    for stage in stages:
        counts = [done for name, done, _, _ in seen if name == stage]
        assert counts == sorted(counts)
    times = [seconds for _, _, _, seconds in seen]
    assert times == sorted(times)


@pytest.mark.parametrize("call", ["score", "evaluate", "token_losses", "logits"])
def test_true_result_of_progress_cancels_the_call(
    tales: pc.Model, data: pc.Data, call: str
) -> None:
    with pytest.raises(pc.Cancelled) as caught:
        getattr(tales, call)(data, progress=lambda *_: 1)
    assert caught.value.status_name == "PRUNE_ERR_CANCELLED"
    assert tales.evaluate(data).tokens == 8 * 127  # the model works as before


def test_an_exception_cancels_and_comes_through_unchanged(tales: pc.Model, data: pc.Data) -> None:
    class Odd(Exception):
        pass

    calls = []

    def progress(*report: object) -> None:
        calls.append(report)
        raise Odd("as it is")

    with pytest.raises(Odd, match="as it is") as caught:
        tales.evaluate_masks(data, [pc.Mask.all(12)] * 3, progress=progress)
    assert caught.traceback[-1].name == "progress"
    assert len(calls) == 1


def test_wrong_arguments_of_a_progress_function_are_seen(tales: pc.Model, data: pc.Data) -> None:
    with pytest.raises(TypeError):
        tales.evaluate(data, progress=lambda: None)  # type: ignore[misc, arg-type]


LONG_SCORE = """
import os, signal, sys, threading, time
import prunecore as pc

model = pc.open(sys.argv[1])
data = pc.Data.from_text(sys.argv[1] + "/maths.jsonl", model)
long = pc.Data.concatenate([data] * 200)  # an hour
score = type(model).score.__code__


def interrupt():
    main = threading.main_thread().ident
    while True:
        frame = sys._current_frames()[main]
        while frame is not None and frame.f_code is not score:
            frame = frame.f_back
        if frame is not None:
            break
        time.sleep(0.001)
    time.sleep(0.5)  # from Python's part of the call into the library's
    os.kill(os.getpid(), signal.SIGINT)


threading.Thread(target=interrupt, daemon=True).start()
try:
    model.score(long, "all")
except KeyboardInterrupt:
    print("stopped", model.evaluate(data[:1]).sequences)
"""


def test_ctrl_c_stops_a_call_that_has_no_progress_function(tales_dir: Path) -> None:
    command = [sys.executable, "-c", LONG_SCORE, str(tales_dir)]
    process = begun(command, stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate(timeout=HANG)
    assert output == "stopped 1\n"


def test_threads_measure_one_model_at_once(tales: pc.Model, data: pc.Data) -> None:
    masks = [pc.Mask.remove(f"attn.{block}", 12) for block in range(8)]
    wanted = [tales.evaluate(data, mask).loss for mask in masks]
    cosine = tales.score(data, "cosine")["cosine"]
    with ThreadPoolExecutor(4) as pool:
        losses = pool.map(lambda mask: tales.evaluate(data, mask).loss, masks)
        scores = [pool.submit(tales.score, data, "cosine") for _ in range(3)]
        assert list(losses) == pytest.approx(wanted, abs=2e-6)
        for found in scores:
            np.testing.assert_allclose(found.result()["cosine"], cosine, rtol=1e-6)


def test_errors_of_threads_do_not_mix(tales: pc.Model) -> None:
    def fail(token: int) -> str:
        with pytest.raises(pc.DataError) as caught:
            tales.evaluate(pc.Data([[1, token]]))
        return str(caught.value)

    tokens = [3000 + index for index in range(40)]
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(fail, tokens))
    assert all(str(token) in text for token, text in zip(tokens, texts, strict=True))


def test_python_runs_on_while_the_library_computes(tales: pc.Model, tales_dir: Path) -> None:
    data = pc.Data.from_text(tales_dir / "maths.jsonl", tales, limit=24)
    ticks, over = 0, threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not over.wait(0.005):
            ticks += 1

    ticker = threading.Thread(target=tick)
    ticker.start()
    tales.score(data, "leave_one_out_loss")
    while_computing = ticks
    over.set()
    ticker.join()
    assert while_computing > 5  # a call that kept the interpreter's lock would leave time for one
