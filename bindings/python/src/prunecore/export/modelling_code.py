# SPDX-License-Identifier: Apache-2.0
"""The Python files that exports carry: which of them are PruneCore's own, and may be run."""

from __future__ import annotations

import hashlib
import importlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prunecore._native.architectures import architecture_table
from prunecore._native.inner_path import inner_path
from prunecore._native.json_files import damage_named, read_json_object
from prunecore.errors import FileError, FormatError, UnsupportedError
from prunecore.export.modelling_files import (
    CONFIGURATION,
    LAYERS,
    LLAMA,
    MODELLING,
    FamilyClasses,
    renamed,
)
from prunecore.export.private_package import PrivatePackage
from prunecore.tensors.stored import read_config, weight_files

KNOWN: Mapping[str, frozenset[str]] = {
    "configuration_decilm.py": frozenset(
        {"81674b97a708f6984186d98892cc3b22eb90336142b21fe27faa5910095204c7"}
    ),
    "configuration_prunecore.py": frozenset(
        {"46e01bb90abad4c69b369b0cd0849d3c97879443f770d33ea4558aab90ef4848"}
    ),
    "modeling_decilm.py": frozenset(
        {"12f5bd9b64693d399b94d062150eb8762363e0f40150e092042924a80b04d7b9"}
    ),
    "modeling_prunecore.py": frozenset(
        {"66504c08d7aacae7b7d548e89e1ad86d093c8cbb595dc734a94ac5e74ab02cae"}
    ),
    "prunecore_layers.py": frozenset(
        {"ea05a2c2b4d24e8f57258e270b45126c1848a401249e70496797891136bd759f"}
    ),
}
"""SHA-256 of the files that this version writes, and of those that released versions wrote.

Of the files with a family's classes, those with Llama's names in the places of the family's own.
"""

_OF_FAMILY = (CONFIGURATION, MODELLING)

AUTO_CLASSES = {"AutoConfig": "configuration", "AutoModelForCausalLM": "modeling"}

# These choose among ways to compute that are the same but for rounding; some are fetched as code.
_CHOICES = (
    "attn_implementation", "_attn_implementation", "_attn_implementation_internal",
    "experts_implementation", "_experts_implementation", "_experts_implementation_internal",
)  # fmt: skip
# These have transformers load other files, or others' packages.
_LOADERS = ("quantization_config", "transformers_weights", "custom_generate", "fusion_config")


class OwnCode:
    """A private copy of an export, in which all code is PruneCore's own.

    The copy is what is run: the code's bytes are read once, compared with the table above, and
    written to a folder that no other user may enter; weights are links. Nothing else of the export
    is in it, and neither the export's folder nor transformers' cache of modules is imported from.

    Attributes
    ----------
    directory : Path
        config.json and the weights.
    classes : pair of str, or None
        The configuration's and the model's class, as module.Class; None: transformers' own.
    """

    def __init__(self, export: Path, private: Path) -> None:
        self.directory = private
        config = read_config(export)
        self.classes = _classes(config, export / "config.json")
        code = private / "code"
        code.mkdir()
        self._package = PrivatePackage(code)
        if self.classes is not None:
            modules = [name.partition(".")[0] for name in self.classes]
            family = self.classes[1].rpartition(".")[2].removeprefix("PruneCore")
            for file in (*(f"{module}.py" for module in modules), LAYERS):
                (code / file).write_bytes(_own_code(export / file, family))
        kept = {name: value for name, value in config.items() if name not in _CHOICES}
        kept.pop("auto_map", None)
        (private / "config.json").write_text(json.dumps(kept), encoding="utf-8")
        _link_weights(export, private)

    def load(self, named: str) -> Any:
        """A class of the code: "modeling_prunecore.PruneCoreLlamaForCausalLM"."""
        return self._package.load(named)

    def forget(self) -> None:
        """Takes the modules away."""
        self._package.forget()


@contextmanager
def own_code(export: Path) -> Iterator[OwnCode]:
    """A copy of an export that runs no code but PruneCore's own.

    Raises
    ------
    UnsupportedError
        It needs other code, or has transformers load something else; the text names it.
    FileError, FormatError
        A file is missing or damaged.
    """
    with tempfile.TemporaryDirectory(prefix="prunecore-verify-") as private:
        copy = OwnCode(export, Path(private))
        try:
            yield copy
        finally:
            copy.forget()


def _classes(config: Mapping[str, Any], source: Path) -> tuple[str, str] | None:
    for name in _LOADERS:
        if config.get(name) is not None:
            raise _refused(f"{source}: {name} has transformers load what PruneCore did not write")
    if any(_names_code(value) for value in config.values()):
        raise _refused(f"{source} names code inside another entry (auto_map)")
    auto_map = config.get("auto_map")
    if auto_map is None:
        return None
    if not isinstance(auto_map, dict):
        raise FormatError(f"{source} is damaged: auto_map is not an object")
    for key, value in auto_map.items():
        module = value.rpartition(".")[0] if isinstance(value, str) else str(value)
        if f"{module}.py" not in KNOWN or not module.startswith(AUTO_CLASSES.get(key, "\0")):
            file = source.parent / f"{module}.py"
            raise _refused(f"{file} is code that PruneCore did not write (auto_map of config.json)")
    if auto_map.keys() != AUTO_CLASSES.keys():
        raise FormatError(f"{source} is damaged: auto_map lacks {' or '.join(AUTO_CLASSES)}")
    return auto_map["AutoConfig"], auto_map["AutoModelForCausalLM"]


def _names_code(value: Any) -> bool:
    """Whether an object inside the configuration has an auto_map of its own."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if found is not value and "auto_map" in found:
                return True
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
    return isinstance(value, dict) and "auto_map" in value


def _own_code(file: Path, family: str) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise FileError(f"{file} cannot be read: {error.strerror or error}") from error
    known = _as_of_llama(content, family) if file.name in _OF_FAMILY else content
    if hashlib.sha256(known).hexdigest() not in KNOWN[file.name]:
        raise _refused(f"{file} is code that PruneCore did not write")
    return content


def _as_of_llama(content: bytes, model: str) -> bytes:
    """A file with the classes of a family as it is for Llama: it differs in names alone."""
    family = _family(model)
    return content if family is None else renamed(content, family, LLAMA)


def _family(model: str) -> FamilyClasses | None:
    """The names of a family by the class of its model: the library's, else transformers' own."""
    row = next((row for row in architecture_table().values() if row["name"] == model), None)
    if row is not None:
        return FamilyClasses(model, row["config_class"], row["model_type"])
    found = getattr(importlib.import_module("transformers"), model, None)
    configuration = getattr(found, "config_class", None)
    if configuration is None:
        return None
    return FamilyClasses(model, configuration.__name__, configuration.model_type)


def _refused(sentence: str) -> UnsupportedError:
    return UnsupportedError(
        f"{sentence}: it is not run unless you trust it, with trust_remote_code=True or "
        "--trust-remote-code"
    )


def _link_weights(export: Path, private: Path) -> None:
    files = weight_files(export)
    for file in files:
        place = private / file.relative_to(export)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(file.resolve())
    if files == [export / "model.safetensors"]:
        return
    index = export / "model.safetensors.index.json"
    record = read_json_object(index)
    with damage_named(index):  # it is read a second time, and may have changed
        for name in record["weight_map"].values():
            inner_path(export, name, index)
    (private / index.name).write_text(json.dumps(record), encoding="utf-8")
