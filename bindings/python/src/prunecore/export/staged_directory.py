# SPDX-License-Identifier: Apache-2.0
"""Exported directories that Python writes: whole or not at all, as the library's own are."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prunecore._native.json_files import read_json_object
from prunecore._native.whole_file import (
    LONGEST_NAME,
    check_export_place,
    lock_alone,
    make_parents,
    not_written,
)
from prunecore.errors import Error, FileError
from prunecore.export.exported_files import file_sha256

DOCUMENT = "prunecore.json"
_ENDING = ".partial"
_EXCHANGE, _NO_REPLACE = 2, 1  # RENAME_EXCHANGE, RENAME_NOREPLACE
_AT_FDCWD = -100


@contextmanager
def staged_directory(place: Path, *, replaces: bool) -> Iterator[Path]:
    """A folder to write to, which gets the name `place` once the disk has all of it.

    It lies beside `place` as NAME.XXXXXXXX.partial; what a killed process left so goes with the
    next export of that name. An export that is replaced changes names with it in one step.

    Raises
    ------
    FileError
        It cannot be written; or there is something at `place`, and it may not be replaced. What
        was there is there still; so it is after any other exception in the block.
    """
    check_export_place(place, replaces=replaces)
    make_parents(place)
    target = Path(os.path.realpath(place))
    if exists := os.path.lexists(target):
        _check_replaceable(target)
    _clean(target)
    try:
        beside, descriptor = _begin(target)
    except OSError as error:
        raise not_written(place, error) from error
    try:
        yield beside
        _sync(beside)
        _rename(beside, target, exchanging=exists)
        _sync_folder(target.parent)
    except Error:
        raise
    except OSError as error:
        raise not_written(place, error) from error
    finally:
        # Of an export that was replaced, it is the old one that has this name now.
        shutil.rmtree(beside, ignore_errors=True)
        os.close(descriptor)


def write_document(folder: Path, record: Mapping[str, Any]) -> None:
    """Writes prunecore.json: the record, with name, size and SHA-256 of every file there is."""
    files = [
        {
            "name": file.relative_to(folder).as_posix(),
            "bytes": file.stat().st_size,
            "sha256": file_sha256(file),
        }
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    ]
    text = json.dumps({**record, "files": files}, indent=1, allow_nan=False)
    (folder / DOCUMENT).write_text(text + "\n", encoding="utf-8")


def _begin(target: Path) -> tuple[Path, int]:
    """A new folder beside the target, locked, so that nobody takes it for left behind."""
    while True:
        beside = target.with_name(f"{_stem(target)}.{secrets.token_hex(4)}{_ENDING}")
        try:
            beside.mkdir()
            descriptor = os.open(beside, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileExistsError, FileNotFoundError):
            continue
        if lock_alone(descriptor) is not False and os.fstat(descriptor).st_nlink > 0:
            return beside, descriptor
        os.close(descriptor)


def _stem(target: Path) -> str:
    room = LONGEST_NAME - len(f".{'0' * 8}{_ENDING}")
    return os.fsdecode(os.fsencode(target.name)[:room])


def _clean(target: Path) -> None:
    left = re.compile(re.escape(_stem(target)) + r"\.[0-9a-f]{1,8}" + re.escape(_ENDING))
    with suppress(OSError):
        for entry in target.parent.iterdir():
            if left.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink():
                with suppress(OSError):
                    descriptor = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                    try:
                        if lock_alone(descriptor):
                            shutil.rmtree(entry, ignore_errors=True)
                    finally:
                        os.close(descriptor)


def _check_replaceable(directory: Path) -> None:
    """Raises `FileError` unless an export wrote the directory, and nobody added to it."""
    try:
        record = read_json_object(directory / DOCUMENT)
        if record.get("format") != "prunecore.export":
            raise FileError(f"{directory / DOCUMENT} is of another format")
        own = {Path(entry["name"]).parts[0] for entry in record["files"]} | {DOCUMENT}
    except (Error, KeyError, TypeError, IndexError) as error:
        raise FileError(
            f"{directory} is nothing that PruneCore exported, so it is not replaced: name another "
            "place"
        ) from error
    if strangers := sorted(set(os.listdir(directory)) - own):
        raise FileError(
            f"{directory}: {strangers[0]} was not there when PruneCore exported it: move it away, "
            "or name another place"
        )


def _rename(beside: Path, target: Path, *, exchanging: bool) -> None:
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    paths = os.fsencode(beside), os.fsencode(target)
    flags = _EXCHANGE if exchanging else _NO_REPLACE
    if rename is not None:
        if rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], ctypes.c_uint(flags)) == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(code, os.strerror(code))
    if exchanging:
        raise FileError(
            f"{target}: this file system cannot exchange two directories: move the old one away, "
            "and export again"
        )
    beside.rename(target)


def _sync(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems cannot
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
