# SPDX-License-Identifier: Apache-2.0
"""Tensors that NumPy has no array for: refused wherever numbers are given, and named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")


class Failing:
    """An array that fails as the caller's own code may."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("its device is gone")

    def __len__(self) -> int:
        return 3


BROKEN: dict[str, Callable[[], Any]] = {
    "meta": lambda: torch.ones(2, 3, device="meta"),
    "sparse": lambda: torch.ones(2, 3).to_sparse(),
    "failing": Failing,
    "text": lambda: [["x", "y", "z"]],
}


@pytest.fixture
def calls(tales: pc.Model) -> dict[str, Callable[[Any], Any]]:
    mask = pc.Mask.remove(["attn.3"], 12)
    data = pc.Data([[1, 2, 3]])
    adapters = tales.recover(mask, pc.Data([list(range(1, 40))] * 8), "bias")
    return {
        "token ids": pc.Data,
        "weights": lambda given: pc.Data([[1, 2, 3], [4, 5, 6]], given),
        "a mask": pc.Mask,
        "a mask in a call": lambda given: tales.evaluate(data, given),
        "scores": lambda given: pc.Scores({"cosine": given}, "block", 12),
        "adapters": lambda given: adapters.set("attn.3", "bias", given),
        "worths": lambda given: pc.Game(3).tell([[1, 0, 1]], given),
        "coalitions": lambda given: pc.Game(3).tell(given, [1.0, 2.0]),
    }


@pytest.mark.parametrize("kind", BROKEN)
def test_tensors_without_arrays_are_refused(
    kind: str, calls: dict[str, Callable[[Any], Any]]
) -> None:
    for name, call in calls.items():
        with pytest.raises(pc.ArgumentError) as caught:
            call(BROKEN[kind]())
        assert str(caught.value), name


def test_tensors_are_taken_wherever_arrays_are(tales: pc.Model) -> None:
    keep = np.ones(24, dtype=np.uint8)
    keep[6] = 0
    data = pc.Data([[1, 2, 3, 4]])
    wanted = tales.evaluate(data, keep).loss
    assert tales.evaluate(data, torch.tensor(keep)).loss == wanted
    weights = torch.tensor([0.0, 1.0, 0.5, 1.0], dtype=torch.bfloat16, requires_grad=True)
    assert pc.Data([[1, 2, 3, 4]], weights).token_weights.tolist() == [0, 1, 0.5, 1]
    rows = [torch.tensor([1.0, 2.0]), torch.tensor([3.0])]
    assert pc.Data([[1, 2], [3]], rows).token_weights.tolist() == [1, 2, 3]
    scores = pc.Scores({"cosine": torch.arange(12.0)}, "block", 12)
    assert scores["cosine"].tolist() == list(range(12))
