# SPDX-License-Identifier: Apache-2.0
"""Files that a command writes: their places are checked before the work, and no result is lost."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunecore._native.whole_file import check_folder, check_place, write_whole
from prunecore.cli.output import wrote
from prunecore.errors import FileError
from prunecore.plots import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".png", ".svg")


class Results:
    """The files of one command.

    Make it before the work. Where a file cannot be written after it all the same, the result goes
    to a new folder for temporary files, and where there is no room either, to standard output;
    `end` then raises the error.

    Parameters
    ----------
    files : path or None
        Files that are to be written.

    Raises
    ------
    FileError
        One of them cannot be written.
    """

    def __init__(self, *files: Path | None) -> None:
        check_place(*(file for file in files if file is not None))
        self.files: list[Path] = []
        self._failures: list[str] = []
        self._beside: Path | None = None
        self._lost = False

    @classmethod
    def of_folder(cls, folder: Path, *names: str) -> Results:
        """The files of a command that writes several into a folder, by their names."""
        check_folder(folder, names or ("result",))
        return cls()

    def save(self, path: Path | None, save: Callable[[Path], object]) -> list[str]:
        """Has `save` write a file or a folder, if a place is given; lines that say where it is."""
        if path is None:
            return []
        try:
            save(path)
        except FileError as error:
            return self._keep(path, save, error)
        self.files.append(path)
        return [wrote(path)]

    def text(self, path: Path | None, text: str) -> list[str]:
        """Writes a text."""
        return self.save(path, lambda place: write_whole(place, text))

    def record(self, path: Path | None, record: dict[str, Any]) -> list[str]:
        """Writes JSON values."""
        return self.text(path, json.dumps(record, indent=2) + "\n")

    def pictures(self, path: Path, figure: Figure) -> list[str]:
        """Saves a figure as PNG and as SVG; `path` is theirs without the suffix."""
        lines = []
        for suffix in PICTURES:
            file = path.with_name(f"{path.name}{suffix}")
            lines += self.save(file, lambda place: save_figure(figure, place))
        return lines

    def end(self, record: dict[str, Any], is_printed: bool) -> None:
        """The end of the command, after its answer: raises the error of what was not written.

        Parameters
        ----------
        record : dict
            What the command answers, which is printed where nothing else has kept the result.
        is_printed : bool
            Whether the answer was this record already.
        """
        if self._lost and not is_printed:
            sys.stdout.write(json.dumps(record, indent=2) + "\n")
        if self._failures:
            raise FileError("; ".join(self._failures))

    def _keep(self, path: Path, save: Callable[[Path], object], error: FileError) -> list[str]:
        try:
            if self._beside is None:
                self._beside = Path(tempfile.mkdtemp(prefix="prunecore-"))
            place = self._beside / path.name
            save(place)
        except OSError as again:  # FileError, too
            self._lost = True
            self._failures.append(
                f"{error}; a copy for {tempfile.gettempdir()} failed, too ({again}), so that the "
                "result is printed to standard output"
            )
            return []
        self._failures.append(f"{error}; the result is in {place}")
        return [wrote(place)]
