# SPDX-License-Identifier: Apache-2.0
"""Slices of mergekit: which layers of one model a passthrough merge keeps."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from prunecore.errors import FormatError, LoadError, UnsupportedError


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


def read_slices(text: str) -> list[int]:
    """The layers that a merge keeps, ascending; `layer_range` is half-open.

    Raises
    ------
    FormatError
        It is not a merge of slices.
    UnsupportedError
        It merges several models, or repeats layers or changes their order.
    LoadError
        PyYAML is not installed.
    """
    merge = _load(text)
    method = merge.get("merge_method", "passthrough")
    if method != "passthrough":
        raise UnsupportedError(
            f"merge_method is {method}, but only passthrough keeps layers as are"
        )
    kept: list[int] = []
    models: set[str] = set()
    for piece in merge["slices"]:
        if len(piece["sources"]) != 1:
            raise UnsupportedError("a slice has several sources, and a mask is of one model")
        source = piece["sources"][0]
        models.add(str(source["model"]))
        begin, end = (int(number) for number in source["layer_range"])
        kept += range(begin, end)
    if len(models) > 1:
        raise UnsupportedError(f"a mask is of one model, but these are merged: {sorted(models)}")
    if not kept:
        raise FormatError("no slice keeps a layer")
    if any(after <= before for before, after in itertools.pairwise(kept)):
        raise UnsupportedError("layers are repeated, or change their order, which no mask says")
    return kept


def _load(text: str) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError as error:
        raise LoadError("slices of mergekit are read with PyYAML: pip install pyyaml") from error
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FormatError(f"it is not YAML: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("slices"), list):
        raise FormatError("it has no slices")
    return found
