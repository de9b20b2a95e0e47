# SPDX-License-Identifier: Apache-2.0
"""docs/command.md holds the texts of the commands as they are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def writer(repository_root: Path) -> ModuleType:
    path = repository_root / "scripts" / "write-command-page.py"
    spec = importlib.util.spec_from_file_location("write_command_page", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_command_page_is_that_of_the_commands(writer: ModuleType) -> None:
    assert writer.PAGE.read_text(encoding="utf-8") == writer.page(), (
        "the commands have changed: run python scripts/write-command-page.py"
    )


def test_every_option_of_the_command_page_has_a_sentence(writer: ModuleType) -> None:
    rows = [line for line in writer.page().split("\n") if line.startswith("| `")]
    assert len(rows) > 150
    for row in rows:
        meaning = row.split(" | ", 1)[1].removesuffix(" |")
        assert meaning.endswith("."), row
        assert not meaning.startswith(("Of ", "At ", "The same")), row
