# SPDX-License-Identifier: Apache-2.0
"""Models over arrays in memory: the numbers of prune_model_open, nothing copied, who keeps what."""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest

N_TENSORS = 12 * 9 + 2


@pytest.fixture(scope="module")
def arrays(tales_dir: Path) -> dict[str, np.ndarray]:
    """The weights of the embedded model, in float32: what its bfloat16 widens to."""
    content = (tales_dir / "model.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "BF16"
        begin, end = entry["data_offsets"]
        halves = np.frombuffer(content, np.uint16, (end - begin) // 2, 8 + size + begin)
        found[name] = (halves.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])
    return found


@pytest.fixture
def data() -> pc.Data:
    rows = np.random.default_rng(3).integers(0, 500, (3, 24))
    return pc.Data(list(rows))


def test_numbers_of_the_opened_model(
    tales: pc.Model, tales_dir: Path, arrays: dict[str, np.ndarray], data: pc.Data
) -> None:
    with pc.from_arrays(tales_dir / "config.json", arrays) as model:
        assert model.directory is None
        np.testing.assert_array_equal(model.logits(data), tales.logits(data))
        ours, theirs = (m.score(data, "static") for m in (model, tales))
        for metric in ours.metrics:
            np.testing.assert_allclose(ours[metric], theirs[metric], rtol=1e-12)
        assert model.shape.parameters == tales.shape.parameters
        assert model.shape.parameter_bytes == 2 * tales.shape.parameter_bytes
        assert model.provenance == tales.provenance | {"name": "tales-12l"}


def test_from_arrays_takes_every_form_of_configuration(
    tales_dir: Path, arrays: dict[str, np.ndarray], data: pc.Data, tmp_path: Path
) -> None:
    path = tales_dir / "config.json"
    text = path.read_text()
    losses, digests = set(), []
    for config in (path, str(path), tales_dir, text, json.loads(text)):
        with pc.from_arrays(config, arrays) as model:
            losses.add(model.evaluate(data).loss)
            digests.append(model.provenance["config_sha256"])
    assert len(losses) == 1
    assert digests[:4] == [hashlib.sha256(path.read_bytes()).hexdigest()] * 4
    with pc.from_arrays(json.loads(text) | {"_name_or_path": "them/theirs"}, arrays) as model:
        assert model.provenance["name"] == "theirs" and repr(model) == "Model('theirs', 12 blocks)"
    with pytest.raises(pc.FileError, match="nowhere"):
        pc.from_arrays(tmp_path / "nowhere", arrays)
    for config, wanted in (
        ("{", pc.FormatError),
        ({"architectures": ["BloomForCausalLM"]}, pc.UnsupportedError),
        ({"hidden_size": {1, 2}}, pc.ArgumentError),
        (5, pc.ArgumentError),
        ("{}\0", pc.ArgumentError),
    ):
        with pytest.raises(wanted):
            pc.from_arrays(config, arrays)


def test_rows_of_wider_matrices_and_others(
    tales_dir: Path, arrays: dict[str, np.ndarray], data: pc.Data
) -> None:
    wide = {}
    for name, array in arrays.items():
        wide[name] = array
        if array.ndim == 2:
            room = np.full((len(array), array.shape[1] + 7), np.nan, np.float32)
            room[:, 3:-4] = array
            wide[name] = room[:, 3:-4]
    wide["rotary"] = np.arange(6).reshape(1, 2, 3)  # what the model does not need may be anything
    with pc.from_arrays(tales_dir, wide) as ours, pc.from_arrays(tales_dir, arrays) as theirs:
        np.testing.assert_array_equal(ours.logits(data), theirs.logits(data))


def test_from_arrays_refuses_wrong_arrays(tales_dir: Path, arrays: dict[str, np.ndarray]) -> None:
    name = "model.layers.3.mlp.up_proj.weight"
    array = arrays[name]
    records = np.zeros(array.shape, [("byte", "i1"), ("value", "f4")])["value"]
    for changed, wanted, text in (
        (np.asfortranarray(array), pc.UnsupportedError, "contiguous"),
        (np.repeat(array, 2, axis=1)[:, ::2], pc.UnsupportedError, "contiguous"),
        (array[::-1], pc.UnsupportedError, "contiguous"),
        (np.broadcast_to(array[:1], array.shape), pc.UnsupportedError, "contiguous"),
        (records, pc.UnsupportedError, "contiguous"),
        (array.astype(np.float64), pc.UnsupportedError, "float64"),
        (array.astype(">f4"), pc.UnsupportedError, ">f4"),
        (array[None], pc.FormatError, "3 dimensions"),
        (array[:-1], pc.FormatError, "has shape"),
        (array.tolist(), pc.ArgumentError, "list"),
    ):
        with pytest.raises(wanted, match=text) as refusal:
            pc.from_arrays(tales_dir, arrays | {name: changed})
        assert name in str(refusal.value)
    with pytest.raises(pc.FormatError, match="missing"):
        pc.from_arrays(tales_dir, {})
    with pytest.raises(pc.ArgumentError, match="key"):
        pc.from_arrays(tales_dir, {1: array})  # type: ignore[dict-item]
    with pytest.raises(pc.ArgumentError, match="NUL"):
        pc.from_arrays(tales_dir, arrays | {"a\0b": array})
    with pytest.raises(pc.ArgumentError, match="compute"):
        pc.from_arrays(tales_dir, arrays, compute="float64")  # type: ignore[arg-type]


class Watched(np.ndarray):
    """An array that can be watched."""


def test_arrays_are_read_anew_and_kept(
    tales_dir: Path, arrays: dict[str, np.ndarray], data: pc.Data
) -> None:
    own = {name: array.copy().view(Watched) for name, array in arrays.items()}
    watched = [weakref.ref(array) for array in own.values()]
    model = pc.from_arrays(tales_dir, own)
    before = model.evaluate(data).loss
    own["model.layers.7.mlp.down_proj.weight"][:] *= 2
    changed = model.evaluate(data).loss
    assert changed != before
    with pc.from_arrays(tales_dir, own) as fresh:
        assert fresh.evaluate(data).loss == changed
    del own
    gc.collect()
    assert len(watched) == N_TENSORS and all(array() is not None for array in watched)
    assert model.evaluate(data).loss == changed
    adapters = model.recover(pc.Mask.remove(["attn.4"], 12), data, kind="bias")
    recovered = adapters.attach(model)
    model.close()
    gc.collect()
    assert recovered.evaluate(data).loss > 0 and all(array() is not None for array in watched)
    recovered.close()
    gc.collect()
    assert all(array() is None for array in watched)


def test_refused_arrays_are_not_kept(tales_dir: Path, arrays: dict[str, np.ndarray]) -> None:
    array = arrays["model.norm.weight"].copy().view(Watched)
    watched = weakref.ref(array)
    with pytest.raises(pc.FormatError):
        pc.from_arrays(tales_dir, {"model.norm.weight": array})
    del array
    gc.collect()
    assert watched() is None


class Old:
    """A producer of DLPack before version 1; it can lie about its device."""

    def __init__(self, tensor: Any, device: int = 1) -> None:
        self.tensor, self.device = tensor, device

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device, 0

    def __dlpack__(self, stream: object = None) -> object:
        return self.tensor.__dlpack__()


class Broken(Old):
    def __dlpack__(self, stream: object = None) -> object:
        raise BufferError("it is not mine to give")


def test_from_arrays_takes_dlpack_tensors(
    tales_dir: Path, arrays: dict[str, np.ndarray], data: pc.Data
) -> None:
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    halves = {name: tensor.bfloat16().requires_grad_() for name, tensor in tensors.items()}
    old = {name: Old(tensor) for name, tensor in tensors.items()}
    with pc.from_arrays(tales_dir, arrays) as model:
        wanted = model.logits(data)
    for given in (tensors, halves, old):
        with pc.from_arrays(tales_dir, given) as model:
            np.testing.assert_array_equal(model.logits(data), wanted)
    name = "model.norm.weight"
    for changed, error in (
        (Old(tensors[name], 2), pc.UnsupportedError),
        (Broken(tensors[name]), pc.ArgumentError),
        (tensors[name].double(), pc.UnsupportedError),
    ):
        with pytest.raises(error, match=name):
            pc.from_arrays(tales_dir, tensors | {name: changed})
    model = pc.from_arrays(tales_dir, old)
    watched = weakref.ref(old[name].tensor)
    tensors[name].mul_(3)
    assert not np.array_equal(model.logits(data), wanted)
    del old, tensors, given, changed
    gc.collect()
    model.logits(data)
    model.close()
    gc.collect()
    assert watched() is None


def test_text_for_a_model_of_arrays_needs_a_tokenizer(
    tales_dir: Path, arrays: dict[str, np.ndarray], tmp_path: Path
) -> None:
    shutil.copy(tales_dir / "stories.jsonl", tmp_path / "text.jsonl")
    with pc.from_arrays(tales_dir, arrays) as model:
        with pytest.raises(pc.FileError, match="did not come from a directory"):
            pc.Data.from_text(tmp_path / "text.jsonl", model, 16, limit=2)
        data = pc.Data.from_text(tmp_path / "text.jsonl", tales_dir, 16, limit=2)
        assert model.evaluate(data).loss > 0
        with pytest.raises(pc.FileError, match="did not come from a directory"):
            model.generate(["Once upon"], max_new_tokens=2)
        with pc.open(tales_dir) as opened:
            wanted = opened.generate(["Once upon"], max_new_tokens=4).texts
        assert model.generate(["Once upon"], max_new_tokens=4, tokenizer=tales_dir).texts == wanted
        assert model.generate([[1, 2, 3]], max_new_tokens=2).texts is None
