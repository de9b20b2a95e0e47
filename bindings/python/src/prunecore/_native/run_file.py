# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: a long run on disk, so that one that was killed resumes where it stood."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from prunecore._native.paths import as_path
from prunecore._native.whole_file import check_place, whole_file
from prunecore.errors import ArgumentError, Error, FileError, FormatError, UnsupportedError

FORMAT = "prunecore.checkpoint"
LONGEST_HEADER = 1 << 20

Run = TypeVar("Run")


class RunFile:
    """A file that holds a saved game, or a saved search, and what it is about.

    It is one line of JSON, {"format", "version", "run", "bytes"}, and after it the game's bytes,
    which carry a checksum of their own. A write replaces the whole file at once: whenever the
    process dies, the file is that of the last write or of the one before.

    Parameters
    ----------
    path : path
        The file; it need not be there yet, nor need its folder.
    run : mapping
        What the numbers of the game depend on, as JSON values: model, data, options.

    Attributes
    ----------
    notes : dict
        JSON values that are kept beside the game and that a run need not agree with, such as
        measured times. `load` reads them.
    """

    def __init__(self, path: str | os.PathLike[str], run: Mapping[str, Any]) -> None:
        self.path = as_path(path)
        self._run: dict[str, Any] = json.loads(json.dumps(dict(run)))
        self.notes: dict[str, Any] = {}

    def load(self) -> bytes | None:
        """The saved game; None if there is no file. Checks as well that it can be written anew.

        Raises
        ------
        ArgumentError
            The file belongs to another run; the text says what differs.
        FormatError, UnsupportedError
            It is damaged, no checkpoint, or of another version.
        FileError
            It cannot be read, or not be written.
        """
        check_place(self.path)
        try:
            with self.path.open("rb") as file:
                header = file.readline(LONGEST_HEADER).removesuffix(b"\n")
                game = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(error) from error
        record = self._header(header)
        if record["bytes"] != len(game):
            raise FormatError(
                f"the checkpoint {self.path} is damaged: it holds {len(game)} of "
                f"{record['bytes']} bytes"
            )
        self._compare(record["run"])
        self.notes = record.get("notes", {})
        return game

    def resume(self, load: Callable[[bytes], Run]) -> Run | None:
        """The saved game, as `load` makes it from its bytes; None if there is no file.

        Raises what `load` says, with the file's name before it, and what the method `load` raises.
        """
        saved = self.load()
        if saved is None:
            return None
        try:
            return load(saved)
        except Error as error:
            raise type(error)(f"the checkpoint {self.path} cannot be read: {error}") from error

    def _header(self, line: bytes) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{self.path} is not a checkpoint, or is damaged") from error
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise FormatError(f"{self.path} is not a checkpoint, or is damaged")
        if record.get("version") != 1:
            raise UnsupportedError(
                f"the checkpoint {self.path} is of version {record.get('version')}, but this "
                "version reads only 1"
            )
        kinds = {"run": dict, "bytes": int, "notes": dict}
        found = {"notes": {}, **record}
        if not all(isinstance(found.get(name), kind) for name, kind in kinds.items()):
            raise FormatError(f"the checkpoint {self.path} is damaged")
        return record

    def _compare(self, found: dict[str, Any]) -> None:
        differing = [
            f"{name} is {_shown(found.get(name))} there and {_shown(self._run.get(name))} here"
            for name in sorted(found.keys() | self._run.keys())
            if found.get(name) != self._run.get(name)
        ]
        if differing:
            raise ArgumentError(
                f"the checkpoint {self.path} belongs to another run: {'; '.join(differing)}. "
                "Name another file, or delete this one to begin anew"
            )

    def save(self, game: bytes) -> None:
        """Writes the game, in place of what the file held.

        Raises
        ------
        FileError
            It cannot be written; the file is as it was.
        """
        self.save_parts(len(game), [game])

    def save_parts(self, size: int, parts: Iterable[bytes | memoryview]) -> None:
        """Writes as `save` does what is too large to be in memory twice: parts of `size` bytes."""
        header = {"format": FORMAT, "version": 1, "run": self._run, "bytes": size}
        if self.notes:
            header["notes"] = self.notes
        with whole_file(self.path) as file:
            file.write(json.dumps(header).encode() + b"\n")
            for part in parts:
                file.write(part)

    def _unreadable(self, error: OSError) -> FileError:
        return FileError(f"the checkpoint {self.path} cannot be read: {error.strerror or error}")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 24 else f"{text[:20]}..."
