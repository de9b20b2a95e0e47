# SPDX-License-Identifier: Apache-2.0
"""Reads results from JSON files, with errors that name the file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from prunecore.errors import FileError, FormatError, UnsupportedError

Result = TypeVar("Result")


def read_json_file(path: str | os.PathLike[str], parse: Callable[[Any], Result]) -> Result:
    """What `parse` makes of the JSON in a file.

    Raises
    ------
    FileError
        The file is missing or unreadable.
    FormatError, UnsupportedError
        It is not JSON; or what `parse` says, with the file's name before it.
    """
    try:
        return parse(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    except (FormatError, UnsupportedError) as error:
        raise type(error)(f"{path} holds {error}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not JSON: {error}") from error
