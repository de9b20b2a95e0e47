# SPDX-License-Identifier: Apache-2.0
"""Files that are written whole or not at all: every file that this package writes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from prunecore._native.paths import PathLike, as_path
from prunecore.errors import Error, FileError

LONGEST_NAME = 255  # bytes, on every file system of note
_ENDING = ".partial"
_DIGITS = 8
_ATTEMPTS = 100


@contextmanager
def whole_file(path: PathLike) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of `path` once the disk has all of it.

    It lies beside `path`, as NAME.XXXXXXXX.partial with random digits, so that any number of
    processes may write to one place: readers find what one of them wrote, or what was there before.
    A link at `path` stays, and what it names is replaced; permissions stay as they are. Missing
    folders are made. What a killed process left beside is taken away. A device, a pipe, or the
    standard output of this process is written to as it is.

    Raises
    ------
    FileError
        It cannot be written, with the system's reason. What was there is there still, and nothing
        is beside it; so it is after any other exception in the block.
    """
    target = _target(path)
    try:
        if target is None:
            with os.fdopen(_open_straight(as_path(path)), "wb") as file:
                yield file
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        _clean(target)
        descriptor, beside = _create(target)
        try:
            with open(beside, "w+b", opener=lambda *_: descriptor) as file:
                yield file
                file.flush()
                os.fsync(descriptor)
                # Still open, so that nobody takes it for one that was left behind.
                beside.replace(target)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except Error:  # of the block: it is not about this file
        raise
    except OSError as error:
        raise not_written(path, error) from error


def write_whole(path: PathLike, content: bytes | str) -> None:
    """Writes a file, text in UTF-8, as `whole_file` does. Raises `FileError`."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def check_place(*paths: PathLike) -> None:
    """Checks, before the work, that files can be written; leaves nothing behind.

    A few bytes are written beside each place, which is where a disk that is full or read-only, a
    quota, a limit on the size of files and a name that is too long show. Of a folder that is not
    there, the folder around it is tried.

    Raises
    ------
    FileError
        One of them cannot be written; the text names it, and says why.
    """
    for path in paths:
        target = _target(path)
        if target is None:
            continue
        try:
            around = target.parent
            while not around.exists():
                around = around.parent
            if not around.is_dir():
                raise FileError(f"{path} cannot be written: {around} is not a folder")
            # The name itself is tried, too: it may be too long for the file system.
            _try(around / target.name)
        except FileError:
            raise
        except OSError as error:
            raise not_written(path, error) from error


def check_folder(path: PathLike, names: tuple[str, ...] = ("result",)) -> None:
    """Checks, before the work, that files of these names can be written into a folder.

    Raises
    ------
    FileError
        One cannot be, or the folder is a file.
    """
    folder = as_path(path)
    try:
        if folder.exists() and not folder.is_dir():
            raise FileError(f"{path} is not a folder, but files are to be written into it")
    except (OSError, ValueError) as error:
        raise error if isinstance(error, FileError) else not_written(path, error) from error
    check_place(*(folder / name for name in names))


def check_export_place(path: PathLike, *, replaces: bool) -> None:
    """Checks, before the work, that a folder or a file can be written that must not be there yet.

    Raises
    ------
    FileError
        It cannot be; or there is something, and it is not to be replaced.
    """
    place = as_path(path)
    try:
        is_there = os.path.lexists(place)
    except ValueError as error:
        raise not_written(path, error) from error
    if is_there and not replaces:
        raise FileError(f"{path} exists already: name another place, or ask to replace it")
    if place.is_dir():
        check_folder(place.resolve().parent)
    else:
        check_place(place)


def make_parents(path: PathLike) -> None:
    """Makes the folders around a place that the library writes itself.

    Raises
    ------
    FileError
        They cannot be made.
    """
    folder = as_path(path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise not_written(path, error) from error


def not_written(path: PathLike, error: Exception) -> FileError:
    """What is raised for a file that cannot be written."""
    reason = getattr(error, "strerror", None) or str(error)
    if getattr(error, "errno", None) == errno.EFBIG:
        reason = "it is larger than the limit on the size of files (ulimit -f)"
    return FileError(f"{path!s} cannot be written: {reason}")


def _target(path: PathLike) -> Path | None:
    """The file that is to be replaced: `path`, or what it links to; None for what is no file."""
    place = as_path(path)
    try:
        found = os.stat(place)
        if stat.S_ISDIR(found.st_mode):
            raise FileError(f"{place} is a folder, but a file is to be written there")
        # What this process prints to stays the same file, and what is in it stays.
        is_file = stat.S_ISREG(found.st_mode) and _printed_to(found) is None
        if not os.access(place, os.W_OK):
            raise FileError(f"{place} cannot be written: it is write-protected")
        return Path(os.path.realpath(place)) if is_file else None
    except FileNotFoundError:
        return Path(os.path.realpath(place)) if place.is_symlink() else place
    except FileError:
        raise
    except (OSError, ValueError, TypeError) as error:
        raise not_written(path, error) from error


def _printed_to(found: os.stat_result) -> int | None:
    """The standard stream that goes there."""
    for stream in (1, 2):
        with contextlib.suppress(OSError):  # it is closed
            if os.path.samestat(os.fstat(stream), found):
                return stream
    return None


def _open_straight(path: PathLike) -> int:
    stream = _printed_to(os.stat(path))
    if stream is None:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    if sys.stdout is not None:
        sys.stdout.flush()
    return os.dup(stream)


def _create(target: Path) -> tuple[int, Path]:
    """A new, empty file beside the target, locked, with the target's permissions if there are any.

    The lock says that somebody is at work there.
    """
    for _ in range(_ATTEMPTS):
        beside = target.with_name(f"{_stem(target)}.{secrets.token_hex(_DIGITS // 2)}{_ENDING}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(beside, flags, 0o666)
        except FileExistsError:
            continue
        try:
            is_ours = lock_alone(descriptor) is not False and os.fstat(descriptor).st_nlink > 0
            if is_ours:
                _copy_owner(target, descriptor)
                return descriptor, beside
            # Another process took it for one that was left behind, before it could be locked.
            os.close(descriptor)
        except BaseException:
            os.close(descriptor)
            beside.unlink(missing_ok=True)
            raise
    raise FileError(f"{target} cannot be written: no file could be made beside it")


def _copy_owner(target: Path, descriptor: int) -> None:
    """Gives the new file the permissions and, where this process may, the owner of the old one."""
    try:
        old = os.stat(target)
    except FileNotFoundError:
        return
    new = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        with contextlib.suppress(OSError):  # only root may, as a rule
            os.fchown(descriptor, old.st_uid, old.st_gid)
    with contextlib.suppress(OSError):  # file systems without permissions
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _stem(target: Path) -> str:
    """The name, or as much of it as leaves room for the ending."""
    room = LONGEST_NAME - len(f".{'0' * _DIGITS}{_ENDING}")
    return os.fsdecode(os.fsencode(target.name)[:room])


def _try(target: Path) -> None:
    """Writes a few bytes beside the target, and takes them away."""
    if len(os.fsencode(target.name)) > LONGEST_NAME:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    descriptor, beside = _create(target)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(bytes(4096))
    finally:
        beside.unlink(missing_ok=True)


def _clean(target: Path) -> None:
    """Takes away what killed processes left beside the target; what is locked is in use."""
    left = re.compile(re.escape(_stem(target)) + rf"\.[0-9a-f]{{{_DIGITS}}}" + re.escape(_ENDING))
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            if left.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                _clean_one(entry.path)


def _clean_one(path: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if lock_alone(descriptor):
                os.unlink(path)
        finally:
            os.close(descriptor)


def lock_alone(descriptor: int) -> bool | None:
    """Whether nobody else has a file or folder; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _sync_folder(folder: Path) -> None:
    """Makes a renaming last through a power cut. Some file systems cannot: the file is whole."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
