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
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from prunecore._native.json_files import DAMAGE, reason, whole_number
from prunecore._native.numbers import checked_count
from prunecore._native.paths import as_path, shown
from prunecore._native.reading import given_text, parse_json, read_text
from prunecore.errors import ArgumentError, Error, FormatError, UnsupportedError
from prunecore.masks import mergekit

MOST_BLOCKS = 4096
"""Blocks of the largest model that the library takes."""

Keep: TypeAlias = npt.NDArray[np.uint8]


class HasBlocks(Protocol):
    """A mask, as far as readers know it."""

    @property
    def n_blocks(self) -> int: ...


Made = TypeVar("Made", bound=HasBlocks)

_LINES = {"none": (1, 1), "attn": (0, 1), "mlp": (1, 0), "attn+mlp": (0, 0)}
_KINDS = {"mha": 0, "mlp": 1}
_SKIPS = {"attention": 0, "mlp": 1}
_PATH = re.compile(r"/|\.[A-Za-z]{2,5}$")
"""What a name of a file has, and no mask in one line."""
_BLOCK_PARTS = ("attention", "ffn")
_KEYS = {
    "block_configs": "block_configs",
    "drop_attn_list": "llm_drop",
    "drop_mlp_list": "llm_drop",
    "per_layer_config": "per_layer_config",
    "slices": "mergekit",
}
"""What a configuration calls its mask in each notation."""


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
    if n_blocks is not None:
        n_blocks = checked_count("n_blocks", n_blocks, 1, MOST_BLOCKS)
    chosen = _known(notation) if notation is not None else guess(text)
    try:
        mask = native(text) if chosen == "prunecore" else made(_READERS[chosen](text, n_blocks))
    except Error as error:
        raise type(error)(f"{name}, read as {chosen}: {error}") from error
    except DAMAGE as error:
        raise FormatError(f"{name} is not in the notation {chosen}: {reason(error)}") from error
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
    if model is not None:
        given_text("model", model)
    return _WRITERS[notation](keep, model)


def guess(text: str) -> str:
    """The notation that a text looks like. Raises `FormatError` if it looks like none."""
    lines = text.split()
    if lines and all(line in _LINES for line in lines):
        return "evopress"
    if lines and all(part.strip().isdecimal() for part in text.strip().split(",")):
        return "prune_layers"
    try:
        found = parse_json(text)
    except FormatError:
        if "slices:" in text:
            return "mergekit"
        raise FormatError(f"the text looks like none of: {', '.join(NOTATIONS)}") from None
    if isinstance(found, list):
        return "block_configs"
    if isinstance(found, dict):
        keys = {"format": "prunecore", **_KEYS}
        named = [notation for key, notation in keys.items() if key in found]
        if named:
            return named[0]
        if found and all(isinstance(value, list) for value in found.values()):
            return "blockpruner"
    raise FormatError(f"the JSON looks like none of: {', '.join(NOTATIONS)}")


def _known(notation: str) -> str:
    if not isinstance(notation, str) or notation not in NOTATIONS:
        raise ArgumentError(f"unknown notation {shown(notation)}: {', '.join(NOTATIONS)}")
    return notation


def _text(source: str | os.PathLike[str]) -> tuple[str, str]:
    """The text of a source, and what to call it in errors."""
    if isinstance(source, str):
        text = given_text("the mask", source).removeprefix("\ufeff")
        is_text = "\n" in text or text.lstrip()[:1] in ("{", "[", "") or "\0" in text
        is_path = _PATH.search(text) or os.path.isfile(os.path.expanduser(text[:4096]))
        if is_text or not is_path:
            return text, "the text"
    file = as_path(source, "the mask")
    return read_text(file), str(file)


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
                f"there is no block {shown(block)}: they are numbered 0 to {n_blocks - 1}"
            )
        if not keep[block, part]:
            raise FormatError(f"a part of block {block} is named twice")
        keep[block, part] = 0
    return keep.reshape(-1)


def _object(text: str) -> dict[str, Any]:
    found = parse_json(text, unique=True)
    if not isinstance(found, dict):
        raise FormatError("it is no JSON object")
    return found


def _config(text: str, notation: str) -> dict[str, Any]:
    """A configuration that says a mask in one notation, and in no other beside it."""
    found = _object(text)
    others = [key for key, owner in _KEYS.items() if owner != notation and found.get(key)]
    if others:
        raise UnsupportedError(f"it says {others[0]}, too: give a file that says one mask alone")
    return found


def _stated(config: Mapping[str, Any]) -> int | None:
    """The number of blocks that a configuration states."""
    if config.get("num_hidden_layers") is None:
        return None
    return whole_number(config, "num_hidden_layers", 1, MOST_BLOCKS)


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise FormatError(f"{shown(text)} is no number of a layer or list")
    return int(text)


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
    for number, line in enumerate(text.strip().split("\n"), start=1):
        if line.strip() not in _LINES:
            if not text.strip():
                raise FormatError("there is no line")
            raise FormatError(
                f"line {number} is {shown(line.strip())}, not one of {', '.join(_LINES)}"
            )
        keep += _LINES[line.strip()]
    return np.array(keep, dtype=np.uint8)


def _write_evopress(keep: Keep, _model: str | None) -> str:
    names = {parts: name for name, parts in _LINES.items()}
    return "".join(f"{names[parts]}\n" for parts in _parts(keep))


def _read_blockpruner(text: str, n_blocks: int | None) -> Keep:
    """Of the file's lists, the longest: each holds those before it."""
    found = {_number(key): value for key, value in _object(text).items()}
    if not found:
        raise FormatError("there is no list")
    longest = found[max(found)]
    for key, value in found.items():
        if not all(isinstance(entry, list) and len(entry) == 2 for entry in value):
            raise FormatError(f'list {key} is not one of pairs, such as ["mha", 3]')
        if not all(entry in longest for entry in value):
            raise UnsupportedError(f"list {key} removes what list {max(found)} keeps")
    for kind, _ in longest:
        if kind not in _KINDS:
            raise FormatError(f"a part is called {shown(kind)}, not one of {', '.join(_KINDS)}")
    return _without(((block, _KINDS[kind]) for kind, block in longest), _needed(n_blocks))


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
    found = _config(text, "llm_drop")
    lists = [found.get("drop_attn_list") or [], found.get("drop_mlp_list") or []]
    if not all(isinstance(values, list) for values in lists):
        raise FormatError("drop_attn_list or drop_mlp_list is no list")
    flags = [values for values in lists if values and all(isinstance(v, bool) for v in values)]
    count = _stated(found)
    blocks = count or (len(flags[0]) if flags else _needed(n_blocks))
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
    if len(set(numbers)) < len(numbers):
        raise FormatError("a layer is named twice")
    return _without(((number, part) for number in numbers for part in (0, 1)), _needed(n_blocks))


def _write_prune_layers(keep: Keep, _model: str | None) -> str:
    return ",".join(str(number) for number in removed_blocks(keep, "prune_layers")) + "\n"


def _read_block_configs(text: str, _n_blocks: int | None) -> Keep:
    value = parse_json(text, unique=True)
    found = {"block_configs": value} if isinstance(value, list) else _config(text, "block_configs")
    blocks = found["block_configs"]
    if not isinstance(blocks, list) or not blocks:
        raise FormatError("block_configs is no list of blocks")
    count = _stated(found)
    if count is not None and count != len(blocks):
        raise FormatError(f"num_hidden_layers is {count}, but block_configs has {len(blocks)}")
    keep: list[int] = []
    first: dict[str, Mapping[str, Any]] = {}
    for number, block in enumerate(blocks):
        extra = [key for key in block if key not in _BLOCK_PARTS and block[key] is not None]
        if extra:
            raise UnsupportedError(f"block {number} says {shown(extra[0])}, which no mask says")
        for part in _BLOCK_PARTS:
            if not isinstance(block.get(part), dict):
                raise FormatError(f"block {number} does not say its {part}")
            keep.append(_kept_part(block[part], f"{part} of block {number}", first, part))
    return np.array(keep, dtype=np.uint8)


def _kept_part(
    settings: Mapping[str, Any], where: str, first: dict[str, Mapping[str, Any]], part: str
) -> int:
    """1 if a part of a block stays, 0 if not; what is kept must be alike in all blocks."""
    if settings.get("replace_with_linear"):
        raise UnsupportedError(f"{where} is replaced by a linear layer")
    gone = settings.get("no_op", False)
    if not isinstance(gone, bool):
        raise FormatError(f"no_op of the {where} is {shown(gone)}, but must be true or false")
    if gone:
        return 0
    if settings.get("sparsify") is not None:
        raise UnsupportedError(f"{where} is sparsified, which no mask says")
    known = first.setdefault(part, settings)
    for key in sorted(known.keys() | settings.keys()):
        if key not in ("no_op", "replace_with_linear") and known.get(key) != settings.get(key):
            raise UnsupportedError(
                f"{key} of the {where} is {shown(settings.get(key))}, and "
                f"{shown(known.get(key))} in blocks before it: a mask keeps blocks as they are"
            )
    return 1


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
    found = _config(text, "per_layer_config")
    layers = found["per_layer_config"]
    if not isinstance(layers, dict):
        raise FormatError("per_layer_config is no object")
    removed: list[tuple[int, int]] = []
    for name, settings in layers.items():
        number = _number(name)
        skipped = settings.get("skip") or []
        if not isinstance(skipped, list) or any(part not in _SKIPS for part in skipped):
            raise FormatError(f"skip of layer {number} is not a list of {', '.join(_SKIPS)}")
        others = [key for key in settings if key != "skip"]
        # What a layer that is skipped whole would be does not matter.
        if others and len(set(skipped)) < len(_SKIPS):
            raise UnsupportedError(f"layer {number} has its own {others[0]}, which no mask says")
        removed += [(number, _SKIPS[part]) for part in skipped]
    return _without(removed, _stated(found) or _needed(n_blocks))


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
    count = _needed(n_blocks)
    kept = mergekit.read_slices(text, count)
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
