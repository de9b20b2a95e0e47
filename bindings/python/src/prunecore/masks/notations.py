# SPDX-License-Identifier: Apache-2.0
"""Masks as other tools write them.

notation           of                          what it is
prunecore          `Mask.save`                 JSON
evopress           EvoPress                    a line per block: none, attn, mlp, attn+mlp removed
blockpruner        BlockPruner                 JSON: {"2": [["mha", 3], ["mlp", 7]]}
llm_drop           LLM-Drop's config.json      JSON: drop_attn_list, drop_mlp_list
mergekit           mergekit                    YAML: slices of one model, passthrough; whole blocks
prune_layers       llama-quantize              3,7,11; whole blocks
block_configs      DeciLM's config.json        JSON: block_configs with no_op
per_layer_config   transformers' config.json   JSON: per_layer_config with skip
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from prunecore.errors import ArgumentError, Error, FileError, FormatError, UnsupportedError
from prunecore.masks import mergekit

Keep: TypeAlias = npt.NDArray[np.uint8]


class HasBlocks(Protocol):
    """A mask, as far as readers know it."""

    @property
    def n_blocks(self) -> int: ...


Made = TypeVar("Made", bound=HasBlocks)

_LINES = {"none": (1, 1), "attn": (0, 1), "mlp": (1, 0), "attn+mlp": (0, 0)}
_KINDS = {"mha": 0, "mlp": 1}
_SKIPS = {"attention": 0, "mlp": 1}


def read_mask(
    source: str | os.PathLike[str],
    notation: str | None,
    n_blocks: int | None,
    *,
    native: Callable[[str], Made],
    made: Callable[[Keep], Made],
) -> Made:
    """Reads a mask that any of these tools wrote: `Mask.read`.

    Parameters
    ----------
    source : path or str
        A file; or the text itself, if no file has that name.
    notation : str, optional
        One of `NOTATIONS`. Default: what the text looks like.
    n_blocks : int, optional
        Of the model. Needed where the text does not say it: blockpruner, prune_layers, mergekit,
        lists of numbers of llm_drop, and per_layer_config without num_hidden_layers.
    native, made : callable
        What reads PruneCore's own notation, and what makes a mask of 0 and 1.

    Raises
    ------
    ArgumentError
        There is no such notation, n_blocks is missing or is not that of the text, or a block is
        beyond the last one.
    FormatError
        The text is not in that notation.
    UnsupportedError
        It says what no mask can: layers that are repeated or replaced.
    FileError
        The file cannot be read.
    """
    text, name = _text(source)
    if n_blocks is not None and n_blocks < 1:
        raise ArgumentError(f"n_blocks is {n_blocks}, but must be at least 1")
    chosen = _known(notation) if notation is not None else guess(text)
    try:
        mask = native(text) if chosen == "prunecore" else made(_READERS[chosen](text, n_blocks))
    except Error as error:
        raise type(error)(f"{name}, read as {chosen}: {error}") from error
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError(f"{name} is not in the notation {chosen}: {error!r}") from error
    if n_blocks is not None and mask.n_blocks != n_blocks:
        raise ArgumentError(f"{name} is for {mask.n_blocks} blocks, but n_blocks says {n_blocks}")
    return mask


def write_mask(keep: Keep, notation: str, *, native: str, model: str | None) -> str:
    """The text of a mask for another tool: `Mask.write`.

    Parameters
    ----------
    keep : array of 0 and 1
        Of each sublayer whether it stays.
    notation : str
        One of `NOTATIONS`.
    native : str
        The text of PruneCore's own notation.
    model : str, optional
        What mergekit calls the model: its directory or repository. Only for mergekit.

    Raises
    ------
    ArgumentError
        There is no such notation, or mergekit is given no model.
    UnsupportedError
        The notation can say whole blocks alone, and the mask removes a part of one.
    """
    if _known(notation) == "prunecore":
        return native
    return _WRITERS[notation](keep, model)


def guess(text: str) -> str:
    """The notation that a text looks like. Raises `FormatError` if it looks like none."""
    lines = text.split()
    if lines and all(line in _LINES for line in lines):
        return "evopress"
    if lines and all(part.strip().isdigit() for part in text.strip().split(",")):
        return "prune_layers"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        if "slices:" in text:
            return "mergekit"
        raise FormatError(f"the text looks like none of: {', '.join(NOTATIONS)}") from None
    if isinstance(found, list):
        return "block_configs"
    if isinstance(found, dict):
        keys = {
            "format": "prunecore",
            "block_configs": "block_configs",
            "drop_attn_list": "llm_drop",
            "drop_mlp_list": "llm_drop",
            "per_layer_config": "per_layer_config",
            "slices": "mergekit",
        }
        named = [notation for key, notation in keys.items() if key in found]
        if named:
            return named[0]
        if found and all(isinstance(value, list) for value in found.values()):
            return "blockpruner"
    raise FormatError(f"the JSON looks like none of: {', '.join(NOTATIONS)}")


def _known(notation: str) -> str:
    if notation not in NOTATIONS:
        raise ArgumentError(f"unknown notation '{notation}': {', '.join(NOTATIONS)}")
    return notation


def _text(source: str | os.PathLike[str]) -> tuple[str, str]:
    """The text of a source, and what to call it in errors."""
    if isinstance(source, str):
        is_text = "\n" in source or source.lstrip()[:1] in ("{", "[", "")
        if is_text or not Path(source).is_file():
            return source, "the text"
    try:
        return Path(source).read_text(encoding="utf-8"), str(source)
    except OSError as error:
        raise FileError(f"{source} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{source} is not UTF-8 text") from error


def _needed(n_blocks: int | None) -> int:
    if n_blocks is None:
        raise ArgumentError("it does not say how many blocks the model has: give n_blocks")
    return n_blocks


def _without(removed: Iterable[tuple[int, int]], n_blocks: int) -> Keep:
    """The keep mask that lacks these: (block, 0 = attention or 1 = feed-forward)."""
    keep = np.ones((n_blocks, 2), dtype=np.uint8)
    for block, part in removed:
        if isinstance(block, bool) or not isinstance(block, int) or not 0 <= block < n_blocks:
            raise ArgumentError(
                f"there is no block {block!r}: they are numbered 0 to {n_blocks - 1}"
            )
        keep[block, part] = 0
    return keep.reshape(-1)


def _parts(keep: Keep) -> list[tuple[int, int]]:
    """(attention kept, feed-forward kept) of each block."""
    return [(int(a), int(f)) for a, f in keep.reshape(-1, 2)]


def removed_blocks(keep: Keep, notation: str) -> list[int]:
    """Numbers of the blocks that are removed, for notations that know no sublayers."""
    partly = [number for number, (a, f) in enumerate(_parts(keep)) if a != f]
    if partly:
        raise UnsupportedError(
            f"{notation} can say whole blocks alone, but the mask removes a part of: "
            f"{', '.join(f'block.{number}' for number in partly)}"
        )
    return [number for number, (a, _) in enumerate(_parts(keep)) if not a]


def _read_evopress(text: str, _n_blocks: int | None) -> Keep:
    keep: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip() in _LINES:
            keep += _LINES[line.strip()]
        elif line.strip():
            raise FormatError(f"line {number} is '{line.strip()}', not one of {', '.join(_LINES)}")
    if not keep:
        raise FormatError("there is no line")
    return np.array(keep, dtype=np.uint8)


def _write_evopress(keep: Keep, _model: str | None) -> str:
    names = {parts: name for name, parts in _LINES.items()}
    return "".join(f"{names[parts]}\n" for parts in _parts(keep))


def _read_blockpruner(text: str, n_blocks: int | None) -> Keep:
    """Of the file's lists, the longest: each holds those before it."""
    found = {int(key): value for key, value in json.loads(text).items()}
    if not found:
        raise FormatError("there is no list")
    return _without(((block, _KINDS[kind]) for kind, block in found[max(found)]), _needed(n_blocks))


def _write_blockpruner(keep: Keep, _model: str | None) -> str:
    kinds = {part: kind for kind, part in _KINDS.items()}
    removed = [
        [kinds[part], block]
        for block, parts in enumerate(_parts(keep))
        for part, keeps in enumerate(parts)
        if not keeps
    ]
    return json.dumps({str(len(removed)): removed}) + "\n"


def _read_llm_drop(text: str, n_blocks: int | None) -> Keep:
    found = json.loads(text)
    lists = [found.get("drop_attn_list") or [], found.get("drop_mlp_list") or []]
    flags = [values for values in lists if values and all(isinstance(v, bool) for v in values)]
    count = found.get("num_hidden_layers") or (len(flags[0]) if flags else None)
    blocks = int(count) if count is not None else _needed(n_blocks)
    removed: list[tuple[int, int]] = []
    for part, values in enumerate(lists):
        if values in flags and len(values) != blocks:
            raise FormatError(f"a list has {len(values)} entries, but there are {blocks} blocks")
        chosen = np.flatnonzero(values).tolist() if values in flags else values
        removed += [(block, part) for block in chosen]
    return _without(removed, blocks)


def _write_llm_drop(keep: Keep, _model: str | None) -> str:
    lists = [np.flatnonzero(keep[part::2] == 0).tolist() for part in (0, 1)]
    record = {"drop_attn_list": lists[0], "drop_mlp_list": lists[1]}
    return json.dumps({**record, "num_hidden_layers": len(keep) // 2}) + "\n"


def _read_prune_layers(text: str, n_blocks: int | None) -> Keep:
    numbers = [int(part) for part in text.strip().split(",")] if text.strip() else []
    return _without(((number, part) for number in numbers for part in (0, 1)), _needed(n_blocks))


def _write_prune_layers(keep: Keep, _model: str | None) -> str:
    return ",".join(str(number) for number in removed_blocks(keep, "prune_layers")) + "\n"


def _read_block_configs(text: str, _n_blocks: int | None) -> Keep:
    found = json.loads(text)
    blocks = found if isinstance(found, list) else found["block_configs"]
    keep: list[int] = []
    for number, block in enumerate(blocks):
        for part in ("attention", "ffn"):
            settings: Mapping[str, Any] = block[part]
            if settings.get("replace_with_linear"):
                raise UnsupportedError(f"{part} of block {number} is replaced by a linear layer")
            keep.append(0 if settings.get("no_op") else 1)
    return np.array(keep, dtype=np.uint8)


def _write_block_configs(keep: Keep, _model: str | None) -> str:
    """Of a block, no more than what a mask knows: `format="deci"` writes whole configurations."""
    blocks = [
        {
            "attention": {"no_op": not attention, "replace_with_linear": False},
            "ffn": {"no_op": not feed_forward, "replace_with_linear": False},
        }
        for attention, feed_forward in _parts(keep)
    ]
    return json.dumps({"num_hidden_layers": len(keep) // 2, "block_configs": blocks}) + "\n"


def _read_per_layer_config(text: str, n_blocks: int | None) -> Keep:
    found = json.loads(text)
    count = found.get("num_hidden_layers")
    removed = [
        (int(number), _SKIPS[name])
        for number, settings in found["per_layer_config"].items()
        for name in settings.get("skip") or ()
    ]
    return _without(removed, int(count) if count is not None else _needed(n_blocks))


def _write_per_layer_config(keep: Keep, _model: str | None) -> str:
    """Sparse, with keys of equal length, as transformers writes it."""
    digits = len(str(len(keep) // 2 - 1))
    layers = {
        f"{number:0{digits}d}": {"skip": [name for name, part in _SKIPS.items() if not parts[part]]}
        for number, parts in enumerate(_parts(keep))
        if not all(parts)
    }
    return json.dumps({"num_hidden_layers": len(keep) // 2, "per_layer_config": layers}) + "\n"


def _read_mergekit(text: str, n_blocks: int | None) -> Keep:
    kept = mergekit.read_slices(text)
    count = _needed(n_blocks)
    if kept[-1] >= count:
        raise ArgumentError(f"it keeps layer {kept[-1]}, but the model has {count} blocks")
    gone = sorted(set(range(count)) - set(kept))
    return _without(((number, part) for number in gone for part in (0, 1)), count)


def _write_mergekit(keep: Keep, model: str | None) -> str:
    if not model:
        raise ArgumentError("mergekit needs to know the model: give its directory or repository")
    gone = set(removed_blocks(keep, "mergekit"))
    kept: Sequence[int] = [number for number in range(len(keep) // 2) if number not in gone]
    return mergekit.write_slices(kept, model)


_READERS: dict[str, Callable[[str, int | None], Keep]] = {
    "evopress": _read_evopress,
    "blockpruner": _read_blockpruner,
    "llm_drop": _read_llm_drop,
    "mergekit": _read_mergekit,
    "prune_layers": _read_prune_layers,
    "block_configs": _read_block_configs,
    "per_layer_config": _read_per_layer_config,
}
_WRITERS: dict[str, Callable[[Keep, str | None], str]] = {
    "evopress": _write_evopress,
    "blockpruner": _write_blockpruner,
    "llm_drop": _write_llm_drop,
    "mergekit": _write_mergekit,
    "prune_layers": _write_prune_layers,
    "block_configs": _write_block_configs,
    "per_layer_config": _write_per_layer_config,
}
NOTATIONS = ("prunecore", *_READERS)
