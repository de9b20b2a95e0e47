# SPDX-License-Identifier: Apache-2.0
"""`Model.verify_export`: exports that are as they should be, and every way in which one is not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import prunecore as pc
import pytest
import torch
from gguf_decoder import InNumPy
from prunecore.export.gguf import export_gguf, llama_cpp_runtime

MASK = pc.Mask.remove(["attn.3", "ffn.7"], 12)
SHORT = pc.Data(np.random.default_rng(1).integers(0, 2048, (2, 24)))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # the model is small: a second thread costs more than it brings


@pytest.fixture(scope="module")
def adapters(model: pc.Model, tales_dir: Path) -> pc.Adapters:
    text = pc.Data.from_text(tales_dir / "stories.jsonl", model, 64)[:8]
    return model.recover(MASK, text, "linear", ridge=1e-2)


@pytest.mark.parametrize(
    ("format_", "mask"),
    [
        ("hf_plain", pc.Mask.remove(["block.2", "block.11"], 12)),
        ("hf_custom", MASK),
        ("deci", MASK),
    ],
)
def test_verification_accepts_directories_that_are_right(
    format_: str, mask: pc.Mask, model: pc.Model, tmp_path: Path
) -> None:
    path = model.export(tmp_path / "out", mask, format=format_)
    found = model.verify_export(path, mask)
    assert found.same
    assert found.findings == []
    assert found.format == format_
    assert found.runtime.startswith("transformers 5")
    assert found.tokens == 320
    assert found.difference is not None
    assert 0 < found.difference < 2e-6
    assert found.agreement == 1.0
    assert model.verify_export(path) == found  # the mask is that of the export
    wrong = model.verify_export(path, pc.Mask.all(12))
    assert not wrong.same
    assert "but the mask removes nothing" in wrong.findings[0]
    assert "logits differ by 0." in wrong.findings[1]
    json.dumps(wrong.to_dict(), allow_nan=False)


def test_models_in_memory_verify_exports(model: pc.Model, tales_dir: Path, tmp_path: Path) -> None:
    path = model.export(tmp_path / "out", MASK, format="deci")
    with pc.from_arrays(tales_dir / "config.json", _arrays(tales_dir)) as lent:
        assert lent.verify_export(path, data=SHORT).same
        assert not lent.verify_export(path, pc.Mask.all(12), data=SHORT).same


def test_verification_counts_the_adapters_in(
    model: pc.Model, adapters: pc.Adapters, tmp_path: Path
) -> None:
    path = model.export(tmp_path / "out", MASK, adapters)
    assert model.verify_export(path, adapters=adapters).same
    assert not model.verify_export(path, MASK).same  # it computes the adapters, too


def test_verification_of_gguf_runs_its_runtime(
    model: pc.Model, adapters: pc.Adapters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_cpp_runtime, "LlamaCpp", InNumPy)
    made = export_gguf(model, tmp_path / "a.gguf", MASK, adapters, "F32")
    path = made.path
    found = model.verify_export(path, MASK, adapters, data=SHORT)
    assert found.same
    assert (found.format, found.runtime, found.tolerance) == ("gguf", "NumPy", 1e-4)
    assert found.difference is not None
    assert found.difference < 2e-6
    assert not model.verify_export(path, MASK, adapters, data=SHORT, tolerance=1e-9).same
    unrecovered = model.verify_export(path, MASK, data=SHORT)
    assert not unrecovered.same
    with adapters.attach(model) as recovered:
        assert recovered.verify_export(path, data=SHORT).same
        own = export_gguf(recovered, tmp_path / "r.gguf", dtype="F32")
    assert own.tensors_sha256 == made.tensors_sha256
    changed = model.recover(MASK, pc.Data([[5, 6, 7, 8]] * 4), "bias")
    found = model.verify_export(path, MASK, changed, data=SHORT)
    assert found.findings[0] == "it says that it holds other adapters"
    rounded = export_gguf(model, tmp_path / "b.gguf", MASK, dtype="Q8_0").path
    found = model.verify_export(rounded, data=SHORT)
    assert found.same
    assert found.tolerance == 6e-2
    assert found.difference is not None
    assert found.difference > 1e-3


def test_damage_is_found_before_anything_is_run(
    model: pc.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_to_be_run(*_: object) -> None:
        raise AssertionError("it was run")

    monkeypatch.setattr(llama_cpp_runtime, "LlamaCpp", not_to_be_run)
    monkeypatch.setattr("prunecore.export.verify.Transformers", not_to_be_run)
    path = model.export(tmp_path / "out", MASK)
    code = path / "modeling_prunecore.py"
    code.write_text(code.read_text() + "\nraise SystemExit\n")
    (path / "tokenizer.json").unlink()
    found = model.verify_export(path)
    assert not found.same
    assert sorted(found.findings) == [
        "modeling_prunecore.py is not as it was written", "tokenizer.json is missing"
    ]  # fmt: skip
    assert found.difference is None
    file = export_gguf(model, tmp_path / "m.gguf", MASK).path
    content = bytearray(file.read_bytes())
    content[-50] ^= 255
    file.write_bytes(content)
    found = model.verify_export(file)
    assert "another checksum" in found.findings[0]
    json.dumps(found.to_dict(), allow_nan=False)


def rewrite(path: Path, change: Any) -> None:
    """Changes config.json, and the checksum of it in prunecore.json."""
    import hashlib

    config = json.loads((path / "config.json").read_text())
    change(config)
    text = json.dumps(config)
    (path / "config.json").write_text(text)
    record = json.loads((path / "prunecore.json").read_text())
    for entry in record["files"]:
        if entry["name"] == "config.json":
            entry["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (path / "prunecore.json").write_text(json.dumps(record))


def test_verification_compares_every_field_of_deci(
    model: pc.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent(InNumPy):
        def __init__(self, *_: object) -> None:
            pass

        def logits(self, sequence: Any) -> np.ndarray:
            return model.logits(pc.Data(sequence), MASK)

    monkeypatch.setattr("prunecore.export.verify.Transformers", Silent)
    path = model.export(tmp_path / "out", MASK, format="deci")
    assert model.verify_export(path, MASK).same

    def change(config: dict[str, Any]) -> None:
        blocks = config["block_configs"]
        blocks[2]["attention"]["no_op"] = True
        blocks[3]["attention"]["n_heads_in_group"] = 2
        blocks[4]["attention"]["n_heads_in_group"] = 1
        blocks[5]["ffn"]["replace_with_linear"] = True
        config["model_type"] = "llama"
        width = blocks[6]["ffn"]
        if width.get("ffn_mult") is None:
            width["intermediate_size"] = 256
        else:
            width["ffn_mult"] = 1.0

    rewrite(path, change)
    found = model.verify_export(path, MASK).findings
    assert found == [
        "config.json: model_type is 'llama', not 'nemotron-nas'",
        "config.json: attention of block 2: no_op is True, not False",
        "config.json: attention of block 3: n_heads_in_group is 2, not None",
        "config.json: attention of block 4: n_heads_in_group is 1, not 2",
        "config.json: ffn of block 5: replace_with_linear is set, which runtimes do not read",
        "config.json: ffn of block 6: width is 256, not 352",
    ]
    rewrite(path, lambda config: config["block_configs"].pop())
    assert "there are 11 block_configs, not 12" in model.verify_export(path, MASK).findings[1]


def test_verification_refuses_what_is_not_an_export(
    model: pc.Model, tales_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(pc.FileError, match=r"prunecore\.json cannot be read"):
        model.verify_export(tales_dir)
    with pytest.raises(pc.FormatError, match="not a GGUF file"):
        model.verify_export(tales_dir / "config.json")
    with pytest.raises(pc.FileError):
        model.verify_export(tmp_path / "nothing")
    path = model.export(tmp_path / "out", MASK)
    with pytest.raises(pc.ArgumentError, match="must not be negative"):
        model.verify_export(path, tolerance=-1.0)
    (path / "prunecore.json").write_text("{}")
    with pytest.raises(pc.FormatError, match="is damaged"):
        model.verify_export(path)


def _arrays(directory: Path) -> dict[str, np.ndarray]:
    from safetensors.torch import load_file

    tensors = load_file(directory / "model.safetensors")
    return {name: tensor.float().numpy() for name, tensor in tensors.items()}


def test_runtimes_that_are_missing_are_named(
    model: pc.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export_gguf(model, tmp_path / "m.gguf", MASK).path
    monkeypatch.setattr(
        "importlib.import_module",
        lambda name: (_ for _ in ()).throw(ImportError(f"No module named {name}")),
    )
    with pytest.raises(pc.LoadError, match="llama-cpp-python"):
        model.verify_export(path)
    directory = model.export(tmp_path / "out", MASK)
    with pytest.raises(pc.LoadError, match="transformers and torch"):
        model.verify_export(directory)
    assert os.path.isdir(directory)
