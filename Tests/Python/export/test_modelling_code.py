# SPDX-License-Identifier: Apache-2.0
"""Of an export, only code that PruneCore wrote is run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import prunecore as pc
import pytest
from prunecore.export.modelling_code import KNOWN

MASK = pc.Mask.remove(["attn.3", "ffn.7"], 12)


def test_the_table_names_the_files_that_are_written(repository_root: Path) -> None:
    files = (repository_root / "Sources" / "PruneCore" / "Export" / "Modelling").glob("*.py")
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert digests.keys() == KNOWN.keys()
    assert [name for name, digest in digests.items() if digest not in KNOWN[name]] == []


@pytest.fixture(scope="module")
def exports(model: pc.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    model.export(folder / "custom", MASK)
    model.export(folder / "deci", MASK, format="deci")
    model.export(folder / "plain", pc.Mask.remove(["block.2"], 12))
    return folder


def change_config(path: Path, **changes: object) -> None:
    record = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**record, **changes}))


def vouch(path: Path) -> None:
    """The export says that its files are as they were written."""
    record = json.loads((path / "prunecore.json").read_text())
    for entry in record["files"]:
        entry["sha256"] = hashlib.sha256((path / entry["name"]).read_bytes()).hexdigest()
    (path / "prunecore.json").write_text(json.dumps(record))


def code(path: Path, name: str) -> None:
    """A file, old or new, that leaves a trace when it is run."""
    file = path / name
    old = file.read_text() if file.exists() else ""
    file.write_text(f"{old}\nimport pathlib\npathlib.Path({str(path / 'ran')!r}).touch()\n")


def named(path: Path, value: str) -> None:
    code(path, "evil.py")
    change_config(path, auto_map={"AutoConfig": value, "AutoModelForCausalLM": value})


Attack = Callable[[Path], None]
REFUSED: dict[str, tuple[str, Attack, str]] = {
    "changed model": ("custom", lambda p: code(p, "modeling_prunecore.py"), "modeling_prunecore"),
    "changed import": ("custom", lambda p: code(p, "prunecore_layers.py"), "prunecore_layers.py"),
    "changed deci": ("deci", lambda p: code(p, "configuration_decilm.py"), "configuration_decilm"),
    "another file": ("custom", lambda p: named(p, "evil.Model"), r"evil\.py"),
    "another place": ("custom", lambda p: named(p, "a/b--modeling_prunecore.X"), "a/b--modeling"),
    "plain with code": ("plain", lambda p: named(p, "evil.Model"), r"evil\.py"),
    "inside an entry": (
        "custom", lambda p: change_config(p, text_config={"auto_map": {}}), "inside another entry"
    ),
    "a loader": (
        "custom", lambda p: change_config(p, transformers_weights="x.bin"), "transformers_weights"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_code_of_others_is_refused(
    name: str, exports: Path, model: pc.Model, tmp_path: Path
) -> None:
    base, attack, words = REFUSED[name]
    path = tmp_path / "export"
    shutil.copytree(exports / base, path)
    attack(path)
    vouch(path)
    with pytest.raises(pc.UnsupportedError, match=words) as caught:
        model.verify_export(path)
    assert "--trust-remote-code" in str(caught.value)
    assert not (path / "ran").exists()


def test_code_of_others_is_run_when_it_is_trusted(
    exports: Path, model: pc.Model, tmp_path: Path
) -> None:
    path = tmp_path / "trusted"
    shutil.copytree(exports / "custom", path)
    code(path, "modeling_prunecore.py")
    vouch(path)
    assert model.verify_export(path, trust_remote_code=True).same
    assert (path / "ran").exists()


def test_files_that_nothing_names_are_not_run(
    exports: Path, model: pc.Model, tmp_path: Path
) -> None:
    path = tmp_path / "export"
    shutil.copytree(exports / "custom", path)
    for name in ("__init__.py", "torch.py", "transformers.py", "tokenization.py"):
        code(path, name)
    change_config(path, _attn_implementation="somebody/kernels")
    vouch(path)
    assert model.verify_export(path).same
    assert not (path / "ran").exists()


def test_other_forms_of_weights_and_paths_are_not_read(
    exports: Path, model: pc.Model, tmp_path: Path
) -> None:
    path = tmp_path / "export"
    shutil.copytree(exports / "custom", path)
    os.rename(path / "model.safetensors", path / "pytorch_model.bin")
    record = json.loads((path / "prunecore.json").read_text())
    record["files"] = []
    (path / "prunecore.json").write_text(json.dumps(record))
    with pytest.raises(pc.FileError, match=r"model\.safetensors\.index\.json"):
        model.verify_export(path)
    index = path / "model.safetensors.index.json"
    for name in ("../custom/model.safetensors", str(exports / "custom" / "model.safetensors")):
        index.write_text(json.dumps({"weight_map": {"model.norm.weight": name}}))
        with pytest.raises(pc.FormatError, match="not inside"):
            model.verify_export(path)
