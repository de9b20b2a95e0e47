# SPDX-License-Identifier: Apache-2.0
"""Edits of the weights that stay, which go with a mask: JSON values, as the library reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from prunecore._native.given import as_json, listed
from prunecore._native.library import ffi

Edits: TypeAlias = tuple[dict[str, Any], ...]


def edits_text(edits: Iterable[Mapping[str, Any]]) -> str:
    """Edits as the text of a JSON array. The library says whether they are any.

    Raises
    ------
    ArgumentError
        It is no list of mappings, or JSON lacks something in it.
    """
    return "[" + ", ".join(as_json("an edit", edit) for edit in listed("edits", edits)) + "]"


def read_edits(room: Any) -> Edits:
    """The edits that the library wrote to a buffer of C."""
    return tuple(json.loads(ffi.string(room).decode()))
