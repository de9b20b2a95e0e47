# SPDX-License-Identifier: Apache-2.0
"""What tests of studies share: their files, and the commands that write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import prunecore as pc
import pytest
from commands import only_json, run
from figures import check_picture

Study = TypeVar("Study", pc.RecoveryStudy, pc.SearchStudy)


def check_file(study: Study, path: Path) -> None:
    """A study comes back from its file, and other records are refused."""
    kind = type(study)
    study.save(path)
    assert kind.load(path) == study
    record = study.to_dict()
    with pytest.raises(pc.FormatError, match="format"):
        kind.from_dict({})
    with pytest.raises(pc.UnsupportedError, match="version 2"):
        kind.from_dict({**record, "version": 2})
    with pytest.raises(pc.FormatError, match="damaged"):
        kind.from_dict({**record, "points": [{}]})


def written_by_command(folder: Path, name: str, options: str, kind: type[Study]) -> Study:
    """The study that `prunecore study NAME` writes, beside its tables and pictures."""
    record = only_json(run(folder, f"study {name} {options} --out made --json"))
    made = folder / "made"
    assert json.loads((made / f"{name}.json").read_text()) == record
    names = {f"{name}{suffix}" for suffix in (".json", ".md", ".png", ".svg")}
    assert {path.name for path in made.iterdir()} == names
    check_picture(made / f"{name}.png")
    return kind.load(made / f"{name}.json")
