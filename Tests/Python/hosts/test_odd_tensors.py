# SPDX-License-Identifier: Apache-2.0
"""Tensors that NumPy has no array for, and that cannot be lent: refused, and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import load_file  # noqa: E402  it needs torch


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


class _Producer:
    """Speaks DLPack, and fails somewhere."""

    def __init__(self, device: Any, tensor: Any) -> None:
        self.device, self.tensor = device, tensor

    def __dlpack_device__(self) -> Any:
        if isinstance(self.device, Exception):
            raise self.device
        return self.device

    def __dlpack__(self, **_: Any) -> Any:
        if isinstance(self.tensor, Exception):
            raise self.tensor
        return self.tensor


WEIGHT = "model.embed_tokens.weight"
LENT: dict[str, tuple[Callable[[Any], Any], str]] = {
    "meta": (lambda w: w.to("meta"), "meta"),
    "sparse": (lambda w: w.float().to_sparse(), "layout"),
    "no rows": (lambda w: w[:0], "[0, 128]"),
    "no columns": (lambda w: w[:, :0], "[2048, 0]"),
    "reversed": (lambda w: np.flip(w.float().numpy(), 1), "[128, -1]"),
    "one row for all": (lambda w: w[:1].expand(w.shape), "[0, 1]"),
    "columns first": (lambda w: w.t().contiguous().t(), "[1, 2048]"),
    "conjugate": (lambda w: torch.complex(w.float(), w.float()).conj(), "conjugate"),
    "three dimensions": (lambda w: w[None], "3 dimensions"),
    "doubles": (lambda w: w.double(), "float64"),
    "bytes": (lambda w: w.to(torch.float8_e4m3fn), "DLPack, bits: 8"),
    "foreign device": (lambda _: _Producer((2, 0), None), "type 2"),
    "device that fails": (lambda _: _Producer(KeyError("gone"), None), "gone"),
    "device that is none": (lambda _: _Producer("cpu", None), "where it lies"),
    "tensor that fails": (lambda _: _Producer((1, 0), OSError("gone")), "gone"),
    "no tensor": (lambda _: _Producer((1, 0), 7), "no tensor"),
    "list": (lambda w: w.tolist(), "a list"),
    "nothing": (lambda _: None, "NoneType"),
}


@pytest.mark.parametrize("kind", LENT)
def test_weights_that_cannot_be_lent_are_named(kind: str, tales_dir: Path) -> None:
    weights: dict[str, Any] = load_file(tales_dir / "model.safetensors")
    change, words = LENT[kind]
    weights[WEIGHT] = change(weights[WEIGHT])
    with pytest.raises(pc.Error) as caught:
        pc.from_arrays(tales_dir, weights)
    assert WEIGHT in str(caught.value) and words in str(caught.value)
