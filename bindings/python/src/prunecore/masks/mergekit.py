# SPDX-License-Identifier: Apache-2.0
"""Slices of mergekit: which layers of one model a passthrough merge keeps."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prunecore._native.paths import shown
from prunecore.errors import ArgumentError, FormatError, LoadError, UnsupportedError


def write_slices(kept: Sequence[int], model: str) -> str:
    """The YAML of a merge that keeps these layers, which ascend.

    Raises
    ------
    UnsupportedError
        Nothing is kept.
    """
    if not kept:
        raise UnsupportedError("mergekit needs one layer, and the mask removes all blocks")
    ranges: list[list[int]] = []
    for number in kept:
        if ranges and ranges[-1][1] == number:
            ranges[-1][1] = number + 1
        else:
            ranges.append([number, number + 1])
    lines = ["slices:"]
    for begin, end in ranges:
        lines += [
            "  - sources:",
            # Quoted as JSON, which YAML reads, too.
            f"      - model: {json.dumps(model, ensure_ascii=False)}",
            f"        layer_range: [{begin}, {end}]",
        ]
    lines += ["merge_method: passthrough", "dtype: bfloat16", ""]
    return "\n".join(lines)


_LONGEST, _DEEPEST = 100_000, 32
_HARMLESS = ("slices", "merge_method", "dtype", "out_dtype", "chat_template", "name")


def read_slices(text: str, n_blocks: int) -> list[int]:
    """The layers that a merge keeps, ascending; `layer_range` is half-open.

    Raises
    ------
    ArgumentError
        It keeps a layer that the model has not.
    FormatError
        It is not a merge of slices.
    UnsupportedError
        It merges several models, scales or changes them, or repeats layers or changes their order.
    LoadError
        PyYAML is not installed.
    """
    merge = _load(text)
    method = merge.get("merge_method", "passthrough")
    if method != "passthrough":
        raise UnsupportedError(
            f"merge_method is {shown(method)}, but only passthrough keeps layers as are"
        )
    models: set[str] = set()
    if merge.get("base_model") is not None:
        models.add(_model(merge["base_model"]))
    if merge.get("tokenizer_source") not in (None, "base", "union"):
        raise UnsupportedError("tokenizer_source gives the model another tokenizer")
    _refuse_others(merge, (*_HARMLESS, "base_model", "tokenizer_source"), "the merge")
    kept: list[int] = []
    for number, piece in enumerate(merge["slices"]):
        where = f"slice {number}"
        if not isinstance(piece, dict) or not isinstance(piece.get("sources"), list):
            raise FormatError(f"{where} has no sources")
        _refuse_others(piece, ("sources",), where)
        if len(piece["sources"]) != 1:
            raise UnsupportedError(f"{where} has several sources, and a mask is of one model")
        source = piece["sources"][0]
        if not isinstance(source, dict) or "model" not in source:
            raise FormatError(f"{where} names no model")
        _refuse_others(source, ("model", "layer_range"), where)
        models.add(_model(source["model"]))
        kept += _range(source.get("layer_range"), n_blocks, where)
    if len(models) > 1:
        raise UnsupportedError(f"a mask is of one model, but these are merged: {sorted(models)}")
    if not kept:
        raise FormatError("no slice keeps a layer")
    if any(after <= before for before, after in itertools.pairwise(kept)):
        raise UnsupportedError("layers are repeated, or change their order, which no mask says")
    return kept


def _refuse_others(found: Mapping[Any, Any], known: Sequence[str], where: str) -> None:
    """Refuses what would change the model beyond what a mask says, such as scales."""
    for key, value in found.items():
        if key not in known and value not in (None, {}, []):
            raise UnsupportedError(f"{where} says {shown(key)}, which no mask says")


def _model(given: Any) -> str:
    """What a merge calls a model."""
    if isinstance(given, dict):
        if given.get("lora") is not None:
            raise UnsupportedError("a LoRA is merged into the model, which no mask says")
        return json.dumps(given, sort_keys=True, default=str)
    if not isinstance(given, str):
        raise FormatError(f"a model is called {shown(given)}, which is no name")
    if "+" in given:
        raise UnsupportedError(f"the model is {shown(given)}: what follows the + is a LoRA")
    return given


def _range(given: Any, n_blocks: int, where: str) -> range:
    if given is None:
        return range(n_blocks)  # as mergekit has it
    if not isinstance(given, list) or len(given) != 2:
        raise FormatError(f"layer_range of {where} is {shown(given)}, but must be [first, end]")
    if any(isinstance(number, bool) or not isinstance(number, int) for number in given):
        raise FormatError(f"layer_range of {where} is {shown(given)}, but must be whole numbers")
    begin, end = given
    if not 0 <= begin < end:
        raise UnsupportedError(f"layer_range of {where} is {shown(given)}: negative or reversed")
    if end > n_blocks:
        raise ArgumentError(f"it keeps layer {shown(end - 1)}, but the model has {n_blocks} blocks")
    return range(begin, end)


def _load(text: str) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise LoadError("slices of mergekit are read with PyYAML: pip install pyyaml") from error
    if len(text) > _LONGEST:
        raise FormatError(f"it is longer than {_LONGEST} characters: no merge of slices is")
    try:
        _check_depth(yaml.parse(text, yaml.SafeLoader))
        _refuse_repeated_keys(yaml.compose(text, yaml.SafeLoader))
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FormatError(f"it is not YAML: {error}") from error
    except RecursionError as error:
        raise FormatError("its YAML is nested too deep") from error
    except FormatError:
        raise
    except (ValueError, OverflowError, TypeError, AttributeError) as error:
        raise FormatError(f"its YAML holds no values: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("slices"), list):
        raise FormatError("it has no slices")
    return found


def _check_depth(events: Iterable[Any]) -> None:
    """Raises `FormatError` where YAML is nested deep, for which its reader takes quadratic time."""
    depth = 0
    for event in events:
        kind = type(event).__name__
        depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
        if depth > _DEEPEST:
            raise FormatError("its YAML is nested too deep")


def _refuse_repeated_keys(root: Any) -> None:
    """Raises `FormatError` where a mapping says a key twice, of which YAML would keep the last."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node.value, list):
            pairs = [entry for entry in node.value if isinstance(entry, tuple)]
            names = [str(key.value) for key, _ in pairs]
            if len(set(names)) < len(names):
                raise FormatError("a key is said twice in one mapping")
            waiting += [each for pair in pairs for each in pair]
            waiting += [entry for entry in node.value if not isinstance(entry, tuple)]
