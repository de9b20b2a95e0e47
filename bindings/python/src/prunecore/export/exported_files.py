# SPDX-License-Identifier: Apache-2.0
"""What exported directories say of themselves, and whether their files are as written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prunecore._native.inner_path import inner_path
from prunecore._native.json_files import damage_named, read_json_object, whole_number
from prunecore._native.paths import shown
from prunecore.errors import ArgumentError, FormatError, UnsupportedError
from prunecore.masks.mask import Mask
from prunecore.tensors.own import Overlaid
from prunecore.tensors.stored import StoredTensor, StoredTensors

DOCUMENT = "prunecore.json"


@dataclass(frozen=True)
class ExportedDirectory:
    """prunecore.json of a directory.

    Attributes
    ----------
    path : Path
        The directory.
    kind : {"hf_plain", "hf_custom", "deci", "mlx", "zeroed"}
        What it is.
    mask : Mask
        What was removed.
    record : mapping
        All of prunecore.json.
    """

    path: Path
    kind: str
    mask: Mask
    record: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> ExportedDirectory:
        """Reads prunecore.json.

        Raises
        ------
        FileError, FormatError
            The directory or the file is missing, or is none of an export.
        """
        file = path / DOCUMENT
        record = read_json_object(file)
        with damage_named(file):
            if record["format"] != "prunecore.export":
                raise FormatError(f"{file} is of another format: {shown(record['format'])}")
            try:
                mask = Mask.remove(record["removed"], whole_number(record, "n_blocks", 1))
                mask = mask.with_edits(record.get("edits") or ())
            except (ArgumentError, UnsupportedError) as error:
                raise FormatError(f"{file} is damaged: {error}") from error
            return cls(path, str(record["kind"]), mask, record)

    def damage(self) -> Iterator[str]:
        """What differs from what was written, in sentences: files that are missing or changed."""
        document = self.path / DOCUMENT
        with damage_named(document):
            for entry in self.record.get("files") or ():
                file = inner_path(self.path, entry["name"], document)
                if not file.is_file():
                    yield f"{entry['name']} is missing"
                elif file_sha256(file) != entry["sha256"]:
                    yield f"{entry['name']} is not as it was written"


def deci_faults(
    directory: Path, mask: Mask, source: Overlaid[StoredTensor] | None
) -> Iterator[str]:
    """What is wrong with a nemotron-nas directory, field by field, in sentences.

    Its runtimes read `block_configs` and expect exactly the tensors of what is left.

    Parameters
    ----------
    directory : Path
        The export.
    mask : Mask
        What was removed.
    source : Overlaid or None
        The tensors of the model that was exported; None = they are not stored anywhere else.
    """
    file = directory / "config.json"
    config = read_json_object(file)
    with damage_named(file):
        yield from _config_faults(config, mask)
    if source is not None:
        yield from _tensor_faults(StoredTensors(directory), mask, source)


def _config_faults(config: Mapping[str, Any], mask: Mask) -> Iterator[str]:
    expected = {"model_type": "nemotron-nas", "architectures": ["DeciLMForCausalLM"]}
    for key, value in expected.items():
        if config.get(key) != value:
            yield f"config.json: {key} is {config.get(key)!r}, not {value!r}"
    blocks = config.get("block_configs") or []
    if not len(blocks) == config.get("num_hidden_layers") == mask.n_blocks:
        yield f"config.json: there are {len(blocks)} block_configs, not {mask.n_blocks}"
        return
    for index, block in enumerate(blocks):
        yield from _block_faults(index, block, config, mask)


def _block_faults(
    index: int, block: Mapping[str, Any], config: Mapping[str, Any], mask: Mask
) -> Iterator[str]:
    group = config["num_attention_heads"] // config["num_key_value_heads"]
    wanted = {
        "attention": {"n_heads_in_group": group},
        "ffn": {"width": int(config["intermediate_size"])},
    }
    for part, (name, fields) in enumerate(wanted.items()):
        found: Mapping[str, Any] = block[name]
        removed = not mask.keep[2 * index + part]
        where = f"config.json: {name} of block {index}"
        if found.get("no_op") is not removed:
            yield f"{where}: no_op is {found.get('no_op')}, not {removed}"
        if found.get("replace_with_linear"):
            yield f"{where}: replace_with_linear is set, which runtimes do not read"
        for field, value in fields.items():
            given = _width(found, config) if field == "width" else found.get(field)
            if given != (None if removed else value):
                yield f"{where}: {field} is {given}, not {None if removed else value}"


def _width(block: Mapping[str, Any], config: Mapping[str, Any]) -> int | None:
    """The width of a feed-forward layer as vLLM reads it."""
    multiple = block.get("ffn_mult")
    if multiple is None:
        width = block.get("intermediate_size")
        return None if width is None else int(width)
    least = int(2 * multiple * config["hidden_size"] / 3)
    return -(-least // 256) * 256


def _tensor_faults(
    found: StoredTensors, mask: Mask, source: Overlaid[StoredTensor]
) -> Iterator[str]:
    names = {name for name in source.names if _is_kept(name, mask)}
    for name in sorted(names ^ set(found.names)):
        yield f"tensor {name} is {'missing' if name in names else 'there, but was removed'}"
    for name in sorted(names & set(found.names)):
        if not found[name].equals(source[name]):
            yield f"tensor {name} has other values"


def _is_kept(name: str, mask: Mask) -> bool:
    parts = name.split(".")
    if parts[:2] != ["model", "layers"]:
        return True
    if parts[3] not in ("self_attn", "input_layernorm", "mlp", "post_attention_layernorm"):
        return False
    is_feed_forward = parts[3] in ("mlp", "post_attention_layernorm")
    return bool(mask.keep[2 * int(parts[2]) + is_feed_forward])


def file_sha256(file: Path) -> str:
    """The checksum of a file, as prunecore.json has it."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while part := content.read(1 << 24):
            digest.update(part)
    return digest.hexdigest()
